//! What must hold of what runs share: slots of task groups, and turns of workflows that do not overlap.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use domain::task_group;
use domain::workflow_definition::Execution;
use domain::workflow_instance::Event;
use domain::{AttemptId, DefinitionCode, Fact, InstanceId, Timestamp};

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
        let seed = self.seed;
        let mut groups: BTreeMap<Arc<str>, Group> = BTreeMap::new();
        for (_, fact) in &self.ledger.facts {
            let Fact::TaskGroup(name, event) = fact else {
                continue;
            };
            let group = groups.entry(name.clone()).or_default();
            match *event {
                task_group::Event::Defined { size } => group.size = Some(size),
                task_group::Event::Requested { attempt, .. } => {
                    assert!(
                        group.waiting.insert(attempt) && !group.held.contains(&attempt),
                        "seed {seed}: {attempt} asked \"{name}\" twice"
                    );
                }
                task_group::Event::Granted { attempt, forced } => {
                    assert!(
                        group.waiting.remove(&attempt) && group.held.insert(attempt),
                        "seed {seed}: {attempt} got a slot of \"{name}\" without asking"
                    );
                    let fits = group
                        .size
                        .is_some_and(|size| group.held.len() <= size as usize);
                    assert!(
                        forced || fits,
                        "seed {seed}: \"{name}\" gave {} slots of {:?}",
                        group.held.len(),
                        group.size
                    );
                }
                task_group::Event::Released { attempt } => {
                    assert!(
                        group.held.remove(&attempt) || group.waiting.remove(&attempt),
                        "seed {seed}: {attempt} gave \"{name}\" back what it did not have"
                    );
                }
            }
        }
        for (name, group) in groups {
            assert!(
                group.held.is_empty() && group.waiting.is_empty(),
                "seed {seed}: \"{name}\" is held by {:?} and waited for by {:?}",
                group.held,
                group.waiting
            );
        }
    }

    /// No two runs of a serial workflow run at the same time. They live in different shards, so the time of
    /// the decisions is what orders them.
    pub(crate) fn turns_do_not_overlap(&self) {
        let mut began: BTreeMap<InstanceId, Timestamp> = BTreeMap::new();
        let mut spans: BTreeMap<DefinitionCode, Vec<Span>> = BTreeMap::new();
        for (event, fact) in &self.ledger.facts {
            let Fact::Workflow(id, fact) = fact else {
                continue;
            };
            if let Event::Started { .. } = fact {
                began.insert(*id, event.recorded_at);
            } else if let Event::Finished { .. } = fact
                && let Some(from) = began.remove(id)
            {
                let asked = &self.ledger.runs[id].submission;
                if asked.execution != Execution::Parallel {
                    let spans = spans.entry(asked.definition).or_default();
                    spans.push((from, event.recorded_at, *id));
                }
            }
        }
        for spans in spans.values_mut() {
            spans.sort_unstable();
            for pair in spans.windows(2) {
                let ((_, end, first), (next, _, second)) = (pair[0], pair[1]);
                assert!(
                    end <= next,
                    "seed {}: {second} began while {first} was running",
                    self.seed
                );
            }
        }
    }
}

/// From when until when a run was running.
type Span = (Timestamp, Timestamp, InstanceId);
