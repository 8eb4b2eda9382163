//! The whole table of stages and commands, kept as a snapshot: a new command ships with its column, a new
//! stage with its row.

use std::collections::VecDeque;
use std::fmt::Write;

use super::*;

/// Every stage in a few words. A new stage does not compile without them.
fn words(run: &WorkflowInstance) -> &'static str {
    match &run.stage {
        Stage::Absent => "absent",
        Stage::Submitted => match run.submission.as_ref().map(|asked| asked.execution) {
            Some(Execution::Parallel) | None => "submitted",
            Some(Execution::SerialWait | Execution::SerialDiscard | Execution::SerialPriority) => {
                "serial"
            }
        },
        Stage::Queued => "queued",
        Stage::Running => "running",
        Stage::Pausing { .. } => "pausing",
        Stage::Blocking { .. } => "blocking",
        Stage::Stopping { .. } => "stopping",
        Stage::Ended { state } => match state {
            WorkflowState::Success => "SUCCESS",
            WorkflowState::Failure => "FAILURE",
            WorkflowState::Stop => "STOP",
            WorkflowState::Pause => "PAUSE",
            WorkflowState::Block => "BLOCK",
            WorkflowState::SubmittedSuccess
            | WorkflowState::RunningExecution
            | WorkflowState::ReadyPause
            | WorkflowState::ReadyStop
            | WorkflowState::SerialWait
            | WorkflowState::ReadyBlock => unreachable!("not an end"),
        },
        Stage::Deleted => "deleted",
    }
}

const ROWS: [&str; 14] = [
    "absent",
    "submitted",
    "serial",
    "queued",
    "running",
    "pausing",
    "blocking",
    "stopping",
    "SUCCESS",
    "FAILURE",
    "STOP",
    "PAUSE",
    "BLOCK",
    "deleted",
];

/// Every command's columns. A new command does not compile without one.
fn columns_of(command: &Command) -> &'static [&'static str] {
    match command {
        Command::Submit(_) => &["SUBMIT", "SUBM/SER", "SUBM/OTH"],
        Command::Start { .. } => &["START"],
        Command::GrantTurn { .. } => &["GRANT"],
        Command::RefuseTurn { .. } => &["REFUSE"],
        Command::ReleaseTurn { .. } => &["RELEASE"],
        Command::Wake { .. } => &["WAKE"],
        Command::Pause { .. } => &["PAUSE"],
        Command::Block { .. } => &["BLOCK"],
        Command::Stop { .. } => &["STOP"],
        Command::Conclude(_) => &["ALL WELL", "FAILED", "KILLED", "PAUSED"],
        Command::Restart { restart, .. } => match restart {
            Restart::RepeatRunning => &["RERUN"],
            Restart::RecoverSuspendedProcess => &["RESUME"],
            Restart::StartFailureTaskProcess => &["RECOVER"],
            Restart::ExecuteTask => &["EXECUTE"],
        },
        Command::Raise(_) => &["RAISE"],
        Command::SettleAlert { .. } => &["SETTLE"],
        Command::Delete => &["DELETE"],
    }
}

fn asked_for(version: u32, execution: Execution) -> Command {
    Command::Submit(Arc::new(Submission {
        version,
        execution,
        timeout: Some(Duration::from_mins(1)),
        ..submission()
    }))
}

/// The columns for a run in this state: everything is said of its newest run.
fn columns(run: &WorkflowInstance) -> Vec<(&'static str, Command)> {
    let run_times = run.run_times;
    let alert = Alert {
        kind: AlertKind::TaskTimeout,
        task: None,
        text: "it takes long".to_owned(),
    };
    let settle = Command::SettleAlert {
        number: 1,
        reason: String::new(),
    };
    vec![
        ("SUBMIT", asked_for(1, Execution::Parallel)),
        ("SUBM/SER", asked_for(1, Execution::SerialWait)),
        ("SUBM/OTH", asked_for(2, Execution::Parallel)),
        ("START", start()),
        ("GRANT", grant(run_times)),
        ("REFUSE", refuse_turn(run_times)),
        ("RELEASE", Command::ReleaseTurn { run_times }),
        ("WAKE", Command::Wake { at: at(5_000) }),
        ("PAUSE", pause()),
        ("BLOCK", block()),
        ("STOP", stop()),
        ("ALL WELL", Command::Conclude(all_well())),
        ("FAILED", Command::Conclude(one_failed())),
        ("KILLED", Command::Conclude(one_killed())),
        ("PAUSED", Command::Conclude(one_paused())),
        ("RERUN", restart(Restart::RepeatRunning, None)),
        ("RESUME", restart(Restart::RecoverSuspendedProcess, None)),
        ("RECOVER", restart(Restart::StartFailureTaskProcess, None)),
        ("EXECUTE", restart(Restart::ExecuteTask, Some(only(7)))),
        ("RAISE", Command::Raise(alert)),
        ("SETTLE", settle),
        ("DELETE", Command::Delete),
    ]
}

/// One letter per event; a new event does not compile without one.
fn letter(event: &Event) -> char {
    match event {
        Event::Submitted(_) => 'S',
        Event::Queued {} => 'Q',
        Event::Started { .. } => 'R',
        Event::TimedOut {} => 'O',
        Event::PauseRequested { .. } => 'P',
        Event::BlockRequested { .. } => 'B',
        Event::StopRequested { .. } => 'K',
        Event::Finished { .. } => 'F',
        Event::TurnReleased { .. } => 'V',
        Event::Restarted { .. } => 'A',
        Event::AlertRaised { .. } => 'W',
        Event::AlertSettled { .. } => 'T',
        Event::Deleted {} => 'D',
    }
}

const LEGEND: &str = "\
Events: S submitted, Q queued, R started, O timed_out, P pause_requested, B block_requested, K stop_requested,
F finished, V turn_released, A restarted, W alert_raised, T alert_settled, D deleted; then the stage after them.
-  already so, or not worth a word.  SUBM/SER: takes turns; SUBM/OTH: another run. ALL WELL, FAILED, KILLED, PAUSED:
conclude, as the tally says. Row serial: a submitted run that takes turns. WAKE: every deadline has passed.
";

fn reachable() -> Vec<WorkflowInstance> {
    let mut found: Vec<WorkflowInstance> = Vec::new();
    let mut open = VecDeque::from([WorkflowInstance::default()]);
    while let Some(run) = open.pop_front() {
        if found.iter().all(|known| words(known) != words(&run)) {
            for (_, command) in columns(&run) {
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
    let headings = columns(&WorkflowInstance::default());
    let mut table = format!("{:11}", "");
    for (heading, command) in &headings {
        assert!(columns_of(command).contains(heading));
        for other in columns_of(command) {
            assert!(headings.iter().any(|(shown, _)| shown == other));
        }
        write!(table, "{heading:12}").unwrap();
    }
    for row in ROWS {
        let run = states.iter().find(|run| words(run) == row).unwrap();
        write!(table, "\n{row:11}").unwrap();
        for (_, command) in columns(run) {
            let cell = match run.decide(&command) {
                Err(_) => "refused".to_owned(),
                Ok(events) if events.is_empty() => "-".to_owned(),
                Ok(events) => {
                    let happened: String = events.iter().map(letter).collect();
                    format!("{happened} {}", words(&fold(run.clone(), &events)))
                }
            };
            write!(table, "{cell:12}").unwrap();
        }
    }
    let table: Vec<&str> = table.lines().map(str::trim_end).collect();
    insta::with_settings!({omit_expression => true, prepend_module_to_snapshot => false, snapshot_path => "../snapshots"}, {
        insta::assert_snapshot!("workflow_instance", format!("{}\n\n{LEGEND}", table.join("\n")));
    });
}
