//! What a task instance owes the world.

use std::sync::Arc;

use super::event::Work;
use super::state::{Phase, Stage, TaskInstance};
use crate::id::WorkerRef;
use crate::time::Timestamp;
use crate::workflow_definition::TaskGroupRef;
use crate::workflow_instance::WorkflowState;

/// What a task instance owes the world. Meeting one again is harmless: a worker runs an attempt once, a
/// task group gives an attempt one slot, a timer that rings twice finds nothing to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Obligation {
    /// Find a worker for this attempt.
    FindWorker {
        /// Which attempt.
        attempt: u32,
        /// How often a worker refused it.
        refusals: u32,
    },
    /// Ask this worker to run this attempt, until it answers.
    Send {
        /// Which attempt.
        attempt: u32,
        /// Who.
        worker: WorkerRef,
    },
    /// Watch this worker: when it is gone, so is the attempt.
    Watch {
        /// Which attempt.
        attempt: u32,
        /// Who.
        worker: WorkerRef,
    },
    /// Tell this worker to kill this attempt, until it reports the end.
    Kill {
        /// Which attempt.
        attempt: u32,
        /// Who.
        worker: WorkerRef,
    },
    /// Come back at this time.
    Wake {
        /// When.
        at: Timestamp,
    },
    /// Ask the task group for a slot, until it gives one.
    AskSlot {
        /// Which attempt.
        attempt: u32,
        /// Which of its claims, from 0.
        claim: u32,
        /// Of which group, and how urgently.
        task_group: TaskGroupRef,
    },
    /// Tell the task group that the attempt needs no slot, until it knows.
    ReleaseSlot {
        /// Which attempt.
        attempt: u32,
        /// Which of its claims, from 0.
        claim: u32,
        /// Which group.
        task_group: Arc<str>,
    },
    /// Start the next workflow instance on the attempt's behalf.
    StartChild {
        /// Which attempt.
        attempt: u32,
        /// Which of its children, from 0.
        index: u32,
    },
    /// Look whether what it waits for has run.
    Check {
        /// Which attempt.
        attempt: u32,
    },
}

impl TaskInstance {
    pub(super) fn owes(&self) -> Vec<Obligation> {
        let attempt = self.attempt;
        let mut owed = Vec::new();
        match &self.stage {
            // An attempt that was paused and goes on first waits until the group has taken its slot back:
            // else that word could arrive later and take the new slot away.
            Stage::WaitingSlot { task_group }
                if !self.traces().releasing.contains_key(&attempt) =>
            {
                owed.push(Obligation::AskSlot {
                    attempt,
                    claim: self.traces().resumed,
                    task_group: task_group.clone(),
                });
            }
            Stage::Submitted => owed.push(Obligation::FindWorker {
                attempt,
                refusals: self.refusals,
            }),
            Stage::OnWorker {
                worker,
                phase,
                kill,
                ..
            } => {
                let worker = || worker.clone();
                owed.push(Obligation::Watch {
                    attempt,
                    worker: worker(),
                });
                // The kill goes first: a worker that knows it refuses the attempt instead of starting it.
                if kill.is_some() {
                    owed.push(Obligation::Kill {
                        attempt,
                        worker: worker(),
                    });
                }
                if *phase == Phase::Requested {
                    owed.push(Obligation::Send {
                        attempt,
                        worker: worker(),
                    });
                }
            }
            Stage::OnEngine {
                work: Work::Check,
                kill: None,
                ..
            } => owed.push(Obligation::Check { attempt }),
            Stage::OnEngine {
                work:
                    Work::Children {
                        planned,
                        parallelism,
                    },
                kill: None,
                ..
            } => owed.extend(
                self.next_child(*planned, *parallelism)
                    .map(|index| Obligation::StartChild { attempt, index }),
            ),
            Stage::OnEngine { kill: Some(_), .. }
            | Stage::WaitingSlot { .. }
            | Stage::Absent
            | Stage::Delayed { .. }
            | Stage::Retrying { .. }
            | Stage::Paused
            | Stage::Succeeded { .. }
            | Stage::Failed { .. }
            | Stage::Killed { .. }
            | Stage::Lost { .. }
            | Stage::Replacing => {}
        }
        owed.extend(self.deadline().map(|at| Obligation::Wake { at }));
        owed.extend(self.traces().releasing.iter().map(|(&attempt, over)| {
            Obligation::ReleaseSlot {
                attempt,
                claim: over.claim,
                task_group: over.group.clone(),
            }
        }));
        owed
    }

    /// When something will be due without anybody asking for it.
    pub fn deadline(&self) -> Option<Timestamp> {
        match self.stage {
            Stage::Delayed { until, .. } => Some(until),
            Stage::Submitted => self.dispatch_by,
            Stage::OnWorker { timeout_at, .. } | Stage::OnEngine { timeout_at, .. } => timeout_at,
            Stage::Retrying { due, .. } => Some(due),
            Stage::Absent
            | Stage::WaitingSlot { .. }
            | Stage::Paused
            | Stage::Succeeded { .. }
            | Stage::Failed { .. }
            | Stage::Killed { .. }
            | Stage::Lost { .. }
            | Stage::Replacing => None,
        }
    }

    /// The next child to start: none while enough run, all have been started, or one has not ended well.
    fn next_child(&self, planned: u32, parallelism: u32) -> Option<u32> {
        let well = |child: &super::traces::Child| {
            matches!(child.state, None | Some(WorkflowState::Success))
        };
        let running = self.running_children().count() as u32;
        let next = self.traces().children.len() as u32;
        (next < planned && running < parallelism && self.traces().children.values().all(well))
            .then_some(next)
    }
}
