//! What holds for every graph, every order and every fault.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::testing::reborn;

/// A graph, and what somebody asked for.
fn some_start() -> impl Strategy<Value = (Vec<TaskSpec>, Submission)> {
    (1..8_usize).prop_flat_map(|size| {
        let edges = prop::collection::vec(prop::bool::weighted(0.4), size * size);
        let retries = prop::collection::vec(0..3_u32, size);
        let start = prop::collection::btree_set(0..size, 0..2);
        let depend =
            prop::sample::select(vec![Depend::TaskOnly, Depend::TaskPre, Depend::TaskPost]);
        (
            edges,
            retries,
            start,
            depend,
            any::<bool>(),
            prop::bool::weighted(0.1),
        )
            .prop_map(move |(edges, retries, start, depend, end, dry_run)| {
                let name = |node: usize| format!("t{node}");
                let tasks = (0..size).map(|node| {
                    let before: Vec<String> = (0..node)
                        .filter(|other| edges[node * size + other])
                        .map(name)
                        .collect();
                    let before: Vec<&str> = before.iter().map(String::as_str).collect();
                    retried(&name(node), &before, retries[node])
                });
                let submission = Submission {
                    failure: if end {
                        FailureStrategy::End
                    } else {
                        FailureStrategy::Continue
                    },
                    start_nodes: start
                        .into_iter()
                        .map(|n| TaskCode::of_name(&name(n)))
                        .collect(),
                    depend,
                    dry_run,
                    ..submission()
                };
                (tasks.collect(), submission)
            })
    })
}

/// What the pretend world does next; the numbers choose among what there is.
#[derive(Clone, Debug)]
enum Turn {
    /// Somebody meets an obligation, in one of the ways in which it can be met.
    Meet(usize, usize),
    /// Something that was said before is said again.
    Repeat(usize),
    /// A worker speaks of an attempt, whether it has it or not.
    Claim(usize, u32, usize, usize),
    /// A worker dies.
    Die(usize),
    /// Somebody kills a task.
    Kill(usize),
    /// Somebody stops the run.
    Stop,
    /// The engine dies, and another one reads the log.
    TakeOver,
}

fn some_turn() -> impl Strategy<Value = Turn> {
    prop_oneof![
        20 => (any::<usize>(), any::<usize>()).prop_map(|(which, how)| Turn::Meet(which, how)),
        4 => any::<usize>().prop_map(Turn::Repeat),
        4 => (any::<usize>(), 1..4_u32, any::<usize>(), any::<usize>())
            .prop_map(|(task, attempt, by, word)| Turn::Claim(task, attempt, by, word)),
        2 => any::<usize>().prop_map(Turn::Die),
        1 => any::<usize>().prop_map(Turn::Kill),
        1 => Just(Turn::Stop),
        1 => Just(Turn::TakeOver),
    ]
}

fn some_worker(choice: usize) -> WorkerRef {
    reborn(["a", "b"][choice % 2], 1 + (choice / 2 % 2) as u32)
}

fn some_word(choice: usize) -> Word {
    match choice % 8 {
        0 => Word::Accepted,
        1 => Word::Refused("full".to_owned()),
        2 => Word::Started(start()),
        3 => Word::Finished(report(Outcome::Kill)),
        4 | 5 => Word::Finished(report(Outcome::Failure)),
        _ => Word::Finished(report(Outcome::Success)),
    }
}

/// The world with a memory of what was said, and an eye on every decision.
struct Watched {
    world: World,
    said: Vec<Command>,
}

impl Watched {
    fn take(&mut self, turn: &Turn) {
        let tasks = self.world.run.definition().spec().tasks.clone();
        let code = |choice: usize| tasks[choice % tasks.len()].code;
        match *turn {
            Turn::Meet(which, how) => {
                let owed: Vec<_> = self.world.run.obligations().collect();
                if !owed.is_empty() {
                    let (task, obligation) = owed[which % owed.len()].clone();
                    self.meet(task, &obligation, how);
                }
            }
            Turn::Repeat(which) => {
                if !self.said.is_empty() {
                    let command = self.said[which % self.said.len()].clone();
                    self.ask(command);
                }
            }
            Turn::Claim(task, attempt, by, word) => self.ask(Command::Report {
                task: code(task),
                attempt,
                worker: some_worker(by),
                word: some_word(word),
            }),
            Turn::Die(which) => {
                for task in &tasks {
                    self.ask(Command::LoseWorker {
                        task: task.code,
                        worker: some_worker(which),
                        reason: "its lease ran out".to_owned(),
                    });
                }
            }
            Turn::Kill(task) => self.ask(Command::KillTask {
                task: code(task),
                reason: "alice asked".to_owned(),
            }),
            Turn::Stop => self.ask(Command::Stop {
                reason: "alice asked".to_owned(),
            }),
            Turn::TakeOver => self.world.run = self.world.reread(),
        }
    }

    fn meet(&mut self, task: TaskCode, obligation: &Obligation, how: usize) {
        match obligation {
            Obligation::FindWorker { .. } => self.ask(Command::RequestDispatch {
                task,
                worker: some_worker(how),
            }),
            Obligation::Send { attempt, worker } | Obligation::Watch { attempt, worker } => {
                self.ask(Command::Report {
                    task,
                    attempt: *attempt,
                    worker: worker.clone(),
                    word: some_word(how),
                });
            }
            Obligation::Kill { attempt, worker } => self.ask(Command::Report {
                task,
                attempt: *attempt,
                worker: worker.clone(),
                word: Word::Finished(report(Outcome::Kill)),
            }),
            Obligation::Retry { due } => {
                self.world.now = self.world.now.max(*due);
                self.ask(Command::RetryDue { task });
            }
        }
    }

    fn ask(&mut self, command: Command) {
        let before = self.world.run.clone();
        if self.world.try_ask(&command).is_err() {
            assert_eq!(self.world.run, before, "refused, yet changed: {command:?}");
        } else {
            let after = self.world.run.clone();
            if let Ok(told) = self.world.try_ask(&command) {
                assert_eq!(told, [""; 0], "twice: {command:?}");
            }
            assert_eq!(self.world.run, after);
        }
        self.said.push(command);
        check(&self.world);
    }
}

/// What is true after every decision.
fn check(world: &World) {
    let run = &world.run;
    let tasks = &run.definition().spec().tasks;
    let active = tasks
        .iter()
        .filter(|spec| run.task(spec.code).unwrap().is_active())
        .count();
    assert_eq!(
        run.has_ended(),
        active == 0,
        "a run goes on while something is active, and never without"
    );
    assert_eq!(run.obligations().next().is_none(), run.has_ended());
}

/// The tasks that take part, by another way than the run's: round after round over all edges.
fn chosen(world: &World) -> BTreeSet<TaskCode> {
    let submission = world.run.workflow().submission.clone().unwrap();
    let tasks = &world.run.definition().spec().tasks;
    if submission.start_nodes.is_empty() {
        return tasks.iter().map(|spec| spec.code).collect();
    }
    let mut chosen: BTreeSet<TaskCode> = submission.start_nodes.iter().copied().collect();
    for _ in tasks {
        for spec in tasks {
            for before in &spec.depends_on {
                let before = TaskCode::of_name(before);
                if submission.depend == Depend::TaskPost && chosen.contains(&before) {
                    chosen.insert(spec.code);
                }
                if submission.depend == Depend::TaskPre && chosen.contains(&spec.code) {
                    chosen.insert(before);
                }
            }
        }
    }
    chosen
}

/// What is true of the whole log.
fn audit(world: &World) {
    assert_eq!(world.reread(), world.run);
    let mut sequences = BTreeMap::new();
    let mut submitted = BTreeSet::new();
    let mut succeeded = BTreeSet::new();
    let mut ended = BTreeSet::new();
    let mut open: BTreeMap<TaskCode, u32> = BTreeMap::new();
    let graph = world.run.definition().graph();
    let chosen = chosen(world);
    for step in &world.log {
        let last = sequences.entry(step.fact.stream()).or_insert(0);
        *last += 1;
        assert_eq!(step.sequence, *last, "each stream is gapless");
        let Fact::Task(id, event) = &step.fact else {
            continue;
        };
        match event {
            TaskEvent::Submitted { attempt, .. } => {
                assert!(submitted.insert((id.task, *attempt)), "submitted twice");
                assert_eq!(open.insert(id.task, *attempt), None, "two open attempts");
                let node = graph.node(id.task).unwrap();
                for &before in graph.predecessors(node) {
                    let code = world.run.definition().spec().tasks[before as usize].code;
                    assert!(
                        succeeded.contains(&code) || !chosen.contains(&code),
                        "{code} had not succeeded"
                    );
                }
            }
            TaskEvent::Finished {
                attempt, outcome, ..
            } => {
                assert!(ended.insert((id.task, *attempt)), "ended twice");
                assert_eq!(open.remove(&id.task), Some(*attempt));
                if *outcome == Outcome::Success {
                    assert!(succeeded.insert(id.task));
                }
            }
            TaskEvent::Lost { attempt, .. } => {
                assert!(ended.insert((id.task, *attempt)), "ended twice");
                assert_eq!(open.remove(&id.task), Some(*attempt));
            }
            TaskEvent::DispatchRequested { attempt, .. }
            | TaskEvent::DispatchFailed { attempt, .. }
            | TaskEvent::Dispatched { attempt }
            | TaskEvent::Adopted { attempt, .. }
            | TaskEvent::Started { attempt, .. }
            | TaskEvent::KillRequested { attempt, .. } => {
                assert_eq!(
                    open.get(&id.task),
                    Some(attempt),
                    "only the valid attempt moves"
                );
            }
            TaskEvent::RetryAbandoned { .. } | TaskEvent::LateReported { .. } => {}
        }
    }
}

/// The faults stop: whatever is owed is met, and the run must end.
fn calm(watched: &mut Watched) {
    let most = 20 * (watched.world.run.definition().graph().len() + 1);
    for _ in 0..most {
        let owed: Vec<_> = watched.world.run.obligations().collect();
        // The last obligation of a task is the one that brings it nearer to its end.
        let Some((task, obligation)) = owed.last() else {
            return;
        };
        watched.meet(*task, obligation, 7);
    }
    panic!("it never ends: {:?}", watched.world.run);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn a_run_ends_and_its_log_makes_sense_whatever_happens_to_it(
        (tasks, submission) in some_start(),
        turns in prop::collection::vec(some_turn(), 0..60),
    ) {
        let mut watched = Watched { world: World::start(tasks, submission), said: vec![] };
        check(&watched.world);
        for turn in &turns {
            watched.take(turn);
        }
        calm(&mut watched);
        prop_assert!(watched.world.run.has_ended());
        audit(&watched.world);
        let end = watched.world.log.len();
        for command in watched.said.clone() {
            watched.ask(command);
        }
        let after: Vec<_> = watched.world.log[end..].iter().map(|step| step.fact.event_type()).collect();
        prop_assert!(after.iter().all(|event| *event == "late_reported"), "{:?} after the end", after);
    }

    #[test]
    fn without_faults_every_run_is_a_success_and_every_chosen_task_runs_once(
        (tasks, submission) in some_start(),
        order in prop::collection::vec(any::<usize>(), 0..100),
    ) {
        let mut watched = Watched { world: World::start(tasks, submission), said: vec![] };
        for which in order {
            let ready = watched.world.find_worker();
            if ready.is_empty() { break; }
            watched.world.succeed(&ready[which % ready.len()]);
        }
        calm(&mut watched);
        watched.world.ended(WorkflowState::Success);
        for spec in &watched.world.run.definition().spec().tasks {
            let expected = usize::from(chosen(&watched.world).contains(&spec.code));
            prop_assert_eq!(watched.world.submissions(&spec.name), expected);
        }
        audit(&watched.world);
    }
}
