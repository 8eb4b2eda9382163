//! What is done beside the turns: it takes time, and its result comes back as a message.

use std::time::Duration;

use domain::{Corrupt, InstanceId, ShardId, TaskId};
use store::{LogError, ShardInfo, Standing};

use super::{Driver, Message};
use crate::core::{Input, Inquiry, Letter};
use crate::load;
use crate::outside::{Finder, Notice, tell};

/// How soon the log is asked again that could not be reached.
const AGAIN: Duration = Duration::from_millis(200);

impl Driver {
    pub(super) fn load(&self, shard: ShardId, generation: u64) {
        let (warm, inbox) = (self.warm.clone(), self.inbox.clone());
        tokio::spawn(async move {
            let input = match warm.load(shard).await {
                Ok(image) => Input::Loaded {
                    shard,
                    generation,
                    image: Box::new(image),
                },
                Err(error) => Input::LoadFailed {
                    shard,
                    generation,
                    why: error.to_string(),
                },
            };
            let _ = inbox.send(Message::Input(input));
        });
    }

    /// Asks the log who has a shard, until it says.
    pub(super) fn prove(&self, shard: ShardId, generation: u64, epoch: u64) {
        let (log, inbox) = (self.log.clone(), self.inbox.clone());
        tokio::spawn(async move {
            let infos = loop {
                match log.shard_infos().await {
                    Ok(infos) => break infos,
                    Err(_) if inbox.is_closed() => return,
                    Err(_) => tokio::time::sleep(AGAIN).await,
                }
            };
            let newest = |info: &ShardInfo| (info.shard, info.epoch) == (shard, epoch);
            let _ = inbox.send(Message::Input(Input::Proved {
                shard,
                generation,
                newest: infos.iter().any(newest),
            }));
        });
    }

    /// Finds something out for a task, beside the turn.
    pub(super) fn look(&self, task: TaskId, attempt: u32, generation: u64, inquiry: Inquiry) {
        let finder = Finder {
            log: self.log.clone(),
            definitions: self.definitions.clone(),
            outside: self.outside.clone(),
        };
        let inbox = self.inbox.clone();
        tokio::spawn(async move {
            let found = finder.find(&inquiry).await;
            let _ = inbox.send(Message::Input(Input::Found {
                task,
                attempt,
                generation,
                found,
            }));
        });
    }

    /// Tells people, again and again until they know it or it is given up. One notice is told by one task,
    /// however often the state asks for it.
    pub(super) fn tell(&mut self, notice: Notice) {
        let key = (notice.instance, notice.number);
        let told = self.telling.entry(key).or_default();
        if told.as_ref().is_some_and(|task| !task.is_finished()) {
            return;
        }
        let (outside, inbox) = (self.outside.clone(), self.inbox.clone());
        *told = Some(tokio::spawn(async move {
            let reason = tell(outside.as_ref(), &notice).await;
            let _ = inbox.send(Message::Input(Input::Told {
                instance: notice.instance,
                number: notice.number,
                reason,
            }));
        }));
        self.telling
            .retain(|_, task| task.as_ref().is_some_and(|task| !task.is_finished()));
    }

    /// Puts a letter for another engine into the log's letter box. One that is lost is written again.
    pub(super) fn post(&self, shard: ShardId, letter: &Letter) {
        let Ok(body) = serde_json::to_string(letter) else {
            return;
        };
        let log = self.log.clone();
        tokio::spawn(async move {
            if let Err(error) = log.post(shard, &body).await {
                tracing::debug!(%shard, %error, "a letter was not posted; it will be written again");
            }
        });
    }

    /// Keeps what stands in a shard, beside the turn.
    pub(super) fn keep(&self, standing: Standing) -> tokio::task::JoinHandle<()> {
        let log = self.log.clone();
        tokio::spawn(async move {
            if let Err(error) = log.keep_standing(&standing).await {
                tracing::debug!(shard = %standing.shard, %error, "how the shard stands was not kept; the next time follows");
            }
        })
    }

    pub(super) fn load_run(&self, instance: InstanceId, generation: u64) {
        let (log, definitions, inbox) = (
            self.log.clone(),
            self.definitions.clone(),
            self.inbox.clone(),
        );
        tokio::spawn(async move {
            let input = loop {
                match load::run(log.as_ref(), &definitions, instance).await {
                    Ok(run) => {
                        break Input::RunLoaded {
                            instance,
                            generation,
                            run: run.map(Box::new),
                        };
                    }
                    Err(LogError::Corrupt(event) | LogError::Unusable(event)) => {
                        let corrupt = Corrupt {
                            state: format!("run {instance}"),
                            event,
                        };
                        break Input::RunCorrupt {
                            instance,
                            generation,
                            corrupt,
                        };
                    }
                    Err(LogError::Unavailable(_)) if inbox.is_closed() => return,
                    Err(LogError::Unavailable(_)) => {
                        tokio::time::sleep(AGAIN).await;
                    }
                }
            };
            let _ = inbox.send(Message::Input(input));
        });
    }
}
