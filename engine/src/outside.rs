//! What an engine asks of the world beside the log and the workers: what other workflows have run, and
//! that people are told.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use domain::run::Wanted;
use domain::task_instance::Output;
use domain::workflow_definition::Verdict;
use domain::workflow_instance::Alert;
use domain::{AggregateType, DefinitionCode, Fact, InstanceId, StreamId};
use store::{Log, LogError};

use crate::core::{Found, Inquiry};
use crate::load::Definitions;

/// What an engine asks of the world.
#[async_trait]
pub trait Outside: Send + Sync + 'static {
    /// Whether another workflow has run. The error is why that cannot be said now.
    async fn upstream(&self, wanted: &Wanted) -> Result<Verdict, String>;

    /// What the newest success that is found by this key handed on. The error is why that cannot be said
    /// now.
    async fn cached(&self, key: &str) -> Result<Option<Vec<Output>>, String>;

    /// Tells people something. It may be tried again, so whoever is told may be told twice.
    async fn tell(&self, notice: &Notice) -> Result<(), Untold>;
}

/// Why nobody was told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Untold {
    /// There is nobody to tell: trying again is of no use.
    Nobody,
    /// It may go well the next time.
    Later(String),
}

/// Something that people are told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// The run that it is about.
    pub instance: InstanceId,
    /// Which of the run's alerts it is, from 1.
    pub number: u32,
    /// The project of the run's workflow.
    pub project: String,
    /// The run's workflow.
    pub workflow: String,
    /// What happened.
    pub alert: Alert,
}

/// How often an alert is told before it is given up.
const TRIES: u32 = 8;

/// Tells people, again and again. Answers why they could not be told; nothing when they were.
pub(crate) async fn tell(outside: &dyn Outside, notice: &Notice) -> String {
    let mut pause = Duration::from_millis(500);
    let mut tries = 1;
    loop {
        match outside.tell(notice).await {
            Ok(()) => return String::new(),
            Err(Untold::Nobody) => return "nobody is configured to be told".to_owned(),
            Err(Untold::Later(why)) if tries == TRIES => {
                tracing::warn!(instance = %notice.instance, %why, "an alert was given up");
                return why;
            }
            Err(Untold::Later(why)) => {
                tracing::info!(instance = %notice.instance, %why, "an alert could not be told; trying again");
            }
        }
        tries += 1;
        tokio::time::sleep(pause).await;
        pause *= 2;
    }
}

/// Where inquiries are answered from.
pub(crate) struct Finder {
    pub(crate) log: Arc<dyn Log>,
    pub(crate) definitions: Arc<Definitions>,
    pub(crate) outside: Arc<dyn Outside>,
}

impl Finder {
    pub(crate) async fn find(&self, inquiry: &Inquiry) -> Found {
        let found = match inquiry {
            Inquiry::Definition(code) => self.definition(*code).await,
            Inquiry::Upstream(wanted) => self.upstream(wanted).await,
            Inquiry::Preparation {
                environment,
                cache_key,
            } => {
                self.preparation(environment.as_deref(), cache_key.as_deref())
                    .await
            }
        };
        found.unwrap_or_else(Found::Unknown)
    }

    async fn definition(&self, code: DefinitionCode) -> Result<Found, String> {
        let newest = self.definitions.newest(self.log.as_ref(), code).await;
        newest
            .map(Found::Definition)
            .map_err(|error| error.to_string())
    }

    async fn upstream(&self, wanted: &[Wanted]) -> Result<Found, String> {
        let mut verdicts = Vec::with_capacity(wanted.len());
        for wanted in wanted {
            verdicts.push(self.outside.upstream(wanted).await?);
        }
        Ok(Found::Upstream(verdicts))
    }

    async fn preparation(
        &self,
        environment: Option<&str>,
        cache_key: Option<&str>,
    ) -> Result<Found, String> {
        let cached = match cache_key {
            Some(key) => self.outside.cached(key).await?,
            None => None,
        };
        let environment = match environment {
            Some(name) => self
                .environment(name)
                .await
                .map_err(|error| error.to_string())?,
            None => Some("".into()),
        };
        Ok(Found::Preparation {
            environment,
            cached,
        })
    }

    async fn environment(&self, name: &str) -> Result<Option<Arc<str>>, LogError> {
        let stream = StreamId {
            kind: AggregateType::Environment,
            id: name.to_owned(),
        };
        let Some(recorded) = self.log.read_last(&stream).await? else {
            return Ok(None);
        };
        if let Fact::Environment(_, domain::environment::Event::Changed { config }) =
            recorded.fact()?
        {
            Ok(Some(config))
        } else {
            Ok(None)
        }
    }
}
