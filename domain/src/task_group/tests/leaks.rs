//! Attempts and their group write to each other, and the post loses, repeats and delays what they write.

use std::collections::VecDeque;
use std::time::Duration;

use super::*;
use crate::task_instance::{self, Outcome, Report, Retry, Stage, TaskInstance, Terms};
use crate::testing::{at, worker};
use crate::time::Timestamp;
use crate::workflow_definition::TaskGroupRef;

/// What an attempt and its group tell each other.
#[derive(Clone, Copy, Debug)]
enum Message {
    Ask(AttemptId, u32),
    Release(AttemptId, u32),
    Granted(AttemptId, u32),
    Released(AttemptId, u32),
}

/// What happens next; the numbers choose among what there is.
#[derive(Clone, Copy, Debug)]
enum Move {
    /// Everything that is owed is written once.
    Write,
    /// A message to the group arrives, and may arrive once more.
    ToGroup(usize, bool),
    /// A message to a task arrives, and may arrive once more.
    ToTask(usize, bool),
    /// A message is lost.
    Lose(usize),
    /// Something is asked of a task.
    Task(usize, Deed),
}

#[derive(Clone, Copy, Debug)]
enum Deed {
    Submit,
    Dispatch,
    Succeed,
    Fail,
    Die,
    Kill,
    Pause,
    Resume,
    Retry,
    RunAgain,
}

fn some_move() -> impl Strategy<Value = Move> {
    let deed = prop::sample::select(vec![
        Deed::Submit,
        Deed::Submit,
        Deed::Dispatch,
        Deed::Dispatch,
        Deed::Succeed,
        Deed::Fail,
        Deed::Die,
        Deed::Kill,
        Deed::Pause,
        Deed::Resume,
        Deed::Resume,
        Deed::Retry,
        Deed::RunAgain,
    ]);
    let again = || prop::bool::weighted(0.2);
    prop_oneof![
        4 => Just(Move::Write),
        6 => (any::<usize>(), again()).prop_map(|(which, again)| Move::ToGroup(which, again)),
        6 => (any::<usize>(), again()).prop_map(|(which, again)| Move::ToTask(which, again)),
        1 => any::<usize>().prop_map(Move::Lose),
        9 => (any::<usize>(), deed).prop_map(|(task, deed)| Move::Task(task, deed)),
    ]
}

struct World {
    group: TaskGroup,
    tasks: Vec<TaskInstance>,
    to_group: VecDeque<Message>,
    to_tasks: VecDeque<Message>,
    /// Messages arrive in the order in which they were written, if at all.
    in_order: bool,
    now: Timestamp,
}

impl World {
    fn new(size: u32, tasks: usize, in_order: bool) -> Self {
        Self {
            group: fold(TaskGroup::default(), &[defined(size)]),
            tasks: vec![TaskInstance::default(); tasks],
            to_group: VecDeque::new(),
            to_tasks: VecDeque::new(),
            in_order,
            now: at(0),
        }
    }

    fn terms(&self) -> Terms {
        Terms {
            at: self.now,
            task_group: Some(TaskGroupRef {
                name: "gpu".to_owned(),
                priority: 0,
            }),
            retry: Some(Retry {
                times: 2,
                interval: Duration::from_secs(1),
            }),
            ..Terms::default()
        }
    }

    fn ask_task(&mut self, index: usize, command: &task_instance::Command) {
        let task = &mut self.tasks[index];
        if let Ok(events) = task.decide(command) {
            *task = fold(std::mem::take(task), &events);
        }
    }

    fn ask_group(&mut self, command: &Command) {
        let events = self.group.decide(command).unwrap();
        self.group = fold(std::mem::take(&mut self.group), &events);
    }

    fn take(&mut self, next: Move) {
        match next {
            Move::Write => self.write(),
            Move::ToGroup(which, again) => {
                if let Some(message) = pick(&mut self.to_group, which, again, self.in_order) {
                    self.deliver(message);
                }
            }
            Move::ToTask(which, again) => {
                if let Some(message) = pick(&mut self.to_tasks, which, again, self.in_order) {
                    self.deliver(message);
                }
            }
            Move::Lose(which) => {
                let post = if which % 2 == 0 {
                    &mut self.to_group
                } else {
                    &mut self.to_tasks
                };
                let _lost = pick(post, which / 2, false, self.in_order);
            }
            Move::Task(which, deed) => self.deed(which % self.tasks.len(), deed),
        }
        self.check();
    }

    fn deed(&mut self, index: usize, deed: Deed) {
        use task_instance::Command as Task;
        let attempt = self.tasks[index].attempt;
        let reason = || "alice asked".to_owned();
        let report = |outcome| Report {
            outcome,
            ended_at: at(0),
            started: None,
            exit_code: None,
            var_pool: vec![],
            reason: String::new(),
            cache_key: None,
        };
        let terms = self.terms();
        let finished = |outcome, terms| Task::ReportFinished {
            attempt,
            worker: worker("w"),
            report: report(outcome),
            terms,
        };
        let holds = self.tasks[index].holder(attempt).is_some();
        let command = match deed {
            Deed::Submit => Task::Submit(terms),
            Deed::Dispatch => Task::RequestDispatch {
                worker: worker("w"),
            },
            Deed::Succeed if holds => finished(Outcome::Success, terms),
            Deed::Fail if holds => finished(Outcome::Failure, terms),
            Deed::Succeed | Deed::Fail => return,
            Deed::Die => Task::Lose {
                worker: worker("w"),
                reason: reason(),
                replace: true,
                failovers: 10,
                terms,
            },
            Deed::Kill => Task::Kill {
                at: self.now,
                reason: reason(),
            },
            Deed::Pause => Task::Pause { reason: reason() },
            Deed::Resume => Task::Resume(terms),
            Deed::Retry => {
                self.now = self.now.after(Duration::from_secs(1));
                Task::Wake(self.terms())
            }
            Deed::RunAgain => Task::Invalidate {
                reason: reason(),
                afresh: true,
            },
        };
        self.ask_task(index, &command);
    }

    /// Writes everything that is owed.
    fn write(&mut self) {
        for (index, task) in self.tasks.iter().enumerate() {
            for owed in task.obligations() {
                match owed {
                    task_instance::Obligation::AskSlot {
                        attempt: n, claim, ..
                    } => {
                        self.to_group
                            .push_back(Message::Ask(attempt(index as u64, n), claim));
                    }
                    task_instance::Obligation::ReleaseSlot {
                        attempt: n, claim, ..
                    } => {
                        let id = attempt(index as u64, n);
                        self.to_group.push_back(Message::Release(id, claim));
                    }
                    task_instance::Obligation::FindWorker { .. }
                    | task_instance::Obligation::Send { .. }
                    | task_instance::Obligation::Watch { .. }
                    | task_instance::Obligation::Kill { .. }
                    | task_instance::Obligation::Wake { .. }
                    | task_instance::Obligation::StartChild { .. }
                    | task_instance::Obligation::Check { .. } => {}
                }
            }
        }
        let granted = self
            .group
            .obligations()
            .map(|owed| Message::Granted(owed.granted, owed.claim));
        self.to_tasks.extend(granted);
    }

    fn deliver(&mut self, message: Message) {
        use task_instance::Command as Task;
        let index = |id: AttemptId| id.task.task.0 as usize;
        match message {
            Message::Ask(id, claim) => self.ask_group(&Command::Ask {
                attempt: id,
                claim,
                priority: 0,
            }),
            Message::Release(id, claim) => {
                self.ask_group(&Command::Release { attempt: id, claim });
                self.to_tasks.push_back(Message::Released(id, claim));
            }
            Message::Granted(id, claim) => {
                let grant = Task::GrantSlot {
                    attempt: id.number,
                    claim,
                    terms: self.terms(),
                };
                self.ask_task(index(id), &grant);
                let task = &self.tasks[index(id)];
                let claims = task.attempt == id.number
                    && task.traces().resumed == claim
                    && task.traces().claim.is_some();
                let over = task.traces().releasing.get(&id.number);
                // Whoever has no use for it says so.
                if !claims && over.is_none_or(|over| over.claim < claim) {
                    self.to_group.push_back(Message::Release(id, claim));
                }
            }
            Message::Released(id, claim) => {
                let attempt = id.number;
                self.ask_task(index(id), &Task::ReleaseSlot { attempt, claim });
            }
        }
    }

    fn check(&self) {
        let size = self.group.size.unwrap() as usize;
        assert!(self.group.holders.len() <= size, "{:?}", self.group);
        let used = self.tasks.iter().filter(|task| uses_slot(task)).count();
        assert!(used <= size, "{used} of {size}: {:?}", self.group);
    }

    /// Nothing is lost any more, and everything comes to its end.
    fn calm(&mut self) {
        for _ in 0..100 {
            for index in 0..self.tasks.len() {
                self.deed(index, Deed::Kill);
                self.deed(index, Deed::Succeed);
            }
            self.write();
            while let Some(message) = self.to_group.pop_front() {
                self.deliver(message);
            }
            while let Some(message) = self.to_tasks.pop_front() {
                self.deliver(message);
            }
            self.check();
        }
    }
}

fn pick(
    post: &mut VecDeque<Message>,
    which: usize,
    again: bool,
    in_order: bool,
) -> Option<Message> {
    if post.is_empty() {
        return None;
    }
    let which = if in_order { 0 } else { which % post.len() };
    if again {
        post.get(which).copied()
    } else {
        post.remove(which)
    }
}

/// It looks for a worker or has one, on the strength of a slot.
fn uses_slot(task: &TaskInstance) -> bool {
    match task.stage {
        Stage::Submitted | Stage::OnWorker { .. } => true,
        Stage::Absent
        | Stage::Delayed { .. }
        | Stage::WaitingSlot { .. }
        | Stage::OnEngine { .. }
        | Stage::Retrying { .. }
        | Stage::Paused
        | Stage::Succeeded { .. }
        | Stage::Failed { .. }
        | Stage::Killed { .. }
        | Stage::Lost { .. }
        | Stage::Replacing => false,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 500, ..ProptestConfig::default() })]

    #[test]
    fn slots_do_not_leak_whatever_the_post_does(
        size in 1..3_u32,
        tasks in 1..6_usize,
        in_order in any::<bool>(),
        moves in prop::collection::vec(some_move(), 1..200),
    ) {
        let mut world = World::new(size, tasks, in_order);
        for next in moves {
            world.take(next);
        }
        world.calm();
        prop_assert_eq!(world.group.holders.len(), 0, "{:?}", world.group);
        prop_assert_eq!(world.group.waiting().count(), 0, "{:?}", world.group);
        for task in &world.tasks {
            prop_assert!(task.traces().releasing.is_empty(), "{task:?}");
        }
    }
}
