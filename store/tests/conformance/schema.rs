//! Opening: what is refused, and that the refusal says what to do.

use std::time::Duration;

use sqlx::{Connection, PgConnection};
use store::{Database, LogError, OpenOptions, SqlLog};
use tests::postgres::Cluster;

use crate::world::open;

const CHECK: OpenOptions = OpenOptions {
    migrate: false,
    shards: 4,
    commit_delay: Duration::ZERO,
};

async fn refusal(database: &Database, options: OpenOptions) -> String {
    match SqlLog::open(database, options).await {
        Err(LogError::Unusable(why)) => why,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn without_migrating_an_empty_database_is_unusable() {
    let folder = tempfile::tempdir().unwrap();
    let sqlite = Database::file(folder.path().join("log.db"));
    let postgres = Database::parse(&Cluster::shared().create_database()).unwrap();
    for database in [sqlite, postgres] {
        let why = refusal(&database, CHECK).await;
        assert!(
            why.contains("holds no log yet; open it once with migrations allowed"),
            "{why}"
        );
        open(&database).await;
        SqlLog::open(&database, CHECK).await.unwrap();
    }
}

#[tokio::test]
async fn an_older_or_newer_schema_is_unusable_and_says_so() {
    let url = Cluster::shared().create_database();
    let database = Database::parse(&url).unwrap();
    open(&database).await;
    let mut connection = PgConnection::connect(&url).await.unwrap();
    sqlx::query("INSERT INTO _sqlx_migrations SELECT 999, description, installed_on, success, checksum, execution_time FROM _sqlx_migrations WHERE version = 1")
        .execute(&mut connection)
        .await
        .unwrap();
    let migrate = OpenOptions {
        migrate: true,
        ..CHECK
    };
    assert!(
        refusal(&database, CHECK)
            .await
            .contains("newer than this program")
    );
    assert!(
        refusal(&database, migrate)
            .await
            .contains("newer than this program")
    );
    sqlx::query("DELETE FROM _sqlx_migrations WHERE version > 1")
        .execute(&mut connection)
        .await
        .unwrap();
    assert!(
        refusal(&database, CHECK)
            .await
            .contains("older than this program")
    );
    for later in ["DROP SCHEMA cqrs CASCADE", "DROP TABLE letters"] {
        sqlx::query(later).execute(&mut connection).await.unwrap();
    }
    SqlLog::open(&database, migrate).await.unwrap();
    SqlLog::open(&database, CHECK).await.unwrap();
}

#[tokio::test]
async fn a_number_of_shards_that_ids_cannot_carry_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let database = Database::file(folder.path().join("log.db"));
    for shards in [0, 1_001] {
        assert!(
            refusal(
                &database,
                OpenOptions {
                    shards,
                    ..OpenOptions::default()
                }
            )
            .await
            .contains("from 1 to 1000 shards")
        );
    }
    let log = SqlLog::open(
        &database,
        OpenOptions {
            shards: 1_000,
            ..OpenOptions::default()
        },
    )
    .await
    .unwrap();
    assert_eq!(store::Log::shard_infos(&log).await.unwrap().len(), 1_000);
}

#[test]
fn addresses_are_read_and_never_show_a_password() {
    let database = Database::parse("postgres://anna:secret@db.example:5433/tide").unwrap();
    assert_eq!(
        format!("{database} {database:?}"),
        "postgres://db.example:5433/tide postgres://db.example:5433/tide"
    );
    assert_eq!(
        Database::parse("sqlite:some/where.db").unwrap().to_string(),
        "sqlite:some/where.db"
    );
    assert_eq!(
        Database::parse("sqlite:///some/where.db")
            .unwrap()
            .to_string(),
        "sqlite:/some/where.db"
    );
    for wrong in [
        "",
        "mysql://localhost",
        "sqlite:",
        "sqlite::memory:",
        "postgres://host:port/x",
    ] {
        assert!(
            matches!(Database::parse(wrong), Err(LogError::Unusable(_))),
            "{wrong}"
        );
    }
}

#[tokio::test]
async fn a_place_where_no_log_can_be_is_unusable() {
    let folder = tempfile::tempdir().unwrap();
    let text = folder.path().join("text");
    std::fs::write(&text, "This is no database. ".repeat(100)).unwrap();
    let nobody = Cluster::shared().url("nobody");
    let places = [
        Database::file(folder.path().join("no/such/folder")),
        Database::file(text),
        Database::parse(&nobody).unwrap(),
    ];
    for place in places {
        let why = refusal(&place, OpenOptions::default()).await;
        assert!(!why.is_empty());
    }
}
