//! What stood in a shard: kept beside the log, one for each shard, the latest.

use domain::InstanceId;
use sqlx::Connection;
use store::{Chain, Database, Hash, SqlLog, Standing, Stood};

use crate::world::{World, shard};

fn standing(of: u16, head: u64) -> Standing {
    Standing {
        shard: shard(of),
        at: Chain {
            head,
            hash: Hash([head as u8; 32]),
        },
        stood: Stood {
            instances: head / 3,
            shared: 7,
            runs: (1..=head).map(|n| InstanceId::new(n, shard(of))).collect(),
        },
    }
}

pub(crate) async fn what_stood_is_kept_by_shard_and_comes_back_unchanged(world: World) {
    let log = &world.log;
    assert_eq!(log.standing(shard(0)).await.unwrap(), None);
    for of in [0, 3] {
        let large = standing(of, 40_000 + u64::from(of));
        log.keep_standing(&large).await.unwrap();
    }
    // Another process reads it, and nobody needs a lease for it.
    let another = world.another().await;
    for of in [0, 3] {
        let kept = another.standing(shard(of)).await.unwrap();
        assert_eq!(kept, Some(standing(of, 40_000 + u64::from(of))));
    }
    assert_eq!(another.standing(shard(1)).await.unwrap(), None);
    assert_eq!(world.log.read(shard(0), 0, 10).await.unwrap(), []);
}

pub(crate) async fn a_late_standing_does_not_replace_a_later_one(world: World) {
    let log = &world.log;
    for head in [5, 9, 7, 9, 1] {
        log.keep_standing(&standing(2, head)).await.unwrap();
    }
    assert_eq!(log.standing(shard(2)).await.unwrap(), Some(standing(2, 9)));
    log.keep_standing(&standing(2, 10)).await.unwrap();
    assert_eq!(log.standing(shard(2)).await.unwrap(), Some(standing(2, 10)));
}

pub(crate) async fn a_standing_that_cannot_be_read_is_none(world: World) {
    const SPOIL: &str = r#"UPDATE standings SET body = '{"instances":1}'"#;
    let log = &world.log;
    log.keep_standing(&standing(1, 4)).await.unwrap();
    match world.sql().map(SqlLog::database) {
        // In memory it cannot become anything but what it was.
        None => return,
        Some(database @ Database::Sqlite(_)) => {
            let address = database.to_string();
            let mut connection = sqlx::SqliteConnection::connect(&address).await.unwrap();
            sqlx::query(SPOIL).execute(&mut connection).await.unwrap();
        }
        Some(Database::Postgres(options)) => {
            let mut connection = sqlx::PgConnection::connect_with(options).await.unwrap();
            sqlx::query(SPOIL).execute(&mut connection).await.unwrap();
        }
    }
    assert_eq!(log.standing(shard(1)).await.unwrap(), None);
    log.keep_standing(&standing(1, 5)).await.unwrap();
    assert_eq!(log.standing(shard(1)).await.unwrap(), Some(standing(1, 5)));
}
