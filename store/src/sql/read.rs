//! Reading, on either database. The statements are the same text for both where the dialects allow;
//! each is one statement, so a reader may be cancelled at any time.

use domain::{AggregateType, InstanceId, ShardId, StreamId};
use sqlx::FromRow;

use super::database::Pool;
use super::rows::{EventRow, columns, log_error, recorded, reference, resolve};
use super::{postgres, sqlite};
use crate::log::{LogError, Member, Recorded, ShardInfo};

/// The rows of a question on whichever database it is; the text is the same, the types are not.
macro_rules! fetch {
    ($pool:expr, $sql:expr $(, $bind:expr)*) => {
        match $pool {
            Pool::Sqlite(pool) => pool
                .rows(|| sqlx::query($sql)$(.bind($bind))*)
                .await
                .and_then(|rows| rows.iter().map(FromRow::from_row).collect::<Result<Vec<_>, _>>()),
            Pool::Postgres(pool) => pool
                .rows(|| sqlx::query($sql)$(.bind($bind))*)
                .await
                .and_then(|rows| rows.iter().map(FromRow::from_row).collect::<Result<Vec<_>, _>>()),
        }
        .map_err(log_error)
    };
}
pub(super) use fetch;

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
        fetch!(pool, SQL, i32::from(shard.0), number(after), limit)?,
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
        fetch!(pool, SQL, stream.kind.name(), &stream.id, number(after))?,
    )
    .await
}

pub(super) async fn length(pool: &Pool, stream: &StreamId) -> Result<u64, LogError> {
    // Sequences have no gaps.
    const SQL: &str = "SELECT sequence FROM events WHERE aggregate_type = $1 AND aggregate_id = $2 \
                       ORDER BY sequence DESC LIMIT 1";
    let newest: Vec<(i64,)> = fetch!(pool, SQL, stream.kind.name(), &stream.id)?;
    Ok(newest.first().map_or(0, |(newest,)| *newest as u64))
}

pub(super) async fn last(pool: &Pool, stream: &StreamId) -> Result<Option<Recorded>, LogError> {
    const SQL: &str = concat!(
        "SELECT ",
        columns!(),
        " FROM events WHERE aggregate_type = $1 AND aggregate_id = $2 ORDER BY sequence DESC LIMIT 1"
    );
    let rows = fetch!(pool, SQL, stream.kind.name(), &stream.id)?;
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
    let rows = fetch!(pool, SQL, runs, &run, tasks, &first, &end, number(after))?;
    events(pool, rows).await
}

/// What the index of these streams is made of stands here word for word: that is how a database knows that it may be
/// used, whatever values are bound.
const SHARED: &str = "SELECT aggregate_type, aggregate_id FROM events WHERE shard = $1 AND sequence = 1 \
    AND aggregate_type IN ('workflow_definition', 'task_group', 'serial_queue', 'environment')";

pub(super) async fn shared_streams(pool: &Pool, shard: ShardId) -> Result<Vec<StreamId>, LogError> {
    let rows: Vec<(String, String)> = fetch!(pool, SHARED, i32::from(shard.0))?;
    let streams = rows.into_iter().map(|(kind, id)| {
        let unknown = || LogError::Corrupt(format!("shard {shard} has a stream of kind {kind:?}"));
        let kind = AggregateType::from_name(&kind).ok_or_else(unknown)?;
        Ok(StreamId { kind, id })
    });
    streams.collect()
}

pub(super) async fn shard_infos(pool: &Pool) -> Result<Vec<ShardInfo>, LogError> {
    macro_rules! sql {
        ($($now:tt)*) => {
            concat!("SELECT shard, head, epoch, owner, (lease_expires_at - ", $($now)*, ") / 1000, heir FROM shards ORDER BY shard")
        };
    }
    type Row = (i32, i64, i64, String, i64, String);
    let sql = match pool {
        Pool::Sqlite(_) => sql!(sqlite::now!()),
        Pool::Postgres(_) => sql!(postgres::now!()),
    };
    let rows: Vec<Row> = fetch!(pool, sql)?;
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
    let sql = match pool {
        Pool::Sqlite(_) => sql!(sqlite::now!()),
        Pool::Postgres(_) => sql!(postgres::now!()),
    };
    let rows: Vec<(String, String, bool)> = fetch!(pool, sql)?;
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
        Pool::Sqlite(_) => {
            const SQL: &str =
                "SELECT digest, body FROM blobs WHERE digest IN (SELECT value FROM json_each($1))";
            let list = serde_json::to_string(&digests)
                .map_err(|error| LogError::Corrupt(error.to_string()))?;
            fetch!(pool, SQL, list.as_str())?
        }
        Pool::Postgres(pool) => {
            const SQL: &str = "SELECT digest, body FROM blobs WHERE digest = ANY($1)";
            let rows = pool.rows(|| sqlx::query(SQL).bind(&digests)).await;
            let rows = rows.and_then(|rows| rows.iter().map(FromRow::from_row).collect());
            rows.map_err(log_error)?
        }
    };
    resolve(&mut events, &bodies)?;
    Ok(events)
}

/// A position as SQL knows it; one beyond what SQL can count is after everything.
fn number(position: u64) -> i64 {
    i64::try_from(position).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use sqlx::{Connection, Row};

    use super::*;
    use crate::sql::database::{sqlite_connect, sqlite_options};
    use crate::{Database, OpenOptions, SqlLog};

    #[tokio::test]
    async fn what_runs_share_is_found_without_looking_at_the_runs() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log.db");
        let options = OpenOptions {
            migrate: true,
            shards: 4,
            commit_delay: std::time::Duration::ZERO,
        };
        SqlLog::open(&Database::file(path.clone()), options)
            .await
            .unwrap();
        let mut connection = sqlite_connect(&sqlite_options(&path)).await.unwrap();
        let explain = sqlx::AssertSqlSafe(format!("EXPLAIN QUERY PLAN {SHARED}"));
        let plan = sqlx::query(explain).bind(1).fetch_all(&mut connection);
        let plan = plan.await.unwrap();
        let steps: Vec<String> = plan.iter().map(|step| step.get("detail")).collect();
        let index = "SEARCH events USING COVERING INDEX events_shared ";
        assert!(steps.len() == 1 && steps[0].starts_with(index), "{steps:?}");
        connection.close().await.unwrap();
    }
}
