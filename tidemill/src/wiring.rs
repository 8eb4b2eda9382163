//! The engine as the API's doors see it: the same process's, or none.

use std::sync::Arc;

use api::engine::{
    Accepted, Caller, Changed, Defined, EngineInfo, Explanation, LogChunk, Owner, Place, Position,
    Refused, WorkerInfo,
};
use async_trait::async_trait;
use domain::workflow_definition::Workflow;
use domain::workflow_instance::Submission;
use domain::{AttemptId, InstanceId, Tally, TaskId, run};
use engine::core::Answer;
use store::Metadata;

use crate::cluster::Cluster;
use crate::local_logs::LocalLogs;

/// The engine of this process.
pub(crate) struct Here {
    pub(crate) engine: engine::Engine,
    /// How many shards the log has.
    pub(crate) shards: u16,
    pub(crate) cluster: Cluster,
}

/// A process without an engine: it answers questions, and carries out nothing.
pub(crate) struct Nowhere {
    pub(crate) logs: LocalLogs,
    pub(crate) cluster: Cluster,
}

fn by(caller: Caller, cause: impl Into<String>) -> Metadata {
    Metadata {
        actor: caller.actor,
        cause: cause.into(),
        trace: caller.trace,
    }
}

fn refused(refused: engine::Refused) -> Refused {
    match refused {
        engine::Refused::Rejected(rejection) => Refused::Rejected(rejection),
        engine::Refused::Invalid(flaws) => Refused::Invalid(flaws),
        engine::Refused::NotFound(what) => Refused::NotFound(what),
        engine::Refused::NotOwner(why) => Refused::NotOwner(why),
        engine::Refused::Unavailable(why) => Refused::Unavailable(why),
        // Allowed again only after somebody has looked at the log.
        corrupt @ engine::Refused::Corrupt(id, _) => Refused::Rejected(domain::Rejection {
            subject: format!("workflow instance {id}"),
            state: format!("unreadable ({corrupt})"),
            command: "COMMAND",
            allowed: &[],
        }),
    }
}

fn changed(answer: Result<engine::Changed, engine::Refused>) -> Result<Changed, Refused> {
    let answer = answer.map_err(refused)?;
    Ok(Changed {
        changed: answer.changed,
        position: Position {
            shard: answer.shard,
            seq: answer.head,
        },
    })
}

#[async_trait]
impl api::engine::Engine for Here {
    async fn owner(&self, place: Place) -> Result<Owner, Refused> {
        self.cluster.owner(place).await
    }

    async fn define(&self, workflow: Arc<Workflow>, caller: Caller) -> Result<Defined, Refused> {
        match self
            .engine
            .define(workflow, by(caller, "command DEFINE"))
            .await
            .map_err(refused)?
        {
            Answer::Defined {
                code,
                version,
                changed,
                head,
            } => {
                let position = Position {
                    shard: code.shard(self.shards),
                    seq: head,
                };
                Ok(Defined {
                    code,
                    version,
                    changed,
                    position,
                })
            }
            Answer::Started { .. }
            | Answer::Done { .. }
            | Answer::Changed { .. }
            | Answer::Explained(_) => unreachable!("a definition is answered as one"),
        }
    }

    async fn start(
        &self,
        submission: Submission,
        key: Option<String>,
        caller: Caller,
    ) -> Result<Accepted, Refused> {
        let started = self
            .engine
            .submit(submission, key, by(caller, "command START"))
            .await
            .map_err(refused)?;
        let position = Position {
            shard: started.instance.shard(),
            seq: started.head,
        };
        Ok(Accepted {
            instance: started.instance,
            position,
            existing: started.existing,
        })
    }

    async fn command(
        &self,
        instance: InstanceId,
        command: run::Command,
        caller: Caller,
    ) -> Result<Position, Refused> {
        let cause = format!("command {}", command.name());
        let seq = self
            .engine
            .command(instance, command, by(caller, cause))
            .await
            .map_err(refused)?;
        Ok(Position {
            shard: instance.shard(),
            seq,
        })
    }

    async fn set_task_group(
        &self,
        name: &str,
        size: u32,
        caller: Caller,
    ) -> Result<Changed, Refused> {
        let by = by(caller, "command SET_TASK_GROUP");
        changed(self.engine.set_task_group(name, size, by).await)
    }

    async fn set_environment(
        &self,
        name: &str,
        config: &str,
        caller: Caller,
    ) -> Result<Changed, Refused> {
        let by = by(caller, "command SET_ENVIRONMENT");
        changed(self.engine.set_environment(name, config, by).await)
    }

    async fn force_slot(
        &self,
        group: &str,
        task: TaskId,
        caller: Caller,
    ) -> Result<Changed, Refused> {
        let by = by(caller, "command FORCE_SLOT");
        changed(self.engine.force_slot(group, task, by).await)
    }

    async fn is_under_way(&self, instance: InstanceId) -> bool {
        self.engine.is_under_way(instance).await
    }

    async fn explain(&self, instance: InstanceId) -> Result<Vec<Explanation>, Refused> {
        let told = self.engine.explain(instance).await.map_err(refused)?;
        let told = told.into_iter().map(|told| Explanation {
            task: told.task,
            cause: told.cause,
            reason: told.reason,
        });
        Ok(told.collect())
    }

    async fn read_task_log(
        &self,
        attempt: AttemptId,
        offset: u64,
        limit: u32,
    ) -> Result<LogChunk, Refused> {
        let (data, size) = self
            .engine
            .read_task_log(attempt, offset, limit)
            .await
            .map_err(refused)?;
        Ok(LogChunk { data, size })
    }

    async fn workers(&self) -> Result<Vec<WorkerInfo>, Refused> {
        let workers = self.engine.workers().await.map_err(refused)?;
        let infos = workers
            .into_iter()
            .filter(|worker| worker.connected)
            .map(|worker| WorkerInfo {
                id: worker.id.to_string(),
                incarnation: worker.incarnation.to_string(),
                host: worker.host.to_string(),
                groups: worker.groups.iter().map(ToString::to_string).collect(),
                slots: worker.slots,
                busy: worker.busy,
                load: worker.load,
                memory: worker.memory,
                overloaded: worker.overloaded,
                engine: self.engine.id().to_owned(),
                last_seen: Some(worker.heard),
            });
        Ok(infos.collect())
    }

    async fn tally(&self) -> Result<Tally, Refused> {
        self.engine.tally().await.map_err(refused)
    }

    async fn engines(&self) -> Result<Vec<EngineInfo>, Refused> {
        self.cluster.engines().await
    }
}

fn no_engine<T>() -> Result<T, Refused> {
    Err(Refused::NotOwner(
        "there is no engine in this process".to_owned(),
    ))
}

#[async_trait]
impl api::engine::Engine for Nowhere {
    async fn owner(&self, place: Place) -> Result<Owner, Refused> {
        self.cluster.owner(place).await
    }

    async fn define(&self, _: Arc<Workflow>, _: Caller) -> Result<Defined, Refused> {
        no_engine()
    }

    async fn start(
        &self,
        _: Submission,
        _: Option<String>,
        _: Caller,
    ) -> Result<Accepted, Refused> {
        no_engine()
    }

    async fn command(
        &self,
        _: InstanceId,
        _: run::Command,
        _: Caller,
    ) -> Result<Position, Refused> {
        no_engine()
    }

    async fn set_task_group(&self, _: &str, _: u32, _: Caller) -> Result<Changed, Refused> {
        no_engine()
    }

    async fn set_environment(&self, _: &str, _: &str, _: Caller) -> Result<Changed, Refused> {
        no_engine()
    }

    async fn force_slot(&self, _: &str, _: TaskId, _: Caller) -> Result<Changed, Refused> {
        no_engine()
    }

    async fn is_under_way(&self, _: InstanceId) -> bool {
        false
    }

    async fn explain(&self, _: InstanceId) -> Result<Vec<Explanation>, Refused> {
        no_engine()
    }

    /// Without an engine there is nobody to ask a worker, but the logs of the local one lie here.
    async fn read_task_log(
        &self,
        attempt: AttemptId,
        offset: u64,
        limit: u32,
    ) -> Result<LogChunk, Refused> {
        self.logs.read(attempt, offset, limit).await
    }

    async fn workers(&self) -> Result<Vec<WorkerInfo>, Refused> {
        Ok(Vec::new())
    }

    async fn tally(&self) -> Result<Tally, Refused> {
        no_engine()
    }

    async fn engines(&self) -> Result<Vec<EngineInfo>, Refused> {
        self.cluster.engines().await
    }
}
