//! Shards that are folded before they are ours, so that taking one over means to read its last events only.
//! What is kept here can be dropped at any time: whoever needs the shard then folds it anew.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use domain::ShardId;
use store::{Log, LogError};

use crate::core::Image;
use crate::load::{Definitions, Folding};

/// How often a standby looks for new events.
const LOOK: Duration = Duration::from_millis(100);

/// The shards that are kept warm. Clones share them.
#[derive(Clone)]
pub(crate) struct Warm {
    log: Arc<dyn Log>,
    definitions: Arc<Definitions>,
    folds: Arc<Mutex<BTreeMap<ShardId, Folding>>>,
}

impl Warm {
    pub(crate) fn new(log: Arc<dyn Log>, definitions: Arc<Definitions>) -> Self {
        Self {
            log,
            definitions,
            folds: Arc::default(),
        }
    }

    /// Folds a shard as far as its log goes now, and keeps it.
    pub(crate) async fn prepare(&self, shard: ShardId) -> Result<(), LogError> {
        let fold = self.read(shard).await?;
        self.folds
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(shard, fold);
        Ok(())
    }

    /// The shard as its log says now.
    pub(crate) async fn load(&self, shard: ShardId) -> Result<Image, LogError> {
        let fold = self.read(shard).await?;
        fold.finish(self.log.as_ref(), &self.definitions).await
    }

    /// Two who read the same shard at once each read it alone; a fold that met an error is dropped.
    async fn read(&self, shard: ShardId) -> Result<Folding, LogError> {
        let kept = self
            .folds
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&shard);
        let log = self.log.as_ref();
        let mut fold = match kept {
            Some(fold) => fold,
            None => Folding::begin(log, &self.definitions, shard).await?,
        };
        fold.advance(log, &self.definitions).await?;
        Ok(fold)
    }

    /// Keeps every shard warm that somebody else has, for ever.
    pub(crate) async fn follow(self, engine: String) {
        loop {
            if let Err(error) = self.follow_once(&engine).await {
                tracing::debug!(%error, "the shards of others cannot be followed now");
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    async fn follow_once(&self, engine: &str) -> Result<(), LogError> {
        for info in self.log.shard_infos().await? {
            if info.owner != engine && info.head > self.head(info.shard) {
                self.prepare(info.shard).await?;
            }
        }
        Ok(())
    }

    fn head(&self, shard: ShardId) -> u64 {
        self.folds
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&shard)
            .map_or(0, Folding::head)
    }
}
