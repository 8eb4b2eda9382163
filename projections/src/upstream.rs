//! Has what a DEPENDENT task waits for run, and has this been done before? The two questions that an engine
//! asks the tables. An answer may be as old as the lag: then it is "not yet", and it is asked again.

use domain::run::Wanted;
use domain::task_instance::{Output, TaskState};
use domain::workflow_definition::Verdict;
use domain::workflow_instance::WorkflowState;
use domain::{TaskCode, Timestamp};

use crate::Error;
use crate::cell::Cell;
use crate::reader::{Question, Reader};
use crate::task_instances::{self, TaskRow};
use crate::workflow_instances::{self, InstanceRow};

/// How a run came to its interval.
#[derive(Clone, Copy)]
enum By {
    /// It was for a time in it.
    Schedule,
    /// It was for no time, and began in it.
    Start,
}

impl Reader {
    /// Whether the other workflow, or one task of it, has run in each of the intervals.
    ///
    /// In each interval one instance counts: of those that are for a time in it, the last to end, and of those
    /// that are for no time and began in it, the last to end; of these two the one with the higher id. What
    /// has not ended ends last.
    pub async fn upstream(&self, wanted: &Wanted) -> Result<Verdict, Error> {
        let mut verdict = if wanted.intervals.is_empty() {
            Verdict::Fails
        } else {
            Verdict::Holds
        };
        for interval in &wanted.intervals {
            match self.in_interval(wanted, *interval).await? {
                Verdict::Holds => {}
                // Whatever the others will say, it does not hold.
                Verdict::Fails => return Ok(Verdict::Fails),
                Verdict::Waiting => verdict = Verdict::Waiting,
            }
        }
        Ok(verdict)
    }

    /// What the newest success with this key handed on; none when there is none.
    pub async fn cached(&self, key: &str) -> Result<Option<Vec<Output>>, Error> {
        let mut question = self.ask(&task_instances::TABLE);
        question.of("cache_key = ?", [Cell::from(key)]);
        let success = i64::from(TaskState::Success.code());
        question.of("state = ?", [Cell::Int(success)]);
        question
            .sql
            .push_str(" ORDER BY end_time DESC, instance DESC, attempt DESC LIMIT 1");
        let row = self.rows(&task_instances::TABLE, question).await?.pop();
        let row = row.map(task_instances::read).transpose()?;
        Ok(row.map(|row| row.var_pool))
    }

    async fn in_interval(
        &self,
        wanted: &Wanted,
        interval: (Timestamp, Timestamp),
    ) -> Result<Verdict, Error> {
        let scheduled = self.last(wanted, By::Schedule, interval).await?;
        let started = self.last(wanted, By::Start, interval).await?;
        let instance = scheduled
            .into_iter()
            .chain(started)
            .max_by_key(|row| row.id);
        let Some(instance) = instance else {
            let first = wanted.own && !self.ever_ran(wanted).await?;
            return Ok(if first {
                Verdict::Holds
            } else {
                Verdict::Waiting
            });
        };
        match &wanted.task {
            None => Ok(of_instance(&instance)),
            Some(name) => {
                let attempt = self.valid_attempt(&instance, name).await?;
                Ok(of_attempt(attempt.as_ref(), &instance))
            }
        }
    }

    /// The last instance to end of those that came to the interval like this.
    async fn last(
        &self,
        wanted: &Wanted,
        by: By,
        (from, until): (Timestamp, Timestamp),
    ) -> Result<Option<InstanceRow>, Error> {
        let mut question = self.others(wanted);
        let bounds = [Cell::Int(from.micros()), Cell::Int(until.micros())];
        match by {
            By::Schedule => question.of("schedule_time >= ? AND schedule_time < ?", bounds),
            By::Start => question.of(
                "schedule_time IS NULL AND start_time >= ? AND start_time < ?",
                bounds,
            ),
        }
        question
            .sql
            .push_str(" ORDER BY end_time IS NULL DESC, end_time DESC, id DESC LIMIT 1");
        let row = self.rows(&workflow_instances::TABLE, question).await?.pop();
        row.map(workflow_instances::read).transpose()
    }

    async fn ever_ran(&self, wanted: &Wanted) -> Result<bool, Error> {
        let mut question = self.others(wanted);
        question.sql.push_str(" LIMIT 1");
        let rows = self.rows(&workflow_instances::TABLE, question).await?;
        Ok(!rows.is_empty())
    }

    /// The instances of the wanted workflow but for the one that asks.
    fn others(&self, wanted: &Wanted) -> Question {
        let mut question = self.ask(&workflow_instances::TABLE);
        question.of("definition = ?", [Cell::from(wanted.definition.0)]);
        question.of("id <> ?", [Cell::from(wanted.except.0)]);
        question
    }

    /// The attempt that counts of the instance's task of this name.
    async fn valid_attempt(
        &self,
        instance: &InstanceRow,
        name: &str,
    ) -> Result<Option<TaskRow>, Error> {
        let spec = self.spec(instance.definition, instance.version).await?;
        let task = spec
            .iter()
            .flat_map(|spec| &spec.tasks)
            .find(|task| task.name == name);
        let Some(TaskCode(code)) = task.map(|task| task.code) else {
            return Ok(None);
        };
        let mut question = self.ask(&task_instances::TABLE);
        question.of("instance = ?", [Cell::from(instance.id.0)]);
        question.of("task = ? AND valid = 1", [Cell::from(code)]);
        let row = self.rows(&task_instances::TABLE, question).await?.pop();
        row.map(task_instances::read).transpose()
    }
}

fn of_instance(instance: &InstanceRow) -> Verdict {
    match instance.state {
        WorkflowState::Success => Verdict::Holds,
        WorkflowState::Failure
        | WorkflowState::Stop
        | WorkflowState::Pause
        | WorkflowState::Block => Verdict::Fails,
        WorkflowState::SubmittedSuccess
        | WorkflowState::RunningExecution
        | WorkflowState::ReadyPause
        | WorkflowState::ReadyStop
        | WorkflowState::SerialWait
        | WorkflowState::ReadyBlock => Verdict::Waiting,
    }
}

fn of_attempt(attempt: Option<&TaskRow>, instance: &InstanceRow) -> Verdict {
    let open = if instance.state.is_finished() {
        Verdict::Fails
    } else {
        Verdict::Waiting
    };
    let Some(attempt) = attempt else { return open };
    match attempt.state {
        TaskState::Success | TaskState::ForcedSuccess => Verdict::Holds,
        TaskState::Failure if attempt.retry_at.is_some() => open,
        TaskState::Failure | TaskState::Kill | TaskState::NeedFaultTolerance => Verdict::Fails,
        TaskState::SubmittedSuccess
        | TaskState::DelayExecution
        | TaskState::Dispatch
        | TaskState::RunningExecution
        | TaskState::Pause => open,
    }
}
