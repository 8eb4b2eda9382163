//! What a file may say about a worker and its task types: part of the worker's configuration, read
//! once at the edge, from a file of whatever format the binary likes and from environment variables.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;
use std::process::Command;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, de};
use sqlx::ConnectOptions;
use sqlx::mysql::MySqlConnectOptions;
use sqlx::postgres::PgConnectOptions;
use sqlx::sqlite::SqliteConnectOptions;

use crate::{Error, Reserve};

/// `TIDEMILL_CONNECTION_<NAME>=url` adds a connection.
const CONNECTION: &str = "TIDEMILL_CONNECTION_";
/// The address of the engine's own database, where worker and engine are one process.
const DATABASE: &str = "TIDEMILL_DATABASE";

/// Settings of the task types. All of them have defaults.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// The interpreter of PYTHON tasks that name none: a program in the `PATH`, or a path. `python3` when
    /// there is none.
    pub python: Option<String>,
    /// The folder of the programs that PLUGIN tasks may name. Without it there are none.
    pub plugins: Option<PathBuf>,
    /// The databases that SQL tasks may name.
    pub connections: Connections,
    /// Whether programs run in control groups (cgroup v2) of their own where the system allows that. They do
    /// unless somebody says no; without, their processes are found by other means, which a program
    /// that wants to hide can escape.
    pub cgroups: bool,
    /// The one-minute load average per core above which nothing new is taken. 0: there is none.
    #[serde(deserialize_with = "limit")]
    pub max_load: f64,
    /// The memory that must be free for anything new to be taken.
    pub reserved_memory: Reserve,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            python: None,
            plugins: None,
            connections: Connections::default(),
            cgroups: true,
            max_load: 0.0,
            reserved_memory: Reserve::Share(0.05),
        }
    }
}

fn limit<'de, D: Deserializer<'de>>(from: D) -> Result<f64, D::Error> {
    let limit = f64::deserialize(from)?;
    if limit.is_finite() && limit >= 0.0 {
        Ok(limit)
    } else {
        Err(de::Error::custom(
            "expected a number such as 4.0, or 0 for no limit",
        ))
    }
}

impl Settings {
    /// Adds the connections that environment variables name (`TIDEMILL_CONNECTION_<NAME>=url`); they win
    /// over those that are there.
    pub fn with_environment(
        mut self,
        variables: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<Self, Error> {
        for (variable, url) in variables {
            let Some(name) = variable.to_str().and_then(|v| v.strip_prefix(CONNECTION)) else {
                continue;
            };
            let Some(url) = url.to_str() else {
                return Err(Error::Misconfigured(format!(
                    "the value of {CONNECTION}{name} is not UTF-8"
                )));
            };
            self.connections.add(name, url)?;
        }
        Ok(self)
    }
}

/// Whether the value of this environment variable must not reach programs that other people wrote.
pub fn is_secret(variable: &str) -> bool {
    variable.starts_with(CONNECTION) || variable == DATABASE
}

/// The worker's own environment reaches its tasks, but not the addresses of databases in it.
pub(crate) fn hide_secrets(command: &mut Command) {
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(is_secret) {
            command.env_remove(name);
        }
    }
}

/// Databases by name. Names are compared without regard to case, and `-` and `_` mean the same: a name must
/// fit into that of an environment variable.
#[derive(Clone, Default, Deserialize)]
#[serde(try_from = "BTreeMap<String, String>")]
pub struct Connections(BTreeMap<String, Address>);

impl Connections {
    /// Adds a database, or replaces the one of this name. The address is a URL that begins with
    /// `postgres://`, `mysql://` or `sqlite:`.
    pub fn add(&mut self, name: &str, url: &str) -> Result<(), Error> {
        let address = Address::parse(url)
            .map_err(|why| Error::Misconfigured(format!("the connection {name:?}: {why}")))?;
        self.0.insert(normal(name), address);
        Ok(())
    }

    pub(crate) fn get(&self, name: &str) -> Option<&Address> {
        self.0.get(&normal(name))
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }
}

fn normal(name: &str) -> String {
    name.to_lowercase().replace('-', "_")
}

impl TryFrom<BTreeMap<String, String>> for Connections {
    type Error = Error;

    fn try_from(urls: BTreeMap<String, String>) -> Result<Self, Error> {
        let mut connections = Self::default();
        for (name, url) in urls {
            connections.add(&name, &url)?;
        }
        Ok(connections)
    }
}

/// Names and kinds; addresses may hold passwords.
impl fmt::Debug for Connections {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map()
            .entries(self.0.iter().map(|(name, address)| (name, address.kind())))
            .finish()
    }
}

/// Where a database is, with the password. Not printable.
#[derive(Clone)]
pub(crate) enum Address {
    Postgres(Box<PgConnectOptions>),
    MySql(Box<MySqlConnectOptions>),
    Sqlite(Box<SqliteConnectOptions>),
}

impl Address {
    /// The reason says nothing that stands in the address.
    fn parse(url: &str) -> Result<Self, String> {
        // What a driver says of an address it cannot read may quote it.
        let unreadable = |_| "its address is not a URL that the driver understands".to_owned();
        // The statement of a task is its author's business, not that of the worker's own log.
        match url.split_once(':').map(|(scheme, _)| scheme) {
            Some("postgres" | "postgresql") => PgConnectOptions::from_str(url)
                .map(|o| Self::Postgres(Box::new(o.disable_statement_logging())))
                .map_err(unreadable),
            Some("mysql" | "mariadb") => MySqlConnectOptions::from_str(url)
                .map(|o| Self::MySql(Box::new(o.disable_statement_logging())))
                .map_err(unreadable),
            Some("sqlite") => SqliteConnectOptions::from_str(url)
                .map(|o| Self::Sqlite(Box::new(o.disable_statement_logging())))
                .map_err(unreadable),
            Some(_) | None => Err(
                "its address must begin with postgres://, mysql:// or sqlite:, for example postgres://user:password@host/database"
                    .into(),
            ),
        }
    }

    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Postgres(_) => "postgres",
            Self::MySql(_) => "mysql",
            Self::Sqlite(_) => "sqlite",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<Settings, String> {
        serde_json::from_str(json).map_err(|e| e.to_string())
    }

    #[test]
    fn everything_is_optional() {
        let settings = read("{}").unwrap();
        assert!(settings.python.is_none() && settings.plugins.is_none());
        assert_eq!(settings.connections.names().count(), 0);
    }

    #[test]
    fn no_password_is_ever_printed() {
        let settings = read(
            r#"{"connections": {"a": "postgres://me:s3cret@db/x", "b": "mysql://me:s3cret@db/x"}}"#,
        );
        let printed = format!("{:?}", settings.unwrap());
        assert!(printed.contains(r#""a": "postgres""#), "{printed}");
        assert!(!printed.contains("s3cret"), "{printed}");
    }

    #[test]
    fn a_bad_address_is_refused_by_the_name_of_its_connection_and_without_its_text() {
        for url in [
            "oracle://me:s3cret@db/x",
            "s3cret",
            "postgres://me:s3cret@db:notaport/x",
        ] {
            let refused = read(&format!(r#"{{"connections": {{"ware": "{url}"}}}}"#)).unwrap_err();
            assert!(refused.contains("the connection \"ware\""), "{refused}");
            assert!(!refused.contains("s3cret"), "{refused}");
        }
    }

    #[test]
    fn addresses_of_databases_do_not_reach_tasks() {
        assert!(is_secret("TIDEMILL_CONNECTION_WARE") && is_secret("TIDEMILL_DATABASE"));
        assert!(!is_secret("TIDEMILL_TASK") && !is_secret("PATH"));
    }

    #[test]
    fn a_load_is_a_number_that_is_not_negative() {
        assert!((read(r#"{"max_load": 4}"#).unwrap().max_load - 4.0).abs() < 1e-9);
        for wrong in ["-1", "\"4\""] {
            let refused = read(&format!(r#"{{"max_load": {wrong}}}"#)).unwrap_err();
            assert!(refused.contains("expected"), "{refused}");
        }
    }

    #[test]
    fn an_unknown_key_is_refused_by_its_name() {
        assert!(read(r#"{"pyhton": "x"}"#).unwrap_err().contains("pyhton"));
    }

    #[test]
    fn a_connection_from_the_environment_wins_and_its_name_has_no_case() {
        let file = read(r#"{"connections": {"ware-house": "sqlite:a.db"}}"#).unwrap();
        let variables = [
            ("TIDEMILL_CONNECTION_WARE_HOUSE", "mysql://db/x"),
            ("PATH", "/bin"),
        ];
        let variables = variables.map(|(name, value)| (name.into(), value.into()));
        let settings = file.with_environment(variables).unwrap();
        let address = settings.connections.get("Ware-House").unwrap();
        assert_eq!(address.kind(), "mysql");
        assert_eq!(settings.connections.names().count(), 1);
    }
}
