//! The whole table of states and commands, kept as a snapshot: a new command ships with its column, a new
//! stage with its row.

use std::collections::VecDeque;
use std::fmt::Write;

use super::*;
use crate::aggregate::Aggregate;
use crate::task_instance::{Phase, Stage};
use crate::testing::fold;

/// Every stage in a few letters, with what is said of it beside the table. A new stage does not compile
/// without its letters.
fn letters(stage: &Stage) -> &'static str {
    match stage {
        Stage::Absent => "abs",
        Stage::Submitted => "sub",
        Stage::OnWorker { phase, kill, .. } => match (phase, kill) {
            (Phase::Requested, None) => "req",
            (Phase::Dispatched, None) => "dis",
            (Phase::Running, None) => "run",
            (Phase::Requested, Some(_)) => "req!",
            (Phase::Dispatched, Some(_)) => "dis!",
            (Phase::Running, Some(_)) => "run!",
        },
        Stage::Retrying { .. } => "rty",
        Stage::Succeeded { .. } => "suc",
        Stage::Failed => "fai",
        Stage::Killed => "kil",
        Stage::Lost => "los",
    }
}

const ROWS: [(&str, &str); 13] = [
    ("abs", "absent"),
    ("sub", "submitted"),
    ("req", "a worker is asked"),
    ("req!", "asked, shall die"),
    ("dis", "dispatched"),
    ("dis!", "dispatched, shall die"),
    ("run", "running"),
    ("run!", "running, shall die"),
    ("rty", "failed, retry due"),
    ("suc", "succeeded"),
    ("fai", "failed"),
    ("kil", "killed"),
    ("los", "lost"),
];

/// Every command's columns. A new command does not compile without one.
fn columns_of(command: &Command) -> &'static [&'static str] {
    match command {
        Command::Submit => &["SUBMIT"],
        Command::RequestDispatch { .. } => &["DISPATCH"],
        Command::Accept { .. } => &["ACCEPT"],
        Command::Refuse { .. } => &["REFUSE"],
        Command::ReportStarted { .. } => &["STARTED"],
        Command::ReportFinished { .. } => &["SUCCESS", "FAILURE", "FAIL/RTY", "KILLED"],
        Command::Conclude { .. } => &["CONCLUDE"],
        Command::Lose { .. } => &["LOSE", "LOSE/END"],
        Command::Retry { .. } => &["RETRY"],
        Command::Kill { .. } => &["KILL"],
    }
}

/// The columns for a task in this state: everything is said of its newest attempt, by worker `a`.
fn columns(task: &TaskInstance) -> Vec<(&'static str, Command)> {
    let n = task.attempt;
    vec![
        ("SUBMIT", Command::Submit),
        ("DISPATCH", dispatch("a")),
        ("ACCEPT", accept(n, "a")),
        ("REFUSE", refuse(n, "a")),
        ("STARTED", report_started(n, "a")),
        ("SUCCESS", report_finished(n, "a", Outcome::Success)),
        ("FAILURE", report_finished(n, "a", Outcome::Failure)),
        ("FAIL/RTY", report_failure(n, "a", 9)),
        ("KILLED", report_finished(n, "a", Outcome::Kill)),
        (
            "CONCLUDE",
            Command::Conclude {
                outcome: Outcome::Success,
                at: at(NOW),
                reason: String::new(),
            },
        ),
        ("LOSE", lose(worker("a"), true)),
        ("LOSE/END", lose(worker("a"), false)),
        ("RETRY", Command::Retry { at: at(NOW + 60) }),
        ("KILL", kill()),
    ]
}

/// One letter per event; a new event does not compile without one.
fn letter(event: &Event) -> char {
    match event {
        Event::Submitted { .. } => 'S',
        Event::DispatchRequested { .. } => 'Q',
        Event::DispatchFailed { .. } => 'X',
        Event::Dispatched { .. } => 'D',
        Event::Adopted { .. } => 'A',
        Event::Started { .. } => 'R',
        Event::KillRequested { .. } => 'K',
        Event::Finished { .. } => 'F',
        Event::Lost { .. } => 'L',
        Event::RetryAbandoned { .. } => 'B',
        Event::LateReported { .. } => 'T',
    }
}

const LEGEND: &str = "\
Events: S submitted, Q dispatch_requested, X dispatch_failed, D dispatched, A adopted, R started, K kill_requested,
F finished, L lost, B retry_abandoned, T late_reported; then the state after them.  - already so, or not worth a word.
FAIL/RTY: a failure with retries left. LOSE: the worker is gone and the run goes on; LOSE/END: the run does not.
";

/// Every kind of state that commands can bring about, by the shortest way there.
fn reachable() -> Vec<TaskInstance> {
    let mut found: Vec<TaskInstance> = Vec::new();
    let mut open = VecDeque::from([TaskInstance::default()]);
    while let Some(task) = open.pop_front() {
        if found
            .iter()
            .any(|known| letters(&known.stage) == letters(&task.stage))
        {
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

#[test]
fn the_table_of_states_and_commands() {
    let states = reachable();
    assert_eq!(states.len(), ROWS.len(), "a row for each reachable stage");
    let mut table = format!("{:28}", "");
    for (heading, command) in columns(&TaskInstance::default()) {
        assert!(columns_of(&command).contains(&heading));
        write!(table, "{heading:9}").unwrap();
    }
    for (short, long) in ROWS {
        let task = states
            .iter()
            .find(|task| letters(&task.stage) == short)
            .unwrap();
        write!(table, "\n{short:5}{long:23}").unwrap();
        for (_, command) in columns(task) {
            let cell = match task.decide(&command) {
                Err(_) => "refused".to_owned(),
                Ok(events) if events.is_empty() => "-".to_owned(),
                Ok(events) => {
                    let happened: String = events.iter().map(letter).collect();
                    let after = fold(task.clone(), &events);
                    format!("{happened} {}", letters(&after.stage))
                }
            };
            write!(table, "{cell:9}").unwrap();
        }
    }
    let table: Vec<&str> = table.lines().map(str::trim_end).collect();
    insta::with_settings!({omit_expression => true, prepend_module_to_snapshot => false, snapshot_path => "../snapshots"}, {
        insta::assert_snapshot!("task_instance", format!("{}\n\n{LEGEND}", table.join("\n")));
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
