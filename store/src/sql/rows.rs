//! Events as rows: the one shape in which both databases keep them, and large payloads beside them.

use domain::{AggregateType, ShardId, StreamId, Timestamp};
use serde::Serialize;

use crate::chain::Hash;
use crate::log::{LogError, Recorded};

/// Payloads of more bytes than this are kept in the table of blobs.
pub(super) const LARGE: usize = 8 * 1024;

/// A row of `events`, in the order of [`columns!`].
pub(super) type EventRow = (
    i32,
    i64,
    String,
    String,
    i64,
    String,
    i32,
    String,
    String,
    i64,
    Vec<u8>,
);

/// Opens and closes the text that stands for a payload: `{"$blob":"<64 hexadecimal digits>"}`.
const OPEN: &str = "{\"$blob\":\"";
const CLOSE: &str = "\"}";

/// The columns of [`EventRow`].
macro_rules! columns {
    () => {
        "shard, seq, aggregate_type, aggregate_id, sequence, event_type, event_version, payload, metadata, recorded_at, hash"
    };
}
pub(super) use columns;

/// A large payload on its way to its table.
#[derive(Serialize)]
pub(super) struct Blob<'a> {
    /// BLAKE3 of the body, hexadecimal.
    pub(super) digest: String,
    /// The payload.
    pub(super) body: &'a str,
}

/// What goes into the column `payload`, when it is not the payload itself. A payload that looks like
/// such a reference goes to the blobs whatever its size: so a reference is always one.
pub(super) fn blob(payload: &str) -> Option<(String, Blob<'_>)> {
    if payload.len() <= LARGE && !payload.starts_with(OPEN) {
        return None;
    }
    let digest = blake3::hash(payload.as_bytes()).to_hex().to_string();
    Some((
        format!("{OPEN}{digest}{CLOSE}"),
        Blob {
            digest,
            body: payload,
        },
    ))
}

/// The digest, when the column holds a reference.
pub(super) fn reference(column: &str) -> Option<&str> {
    column.strip_prefix(OPEN)?.strip_suffix(CLOSE)
}

/// The event of a row. Its payload is still what the column holds.
pub(super) fn recorded(row: EventRow) -> Result<Recorded, LogError> {
    let (
        shard,
        seq,
        kind,
        id,
        sequence,
        event_type,
        event_version,
        payload,
        metadata,
        recorded_at,
        hash,
    ) = row;
    let fail = |detail: &str| LogError::Corrupt(format!("shard {shard}, event {seq}: {detail}"));
    let kind = AggregateType::from_name(&kind).ok_or_else(|| {
        fail(&format!(
            "it belongs to a {kind}, a kind of stream that this program does not know"
        ))
    })?;
    let hash = hash
        .try_into()
        .map_err(|_| fail("its hash is not 32 bytes long"))?;
    Ok(Recorded {
        shard: ShardId(u16::try_from(shard).map_err(|_| fail("there is no such shard"))?),
        seq: seq as u64,
        stream: StreamId { kind, id },
        sequence: sequence as u64,
        event_type: event_type.into(),
        event_version: event_version as u32,
        payload: payload.into(),
        metadata: metadata.into(),
        recorded_at: Timestamp(recorded_at),
        hash: Hash(hash),
    })
}

/// Puts the bodies in the place of the references.
pub(super) fn resolve(
    events: &mut [Recorded],
    bodies: &[(String, String)],
) -> Result<(), LogError> {
    for event in events {
        let Some(digest) = reference(&event.payload) else {
            continue;
        };
        let fail = |what| {
            LogError::Corrupt(format!(
                "shard {}, event {}: its blob {digest} {what}",
                event.shard, event.seq
            ))
        };
        let body = bodies
            .iter()
            .find(|(of, _)| of == digest)
            .ok_or_else(|| fail("is missing"))?;
        if blake3::hash(body.1.as_bytes()).to_hex().as_str() != digest {
            return Err(fail("is not what was stored: it has another digest"));
        }
        event.payload = body.1.as_str().into();
    }
    Ok(())
}

/// What a caller can do about an error of the database.
#[allow(clippy::wildcard_enum_match_arm)] // sqlx's enum, not ours
#[allow(clippy::needless_pass_by_value)] // so that it can be handed to map_err
pub(super) fn log_error(error: sqlx::Error) -> LogError {
    match &error {
        sqlx::Error::Database(database) => match database.code().as_deref() {
            // PostgreSQL: no such table, no such database, wrong password, not allowed in.
            Some("42P01" | "3D000" | "28P01" | "28000" | "42501") => {
                LogError::Unusable(error.to_string())
            }
            // SQLite: no such folder or no permission, not a database, a read-only file.
            Some("14" | "26" | "8") => LogError::Unusable(error.to_string()),
            _ if database.message().starts_with("no such table") => {
                LogError::Unusable(error.to_string())
            }
            _ => LogError::Unavailable(error.to_string()),
        },
        sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) => {
            LogError::Corrupt(format!("a row is not as it was written: {error}"))
        }
        sqlx::Error::Configuration(_) => LogError::Unusable(error.to_string()),
        _ => LogError::Unavailable(error.to_string()),
    }
}
