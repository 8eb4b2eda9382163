//! How often what happened: counters by the names that `DolphinScheduler`'s metrics give to the states. A fold
//! like every other; whoever keeps one says since when it counts.

use crate::fact::Fact;
use crate::task_instance::{self, Outcome};
use crate::workflow_instance::{self, WorkflowState};

/// Counts of what became of attempts, runs and alerts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    tasks: [u64; Self::TASKS.len()],
    workflows: [u64; Self::WORKFLOWS.len()],
    /// Attempts that a worker has taken.
    pub dispatched: u64,
    /// Attempts that a worker refused.
    pub refused: u64,
    /// Alerts that were told to somebody.
    pub told: u64,
    /// Alerts that were given up.
    pub untold: u64,
    /// Alerts that were raised.
    pub raised: u64,
    /// Runs that had ended and were made to go on.
    pub resubmitted: u64,
}

impl Tally {
    const TASKS: [&'static str; 9] = [
        "submit", "finish", "success", "fail", "stop", "pause", "timeout", "retry", "failover",
    ];
    const WORKFLOWS: [&'static str; 8] = [
        "submit", "finish", "success", "fail", "stop", "pause", "block", "timeout",
    ];

    /// What became of attempts: every name, also of what has not happened.
    pub fn tasks(&self) -> impl Iterator<Item = (&'static str, u64)> {
        Self::TASKS.into_iter().zip(self.tasks)
    }

    /// What became of runs: every name, also of what has not happened.
    pub fn workflows(&self) -> impl Iterator<Item = (&'static str, u64)> {
        Self::WORKFLOWS.into_iter().zip(self.workflows)
    }

    /// Counts what another one has counted.
    pub fn add(&mut self, other: &Self) {
        let pairs = self.tasks.iter_mut().zip(other.tasks);
        for (count, more) in pairs.chain(self.workflows.iter_mut().zip(other.workflows)) {
            *count += more;
        }
        self.dispatched += other.dispatched;
        self.refused += other.refused;
        self.told += other.told;
        self.untold += other.untold;
        self.raised += other.raised;
        self.resubmitted += other.resubmitted;
    }

    /// Counts one fact.
    pub fn count(&mut self, fact: &Fact) {
        match fact {
            Fact::Task(_, event) => self.task(event),
            Fact::Workflow(_, event) => self.workflow(event),
            Fact::Definition(..)
            | Fact::Trigger(..)
            | Fact::TaskGroup(..)
            | Fact::SerialQueue(..)
            | Fact::Environment(..) => {}
        }
    }

    fn task(&mut self, event: &task_instance::Event) {
        use task_instance::Event;
        let names: &[&str] = match event {
            Event::Submitted { .. } => &["submit"],
            Event::Dispatched { .. } | Event::Adopted { .. } => {
                self.dispatched += 1;
                &[]
            }
            Event::DispatchFailed { .. } => {
                self.refused += 1;
                &[]
            }
            Event::Finished {
                outcome, retry_at, ..
            } => match (outcome, retry_at) {
                (Outcome::Success, _) => &["finish", "success"],
                (Outcome::Kill, _) => &["finish", "stop"],
                (Outcome::Failure, Some(_)) => &["finish", "fail", "retry"],
                (Outcome::Failure, None) => &["finish", "fail"],
            },
            Event::Lost { .. } => &["failover"],
            Event::TimedOut { .. } => &["timeout"],
            Event::Paused { .. } => &["pause"],
            Event::SuccessForced { .. } => &["success"],
            Event::DelayPassed { .. }
            | Event::SlotGranted { .. }
            | Event::SlotReleased { .. }
            | Event::DispatchRequested { .. }
            | Event::Started { .. }
            | Event::Engaged { .. }
            | Event::ChildStarted { .. }
            | Event::ChildEnded { .. }
            | Event::KillRequested { .. }
            | Event::Resumed { .. }
            | Event::RetryAbandoned { .. }
            | Event::Invalidated { .. }
            | Event::LateReported { .. } => &[],
        };
        bump(&mut self.tasks, Self::TASKS, names);
    }

    fn workflow(&mut self, event: &workflow_instance::Event) {
        use workflow_instance::Event;
        let names: &[&str] = match event {
            Event::Submitted(_) => &["submit"],
            Event::Finished { state, .. } => match state {
                WorkflowState::Success => &["finish", "success"],
                WorkflowState::Failure => &["finish", "fail"],
                WorkflowState::Stop => &["finish", "stop"],
                WorkflowState::Pause => &["finish", "pause"],
                WorkflowState::Block => &["finish", "block"],
                WorkflowState::SubmittedSuccess
                | WorkflowState::RunningExecution
                | WorkflowState::ReadyPause
                | WorkflowState::ReadyStop
                | WorkflowState::SerialWait
                | WorkflowState::ReadyBlock => &[],
            },
            Event::TimedOut {} => &["timeout"],
            Event::Restarted { .. } => {
                self.resubmitted += 1;
                &[]
            }
            Event::AlertRaised { .. } => {
                self.raised += 1;
                &[]
            }
            Event::AlertSettled { reason, .. } => {
                let told = u64::from(reason.is_empty());
                self.told += told;
                self.untold += 1 - told;
                &[]
            }
            Event::Queued {}
            | Event::Started { .. }
            | Event::PauseRequested { .. }
            | Event::BlockRequested { .. }
            | Event::StopRequested { .. }
            | Event::TurnReleased { .. }
            | Event::Deleted {} => &[],
        };
        bump(&mut self.workflows, Self::WORKFLOWS, names);
    }
}

fn bump<const N: usize>(counts: &mut [u64; N], all: [&str; N], names: &[&str]) {
    for (count, name) in counts.iter_mut().zip(all) {
        *count += u64::from(names.contains(&name));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{InstanceId, TaskCode, TaskId};

    #[test]
    fn a_failure_that_is_retried_counts_under_three_names_and_a_sum_counts_both() {
        let task = TaskId {
            instance: InstanceId(1_000),
            task: TaskCode(7),
        };
        let finished = task_instance::Event::Finished {
            attempt: 1,
            outcome: Outcome::Failure,
            ended_at: crate::time::Timestamp(1),
            started: None,
            exit_code: Some(1),
            var_pool: Vec::new(),
            reason: "exit code 1".to_owned(),
            retry_at: Some(crate::time::Timestamp(2)),
            branches: None,
            cache_key: None,
        };
        let mut tally = Tally::default();
        tally.count(&Fact::Task(task, finished));
        let deleted = workflow_instance::Event::AlertSettled {
            number: 1,
            reason: "nobody".to_owned(),
        };
        tally.count(&Fact::Workflow(task.instance, deleted));
        let same = tally;
        tally.add(&same);
        let counted: Vec<_> = tally.tasks().filter(|(_, count)| *count > 0).collect();
        assert_eq!(counted, [("finish", 2), ("fail", 2), ("retry", 2)]);
        assert_eq!((tally.told, tally.untold), (0, 2));
    }
}
