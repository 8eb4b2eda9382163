//! What the steps of a run have touched: what must be looked at when they have been taken down.

use std::collections::HashSet;

use domain::run::Step;
use domain::workflow_instance::Event;
use domain::{Fact, TaskId};

/// What the steps of one decision are about.
#[derive(Debug, Default)]
pub(super) struct Touched {
    /// Tasks, each once, in the order in which they come up.
    pub(super) tasks: Vec<TaskId>,
    /// The run as a whole.
    pub(super) whole: bool,
    /// The run is to pause, to be blocked or to stop.
    pub(super) turns: bool,
    /// The run has ended.
    pub(super) finished: bool,
}

impl Touched {
    pub(super) fn by(steps: &[Step]) -> Self {
        let mut touched = Self::default();
        let mut seen = HashSet::with_capacity(steps.len());
        for step in steps {
            match &step.fact {
                Fact::Task(task, _) => {
                    if seen.insert(*task) {
                        touched.tasks.push(*task);
                    }
                }
                Fact::Workflow(_, event) => {
                    touched.whole = true;
                    touched.turns |= matches!(
                        event,
                        Event::PauseRequested { .. }
                            | Event::BlockRequested { .. }
                            | Event::StopRequested { .. }
                    );
                    touched.finished |= matches!(event, Event::Finished { .. });
                }
                Fact::Definition(..)
                | Fact::Trigger(..)
                | Fact::TaskGroup(..)
                | Fact::SerialQueue(..)
                | Fact::Environment(..) => {}
            }
        }
        touched
    }
}
