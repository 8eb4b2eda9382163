//! What a workflow instance does with every command, as claims.

use std::collections::VecDeque;
use std::fmt::Write;
use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::testing::{fold, given, submission};

fn submitted() -> Event {
    Event::Submitted(Arc::new(submission()))
}

fn stop_requested() -> Event {
    Event::StopRequested {
        reason: "alice asked".to_owned(),
    }
}

fn finished(state: WorkflowState, reason: &str) -> Event {
    Event::Finished {
        state,
        reason: reason.to_owned(),
    }
}

fn running() -> Vec<Event> {
    vec![submitted(), Event::Started {}]
}

fn stopping() -> Vec<Event> {
    vec![submitted(), Event::Started {}, stop_requested()]
}

fn ended(state: WorkflowState) -> Vec<Event> {
    vec![submitted(), Event::Started {}, finished(state, "")]
}

fn submit() -> Command {
    Command::Submit(Arc::new(submission()))
}

fn stop() -> Command {
    Command::Stop {
        reason: "alice asked".to_owned(),
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

#[test]
fn a_run_is_asked_for_once() {
    given::<WorkflowInstance>(&[])
        .when(&submit())
        .then(&[submitted()]);
    for past in [
        vec![submitted()],
        running(),
        stopping(),
        ended(WorkflowState::Stop),
    ] {
        given::<WorkflowInstance>(&past)
            .when(&submit())
            .then_nothing();
    }
}

#[test]
fn a_run_cannot_become_another_run() {
    let other = Arc::new(Submission {
        dry_run: true,
        ..submission()
    });
    given::<WorkflowInstance>(&running())
        .when(&Command::Submit(other))
        .then_refused(
            "SUBMIT is not allowed: the workflow instance is RUNNING_EXECUTION; allowed now: STOP",
        );
}

#[test]
fn a_run_begins_once() {
    given::<WorkflowInstance>(&[submitted()])
        .when(&Command::Start)
        .then(&[Event::Started {}]);
    for past in [running(), stopping(), ended(WorkflowState::Success)] {
        given::<WorkflowInstance>(&past)
            .when(&Command::Start)
            .then_nothing();
    }
    given::<WorkflowInstance>(&[])
        .when(&Command::Start)
        .then_refused(
            "START is not allowed: the workflow instance is not submitted; allowed now: SUBMIT",
        );
}

#[test]
fn a_run_is_stopped_once_and_not_after_its_end() {
    for past in [vec![submitted()], running()] {
        given::<WorkflowInstance>(&past)
            .when(&stop())
            .then(&[stop_requested()]);
    }
    for past in [stopping(), ended(WorkflowState::Stop)] {
        given::<WorkflowInstance>(&past)
            .when(&stop())
            .then_nothing();
    }
    given::<WorkflowInstance>(&ended(WorkflowState::Success))
        .when(&stop())
        .then_refused(
            "STOP is not allowed: the workflow instance is SUCCESS; nothing is allowed any more",
        );
}

#[test]
fn a_run_ends_as_its_tasks_did() {
    let killed = Tally {
        succeeded: 2,
        killed: 1,
        first_problem: "task \"a\" was killed: alice asked".to_owned(),
        ..Tally::default()
    };
    let unstarted = Tally {
        unstarted: 1,
        ..all_well()
    };
    for (tally, state, reason) in [
        (all_well(), WorkflowState::Success, ""),
        (
            one_failed(),
            WorkflowState::Failure,
            "task \"load\" failed: exit code 1",
        ),
        (
            killed,
            WorkflowState::Failure,
            "task \"a\" was killed: alice asked",
        ),
        (unstarted, WorkflowState::Failure, ""),
    ] {
        given::<WorkflowInstance>(&running())
            .when(&Command::Conclude(tally))
            .then(&[finished(state, reason)]);
    }
}

#[test]
fn a_stopped_run_is_stopped_unless_nothing_was_left_to_stop() {
    given::<WorkflowInstance>(&stopping())
        .when(&Command::Conclude(one_failed()))
        .then(&[finished(WorkflowState::Stop, "alice asked")]);
    given::<WorkflowInstance>(&stopping())
        .when(&Command::Conclude(all_well()))
        .then(&[finished(WorkflowState::Success, "")]);
}

#[test]
fn a_run_ends_once_and_not_before_it_began() {
    given::<WorkflowInstance>(&ended(WorkflowState::Failure))
        .when(&Command::Conclude(all_well()))
        .then_nothing();
    given::<WorkflowInstance>(&[submitted()])
        .when(&Command::Conclude(all_well()))
        .then_refused("CONCLUDE is not allowed: the workflow instance is SUBMITTED_SUCCESS; allowed now: START, STOP");
}

#[test]
fn what_cannot_follow_is_damage() {
    let end = finished(WorkflowState::Success, "");
    let half_an_end = finished(WorkflowState::ReadyStop, "");
    for (past, event) in [
        (vec![], Event::Started {}),
        (vec![], stop_requested()),
        (vec![], end.clone()),
        (vec![submitted()], submitted()),
        (vec![submitted()], end.clone()),
        (running(), submitted()),
        (running(), Event::Started {}),
        (running(), half_an_end),
        (stopping(), stop_requested()),
        (ended(WorkflowState::Success), end),
        (ended(WorkflowState::Success), stop_requested()),
    ] {
        given::<WorkflowInstance>(&past).cannot_be_followed_by(&event);
    }
}

#[test]
fn states_have_the_names_and_codes_that_clients_know() {
    let known = [
        ("SUBMITTED_SUCCESS", 0, false),
        ("RUNNING_EXECUTION", 1, false),
        ("READY_STOP", 4, false),
        ("STOP", 5, true),
        ("FAILURE", 6, true),
        ("SUCCESS", 7, true),
    ];
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

// The table.

fn letters(stage: &Stage) -> &'static str {
    match stage {
        Stage::Absent => "absent",
        Stage::Submitted => "submitted",
        Stage::Running => "running",
        Stage::Stopping { .. } => "stopping",
        Stage::Ended { state } => match state {
            WorkflowState::Success => "ended SUCCESS",
            WorkflowState::Failure => "ended FAILURE",
            WorkflowState::Stop => "ended STOP",
            WorkflowState::SubmittedSuccess
            | WorkflowState::RunningExecution
            | WorkflowState::ReadyStop => unreachable!("not an end"),
        },
    }
}

const ROWS: [&str; 7] = [
    "absent",
    "submitted",
    "running",
    "stopping",
    "ended SUCCESS",
    "ended FAILURE",
    "ended STOP",
];

/// Every command's columns. A new command does not compile without one.
fn columns_of(command: &Command) -> &'static [&'static str] {
    match command {
        Command::Submit(_) => &["SUBMIT", "SUBMIT (other)"],
        Command::Start => &["START"],
        Command::Stop { .. } => &["STOP"],
        Command::Conclude(_) => &["CONCLUDE (all well)", "CONCLUDE (one failed)"],
    }
}

fn columns() -> Vec<(&'static str, Command)> {
    let other = Submission {
        version: 2,
        ..submission()
    };
    vec![
        ("SUBMIT", submit()),
        ("SUBMIT (other)", Command::Submit(Arc::new(other))),
        ("START", Command::Start),
        ("STOP", stop()),
        ("CONCLUDE (all well)", Command::Conclude(all_well())),
        ("CONCLUDE (one failed)", Command::Conclude(one_failed())),
    ]
}

fn reachable() -> Vec<WorkflowInstance> {
    let mut found: Vec<WorkflowInstance> = Vec::new();
    let mut open = VecDeque::from([WorkflowInstance::default()]);
    while let Some(run) = open.pop_front() {
        if found
            .iter()
            .all(|known| letters(&known.stage) != letters(&run.stage))
        {
            for (_, command) in columns() {
                if let Ok(events) = run.decide(&command) {
                    open.push_back(fold(run.clone(), &events));
                }
            }
            found.push(run);
        }
    }
    found
}

#[test]
fn the_table_of_states_and_commands() {
    let states = reachable();
    assert_eq!(states.len(), ROWS.len(), "a row for each reachable stage");
    let mut table = format!("{:15}", "");
    for (heading, command) in columns() {
        assert!(columns_of(&command).contains(&heading));
        for other in columns_of(&command) {
            assert!(columns().iter().any(|(shown, _)| shown == other));
        }
        write!(table, "{heading:27}").unwrap();
    }
    for row in ROWS {
        let run = states
            .iter()
            .find(|run| letters(&run.stage) == row)
            .unwrap();
        write!(table, "\n{row:15}").unwrap();
        for (_, command) in columns() {
            let cell = match run.decide(&command) {
                Err(_) => "refused".to_owned(),
                Ok(events) if events.is_empty() => "-".to_owned(),
                Ok(events) => {
                    let names: Vec<_> = events.iter().map(EventType::name).collect();
                    let after = fold(run.clone(), &events);
                    format!("{} > {}", names.join("+"), letters(&after.stage))
                }
            };
            write!(table, "{cell:27}").unwrap();
        }
    }
    let table: Vec<&str> = table.lines().map(str::trim_end).collect();
    insta::with_settings!({omit_expression => true, prepend_module_to_snapshot => false}, {
        insta::assert_snapshot!("workflow_instance", table.join("\n"));
    });
}

// Properties.

fn some_tally() -> impl Strategy<Value = Tally> {
    (0..3_u32, 0..2_u32, 0..2_u32, 0..2_u32).prop_map(|(succeeded, failed, killed, unstarted)| {
        Tally {
            succeeded,
            failed,
            killed,
            unstarted,
            first_problem: "something".to_owned(),
        }
    })
}

fn some_command() -> impl Strategy<Value = Command> {
    prop_oneof![
        (1..=2_u32).prop_map(|version| Command::Submit(Arc::new(Submission {
            version,
            ..submission()
        }))),
        Just(Command::Start),
        "[a-z]{3}".prop_map(|reason| Command::Stop { reason }),
        some_tally().prop_map(Command::Conclude),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_decide_says_evolve_takes_and_saying_it_again_adds_nothing(
        commands in prop::collection::vec(some_command(), 1..20)
    ) {
        let mut run = WorkflowInstance::default();
        let mut log = Vec::new();
        for command in commands {
            let Ok(events) = run.decide(&command) else { continue };
            if matches!(run.stage, Stage::Ended { .. }) {
                prop_assert!(events.is_empty(), "{:?} after the end", events);
            }
            run = fold(run, &events);
            log.extend(events);
            // A stop that ended well has been overtaken: asking again is refused, and adds nothing either.
            prop_assert_eq!(run.decide(&command), Ok(vec![]));
        }
        let read: Vec<Event> = log
            .iter()
            .map(|event| serde_json::from_str(&serde_json::to_string(event).unwrap()).unwrap())
            .collect();
        prop_assert_eq!(&read, &log);
        prop_assert_eq!(fold(WorkflowInstance::default(), &read), run);
    }
}
