//! How often what happened, counted from the log's newest events for `/metrics`.
//!
//! Counters of this process: they begin at zero where the log stood when the process began, as counters
//! do, and read only what is new since they were last asked.

use std::collections::BTreeMap;

use domain::task_instance::{self, Outcome};
use domain::workflow_instance::{self, WorkflowState};
use domain::{Fact, ShardId};
use store::{Cursor, Log, LogError, Recorded};

/// Events read from one shard at a time.
const PAGE: usize = 1_000;

/// Events read for one asking; what is more is counted at the next.
const MOST: usize = 50_000;

/// Counts by the names that `DolphinScheduler`'s metrics give to the states.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    cursor: Option<Cursor>,
    /// Of attempts.
    pub(crate) tasks: BTreeMap<&'static str, u64>,
    /// Of workflow instances.
    pub(crate) workflows: BTreeMap<&'static str, u64>,
    /// Attempts that a worker has taken.
    pub(crate) dispatched: u64,
    /// Attempts that a worker refused.
    pub(crate) refused: u64,
    /// Alerts that were told to somebody, by how that went.
    pub(crate) alerts: BTreeMap<&'static str, u64>,
    /// Alerts that were raised.
    pub(crate) alerts_raised: u64,
    /// Runs that had ended and were made to go on.
    pub(crate) resubmitted: u64,
}

impl Counts {
    /// Every name that may come, so that a counter is there before its first event.
    const TASKS: [&'static str; 9] = [
        "submit", "finish", "success", "fail", "stop", "pause", "timeout", "retry", "failover",
    ];
    const WORKFLOWS: [&'static str; 8] = [
        "submit", "finish", "success", "fail", "stop", "pause", "block", "timeout",
    ];
    const ALERTS: [&'static str; 2] = ["success", "fail"];

    /// Counts what is new in the log.
    pub(crate) async fn advance(&mut self, log: &dyn Log) -> Result<(), LogError> {
        let infos = log.shard_infos().await?;
        let heads: Cursor = infos.iter().map(|info| (info.shard, info.head)).collect();
        let Some(mut cursor) = self.cursor.clone() else {
            self.tasks = Self::TASKS.map(|name| (name, 0)).into();
            self.workflows = Self::WORKFLOWS.map(|name| (name, 0)).into();
            self.alerts = Self::ALERTS.map(|name| (name, 0)).into();
            self.cursor = Some(heads);
            return Ok(());
        };
        let mut left = MOST;
        for (shard, head) in heads {
            let place = cursor.entry(shard).or_insert(0);
            while *place < head && left > 0 {
                let seen = self.page(log, shard, *place, left.min(PAGE)).await?;
                *place += seen;
                left = left.saturating_sub(seen.max(1) as usize);
                // Counted and remembered together: an error further on repeats nothing.
                let cursor = self.cursor.get_or_insert_default();
                cursor.insert(shard, *place);
            }
        }
        Ok(())
    }

    async fn page(
        &mut self,
        log: &dyn Log,
        shard: ShardId,
        after: u64,
        limit: usize,
    ) -> Result<u64, LogError> {
        let events = log.read(shard, after, limit).await?;
        for event in &events {
            self.count(event);
        }
        Ok(events.len() as u64)
    }

    /// An event that cannot be read is not counted; saying so is the business of those who need it.
    fn count(&mut self, event: &Recorded) {
        match event.fact() {
            Ok(Fact::Task(_, event)) => self.task(&event),
            Ok(Fact::Workflow(_, event)) => self.workflow(&event),
            Ok(
                Fact::Definition(..)
                | Fact::Trigger(..)
                | Fact::TaskGroup(..)
                | Fact::SerialQueue(..)
                | Fact::Environment(..),
            )
            | Err(_) => {}
        }
    }

    fn task(&mut self, event: &task_instance::Event) {
        use task_instance::Event;
        let names: &[&'static str] = match event {
            Event::Submitted { .. } => &["submit"],
            Event::Dispatched { .. } | Event::Adopted { .. } => {
                self.dispatched += 1;
                return;
            }
            Event::DispatchFailed { .. } => {
                self.refused += 1;
                return;
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
        for name in names {
            *self.tasks.entry(name).or_default() += 1;
        }
    }

    fn workflow(&mut self, event: &workflow_instance::Event) {
        use workflow_instance::Event;
        let names: &[&'static str] = match event {
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
                return;
            }
            Event::AlertRaised { .. } => {
                self.alerts_raised += 1;
                return;
            }
            Event::AlertSettled { reason, .. } => {
                let how = if reason.is_empty() { "success" } else { "fail" };
                *self.alerts.entry(how).or_default() += 1;
                return;
            }
            Event::Queued {}
            | Event::Started { .. }
            | Event::PauseRequested { .. }
            | Event::BlockRequested { .. }
            | Event::StopRequested { .. }
            | Event::TurnReleased { .. }
            | Event::Deleted {} => &[],
        };
        for name in names {
            *self.workflows.entry(name).or_default() += 1;
        }
    }
}
