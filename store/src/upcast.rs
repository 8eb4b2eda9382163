//! Old shapes of events, read as the newest: pure JSON to JSON, one version at a time.
//!
//! What is stored is never rewritten. An upcaster knows no clock, no database and no other event; if
//! an event's new shape needs those, it is a new event, not a new version.

use domain::{AggregateType, Fact};
use serde_json::Value;

use crate::log::{LogError, Recorded};

/// Turns one version of one event into the next version.
#[derive(Clone, Copy, Debug)]
pub struct Upcaster {
    /// The kind of stream.
    pub kind: AggregateType,
    /// The event's name in the log.
    pub event_type: &'static str,
    /// The version that it reads; it writes the one after.
    pub version: u32,
    /// The step itself. The error says what was not as that version promises.
    pub step: fn(Value) -> Result<Value, String>,
}

/// Every upcaster there is. Append only: an old version stays readable for ever.
pub const UPCASTERS: &[Upcaster] = &[];

impl Recorded {
    /// The event, in its newest shape. An event of an unknown name or version is [`LogError::Corrupt`]:
    /// a reader that does not know an event does not know the state behind it either.
    pub fn fact(&self) -> Result<Fact, LogError> {
        self.fact_through(UPCASTERS)
    }

    /// As [`Recorded::fact`], with other upcasters.
    pub fn fact_through(&self, upcasters: &[Upcaster]) -> Result<Fact, LogError> {
        let fail = |detail: String| {
            LogError::Corrupt(format!(
                "shard {}, event {} ({} version {} of {}) is not readable by this program: {detail}",
                self.shard, self.seq, self.event_type, self.event_version, self.stream
            ))
        };
        let (version, upcast) = climb(self, upcasters).map_err(fail)?;
        let payload = upcast.as_deref().unwrap_or(&self.payload);
        let fact = Fact::parse(&self.stream, payload).map_err(fail)?;
        if fact.event_type() != self.event_type {
            return Err(fail(format!(
                "its payload is of the event {}",
                fact.event_type()
            )));
        }
        if fact.event_version() != version {
            return Err(fail(format!(
                "the version known here is {}",
                fact.event_version()
            )));
        }
        Ok(fact)
    }
}

/// The version after all upcasters that apply, and the payload when at least one did.
fn climb(event: &Recorded, upcasters: &[Upcaster]) -> Result<(u32, Option<String>), String> {
    let mut version = event.event_version;
    let mut payload: Option<Value> = None;
    let next = |version| {
        upcasters.iter().find(|upcaster| {
            upcaster.kind == event.stream.kind
                && upcaster.event_type == event.event_type
                && upcaster.version == version
        })
    };
    while let Some(upcaster) = next(version) {
        let old = match payload.take() {
            Some(value) => value,
            None => serde_json::from_str(&event.payload).map_err(|error| error.to_string())?,
        };
        payload = Some((upcaster.step)(old)?);
        version += 1;
    }
    Ok((version, payload.map(|value| value.to_string())))
}
