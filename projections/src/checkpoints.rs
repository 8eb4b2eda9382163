//! How far each projection is in each shard, and which version of its table there is. A checkpoint moves
//! from where its mover believes it to be, or not at all: so two movers cannot count an event twice.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use domain::ShardId;

use crate::batch::Advance;
use crate::cell::Cell;
use crate::database::{Database, Tx};
use crate::patches::Batch;
use crate::table::{Kind, Table};
use crate::{Error, TABLES};

/// Checkpoints of one shard, in the order of [`TABLES`].
pub(crate) type Places = [u64; TABLES.len()];

/// Creates what is missing, and drops and creates the tables of other versions.
pub(crate) async fn create(database: &Database) -> Result<(), Error> {
    let mut tx = database.begin().await?;
    tx.prepare_place().await?;
    let (int, text) = (
        database.type_name(Kind::Int),
        database.type_name(Kind::Text),
    );
    let options = database.table_options();
    // `building` numbers the tables that rebuilds make.
    let projections = format!(
        "CREATE TABLE IF NOT EXISTS {} (name {text} PRIMARY KEY, version {int} NOT NULL, building {int} NOT NULL){options}",
        database.qualified("projections"),
    );
    let checkpoints = format!(
        "CREATE TABLE IF NOT EXISTS {} (projection {text} NOT NULL, shard {int} NOT NULL, version {int} NOT NULL, \
         seq {int} NOT NULL, mark {text} NOT NULL, PRIMARY KEY (projection, shard)){options}",
        database.qualified("checkpoints"),
    );
    tx.execute(&projections, &[]).await?;
    tx.execute(&checkpoints, &[]).await?;
    for table in TABLES {
        create_table(database, &mut tx, table).await?;
    }
    tx.commit().await
}

async fn create_table(database: &Database, tx: &mut Tx, table: &Table) -> Result<(), Error> {
    let projections = database.qualified("projections");
    let name = [Cell::Text(table.name.to_owned())];
    let sql = format!("SELECT version FROM {projections} WHERE name = $1");
    let stored = tx.rows(&sql, &name, &[Kind::Int]).await?;
    if stored == [[Cell::Int(table.version)]] && tx.has(table.name).await? {
        return Ok(());
    }
    if !stored.is_empty() {
        tracing::info!(
            projection = table.name,
            version = table.version,
            "is built anew from the log"
        );
    }
    tx.hold_runners().await?;
    let drop = format!("DROP TABLE IF EXISTS {}", database.qualified(table.name));
    tx.execute(&drop, &[]).await?;
    forget(database, tx, table.name).await?;
    for statement in table.create(database, table.name) {
        tx.execute(&statement, &[]).await?;
    }
    let sql = format!(
        "INSERT INTO {projections} (name, version, building) VALUES ($1, $2, 1) \
         ON CONFLICT (name) DO UPDATE SET version = excluded.version"
    );
    let [name] = name;
    tx.execute(&sql, &[name, Cell::Int(table.version)]).await?;
    Ok(())
}

/// Removes the checkpoints of a projection.
pub(crate) async fn forget(
    database: &Database,
    tx: &mut Tx,
    projection: &str,
) -> Result<(), Error> {
    let checkpoints = database.qualified("checkpoints");
    let sql = format!("DELETE FROM {checkpoints} WHERE projection = $1");
    tx.execute(&sql, &[Cell::Text(projection.to_owned())])
        .await?;
    Ok(())
}

/// Makes sure that a projection has a checkpoint in each of these shards; a new one stands at zero.
pub(crate) async fn begin(
    database: &Database,
    tx: &mut Tx,
    projection: &str,
    version: i64,
    shards: u16,
) -> Result<(), Error> {
    let checkpoints = database.qualified("checkpoints");
    let mut sql =
        format!("INSERT INTO {checkpoints} (projection, shard, version, seq, mark) VALUES ");
    for shard in 0..shards {
        let comma = if shard == 0 { "" } else { ", " };
        // Writing to a string does not fail.
        let _ = write!(sql, "{comma}($1, {shard}, {version}, 0, '')");
    }
    sql.push_str(" ON CONFLICT DO NOTHING");
    tx.execute(&sql, &[Cell::Text(projection.to_owned())])
        .await?;
    Ok(())
}

const COLUMNS: [Kind; 4] = [Kind::Text, Kind::Int, Kind::Int, Kind::Int];

/// Every checkpoint of every projection. A projection whose table is of another version by now has been
/// taken over by another program: then this one must not touch it.
pub(crate) async fn load(database: &Database) -> Result<BTreeMap<ShardId, Places>, Error> {
    let checkpoints = database.qualified("checkpoints");
    let sql = format!("SELECT projection, shard, version, seq FROM {checkpoints}");
    let mut places = BTreeMap::<ShardId, Places>::new();
    for row in database.rows(&sql, &[], &COLUMNS).await? {
        let [
            Cell::Text(name),
            Cell::Int(shard),
            Cell::Int(version),
            Cell::Int(seq),
        ] = &row[..]
        else {
            return Err(Error::Corrupt(format!("the checkpoint {row:?} is not one")));
        };
        let Some(index) = TABLES.iter().position(|table| table.name == name) else {
            continue;
        };
        if *version != TABLES[index].version {
            return Err(Error::Unusable(format!(
                "the projection {name} is of version {version} now, and this program makes version {}",
                TABLES[index].version
            )));
        }
        places.entry(ShardId(*shard as u16)).or_default()[index] = *seq as u64;
    }
    Ok(places)
}

/// The checkpoints of one projection, of whatever name.
pub(crate) async fn load_one(
    database: &Database,
    tx: &mut Tx,
    projection: &str,
) -> Result<BTreeMap<ShardId, u64>, Error> {
    let checkpoints = database.qualified("checkpoints");
    let sql = format!("SELECT shard, seq FROM {checkpoints} WHERE projection = $1");
    let name = [Cell::Text(projection.to_owned())];
    let rows = tx.rows(&sql, &name, &[Kind::Int, Kind::Int]).await?;
    let place = |row: Vec<Cell>| match row[..] {
        [Cell::Int(shard), Cell::Int(seq)] => Ok((ShardId(shard as u16), seq as u64)),
        _ => Err(Error::Corrupt(format!("the checkpoint {row:?} is not one"))),
    };
    rows.into_iter().map(place).collect()
}

/// The columns of a move: projection, version, shard, from where, to where, mark.
const MOVED: [Kind; 6] = [
    Kind::Text,
    Kind::Int,
    Kind::Int,
    Kind::Int,
    Kind::Int,
    Kind::Text,
];

/// The moves of these projections in these shards.
pub(crate) fn moves(advances: &[Advance]) -> Batch {
    let row = |advance: &Advance, table: &Table| {
        vec![
            Cell::from(table.name),
            Cell::Int(table.version),
            Cell::Int(i64::from(advance.shard.0)),
            Cell::from(advance.from),
            Cell::from(advance.to),
            Cell::Text(advance.mark.to_string()),
        ]
    };
    let rows = advances.iter().flat_map(|advance| {
        let tables = advance.tables.iter();
        tables.map(move |table| row(advance, table))
    });
    Batch {
        kinds: MOVED.to_vec(),
        rows: rows.collect(),
    }
}

/// The statement that moves those checkpoints that are where they are believed to be.
pub(crate) fn move_those(database: &Database, moves: &str) -> String {
    let checkpoints = database.qualified("checkpoints");
    // Their rows are the lock that keeps two writers apart: taken in one order, nobody waits in a circle.
    let (held, join) = match database.row_lock("c") {
        None => (String::new(), ""),
        Some(lock) => (
            format!(
                ", held AS (SELECT c.projection, c.shard FROM {checkpoints} AS c \
                 JOIN w ON c.projection = w.projection AND c.shard = w.shard \
                 ORDER BY c.shard, c.projection {lock})"
            ),
            "JOIN held ON held.projection = w.projection AND held.shard = w.shard",
        ),
    };
    format!(
        "WITH w (projection, version, shard, since_seq, until_seq, mark) AS ({moves}){held} \
         UPDATE {checkpoints} AS c SET seq = w.until_seq, mark = w.mark FROM w {join} \
         WHERE c.projection = w.projection AND c.shard = w.shard \
             AND c.version = w.version AND c.seq = w.since_seq"
    )
}

/// The statement that moves the checkpoints, and fails when one is not where it is believed to be.
pub(crate) fn move_or_fail(database: &Database, moves: &str) -> String {
    let checkpoints = database.qualified("checkpoints");
    format!(
        "WITH w (projection, version, shard, since_seq, until_seq, mark) AS ({moves}) \
         UPDATE {checkpoints} AS c SET mark = w.mark, \
             seq = CASE WHEN c.version = w.version AND c.seq = w.since_seq THEN w.until_seq END \
         FROM w WHERE c.projection = w.projection AND c.shard = w.shard"
    )
}

/// Moves the checkpoints of these projections in these shards. Answers false, and may have moved some of
/// them, when one is not where it is believed to be: then the transaction must not be committed.
pub(crate) async fn advance(
    database: &Database,
    tx: &mut Tx,
    advances: &[Advance],
) -> Result<bool, Error> {
    let moves = moves(advances);
    let touched = tx
        .execute_batch(|rows| move_those(database, rows), &moves)
        .await?;
    Ok(touched == moves.rows.len() as u64)
}

/// The events at which projections are, and their hashes.
pub(crate) async fn marks(database: &Database) -> Result<Vec<(ShardId, u64, String)>, Error> {
    let checkpoints = database.qualified("checkpoints");
    let sql = format!("SELECT DISTINCT shard, seq, mark FROM {checkpoints} WHERE seq > 0");
    let kinds = [Kind::Int, Kind::Int, Kind::Text];
    let rows = database.rows(&sql, &[], &kinds).await?;
    let mark = |row: Vec<Cell>| match &row[..] {
        [Cell::Int(shard), Cell::Int(seq), Cell::Text(mark)] => {
            Ok((ShardId(*shard as u16), *seq as u64, mark.clone()))
        }
        _ => Err(Error::Corrupt(format!("the checkpoint {row:?} is not one"))),
    };
    rows.into_iter().map(mark).collect()
}

/// Empties all tables: everything comes back from the log.
pub(crate) async fn reset(database: &Database) -> Result<(), Error> {
    let mut tx = database.begin().await?;
    tx.hold_runners().await?;
    let checkpoints = database.qualified("checkpoints");
    let sql = format!("UPDATE {checkpoints} SET seq = 0, mark = ''");
    tx.execute(&sql, &[]).await?;
    for table in TABLES {
        let sql = format!("DELETE FROM {}", database.qualified(table.name));
        tx.execute(&sql, &[]).await?;
    }
    tx.commit().await
}
