//! The writer: the one task of a process that writes to the log.
//!
//! It takes everything that was asked for while the last commit ran and commits that together; there
//! is no timer. It is never cancelled, so it alone may hold a transaction open (a cancelled `begin` of
//! sqlx would leave one behind in its pool). It never retries what may have been written.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::{Duration, Instant};

use domain::ShardId;
use tokio::sync::{mpsc, oneshot, watch};

use super::batch::{self, Group, Request};
use super::database::Database;
use super::delay::linger;
use super::session::{Failure, Session};
use super::standings;
use crate::log::{AppendError, Lease, LogError, Member};

/// For so long after a failed attempt to connect there is no other one: what queued during the attempt is
/// answered at once instead of waiting for one attempt each.
const AWAY: Duration = Duration::from_millis(50);
/// How often a statement that lost a deadlock is repeated.
const TRIES: u32 = 8;

type Answer<T> = oneshot::Sender<T>;

/// What the writer can be asked. Answers that nobody waits for any more are dropped.
pub(super) enum Job {
    Append(Request),
    Acquire(Acquire, Answer<Result<Vec<Lease>, LogError>>),
    Inherit(Inherit, Answer<Result<Vec<Lease>, LogError>>),
    Renew {
        owner: String,
        leases: Vec<Lease>,
        lease_us: i64,
        answer: Answer<Result<Vec<ShardId>, LogError>>,
    },
    Change(Change, Answer<Result<(), LogError>>),
    Collect {
        shards: Vec<ShardId>,
        answer: Answer<Result<Vec<String>, LogError>>,
    },
    Close(Answer<()>),
}

/// A wish for leases.
#[derive(Debug)]
pub(super) struct Acquire {
    pub(super) owner: String,
    pub(super) most: i64,
    pub(super) lease_us: i64,
}

/// A wish for leases that their owners have offered.
#[derive(Debug)]
pub(super) struct Inherit {
    pub(super) heir: String,
    pub(super) shards: Vec<i32>,
    pub(super) lease_us: i64,
}

/// A small write beside the log: answered by nothing but that it is done.
#[derive(Debug)]
pub(super) enum Change {
    Release {
        owner: String,
        leases: Vec<Lease>,
    },
    Invite {
        owner: String,
        leases: Vec<Lease>,
        heir: String,
    },
    Attend {
        member: Member,
        lease_us: i64,
    },
    Depart {
        id: String,
    },
    Post {
        shard: ShardId,
        letter: String,
    },
    KeepStanding(standings::Row),
}

impl Change {
    /// Whether others would do something about it.
    pub(super) const fn moves_shards(&self) -> bool {
        match self {
            Self::Release { .. }
            | Self::Invite { .. }
            | Self::Attend { .. }
            | Self::Depart { .. } => true,
            Self::Post { .. } | Self::KeepStanding(_) => false,
        }
    }
}

pub(super) struct Writer {
    database: Database,
    session: Option<Session>,
    /// When the last attempt to connect failed, and why.
    away: Option<(Instant, String)>,
    commit_delay: Duration,
    commits: Arc<AtomicU64>,
    handovers: watch::Sender<u64>,
}

impl Writer {
    pub(super) fn new(
        database: Database,
        session: Session,
        commit_delay: Duration,
        commits: Arc<AtomicU64>,
        handovers: watch::Sender<u64>,
    ) -> Self {
        Self {
            database,
            session: Some(session),
            away: None,
            commit_delay,
            commits,
            handovers,
        }
    }

    /// Serves until the log is closed or dropped.
    pub(super) async fn run(mut self, mut queue: mpsc::UnboundedReceiver<Job>) {
        let mut waiting = VecDeque::new();
        let mut closed = None;
        while closed.is_none() {
            if waiting.is_empty() {
                match queue.recv().await {
                    Some(job) => waiting.push_back(job),
                    None => break,
                }
            }
            while let Ok(job) = queue.try_recv() {
                waiting.push_back(job);
            }
            let groups = batch::take(&mut waiting);
            if !groups.is_empty() {
                self.append(groups).await;
                continue;
            }
            match waiting.pop_front() {
                Some(Job::Append(request)) => self.append(vec![Group::new(request)]).await,
                Some(Job::Acquire(ask, answer)) => drop(answer.send(self.acquire(&ask).await)),
                Some(Job::Inherit(ask, answer)) => drop(answer.send(self.inherit(&ask).await)),
                Some(Job::Renew {
                    owner,
                    leases,
                    lease_us,
                    answer,
                }) => {
                    drop(answer.send(self.renew(&owner, &leases, lease_us).await));
                }
                Some(Job::Change(change, answer)) => drop(answer.send(self.change(&change).await)),
                Some(Job::Collect { shards, answer }) => {
                    drop(answer.send(self.collect(&shards).await));
                }
                Some(Job::Close(answer)) => closed = Some(answer),
                None => {}
            }
        }
        if let Some(session) = self.session {
            session.close().await;
        }
        if let Some(answer) = closed {
            let _ = answer.send(());
        }
    }

    /// Commits the groups, and answers everybody in them.
    async fn append(&mut self, groups: Vec<Group>) {
        match self.commit(&groups).await {
            Ok(moved) => {
                linger(self.commit_delay).await;
                if !moved.is_empty() {
                    self.commits.fetch_add(1, SeqCst);
                }
                let (done, refused): (Vec<_>, Vec<_>) = groups
                    .into_iter()
                    .partition(|group| moved.contains(&group.shard));
                batch::answer(done, &Ok(()));
                if !refused.is_empty() {
                    self.explain(refused).await;
                }
            }
            // The whole batch was rolled back for one event. Smaller batches find out whose it was.
            Err(Failure::Taken(detail)) => match batch::halve(groups) {
                Ok(parts) => {
                    for part in parts {
                        Box::pin(self.append(part)).await;
                    }
                }
                Err(group) => {
                    let shard = group.shard;
                    group.answer(&Err(AppendError::Contended { shard, detail }));
                }
            },
            Err(Failure::Again(detail) | Failure::Lost(detail)) => {
                tracing::warn!(database = %self.database, detail, "an append failed; it is not known what was written");
                let unavailable = Err(AppendError::Unavailable(detail));
                batch::answer(groups, &unavailable);
            }
        }
    }

    async fn commit(&mut self, groups: &[Group]) -> Result<Vec<ShardId>, Failure> {
        let mut tries = 1;
        loop {
            let committed = self.session().await?.commit(groups).await;
            match self.keep(committed) {
                Err(Failure::Again(_)) if tries < TRIES => tries += 1,
                other => return other,
            }
        }
    }

    /// Nothing of these groups was written; says why.
    async fn explain(&mut self, refused: Vec<Group>) {
        let shards: Vec<_> = refused
            .iter()
            .map(|group| i32::from(group.shard.0))
            .collect();
        let positions = match self.session().await {
            Ok(session) => session.positions(&shards).await,
            Err(failure) => Err(failure),
        };
        match self.keep(positions) {
            Ok(positions) => {
                for group in refused {
                    let error = group.refusal(positions.get(&group.shard));
                    group.answer(&Err(error));
                }
            }
            Err(Failure::Taken(detail) | Failure::Again(detail) | Failure::Lost(detail)) => {
                let unavailable = Err(AppendError::Unavailable(detail));
                batch::answer(refused, &unavailable);
            }
        }
    }

    async fn acquire(&mut self, ask: &Acquire) -> Result<Vec<Lease>, LogError> {
        let mut tries = 1;
        loop {
            let taken = self.session().await?.acquire(ask).await;
            match self.keep(taken) {
                Err(Failure::Again(_)) if tries < TRIES => tries += 1,
                other => return self.taken(other?).await,
            }
        }
    }

    async fn inherit(&mut self, ask: &Inherit) -> Result<Vec<Lease>, LogError> {
        let mut tries = 1;
        loop {
            let taken = self.session().await?.inherit(ask).await;
            match self.keep(taken) {
                Err(Failure::Again(_)) if tries < TRIES => tries += 1,
                other => return self.taken(other?).await,
            }
        }
    }

    async fn taken(&mut self, leases: Vec<Lease>) -> Result<Vec<Lease>, LogError> {
        if !leases.is_empty() {
            self.announce().await;
        }
        Ok(leases)
    }

    async fn renew(
        &mut self,
        owner: &str,
        leases: &[Lease],
        lease_us: i64,
    ) -> Result<Vec<ShardId>, LogError> {
        let mut tries = 1;
        loop {
            let renewed = self.session().await?.renew(owner, leases, lease_us).await;
            match self.keep(renewed) {
                Err(Failure::Again(_)) if tries < TRIES => tries += 1,
                other => return Ok(other?),
            }
        }
    }

    async fn collect(&mut self, shards: &[ShardId]) -> Result<Vec<String>, LogError> {
        let taken = self.session().await?.collect(shards).await;
        Ok(self.keep(taken)?)
    }

    async fn change(&mut self, change: &Change) -> Result<(), LogError> {
        let mut tries = 1;
        let moved = loop {
            let changed = self.session().await?.change(change).await;
            match self.keep(changed) {
                // A letter is not worth a second try: whoever owes it writes it again.
                Err(Failure::Again(_))
                    if tries < TRIES && !matches!(change, Change::Post { .. }) =>
                {
                    tries += 1;
                }
                other => break other?,
            }
        };
        if moved {
            self.announce().await;
        }
        Ok(())
    }

    /// Wakes those who wait for shards to change hands. A hint: they also look from time to time.
    async fn announce(&mut self) {
        self.handovers.send_modify(|count| *count += 1);
        let told = match self.session().await {
            Ok(session) => session.announce().await,
            Err(failure) => Err(failure),
        };
        if let Err(failure) = self.keep(told) {
            tracing::debug!(
                ?failure,
                "other processes were not told of a change of hands"
            );
        }
    }

    /// The connection, made anew when the last one was lost.
    async fn session(&mut self) -> Result<&mut Session, Failure> {
        if self.session.is_none() {
            if let Some((when, why)) = &self.away
                && when.elapsed() < AWAY
            {
                return Err(Failure::Lost(why.clone()));
            }
            match Session::connect(&self.database).await {
                Ok(session) => self.session = Some(session),
                Err(error) => {
                    self.away = Some((Instant::now(), error.to_string()));
                    return Err(Failure::Lost(error.to_string()));
                }
            }
            tracing::info!(database = %self.database, "connected to the log again");
            self.away = None;
        }
        self.session
            .as_mut()
            .ok_or_else(|| Failure::Lost("no connection".to_owned()))
    }

    /// Drops a connection on which anything may have happened.
    fn keep<T>(&mut self, result: Result<T, Failure>) -> Result<T, Failure> {
        if matches!(result, Err(Failure::Lost(_))) {
            self.session = None;
        }
        result
    }
}

impl From<Failure> for LogError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Taken(detail) | Failure::Again(detail) | Failure::Lost(detail) => {
                Self::Unavailable(detail)
            }
        }
    }
}
