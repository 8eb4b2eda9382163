//! Which worker gets a task: who may be given something now, and who of them is the best place for it.
//! Everything is known here already; nobody is asked.

use std::sync::Arc;
use std::time::Duration;

use domain::WorkerRef;
use proto::worker::Heartbeat;
use serde::Deserialize;

use super::workers::{Worker, Workers};

/// How tasks find workers.
#[derive(Clone, Debug)]
pub struct Dispatching {
    /// How one of several workers is chosen.
    pub host_selector: HostSelector,
    /// How long a connected worker may leave a dispatch unanswered. Then it is asked once more, and after
    /// as long again the attempt is taken from it.
    pub accept_timeout: Duration,
    /// How often another attempt may follow one that was lost with a worker that had taken it.
    pub max_failovers: u32,
    /// What chance begins with, where workers are chosen by chance.
    pub seed: u64,
}

impl Default for Dispatching {
    fn default() -> Self {
        Self {
            host_selector: HostSelector::default(),
            accept_timeout: Duration::from_secs(5),
            max_failovers: 10,
            seed: 0,
        }
    }
}

/// How one of several workers with a free slot is chosen, by `DolphinScheduler`'s names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HostSelector {
    /// The one that has the least to do.
    #[default]
    LowerWeight,
    /// Each in its turn, whatever it has to do.
    RoundRobin,
    /// Any.
    Random,
}

/// How busy a machine is, by the last heartbeat of the worker on it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Machine {
    /// One-minute load average per core.
    pub(super) load: f64,
    /// The share of its memory that is in use.
    pub(super) memory: f64,
}

impl Machine {
    /// What is known of a machine that has not said anything yet: it may have everything to do.
    const UNKNOWN: Self = Self {
        load: 1.0,
        memory: 1.0,
    };
}

/// What speaks against one more attempt on a worker, from 0 to about 1,000:
///
/// `700 × taken / slots + 200 × load per core + 100 × memory in use`
///
/// `taken` counts the attempt that is to be placed, so a large worker comes before a small one. It is what
/// we have given the worker ourselves, exact to this moment, and weighs most: a worker that has just come
/// up, or whose last heartbeat is a while ago, fills up like any other and is not flooded. Load and memory
/// are taken in tenths and 1 at most, so that machines that hardly differ take turns. (`DolphinScheduler`
/// weighs only the heartbeat: cpu 10, memory 20, load 70.)
fn weight(taken: u32, slots: u32, machine: Machine) -> u64 {
    let tenths = |share: f64| (share.clamp(0.0, 1.0) * 10.0).round() as u64;
    700 * u64::from(taken) / u64::from(slots.max(1))
        + 20 * tenths(machine.load)
        + 10 * tenths(machine.memory)
}

impl Worker {
    /// Slots that we have not given away.
    pub(super) fn free(&self) -> u32 {
        self.slots.saturating_sub(self.tasks.len() as u32)
    }

    fn weight(&self) -> u64 {
        let taken = self.tasks.len() as u32 + self.others + 1;
        weight(taken, self.slots, self.machine.unwrap_or(Machine::UNKNOWN))
    }

    /// Why it is given nothing, whether or not it has a free slot.
    pub(super) fn obstacle(&self) -> Option<String> {
        if self.leaving {
            Some("it is going away".to_owned())
        } else if !self.overloaded.is_empty() {
            Some(format!("it is overloaded: {}", self.overloaded))
        } else if self.mute {
            Some("it does not answer what it is asked".to_owned())
        } else if !self.unwilling.is_empty() {
            Some(format!("it refuses: {}", self.unwilling))
        } else {
            None
        }
    }

    fn is_open(&self) -> bool {
        self.session.is_some() && self.free() > 0 && self.obstacle().is_none()
    }

    fn serves(&self, group: &str) -> bool {
        self.groups.iter().any(|served| **served == *group)
    }
}

impl Workers {
    /// The best worker of a group that can be given something now, and not the shunned one if there is
    /// another.
    pub(super) fn choose(&mut self, group: &str, shunned: Option<&str>) -> Option<WorkerRef> {
        let open = |worker: &Worker| worker.is_open() && worker.serves(group);
        let is_shunned = |worker: &Worker| Some(&*worker.reference.id) == shunned;
        let alone = !self
            .known
            .values()
            .any(|worker| open(worker) && !is_shunned(worker));
        let candidates = self
            .known
            .values_mut()
            .filter(|worker| open(worker) && (alone || !is_shunned(worker)));
        let chosen = match self.selector {
            HostSelector::LowerWeight => {
                candidates.min_by_key(|worker| (worker.weight(), worker.last_turn))
            }
            HostSelector::RoundRobin => candidates.min_by_key(|worker| worker.last_turn),
            HostSelector::Random => {
                let mut candidates: Vec<_> = candidates.collect();
                if candidates.is_empty() {
                    return None;
                }
                let index = throw(&mut self.dice) % candidates.len() as u64;
                Some(candidates.swap_remove(index as usize))
            }
        }?;
        self.turn += 1;
        chosen.last_turn = self.turn;
        Some(chosen.reference.clone())
    }

    /// A worker may have room for this many more attempts than when it was last looked at.
    pub(super) fn has_room(&mut self, id: &Arc<str>, slots: u32) {
        let room = self.room.entry(id.clone()).or_default();
        *room = room.saturating_add(slots);
    }

    /// The workers that got room since this was last asked, and for how many attempts each.
    pub(super) fn take_room(&mut self) -> Vec<(Arc<str>, u32)> {
        std::mem::take(&mut self.room).into_iter().collect()
    }

    /// The groups that a worker serves.
    pub(super) fn groups_of(&self, id: &str) -> Vec<Arc<str>> {
        self.known
            .get(id)
            .map_or_else(Vec::new, |worker| worker.groups.clone())
    }

    /// A worker said how busy its machine is.
    pub(super) fn beat(&mut self, id: &str, beat: &Heartbeat) {
        self.change(id, |worker| {
            worker.machine = Some(Machine {
                load: beat.load,
                memory: beat.memory,
            });
            worker.others = beat.busy.saturating_sub(worker.tasks.len() as u32);
            if worker.overloaded.is_empty() != beat.overloaded.is_empty() {
                let why = &beat.overloaded;
                tracing::info!(worker = id, %why, "overloaded, or not any more");
            }
            worker.overloaded.clone_from(&beat.overloaded);
            if beat.busy < worker.slots {
                worker.unwilling.clear();
            }
        });
    }

    /// A worker refused an attempt. It speaks of itself, not of the attempt, so nothing else is offered to
    /// it until it says that it has room: by a heartbeat, by a report, or by a new hello.
    pub(super) fn refused(&mut self, id: &str, words: &str) {
        self.change(id, |worker| words.clone_into(&mut worker.unwilling));
    }

    /// A worker spoke of an attempt: it is not dumb, and if something ended there, it has room.
    pub(super) fn spoke(&mut self, id: &str, ended: bool) {
        self.change(id, |worker| {
            worker.mute = false;
            if ended {
                worker.unwilling.clear();
            }
        });
    }

    /// Whatever was in the way before and is not any more has made room.
    pub(super) fn change(&mut self, id: &str, change: impl FnOnce(&mut Worker)) {
        if let Some(worker) = self.known.get_mut(id) {
            let closed = worker.obstacle().is_some();
            change(worker);
            if closed && worker.obstacle().is_none() {
                let (id, slots) = (worker.reference.id.clone(), worker.slots);
                self.has_room(&id, slots);
            }
        }
    }
}

/// The next number of a sequence in which nobody sees a rule (`SplitMix64`). Not for secrets.
fn throw(dice: &mut u64) -> u64 {
    *dice = dice.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mixed = (*dice ^ (*dice >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use domain::{InstanceId, TaskCode, TaskId, Timestamp};
    use proto::worker::Hello;

    use super::*;

    const NOW: Timestamp = Timestamp(0);

    fn with(selector: HostSelector, workers: &[(&str, u32)]) -> Workers {
        let mut all = Workers::new(selector, 7);
        for (session, (id, slots)) in (1..).zip(workers) {
            let hello = Hello {
                worker_id: (*id).to_owned(),
                incarnation: "1".to_owned(),
                host: (*id).to_owned(),
                groups: vec!["default".to_owned()],
                slots: *slots,
                held: Vec::new(),
            };
            all.open(session, &hello, NOW);
        }
        all
    }

    fn task(code: u64) -> TaskId {
        TaskId {
            instance: InstanceId(1_000),
            task: TaskCode(code),
        }
    }

    fn beat(load: f64, memory: f64) -> Heartbeat {
        Heartbeat {
            load,
            memory,
            ..Heartbeat::default()
        }
    }

    /// Places so many tasks, and counts what each worker got.
    fn placed(workers: &mut Workers, tasks: u64) -> BTreeMap<String, u32> {
        let mut got = BTreeMap::new();
        for _ in 0..tasks {
            let chosen = workers.choose("default", None).expect("a free slot");
            workers.hold(task(workers.turn), 1, &chosen, NOW);
            *got.entry(chosen.id.to_string()).or_default() += 1;
        }
        got
    }

    fn counts(counts: &[(&str, u32)]) -> BTreeMap<String, u32> {
        let counts = counts.iter();
        counts
            .map(|(id, count)| ((*id).to_owned(), *count))
            .collect()
    }

    #[test]
    fn equals_take_turns_and_a_full_worker_is_left_out() {
        let mut workers = with(HostSelector::LowerWeight, &[("a", 2), ("b", 2)]);
        assert_eq!(placed(&mut workers, 2), counts(&[("a", 1), ("b", 1)]));
        assert_eq!(placed(&mut workers, 2), counts(&[("a", 1), ("b", 1)]));
        assert_eq!(workers.choose("default", None), None);
        assert_eq!(workers.choose("gpu", None), None);
    }

    #[test]
    fn a_worker_with_more_slots_gets_more() {
        let mut workers = with(HostSelector::LowerWeight, &[("a", 10), ("b", 30)]);
        assert_eq!(placed(&mut workers, 20), counts(&[("a", 5), ("b", 15)]));
    }

    #[test]
    fn a_busy_machine_gets_less_and_not_nothing() {
        let mut workers = with(HostSelector::LowerWeight, &[("a", 10), ("b", 10)]);
        workers.beat("a", &beat(4.0, 0.9));
        workers.beat("b", &beat(0.1, 0.2));
        let got = placed(&mut workers, 10);
        assert!(got["b"] > got["a"] && got["a"] > 0, "{got:?}");
    }

    /// `DolphinScheduler` issue 12196: between two heartbeats a worker that has just become free gets
    /// everything.
    #[test]
    fn issue_12196_what_was_given_since_the_last_heartbeat_counts() {
        let mut workers = with(HostSelector::LowerWeight, &[("a", 20), ("b", 20)]);
        workers.beat("a", &beat(0.9, 0.5));
        // It has just come up, and idles by its only heartbeat.
        workers.beat("b", &beat(0.0, 0.1));
        let got = placed(&mut workers, 20);
        assert!(got["a"] >= 5 && got["b"] <= 15, "{got:?}");
    }

    #[test]
    fn a_machine_that_has_not_said_how_it_is_comes_after_one_that_idles() {
        let mut workers = with(HostSelector::LowerWeight, &[("a", 4), ("b", 4)]);
        workers.beat("b", &beat(0.0, 0.1));
        assert_eq!(placed(&mut workers, 1), counts(&[("b", 1)]));
    }

    #[test]
    fn what_a_worker_does_for_other_engines_counts() {
        let mut workers = with(HostSelector::LowerWeight, &[("a", 4), ("b", 4)]);
        let busy = Heartbeat {
            busy: 2,
            ..beat(0.0, 0.0)
        };
        workers.beat("a", &busy);
        workers.beat("b", &beat(0.0, 0.0));
        assert_eq!(placed(&mut workers, 3), counts(&[("a", 1), ("b", 2)]));
    }

    #[test]
    fn round_robin_gives_each_its_turn_whatever_it_has_to_do() {
        let mut workers = with(HostSelector::RoundRobin, &[("a", 9), ("b", 90)]);
        workers.beat("a", &beat(9.0, 0.9));
        assert_eq!(placed(&mut workers, 10), counts(&[("a", 5), ("b", 5)]));
    }

    #[test]
    fn chance_gives_every_worker_something_and_the_same_seed_the_same() {
        let got = || {
            let mut workers = with(HostSelector::Random, &[("a", 99), ("b", 99), ("c", 99)]);
            placed(&mut workers, 60)
        };
        assert!(
            got().len() == 3 && got().values().all(|count| *count > 5),
            "{:?}",
            got()
        );
        assert_eq!(got(), got());
    }

    #[test]
    fn the_shunned_worker_is_chosen_only_when_there_is_no_other() {
        for selector in [
            HostSelector::LowerWeight,
            HostSelector::RoundRobin,
            HostSelector::Random,
        ] {
            let mut workers = with(selector, &[("a", 9), ("b", 1)]);
            let other = workers.choose("default", Some("a")).expect("b is free");
            assert_eq!(&*other.id, "b");
            workers.hold(task(1), 1, &other, NOW);
            let again = workers.choose("default", Some("a")).expect("a is free");
            assert_eq!(&*again.id, "a");
        }
    }

    /// `DolphinScheduler` issue 6499: a worker that has too much to do cannot say so.
    #[test]
    fn issue_6499_an_overloaded_worker_is_not_chosen_until_it_has_recovered() {
        let mut workers = with(HostSelector::LowerWeight, &[("a", 4)]);
        let overloaded = Heartbeat {
            overloaded: "98 % of its memory is in use".to_owned(),
            ..Heartbeat::default()
        };
        workers.take_room();
        workers.beat("a", &overloaded);
        assert_eq!(workers.choose("default", None), None);
        workers.beat("a", &overloaded);
        assert_eq!(workers.take_room(), []);
        workers.beat("a", &beat(0.1, 0.5));
        assert_eq!(workers.take_room(), [("a".into(), 4)]);
        assert!(workers.choose("default", None).is_some());
    }

    #[test]
    fn a_worker_that_refused_is_offered_nothing_until_it_has_room() {
        let mut workers = with(HostSelector::LowerWeight, &[("a", 2)]);
        let full = Heartbeat {
            busy: 2,
            ..Heartbeat::default()
        };
        workers.refused("a", "full: 2 attempts queued or running");
        workers.beat("a", &full);
        assert_eq!(workers.choose("default", None), None);
        workers.beat("a", &beat(0.0, 0.0));
        assert!(workers.choose("default", None).is_some());
        workers.refused("a", "full: 2 attempts queued or running");
        workers.spoke("a", false);
        assert_eq!(workers.choose("default", None), None);
        workers.spoke("a", true);
        assert!(workers.choose("default", None).is_some());
    }
}
