//! One recorded event as the API tells it.

use domain::{AggregateType, Fact, StreamId, Timestamp};
use serde_json::Value;

use crate::failure::Failure;
use crate::output;

/// A fact with its place in the log.
#[derive(Clone, Debug)]
pub(crate) struct Event {
    /// Its place in its shard.
    pub(crate) seq: u64,
    /// What happened, and to whom.
    pub(crate) fact: Fact,
    /// When it was decided.
    pub(crate) at: Timestamp,
    /// Who caused it.
    pub(crate) actor: String,
    /// Through what.
    pub(crate) cause: String,
}

impl Event {
    /// Reads an event. One that this program does not know is an error, never skipped.
    pub(crate) fn parse(value: &Value) -> Result<Self, Failure> {
        let missing = |name: &str| {
            Failure::service(format!("the service sent an event without {name}"))
                .advise("the same version of tidemill here and there")
        };
        let text = |name: &str| value.get(name).and_then(Value::as_str);
        let kind = text("aggregate_type")
            .and_then(AggregateType::from_name)
            .ok_or_else(|| missing("a known aggregate_type"))?;
        let stream = StreamId {
            kind,
            id: text("aggregate_id")
                .ok_or_else(|| missing("aggregate_id"))?
                .to_owned(),
        };
        let payload = object(value.get("payload"));
        let metadata = object(value.get("metadata"));
        let said = |name: &str| {
            metadata
                .get(name)
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned()
        };
        Ok(Self {
            seq: value
                .get("seq")
                .and_then(Value::as_u64)
                .ok_or_else(|| missing("seq"))?,
            fact: Fact::parse(&stream, &payload.to_string()).map_err(Failure::service)?,
            at: text("recorded_at")
                .and_then(output::parse)
                .ok_or_else(|| missing("recorded_at"))?,
            actor: said("actor"),
            cause: said("cause"),
        })
    }
}

/// An embedded document, whether it came as JSON or as text that holds JSON.
fn object(value: Option<&Value>) -> Value {
    match value {
        Some(Value::String(text)) => serde_json::from_str(text).unwrap_or_default(),
        Some(value) => value.clone(),
        None => Value::Null,
    }
}
