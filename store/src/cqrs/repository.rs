//! The log as the repository of cqrs-es: one shard of it to write to, all of it to read from.

use std::sync::Arc;
use std::task::Poll;

use cqrs_es::Aggregate;
use cqrs_es::persist::{
    PersistedEventRepository, PersistenceError, ReplayStream, SerializedEvent, SerializedSnapshot,
};
use domain::{AggregateType, Fact, ShardId, StreamId, Timestamp};
use serde_json::Value;
use tokio::sync::Mutex;

use crate::chain::Chain;
use crate::log::{Append, AppendError, Lease, Log, LogError, Recorded};
use crate::upcast::{UPCASTERS, Upcaster};

/// Events read at a time when a whole shard is replayed.
const PAGE: usize = 1_000;

type Clock = Box<dyn Fn() -> Timestamp + Send + Sync>;

/// One leased shard of a log. Aggregates that are written through it live in that shard; reading is not
/// confined to it.
pub struct Repository {
    log: Arc<dyn Log>,
    lease: Lease,
    clock: Clock,
    upcasters: &'static [Upcaster],
    place: Mutex<Place>,
}

/// Where the shard's chain is when everything that was sent has been written.
struct Place {
    chain: Chain,
    /// Something that was sent was not written, or nobody knows: the log must be asked.
    stale: bool,
}

impl Repository {
    /// Writes go to the shard of this lease and carry this clock's time.
    pub fn new(
        log: Arc<dyn Log>,
        lease: Lease,
        clock: impl Fn() -> Timestamp + Send + Sync + 'static,
    ) -> Self {
        let place = Mutex::new(Place {
            chain: Chain::start(),
            stale: true,
        });
        Self {
            log,
            lease,
            clock: Box::new(clock),
            upcasters: UPCASTERS,
            place,
        }
    }

    /// Reads old events through these upcasters instead of the program's.
    #[must_use]
    pub fn with_upcasters(self, upcasters: &'static [Upcaster]) -> Self {
        Self { upcasters, ..self }
    }

    /// Writes what `record` adds to the chain. Calls that come while another one is being written are sent
    /// after it at once and share a later commit; if the earlier one fails, so do they.
    pub(super) async fn append(
        &self,
        record: impl FnOnce(&mut Chain, ShardId, Timestamp) -> Vec<Recorded>,
    ) -> Result<(), AppendError> {
        let Lease { shard, epoch, .. } = self.lease;
        let mut place = self.place.lock().await;
        if place.stale {
            place.chain = self
                .chain()
                .await
                .map_err(|error| AppendError::Unavailable(error.to_string()))?;
            place.stale = false;
        }
        let after = place.chain;
        let events = record(&mut place.chain, shard, (self.clock)());
        let mut append = self.log.append(Append {
            shard,
            epoch,
            after,
            events,
        });
        // The first poll puts the append into the log's queue: that much must happen in the chain's order.
        let first =
            std::future::poll_fn(|context| Poll::Ready(append.as_mut().poll(context))).await;
        drop(place);
        let answer = match first {
            Poll::Ready(answer) => answer,
            Poll::Pending => append.await,
        };
        if answer.is_err() {
            self.place.lock().await.stale = true;
        }
        answer
    }

    pub(super) async fn stream(
        &self,
        stream: &StreamId,
        after: u64,
    ) -> Result<Vec<(Recorded, Fact)>, PersistenceError> {
        let events = self
            .log
            .read_stream(stream, after)
            .await
            .map_err(read_failed)?;
        let read = |event: Recorded| {
            let fact = event.fact_through(self.upcasters)?;
            Ok((event, fact))
        };
        events
            .into_iter()
            .map(read)
            .collect::<Result<_, _>>()
            .map_err(read_failed)
    }

    /// Where the shard is, by what the log says.
    async fn chain(&self) -> Result<Chain, LogError> {
        let shard = self.lease.shard;
        let infos = self.log.shard_infos().await?;
        let head = infos
            .iter()
            .find(|info| info.shard == shard)
            .map_or(0, |info| info.head);
        if head == 0 {
            return Ok(Chain::start());
        }
        let last = self.log.read(shard, head - 1, 1).await?;
        let missing = || {
            LogError::Corrupt(format!(
                "shard {shard}: its head is {head}, but that event is missing"
            ))
        };
        last.first().map(Chain::at).ok_or_else(missing)
    }
}

pub(super) fn stream_id(kind: &str, id: &str) -> Result<StreamId, PersistenceError> {
    let unknown = || PersistenceError::UnknownError(format!("{kind} is no kind of stream").into());
    Ok(StreamId {
        kind: AggregateType::from_name(kind).ok_or_else(unknown)?,
        id: id.to_owned(),
    })
}

fn read_failed(error: LogError) -> PersistenceError {
    match error {
        LogError::Corrupt(_) => PersistenceError::DeserializationError(Box::new(error)),
        LogError::Unavailable(_) | LogError::Unusable(_) => {
            PersistenceError::ConnectionError(Box::new(error))
        }
    }
}

pub(super) fn append_failed(error: AppendError) -> PersistenceError {
    match error {
        AppendError::Contended { .. } => PersistenceError::OptimisticLockError,
        AppendError::Fenced(_) | AppendError::Unavailable(_) => {
            PersistenceError::ConnectionError(Box::new(error))
        }
    }
}

fn serialized(event: Recorded, fact: &Fact) -> Result<SerializedEvent, PersistenceError> {
    Ok(SerializedEvent {
        aggregate_id: event.stream.id,
        sequence: event.sequence as usize,
        aggregate_type: event.stream.kind.name().to_owned(),
        event_type: event.event_type.into_owned(),
        event_version: fact.event_version().to_string(),
        payload: serde_json::from_str(&fact.payload())?,
        metadata: serde_json::from_str(&event.metadata)?,
    })
}

impl PersistedEventRepository for Repository {
    async fn get_events<A: Aggregate>(
        &self,
        id: &str,
    ) -> Result<Vec<SerializedEvent>, PersistenceError> {
        self.get_last_events::<A>(id, 0).await
    }

    async fn get_last_events<A: Aggregate>(
        &self,
        id: &str,
        after: usize,
    ) -> Result<Vec<SerializedEvent>, PersistenceError> {
        let events = self.stream(&stream_id(A::TYPE, id)?, after as u64).await?;
        events
            .into_iter()
            .map(|(event, fact)| serialized(event, &fact))
            .collect()
    }

    async fn get_snapshot<A: Aggregate>(
        &self,
        _: &str,
    ) -> Result<Option<SerializedSnapshot>, PersistenceError> {
        Ok(None)
    }

    async fn persist<A: Aggregate>(
        &self,
        events: &[SerializedEvent],
        snapshot: Option<(String, Value, usize)>,
    ) -> Result<(), PersistenceError> {
        if snapshot.is_some() {
            return Err(PersistenceError::UnknownError(super::NO_SNAPSHOTS.into()));
        }
        if events.is_empty() {
            return Ok(());
        }
        let facts = events.iter().map(|event| {
            let stream = stream_id(&event.aggregate_type, &event.aggregate_id)?;
            let fact = Fact::parse(&stream, &event.payload.to_string());
            fact.map_err(|error| PersistenceError::DeserializationError(error.into()))
        });
        let facts = facts.collect::<Result<Vec<_>, _>>()?;
        let record = |chain: &mut Chain, shard, at| {
            let each = facts.iter().zip(events);
            let record = |(fact, event): (&Fact, &SerializedEvent)| {
                chain.record(
                    shard,
                    fact,
                    event.sequence as u64,
                    event.metadata.to_string(),
                    at,
                )
            };
            each.map(record).collect()
        };
        self.append(record).await.map_err(append_failed)
    }

    async fn stream_events<A: Aggregate>(
        &self,
        id: &str,
    ) -> Result<ReplayStream, PersistenceError> {
        let events = self.get_events::<A>(id).await?;
        let (mut feed, stream) = ReplayStream::new(events.len().max(1));
        for event in events {
            feed.push(Ok(event)).await?;
        }
        Ok(stream)
    }

    /// Shard by shard, in the order of each. An event that cannot be read ends the stream with its error.
    async fn stream_all_events<A: Aggregate>(&self) -> Result<ReplayStream, PersistenceError> {
        let kind = stream_id(A::TYPE, "")?.kind;
        let (mut feed, stream) = ReplayStream::new(PAGE);
        let (log, upcasters) = (Arc::clone(&self.log), self.upcasters);
        tokio::spawn(async move {
            for shard in 0..log.shards() {
                let mut after = 0;
                loop {
                    let page = match log.read(ShardId(shard), after, PAGE).await {
                        Ok(page) => page,
                        // Whoever replays may have gone; then nobody needs to know.
                        Err(error) => return drop(feed.push(Err(read_failed(error))).await),
                    };
                    let Some(last) = page.last() else { break };
                    after = last.seq;
                    for event in page.into_iter().filter(|event| event.stream.kind == kind) {
                        let read = event.fact_through(upcasters).map_err(read_failed);
                        let read = read.and_then(|fact| serialized(event, &fact));
                        let end = read.is_err();
                        if feed.push(read).await.is_err() || end {
                            return;
                        }
                    }
                }
            }
        });
        Ok(stream)
    }
}
