//! What the auditor claims. Whatever does not hold ends the world that it was found in.

use std::any::Any;
use std::fmt;

/// Something that must hold of every world, whatever goes wrong in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Claim {
    /// Only the newest owner of a shard writes to it.
    NewestOwner,
    /// A shard's events have no gap, their hashes close, and they can be folded.
    Readable,
    /// Nobody is told, and no worker is asked, what is not durable.
    DurableFirst,
    /// An engine whose lease has run out tells nobody anything.
    LeaseFirst,
    /// A key starts one run, and everybody who was promised a run has it.
    OneRun,
    /// Whoever asks gets an answer that fits the question.
    Answered,
    /// No decision ends in the middle.
    Whole,
    /// An attempt runs once at most, and only because the log says so.
    RunsOnce,
    /// A task has one valid attempt, and one process unless the earlier one's worker was lost.
    OneAtATime,
    /// A worker is given up only when it is gone or was silent for its whole lease.
    TrulyLost,
    /// An attempt ended as the log says, and has no process then.
    TrueEnd,
    /// A process that should not run any more is killed when its worker can be told.
    StraysDie,
    /// A task begins after what it depends on, once, and only while its run runs.
    Order,
    /// A run on behalf of a task begins, ends and is reported once.
    Children,
    /// A task group gives no more slots than it has, and nothing runs without its slot.
    Slots,
    /// Runs that take turns do not overlap.
    Turns,
    /// Only an end that the task itself caused is charged to its retry budget, and the budget is kept.
    Budget,
    /// What an engine remembers is what the log says.
    Memory,
    /// Once nothing goes wrong any more, everything ends.
    Ends,
    /// Neither the domain nor the engine panics.
    NoPanic,
}

impl Claim {
    /// Every claim.
    pub const ALL: [Self; 20] = [
        Self::NewestOwner,
        Self::Readable,
        Self::DurableFirst,
        Self::LeaseFirst,
        Self::OneRun,
        Self::Answered,
        Self::Whole,
        Self::RunsOnce,
        Self::OneAtATime,
        Self::TrulyLost,
        Self::TrueEnd,
        Self::StraysDie,
        Self::Order,
        Self::Children,
        Self::Slots,
        Self::Turns,
        Self::Budget,
        Self::Memory,
        Self::Ends,
        Self::NoPanic,
    ];

    /// Its name in tables and in the documentation.
    pub const fn name(self) -> &'static str {
        match self {
            Self::NewestOwner => "newest-owner",
            Self::Readable => "readable",
            Self::DurableFirst => "durable-first",
            Self::LeaseFirst => "lease-first",
            Self::OneRun => "one-run",
            Self::Answered => "answered",
            Self::Whole => "whole",
            Self::RunsOnce => "runs-once",
            Self::OneAtATime => "one-at-a-time",
            Self::TrulyLost => "truly-lost",
            Self::TrueEnd => "true-end",
            Self::StraysDie => "strays-die",
            Self::Order => "order",
            Self::Children => "children",
            Self::Slots => "slots",
            Self::Turns => "turns",
            Self::Budget => "budget",
            Self::Memory => "memory",
            Self::Ends => "ends",
            Self::NoPanic => "no-panic",
        }
    }
}

/// A claim that does not hold, and what shows it.
#[derive(Clone, Debug)]
pub struct Violation {
    /// Which.
    pub claim: Claim,
    /// What was found.
    pub what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.claim.name(), self.what)
    }
}

impl Violation {
    /// What ended a world: a claim that does not hold, or a panic of the code under test.
    pub(crate) fn of(end: Box<dyn Any + Send>) -> Self {
        match end.downcast::<Self>() {
            Ok(violation) => *violation,
            Err(end) => {
                let text = end.downcast_ref::<String>().cloned();
                let text = text.or_else(|| end.downcast_ref::<&str>().map(|&text| text.to_owned()));
                Self {
                    claim: Claim::NoPanic,
                    what: text.unwrap_or_else(|| "a panic without a word".to_owned()),
                }
            }
        }
    }
}

/// The world ends here unless it is so.
pub(crate) fn hold(claim: Claim, so: bool, what: impl FnOnce() -> String) {
    if !so {
        violated(claim, what());
    }
}

/// The world ends here.
pub(crate) fn violated(claim: Claim, what: String) -> ! {
    // Unwinding, as a panic of the code under test does: one world ends, the others go on.
    std::panic::resume_unwind(Box::new(Violation { claim, what }))
}

/// The value, unless there is none: then the claim does not hold.
pub(crate) fn given<T>(claim: Claim, value: Option<T>, what: impl FnOnce() -> String) -> T {
    value.unwrap_or_else(|| violated(claim, what()))
}
