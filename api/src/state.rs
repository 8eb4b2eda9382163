//! What every handler can reach, and the few things that are shared between requests.

use std::collections::HashMap;
use std::ops::Deref;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::http::StatusCode;
use domain::workflow_definition::{self, Workflow};
use domain::{AggregateType, DefinitionCode, Fact, StreamId, Timestamp};
use projections::{Projections, Reader};
use store::{Cursor, Log, LogError, Recorded};
use tokio::sync::{Mutex as TurnMutex, watch};

use crate::engine::{Engine, Position};
use crate::forward::Neighbours;

/// What every handler can reach.
#[derive(Clone)]
pub(crate) struct Api {
    inner: Arc<Inner>,
    /// Of one request: its answers may have to show something.
    pub(crate) reader: Reader,
}

pub(crate) struct Inner {
    pub(crate) engine: Arc<dyn Engine>,
    pub(crate) log: Arc<dyn Log>,
    pub(crate) tables: Projections,
    pub(crate) definitions: Definitions,
    pub(crate) heads: Heads,
    pub(crate) requests: Requests,
    pub(crate) neighbours: Neighbours,
    /// Held by the one verification that may walk the log at a time.
    pub(crate) verification: TurnMutex<()>,
    /// Held by the one rebuilding of a read table that may go on at a time.
    pub(crate) rebuilding: TurnMutex<()>,
    closing: watch::Receiver<bool>,
}

impl Deref for Api {
    type Target = Inner;

    fn deref(&self) -> &Inner {
        &self.inner
    }
}

impl Api {
    pub(crate) fn new(
        engine: Arc<dyn Engine>,
        log: Arc<dyn Log>,
        tables: Projections,
        closing: watch::Receiver<bool>,
    ) -> Self {
        let reader = tables.reader();
        let inner = Arc::new(Inner {
            engine,
            log,
            tables,
            definitions: Definitions::default(),
            heads: Heads::default(),
            requests: Requests::default(),
            neighbours: Neighbours::new(),
            verification: TurnMutex::new(()),
            rebuilding: TurnMutex::new(()),
            closing,
        });
        Self { inner, reader }
    }

    /// The same, and what it reads shows this position.
    pub(crate) fn at_least(self, position: Position) -> Self {
        Self {
            reader: self.reader.at_least(position.shard, position.seq),
            ..self
        }
    }

    /// The service is going away: streams that would never end must end.
    pub(crate) fn is_closing(&self) -> bool {
        *self.closing.borrow()
    }
}

/// Versions of definitions by code and number. A version never changes, so it may be remembered.
#[derive(Default)]
pub(crate) struct Definitions {
    known: Mutex<HashMap<(DefinitionCode, u32), Arc<Workflow>>>,
    looks: Mutex<HashMap<DefinitionCode, Arc<Look>>>,
}

/// Looks at how many versions a definition has. Many who ask at once are answered by one look, if it began after
/// they had asked: so nobody sees less than had been acknowledged by then.
#[derive(Default)]
struct Look {
    asked: AtomicU64,
    /// How many had asked when the last look began, and what it saw.
    seen: TurnMutex<(u64, u32)>,
}

impl Look {
    async fn newest(
        &self,
        look: impl AsyncFnOnce() -> Result<u32, LogError>,
    ) -> Result<u32, LogError> {
        let asked = self.asked.fetch_add(1, Ordering::SeqCst);
        let mut seen = self.seen.lock().await;
        if seen.0 <= asked {
            let begun = self.asked.load(Ordering::SeqCst);
            *seen = (begun, look().await?);
        }
        Ok(seen.1)
    }
}

/// A version of a definition, as the log has it.
pub(crate) struct Version {
    pub(crate) number: u32,
    pub(crate) defined_at: Timestamp,
    pub(crate) workflow: Arc<Workflow>,
}

impl Definitions {
    /// How many are remembered before all are forgotten.
    const MOST: usize = 512;

    /// The number of the newest version and what it says, straight from the log: whoever has just defined it
    /// sees it.
    pub(crate) async fn current(
        &self,
        log: &dyn Log,
        code: DefinitionCode,
    ) -> Result<Option<(u32, Arc<Workflow>)>, LogError> {
        let look = {
            let mut looks = self.looks.lock().unwrap_or_else(PoisonError::into_inner);
            if looks.len() >= Self::MOST {
                looks.clear();
            }
            looks.entry(code).or_default().clone()
        };
        let number = look
            .newest(async || Ok(log.length(&stream(code)).await? as u32))
            .await?;
        let workflow = self.get(log, code, number).await?;
        Ok(workflow.map(|workflow| (number, workflow)))
    }

    /// The newest version with all that is known of it.
    pub(crate) async fn newest(
        &self,
        log: &dyn Log,
        code: DefinitionCode,
    ) -> Result<Option<Version>, LogError> {
        let event = log.read_last(&stream(code)).await?;
        event.map(|event| self.version(code, &event)).transpose()
    }

    /// All versions, oldest first.
    pub(crate) async fn all(
        &self,
        log: &dyn Log,
        code: DefinitionCode,
    ) -> Result<Vec<Version>, LogError> {
        let events = log.read_stream(&stream(code), 0).await?;
        events
            .iter()
            .map(|event| self.version(code, event))
            .collect()
    }

    /// One version.
    pub(crate) async fn get(
        &self,
        log: &dyn Log,
        code: DefinitionCode,
        number: u32,
    ) -> Result<Option<Arc<Workflow>>, LogError> {
        if let Some(known) = self.known(code, number) {
            return Ok(Some(known));
        }
        let before = u64::from(number).saturating_sub(1);
        let events = log.read_stream(&stream(code), before).await?;
        let event = events
            .first()
            .filter(|event| event.sequence == u64::from(number));
        Ok(event
            .map(|event| self.version(code, event))
            .transpose()?
            .map(|version| version.workflow))
    }

    fn known(&self, code: DefinitionCode, number: u32) -> Option<Arc<Workflow>> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(&(code, number)).cloned()
    }

    /// The sequence of an event in a definition's stream is the version that it defines.
    fn version(&self, code: DefinitionCode, event: &Recorded) -> Result<Version, LogError> {
        let corrupt = |what: &str| {
            LogError::Corrupt(format!(
                "shard {}, event {}: {what}",
                event.shard, event.seq
            ))
        };
        let number = event.sequence as u32;
        let version = |workflow| Version {
            number,
            defined_at: event.recorded_at,
            workflow,
        };
        if let Some(known) = self.known(code, number) {
            return Ok(version(known));
        }
        let Fact::Definition(_, workflow_definition::Event::Defined { workflow, .. }) =
            event.fact()?
        else {
            return Err(corrupt("not an event of a definition"));
        };
        let workflow = Workflow::recorded(workflow)
            .map(Arc::new)
            .map_err(|_| corrupt("a definition with flaws"))?;
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= Self::MOST {
            known.clear();
        }
        known.insert((code, number), workflow.clone());
        Ok(version(workflow))
    }
}

fn stream(code: DefinitionCode) -> StreamId {
    StreamId {
        kind: AggregateType::WorkflowDefinition,
        id: code.to_string(),
    }
}

/// How far the log is, asked at most once per [`Heads::PERIOD`] however many streams follow it.
#[derive(Default)]
pub(crate) struct Heads(TurnMutex<Option<(Instant, Cursor)>>);

impl Heads {
    /// How often a follower looks.
    pub(crate) const PERIOD: Duration = Duration::from_millis(100);

    /// The last event of every shard, not older than half a period.
    pub(crate) async fn get(&self, log: &dyn Log) -> Result<Cursor, LogError> {
        let mut last = self.0.lock().await;
        if let Some((at, heads)) = last.as_ref()
            && at.elapsed() < Self::PERIOD / 2
        {
            return Ok(heads.clone());
        }
        let infos = log.shard_infos().await?;
        let heads: Cursor = infos.iter().map(|info| (info.shard, info.head)).collect();
        *last = Some((Instant::now(), heads.clone()));
        Ok(heads)
    }
}

/// How many requests were answered, by the class of the answer.
#[derive(Default)]
pub(crate) struct Requests([AtomicU64; 5]);

impl Requests {
    pub(crate) fn count(&self, status: StatusCode) {
        let class = usize::from(status.as_u16() / 100).clamp(1, 5) - 1;
        self.0[class].fetch_add(1, Ordering::Relaxed);
    }

    /// Pairs such as `("2xx", 17)`.
    pub(crate) fn counts(&self) -> impl Iterator<Item = (String, u64)> {
        let classes = self.0.iter().enumerate();
        classes.map(|(class, count)| (format!("{}xx", class + 1), count.load(Ordering::Relaxed)))
    }
}

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};

    use tokio::sync::oneshot;

    use super::*;

    #[tokio::test]
    async fn who_asks_while_a_look_goes_on_is_answered_by_one_that_begins_later() {
        let (look, looks, versions) = (Look::default(), Cell::new(0), Cell::new(1));
        let (go_on, gate) = oneshot::channel();
        let gate = RefCell::new(Some(gate));
        let newest = async || {
            let seen = look.newest(async || {
                looks.set(looks.get() + 1);
                let version = versions.get();
                let gate = gate.take();
                if let Some(gate) = gate {
                    let _ = gate.await;
                }
                Ok(version)
            });
            seen.await.unwrap()
        };
        let defined = async {
            // The first look has begun and has not seen this version.
            tokio::task::yield_now().await;
            versions.set(2);
            let later = async { tokio::join!(newest(), newest(), newest()) };
            let released = async { go_on.send(()).unwrap() };
            tokio::join!(later, released).0
        };
        let (first, later) = tokio::join!(newest(), defined);
        assert_eq!((first, later), (1, (2, 2, 2)));
        assert_eq!(
            looks.get(),
            2,
            "one for the first, one for all that came later"
        );
        assert_eq!(newest().await, 2);
        assert_eq!(looks.get(), 3);
    }

    #[tokio::test]
    async fn a_look_that_fails_answers_nobody_else() {
        let look = Look::default();
        let fails = async || Err(LogError::Unavailable("gone".to_owned()));
        assert!(look.newest(fails).await.is_err());
        assert_eq!(look.newest(async || Ok(7)).await, Ok(7));
    }
}
