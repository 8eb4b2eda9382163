//! What a workflow instance does with every command, as claims.

mod ending;
mod properties;
mod table;

use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::aggregate::EventType;
use crate::id::TaskCode;
use crate::testing::{self, at, fold, submission};
use crate::time::Timestamp;
use crate::workflow_definition::Execution;

/// When it is asked, in these tests.
const NOW: Timestamp = at(1_000);

fn given(past: &[Event]) -> testing::Given<WorkflowInstance> {
    testing::given(past)
}

fn asked_as(submission: Submission) -> Event {
    Event::Submitted(Arc::new(submission))
}

fn submitted() -> Event {
    asked_as(submission())
}

fn waiting_its_turn() -> Submission {
    Submission {
        execution: Execution::SerialWait,
        ..submission()
    }
}

fn started() -> Event {
    Event::Started {
        at: NOW,
        timeout_at: None,
    }
}

fn pause_requested() -> Event {
    Event::PauseRequested {
        reason: "alice asked".to_owned(),
    }
}

fn stop_requested() -> Event {
    Event::StopRequested {
        reason: "alice asked".to_owned(),
    }
}

fn block_requested() -> Event {
    Event::BlockRequested {
        reason: "task \"gate\" blocks it".to_owned(),
    }
}

fn finished(state: WorkflowState, reason: &str) -> Event {
    Event::Finished {
        state,
        reason: reason.to_owned(),
        var_pool: vec![],
    }
}

fn restarted(restart: Restart, run_times: u32) -> Event {
    Event::Restarted {
        restart,
        run_times,
        scope: Scope::default(),
        reason: "alice asked".to_owned(),
    }
}

fn running() -> Vec<Event> {
    vec![submitted(), started()]
}

fn pausing() -> Vec<Event> {
    [running(), vec![pause_requested()]].concat()
}

fn blocking() -> Vec<Event> {
    [running(), vec![block_requested()]].concat()
}

fn stopping() -> Vec<Event> {
    [running(), vec![stop_requested()]].concat()
}

fn queued() -> Vec<Event> {
    vec![asked_as(waiting_its_turn()), Event::Queued {}]
}

fn ended(state: WorkflowState) -> Vec<Event> {
    [running(), vec![finished(state, "")]].concat()
}

fn submit() -> Command {
    Command::Submit(Arc::new(submission()))
}

fn start() -> Command {
    Command::Start { at: NOW }
}

fn pause() -> Command {
    Command::Pause {
        reason: "alice asked".to_owned(),
    }
}

fn stop() -> Command {
    Command::Stop {
        reason: "alice asked".to_owned(),
    }
}

fn block() -> Command {
    Command::Block {
        reason: "task \"gate\" blocks it".to_owned(),
    }
}

fn restart(restart: Restart, scope: Option<Scope>) -> Command {
    Command::Restart {
        restart,
        scope,
        reason: "alice asked".to_owned(),
    }
}

fn grant(run_times: u32) -> Command {
    Command::GrantTurn { run_times, at: NOW }
}

fn refuse_turn(run_times: u32) -> Command {
    Command::RefuseTurn {
        run_times,
        reason: "an earlier run has not ended".to_owned(),
    }
}

fn only(task: u64) -> Scope {
    Scope {
        start_nodes: vec![TaskCode(task)],
        depend: Depend::TaskOnly,
    }
}

fn all_well() -> Tally {
    Tally {
        succeeded: 3,
        ..Tally::default()
    }
}

fn one_failed() -> Tally {
    Tally {
        succeeded: 1,
        failed: 1,
        unstarted: 1,
        first_problem: "task \"load\" failed: exit code 1".to_owned(),
        ..Tally::default()
    }
}

fn one_killed() -> Tally {
    Tally {
        succeeded: 2,
        killed: 1,
        first_problem: "task \"a\" was killed: alice asked".to_owned(),
        ..Tally::default()
    }
}

fn one_paused() -> Tally {
    Tally {
        succeeded: 2,
        paused: 1,
        ..Tally::default()
    }
}

/// Of the catalogue of failures: B45.
#[test]
fn a_run_is_asked_for_once() {
    given(&[]).when(&submit()).then(&[submitted()]);
    for past in [
        vec![submitted()],
        running(),
        pausing(),
        stopping(),
        ended(WorkflowState::Stop),
    ] {
        given(&past).when(&submit()).then_nothing();
    }
}

/// Of the catalogue of failures: B45.
#[test]
fn a_run_cannot_become_another_run() {
    let other = Arc::new(Submission {
        dry_run: true,
        ..submission()
    });
    given(&running())
        .when(&Command::Submit(other))
        .then_refused(
            "SUBMIT is not allowed: the workflow instance is RUNNING_EXECUTION; allowed now: PAUSE, STOP",
        );
}

#[test]
fn a_run_begins_once() {
    given(&[submitted()]).when(&start()).then(&[started()]);
    for past in [running(), stopping(), ended(WorkflowState::Success)] {
        given(&past).when(&start()).then_nothing();
    }
    given(&[]).when(&start()).then_refused(
        "START is not allowed: the workflow instance is not submitted; allowed now: SUBMIT",
    );
}

/// Of the catalogue of failures: B40, A0-46.
#[test]
fn a_run_that_takes_turns_waits_for_its_own_and_gives_it_back() {
    given(&[asked_as(waiting_its_turn())])
        .when(&start())
        .then(&[Event::Queued {}])
        .owing(&[Obligation::AskTurn { run_times: 1 }]);
    given(&queued()).when(&grant(2)).then_nothing();
    given(&queued())
        .when(&grant(1))
        .then(&[started()])
        .owing(&[]);
    let over = [
        queued(),
        vec![started(), finished(WorkflowState::Success, "")],
    ]
    .concat();
    given(&over)
        .when(&grant(1))
        .then_nothing()
        .owing(&[Obligation::ReleaseTurn { run_times: 1 }]);
    let release = |run_times| Command::ReleaseTurn { run_times };
    given(&over).when(&release(2)).then_nothing();
    given(&over)
        .when(&release(1))
        .then(&[Event::TurnReleased { run_times: 1 }])
        .owing(&[]);
}

#[test]
fn a_run_that_gets_no_turn_ends_stopped_with_the_reason() {
    let answer = given(&queued())
        .when(&refuse_turn(1))
        .then(&[finished(
            WorkflowState::Stop,
            "an earlier run has not ended",
        )])
        .owing(&[Obligation::ReleaseTurn { run_times: 1 }]);
    assert_eq!(answer.state.state(), Some(WorkflowState::Stop));
    given(&queued()).when(&refuse_turn(2)).then_nothing();
    given(&running()).when(&refuse_turn(1)).then_nothing();
}

#[test]
fn a_run_that_waits_for_its_turn_is_stopped_at_once_and_not_paused() {
    given(&queued())
        .when(&stop())
        .then(&[finished(WorkflowState::Stop, "alice asked")]);
    given(&queued()).when(&pause()).then_refused(
        "PAUSE is not allowed: the workflow instance is SERIAL_WAIT; allowed now: STOP",
    );
}

#[test]
fn a_run_that_is_run_again_before_its_turn_was_taken_back_asks_for_the_next_one() {
    let past = [
        queued(),
        vec![
            started(),
            finished(WorkflowState::Success, ""),
            restarted(Restart::RepeatRunning, 2),
        ],
    ]
    .concat();
    given(&past)
        .when(&start())
        .then(&[Event::Queued {}])
        .owing(&[Obligation::AskTurn { run_times: 2 }]);
}

#[test]
fn a_run_is_paused_once_and_only_while_it_runs() {
    given(&running()).when(&pause()).then(&[pause_requested()]);
    for past in [pausing(), blocking(), ended(WorkflowState::Pause)] {
        given(&past).when(&pause()).then_nothing();
    }
    given(&stopping()).when(&pause()).then_refused(
        "PAUSE is not allowed: the workflow instance is READY_STOP; allowed now: STOP",
    );
    given(&ended(WorkflowState::Success)).when(&pause()).then_refused(
        "PAUSE is not allowed: the workflow instance is SUCCESS; allowed now: RERUN, EXECUTE_TASK, DELETE",
    );
}

/// Of the catalogue of failures: A3-02, A3-59.
#[test]
fn a_run_is_stopped_once_and_not_after_its_end() {
    for past in [vec![submitted()], running(), pausing(), blocking()] {
        given(&past).when(&stop()).then(&[stop_requested()]);
    }
    for past in [stopping(), ended(WorkflowState::Stop)] {
        given(&past).when(&stop()).then_nothing();
    }
    given(&ended(WorkflowState::Success)).when(&stop()).then_refused(
        "STOP is not allowed: the workflow instance is SUCCESS; allowed now: RERUN, EXECUTE_TASK, DELETE",
    );
}

#[test]
fn a_block_outweighs_a_pause_and_not_a_stop() {
    for past in [running(), pausing()] {
        given(&past).when(&block()).then(&[block_requested()]);
    }
    for past in [blocking(), stopping(), ended(WorkflowState::Success)] {
        given(&past).when(&block()).then_nothing();
    }
}

#[test]
fn what_an_ended_run_may_be_restarted_as_depends_on_how_it_ended() {
    let all = [
        Restart::RepeatRunning,
        Restart::RecoverSuspendedProcess,
        Restart::StartFailureTaskProcess,
        Restart::ExecuteTask,
    ];
    for (state, allowed) in [
        (WorkflowState::Success, [true, false, false, true]),
        (WorkflowState::Failure, [true, false, true, true]),
        (WorkflowState::Stop, [true, true, false, true]),
        (WorkflowState::Pause, [true, true, false, true]),
        (WorkflowState::Block, [true, true, false, true]),
    ] {
        for (how, allowed) in all.into_iter().zip(allowed) {
            let answer = given(&ended(state)).when(&restart(how, None));
            if allowed {
                answer.then(&[restarted(how, 2)]);
            } else {
                assert!(matches!(answer.state.stage, Stage::Ended { .. }));
            }
        }
    }
    for how in all {
        for past in [vec![], running(), pausing(), stopping(), queued()] {
            let run = fold(WorkflowInstance::default(), &past);
            assert!(run.decide(&restart(how, None)).is_err(), "{how:?}");
        }
    }
    given(&ended(WorkflowState::Success))
        .when(&restart(Restart::StartFailureTaskProcess, None))
        .then_refused(
            "RECOVER_FAILED is not allowed: the workflow instance is SUCCESS; allowed now: RERUN, EXECUTE_TASK, DELETE",
        );
}

#[test]
fn a_rerun_is_of_what_was_asked_for_first_and_the_others_of_what_ran_last() {
    let asked = Submission {
        scope: only(1),
        ..submission()
    };
    let execute = Event::Restarted {
        restart: Restart::ExecuteTask,
        run_times: 2,
        scope: only(7),
        reason: String::new(),
    };
    let past = [
        asked_as(asked),
        started(),
        finished(WorkflowState::Success, ""),
        execute,
        started(),
        finished(WorkflowState::Failure, ""),
    ];
    for (how, scope) in [
        (Restart::RepeatRunning, only(1)),
        (Restart::StartFailureTaskProcess, only(7)),
    ] {
        let answer = given(&past).when(&restart(how, None));
        assert_eq!(answer.state.run_times, 3);
        assert_eq!(*answer.state.scope(), scope);
    }
}

#[test]
fn an_ended_run_is_deleted_once_and_then_nothing_is_allowed() {
    given(&ended(WorkflowState::Failure))
        .when(&Command::Delete)
        .then(&[Event::Deleted {}]);
    let gone = [ended(WorkflowState::Failure), vec![Event::Deleted {}]].concat();
    given(&gone).when(&Command::Delete).then_nothing();
    given(&gone)
        .when(&restart(Restart::RepeatRunning, None))
        .then_refused(
            "RERUN is not allowed: the workflow instance is deleted; nothing is allowed any more",
        );
    given(&running()).when(&Command::Delete).then_refused(
        "DELETE is not allowed: the workflow instance is RUNNING_EXECUTION; allowed now: PAUSE, STOP",
    );
}

#[test]
fn what_cannot_follow_is_damage() {
    let end = finished(WorkflowState::Success, "");
    let half_an_end = finished(WorkflowState::ReadyStop, "");
    let released = Event::TurnReleased { run_times: 1 };
    let settled = Event::AlertSettled {
        number: 1,
        reason: String::new(),
    };
    for (past, event) in [
        (vec![], started()),
        (vec![], stop_requested()),
        (vec![], end.clone()),
        (vec![submitted()], submitted()),
        (vec![submitted()], end.clone()),
        (running(), submitted()),
        (running(), started()),
        (running(), Event::Queued {}),
        (running(), half_an_end),
        (running(), restarted(Restart::RepeatRunning, 2)),
        (running(), Event::Deleted {}),
        (running(), Event::TimedOut {}),
        (running(), released),
        (running(), settled),
        (pausing(), pause_requested()),
        (stopping(), stop_requested()),
        (stopping(), pause_requested()),
        (ended(WorkflowState::Success), end),
        (ended(WorkflowState::Success), stop_requested()),
        (
            ended(WorkflowState::Success),
            restarted(Restart::RepeatRunning, 3),
        ),
    ] {
        given(&past).cannot_be_followed_by(&event);
    }
}

#[test]
fn states_have_the_names_and_codes_that_clients_know() {
    let known = [
        ("SUBMITTED_SUCCESS", 0, false),
        ("RUNNING_EXECUTION", 1, false),
        ("READY_PAUSE", 2, false),
        ("PAUSE", 3, true),
        ("READY_STOP", 4, false),
        ("STOP", 5, true),
        ("FAILURE", 6, true),
        ("SUCCESS", 7, true),
        ("SERIAL_WAIT", 14, false),
        ("READY_BLOCK", 15, false),
        ("BLOCK", 16, true),
    ];
    assert_eq!(known.len(), WorkflowState::ALL.len());
    for (state, (name, code, finished)) in WorkflowState::ALL.into_iter().zip(known) {
        assert_eq!(
            (state.name(), state.code(), state.is_finished()),
            (name, code, finished)
        );
        assert_eq!(WorkflowState::from_name(name), Some(state));
        assert_eq!(
            serde_json::to_value(state).unwrap(),
            serde_json::json!(name)
        );
    }
    assert_eq!(WorkflowState::from_name("PAUSED"), None);
}
