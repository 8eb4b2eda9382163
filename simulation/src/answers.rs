//! What engines want to know of the world, and have told to people: late, twice, or not at first.

use domain::run::Wanted;
use domain::workflow_definition::Verdict;
use domain::workflow_instance::WorkflowState;
use domain::{AggregateType, Fact, InstanceId, StreamId, TaskId, environment};
use engine::core::{Found, Input, Inquiry};

use crate::claim::{Claim, violated};
use crate::faults::Fault;
use crate::world::{TICK, TROUBLE, World, now};

/// Until then somebody waits for a workflow that never ran.
const PATIENCE: u64 = TROUBLE + 20_000_000;

impl World {
    pub(crate) fn look(
        &mut self,
        engine: usize,
        task: TaskId,
        attempt: u32,
        generation: u64,
        inquiry: &Inquiry,
    ) {
        let found = if self.log_is_away() || self.happens(Fault::Unknown) {
            Found::Unknown("pretend".to_owned())
        } else {
            self.find(engine, inquiry)
        };
        for _ in 0..self.times() {
            let late = if self.in_trouble() {
                self.rng.below(30)
            } else {
                1
            };
            let input = Input::Found {
                task,
                attempt,
                generation,
                found: found.clone(),
            };
            let inbox = &mut self.engines[engine].inbox;
            inbox.push_back((self.now + late * TICK, input));
        }
    }

    fn find(&self, engine: usize, inquiry: &Inquiry) -> Found {
        match inquiry {
            Inquiry::Definition(code) => {
                let definitions = &self.engines[engine].definitions;
                let newest = now(definitions.newest(self.log.as_ref(), *code));
                Found::Definition(
                    newest.unwrap_or_else(|error| violated(Claim::Readable, error.to_string())),
                )
            }
            Inquiry::Upstream(wanted) => {
                Found::Upstream(wanted.iter().map(|wanted| self.upstream(wanted)).collect())
            }
            Inquiry::Preparation {
                environment,
                cache_key,
            } => {
                let cached = cache_key
                    .as_ref()
                    .and_then(|key| self.ledger.cached.get(key));
                Found::Preparation {
                    environment: environment
                        .as_ref()
                        .map_or_else(|| Some("".into()), |name| self.environment(name)),
                    cached: cached.cloned(),
                }
            }
        }
    }

    fn environment(&self, name: &str) -> Option<std::sync::Arc<str>> {
        let stream = StreamId {
            kind: AggregateType::Environment,
            id: name.to_owned(),
        };
        let newest = self.ledger.stream(&stream).next_back()?;
        if let Fact::Environment(_, environment::Event::Changed { config }) = &newest.fact {
            Some(config.clone())
        } else {
            None
        }
    }

    /// Whether the newest run of another workflow ended well.
    fn upstream(&self, wanted: &Wanted) -> Verdict {
        let newest = self.ledger.newest(wanted.definition, wanted.except);
        match newest.map(|run| run.ended) {
            Some(Some(WorkflowState::Success)) => Verdict::Holds,
            None if wanted.own => Verdict::Holds,
            Some(None) | None if self.now < PATIENCE => Verdict::Waiting,
            Some(_) | None => Verdict::Fails,
        }
    }

    /// People hear of it sooner or later, or it is given up.
    pub(crate) fn tell_people(&mut self, engine: usize, instance: InstanceId, number: u32) {
        let reason = if self.rng.percent(20) {
            "nobody was there"
        } else {
            ""
        };
        for _ in 0..self.times() {
            let input = Input::Told {
                instance,
                number,
                reason: reason.to_owned(),
            };
            let due = self.now + self.rng.between(1, 50) * TICK;
            self.engines[engine].inbox.push_back((due, input));
        }
    }
}
