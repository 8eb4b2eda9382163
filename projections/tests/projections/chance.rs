//! What happens by chance, and is the same each time.

use domain::run::{Command, End, TaskCommand, TurnAnswer, Word};
use domain::task_instance::{Outcome, Started};
use domain::workflow_definition::Verdict;
use domain::workflow_instance::Restart;
use domain::{TaskCode, Timestamp, WorkerRef};

use crate::world::TASKS;

/// Small, even and repeatable: the numbers of one test.
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn below(&mut self, limit: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % limit
    }
}

/// Something that may be asked of a run of the workflow that is played, whether it makes sense or not.
pub(crate) fn random(dice: &mut Dice) -> Command {
    let reason = || "somebody asked".to_owned();
    match dice.below(150) {
        0 => Command::Stop { reason: reason() },
        1 | 2 => Command::Pause { reason: reason() },
        3..=8 => Command::Restart {
            restart: [
                Restart::RepeatRunning,
                Restart::RecoverSuspendedProcess,
                Restart::StartFailureTaskProcess,
                Restart::ExecuteTask,
            ][dice.below(4)],
            scope: None,
            reason: reason(),
        },
        9 => Command::Wake,
        10 => Command::SettleAlert {
            number: 1 + dice.below(3) as u32,
            reason: ["", "nobody listens"][dice.below(2)].to_owned(),
        },
        11..=13 => Command::Turn {
            run_times: 1 + dice.below(2) as u32,
            answer: match dice.below(6) {
                0 => TurnAnswer::Refused { reason: reason() },
                1..=3 => TurnAnswer::Released,
                _ => TurnAnswer::Granted,
            },
        },
        _ => Command::Task {
            task: TaskCode::of_name(TASKS[dice.below(4)]),
            command: random_of_task(dice),
        },
    }
}

fn random_of_task(dice: &mut Dice) -> TaskCommand {
    let worker = WorkerRef::new(["w-1", "w-2"][dice.below(2)], "1", "here:1234");
    let reason = || "somebody asked".to_owned();
    let attempt = 1 + dice.below(3) as u32;
    match dice.below(150) {
        0 => TaskCommand::Kill { reason: reason() },
        1 => TaskCommand::ForceSuccess { reason: reason() },
        2 | 3 => TaskCommand::LoseWorker {
            worker,
            reason: "the worker is gone".to_owned(),
            failovers: 1,
        },
        4..=20 => TaskCommand::Wake,
        21..=24 => TaskCommand::Check {
            attempt,
            verdicts: vec![[Verdict::Waiting, Verdict::Holds, Verdict::Fails][dice.below(3)]],
        },
        25..=80 => TaskCommand::RequestDispatch { worker },
        _ => TaskCommand::Report {
            attempt,
            worker,
            word: word(dice),
        },
    }
}

fn word(dice: &mut Dice) -> Word {
    let started = Started {
        started_at: Timestamp(1_600_000_000_000_000 + dice.below(1_000) as i64),
        log_path: "/logs/1".to_owned(),
        pid: [None, Some(7)][dice.below(2)],
    };
    match dice.below(5) {
        0 => Word::Accepted,
        1 => Word::Refused("busy".to_owned()),
        2 => Word::Started(started),
        _ => Word::Finished(end(dice, started)),
    }
}

fn end(dice: &mut Dice, started: Started) -> End {
    let outcome = match dice.below(12) {
        0..6 => Outcome::Success,
        6..11 => Outcome::Failure,
        _ => Outcome::Kill,
    };
    End {
        outcome,
        ended_at: Timestamp(started.started_at.micros() + 5),
        started: [None, Some(started)][dice.below(2)].clone(),
        exit_code: [None, Some(3)][dice.below(2)],
        outputs: vec![("rows".to_owned(), "42".to_owned())],
        reason: match outcome {
            Outcome::Success => String::new(),
            Outcome::Failure | Outcome::Kill => "it said so".to_owned(),
        },
    }
}
