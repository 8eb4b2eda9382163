//! What must hold of what runs share: slots of task groups, and turns of workflows that do not overlap.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use domain::task_group;
use domain::workflow_definition::Execution;
use domain::workflow_instance::Event;
use domain::{AttemptId, DefinitionCode, Fact, InstanceId};

use crate::claim::{Claim, hold};
use crate::world::World;

/// A task group, by what its events say and nothing else.
#[derive(Default)]
struct Group {
    size: Option<u32>,
    held: BTreeSet<AttemptId>,
    waiting: BTreeSet<AttemptId>,
}

impl World {
    /// A group never gives more slots than it has, unless somebody forces it, and in the end it has them
    /// all back.
    pub(crate) fn slots_are_given_back(&self) {
        let mut groups: BTreeMap<Arc<str>, Group> = BTreeMap::new();
        for entry in &self.ledger.facts {
            let Fact::TaskGroup(name, event) = &entry.fact else {
                continue;
            };
            let group = groups.entry(name.clone()).or_default();
            match *event {
                task_group::Event::Defined { size } => group.size = Some(size),
                task_group::Event::Requested { attempt, .. } => {
                    let new = group.waiting.insert(attempt) && !group.held.contains(&attempt);
                    hold(Claim::Slots, new, || {
                        format!("{attempt} asked \"{name}\" twice")
                    });
                }
                task_group::Event::Granted { attempt, forced } => {
                    let asked = group.waiting.remove(&attempt) && group.held.insert(attempt);
                    hold(Claim::Slots, asked, || {
                        format!("{attempt} got a slot of \"{name}\" without asking")
                    });
                    let fits = group
                        .size
                        .is_some_and(|size| group.held.len() <= size as usize);
                    hold(Claim::Slots, forced || fits, || {
                        let (given, size) = (group.held.len(), group.size);
                        format!("\"{name}\" gave {given} slots of {size:?}")
                    });
                }
                task_group::Event::Released { attempt } => {
                    let had = group.held.remove(&attempt) || group.waiting.remove(&attempt);
                    hold(Claim::Slots, had, || {
                        format!("{attempt} gave \"{name}\" back what it did not have")
                    });
                }
            }
        }
        for (name, group) in groups {
            let (held, waiting) = (&group.held, &group.waiting);
            hold(Claim::Slots, held.is_empty() && waiting.is_empty(), || {
                format!("\"{name}\" is held by {held:?} and waited for by {waiting:?}")
            });
        }
    }

    /// No two runs of a serial workflow run at the same time. They live in different shards and engines have
    /// clocks of their own, so the time at which events became durable is what orders them.
    pub(crate) fn turns_do_not_overlap(&self) {
        let mut began: BTreeMap<InstanceId, u64> = BTreeMap::new();
        let mut spans: BTreeMap<DefinitionCode, Vec<Span>> = BTreeMap::new();
        for entry in &self.ledger.facts {
            let Fact::Workflow(id, fact) = &entry.fact else {
                continue;
            };
            if let Event::Started { .. } = fact {
                began.insert(*id, entry.at);
            } else if let Event::Finished { .. } = fact
                && let Some(from) = began.remove(id)
            {
                let asked = &self.ledger.runs[id].submission;
                if asked.execution != Execution::Parallel {
                    let spans = spans.entry(asked.definition).or_default();
                    spans.push((from, entry.at, *id));
                }
            }
        }
        for spans in spans.values_mut() {
            spans.sort_unstable();
            for pair in spans.windows(2) {
                let ((_, end, first), (next, _, second)) = (pair[0], pair[1]);
                hold(Claim::Turns, end <= next, || {
                    format!("{second} began while {first} was running")
                });
            }
        }
    }
}

/// From when until when a run was running.
type Span = (u64, u64, InstanceId);
