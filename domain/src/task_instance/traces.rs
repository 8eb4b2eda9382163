//! What only few task instances have to remember: workers that failed them, slots, pauses, children. Kept apart,
//! because many more wait than have any of it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::event::{Output, Wake};
use crate::id::InstanceId;
use crate::workflow_instance::WorkflowState;

/// What others have left behind on a task instance.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Traces {
    /// How many attempts were lost with a worker that had taken them, since the node was last begun anew.
    pub losses: u32,
    /// The worker that refused the newest attempt last, or lost the one before it: another one is tried
    /// first.
    pub shunned: Option<Arc<str>>,
    /// Attempts that were given up and whose end no worker has reported. A report on one of these is
    /// worth a note, the second one is not.
    pub unreported: BTreeSet<u32>,
    /// The task group in which the newest attempt waits for a slot or has one.
    pub claim: Option<Arc<str>>,
    /// Attempts that need no slot any more, and what the group does not know yet.
    pub releasing: BTreeMap<u32, Releasing>,
    /// How often the newest attempt was paused and went on. Its claims for a slot are told apart by it: what
    /// the group is told of one of them, and tells, may come late.
    pub resumed: u32,
    /// The workflow instances that run, or ran, on its behalf.
    pub children: BTreeMap<u32, Child>,
}

impl Traces {
    /// Nobody has left any.
    pub(super) const NONE: &'static Self = &Self {
        losses: 0,
        shunned: None,
        unreported: BTreeSet::new(),
        claim: None,
        releasing: BTreeMap::new(),
        resumed: 0,
        children: BTreeMap::new(),
    };
}

/// A claim for a slot that is over, and its group may not know it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Releasing {
    /// The task group.
    pub group: Arc<str>,
    /// Which of the attempt's claims, from 0.
    pub claim: u32,
}

/// A workflow instance that runs on behalf of a task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Child {
    /// Which.
    pub instance: InstanceId,
    /// How it ended; none while it runs.
    pub state: Option<WorkflowState>,
    /// How it is to be woken; none when it is new.
    pub wake: Option<Wake>,
    /// What it handed up.
    pub outputs: Arc<[Output]>,
}
