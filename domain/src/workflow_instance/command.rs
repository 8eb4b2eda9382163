//! What can be asked of a workflow instance.

use std::sync::Arc;

use super::event::{Alert, Restart, Scope, Submission};
use super::state::Tally;
use crate::time::Timestamp;

/// What can be asked of a workflow instance.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// Be this run.
    Submit(Arc<Submission>),
    /// Begin, or wait for a turn.
    Start {
        /// Now.
        at: Timestamp,
    },
    /// The runs of the workflow say that it is this one's turn.
    GrantTurn {
        /// Which of its runs.
        run_times: u32,
        /// Now.
        at: Timestamp,
    },
    /// The runs of the workflow say that this one shall not run.
    RefuseTurn {
        /// Which of its runs.
        run_times: u32,
        /// Why, as a sentence.
        reason: String,
    },
    /// The runs of the workflow know that its turn is over.
    ReleaseTurn {
        /// Which of its runs.
        run_times: u32,
    },
    /// Its timeout may have passed.
    Wake {
        /// Now.
        at: Timestamp,
    },
    /// Let nothing new start.
    Pause {
        /// Who or what wants it, as a sentence.
        reason: String,
    },
    /// The same, and end as blocked.
    Block {
        /// Which task wants it, as a sentence.
        reason: String,
    },
    /// Let nothing new start, and kill what runs.
    Stop {
        /// Who or what wants it, as a sentence.
        reason: String,
    },
    /// Nothing is active any more: end, as the tally says.
    Conclude(Tally),
    /// Go on, or begin again.
    Restart {
        /// As what.
        restart: Restart,
        /// What of it; none: as before.
        scope: Option<Scope>,
        /// Who or what wants it, as a sentence.
        reason: String,
    },
    /// Tell somebody.
    Raise(Alert),
    /// The alert has been told, or was given up.
    SettleAlert {
        /// Which.
        number: u32,
        /// Why it could not be told; empty when it was.
        reason: String,
    },
    /// Nobody wants to see it any more.
    Delete,
}

impl Command {
    /// The name that clients use.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Submit(_) => "SUBMIT",
            Self::Start { .. } => "START",
            Self::GrantTurn { .. } => "GRANT_TURN",
            Self::RefuseTurn { .. } => "REFUSE_TURN",
            Self::ReleaseTurn { .. } => "RELEASE_TURN",
            Self::Wake { .. } => "WAKE",
            Self::Pause { .. } => "PAUSE",
            Self::Block { .. } => "BLOCK",
            Self::Stop { .. } => "STOP",
            Self::Conclude(_) => "CONCLUDE",
            Self::Restart { restart, .. } => match restart {
                Restart::RepeatRunning => "RERUN",
                Restart::RecoverSuspendedProcess => "RESUME",
                Restart::StartFailureTaskProcess => "RECOVER_FAILED",
                Restart::ExecuteTask => "EXECUTE_TASK",
            },
            Self::Raise(_) => "RAISE_ALERT",
            Self::SettleAlert { .. } => "SETTLE_ALERT",
            Self::Delete => "DELETE",
        }
    }
}
