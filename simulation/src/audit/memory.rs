//! What an engine remembers is what the log says: compared wherever nothing is on its way.

use std::collections::BTreeMap;
use std::fmt::Debug;

use domain::{Aggregate, ShardId};
use engine::core::{Input, Kept};
use engine::load;

use crate::claim::{Claim, hold, violated};
use crate::world::{MEMORY, SHARDS, World, now};

impl World {
    /// One engine and one shard at a time: in turn all of them.
    pub(crate) fn memory_is_the_log(&self) {
        let pairs = self.engines.len() as u64 * u64::from(SHARDS);
        let turn = (self.now / MEMORY) % pairs;
        let shard = ShardId((turn % u64::from(SHARDS)) as u16);
        self.memory_of(turn as usize / usize::from(SHARDS), shard);
    }

    pub(crate) fn all_memory_is_the_log(&self) {
        for engine in 0..self.engines.len() {
            for shard in 0..SHARDS {
                self.memory_of(engine, ShardId(shard));
            }
        }
    }

    fn memory_of(&self, index: usize, shard: ShardId) {
        let engine = &self.engines[index];
        let Some(known) = engine.core.remembered(shard) else {
            return;
        };
        // Something is decided and not yet durable, or the engine has yet to hear how it went.
        let open = known.head != known.durable
            || engine
                .appends
                .iter()
                .any(|(.., append)| append.shard == shard)
            || engine.inbox.iter().any(|(_, input)| {
                matches!(
                    input,
                    Input::Appended { .. } | Input::AppendFailed { .. } | Input::LeaseLost { .. }
                )
            });
        if open || known.epoch != self.newest_epoch(shard) {
            return;
        }
        let (name, head) = (engine.name(), self.ledger.head(shard));
        hold(Claim::Memory, known.head == head, || {
            format!(
                "{name} knows {} events of shard {shard}, the log has {head}",
                known.head
            )
        });
        let log = self.log.as_ref();
        let image = now(load::from_the_beginning(log, &engine.definitions, shard))
            .unwrap_or_else(|error| violated(Claim::Readable, error.to_string()));
        for id in image.runs.keys() {
            hold(Claim::Memory, known.runs.contains_key(id), || {
                format!("{name} has forgotten run {id}, which has not come to rest")
            });
        }
        for (id, run) in known.runs {
            let alone;
            let told = if let Some(told) = image.runs.get(id) {
                Some(&**told)
            } else {
                alone = now(load::run(log, &engine.definitions, *id))
                    .unwrap_or_else(|error| violated(Claim::Readable, error.to_string()));
                alone.as_ref()
            };
            hold(Claim::Memory, told == Some(run), || {
                format!("{name} remembers {run:?}, the log says {told:?}")
            });
        }
        for (code, definition) in &image.definitions {
            let version = known.definitions.get(code).map(|known| known.version);
            hold(Claim::Memory, version == Some(definition.version), || {
                format!("{name} remembers definition {code} in version {version:?}")
            });
        }
        hold(Claim::Memory, known.instances >= image.instances, || {
            format!("{name} would use an instance's number again")
        });
        same(&name, known.groups, &image.groups);
        same(&name, known.queues, &image.queues);
        same(&name, known.environments, &image.environments);
    }
}

/// The same things in the same states; those that nothing has happened to are of no account.
fn same<K: Ord + Debug, A: Aggregate + PartialEq>(
    engine: &str,
    known: &BTreeMap<K, Kept<A>>,
    told: &BTreeMap<K, Kept<A>>,
) {
    let known = known.iter().filter(|(_, kept)| kept.sequence > 0);
    let known: BTreeMap<_, _> = known.collect();
    let told: BTreeMap<_, _> = told.iter().collect();
    hold(Claim::Memory, known == told, || {
        format!("{engine} remembers {known:?}, the log says {told:?}")
    });
}
