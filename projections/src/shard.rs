//! What the runner knows of one shard: how far the tables are, what was fed and is not folded yet,
//! and whether it is this process's turn to fold. No database and no clock: times come in.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use domain::ShardId;
use store::{Recorded, Understood};
use tokio::time::Instant;

use crate::batch::{Advance, Stretch};

/// Events of one shard that may wait in memory; beyond it they are forgotten and read from the log.
const WAITING: usize = 50_000;
/// How long a lag must last before it is this process's business, when somebody else has been folding.
const OTHERS_TURN: Duration = Duration::from_secs(2);
/// The same, when nobody else has: a feed that has stopped, or a shard that only this process folds.
const OUR_TURN: Duration = Duration::from_millis(200);

/// One shard, as the runner sees it.
pub(crate) struct Shard {
    pub(crate) id: ShardId,
    /// The events that are in the tables.
    at: u64,
    /// The newest event that is known to be in the log.
    head: u64,
    waiting: VecDeque<Arc<[Understood]>>,
    waiting_events: usize,
    /// The checkpoint has been seen once: what moves it now is somebody else.
    seen: bool,
    /// Since when there has been a lag in which nothing moved.
    lagging: Option<Instant>,
    /// How long such a lag must last.
    patience: Duration,
    /// The log is read until there is no lag.
    catching_up: bool,
    /// Why nothing more is folded here.
    pub(crate) stopped: Option<String>,
}

impl Shard {
    pub(crate) fn new(id: ShardId) -> Self {
        Self {
            id,
            at: 0,
            head: 0,
            waiting: VecDeque::new(),
            waiting_events: 0,
            seen: false,
            lagging: None,
            // What lags when the process starts is taken up at once.
            patience: Duration::ZERO,
            catching_up: false,
            stopped: None,
        }
    }

    /// The events that are in the tables.
    pub(crate) const fn at(&self) -> u64 {
        self.at
    }

    /// There are events in the log that are not in the tables.
    pub(crate) fn lags(&self) -> bool {
        self.stopped.is_none() && self.at < self.head
    }

    /// There is something to do now.
    pub(crate) fn is_due(&self) -> bool {
        self.stopped.is_none() && (self.catching_up || !self.waiting.is_empty())
    }

    /// The events that wait in memory.
    pub(crate) fn rest(&self) -> impl Iterator<Item = &Understood> {
        self.waiting.iter().flat_map(|batch| batch.iter())
    }

    /// How many events wait in memory.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting_events
    }

    /// These events have just been appended by this process.
    pub(crate) fn feed(&mut self, events: Arc<[Understood]>) {
        let Some(last) = events.last() else { return };
        self.head = self.head.max(last.seq);
        self.patience = OUR_TURN;
        if self.stopped.is_some() || last.seq <= self.at {
            return;
        }
        self.waiting_events += events.len();
        self.waiting.push_back(events);
        if self.waiting_events > WAITING {
            self.forget();
            self.catching_up = true;
        }
    }

    /// The log's newest event of this shard.
    pub(crate) fn see_head(&mut self, head: u64, now: Instant) {
        self.head = self.head.max(head);
        if !self.lags() {
            self.lagging = None;
            if self.patience.is_zero() {
                self.patience = OTHERS_TURN;
            }
            return;
        }
        let since = *self.lagging.get_or_insert(now);
        if now.duration_since(since) >= self.patience {
            self.catching_up = true;
        }
    }

    /// Where the tables are by the database. When they are further than this process left them, somebody else
    /// folds this shard. When they are not as far, the database has forgotten, and nobody need be waited for.
    pub(crate) fn see_place(&mut self, at: u64) {
        if at < self.at {
            self.moved(at);
            self.lagging = None;
            self.patience = Duration::ZERO;
        }
        if at > self.at {
            self.moved(at);
            self.lagging = None;
            self.catching_up = false;
            if self.seen {
                self.patience = OTHERS_TURN;
            }
        }
        self.seen = true;
    }

    /// The next events, as far as they are in memory without a gap, at most `limit`; none when the next one is
    /// missing.
    pub(crate) fn fed(&self, limit: usize) -> Vec<Stretch> {
        let mut next = self.at + 1;
        let end = next + limit as u64;
        let mut stretches = Vec::new();
        for batch in &self.waiting {
            let from = batch.partition_point(|event| event.seq < next);
            let wanted = (next..end).zip(&batch[from..]);
            let fit = wanted.take_while(|(seq, event)| event.seq == *seq).count();
            if fit > 0 {
                next += fit as u64;
                stretches.push(Stretch {
                    batch: Arc::clone(batch),
                    range: from..from + fit,
                });
            }
            if from + fit < batch.len() {
                break;
            }
        }
        stretches
    }

    /// This much is in the tables now.
    pub(crate) fn wrote(&mut self, advance: &Advance) {
        self.moved(advance.to);
        self.lagging = None;
        self.patience = OUR_TURN;
        if self.at >= self.head {
            self.catching_up = false;
        }
    }

    /// There was nothing to read although there should have been.
    pub(crate) fn is_dry(&mut self) {
        self.catching_up = false;
        self.forget();
    }

    /// Nothing more is folded here.
    pub(crate) fn stop(&mut self, why: String) {
        tracing::error!(
            shard = self.id.0,
            at = self.at,
            "the projections of this shard stop: {why}"
        );
        self.stopped = Some(why);
        self.forget();
    }

    fn moved(&mut self, at: u64) {
        self.at = at;
        while let Some(first) = self.waiting.front() {
            if first.last().is_some_and(|last| last.seq > at) {
                break;
            }
            self.waiting_events -= first.len();
            self.waiting.pop_front();
        }
    }

    fn forget(&mut self) {
        self.waiting.clear();
        self.waiting_events = 0;
    }
}

/// As many events as can be understood, and why not more.
pub(crate) fn understand(events: &[Recorded]) -> (Vec<Understood>, Option<String>) {
    let mut understood = Vec::new();
    for event in events {
        match Understood::read(event) {
            Ok(event) => understood.push(event),
            Err(error) => return (understood, Some(error.to_string())),
        }
    }
    (understood, None)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(at: u64, head: u64, now: Instant) -> Shard {
        let mut shard = Shard::new(ShardId(0));
        shard.see_place(at);
        shard.see_head(head, now);
        shard
    }

    #[test]
    fn what_lags_at_the_start_is_taken_up_at_once() {
        assert!(seen(5, 6, Instant::now()).is_due());
        assert!(!seen(6, 6, Instant::now()).is_due());
    }

    #[test]
    fn a_shard_that_somebody_else_folds_is_left_to_them_until_they_stand_still() {
        let start = Instant::now();
        let mut shard = seen(6, 6, start);
        shard.see_head(7, start);
        shard.see_place(7);
        shard.see_head(9, start);
        assert!(!shard.is_due());
        // They move: their two seconds begin again.
        let later = start + OTHERS_TURN / 2;
        shard.see_place(8);
        shard.see_head(9, later);
        shard.see_head(9, start + OTHERS_TURN);
        assert!(!shard.is_due());
        shard.see_head(9, later + OTHERS_TURN);
        assert!(shard.is_due());
    }

    #[test]
    fn a_stopped_shard_is_never_due() {
        let mut shard = seen(5, 6, Instant::now());
        shard.stop("an event".to_owned());
        shard.see_head(60, Instant::now() + OTHERS_TURN);
        assert!(!shard.is_due() && !shard.lags());
    }
}
