//! Connections that are lent for a question or for a transaction, and kept open in between.
//!
//! sqlx's own pool asks a connection whether it lives before each use and once more after it: on either database
//! two trips beside the one that was wanted. Here a connection that was of use a moment ago is not asked. One that
//! turns out to be gone is nobody's business: a question is then asked once more, on a new connection. Whoever
//! does not give a connection back, by mistake, by a failure or because its future was dropped, closes it, and
//! with it whatever was begun on it.

use std::fmt;
use std::io::ErrorKind;
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sqlx::query::Query;
use sqlx::{ConnectOptions, Connection, Database, Error, Executor, IntoArguments};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep, timeout};

/// How long anybody waits for a connection, and so for a server that is not there.
const PATIENCE: Duration = Duration::from_secs(5);
/// A connection that has had nothing to do for longer than this is asked whether it lives: where packets vanish,
/// a question on a dead one would wait for a quarter of an hour.
const FRESH: Duration = Duration::from_secs(1);
/// What a server keeps for a connection grows with its age.
const LIFETIME: Duration = Duration::from_mins(30);
/// The first pause between two attempts to reach a server; each further one doubles it.
const PAUSE: Duration = Duration::from_millis(10);
/// The longest.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// At most so many connections to one database. Cheap to clone.
pub struct Connections<DB: Database>(Arc<Shared<DB>>);

struct Shared<DB: Database> {
    options: <DB::Connection as Connection>::Options,
    idle: Mutex<Vec<Idle<DB>>>,
    permits: Arc<Semaphore>,
}

/// A connection that nobody uses.
struct Idle<DB: Database> {
    connection: DB::Connection,
    opened: Instant,
    since: Instant,
}

/// A connection that somebody uses. Dropped, it is closed.
pub struct Lent<DB: Database> {
    connection: DB::Connection,
    opened: Instant,
    /// It has been of use before.
    is_used: bool,
    home: Connections<DB>,
    permit: OwnedSemaphorePermit,
}

impl<DB: Database> Connections<DB> {
    /// None is opened before it is needed.
    pub fn new(options: <DB::Connection as Connection>::Options, most: usize) -> Self {
        Self(Arc::new(Shared {
            options,
            idle: Mutex::default(),
            permits: Arc::new(Semaphore::new(most)),
        }))
    }

    /// One of them, for as long as it is needed.
    pub async fn lend(&self) -> Result<Lent<DB>, Error> {
        let lent = timeout(PATIENCE, self.take()).await;
        lent.unwrap_or(Err(Error::PoolTimedOut))
    }

    /// The rows that answer a question. It changes nothing, so it may be asked twice.
    pub async fn rows<'q, A>(
        &self,
        question: impl Fn() -> Query<'q, DB, A>,
    ) -> Result<Vec<DB::Row>, Error>
    where
        A: 'q + Send + IntoArguments<DB>,
        for<'c> &'c mut DB::Connection: Executor<'c, Database = DB>,
    {
        let mut lent = self.lend().await?;
        let mut answer = question().fetch_all(&mut *lent).await;
        if lent.is_used && answer.as_ref().is_err_and(is_gone) {
            drop(lent);
            // The others were lost in the same way.
            self.idle().clear();
            lent = self.lend().await?;
            answer = question().fetch_all(&mut *lent).await;
        }
        if answer.is_ok() {
            lent.give_back();
        }
        answer
    }

    /// Closes those that nobody uses, and lends no more.
    pub async fn close(&self) {
        self.0.permits.close();
        let idle = std::mem::take(&mut *self.idle());
        for idle in idle {
            // One that is gone already is closed.
            let _ = idle.connection.close().await;
        }
    }

    async fn take(&self) -> Result<Lent<DB>, Error> {
        let permits = Arc::clone(&self.0.permits);
        let permit = permits.acquire_owned().await;
        let permit = permit.map_err(|_| Error::PoolClosed)?;
        let lent = |connection, opened, is_used| Lent {
            connection,
            opened,
            is_used,
            home: Self(Arc::clone(&self.0)),
            permit,
        };
        while let Some(mut idle) = self.pop() {
            if idle.opened.elapsed() < LIFETIME
                && (idle.since.elapsed() < FRESH || idle.connection.ping().await.is_ok())
            {
                return Ok(lent(idle.connection, idle.opened, true));
            }
        }
        Ok(lent(self.connect().await?, Instant::now(), false))
    }

    /// Connects, for as long as it takes a server to start.
    async fn connect(&self) -> Result<DB::Connection, Error> {
        let mut pause = PAUSE;
        loop {
            match self.0.options.connect().await {
                Err(error) if is_starting(&error) => sleep(pause).await,
                connected => return connected,
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    fn pop(&self) -> Option<Idle<DB>> {
        self.idle().pop()
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Idle<DB>>> {
        self.0.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<DB: Database> Lent<DB> {
    /// It is in order, and no transaction is open on it.
    pub fn give_back(self) {
        if !self.home.0.permits.is_closed() {
            self.home.idle().push(Idle {
                connection: self.connection,
                opened: self.opened,
                since: Instant::now(),
            });
        }
        drop(self.permit);
    }
}

/// Whether the server has not heard the question, or nobody will hear its answer.
#[allow(clippy::wildcard_enum_match_arm)] // sqlx's enum, not ours
fn is_gone(error: &Error) -> bool {
    match error {
        Error::Io(_) | Error::Tls(_) | Error::Protocol(_) | Error::WorkerCrashed => true,
        // The server shuts down, has crashed, or has closed this connection.
        Error::Database(error) => {
            let code = error.code().unwrap_or_default();
            matches!(&*code, "57P01" | "57P02" | "57P03" | "57P05") || code.starts_with("08")
        }
        _ => false,
    }
}

/// Whether a server may answer in a moment that does not now.
#[allow(clippy::wildcard_enum_match_arm)] // sqlx's enum, not ours
fn is_starting(error: &Error) -> bool {
    match error {
        // Refused, or cut off by a server that went down meanwhile.
        Error::Io(error) => matches!(
            error.kind(),
            ErrorKind::ConnectionRefused
                | ErrorKind::ConnectionReset
                | ErrorKind::ConnectionAborted
                | ErrorKind::BrokenPipe
                | ErrorKind::UnexpectedEof
        ),
        Error::Database(error) => error.is_transient_in_connect_phase(),
        _ => false,
    }
}

impl<DB: Database> Deref for Lent<DB> {
    type Target = DB::Connection;

    fn deref(&self) -> &DB::Connection {
        &self.connection
    }
}

impl<DB: Database> DerefMut for Lent<DB> {
    fn deref_mut(&mut self) -> &mut DB::Connection {
        &mut self.connection
    }
}

impl<DB: Database> Clone for Connections<DB> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<DB: Database> fmt::Debug for Connections<DB> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "connections to {}", DB::NAME)
    }
}
