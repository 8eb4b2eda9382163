//! What can go wrong, and how often.

use crate::rng::Rng;

/// A kind of trouble.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// An append is refused, and nothing is written.
    AppendRefused,
    /// An append is written, and the writer is told that it failed.
    AppendLied,
    /// For seconds, nothing can be written to the log or read from it.
    LogAway,
    /// For seconds, commits take seconds.
    LogSlow,
    /// An engine dies, or ends in order, and another one comes, perhaps under the same name.
    EngineKilled,
    /// An engine stands still, often for longer than its leases.
    EngineAsleep,
    /// An engine's clock runs fast or slow, or jumps ahead.
    Clock,
    /// A worker dies with its processes and comes back with its outbox, or does not.
    WorkerKilled,
    /// A worker's disk is full: it takes nothing new and can note nothing.
    DiskFull,
    /// A connection between a worker and an engine breaks.
    Cut,
    /// For a while nothing gets through between a worker and an engine, one way or both.
    Partition,
    /// Messages come twice.
    Twice,
    /// Letters between engines are lost, or late.
    Letters,
    /// What an engine wants to know of the world cannot be found out.
    Unknown,
    /// People pause, stop, kill and restart.
    People,
    /// An engine asks another one to take a shard.
    Handover,
    /// What is kept of how a shard stands is lost, or late.
    Standings,
}

/// How often each goes wrong: of a hundred appends, messages, letters or questions, or of a thousand ticks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Faults([u64; Fault::ALL.len()]);

impl Fault {
    /// Every kind.
    pub const ALL: [Self; 17] = [
        Self::AppendRefused,
        Self::AppendLied,
        Self::LogAway,
        Self::LogSlow,
        Self::EngineKilled,
        Self::EngineAsleep,
        Self::Clock,
        Self::WorkerKilled,
        Self::DiskFull,
        Self::Cut,
        Self::Partition,
        Self::Twice,
        Self::Letters,
        Self::Unknown,
        Self::People,
        Self::Handover,
        Self::Standings,
    ];

    /// Its name on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::AppendRefused => "append-refused",
            Self::AppendLied => "append-lied",
            Self::LogAway => "log-away",
            Self::LogSlow => "log-slow",
            Self::EngineKilled => "engine-killed",
            Self::EngineAsleep => "engine-asleep",
            Self::Clock => "clock",
            Self::WorkerKilled => "worker-killed",
            Self::DiskFull => "disk-full",
            Self::Cut => "cut",
            Self::Partition => "partition",
            Self::Twice => "twice",
            Self::Letters => "letters",
            Self::Unknown => "unknown",
            Self::People => "people",
            Self::Handover => "handover",
            Self::Standings => "standings",
        }
    }

    /// The kind of this name, if there is one.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|fault| fault.name() == name)
    }

    /// How often at most.
    const fn most(self) -> u64 {
        match self {
            Self::EngineAsleep | Self::LogAway | Self::LogSlow | Self::Clock => 1,
            Self::EngineKilled | Self::WorkerKilled | Self::DiskFull | Self::Partition => 2,
            Self::Cut => 4,
            Self::Handover => 10,
            Self::AppendRefused | Self::AppendLied | Self::Twice => 20,
            Self::Letters | Self::Unknown => 40,
            Self::People | Self::Standings => 60,
        }
    }
}

impl Faults {
    /// Nothing goes wrong.
    pub fn none() -> Self {
        Self::default()
    }

    /// What goes wrong in the world of this seed: most kinds, in most worlds.
    pub fn of(seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        Fault::ALL.into_iter().fold(Self::none(), |faults, fault| {
            let odds = if rng.percent(60) {
                rng.between(0, fault.most())
            } else {
                0
            };
            faults.with(fault, odds)
        })
    }

    /// This kind goes wrong so often.
    #[must_use]
    pub fn with(mut self, fault: Fault, odds: u64) -> Self {
        self.0[fault as usize] = odds;
        self
    }

    /// Nothing but these kinds goes wrong.
    #[must_use]
    pub fn only(self, kinds: &[Fault]) -> Self {
        kinds.iter().fold(Self::none(), |faults, &fault| {
            faults.with(fault, self.odds(fault))
        })
    }

    pub(crate) fn odds(&self, fault: Fault) -> u64 {
        self.0[fault as usize]
    }
}
