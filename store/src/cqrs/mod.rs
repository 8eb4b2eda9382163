//! The framework cqrs-es over our log: the deciders of `domain` as its aggregates, the log as its store.
//!
//! [`Hosted`] makes a decider a `cqrs_es::Aggregate`. [`Repository`] is the log as a
//! `PersistedEventRepository`: everything in cqrs-es that reads or writes events works on it. [`HotStore`]
//! is the log as an `EventStore` whose aggregates stay in the memory of the shard's owner.
//!
//! Not here: snapshots (a state is a fold over events and is never stored), and queries that must not
//! miss an event (those read the log; a `cqrs_es::Query` dies with its process). Why: docs/adr/0003.

mod hot;
mod repository;

use cqrs_es::DomainEvent;
use cqrs_es::event_sink::EventSink;
use domain::{Aggregate, Corrupt, EventType, Rejection};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};

pub use hot::{HotContext, HotStore};
pub use repository::Repository;

/// A decider as cqrs-es wants an aggregate.
#[derive(Clone, Debug)]
pub struct Hosted<A> {
    /// The state, as far as the events could be followed.
    pub state: A,
    /// The event that could not be followed. `apply` has no way to say so; the next `handle` does.
    corrupt: Option<Corrupt>,
}

// Written out, so that nobody asks whether `A` is anything but a decider.
impl<A: Aggregate> Default for Hosted<A> {
    fn default() -> Self {
        Self {
            state: A::default(),
            corrupt: None,
        }
    }
}

impl<A: Aggregate> Hosted<A> {
    /// Whether every event so far could follow the one before it.
    pub fn whole(&self) -> Result<(), Corrupt> {
        self.corrupt.clone().map_or(Ok(()), Err)
    }
}

/// An event as cqrs-es wants it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(transparent, bound = "")]
pub struct Said<E: EventType>(pub E);

/// Why a hosted decider did not carry out a command.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It is not allowed now.
    #[error(transparent)]
    Rejected(#[from] Rejection),
    /// Its stream does not make sense; nothing is decided on top of it.
    #[error(transparent)]
    Corrupt(#[from] Corrupt),
}

impl<E: EventType> DomainEvent for Said<E> {
    fn event_type(&self) -> String {
        self.0.name().to_owned()
    }

    fn event_version(&self) -> String {
        self.0.version().to_string()
    }
}

impl<A: Aggregate> cqrs_es::Aggregate for Hosted<A> {
    const TYPE: &'static str = A::TYPE.name();
    type Command = A::Command;
    type Event = Said<A::Event>;
    type Error = Refusal;
    type Services = ();

    async fn handle(
        &mut self,
        command: A::Command,
        (): &(),
        sink: &EventSink<Self>,
    ) -> Result<(), Refusal> {
        self.whole()?;
        for event in self.state.decide(&command)? {
            sink.write(Said(event), self).await;
        }
        Ok(self.whole()?)
    }

    fn apply(&mut self, Said(event): Said<A::Event>) {
        if self.corrupt.is_some() {
            return;
        }
        match std::mem::take(&mut self.state).evolve(&event) {
            Ok(state) => self.state = state,
            Err(corrupt) => self.corrupt = Some(corrupt),
        }
    }
}

/// cqrs-es asks for these for its snapshots, which we do not take.
const NO_SNAPSHOTS: &str =
    "the state of an aggregate is a fold over its events and is never stored";

impl<A> Serialize for Hosted<A> {
    fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        Err(ser::Error::custom(NO_SNAPSHOTS))
    }
}

impl<'de, A> Deserialize<'de> for Hosted<A> {
    fn deserialize<D: Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        Err(de::Error::custom(NO_SNAPSHOTS))
    }
}
