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
        for step in steps {
            match &step.fact {
                Fact::Task(task, _) => {
                    if touched.tasks.last() != Some(task) {
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
        // The steps of a task mostly follow each other: two that do are two tasks.
        if touched.tasks.len() > 2 {
            let mut seen = HashSet::with_capacity(touched.tasks.len());
            touched.tasks.retain(|task| seen.insert(*task));
        }
        touched
    }
}
