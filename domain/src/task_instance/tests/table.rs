//! The whole table of states and commands, kept as a snapshot: a new command ships with its column, a new
//! stage with its row.

use std::collections::VecDeque;
use std::fmt::Write;

use super::*;
use crate::aggregate::Aggregate;
use crate::id::InstanceId;
use crate::task_instance::{Phase, TaskState, Work};
use crate::testing::fold;
use crate::workflow_definition::{TaskGroupRef, Timeout, TimeoutStrategy};
use crate::workflow_instance::WorkflowState;

/// Every stage in a few letters, with what is said of it beside the table. A new stage does not compile
/// without its letters.
fn letters(task: &TaskInstance) -> &'static str {
    match &task.stage {
        Stage::Absent => "abs",
        Stage::Delayed {
            task_group: None, ..
        } => "del",
        Stage::Delayed {
            task_group: Some(_),
            ..
        } => "delg",
        Stage::WaitingSlot { .. } => "slo",
        Stage::Submitted => "sub",
        Stage::OnWorker { phase, kill, .. } => match (phase, kill) {
            (Phase::Requested, None) => "req",
            (Phase::Dispatched, None) => "dis",
            (Phase::Running, None) => "run",
            (Phase::Requested, Some(_)) => "req!",
            (Phase::Dispatched, Some(_)) => "dis!",
            (Phase::Running, Some(_)) => "run!",
        },
        Stage::OnEngine { work, kill, .. } => {
            let busy = task.running_children().next().is_some();
            match (work, busy, kill) {
                (Work::Check, _, None) => "chk",
                (Work::Check, _, Some(_)) => unreachable!("a check that is killed has ended"),
                (Work::Children { .. }, false, None) => "chi",
                (Work::Children { .. }, true, None) => "chr",
                (Work::Children { .. }, false, Some(_)) => "chi!",
                (Work::Children { .. }, true, Some(_)) => "chr!",
            }
        }
        Stage::Retrying { .. } => "rty",
        Stage::Paused => "pau",
        Stage::Succeeded { forced: false, .. } => "suc",
        Stage::Succeeded { forced: true, .. } => "frc",
        Stage::Failed { .. } => "fai",
        Stage::Killed { .. } if task.traces().releasing.is_empty() => "kil",
        Stage::Killed { .. } => "kilg",
        Stage::Lost { .. } => "los",
        Stage::Replacing => unreachable!("the next attempt follows in the same breath"),
    }
}

const ROWS: [(&str, &str); 24] = [
    ("abs", "absent"),
    ("del", "delayed"),
    ("delg", "delayed, then slot"),
    ("slo", "waits for a slot"),
    ("sub", "submitted"),
    ("req", "a worker is asked"),
    ("req!", "asked, shall die"),
    ("dis", "dispatched"),
    ("dis!", "dispatched, shall die"),
    ("run", "running"),
    ("run!", "running, shall die"),
    ("chk", "the engine checks"),
    ("chi", "children, none runs"),
    ("chi!", "the same, shall die"),
    ("chr", "children run"),
    ("chr!", "the same, shall die"),
    ("rty", "failed, retry due"),
    ("pau", "paused"),
    ("suc", "succeeded"),
    ("frc", "forced to succeed"),
    ("fai", "failed"),
    ("kil", "killed"),
    ("kilg", "killed, slot to return"),
    ("los", "lost"),
];

/// Every command's columns. A new command does not compile without one.
fn columns_of(command: &Command) -> &'static [&'static str] {
    match command {
        Command::Submit(_) => &["SUBMIT", "SUBM/DEL", "SUBM/GRP", "SUBM/D+G"],
        Command::GrantSlot { .. } => &["GRANT"],
        Command::ReleaseSlot { .. } => &["RELEASE"],
        Command::RequestDispatch { .. } => &["DISPATCH"],
        Command::Accept { .. } => &["ACCEPT"],
        Command::Refuse { .. } => &["REFUSE"],
        Command::ReportStarted { .. } => &["STARTED"],
        Command::ReportFinished { .. } => &["SUCCESS", "FAILURE", "FAIL/RTY", "KILLED"],
        Command::Engage { .. } => &["CHECK", "CHILDREN"],
        Command::StartChild { .. } => &["CHILD"],
        Command::EndChild { .. } => &["CHILDEND"],
        Command::Conclude(_) => &["CONCLUDE", "CONC/FAI"],
        Command::Lose { .. } => &["LOSE", "LOSE/END"],
        Command::Wake(_) => &["WAKE"],
        Command::Kill { .. } => &["KILL"],
        Command::Pause { .. } => &["PAUSE"],
        Command::Resume(_) => &["RESUME", "RESU/GRP"],
        Command::ForceSuccess { .. } => &["FORCE"],
        Command::Invalidate { .. } => &["AGAIN"],
    }
}

/// The policies in the table: everything has a limit, so that every deadline can pass.
fn limits() -> Terms {
    Terms {
        dispatch_timeout: Some(Duration::from_secs(10)),
        timeout: Some(Timeout {
            after: Duration::from_secs(10),
            strategy: TimeoutStrategy::Failed,
        }),
        ..terms()
    }
}

fn grouped() -> Terms {
    Terms {
        task_group: Some(TaskGroupRef {
            name: "gpu".to_owned(),
            priority: 0,
        }),
        ..limits()
    }
}

fn delayed(terms: Terms) -> Terms {
    Terms {
        delay: Duration::from_secs(10),
        ..terms
    }
}

/// What the engine says of a task in this state: everything is about its newest attempt.
fn said_by_the_engine(task: &TaskInstance) -> Vec<(&'static str, Command)> {
    let attempt = task.attempt;
    vec![
        ("SUBMIT", Command::Submit(limits())),
        ("SUBM/DEL", Command::Submit(delayed(limits()))),
        ("SUBM/GRP", Command::Submit(grouped())),
        ("SUBM/D+G", Command::Submit(delayed(grouped()))),
        (
            "GRANT",
            Command::GrantSlot {
                attempt,
                claim: 0,
                terms: grouped(),
            },
        ),
        ("RELEASE", Command::ReleaseSlot { attempt, claim: 0 }),
        ("DISPATCH", dispatch("a")),
        ("LOSE", lose(worker("a"), true)),
        ("LOSE/END", lose(worker("a"), false)),
        (
            "WAKE",
            Command::Wake(Terms {
                at: at(NOW + 1_000),
                ..limits()
            }),
        ),
        ("PAUSE", pause()),
        ("RESUME", Command::Resume(limits())),
        ("RESU/GRP", Command::Resume(grouped())),
        ("KILL", kill()),
        ("FORCE", force()),
        ("AGAIN", invalidate(true)),
    ]
}

/// What is said of how its body gets on, by worker `a` or by what runs on its behalf.
fn said_of_the_body(task: &TaskInstance) -> Vec<(&'static str, Command)> {
    let n = task.attempt;
    let engage = |work| Command::Engage {
        at: at(NOW),
        work,
        terms: limits(),
    };
    let started = Command::ReportStarted {
        attempt: n,
        worker: worker("a"),
        started: start(),
        terms: limits(),
    };
    let index = task.traces().children.len() as u32;
    let child = |index: u32| InstanceId(2_000 + u64::from(index));
    vec![
        ("ACCEPT", accept(n, "a")),
        ("REFUSE", refuse(n, "a")),
        ("STARTED", started),
        ("SUCCESS", report_finished(n, "a", Outcome::Success)),
        ("FAILURE", report_finished(n, "a", Outcome::Failure)),
        ("FAIL/RTY", report_failure(n, "a", 9)),
        ("KILLED", report_finished(n, "a", Outcome::Kill)),
        ("CHECK", engage(Work::Check)),
        (
            "CHILDREN",
            engage(Work::Children {
                planned: 9,
                parallelism: 2,
            }),
        ),
        (
            "CHILD",
            Command::StartChild {
                attempt: n,
                index,
                instance: child(index),
                wake: None,
            },
        ),
        (
            "CHILDEND",
            Command::EndChild {
                index: index.saturating_sub(1),
                instance: child(index.saturating_sub(1)),
                state: WorkflowState::Success,
                outputs: vec![],
            },
        ),
        ("CONCLUDE", conclude(Outcome::Success)),
        ("CONC/FAI", conclude(Outcome::Failure)),
    ]
}

fn columns(task: &TaskInstance) -> Vec<(&'static str, Command)> {
    [said_by_the_engine(task), said_of_the_body(task)].concat()
}

/// One letter per event; a new event does not compile without one.
fn letter(event: &Event) -> char {
    match event {
        Event::Submitted { .. } => 'S',
        Event::DelayPassed { .. } => 'Y',
        Event::SlotGranted { .. } => 'G',
        Event::SlotReleased { .. } => 'V',
        Event::DispatchRequested { .. } => 'Q',
        Event::DispatchFailed { .. } => 'X',
        Event::Dispatched { .. } => 'D',
        Event::Adopted { .. } => 'A',
        Event::Started { .. } => 'R',
        Event::Engaged { .. } => 'E',
        Event::ChildStarted { .. } => 'C',
        Event::ChildEnded { .. } => 'N',
        Event::TimedOut { .. } => 'O',
        Event::KillRequested { .. } => 'K',
        Event::Paused { .. } => 'P',
        Event::Resumed { .. } => 'U',
        Event::Finished { .. } => 'F',
        Event::Lost { .. } => 'L',
        Event::RetryAbandoned { .. } => 'B',
        Event::SuccessForced { .. } => 'W',
        Event::Invalidated { .. } => 'I',
        Event::LateReported { .. } => 'T',
    }
}

const LEGEND: &str = "\
Events: S submitted, Y delay_passed, G slot_granted, V slot_released, Q dispatch_requested, X dispatch_failed,
D dispatched, A adopted, R started, E engaged, C child_started, N child_ended, O timed_out, K kill_requested, P paused,
U resumed, F finished, L lost, B retry_abandoned, W success_forced, I invalidated, T late_reported; then the state
after them.  - already so, or not worth a word.
SUBM/DEL, SUBM/GRP, SUBM/D+G: with a delay, a task group, both; RESU/GRP: with a task group. LOSE: the worker is gone
and the run goes on; LOSE/END: the run does not. WAKE: every deadline has passed, and a timeout kills. FAIL/RTY: a
failure with retries left. CHECK, CHILDREN: the engine carries it out. CONCLUDE, CONC/FAI: well, or as a failure.
";

/// Every kind of state that commands can bring about, by the shortest way there.
fn reachable() -> Vec<TaskInstance> {
    let mut found: Vec<TaskInstance> = Vec::new();
    let mut open = VecDeque::from([TaskInstance::default()]);
    while let Some(task) = open.pop_front() {
        if found.iter().any(|known| letters(known) == letters(&task)) {
            continue;
        }
        for (_, command) in columns(&task) {
            if let Ok(events) = task.decide(&command) {
                open.push_back(fold(task.clone(), &events));
            }
        }
        found.push(task);
    }
    found
}

fn table(
    states: &[TaskInstance],
    columns: impl Fn(&TaskInstance) -> Vec<(&'static str, Command)>,
) -> String {
    let mut table = format!("{:28}", "");
    for (heading, command) in columns(&TaskInstance::default()) {
        assert!(columns_of(&command).contains(&heading));
        write!(table, "{heading:10}").unwrap();
    }
    for (short, long) in ROWS {
        let task = states.iter().find(|task| letters(task) == short).unwrap();
        write!(table, "\n{short:5}{long:23}").unwrap();
        for (_, command) in columns(task) {
            let cell = match task.decide(&command) {
                Err(_) => "refused".to_owned(),
                Ok(events) if events.is_empty() => "-".to_owned(),
                Ok(events) => {
                    let happened: String = events.iter().map(letter).collect();
                    let after = fold(task.clone(), &events);
                    format!("{happened} {}", letters(&after))
                }
            };
            write!(table, "{cell:10}").unwrap();
        }
    }
    let lines: Vec<&str> = table.lines().map(str::trim_end).collect();
    lines.join("\n")
}

#[test]
fn the_table_of_states_and_commands() {
    let states = reachable();
    assert_eq!(states.len(), ROWS.len(), "a row for each reachable stage");
    let both = [
        table(&states, said_by_the_engine),
        table(&states, said_of_the_body),
    ];
    insta::with_settings!({omit_expression => true, prepend_module_to_snapshot => false, snapshot_path => "../snapshots"}, {
        insta::assert_snapshot!("task_instance", format!("{}\n\n{LEGEND}", both.join("\n\n")));
    });
}

#[test]
fn every_command_has_all_its_columns() {
    let shown = columns(&TaskInstance::default());
    for (_, command) in &shown {
        for heading in columns_of(command) {
            assert!(
                shown.iter().any(|(shown, _)| shown == heading),
                "no column {heading}"
            );
        }
    }
}

#[test]
fn d50_states_have_the_names_and_codes_that_clients_know() {
    let known = [
        ("SUBMITTED_SUCCESS", 0, false),
        ("DELAY_EXECUTION", 12, false),
        ("DISPATCH", 17, false),
        ("RUNNING_EXECUTION", 1, false),
        ("PAUSE", 3, true),
        ("SUCCESS", 7, true),
        ("FAILURE", 6, true),
        ("KILL", 9, true),
        ("NEED_FAULT_TOLERANCE", 8, true),
        ("FORCED_SUCCESS", 13, true),
    ];
    assert_eq!(known.len(), TaskState::ALL.len());
    for (state, (name, code, finished)) in TaskState::ALL.into_iter().zip(known) {
        assert_eq!(
            (state.name(), state.code(), state.is_finished()),
            (name, code, finished)
        );
        assert_eq!(TaskState::from_code(code), Some(state));
    }
    assert_eq!(TaskState::from_code(2), None);
}
