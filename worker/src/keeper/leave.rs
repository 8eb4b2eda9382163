//! How the worker goes: it takes nothing more, ends what runs, says so, waits for the acks of what it has
//! reported, and ends its sessions when everything it said has left.

use std::collections::HashSet;
use std::time::Duration;

use proto::worker::{Goodbye, WorkerMessage, worker_message};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout_at};

use super::{Closing, Input, Keeper};
use crate::attempts::{Key, State};

/// How long it waits for acks once nothing runs any more.
const FLUSH: Duration = Duration::from_secs(5);
/// How long it waits after that for its sessions to end. An engine that does not read holds nobody up.
const PARTING: Duration = Duration::from_secs(2);

impl Keeper {
    pub(super) fn close(&mut self, done: oneshot::Sender<()>) {
        self.closing = Some(Closing { done, until: None });
        let queued = self.slots.drain();
        for key in &queued {
            self.abandon(*key);
        }
        self.say_goodbye(&queued);
        let grace = self.config.kill_grace;
        for (_, held) in self.attempts.iter_mut() {
            match &held.state {
                State::Running { kill, asked: false } => {
                    kill.send_replace(Some(grace));
                }
                State::Running { .. } | State::Queued(_) | State::Ended => {}
            }
        }
    }

    /// Answers for an attempt no longer, nor for its start.
    pub(super) fn abandon(&mut self, key: Key) {
        self.outbox.ack(key, u64::MAX);
        self.attempts.release(key);
    }

    /// Tells every engine that the worker goes, and what it ended for that reason.
    pub(super) fn say_goodbye(&mut self, ended: &[Key]) {
        let welcomed = self.sessions.iter().filter(|(_, session)| session.welcomed);
        let sessions: Vec<u64> = welcomed.map(|(id, _)| *id).collect();
        for session in sessions {
            self.say_goodbye_to(session, ended);
        }
    }

    pub(super) fn say_goodbye_to(&mut self, session: u64, ended: &[Key]) {
        let ended = ended.iter().map(|key| (*key).into()).collect();
        let message = WorkerMessage {
            body: Some(worker_message::Body::Goodbye(Goodbye { ended })),
        };
        self.effects.messages.push((session, message));
    }

    pub(super) fn is_over(&mut self) -> bool {
        let Some(closing) = &mut self.closing else {
            return false;
        };
        if self.slots.running() > 0 {
            return false;
        }
        let until = *closing.until.get_or_insert_with(|| Instant::now() + FLUSH);
        self.outbox.len() == 0 || Instant::now() >= until
    }

    /// Ends the sessions, each when what was said on it has left.
    pub(super) async fn leave(&mut self, mut inbox: mpsc::Receiver<Input>) {
        let mut open: HashSet<u64> = self.sessions.drain().map(|(id, _)| id).collect();
        let deadline = Instant::now() + PARTING;
        while !open.is_empty()
            && let Ok(Some(input)) = timeout_at(deadline, inbox.recv()).await
        {
            if let Input::Down { session } = input {
                open.remove(&session);
            }
        }
    }
}
