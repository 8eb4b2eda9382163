//! Which process decides for what: the engine of this process, or another one that the log knows.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use api::engine::{EngineInfo, Owner, Place, Refused};
use engine::Engine;
use store::{Log, LogError, Member, ShardInfo};

/// All engines, as this process sees them.
pub(crate) struct Cluster {
    log: Arc<dyn Log>,
    engine: Option<Engine>,
    turn: AtomicUsize,
}

/// The log's shards, with who owns them, and the engines that live.
struct Census {
    shards: Vec<ShardInfo>,
    members: Vec<Member>,
}

impl Cluster {
    pub(crate) fn new(log: Arc<dyn Log>, engine: Option<Engine>) -> Self {
        Self {
            log,
            engine,
            turn: AtomicUsize::new(0),
        }
    }

    /// Who decides there.
    pub(crate) async fn owner(&self, place: Place) -> Result<Owner, Refused> {
        if let Some(engine) = &self.engine {
            let ready = engine.ready_shards();
            let ours = match place {
                Place::Shard(shard) => ready.contains(&shard),
                Place::Anywhere => !ready.is_empty(),
                Place::NearWorkers => true,
            };
            if ours {
                return Ok(Owner::Here);
            }
        }
        let Census { shards, members } = self.census().await?;
        Ok(match place {
            Place::Shard(shard) => match shards.iter().find(|info| info.shard == shard) {
                Some(info) => self.owner_of(info, &members),
                None => Owner::Nobody(format!("this log has no shard {shard}")),
            },
            Place::Anywhere => self.anyone(&shards, &members),
            Place::NearWorkers => match self.anyone(&shards, &members) {
                Owner::Nobody(_) => Owner::Here,
                somebody @ (Owner::Here | Owner::At(_)) => somebody,
            },
        })
    }

    /// What the log knows now.
    async fn census(&self) -> Result<Census, Refused> {
        let unavailable = |error: LogError| Refused::Unavailable(error.to_string());
        Ok(Census {
            shards: self.log.shard_infos().await.map_err(unavailable)?,
            members: self.log.members().await.map_err(unavailable)?,
        })
    }

    fn owner_of(&self, info: &ShardInfo, members: &[Member]) -> Owner {
        if !is_held(info) {
            return Owner::Nobody(format!("no engine owns shard {} now", info.shard));
        }
        if self.is_us(&info.owner) {
            // It is being read: whoever asks is put in line.
            return Owner::Here;
        }
        let address = members
            .iter()
            .find(|member| member.id == info.owner)
            .map_or("", |member| member.address.as_str());
        if address.is_empty() {
            return Owner::Nobody(format!(
                "shard {} belongs to engine {}, which cannot be reached from here",
                info.shard, info.owner
            ));
        }
        Owner::At(address.to_owned())
    }

    /// One of those that own something, in turn.
    fn anyone(&self, infos: &[ShardInfo], members: &[Member]) -> Owner {
        let owns = |member: &&Member| {
            infos
                .iter()
                .any(|info| is_held(info) && info.owner == member.id)
        };
        let owners: Vec<&Member> = members.iter().filter(owns).collect();
        if owners.iter().any(|member| self.is_us(&member.id)) {
            return Owner::Here;
        }
        let reachable: Vec<&&Member> = owners
            .iter()
            .filter(|member| !member.address.is_empty())
            .collect();
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        match turn.checked_rem(reachable.len()) {
            Some(index) => Owner::At(reachable[index].address.clone()),
            None => Owner::Nobody("no engine that can be reached owns a shard now".to_owned()),
        }
    }

    fn is_us(&self, id: &str) -> bool {
        self.engine.as_ref().is_some_and(|engine| engine.id() == id)
    }

    /// The engines that live, with their shards.
    pub(crate) async fn engines(&self) -> Result<Vec<EngineInfo>, Refused> {
        let Census { shards, members } = self.census().await?;
        let engines = members.into_iter().map(|member| EngineInfo {
            shards: shards
                .iter()
                .filter(|info| is_held(info) && info.owner == member.id)
                .map(|info| info.shard)
                .collect(),
            id: member.id,
            address: member.address,
            standby: member.standby,
        });
        Ok(engines.collect())
    }
}

fn is_held(info: &ShardInfo) -> bool {
    !info.owner.is_empty() && info.expires_in_ms > 0
}
