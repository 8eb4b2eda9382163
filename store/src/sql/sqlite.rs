//! The writer's statements in SQLite's dialect. A statement per row would cost a thread hop per row: events
//! travel many to a statement, and short lists as one JSON text each.

use std::fmt::Write as _;
use std::sync::{Arc, LazyLock};

use domain::ShardId;
use serde::Serialize;
use sqlx::query::Query;
use sqlx::sqlite::{SqliteArguments, SqliteConnection};
use sqlx::{Connection, Sqlite};

use super::batch::Group;
use super::rows::{Blob, blob};
use super::session::Failure;
use super::standings;
use super::writer::{Acquire, Change, Inherit};
use crate::log::{Lease, Member, Recorded};

/// This database's clock in microseconds; it ticks in milliseconds.
macro_rules! now {
    () => {
        "CAST(unixepoch('subsec') * 1000000 AS INTEGER)"
    };
}
pub(super) use now;

const MOVE: &str = "UPDATE shards SET head = (w.value ->> 4), hash = unhex(w.value ->> 5) FROM json_each($1) AS w \
    WHERE shard = (w.value ->> 0) AND epoch = (w.value ->> 1) AND head = (w.value ->> 2) \
    AND hash = unhex(w.value ->> 3) RETURNING shard";

/// Moves the shards as [`MOVE`] does, or fails: a head that is not where it should be becomes nothing, which the
/// column does not take.
const MOVE_OR_FAIL: &str = "UPDATE shards SET hash = unhex(w.value ->> 5), \
    head = CASE WHEN epoch = (w.value ->> 1) AND head = (w.value ->> 2) AND hash = unhex(w.value ->> 3) \
        THEN (w.value ->> 4) END \
    FROM json_each(?) AS w WHERE shard = (w.value ->> 0)";

/// The sizes of the statements that write events, as powers of two: each size must be prepared once.
const SIZES: usize = 12;
/// The most events that one statement writes.
const MOST: usize = 1 << (SIZES - 1);

/// `INSERTS[n]` has room for `2^n` events. What is not bound is NULL, and a row without a shard is none. Bound values
/// cost half of what JSON does that SQLite takes apart. What fails leaves what it had written to the transaction,
/// which is rolled back: so SQLite need not keep a copy of each page that the statement changes.
static INSERTS: LazyLock<[String; SIZES]> = LazyLock::new(|| {
    std::array::from_fn(|size| {
        const ROW: &str = "(?,?,?,?,?,?,?,?,?,?,?)";
        let rows = vec![ROW; 1 << size].join(",");
        format!(
            "INSERT OR FAIL INTO events (shard, seq, aggregate_type, aggregate_id, sequence, event_type, \
            event_version, payload, metadata, recorded_at, hash) \
            SELECT * FROM (VALUES {rows}) WHERE column1 IS NOT NULL"
        )
    })
});

/// `COMMITS[n]` is a whole commit of up to `2^n` events: one trip to the connection's thread instead of four or more.
static COMMITS: LazyLock<[String; SIZES]> = LazyLock::new(|| {
    std::array::from_fn(|size| {
        let insert = &INSERTS[size];
        format!("BEGIN IMMEDIATE; {MOVE_OR_FAIL}; {insert}; COMMIT")
    })
});

/// The statement that has room for so many events, at most [`MOST`].
fn for_events(statements: &'static [String; SIZES], events: usize) -> &'static str {
    &statements[events.next_power_of_two().trailing_zeros() as usize]
}

const BLOBS: &str = "INSERT INTO blobs (digest, body) SELECT value ->> 'digest', value ->> 'body' FROM json_each($1) \
    WHERE true ON CONFLICT DO NOTHING";

pub(super) async fn commit(
    connection: &mut SqliteConnection,
    groups: &[Group],
) -> Result<Vec<ShardId>, Failure> {
    let wanted = Arc::<str>::from(wanted(groups));
    let events: Vec<&Recorded> = groups.iter().flat_map(Group::events).collect();
    let is_large = |event: &&Recorded| blob(&event.payload).is_some();
    if events.len() <= MOST && !events.iter().any(is_large) {
        let sql = for_events(&COMMITS, events.len());
        let query = events.iter().fold(
            sqlx::query(sql).bind(Arc::clone(&wanted)),
            |query, event| bind(query, event, Arc::clone(&event.payload)),
        );
        match query.execute(&mut *connection).await {
            Ok(_) => return Ok(groups.iter().map(|group| group.shard).collect()),
            // Of what was begun nothing may stay. Then it is found out what of it can be written.
            Err(error) if is_refusal(&error) => {
                sqlx::query("ROLLBACK").execute(&mut *connection).await?;
            }
            Err(error) => return Err(error.into()),
        }
    }
    commit_in_steps(connection, groups, &wanted).await
}

/// A row was not as it must be: a shard that has moved or does not exist, or an event that is there already.
fn is_refusal(error: &sqlx::Error) -> bool {
    use sqlx::error::ErrorKind;
    error.as_database_error().is_some_and(|error| {
        matches!(
            error.kind(),
            ErrorKind::NotNullViolation
                | ErrorKind::UniqueViolation
                | ErrorKind::ForeignKeyViolation
        )
    })
}

/// Where each shard is to go, and from where, as [`MOVE`] takes it.
fn wanted(groups: &[Group]) -> String {
    let mut wanted = String::with_capacity(groups.len() * 256);
    for group in groups {
        let (shard, epoch, after, end) = (group.shard, group.epoch, group.after, group.end());
        let comma = if wanted.is_empty() { '[' } else { ',' };
        // Writing to a string does not fail.
        let _ = write!(
            wanted,
            "{comma}[{shard},{epoch},{},\"{}\",{},\"{}\"]",
            after.head, after.hash, end.head, end.hash
        );
    }
    wanted.push(']');
    wanted
}

/// Writes the groups whose shards are where the writer says, and no others.
async fn commit_in_steps(
    connection: &mut SqliteConnection,
    groups: &[Group],
    wanted: &str,
) -> Result<Vec<ShardId>, Failure> {
    let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
    let moved: Vec<i32> = sqlx::query_scalar(MOVE)
        .bind(wanted)
        .fetch_all(&mut *transaction)
        .await?;
    let moved: Vec<_> = moved
        .into_iter()
        .map(|shard| ShardId(shard as u16))
        .collect();
    if moved.is_empty() {
        transaction.rollback().await?;
        return Ok(moved);
    }
    let events: Vec<&Recorded> = groups
        .iter()
        .filter(|group| moved.contains(&group.shard))
        .flat_map(Group::events)
        .collect();
    let mut blobs = Vec::new();
    let written = async {
        for events in events.chunks(MOST) {
            blobs.extend(insert(&mut transaction, events).await?);
        }
        if !blobs.is_empty() {
            sqlx::query(BLOBS)
                .bind(json(&blobs)?)
                .execute(&mut *transaction)
                .await?;
        }
        Ok(())
    };
    match written.await {
        Ok(()) => transaction.commit().await?,
        Err(failure) => {
            transaction.rollback().await?;
            return Err(failure);
        }
    }
    Ok(moved)
}

/// Writes at most [`MOST`] events. Answers the payloads that go elsewhere.
async fn insert<'a>(
    connection: &mut SqliteConnection,
    events: &[&'a Recorded],
) -> Result<Vec<Blob<'a>>, sqlx::Error> {
    let mut blobs = Vec::new();
    let mut query = sqlx::query(for_events(&INSERTS, events.len()));
    for event in events {
        let payload = match blob(&event.payload) {
            None => Arc::clone(&event.payload),
            Some((reference, blob)) => {
                blobs.push(blob);
                reference.into()
            }
        };
        query = bind(query, event, payload);
    }
    query.execute(connection).await?;
    Ok(blobs)
}

type Bound<'q> = Query<'q, Sqlite, SqliteArguments>;

/// The columns of one event, in the order of [`INSERTS`]. Shared texts are bound as they are; of others sqlx
/// would make two copies.
fn bind<'q>(query: Bound<'q>, event: &Recorded, payload: Arc<str>) -> Bound<'q> {
    let text = |text: &str| Arc::<str>::from(text);
    query
        .bind(i32::from(event.shard.0))
        .bind(event.seq as i64)
        .bind(text(event.stream.kind.name()))
        .bind(text(&event.stream.id))
        .bind(event.sequence as i64)
        .bind(text(&event.event_type))
        .bind(i64::from(event.event_version))
        .bind(payload)
        .bind(Arc::clone(&event.metadata))
        .bind(event.recorded_at.micros())
        .bind(event.hash.0.as_slice())
}

pub(super) async fn positions(
    connection: &mut SqliteConnection,
    shards: &[i32],
) -> Result<Vec<(i32, i64, i64)>, Failure> {
    const SQL: &str =
        "SELECT shard, epoch, head FROM shards WHERE shard IN (SELECT value FROM json_each($1))";
    Ok(sqlx::query_as(SQL)
        .bind(json(&shards)?)
        .fetch_all(connection)
        .await?)
}

pub(super) async fn acquire(
    connection: &mut SqliteConnection,
    ask: &Acquire,
) -> Result<Vec<(i32, i64, i64)>, Failure> {
    const SQL: &str = concat!(
        "UPDATE shards SET epoch = epoch + 1, owner = $1, heir = '', lease_expires_at = ",
        now!(),
        " + $2 WHERE shard IN (SELECT shard FROM shards WHERE lease_expires_at <= ",
        now!(),
        " OR owner = $1 ORDER BY CASE WHEN lease_expires_at <= ",
        now!(),
        " THEN 0 ELSE 1 END, shard LIMIT $3) RETURNING shard, epoch, head"
    );
    let query = sqlx::query_as(SQL)
        .bind(&ask.owner)
        .bind(ask.lease_us)
        .bind(ask.most);
    Ok(query.fetch_all(connection).await?)
}

pub(super) async fn inherit(
    connection: &mut SqliteConnection,
    ask: &Inherit,
) -> Result<Vec<(i32, i64, i64)>, Failure> {
    const SQL: &str = concat!(
        "UPDATE shards SET epoch = epoch + 1, owner = $1, heir = '', lease_expires_at = ",
        now!(),
        " + $2 WHERE heir = $1 AND heir <> '' AND shard IN (SELECT value FROM json_each($3)) RETURNING shard, epoch, head"
    );
    let query = sqlx::query_as(SQL)
        .bind(&ask.heir)
        .bind(ask.lease_us)
        .bind(json(&ask.shards)?);
    Ok(query.fetch_all(connection).await?)
}

pub(super) async fn renew(
    connection: &mut SqliteConnection,
    owner: &str,
    leases: &[Lease],
    lease_us: i64,
) -> Result<Vec<i32>, Failure> {
    const SQL: &str = concat!(
        "UPDATE shards SET lease_expires_at = ",
        now!(),
        " + $2 FROM json_each($3) AS l \
         WHERE shard = (l.value ->> 0) AND epoch = (l.value ->> 1) AND owner = $1 RETURNING shard"
    );
    let query = sqlx::query_scalar(SQL)
        .bind(owner)
        .bind(lease_us)
        .bind(pairs(leases)?);
    Ok(query.fetch_all(connection).await?)
}

/// Carries out a change; answers whether shards may have changed hands.
pub(super) async fn change(
    connection: &mut SqliteConnection,
    change: &Change,
) -> Result<bool, Failure> {
    let query = match change {
        Change::Release { owner, leases } => sqlx::query(
            "UPDATE shards SET owner = '', heir = '', lease_expires_at = 0 FROM json_each($2) AS l \
             WHERE shard = (l.value ->> 0) AND epoch = (l.value ->> 1) AND owner = $1",
        )
        .bind(owner)
        .bind(pairs(leases)?),
        Change::Invite {
            owner,
            leases,
            heir,
        } => sqlx::query(
            "UPDATE shards SET heir = $3 FROM json_each($2) AS l \
             WHERE shard = (l.value ->> 0) AND epoch = (l.value ->> 1) AND owner = $1",
        )
        .bind(owner)
        .bind(pairs(leases)?)
        .bind(heir),
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
    connection: &mut SqliteConnection,
    member: &Member,
    lease_us: i64,
) -> Result<bool, Failure> {
    const GONE: &str = concat!("DELETE FROM engines WHERE expires_at <= ", now!());
    const KNOWN: &str = "SELECT EXISTS (SELECT 1 FROM engines WHERE id = $1 AND standby = $2)";
    const HERE: &str = concat!(
        "INSERT INTO engines (id, address, standby, expires_at) VALUES ($1, $2, $3, ",
        now!(),
        " + $4) ON CONFLICT (id) DO UPDATE SET address = excluded.address, standby = excluded.standby, \
         expires_at = excluded.expires_at"
    );
    let gone = sqlx::query(GONE).execute(&mut *connection).await?;
    let known: bool = sqlx::query_scalar(KNOWN)
        .bind(&member.id)
        .bind(member.standby)
        .fetch_one(&mut *connection)
        .await?;
    sqlx::query(HERE)
        .bind(&member.id)
        .bind(&member.address)
        .bind(member.standby)
        .bind(lease_us)
        .execute(connection)
        .await?;
    Ok(!known || gone.rows_affected() > 0)
}

/// Takes letters out of the letter box. A look into an empty one writes nothing.
pub(super) async fn collect(
    connection: &mut SqliteConnection,
    shards: &[i32],
) -> Result<Vec<String>, Failure> {
    let shards = json(shards)?;
    let waiting: bool = sqlx::query_scalar(
        "SELECT EXISTS (SELECT 1 FROM letters WHERE shard IN (SELECT value FROM json_each($1)))",
    )
    .bind(&shards)
    .fetch_one(&mut *connection)
    .await?;
    if !waiting {
        return Ok(Vec::new());
    }
    let mut taken: Vec<(i64, String)> = sqlx::query_as(
        "DELETE FROM letters WHERE shard IN (SELECT value FROM json_each($1)) RETURNING id, body",
    )
    .bind(&shards)
    .fetch_all(connection)
    .await?;
    taken.sort_unstable_by_key(|(id, _)| *id);
    Ok(taken.into_iter().map(|(_, body)| body).collect())
}

fn pairs(leases: &[Lease]) -> Result<String, Failure> {
    json(
        &leases
            .iter()
            .map(|lease| (lease.shard.0, lease.epoch))
            .collect::<Vec<_>>(),
    )
}

/// Numbers and texts only: there is nothing that JSON cannot write, and if there were, nothing is written.
fn json<T: Serialize + ?Sized>(value: &T) -> Result<String, Failure> {
    serde_json::to_string(value).map_err(|error| Failure::Lost(error.to_string()))
}
