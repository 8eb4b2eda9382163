//! How far the read tables are in each shard, and which tables they are. All of them stand together: one
//! checkpoint per shard moves with every batch. It moves from where its mover believes it to be, or not at all:
//! so two movers cannot count an event twice.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use domain::ShardId;

use crate::batch::Advance;
use crate::cell::Cell;
use crate::database::{Database, Tx};
use crate::patches::Batch;
use crate::table::Kind;
use crate::{Error, TABLES};

/// What is created here beside the read tables, and its version.
const OWN: (&str, i64) = ("checkpoints", 2);

/// Everything that must be there, with its version.
fn everything() -> impl Iterator<Item = (&'static str, i64)> {
    let tables = TABLES.into_iter().map(|table| (table.name, table.version));
    std::iter::once(OWN).chain(tables)
}

/// What a checkpoint says of the tables that it is for: their names and versions in one number (FNV-1a). Who
/// makes other tables moves no checkpoint of these.
fn make() -> i64 {
    let bytes = everything().flat_map(|(name, version)| {
        name.bytes()
            .chain(version.to_le_bytes())
            .collect::<Vec<_>>()
    });
    let add = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    bytes.fold(0xcbf2_9ce4_8422_2325, add) as i64
}

/// Creates what is missing. Tables stand together, so when one is missing or was made by another version of its
/// projection, all are dropped and come back from the log.
pub(crate) async fn create(database: &Database) -> Result<(), Error> {
    let mut tx = database.begin().await?;
    tx.prepare_place().await?;
    let projections = database.qualified("projections");
    let (int, text) = (
        database.type_name(Kind::Int),
        database.type_name(Kind::Text),
    );
    let options = database.table_options();
    // `building` numbers the tables that rebuilds make.
    let sql = format!(
        "CREATE TABLE IF NOT EXISTS {projections} \
         (name {text} PRIMARY KEY, version {int} NOT NULL, building {int} NOT NULL){options}"
    );
    tx.execute(&sql, &[]).await?;
    if !is_whole(database, &mut tx).await? {
        create_anew(database, &mut tx).await?;
    }
    tx.commit().await
}

async fn is_whole(database: &Database, tx: &mut Tx) -> Result<bool, Error> {
    let sql = format!(
        "SELECT name, version FROM {}",
        database.qualified("projections")
    );
    let made = tx.rows(&sql, &[], &[Kind::Text, Kind::Int]).await?;
    for (name, version) in everything() {
        let row = [Cell::from(name), Cell::Int(version)];
        if !made.iter().any(|made| *made == row) || !tx.has(name).await? {
            return Ok(false);
        }
    }
    Ok(true)
}

async fn create_anew(database: &Database, tx: &mut Tx) -> Result<(), Error> {
    let (int, text) = (
        database.type_name(Kind::Int),
        database.type_name(Kind::Text),
    );
    if tx.has(OWN.0).await? {
        tracing::info!("the read tables are built anew from the log");
        tx.hold_runners().await?;
    }
    let mut statements = Vec::new();
    for (name, _) in everything() {
        let name = database.qualified(name);
        statements.push(format!("DROP TABLE IF EXISTS {name}"));
    }
    statements.push(format!(
        "CREATE TABLE {} (shard {int} PRIMARY KEY, make {int} NOT NULL, seq {int} NOT NULL, mark {text} NOT NULL){}",
        database.qualified(OWN.0),
        database.table_options(),
    ));
    for table in TABLES {
        statements.extend(table.create(database, table.name));
    }
    for (name, version) in everything() {
        statements.push(format!(
            "INSERT INTO {} AS old (name, version, building) VALUES ('{name}', {version}, 1) \
             ON CONFLICT (name) DO UPDATE SET version = excluded.version, building = old.building + 1",
            database.qualified("projections")
        ));
    }
    for statement in statements {
        tx.execute(&statement, &[]).await?;
    }
    Ok(())
}

/// Makes sure that there is a checkpoint of each of these shards; a new one stands at zero.
pub(crate) async fn begin(database: &Database, shards: u16) -> Result<(), Error> {
    let mut sql = format!(
        "INSERT INTO {} (shard, make, seq, mark) VALUES ",
        database.qualified(OWN.0)
    );
    for shard in 0..shards {
        let comma = if shard == 0 { "" } else { ", " };
        // Writing to a string does not fail.
        let _ = write!(sql, "{comma}({shard}, {}, 0, '')", make());
    }
    sql.push_str(" ON CONFLICT DO NOTHING");
    let mut tx = database.begin().await?;
    tx.execute(&sql, &[]).await?;
    tx.commit().await
}

/// How a checkpoint is asked for.
fn question(database: &Database) -> String {
    let checkpoints = database.qualified(OWN.0);
    format!("SELECT shard, make, seq, mark FROM {checkpoints}")
}

const COLUMNS: [Kind; 4] = [Kind::Int, Kind::Int, Kind::Int, Kind::Text];

/// A checkpoint: the event at which the tables are in a shard, and its hash.
type Checkpoint = (ShardId, u64, String);

/// A checkpoint that was read. Tables that another program has taken over must not be touched by this one.
fn checkpoint(row: &[Cell]) -> Result<Checkpoint, Error> {
    match row {
        [Cell::Int(_), Cell::Int(other), Cell::Int(_), Cell::Text(_)] if *other != make() => {
            Err(Error::Unusable(
                "the read tables are those of another version of this program now".to_owned(),
            ))
        }
        [
            Cell::Int(shard),
            Cell::Int(_),
            Cell::Int(seq),
            Cell::Text(mark),
        ] => Ok((ShardId(*shard as u16), *seq as u64, mark.clone())),
        _ => Err(Error::Corrupt(format!("the checkpoint {row:?} is not one"))),
    }
}

/// How far the tables are in every shard.
pub(crate) async fn load(database: &Database) -> Result<BTreeMap<ShardId, u64>, Error> {
    let rows = database.rows(&question(database), &[], &COLUMNS).await?;
    places(&rows)
}

/// The same, as a transaction sees it.
pub(crate) async fn load_in(
    database: &Database,
    tx: &mut Tx,
) -> Result<BTreeMap<ShardId, u64>, Error> {
    let rows = tx.rows(&question(database), &[], &COLUMNS).await?;
    places(&rows)
}

fn places(rows: &[Vec<Cell>]) -> Result<BTreeMap<ShardId, u64>, Error> {
    let place = |row: &Vec<Cell>| checkpoint(row).map(|(shard, seq, _)| (shard, seq));
    rows.iter().map(place).collect()
}

/// The events at which the tables are, and their hashes.
pub(crate) async fn marks(database: &Database) -> Result<Vec<Checkpoint>, Error> {
    let sql = format!("{} WHERE seq > 0", question(database));
    let rows = database.rows(&sql, &[], &COLUMNS).await?;
    rows.iter().map(|row| checkpoint(row)).collect()
}

/// The moves of the checkpoints of these shards: shard, make, from where, to where, mark.
pub(crate) fn moves(advances: &[Advance]) -> Batch {
    let row = |advance: &Advance| {
        vec![
            Cell::Int(i64::from(advance.shard.0)),
            Cell::Int(make()),
            Cell::from(advance.from),
            Cell::from(advance.to),
            Cell::Text(advance.mark.to_string()),
        ]
    };
    Batch {
        kinds: vec![Kind::Int, Kind::Int, Kind::Int, Kind::Int, Kind::Text],
        rows: advances.iter().map(row).collect(),
    }
}

/// The statement that moves those checkpoints that are where they are believed to be. `moves` stands for so many
/// rows.
pub(crate) fn move_those(database: &Database, moves: &str, rows: usize) -> String {
    let checkpoints = database.qualified(OWN.0);
    // Their rows are the lock that keeps two writers apart: taken in one order, nobody waits in a circle.
    let lock = database.row_lock("c").filter(|_| rows > 1);
    let (held, join) = match lock {
        None => (String::new(), ""),
        Some(lock) => (
            format!(
                ", held AS (SELECT c.shard FROM {checkpoints} AS c JOIN w ON c.shard = w.shard \
                 ORDER BY c.shard {lock})"
            ),
            "JOIN held ON held.shard = w.shard",
        ),
    };
    format!(
        "WITH w (shard, make, since_seq, until_seq, mark) AS ({moves}){held} \
         UPDATE {checkpoints} AS c SET seq = w.until_seq, mark = w.mark FROM w {join} \
         WHERE c.shard = w.shard AND c.make = w.make AND c.seq = w.since_seq"
    )
}

/// The statement that moves the checkpoints, and fails when one is not where it is believed to be.
pub(crate) fn move_or_fail(database: &Database, moves: &str) -> String {
    let checkpoints = database.qualified(OWN.0);
    format!(
        "WITH w (shard, make, since_seq, until_seq, mark) AS ({moves}) \
         UPDATE {checkpoints} AS c SET mark = w.mark, \
             seq = CASE WHEN c.make = w.make AND c.seq = w.since_seq THEN w.until_seq END \
         FROM w WHERE c.shard = w.shard"
    )
}

/// Moves the checkpoints of these shards. Answers false, and may have moved some of them, when one is not where
/// it is believed to be: then the transaction must not be committed.
pub(crate) async fn advance(
    database: &Database,
    tx: &mut Tx,
    advances: &[Advance],
) -> Result<bool, Error> {
    let moves = moves(advances);
    let touched = tx
        .execute_batch(|rows| move_those(database, rows, advances.len()), moves)
        .await?;
    Ok(touched == advances.len() as u64)
}

/// Empties all tables: everything comes back from the log.
pub(crate) async fn reset(database: &Database) -> Result<(), Error> {
    let mut tx = database.begin().await?;
    tx.hold_runners().await?;
    let mut statements = vec![
        format!(
            "UPDATE {} SET seq = 0, mark = ''",
            database.qualified(OWN.0)
        ),
        // Tables that are being built were begun for what there was.
        format!(
            "UPDATE {} SET building = building + 1",
            database.qualified("projections")
        ),
    ];
    for table in TABLES {
        statements.push(format!("DELETE FROM {}", database.qualified(table.name)));
    }
    for statement in statements {
        tx.execute(&statement, &[]).await?;
    }
    tx.commit().await
}
