//! Which of the appends that wait go into the next commit. Pure: no database, no clock, no await.

use std::collections::{BTreeMap, VecDeque};

use domain::ShardId;
use tokio::sync::oneshot;

use super::writer::Job;
use crate::chain::Chain;
use crate::log::{Append, AppendError, Recorded};

/// A commit ends its batch when it holds this many events: larger ones are not faster.
const EVENTS: u64 = 2_000;
/// ... or this many bytes of payload, so that one statement stays far below what a database accepts.
const BYTES: usize = 16 * 1024 * 1024;

/// An append and who waits for it.
pub(super) struct Request {
    pub(super) append: Append,
    pub(super) answer: oneshot::Sender<Result<(), AppendError>>,
}

/// Appends of one shard that continue each other. They share their fate.
pub(super) struct Group {
    pub(super) shard: ShardId,
    pub(super) epoch: u64,
    pub(super) after: Chain,
    requests: Vec<Request>,
}

impl Group {
    pub(super) fn new(request: Request) -> Self {
        let Append {
            shard,
            epoch,
            after,
            ..
        } = request.append;
        Self {
            shard,
            epoch,
            after,
            requests: vec![request],
        }
    }

    pub(super) fn events(&self) -> impl Iterator<Item = &Recorded> {
        self.requests
            .iter()
            .flat_map(|request| &request.append.events)
    }

    /// Where the shard is once they are written.
    pub(super) fn end(&self) -> Chain {
        self.events().last().map_or(self.after, Chain::at)
    }

    fn continued_by(&self, append: &Append) -> bool {
        self.epoch == append.epoch && self.end() == append.after
    }

    /// Why nothing of it was written, given the epoch and the head of its shard.
    pub(super) fn refusal(&self, position: Option<&(u64, u64)>) -> AppendError {
        let shard = self.shard;
        match position {
            None => AppendError::Contended {
                shard,
                detail: "this log has no such shard".to_owned(),
            },
            Some((epoch, _)) if *epoch != self.epoch => AppendError::Fenced(shard),
            Some((_, head)) => AppendError::Contended {
                shard,
                detail: format!(
                    "it ends with event {head}, not with the writer's event {}",
                    self.after.head
                ),
            },
        }
    }

    pub(super) fn answer(self, answer: &Result<(), AppendError>) {
        for request in self.requests {
            // Nobody waits any more: the append stands or falls all the same.
            let _ = request.answer.send(answer.clone());
        }
    }
}

/// Answers everybody in these groups.
pub(super) fn answer(groups: Vec<Group>, answer: &Result<(), AppendError>) {
    for group in groups {
        group.answer(answer);
    }
}

/// Takes the appends at the front of the queue that can share a commit, up to the next job of another
/// kind. An append that does not continue the one before it in its shard, and all later ones of that
/// shard, stay for the next commit, in their order.
pub(super) fn take(waiting: &mut VecDeque<Job>) -> Vec<Group> {
    let mut groups = BTreeMap::<ShardId, Group>::new();
    let mut later = VecDeque::new();
    let mut held = Vec::new();
    let (mut events, mut bytes) = (0, 0);
    while let Some(job) = waiting.pop_front() {
        let Job::Append(request) = job else {
            waiting.push_front(job);
            break;
        };
        let append = &request.append;
        let (n, size) = (
            append.events.len() as u64,
            append
                .events
                .iter()
                .map(|event| event.payload.len())
                .sum::<usize>(),
        );
        if !groups.is_empty() && (events + n > EVENTS || bytes + size > BYTES) {
            waiting.push_front(Job::Append(request));
            break;
        }
        let shard = append.shard;
        let fits = !held.contains(&shard)
            && groups
                .get(&shard)
                .is_none_or(|group| group.continued_by(append));
        if !fits {
            held.push(shard);
            later.push_back(Job::Append(request));
            continue;
        }
        events += n;
        bytes += size;
        match groups.get_mut(&shard) {
            Some(group) => group.requests.push(request),
            None => drop(groups.insert(shard, Group::new(request))),
        }
    }
    later.append(waiting);
    *waiting = later;
    groups.into_values().collect()
}

/// Two smaller batches, or the one group that cannot be made smaller. Within a shard the order stays, and
/// what follows a refused append no longer finds the head that it expects.
pub(super) fn halve(mut groups: Vec<Group>) -> Result<[Vec<Group>; 2], Group> {
    if groups.len() > 1 {
        let rest = groups.split_off(groups.len() / 2);
        return Ok([groups, rest]);
    }
    let mut group = groups.remove(0);
    if group.requests.len() == 1 {
        return Err(group);
    }
    let requests = group.requests.split_off(group.requests.len() / 2);
    let rest = Group {
        shard: group.shard,
        epoch: group.epoch,
        after: group.end(),
        requests,
    };
    Ok([vec![group], vec![rest]])
}

#[cfg(test)]
mod tests {
    use domain::task_instance::Event;
    use domain::{Fact, Timestamp};

    use super::*;
    use crate::log::LogError;
    use crate::sql::writer::Change;

    /// Appends `n` events to a shard whose chain is there, and moves the chain.
    fn append(shard: u16, epoch: u64, chain: &mut Chain, n: u64) -> Job {
        let fact = Fact::Task("1000/1".parse().unwrap(), Event::Dispatched { attempt: 1 });
        let after = *chain;
        let events = (1..=n)
            .map(|i| chain.record(ShardId(shard), &fact, i, "{}", Timestamp(0)))
            .collect();
        let (answer, _) = oneshot::channel();
        Job::Append(Request {
            append: Append {
                shard: ShardId(shard),
                epoch,
                after,
                events,
            },
            answer,
        })
    }

    /// Another past of a shard, as long as that one.
    fn other(past: Chain) -> Chain {
        Chain {
            hash: crate::Hash([7; 32]),
            ..past
        }
    }

    fn lease() -> Job {
        let (answer, _) = oneshot::channel::<Result<(), LogError>>();
        let change = Change::Release {
            owner: String::new(),
            leases: Vec::new(),
        };
        Job::Change(change, answer)
    }

    /// Shard, head and number of events of each group.
    fn shape(groups: &[Group]) -> Vec<(u16, u64, u64)> {
        groups
            .iter()
            .map(|group| {
                (
                    group.shard.0,
                    group.after.head,
                    group.events().count() as u64,
                )
            })
            .collect()
    }

    /// What goes into each commit. A lease job is `None`.
    fn commits(jobs: impl IntoIterator<Item = Job>) -> Vec<Option<Vec<(u16, u64, u64)>>> {
        let mut waiting: VecDeque<_> = jobs.into_iter().collect();
        let mut commits = Vec::new();
        while !waiting.is_empty() {
            let groups = take(&mut waiting);
            if groups.is_empty() {
                waiting.pop_front();
                commits.push(None);
            } else {
                commits.push(Some(shape(&groups)));
            }
        }
        commits
    }

    #[test]
    fn appends_that_continue_each_other_share_a_group_and_shards_share_a_commit() {
        let (a, b) = (&mut Chain::start(), &mut Chain::start());
        let jobs = [
            append(1, 1, a, 2),
            append(0, 1, b, 1),
            append(1, 1, a, 3),
            append(1, 1, a, 1),
        ];
        assert_eq!(commits(jobs), [Some(vec![(0, 0, 1), (1, 0, 6)])]);
    }

    #[test]
    fn an_append_that_continues_nothing_waits_and_so_do_all_later_ones_of_its_shard() {
        let (a, b, other_owner) = (
            &mut Chain::start(),
            &mut Chain::start(),
            &mut Chain::start(),
        );
        let jobs = [
            append(1, 1, a, 2),
            append(1, 2, other_owner, 1),
            append(1, 1, a, 1),
            append(0, 1, b, 1),
            append(1, 2, other_owner, 1),
        ];
        assert_eq!(
            commits(jobs),
            [
                Some(vec![(0, 0, 1), (1, 0, 2)]),
                Some(vec![(1, 0, 1)]),
                Some(vec![(1, 2, 1)]),
                Some(vec![(1, 1, 1)])
            ]
        );
    }

    #[test]
    fn an_append_built_on_another_past_of_the_same_length_continues_nothing() {
        let a = &mut Chain::start();
        let first = append(0, 1, a, 2);
        let jobs = [first, append(0, 1, &mut other(*a), 1)];
        assert_eq!(
            commits(jobs),
            [Some(vec![(0, 0, 2)]), Some(vec![(0, 2, 1)])]
        );
    }

    #[test]
    fn a_lease_is_changed_between_the_appends_before_and_after_it() {
        let a = &mut Chain::start();
        let jobs = [
            append(1, 1, a, 1),
            append(1, 9, &mut other(*a), 1),
            lease(),
            append(1, 1, a, 1),
        ];
        assert_eq!(
            commits(jobs),
            [
                Some(vec![(1, 0, 1)]),
                Some(vec![(1, 1, 1)]),
                None,
                Some(vec![(1, 1, 1)])
            ]
        );
    }

    #[test]
    fn a_commit_ends_at_its_limit_but_takes_a_larger_append_alone() {
        let start = Chain::start;
        let jobs = [
            append(0, 1, &mut start(), EVENTS - 1),
            append(1, 1, &mut start(), 1),
            append(2, 1, &mut start(), 1),
            append(3, 1, &mut start(), EVENTS + 1),
            append(4, 1, &mut start(), 1),
        ];
        assert_eq!(
            commits(jobs),
            [
                Some(vec![(0, 0, EVENTS - 1), (1, 0, 1)]),
                Some(vec![(2, 0, 1)]),
                Some(vec![(3, 0, EVENTS + 1)]),
                Some(vec![(4, 0, 1)])
            ]
        );
    }

    #[test]
    fn a_refused_batch_is_halved_down_to_the_append_at_fault_and_keeps_its_order() {
        let (a, b) = (&mut Chain::start(), &mut Chain::start());
        let jobs = [
            append(0, 1, b, 1),
            append(1, 1, a, 2),
            append(1, 1, a, 1),
            append(1, 1, a, 4),
        ];
        let groups = take(&mut VecDeque::from(jobs));
        let Ok([first, second]) = halve(groups) else {
            panic!("two shards can be told apart")
        };
        assert_eq!(
            (shape(&first), shape(&second)),
            (vec![(0, 0, 1)], vec![(1, 0, 7)])
        );
        assert!(halve(first).is_err());
        let Ok([early, late]) = halve(second) else {
            panic!("three appends can be told apart")
        };
        assert_eq!(
            (shape(&early), shape(&late)),
            (vec![(1, 0, 2)], vec![(1, 2, 5)])
        );
    }
}
