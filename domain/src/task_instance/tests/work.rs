//! What the engine carries out itself: checks, children, and the timeouts of whatever runs.

use super::*;
use crate::id::InstanceId;
use crate::task_instance::{Obligation, TaskState, Wake, Work};
use crate::testing::fold;
use crate::workflow_definition::{Timeout, TimeoutStrategy};
use crate::workflow_instance::WorkflowState;

const CHILDREN: Work = Work::Children {
    planned: 3,
    parallelism: 2,
};

fn limited(strategy: TimeoutStrategy) -> Terms {
    Terms {
        timeout: Some(Timeout {
            after: Duration::from_secs(30),
            strategy,
        }),
        ..terms()
    }
}

fn engage(work: Work, terms: Terms) -> Command {
    Command::Engage {
        at: at(NOW),
        work,
        terms,
    }
}

fn engaged(work: Work, timeout_at: Option<i64>) -> Event {
    Event::Engaged {
        attempt: 1,
        at: at(NOW),
        work,
        timeout_at: timeout_at.map(at),
    }
}

fn child(index: u32) -> InstanceId {
    InstanceId(u64::from(2 + index) * 1_000)
}

fn child_started(index: u32, wake: Option<Wake>) -> Event {
    Event::ChildStarted {
        attempt: 1,
        index,
        instance: child(index),
        wake,
    }
}

fn child_ended(index: u32, state: WorkflowState) -> Event {
    Event::ChildEnded {
        attempt: 1,
        index,
        state,
        outputs: vec![],
    }
}

fn start_child(index: u32, wake: Option<Wake>) -> Command {
    Command::StartChild {
        attempt: 1,
        index,
        instance: child(index),
        wake,
    }
}

fn end_child(index: u32, state: WorkflowState) -> Command {
    Command::EndChild {
        index,
        instance: child(index),
        state,
        outputs: vec![],
    }
}

fn next_child(index: u32) -> Obligation {
    Obligation::StartChild { attempt: 1, index }
}

fn with_children(more: &[Event]) -> Vec<Event> {
    [&[submitted(), engaged(CHILDREN, None)], more].concat()
}

/// Of the catalogue of failures: A0-17.
#[test]
fn what_the_engine_carries_out_runs_without_a_worker() {
    let answer = given(&[submitted()])
        .when(&engage(Work::Check, terms()))
        .then(&[engaged(Work::Check, None)])
        .owing(&[Obligation::Check { attempt: 1 }]);
    assert_eq!(answer.state.state(), Some(TaskState::RunningExecution));
    let past = [submitted(), engaged(Work::Check, None)];
    given(&past)
        .when(&engage(Work::Check, terms()))
        .then_nothing();
    given(&past).when(&dispatch("a")).then_refused(
        "DISPATCH is not allowed: task attempt 1 is RUNNING_EXECUTION; allowed now: KILL",
    );
    given(&running())
        .when(&engage(Work::Check, terms()))
        .then_refused(
            "ENGAGE is not allowed: task attempt 1 is RUNNING_EXECUTION; allowed now: KILL",
        );
}

#[test]
fn children_are_started_in_order_and_no_more_at_a_time_than_allowed() {
    let one = child_started(0, None);
    let two = child_started(1, None);
    let well = child_ended(0, WorkflowState::Success);
    for (past, owed) in [
        (vec![], vec![next_child(0)]),
        (vec![one.clone()], vec![next_child(1)]),
        (vec![one.clone(), two.clone()], vec![]),
        (vec![one, two, well], vec![next_child(2)]),
    ] {
        let task = fold(TaskInstance::default(), &with_children(&past));
        assert_eq!(task.owes(), owed, "{past:?}");
    }
    given(&with_children(&[]))
        .when(&start_child(1, None))
        .then_nothing();
    given(&with_children(&[]))
        .when(&start_child(0, None))
        .then(&[child_started(0, None)]);
    given(&with_children(&[child_started(0, None)]))
        .when(&start_child(0, None))
        .then_nothing();
}

#[test]
fn after_a_child_that_did_not_end_well_no_more_are_started() {
    for state in [
        WorkflowState::Failure,
        WorkflowState::Stop,
        WorkflowState::Pause,
        WorkflowState::Block,
    ] {
        let past = with_children(&[child_started(0, None), child_ended(0, state)]);
        assert_eq!(fold(TaskInstance::default(), &past).owes(), []);
    }
}

#[test]
fn the_end_of_a_child_is_told_once_and_only_by_that_child() {
    let past = with_children(&[child_started(0, None)]);
    given(&past)
        .when(&end_child(0, WorkflowState::Success))
        .then(&[child_ended(0, WorkflowState::Success)]);
    let ended = and(past.clone(), child_ended(0, WorkflowState::Success));
    given(&ended)
        .when(&end_child(0, WorkflowState::Success))
        .then_nothing();
    let stranger = Command::EndChild {
        index: 0,
        instance: child(7),
        state: WorkflowState::Success,
        outputs: vec![],
    };
    given(&past).when(&stranger).then_nothing();
    given(&past)
        .when(&end_child(1, WorkflowState::Success))
        .then_nothing();
    given(&past).cannot_be_followed_by(&child_started(0, None));
    given(&past).cannot_be_followed_by(&child_started(2, None));
    given(&ended).cannot_be_followed_by(&child_ended(0, WorkflowState::Success));
}

#[test]
fn a_child_that_ended_is_woken_and_not_replaced() {
    let past = with_children(&[
        child_started(0, None),
        child_ended(0, WorkflowState::Failure),
    ]);
    given(&past).when(&start_child(0, None)).then_nothing();
    let answer = given(&past)
        .when(&start_child(0, Some(Wake::Recover)))
        .then(&[child_started(0, Some(Wake::Recover))]);
    assert_eq!(answer.state.running_children().count(), 1);
    given(&past).cannot_be_followed_by(&child_started(0, None));
}

#[test]
fn a_killed_check_ends_at_once_and_killed_children_say_when_they_have() {
    let check = [submitted(), engaged(Work::Check, None)];
    let answer = given(&check).when(&kill()).owing(&[]);
    assert_eq!(answer.state.state(), Some(TaskState::Kill));
    let past = with_children(&[child_started(0, None)]);
    given(&past)
        .when(&kill())
        .then(&[kill_requested(1)])
        .owing(&[]);
    let dying = and(past, kill_requested(1));
    given(&dying).when(&kill()).then_nothing();
    given(&dying).when(&start_child(1, None)).then_nothing();
    given(&dying)
        .when(&end_child(0, WorkflowState::Stop))
        .then(&[child_ended(0, WorkflowState::Stop)]);
}

#[test]
fn a_check_is_paused_at_once_and_children_when_none_runs() {
    let paused = Event::Paused {
        attempt: 1,
        reason: "alice asked".to_owned(),
    };
    let paused = std::slice::from_ref(&paused);
    given(&[submitted(), engaged(Work::Check, None)])
        .when(&pause())
        .then(paused);
    given(&with_children(&[])).when(&pause()).then(paused);
    let busy = with_children(&[child_started(0, None)]);
    given(&busy).when(&pause()).then_nothing();
    given(&and(busy, child_ended(0, WorkflowState::Pause)))
        .when(&pause())
        .then(paused);
}

#[test]
fn a_node_that_starts_afresh_forgets_its_children_and_else_keeps_them() {
    let over = with_children(&[
        child_started(0, None),
        child_ended(0, WorkflowState::Failure),
        Event::Finished {
            attempt: 1,
            outcome: Outcome::Failure,
            ended_at: at(NOW),
            started: None,
            exit_code: None,
            var_pool: vec![],
            reason: "a child failed".to_owned(),
            retry_at: None,
            branches: None,
            cache_key: None,
        },
    ]);
    for (afresh, kept) in [(true, 0), (false, 1)] {
        let answer = given(&over).when(&invalidate(afresh));
        assert_eq!(
            answer.state.traces().children.len(),
            kept,
            "afresh: {afresh}"
        );
    }
}

#[test]
fn a_conclusion_keeps_what_was_chosen_and_is_told_once() {
    let choice = Command::Conclude(Conclusion {
        outcome: Outcome::Success,
        at: at(NOW),
        reason: String::new(),
        ran: true,
        var_pool: vec![],
        branches: Some(vec![crate::id::TaskCode(7)]),
        retry: None,
    });
    let answer = given(&[submitted()]).when(&choice);
    assert_eq!(
        answer.state.stage,
        Stage::Succeeded {
            var_pool: [].into(),
            branches: Some([crate::id::TaskCode(7)].into()),
            forced: false,
        }
    );
    let again = crate::aggregate::Aggregate::decide(&answer.state, &choice);
    assert_eq!(again, Ok(vec![]));
}

/// Of the catalogue of failures: A13, A3-31, H-12.
#[test]
fn a_task_that_runs_too_long_is_told_of_or_killed_as_its_author_wants() {
    for (strategy, killed) in [
        (TimeoutStrategy::Warn, false),
        (TimeoutStrategy::Failed, true),
        (TimeoutStrategy::WarnFailed, true),
    ] {
        let started = Command::ReportStarted {
            attempt: 1,
            worker: worker("a"),
            started: start(),
            terms: limited(strategy),
        };
        let running = given(&on_worker()).when(&started).state;
        assert_eq!(running.deadline(), Some(at(NOW + 30)));
        let wake_at = |seconds| {
            Command::Wake(Terms {
                at: at(seconds),
                ..limited(strategy)
            })
        };
        let decide = |task: &TaskInstance, seconds| {
            crate::aggregate::Aggregate::decide(task, &wake_at(seconds)).unwrap()
        };
        assert_eq!(decide(&running, NOW + 29), []);
        let late = decide(&running, NOW + 30);
        let mut expected = vec![Event::TimedOut {
            attempt: 1,
            strategy,
        }];
        if killed {
            expected.push(Event::KillRequested {
                attempt: 1,
                reason: "it ran for longer than its timeout of 30 s".to_owned(),
            });
        }
        assert_eq!(late, expected);
        let told = fold(running, &late);
        assert_eq!(decide(&told, NOW + 31), [], "it is said once");
    }
}

#[test]
fn d52_the_time_of_a_task_counts_from_its_start_however_long_a_worker_has_it() {
    let waits = fold(TaskInstance::default(), &on_worker());
    assert_eq!(waits.deadline(), None);
    given(&on_worker())
        .when(&Command::Wake(Terms {
            at: at(NOW + 86_400),
            ..limited(TimeoutStrategy::Failed)
        }))
        .then_nothing();
    let begins = given(&on_worker()).when(&Command::ReportStarted {
        attempt: 1,
        worker: worker("a"),
        started: start(),
        terms: limited(TimeoutStrategy::Failed),
    });
    assert_eq!(begins.state.deadline(), Some(at(NOW + 30)));
}

#[test]
fn issue_17514_a_check_that_takes_too_long_is_killed_at_once() {
    let past = [submitted(), engaged(Work::Check, Some(NOW))];
    let answer = given(&past).when(&Command::Wake(limited(TimeoutStrategy::Failed)));
    assert_eq!(
        answer.state.stage,
        Stage::Killed {
            reason: "it ran for longer than its timeout of 30 s".into(),
        }
    );
}
