//! Reading, on either database. The statements are the same text for both where the dialects allow;
//! each is one statement, so a reader may be cancelled at any time.

use domain::{AggregateType, InstanceId, ShardId, StreamId};

use super::database::Pool;
use super::rows::{EventRow, columns, log_error, recorded, reference, resolve};
use super::{postgres, sqlite};
use crate::log::{LogError, Member, Recorded, ShardInfo};

/// Runs a query on whichever pool it is; the text is the same, the types are not.
macro_rules! fetch {
    ($pool:expr, $kind:ident, $how:ident, $sql:expr $(, $bind:expr)*) => {
        match $pool {
            Pool::Sqlite(pool) => sqlx::$kind($sql)$(.bind($bind))*.$how(pool).await,
            Pool::Postgres(pool) => sqlx::$kind($sql)$(.bind($bind))*.$how(pool).await,
        }
        .map_err(log_error)
    };
}

pub(super) async fn page(
    pool: &Pool,
    shard: ShardId,
    after: u64,
    limit: usize,
) -> Result<Vec<Recorded>, LogError> {
    const SQL: &str = concat!(
        "SELECT ",
        columns!(),
        " FROM events WHERE shard = $1 AND seq > $2 ORDER BY seq LIMIT $3"
    );
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    events(
        pool,
        fetch!(
            pool,
            query_as,
            fetch_all,
            SQL,
            i32::from(shard.0),
            number(after),
            limit
        )?,
    )
    .await
}

pub(super) async fn stream(
    pool: &Pool,
    stream: &StreamId,
    after: u64,
) -> Result<Vec<Recorded>, LogError> {
    const SQL: &str = concat!(
        "SELECT ",
        columns!(),
        " FROM events WHERE aggregate_type = $1 AND aggregate_id = $2 AND sequence > $3 ORDER BY sequence"
    );
    events(
        pool,
        fetch!(
            pool,
            query_as,
            fetch_all,
            SQL,
            stream.kind.name(),
            &stream.id,
            number(after)
        )?,
    )
    .await
}

pub(super) async fn length(pool: &Pool, stream: &StreamId) -> Result<u64, LogError> {
    // Sequences have no gaps.
    const SQL: &str = "SELECT sequence FROM events WHERE aggregate_type = $1 AND aggregate_id = $2 \
                       ORDER BY sequence DESC LIMIT 1";
    let newest: Option<i64> = fetch!(
        pool,
        query_scalar,
        fetch_optional,
        SQL,
        stream.kind.name(),
        &stream.id
    )?;
    Ok(newest.unwrap_or(0) as u64)
}

pub(super) async fn last(pool: &Pool, stream: &StreamId) -> Result<Option<Recorded>, LogError> {
    const SQL: &str = concat!(
        "SELECT ",
        columns!(),
        " FROM events WHERE aggregate_type = $1 AND aggregate_id = $2 ORDER BY sequence DESC LIMIT 1"
    );
    let rows = fetch!(
        pool,
        query_as,
        fetch_all,
        SQL,
        stream.kind.name(),
        &stream.id
    )?;
    Ok(events(pool, rows).await?.pop())
}

/// A run and its tasks are two ranges of one index. '0' is the character after '/', so the second
/// range holds every id that starts with the instance and a slash.
pub(super) async fn instance(
    pool: &Pool,
    instance: InstanceId,
    after: u64,
) -> Result<Vec<Recorded>, LogError> {
    const SQL: &str = concat!(
        "SELECT ",
        columns!(),
        " FROM events WHERE aggregate_type = $1 AND aggregate_id = $2 AND seq > $6 UNION ALL SELECT ",
        columns!(),
        " FROM events WHERE aggregate_type = $3 AND aggregate_id >= $4 AND aggregate_id < $5 AND seq > $6 ORDER BY seq"
    );
    let (run, first, end) = (
        instance.to_string(),
        format!("{instance}/"),
        format!("{instance}0"),
    );
    let (runs, tasks) = (
        AggregateType::WorkflowInstance.name(),
        AggregateType::TaskInstance.name(),
    );
    let rows = fetch!(
        pool,
        query_as,
        fetch_all,
        SQL,
        runs,
        &run,
        tasks,
        &first,
        &end,
        number(after)
    )?;
    events(pool, rows).await
}

pub(super) async fn streams(
    pool: &Pool,
    shard: ShardId,
    kind: AggregateType,
) -> Result<Vec<StreamId>, LogError> {
    const SQL: &str = "SELECT aggregate_id FROM events WHERE shard = $1 AND aggregate_type = $2 AND sequence = 1 ORDER BY aggregate_id";
    let ids: Vec<String> = fetch!(
        pool,
        query_scalar,
        fetch_all,
        SQL,
        i32::from(shard.0),
        kind.name()
    )?;
    Ok(ids.into_iter().map(|id| StreamId { kind, id }).collect())
}

pub(super) async fn shard_infos(pool: &Pool) -> Result<Vec<ShardInfo>, LogError> {
    macro_rules! sql {
        ($($now:tt)*) => {
            concat!("SELECT shard, head, epoch, owner, (lease_expires_at - ", $($now)*, ") / 1000, heir FROM shards ORDER BY shard")
        };
    }
    type Row = (i32, i64, i64, String, i64, String);
    let rows: Vec<Row> = match pool {
        Pool::Sqlite(pool) => sqlx::query_as(sql!(sqlite::now!())).fetch_all(pool).await,
        Pool::Postgres(pool) => sqlx::query_as(sql!(postgres::now!())).fetch_all(pool).await,
    }
    .map_err(log_error)?;
    let info = |(shard, head, epoch, owner, expires_in_ms, heir): Row| ShardInfo {
        shard: ShardId(shard as u16),
        head: head as u64,
        epoch: epoch as u64,
        owner,
        expires_in_ms,
        heir,
    };
    Ok(rows.into_iter().map(info).collect())
}

pub(super) async fn members(pool: &Pool) -> Result<Vec<Member>, LogError> {
    macro_rules! sql {
        ($($now:tt)*) => {
            concat!("SELECT id, address, standby FROM engines WHERE expires_at > ", $($now)*, " ORDER BY id")
        };
    }
    let rows: Vec<(String, String, bool)> = match pool {
        Pool::Sqlite(pool) => sqlx::query_as(sql!(sqlite::now!())).fetch_all(pool).await,
        Pool::Postgres(pool) => sqlx::query_as(sql!(postgres::now!())).fetch_all(pool).await,
    }
    .map_err(log_error)?;
    let member = |(id, address, standby)| Member {
        id,
        address,
        standby,
    };
    Ok(rows.into_iter().map(member).collect())
}

/// The events of the rows, with the large payloads put back in their places.
async fn events(pool: &Pool, rows: Vec<EventRow>) -> Result<Vec<Recorded>, LogError> {
    let mut events = rows
        .into_iter()
        .map(recorded)
        .collect::<Result<Vec<_>, _>>()?;
    let digests: Vec<&str> = events
        .iter()
        .filter_map(|event| reference(&event.payload))
        .collect();
    if digests.is_empty() {
        return Ok(events);
    }
    let bodies: Vec<(String, String)> = match pool {
        Pool::Sqlite(pool) => {
            let list = serde_json::to_string(&digests)
                .map_err(|error| LogError::Corrupt(error.to_string()))?;
            sqlx::query_as(
                "SELECT digest, body FROM blobs WHERE digest IN (SELECT value FROM json_each($1))",
            )
            .bind(list)
            .fetch_all(pool)
            .await
        }
        Pool::Postgres(pool) => {
            sqlx::query_as("SELECT digest, body FROM blobs WHERE digest = ANY($1)")
                .bind(digests)
                .fetch_all(pool)
                .await
        }
    }
    .map_err(log_error)?;
    resolve(&mut events, &bodies)?;
    Ok(events)
}

/// A position as SQL knows it; one beyond what SQL can count is after everything.
fn number(position: u64) -> i64 {
    i64::try_from(position).unwrap_or(i64::MAX)
}
