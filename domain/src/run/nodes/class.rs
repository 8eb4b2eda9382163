//! What a node means for the run, and how many of each kind there are.

use super::edges::Edge;
use crate::task_instance::{Stage, TaskInstance, Work};

/// What a node means for the run.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    Idle,
    /// Active, and nobody carries it out yet.
    Waiting,
    Running,
    /// Active, and somebody has asked for its end.
    Dying,
    Paused,
    Succeeded,
    Failed,
    Killed,
}

impl Class {
    pub(super) fn of(task: &TaskInstance) -> Self {
        match &task.stage {
            Stage::Absent => Self::Idle,
            Stage::OnWorker { kill: Some(_), .. } | Stage::OnEngine { kill: Some(_), .. } => {
                Self::Dying
            }
            Stage::Delayed { .. }
            | Stage::WaitingSlot { .. }
            | Stage::Submitted
            | Stage::Retrying { .. }
            | Stage::OnEngine {
                work: Work::Check, ..
            } => Self::Waiting,
            // Its next child has not been started yet: that is waiting too.
            Stage::OnEngine {
                work: Work::Children { .. },
                ..
            } if task.running_children().next().is_none() => Self::Waiting,
            Stage::OnWorker { .. }
            | Stage::OnEngine {
                work: Work::Children { .. },
                ..
            }
            | Stage::Replacing => Self::Running,
            Stage::Paused => Self::Paused,
            Stage::Succeeded { .. } => Self::Succeeded,
            Stage::Failed { .. } | Stage::Lost { .. } => Self::Failed,
            Stage::Killed { .. } => Self::Killed,
        }
    }

    /// How the edges of a node that ended like this are decided; none while it may still end.
    pub(super) fn edge(self) -> Option<Edge> {
        match self {
            Self::Succeeded => Some(Edge::Passed),
            Self::Failed => Some(Edge::Failed),
            Self::Killed => Some(Edge::Dead),
            Self::Idle | Self::Waiting | Self::Running | Self::Dying | Self::Paused => None,
        }
    }
}

/// How many nodes that take part are in which class.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) selected: u32,
    /// Forbidden, or on a branch that was not chosen.
    pub(super) aside: u32,
    pub(super) waiting: u32,
    pub(super) running: u32,
    pub(super) dying: u32,
    pub(super) paused: u32,
    pub(super) succeeded: u32,
    pub(super) failed: u32,
    pub(super) handled: u32,
    pub(super) killed: u32,
}

impl Counts {
    pub(super) fn of(&mut self, class: Class, handled: bool) -> Option<&mut u32> {
        match class {
            Class::Idle => None,
            Class::Waiting => Some(&mut self.waiting),
            Class::Running => Some(&mut self.running),
            Class::Dying => Some(&mut self.dying),
            Class::Paused => Some(&mut self.paused),
            Class::Succeeded => Some(&mut self.succeeded),
            Class::Failed if handled => Some(&mut self.handled),
            Class::Failed => Some(&mut self.failed),
            Class::Killed => Some(&mut self.killed),
        }
    }

    pub(super) fn enter(&mut self, class: Class, handled: bool) {
        if let Some(count) = self.of(class, handled) {
            *count += 1;
        }
    }

    pub(super) fn leave(&mut self, class: Class, handled: bool) {
        if let Some(count) = self.of(class, handled) {
            *count -= 1;
        }
    }
}
