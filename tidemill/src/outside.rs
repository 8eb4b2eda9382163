//! What the engine asks of the world, answered from the read tables and by the channels for alerts.

use async_trait::async_trait;
use domain::run::Wanted;
use domain::task_instance::Output;
use domain::workflow_definition::Verdict;
use domain::{InstanceId, TaskCode};
use engine::{Notice, Untold};
use projections::Reader;
use serde_json::json;

use crate::alerts::{Channels, Message};

/// The world, as this process knows it.
pub(crate) struct Outside {
    /// What other runs did.
    pub(crate) reader: Reader,
    /// Who is told.
    pub(crate) channels: Channels,
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

    async fn tell(&self, notice: &Notice) -> Result<(), Untold> {
        let task = match notice.alert.task {
            Some(code) => Some(self.name(notice.instance, code).await),
            None => None,
        };
        let message = Message {
            instance: notice.instance.0,
            number: notice.number,
            project: notice.project.clone(),
            workflow: notice.workflow.clone(),
            kind: json!(notice.alert.kind),
            task,
            text: notice.alert.text.clone(),
        };
        self.channels.tell(&message).await
    }
}

impl Outside {
    /// The name of a task; its code when the tables do not know it.
    async fn name(&self, instance: InstanceId, task: TaskCode) -> String {
        let found = async {
            let run = self.reader.instance(instance).await.ok()??;
            let version = Some(run.version);
            let definition = self.reader.definition_of(run.definition, version);
            let tasks = definition.await.ok()??.spec.tasks;
            tasks.into_iter().find(|spec| spec.code == task)
        };
        found
            .await
            .map_or_else(|| task.to_string(), |spec| spec.name)
    }
}
