//! What the engine asks of the world, answered from the read tables and by the channels for alerts.

use async_trait::async_trait;
use domain::run::Wanted;
use domain::task_instance::Output;
use domain::workflow_definition::Verdict;
use engine::{Notice, Untold};
use projections::Reader;

/// The world, as this process knows it.
pub(crate) struct Outside {
    pub(crate) reader: Reader,
}

#[async_trait]
impl engine::Outside for Outside {
    async fn upstream(&self, wanted: &Wanted) -> Result<Verdict, String> {
        let verdict = self.reader.upstream(wanted).await;
        verdict.map_err(|error| error.to_string())
    }

    async fn cached(&self, key: &str) -> Result<Option<Vec<Output>>, String> {
        let outputs = self.reader.cached(key).await;
        outputs.map_err(|error| error.to_string())
    }

    async fn tell(&self, _: &Notice) -> Result<(), Untold> {
        Err(Untold::Nobody)
    }
}
