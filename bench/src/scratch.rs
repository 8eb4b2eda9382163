//! Places that nothing has happened in yet, on the databases that the service can use, and that are gone afterwards.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::path::{Path, PathBuf};

use rustix::fs::syncfs;
use serde::Serialize;
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection};
use store::Database;
use tempfile::TempDir;

use crate::error::{Error, Trying};
use crate::{Options, process};

/// Where everything lies that is written.
pub(crate) struct Scratch {
    folder: TempDir,
    server: Option<Server>,
}

/// Somebody's PostgreSQL.
struct Server {
    options: PgConnectOptions,
    /// What was created there and is not gone yet.
    created: RefCell<Vec<String>>,
    /// The process that all others of the server descend from, when it runs on this machine.
    postmaster: Option<u32>,
}

/// A place for one service.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    /// Its directory.
    pub(crate) folder: PathBuf,
    /// The address of its database; SQLite in the directory without one. It may hold a password.
    pub(crate) database: Option<String>,
    name: String,
}

/// What the figures depend on.
#[derive(Clone, Debug, Serialize)]
pub struct DatabaseFacts {
    /// The product.
    pub name: &'static str,
    /// Its version.
    pub version: String,
    /// The settings that say when a commit is answered, as the service has them.
    pub durability: BTreeMap<&'static str, String>,
}

impl Place {
    /// The database that a service in this place would use.
    pub(crate) fn log_database(&self) -> Result<Database, Error> {
        match &self.database {
            None => Ok(Database::file(self.folder.join("log.db"))),
            Some(address) => Database::parse(address).trying("reading the address of a database"),
        }
    }
}

impl Scratch {
    /// Makes sure that there are such places.
    pub(crate) async fn new(options: &Options) -> Result<Self, Error> {
        let within = options.data.clone().unwrap_or_else(std::env::temp_dir);
        let folder = tempfile::Builder::new()
            .prefix("tidemill-bench-")
            .tempdir_in(&within)
            .trying(format_args!("making a directory in {}", within.display()))?;
        let server = match &options.database {
            None => None,
            Some(address) => Some(Server::find(address).await?),
        };
        Ok(Self { folder, server })
    }

    /// A new place.
    pub(crate) async fn place(&self) -> Result<Place, Error> {
        let name = format!("tidemill_bench_{:016x}", RandomState::new().hash_one(()));
        let folder = self.folder.path().join(&name);
        std::fs::create_dir(&folder)
            .trying(format_args!("making the directory {}", folder.display()))?;
        let database = match &self.server {
            None => None,
            Some(server) => Some(server.create(&name).await?),
        };
        Ok(Place {
            folder,
            database,
            name,
        })
    }

    /// Has done now what would be done some time later: PostgreSQL vacuums what was written, and what the system
    /// still holds of it in memory goes to the disk.
    pub(crate) async fn settle(&self, place: &Place) -> Result<(), Error> {
        if let Some(server) = &self.server {
            server.vacuum(&place.name).await?;
        }
        let trying = "writing everything to the disk";
        let folder = std::fs::File::open(&place.folder).trying(trying)?;
        syncfs(folder).trying(trying)
    }

    /// Nobody uses this place any more.
    pub(crate) async fn leave(&self, place: Place) -> Result<(), Error> {
        let folder = &place.folder;
        std::fs::remove_dir_all(folder).trying(format_args!("removing {}", folder.display()))?;
        match &self.server {
            None => Ok(()),
            Some(server) => server.remove(&place.name).await,
        }
    }

    /// Nothing of it is needed any more.
    pub(crate) async fn clear(self) -> Result<(), Error> {
        if let Some(server) = &self.server {
            let left = server.created.borrow().clone();
            for name in left {
                server.remove(&name).await?;
            }
        }
        let path = self.folder.path().to_owned();
        self.folder
            .close()
            .trying(format_args!("removing {}", path.display()))
    }

    /// The first process of the database server, when there is one and it runs on this machine.
    pub(crate) fn postmaster(&self) -> Option<u32> {
        self.server.as_ref()?.postmaster
    }

    /// What the figures depend on.
    pub(crate) async fn facts(&self) -> Result<DatabaseFacts, Error> {
        match &self.server {
            None => sqlite_facts(self.folder.path()).await,
            Some(server) => server.facts().await,
        }
    }
}

impl Server {
    async fn find(address: &str) -> Result<Self, Error> {
        let database = Database::parse(address).map_err(|error| Error::Usage(error.to_string()))?;
        let Database::Postgres(options) = &database else {
            return Err(Error::Usage(
                "--database: expected postgres://user@host:port/name; for SQLite leave it out and say --data DIR"
                    .to_owned(),
            ));
        };
        let trying = format!("no PostgreSQL can be used at {database}");
        let mut connection = options.connect().await.trying(&trying)?;
        let pid: i32 = sqlx::query_scalar("SELECT pg_backend_pid()")
            .fetch_one(&mut connection)
            .await
            .trying(&trying)?;
        let postmaster = process::parent_named(pid.unsigned_abs(), "postgres");
        connection.close().await.trying(&trying)?;
        Ok(Self {
            options: (**options).clone(),
            created: RefCell::default(),
            postmaster,
        })
    }

    async fn connect(&self) -> Result<PgConnection, Error> {
        let connected = self.options.connect().await;
        connected.trying("connecting to PostgreSQL")
    }

    async fn create(&self, name: &str) -> Result<String, Error> {
        self.execute(&format!("CREATE DATABASE {name}")).await?;
        self.created.borrow_mut().push(name.to_owned());
        let address = self.options.clone().database(name).to_url_lossy();
        Ok(address.to_string())
    }

    /// Also when somebody is still connected.
    async fn remove(&self, name: &str) -> Result<(), Error> {
        self.execute(&format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)"))
            .await?;
        self.created.borrow_mut().retain(|one| one != name);
        Ok(())
    }

    async fn vacuum(&self, name: &str) -> Result<(), Error> {
        let options = self.options.clone().database(name);
        let connection = options.connect().await.trying("connecting to PostgreSQL")?;
        execute(connection, "VACUUM (ANALYZE)").await
    }

    async fn execute(&self, statement: &str) -> Result<(), Error> {
        execute(self.connect().await?, statement).await
    }

    async fn facts(&self) -> Result<DatabaseFacts, Error> {
        let mut connection = self.connect().await?;
        let mut facts = BTreeMap::new();
        let settings = [
            "fsync",
            "full_page_writes",
            "synchronous_commit",
            "wal_sync_method",
        ];
        for setting in settings {
            let value = postgres_setting(&mut connection, setting).await?;
            facts.insert(setting, value);
        }
        let version = postgres_setting(&mut connection, "server_version").await?;
        connection
            .close()
            .await
            .trying("leaving the database server")?;
        Ok(DatabaseFacts {
            name: "PostgreSQL",
            version,
            durability: facts,
        })
    }
}

async fn execute(mut connection: PgConnection, statement: &str) -> Result<(), Error> {
    let done = sqlx::query(AssertSqlSafe(statement.to_owned()))
        .execute(&mut connection)
        .await;
    done.trying(statement)?;
    connection.close().await.trying(statement)
}

async fn postgres_setting(connection: &mut PgConnection, name: &str) -> Result<String, Error> {
    sqlx::query_scalar("SELECT current_setting($1)")
        .bind(name)
        .fetch_one(connection)
        .await
        .trying(format_args!("reading the setting {name}"))
}

async fn sqlite_facts(folder: &Path) -> Result<DatabaseFacts, Error> {
    const TRYING: &str = "reading the settings of SQLite";
    let options = store::sql::sqlite_options(&folder.join("facts.db"));
    let mut connection = store::sql::sqlite_connect(&options).await.trying(TRYING)?;
    let version = sqlx::query_scalar("SELECT sqlite_version()")
        .fetch_one(&mut connection)
        .await
        .trying(TRYING)?;
    let journal: String = sqlx::query_scalar("PRAGMA journal_mode")
        .fetch_one(&mut connection)
        .await
        .trying(TRYING)?;
    let synchronous: i64 = sqlx::query_scalar("PRAGMA synchronous")
        .fetch_one(&mut connection)
        .await
        .trying(TRYING)?;
    connection.close().await.trying(TRYING)?;
    let synchronous = match synchronous {
        0 => "OFF".to_owned(),
        1 => "NORMAL".to_owned(),
        2 => "FULL".to_owned(),
        3 => "EXTRA".to_owned(),
        other => other.to_string(),
    };
    Ok(DatabaseFacts {
        name: "SQLite",
        version,
        durability: BTreeMap::from([("journal_mode", journal), ("synchronous", synchronous)]),
    })
}
