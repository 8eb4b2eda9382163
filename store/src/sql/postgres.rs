//! The writer's statements in PostgreSQL's dialect. An append is one statement, so it is one round
//! trip and its own transaction; lists travel as arrays.

use std::time::Duration;

use domain::ShardId;
use sqlx::postgres::{PgConnectOptions, PgConnection, PgListener, PgPool, PgPoolOptions};
use tokio::sync::watch;

use super::batch::Group;
use super::rows::blob;
use super::session::Failure;
use super::standings;
use super::writer::{Acquire, Change, Inherit};
use crate::chain::Chain;
use crate::log::{Lease, Member};

/// This database's clock in microseconds, not the transaction's start.
macro_rules! now {
    () => {
        "(extract(epoch FROM clock_timestamp()) * 1000000)::bigint"
    };
}
pub(super) use now;

/// The channel of the hint that shards may have changed hands.
const HANDOVERS: &str = "tidemill_handovers";

/// `moved` holds the shards that are where the writer says and whose epoch is the writer's: the rest
/// of the statement only concerns those. Between the beginning and the end there may be more to write.
macro_rules! commit {
    ($more:literal) => {
        concat!(
            "WITH moved AS (
    UPDATE shards AS s SET head = w.end_head, hash = w.end_hash
    FROM unnest($1::int[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bytea[], $6::bytea[])
         AS w(shard, epoch, head, end_head, hash, end_hash)
    WHERE s.shard = w.shard AND s.epoch = w.epoch AND s.head = w.head AND s.hash = w.hash
    RETURNING s.shard
), written AS (
    INSERT INTO events (shard, seq, aggregate_type, aggregate_id, sequence, event_type, event_version,
                        payload, metadata, recorded_at, hash)
    SELECT e.*
    FROM unnest($7::int[], $8::bigint[], $9::text[], $10::text[], $11::bigint[], $12::text[], $13::int[],
                $14::text[], $15::text[], $16::bigint[], $17::bytea[])
         AS e(shard, seq, aggregate_type, aggregate_id, sequence, event_type, event_version,
              payload, metadata, recorded_at, hash)
    JOIN moved ON moved.shard = e.shard
)",
            $more,
            "
SELECT shard FROM moved"
        )
    };
}

const COMMIT: &str = commit!("");

/// Of its own: most commits have no large payload, and would pay for the place of one.
const COMMIT_WITH_BLOBS: &str = commit!(
    ", large AS (
    INSERT INTO blobs (digest, body)
    SELECT b.digest, b.body
    FROM unnest($18::int[], $19::text[], $20::text[]) AS b(shard, digest, body)
    JOIN moved ON moved.shard = b.shard
    ON CONFLICT DO NOTHING
)"
);

/// The events of a batch, column by column.
#[derive(Default)]
struct Columns<'a> {
    shard: Vec<i32>,
    seq: Vec<i64>,
    kind: Vec<&'static str>,
    id: Vec<&'a str>,
    sequence: Vec<i64>,
    event_type: Vec<&'a str>,
    event_version: Vec<i32>,
    payload: Vec<std::borrow::Cow<'a, str>>,
    metadata: Vec<&'a str>,
    recorded_at: Vec<i64>,
    hash: Vec<&'a [u8]>,
    blob_shard: Vec<i32>,
    blob_digest: Vec<String>,
    blob_body: Vec<&'a str>,
}

impl<'a> Columns<'a> {
    fn of(groups: &'a [Group]) -> Self {
        let mut columns = Self::default();
        for event in groups.iter().flat_map(Group::events) {
            let shard = i32::from(event.shard.0);
            columns.shard.push(shard);
            columns.seq.push(event.seq as i64);
            columns.kind.push(event.stream.kind.name());
            columns.id.push(&event.stream.id);
            columns.sequence.push(event.sequence as i64);
            columns.event_type.push(&event.event_type);
            columns.event_version.push(event.event_version as i32);
            columns.metadata.push(&event.metadata);
            columns.recorded_at.push(event.recorded_at.micros());
            columns.hash.push(&event.hash.0);
            match blob(&event.payload) {
                None => columns.payload.push((&*event.payload).into()),
                Some((reference, blob)) => {
                    columns.payload.push(reference.into());
                    columns.blob_shard.push(shard);
                    columns.blob_digest.push(blob.digest);
                    columns.blob_body.push(blob.body);
                }
            }
        }
        columns
    }
}

pub(super) async fn commit(
    connection: &mut PgConnection,
    groups: &[Group],
) -> Result<Vec<ShardId>, Failure> {
    let each = |of: fn(&Group) -> u64| {
        groups
            .iter()
            .map(|group| of(group) as i64)
            .collect::<Vec<_>>()
    };
    let hashes = |of: fn(&Group) -> Chain| {
        groups
            .iter()
            .map(|group| of(group).hash.0.to_vec())
            .collect::<Vec<_>>()
    };
    let columns = Columns::of(groups);
    let has_blobs = !columns.blob_digest.is_empty();
    let mut query = sqlx::query_as(if has_blobs { COMMIT_WITH_BLOBS } else { COMMIT })
        .bind(
            groups
                .iter()
                .map(|group| i32::from(group.shard.0))
                .collect::<Vec<_>>(),
        )
        .bind(each(|group| group.epoch))
        .bind(each(|group| group.after.head))
        .bind(each(|group| group.end().head))
        .bind(hashes(|group| group.after))
        .bind(hashes(Group::end))
        .bind(&columns.shard)
        .bind(&columns.seq)
        .bind(&columns.kind)
        .bind(&columns.id)
        .bind(&columns.sequence)
        .bind(&columns.event_type)
        .bind(&columns.event_version)
        .bind(&columns.payload)
        .bind(&columns.metadata)
        .bind(&columns.recorded_at)
        .bind(&columns.hash);
    if has_blobs {
        query = query
            .bind(&columns.blob_shard)
            .bind(&columns.blob_digest)
            .bind(&columns.blob_body);
    }
    let moved: Vec<(i32,)> = query.fetch_all(connection).await?;
    Ok(moved
        .into_iter()
        .map(|(shard,)| ShardId(shard as u16))
        .collect())
}

pub(super) async fn positions(
    connection: &mut PgConnection,
    shards: &[i32],
) -> Result<Vec<(i32, i64, i64)>, Failure> {
    const SQL: &str = "SELECT shard, epoch, head FROM shards WHERE shard = ANY($1)";
    Ok(sqlx::query_as(SQL)
        .bind(shards)
        .fetch_all(connection)
        .await?)
}

pub(super) async fn acquire(
    connection: &mut PgConnection,
    ask: &Acquire,
) -> Result<Vec<(i32, i64, i64)>, Failure> {
    // Materialized, because a subquery with a limit that is carried out more than once finds more than its limit.
    const SQL: &str = concat!(
        "WITH taken AS MATERIALIZED (SELECT shard FROM shards WHERE lease_expires_at <= ",
        now!(),
        " OR owner = $1 ORDER BY CASE WHEN lease_expires_at <= ",
        now!(),
        " THEN 0 ELSE 1 END, shard LIMIT $3 FOR UPDATE) \
         UPDATE shards AS s SET epoch = s.epoch + 1, owner = $1, heir = '', lease_expires_at = ",
        now!(),
        " + $2 FROM taken WHERE s.shard = taken.shard RETURNING s.shard, s.epoch, s.head"
    );
    let query = sqlx::query_as(SQL)
        .bind(&ask.owner)
        .bind(ask.lease_us)
        .bind(ask.most);
    Ok(query.fetch_all(connection).await?)
}

pub(super) async fn inherit(
    connection: &mut PgConnection,
    ask: &Inherit,
) -> Result<Vec<(i32, i64, i64)>, Failure> {
    const SQL: &str = concat!(
        "UPDATE shards SET epoch = epoch + 1, owner = $1, heir = '', lease_expires_at = ",
        now!(),
        " + $2 WHERE heir = $1 AND heir <> '' AND shard = ANY($3) RETURNING shard, epoch, head"
    );
    let query = sqlx::query_as(SQL)
        .bind(&ask.heir)
        .bind(ask.lease_us)
        .bind(&ask.shards);
    Ok(query.fetch_all(connection).await?)
}

pub(super) async fn renew(
    connection: &mut PgConnection,
    owner: &str,
    leases: &[Lease],
    lease_us: i64,
) -> Result<Vec<i32>, Failure> {
    const SQL: &str = concat!(
        "UPDATE shards AS s SET lease_expires_at = ",
        now!(),
        " + $2 FROM unnest($3::int[], $4::bigint[]) AS l(shard, epoch) \
         WHERE s.shard = l.shard AND s.epoch = l.epoch AND s.owner = $1 RETURNING s.shard"
    );
    let (shards, epochs) = arrays(leases);
    let query = sqlx::query_scalar(SQL)
        .bind(owner)
        .bind(lease_us)
        .bind(shards)
        .bind(epochs);
    Ok(query.fetch_all(connection).await?)
}

/// Carries out a change; answers whether shards may have changed hands.
pub(super) async fn change(
    connection: &mut PgConnection,
    change: &Change,
) -> Result<bool, Failure> {
    let query = match change {
        Change::Release { owner, leases } => {
            let (shards, epochs) = arrays(leases);
            sqlx::query(
                "UPDATE shards AS s SET owner = '', heir = '', lease_expires_at = 0 \
                 FROM unnest($2::int[], $3::bigint[]) AS l(shard, epoch) \
                 WHERE s.shard = l.shard AND s.epoch = l.epoch AND s.owner = $1",
            )
            .bind(owner)
            .bind(shards)
            .bind(epochs)
        }
        Change::Invite {
            owner,
            leases,
            heir,
        } => {
            let (shards, epochs) = arrays(leases);
            sqlx::query(
                "UPDATE shards AS s SET heir = $4 FROM unnest($2::int[], $3::bigint[]) AS l(shard, epoch) \
                 WHERE s.shard = l.shard AND s.epoch = l.epoch AND s.owner = $1",
            )
            .bind(owner)
            .bind(shards)
            .bind(epochs)
            .bind(heir)
        }
        Change::Attend { member, lease_us } => {
            return attend(connection, member, *lease_us).await;
        }
        Change::Depart { id } => sqlx::query("DELETE FROM engines WHERE id = $1").bind(id),
        Change::Post { shard, letter } => {
            sqlx::query("INSERT INTO letters (shard, body) VALUES ($1, $2)")
                .bind(i32::from(shard.0))
                .bind(letter)
        }
        Change::KeepStanding(row) => sqlx::query(standings::KEEP)
            .bind(row.shard)
            .bind(row.seq)
            .bind(row.hash.as_slice())
            .bind(&row.body),
    };
    let changed = query.execute(connection).await?.rows_affected() > 0;
    Ok(changed && change.moves_shards())
}

async fn attend(
    connection: &mut PgConnection,
    member: &Member,
    lease_us: i64,
) -> Result<bool, Failure> {
    // Those who read first wait for nobody: `before` sees the table as it was.
    const SQL: &str = concat!(
        "WITH before AS (SELECT id, standby, expires_at > ",
        now!(),
        " AS lives FROM engines), gone AS (DELETE FROM engines WHERE id <> $1 AND expires_at <= ",
        now!(),
        " RETURNING id), here AS (INSERT INTO engines (id, address, standby, expires_at) VALUES ($1, $2, $3, ",
        now!(),
        " + $4) ON CONFLICT (id) DO UPDATE SET address = excluded.address, standby = excluded.standby, \
         expires_at = excluded.expires_at) \
         SELECT EXISTS (SELECT 1 FROM gone) OR NOT EXISTS \
         (SELECT 1 FROM before WHERE id = $1 AND standby = $3 AND lives)"
    );
    let query = sqlx::query_scalar(SQL)
        .bind(&member.id)
        .bind(&member.address)
        .bind(member.standby)
        .bind(lease_us);
    Ok(query.fetch_one(connection).await?)
}

/// Tells other processes that shards may have changed hands.
pub(super) async fn announce(connection: &mut PgConnection) -> Result<(), Failure> {
    sqlx::query("SELECT pg_notify($1, '')")
        .bind(HANDOVERS)
        .execute(connection)
        .await?;
    Ok(())
}

/// Takes letters out of the letter box.
pub(super) async fn collect(
    connection: &mut PgConnection,
    shards: Vec<i32>,
) -> Result<Vec<String>, Failure> {
    let mut taken: Vec<(i64, String)> =
        sqlx::query_as("DELETE FROM letters WHERE shard = ANY($1) RETURNING id, body")
            .bind(shards)
            .fetch_all(connection)
            .await?;
    taken.sort_unstable_by_key(|(id, _)| *id);
    Ok(taken.into_iter().map(|(_, body)| body).collect())
}

fn arrays(leases: &[Lease]) -> (Vec<i32>, Vec<i64>) {
    leases
        .iter()
        .map(|lease| (i32::from(lease.shard.0), lease.epoch as i64))
        .unzip()
}

/// A server may be set to answer before the disk does; this connection does not accept that. Stricter
/// settings (a standby that has written, too) stay as they are.
pub(super) async fn durable(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    const SQL: &str = "SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'";
    sqlx::query(SQL).execute(connection).await.map(drop)
}

/// Passes other processes' hints on, for ever. What it misses while it reconnects is only a hint.
pub(super) async fn listen(options: PgConnectOptions, handovers: watch::Sender<u64>) {
    let one = PgPoolOptions::new().max_connections(1);
    let pool = one.connect_lazy_with(options);
    loop {
        if let Err(error) = pass_on(&pool, &handovers).await {
            tracing::debug!(%error, "no hints from other processes; trying again");
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

async fn pass_on(pool: &PgPool, handovers: &watch::Sender<u64>) -> Result<(), sqlx::Error> {
    let mut listener = PgListener::connect_with(pool).await?;
    listener.listen(HANDOVERS).await?;
    loop {
        listener.recv().await?;
        handovers.send_modify(|count| *count += 1);
    }
}
