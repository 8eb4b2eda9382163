//! Which letter meets which obligation.

use domain::run;
use domain::serial_queue::{self, Asker};
use domain::{AttemptId, DefinitionCode};

use super::{Letter, TurnSays};

/// The letter that meets an obligation of a workflow's queue.
pub(super) fn turn_letter(definition: DefinitionCode, owed: serial_queue::Obligation) -> Letter {
    let (asker, says) = match owed {
        serial_queue::Obligation::TellGranted(asker) => (asker, TurnSays::Granted),
        serial_queue::Obligation::TellRefused(asker) => (asker, TurnSays::Refused),
        serial_queue::Obligation::TellStop(asker) => (asker, TurnSays::Stop),
    };
    Letter::Turn {
        definition,
        asker,
        says,
    }
}

/// The letter that meets an obligation, if a letter does.
pub(in crate::core) fn letter_of(run: &run::Run, owed: &run::Obligation) -> Option<Letter> {
    use domain::task_instance::Obligation as Task;
    use domain::workflow_instance::Obligation as Whole;
    let asked = run.workflow().submission.as_deref()?;
    let this_time = |run_times: &u32| Asker {
        instance: run.id(),
        run_times: *run_times,
    };
    let named = |code: &domain::TaskCode, number: &u32| AttemptId {
        task: domain::TaskId {
            instance: run.id(),
            task: *code,
        },
        number: *number,
    };
    match owed {
        run::Obligation::Run(Whole::AskTurn { run_times }) => Some(Letter::AskTurn {
            definition: asked.definition,
            asker: this_time(run_times),
            execution: asked.execution,
        }),
        run::Obligation::Run(Whole::ReleaseTurn { run_times }) => Some(Letter::ReleaseTurn {
            definition: asked.definition,
            asker: this_time(run_times),
        }),
        run::Obligation::Task(
            code,
            Task::AskSlot {
                attempt,
                claim,
                task_group,
            },
        ) => Some(Letter::AskSlot {
            group: task_group.name.as_str().into(),
            attempt: named(code, attempt),
            claim: *claim,
            priority: task_group.priority,
        }),
        run::Obligation::Task(
            code,
            Task::ReleaseSlot {
                attempt,
                claim,
                task_group,
            },
        ) => Some(Letter::ReleaseSlot {
            group: task_group.clone(),
            attempt: named(code, attempt),
            claim: *claim,
        }),
        run::Obligation::Run(Whole::Wake { .. } | Whole::Tell { .. })
        | run::Obligation::Task(
            _,
            Task::FindWorker { .. }
            | Task::Send { .. }
            | Task::Watch { .. }
            | Task::Kill { .. }
            | Task::Wake { .. }
            | Task::StartChild { .. }
            | Task::Check { .. },
        ) => None,
    }
}
