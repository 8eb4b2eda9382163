//! What engines keep of how their shards stand: on its way, lost, or late, when somebody else has the shard.

use domain::ShardId;
use engine::core::Image;
use engine::load;
use store::{Chain, Log, LogError, Standing};

use crate::claim::{Claim, given, hold, violated};
use crate::faults::Fault;
use crate::rng::Rng;
use crate::world::{SHARDS, TICK, World, now};

/// Few enough that engines begin where others stood, again and again in a world of some hundred events.
pub(crate) const STANDING_EVERY: u64 = 10;

/// What is on its way, and what was ever said.
pub(crate) struct Standings {
    on_their_way: Vec<(u64, Standing)>,
    said: Vec<Standing>,
    /// Of its own: what becomes of a standing must make no difference to anything else.
    rng: Rng,
}

impl Standings {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            on_their_way: Vec::new(),
            said: Vec::new(),
            rng: Rng::new(seed ^ 0x51_0002),
        }
    }
}

impl World {
    /// An engine has something to keep.
    pub(crate) fn send_standing(&mut self, engine: usize, standing: Standing) {
        let (shard, head) = (standing.shard, standing.at.head);
        let (odds, in_trouble) = (self.faults.odds(Fault::Standings), self.in_trouble());
        let rng = &mut self.standings.rng;
        let strikes = in_trouble && rng.percent(odds);
        let due = self.now + TICK * rng.below(3);
        let due = match (strikes, rng.percent(50)) {
            (false, _) => Some(due),
            (true, true) => Some(due + rng.below(15_000_000)),
            (true, false) => None,
        };
        let name = self.engines[engine].name();
        self.story.tell(self.now, name, || {
            let fate = if due.is_none() { ", which is lost" } else { "" };
            format!("says how shard {shard} stands at {head}{fate}")
        });
        if let Some(due) = due {
            self.standings.on_their_way.push((due, standing));
        }
    }

    /// What has arrived is kept, whoever has the shard by now.
    pub(crate) fn keep_standings(&mut self) {
        let at = self.now;
        let arrived = self
            .standings
            .on_their_way
            .extract_if(.., |(due, _)| *due <= at);
        let arrived: Vec<(u64, Standing)> = arrived.collect();
        if !self.log_is_away() {
            for (_, standing) in arrived {
                self.keep_standing(&standing);
            }
        }
    }

    pub(crate) fn keep_standing(&self, standing: &Standing) {
        // A log in memory does not fail.
        let _ = now(self.log.keep_standing(standing));
    }

    /// What is said to stand at an event is said when that event is durable.
    pub(crate) fn audit_standing(&mut self, standing: &Standing) {
        let Standing { shard, at, .. } = standing;
        let before = at.head.saturating_sub(1);
        let last = now(self.log.read(*shard, before, 1)).unwrap_or_default();
        hold(
            Claim::DurableFirst,
            last.first().map(Chain::at) == Some(*at),
            || format!("shard {shard} is said to stand at {at:?}, which is not in the log"),
        );
        self.standings.said.push(standing.clone());
    }

    /// Whoever begins where a shard stood knows what is known to whoever reads all of it.
    pub(crate) fn standings_are_true(&self) {
        let (log, definitions) = (self.log.as_ref(), &self.engines[0].definitions);
        for shard in (0..SHARDS).map(ShardId) {
            let whole = told(now(load::from_the_beginning(log, definitions, shard)));
            let said = self.standings.said.iter();
            for standing in said.filter(|said| said.shard == shard) {
                let image = told(now(load::from_a_standing(log, definitions, standing)));
                let image = given(Claim::Memory, image, || {
                    format!("shard {shard} never stood at {:?}", standing.at)
                });
                // A number that was thought of for a run that was not started is not used again.
                let free = image.instances >= whole.instances;
                let (instances, standing) = (whole.instances, whole.standing);
                let image = Image {
                    instances,
                    standing,
                    ..image
                };
                hold(Claim::Memory, free && image == whole, || {
                    format!("from a standing {image:?}, from the beginning {whole:?}")
                });
            }
        }
    }
}

fn told<T>(read: Result<T, LogError>) -> T {
    read.unwrap_or_else(|error| violated(Claim::Readable, error.to_string()))
}
