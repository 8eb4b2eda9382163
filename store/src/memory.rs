//! The log in a few lines of memory: the model that the real ones are compared with, and the log of
//! the simulator. It lasts as long as the process and its clock moves only when told to.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use domain::{AggregateType, InstanceId, ShardId, StreamId};
use tokio::sync::watch;

use crate::chain::Chain;
use crate::log::{Append, AppendError, Lease, Log, LogError, Member, Recorded, ShardInfo};
use crate::standing::Standing;

/// Where the time of leases comes from, in milliseconds.
type Clock = Box<dyn Fn() -> i64 + Send + Sync>;

/// A log that forgets everything when it is dropped.
pub struct MemoryLog {
    model: Mutex<Model>,
    clock: Option<Clock>,
    handovers: watch::Sender<u64>,
}

#[derive(Default)]
struct Model {
    now_ms: i64,
    commits: u64,
    shards: Vec<Shard>,
    /// Where each event of each stream is: shard and index.
    streams: BTreeMap<(StreamId, u64), (u16, usize)>,
    letters: Vec<(ShardId, String)>,
    standings: BTreeMap<ShardId, Standing>,
    /// Those who have announced themselves, and until when.
    members: BTreeMap<String, (Member, i64)>,
}

#[derive(Default)]
struct Shard {
    events: Vec<Recorded>,
    epoch: u64,
    owner: String,
    expires_at_ms: i64,
    heir: String,
}

impl MemoryLog {
    /// An empty log whose clock stands at zero until [`MemoryLog::advance`].
    pub fn new(shards: u16) -> Self {
        let shards = (0..shards).map(|_| Shard::default()).collect();
        Self {
            model: Mutex::new(Model {
                now_ms: 1,
                shards,
                ..Model::default()
            }),
            clock: None,
            handovers: watch::Sender::new(0),
        }
    }

    /// An empty log whose leases are measured by this clock, in milliseconds.
    pub fn with_clock(shards: u16, clock: impl Fn() -> i64 + Send + Sync + 'static) -> Self {
        Self {
            clock: Some(Box::new(clock)),
            ..Self::new(shards)
        }
    }

    /// Lets time pass for the leases.
    pub fn advance(&self, ms: i64) {
        self.model().now_ms += ms;
    }

    fn hint(&self, changed: bool) {
        if changed {
            self.handovers.send_modify(|count| *count += 1);
        }
    }

    /// A poisoned lock is a panic elsewhere, between two whole changes of the model: it is still whole.
    fn model(&self) -> MutexGuard<'_, Model> {
        let mut model = self.model.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(clock) = &self.clock {
            model.now_ms = clock();
        }
        model
    }
}

impl Model {
    fn append(&mut self, append: &Append) -> Result<(), AppendError> {
        let shard = append.shard;
        let contended = |detail: String| AppendError::Contended { shard, detail };
        if let Some(flaw) = append.flaw() {
            return Err(contended(flaw));
        }
        let Some(state) = self.shards.get_mut(usize::from(shard.0)) else {
            return Err(contended("this log has no such shard".to_owned()));
        };
        if state.epoch != append.epoch {
            return Err(AppendError::Fenced(shard));
        }
        let head = state.events.len() as u64;
        let last = state.events.last().map_or(Chain::start(), Chain::at);
        if last != append.after {
            return Err(contended(format!(
                "it ends with event {head}, not with the writer's event {}",
                append.after.head
            )));
        }
        for event in &append.events {
            if self
                .streams
                .contains_key(&(event.stream.clone(), event.sequence))
            {
                return Err(contended(format!(
                    "{} already has its event {}",
                    event.stream, event.sequence
                )));
            }
        }
        for event in &append.events {
            self.streams.insert(
                (event.stream.clone(), event.sequence),
                (shard.0, state.events.len()),
            );
            state.events.push(event.clone());
        }
        self.commits += 1;
        Ok(())
    }

    fn stream(&self, stream: &StreamId, after: u64) -> impl DoubleEndedIterator<Item = &Recorded> {
        // `after` itself is left out by starting behind it; the last sequence there can be has no successor.
        let range = (stream.clone(), after.saturating_add(1))..=(stream.clone(), u64::MAX);
        self.streams
            .range(range)
            .filter_map(|(_, &(shard, index))| self.shards[usize::from(shard)].events.get(index))
    }

    fn acquire(&mut self, owner: &str, most: usize, lease_ms: u64) -> Vec<Lease> {
        let now = self.now_ms;
        let rank = |shard: &Shard| {
            let held = shard.expires_at_ms > now;
            match (held, shard.owner == owner) {
                (false, _) => Some(0),
                (true, true) => Some(1),
                (true, false) => None,
            }
        };
        let mut takeable: Vec<_> = self
            .shards
            .iter()
            .enumerate()
            .filter_map(|(index, shard)| Some((rank(shard)?, index)))
            .collect();
        takeable.sort_unstable();
        takeable.truncate(most);
        let mut leases: Vec<_> = takeable
            .into_iter()
            .map(|(_, index)| self.give(index, owner, lease_ms))
            .collect();
        leases.sort_unstable_by_key(|lease| lease.shard);
        leases
    }

    fn inherit(&mut self, heir: &str, shards: &[ShardId], lease_ms: u64) -> Vec<Lease> {
        let asked = |shard: &Shard| !heir.is_empty() && shard.heir == heir;
        let mut indices: Vec<_> = shards.iter().map(|shard| usize::from(shard.0)).collect();
        indices.retain(|index| self.shards.get(*index).is_some_and(asked));
        indices.sort_unstable();
        indices.dedup();
        indices
            .into_iter()
            .map(|index| self.give(index, heir, lease_ms))
            .collect()
    }

    fn give(&mut self, index: usize, owner: &str, lease_ms: u64) -> Lease {
        let until = self.now_ms.saturating_add_unsigned(lease_ms);
        let shard = &mut self.shards[index];
        shard.epoch += 1;
        owner.clone_into(&mut shard.owner);
        shard.heir.clear();
        shard.expires_at_ms = until;
        Lease {
            shard: ShardId(index as u16),
            epoch: shard.epoch,
            head: shard.events.len() as u64,
        }
    }

    /// The shard of a lease, if the lease is still its newest.
    fn held(&mut self, owner: &str, lease: &Lease) -> Option<&mut Shard> {
        self.shards
            .get_mut(usize::from(lease.shard.0))
            .filter(|shard| shard.epoch == lease.epoch && shard.owner == owner)
    }
}

#[async_trait]
impl Log for MemoryLog {
    fn shards(&self) -> u16 {
        self.model().shards.len() as u16
    }

    async fn append(&self, append: Append) -> Result<(), AppendError> {
        self.model().append(&append)
    }

    async fn read(
        &self,
        shard: ShardId,
        after: u64,
        limit: usize,
    ) -> Result<Vec<Recorded>, LogError> {
        let model = self.model();
        let events = model
            .shards
            .get(usize::from(shard.0))
            .map_or(&[][..], |shard| &shard.events);
        Ok(events
            .iter()
            .skip(usize::try_from(after).unwrap_or(usize::MAX))
            .take(limit)
            .cloned()
            .collect())
    }

    async fn read_stream(&self, stream: &StreamId, after: u64) -> Result<Vec<Recorded>, LogError> {
        Ok(self.model().stream(stream, after).cloned().collect())
    }

    async fn length(&self, stream: &StreamId) -> Result<u64, LogError> {
        Ok(self.model().stream(stream, 0).count() as u64)
    }

    async fn read_last(&self, stream: &StreamId) -> Result<Option<Recorded>, LogError> {
        Ok(self.model().stream(stream, 0).next_back().cloned())
    }

    async fn read_instance(
        &self,
        instance: InstanceId,
        after: u64,
    ) -> Result<Vec<Recorded>, LogError> {
        let model = self.model();
        let stream = |kind, id: String| (StreamId { kind, id }, 0);
        let run = stream(AggregateType::WorkflowInstance, instance.to_string())
            ..stream(AggregateType::WorkflowInstance, format!("{instance}\0"));
        // '0' is the character after '/': the range holds every id that starts with the instance and a slash.
        let tasks = stream(AggregateType::TaskInstance, format!("{instance}/"))
            ..stream(AggregateType::TaskInstance, format!("{instance}0"));
        let mut events: Vec<_> = model
            .streams
            .range(run)
            .chain(model.streams.range(tasks))
            .map(|(_, &(shard, index))| &model.shards[usize::from(shard)].events[index])
            .filter(|event| event.seq > after)
            .cloned()
            .collect();
        events.sort_unstable_by_key(|event| event.seq);
        Ok(events)
    }

    async fn shared_streams(&self, shard: ShardId) -> Result<Vec<StreamId>, LogError> {
        let model = self.model();
        let first = model.streams.iter().filter(|((stream, sequence), place)| {
            stream.kind.is_shared() && *sequence == 1 && place.0 == shard.0
        });
        Ok(first.map(|((stream, _), _)| stream.clone()).collect())
    }

    async fn standing(&self, shard: ShardId) -> Result<Option<Standing>, LogError> {
        Ok(self.model().standings.get(&shard).cloned())
    }

    async fn keep_standing(&self, standing: &Standing) -> Result<(), LogError> {
        let mut model = self.model();
        let kept = model.standings.get(&standing.shard);
        if kept.is_none_or(|kept| kept.at.head < standing.at.head) {
            model.standings.insert(standing.shard, standing.clone());
        }
        Ok(())
    }

    async fn shard_infos(&self) -> Result<Vec<ShardInfo>, LogError> {
        let model = self.model();
        let info = |(index, shard): (usize, &Shard)| ShardInfo {
            shard: ShardId(index as u16),
            head: shard.events.len() as u64,
            epoch: shard.epoch,
            owner: shard.owner.clone(),
            expires_in_ms: shard.expires_at_ms - model.now_ms,
            heir: shard.heir.clone(),
        };
        Ok(model.shards.iter().enumerate().map(info).collect())
    }

    async fn acquire(
        &self,
        owner: &str,
        most: usize,
        lease_ms: u64,
    ) -> Result<Vec<Lease>, LogError> {
        let taken = self.model().acquire(owner, most, lease_ms);
        self.hint(!taken.is_empty());
        Ok(taken)
    }

    async fn renew(
        &self,
        owner: &str,
        leases: &[Lease],
        lease_ms: u64,
    ) -> Result<Vec<ShardId>, LogError> {
        let mut model = self.model();
        let expires_at_ms = model.now_ms.saturating_add_unsigned(lease_ms);
        let mut renewed = Vec::new();
        for lease in leases {
            if let Some(shard) = model.held(owner, lease) {
                shard.expires_at_ms = expires_at_ms;
                renewed.push(lease.shard);
            }
        }
        Ok(renewed)
    }

    async fn release(&self, owner: &str, leases: &[Lease]) -> Result<(), LogError> {
        let mut model = self.model();
        for lease in leases {
            if let Some(shard) = model.held(owner, lease) {
                shard.owner.clear();
                shard.heir.clear();
                shard.expires_at_ms = 0;
            }
        }
        drop(model);
        self.hint(!leases.is_empty());
        Ok(())
    }

    async fn inherit(
        &self,
        heir: &str,
        shards: &[ShardId],
        lease_ms: u64,
    ) -> Result<Vec<Lease>, LogError> {
        let taken = self.model().inherit(heir, shards, lease_ms);
        self.hint(!taken.is_empty());
        Ok(taken)
    }

    async fn invite(&self, owner: &str, leases: &[Lease], heir: &str) -> Result<(), LogError> {
        let mut model = self.model();
        for lease in leases {
            if let Some(shard) = model.held(owner, lease) {
                heir.clone_into(&mut shard.heir);
            }
        }
        drop(model);
        self.hint(!leases.is_empty());
        Ok(())
    }

    async fn attend(&self, engine: &Member, lease_ms: u64) -> Result<(), LogError> {
        let mut model = self.model();
        let until = model.now_ms.saturating_add_unsigned(lease_ms);
        let known = model
            .members
            .insert(engine.id.clone(), (engine.clone(), until));
        drop(model);
        self.hint(known.is_none());
        Ok(())
    }

    async fn depart(&self, id: &str) -> Result<(), LogError> {
        let gone = self.model().members.remove(id);
        self.hint(gone.is_some());
        Ok(())
    }

    async fn members(&self) -> Result<Vec<Member>, LogError> {
        let model = self.model();
        let living = model
            .members
            .values()
            .filter(|(_, until)| *until > model.now_ms);
        Ok(living.map(|(member, _)| member.clone()).collect())
    }

    /// Here each append is a transaction of its own.
    fn commits(&self) -> u64 {
        self.model().commits
    }

    fn handovers(&self) -> watch::Receiver<u64> {
        self.handovers.subscribe()
    }

    async fn post(&self, shard: ShardId, letter: &str) -> Result<(), LogError> {
        self.model().letters.push((shard, letter.to_owned()));
        Ok(())
    }

    async fn collect(&self, shards: &[ShardId]) -> Result<Vec<String>, LogError> {
        let mut model = self.model();
        let (taken, left) = std::mem::take(&mut model.letters)
            .into_iter()
            .partition(|(shard, _)| shards.contains(shard));
        model.letters = left;
        let taken: Vec<(ShardId, String)> = taken;
        Ok(taken.into_iter().map(|(_, letter)| letter).collect())
    }
}
