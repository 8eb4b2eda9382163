//! What stands in a shard, noted from time to time and kept beside the log, so that whoever takes the shard over
//! need not read what has been. Nothing is decided from it.

use domain::ShardId;
use store::{Standing, Stood};

use super::shard::{Effect, Memory, Shard};
use super::{Core, Output};
use crate::load::is_worth_it;

/// A shard that is left is noted this much sooner: it may be long before somebody has it for so many events again.
const SOONER: u64 = 10;

impl Shard {
    /// What stands after the last event decided; nothing while the shard is being read.
    pub(super) fn standing(&self) -> Option<Standing> {
        let memory = self.read()?;
        let runs = memory.runs.keys().chain(memory.corrupt.keys());
        Some(Standing {
            shard: self.id,
            at: memory.chain,
            stood: Stood {
                instances: memory.instances,
                shared: shared(memory),
                runs: runs.copied().collect(),
            },
        })
    }

    /// So many events came since it was last noted what stands that noting it saves the next owner work.
    fn is_to_be_noted(&self, least: u64) -> bool {
        self.read().is_some_and(|memory| {
            let (head, runs) = (memory.chain.head, memory.runs.len() + memory.corrupt.len());
            head >= self.noted + least.max(1) && is_worth_it(head, runs, || shared(memory))
        })
    }
}

/// How many events the things have that runs share.
fn shared(memory: &Memory) -> u64 {
    let definitions = memory.definitions.values().map(|of| u64::from(of.version));
    let groups = memory.groups.values().map(|kept| kept.sequence);
    let queues = memory.queues.values().map(|kept| kept.sequence);
    let environments = memory.environments.values().map(|kept| kept.sequence);
    let shared = definitions.chain(groups).chain(queues).chain(environments);
    shared.sum()
}

impl Core {
    /// Notes what stands in a shard, when reading what came since would take long. It leaves when it is durable.
    pub(super) fn note_standing(&mut self, id: ShardId) {
        let every = self.settings.standing_every;
        if let Some(shard) = self.shards.get_mut(&id)
            && shard.is_to_be_noted(every)
            && let Some(standing) = shard.standing()
        {
            shard.noted = standing.at.head;
            shard.when_durable(Effect::KeepStanding(standing));
        }
    }

    /// Notes what stands in a shard that is left, if all of it is durable: by now that is so, whoever has the shard.
    pub(super) fn note_farewell(&mut self, id: ShardId) {
        self.out.extend(self.farewell(id).map(Output::KeepStanding));
    }

    /// What stands in the shards that are ours, for whoever stops: of those whose every event is durable, and
    /// only where it saves the next owner work.
    pub fn standings(&self) -> Vec<Standing> {
        let shards = self.shards.keys();
        shards.filter_map(|id| self.farewell(*id)).collect()
    }

    fn farewell(&self, id: ShardId) -> Option<Standing> {
        let least = self.settings.standing_every / SOONER;
        let shard = self.shards.get(&id)?;
        if shard.head() == shard.durable && shard.is_to_be_noted(least) {
            shard.standing()
        } else {
            None
        }
    }
}
