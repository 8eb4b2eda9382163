//! The log as the event store of cqrs-es for the one who owns a shard: an aggregate is read once and then
//! kept, for nobody else can change it while the lease holds. What is kept is durable, always: a command is
//! never decided on events that may still be refused.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cqrs_es::persist::PersistenceError;
use cqrs_es::{Aggregate as _, AggregateContext, AggregateError, EventEnvelope, EventStore};
use domain::{Aggregate, EventType, Fact, StreamId};

use super::repository::{append_failed, stream_id};
use super::{Hosted, Refusal, Repository, Said};
use crate::chain::Chain;
use crate::log::Recorded;

/// The aggregates of one kind in one leased shard.
pub struct HotStore<A> {
    repository: Arc<Repository>,
    memory: Mutex<Memory<A>>,
}

struct Memory<A> {
    /// The durable state of each aggregate, and the sequence of its last event.
    hot: HashMap<String, (u64, Hosted<A>)>,
    /// Aggregates whose next events are being written.
    busy: HashSet<String>,
}

/// An aggregate that was loaded for one command.
pub struct HotContext<A> {
    id: String,
    sequence: u64,
    aggregate: Hosted<A>,
}

impl<A: Aggregate> AggregateContext<Hosted<A>> for HotContext<A> {
    fn aggregate(&mut self) -> &mut Hosted<A> {
        &mut self.aggregate
    }
}

impl<A: Aggregate> HotStore<A> {
    /// Nothing is loaded until it is asked for. Stores of several kinds can share one repository.
    pub fn new(repository: Arc<Repository>) -> Self {
        Self {
            repository,
            memory: Mutex::new(Memory {
                hot: HashMap::new(),
                busy: HashSet::new(),
            }),
        }
    }

    /// A poisoned lock is a panic elsewhere, between two whole changes: what it protects is still whole.
    fn memory(&self) -> MutexGuard<'_, Memory<A>> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn stream_id(id: &str) -> StreamId {
        StreamId {
            kind: A::TYPE,
            id: id.to_owned(),
        }
    }
}

impl<A: Aggregate> EventStore<Hosted<A>> for HotStore<A> {
    type AC = HotContext<A>;

    async fn load_events(
        &self,
        id: &str,
    ) -> Result<Vec<EventEnvelope<Hosted<A>>>, AggregateError<Refusal>> {
        let events = self
            .repository
            .stream(&stream_id(Hosted::<A>::TYPE, id)?, 0)
            .await?;
        events
            .into_iter()
            .map(|(event, fact)| Ok(envelope(event, &fact)?))
            .collect()
    }

    async fn load_aggregate(&self, id: &str) -> Result<HotContext<A>, AggregateError<Refusal>> {
        if let Some((sequence, aggregate)) = self.memory().hot.get(id) {
            return Ok(HotContext {
                id: id.to_owned(),
                sequence: *sequence,
                aggregate: aggregate.clone(),
            });
        }
        let mut context = HotContext {
            id: id.to_owned(),
            sequence: 0,
            aggregate: Hosted::default(),
        };
        for event in self.load_events(id).await? {
            context.sequence = event.sequence as u64;
            context.aggregate.apply(event.payload);
        }
        context
            .aggregate
            .whole()
            .map_err(|corrupt| AggregateError::UserError(corrupt.into()))?;
        Ok(context)
    }

    async fn commit(
        &self,
        events: Vec<Said<A::Event>>,
        context: HotContext<A>,
        metadata: HashMap<String, String>,
    ) -> Result<Vec<EventEnvelope<Hosted<A>>>, AggregateError<Refusal>> {
        let HotContext {
            id,
            sequence,
            aggregate,
        } = context;
        if events.is_empty() {
            return Ok(Vec::new());
        }
        let claim = Claim::take(self, &id, sequence).ok_or(AggregateError::AggregateConflict)?;
        let stream = Self::stream_id(&id);
        let texts = serde_json::to_string(&metadata).map_err(PersistenceError::from)?;
        let texts: Arc<str> = texts.into();
        let facts = events
            .iter()
            .map(|Said(event)| fact(&stream, event))
            .collect::<Result<Vec<_>, _>>()?;
        let record = |chain: &mut Chain, shard, at| {
            let numbered = (sequence + 1..).zip(&facts);
            numbered
                .map(|(sequence, fact)| chain.record(shard, fact, sequence, Arc::clone(&texts), at))
                .collect()
        };
        self.repository
            .append(record)
            .await
            .map_err(append_failed)?;
        claim.keep(sequence + events.len() as u64, aggregate);
        let said = |(sequence, payload)| EventEnvelope {
            aggregate_id: id.clone(),
            sequence,
            payload,
            metadata: metadata.clone(),
        };
        Ok((sequence as usize + 1..).zip(events).map(said).collect())
    }
}

/// The right to write the next events of one aggregate. However it ends, except well, the aggregate is
/// forgotten and the next command reads it from the log.
struct Claim<'a, A: Aggregate> {
    store: &'a HotStore<A>,
    id: &'a str,
}

impl<'a, A: Aggregate> Claim<'a, A> {
    /// None when somebody else writes to the aggregate, or has since it was loaded.
    fn take(store: &'a HotStore<A>, id: &'a str, sequence: u64) -> Option<Self> {
        let mut memory = store.memory();
        let moved = memory
            .hot
            .get(id)
            .is_some_and(|(last, _)| *last != sequence);
        if moved || !memory.busy.insert(id.to_owned()) {
            return None;
        }
        Some(Self { store, id })
    }

    fn keep(self, sequence: u64, aggregate: Hosted<A>) {
        let mut memory = self.store.memory();
        memory.busy.remove(self.id);
        memory.hot.insert(self.id.to_owned(), (sequence, aggregate));
        // Its end is this one: the other would take the next claim of the same aggregate for its own.
        std::mem::forget(self);
    }
}

impl<A: Aggregate> Drop for Claim<'_, A> {
    fn drop(&mut self) {
        let mut memory = self.store.memory();
        if memory.busy.remove(self.id) {
            memory.hot.remove(self.id);
        }
    }
}

/// The event as the log takes it: read back from its own text, so that nothing is written that cannot be read.
fn fact<E: EventType>(stream: &StreamId, event: &E) -> Result<Fact, PersistenceError> {
    let text = serde_json::to_string(event)?;
    Fact::parse(stream, &text).map_err(|error| PersistenceError::DeserializationError(error.into()))
}

fn envelope<A: Aggregate>(
    event: Recorded,
    fact: &Fact,
) -> Result<EventEnvelope<Hosted<A>>, PersistenceError> {
    Ok(EventEnvelope {
        aggregate_id: event.stream.id,
        sequence: event.sequence as usize,
        payload: serde_json::from_str(&fact.payload())?,
        metadata: serde_json::from_str(&event.metadata)?,
    })
}
