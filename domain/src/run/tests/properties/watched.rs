//! A pretend world that does anything at any time, with an eye on every decision.

use super::*;
use crate::task_instance::Stage as TaskStage;
use crate::testing::reborn;
use crate::workflow_definition::Verdict;
use crate::workflow_instance::{Obligation as Whole, Stage};

/// What the pretend world does next; the numbers choose among what there is.
#[derive(Clone, Debug)]
pub(super) enum Turn {
    /// Somebody meets an obligation, in one of the ways in which it can be met.
    Meet(usize, usize),
    /// A run that runs on behalf of a task ends.
    EndChild(usize, usize),
    /// Something that was said before is said again.
    Repeat(usize),
    /// A worker speaks of an attempt, whether it has it or not.
    Claim(usize, u32, usize, usize),
    /// A worker dies.
    Die(usize),
    /// A slot is granted or taken back that nobody asked about.
    Slot(usize, u32, bool),
    /// Somebody kills a task.
    Kill(usize),
    /// Somebody lets a task count as a success.
    Force(usize),
    /// Somebody pauses the run.
    Pause,
    /// Somebody stops the run.
    Stop,
    /// Somebody makes the run go on or begin again.
    Restart(Restart, Option<Scope>),
    /// The engine dies, and another one reads the log.
    TakeOver,
}

pub(super) fn some_turn() -> impl Strategy<Value = Turn> {
    let number = any::<usize>;
    let restarts = prop::sample::select(vec![
        Restart::RepeatRunning,
        Restart::RecoverSuspendedProcess,
        Restart::StartFailureTaskProcess,
    ]);
    prop_oneof![
        24 => (number(), number()).prop_map(|(which, how)| Turn::Meet(which, how)),
        3 => (number(), number()).prop_map(|(which, how)| Turn::EndChild(which, how)),
        4 => number().prop_map(Turn::Repeat),
        4 => (number(), 1..4_u32, number(), number())
            .prop_map(|(task, attempt, by, word)| Turn::Claim(task, attempt, by, word)),
        2 => number().prop_map(Turn::Die),
        1 => (number(), 1..4_u32, any::<bool>())
            .prop_map(|(task, attempt, grant)| Turn::Slot(task, attempt, grant)),
        1 => number().prop_map(Turn::Kill),
        1 => number().prop_map(Turn::Force),
        1 => Just(Turn::Pause),
        1 => Just(Turn::Stop),
        3 => restarts.prop_map(|restart| Turn::Restart(restart, None)),
        1 => flows::some_scope(7)
            .prop_map(|scope| Turn::Restart(Restart::ExecuteTask, Some(scope))),
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

fn some_end(choice: usize) -> WorkflowState {
    let ends = [
        WorkflowState::Failure,
        WorkflowState::Stop,
        WorkflowState::Pause,
        WorkflowState::Block,
    ];
    *ends.get(choice % 8).unwrap_or(&WorkflowState::Success)
}

/// The world with a memory of what was said.
pub(super) struct Watched {
    pub(super) world: World,
    pub(super) said: Vec<Command>,
    /// How many runs on behalf of others there have been.
    children: u64,
}

impl Watched {
    pub(super) fn new(world: World) -> Self {
        check(&world);
        Self {
            world,
            said: vec![],
            children: 0,
        }
    }

    pub(super) fn take(&mut self, turn: &Turn) {
        let tasks = self.world.run.definition().spec().tasks.clone();
        let code = |choice: usize| tasks[choice % tasks.len()].code;
        match turn {
            Turn::Meet(which, how) => {
                let owed: Vec<_> = self.world.run.obligations().collect();
                if !owed.is_empty() {
                    self.meet(&owed[which % owed.len()], *how);
                }
            }
            Turn::EndChild(which, how) => {
                let running = self.children();
                if !running.is_empty() {
                    let (task, index, instance) = running[which % running.len()];
                    self.end_child(task, index, instance, some_end(*how));
                }
            }
            Turn::Repeat(which) => {
                if !self.said.is_empty() {
                    let command = self.said[which % self.said.len()].clone();
                    self.ask(command);
                }
            }
            Turn::Claim(task, attempt, by, word) => {
                let word = TaskCommand::Report {
                    attempt: *attempt,
                    worker: some_worker(*by),
                    word: some_word(*word),
                };
                self.ask_task(code(*task), word);
            }
            Turn::Die(which) => {
                for task in &tasks {
                    let lose = TaskCommand::LoseWorker {
                        worker: some_worker(*which),
                        reason: "its lease ran out".to_owned(),
                        failovers: 1,
                    };
                    self.ask_task(task.code, lose);
                }
            }
            Turn::Slot(task, attempt, grant) => {
                let attempt = *attempt;
                let word = if *grant {
                    TaskCommand::GrantSlot { attempt, claim: 0 }
                } else {
                    TaskCommand::ReleaseSlot { attempt, claim: 0 }
                };
                self.ask_task(code(*task), word);
            }
            Turn::Kill(task) => {
                let reason = "alice asked".to_owned();
                self.ask_task(code(*task), TaskCommand::Kill { reason });
            }
            Turn::Force(task) => {
                let reason = "alice asked".to_owned();
                self.ask_task(code(*task), TaskCommand::ForceSuccess { reason });
            }
            Turn::Pause => self.ask(Command::Pause {
                reason: "alice asked".to_owned(),
            }),
            Turn::Stop => self.ask(Command::Stop {
                reason: "alice asked".to_owned(),
            }),
            Turn::Restart(restart, scope) => self.ask(Command::Restart {
                restart: *restart,
                scope: scope.clone(),
                reason: "alice asked".to_owned(),
            }),
            Turn::TakeOver => self.world.run = self.world.reread(),
        }
    }

    fn children(&self) -> Vec<(TaskCode, u32, InstanceId)> {
        let run = &self.world.run;
        let tasks = run.definition().spec().tasks.iter().map(|spec| spec.code);
        tasks
            .flat_map(|code| {
                let children = run.task(code).unwrap().traces().children.iter();
                let running = children.filter(|(_, child)| child.state.is_none());
                running.map(move |(&index, child)| (code, index, child.instance))
            })
            .collect()
    }

    fn end_child(
        &mut self,
        task: TaskCode,
        index: u32,
        instance: InstanceId,
        state: WorkflowState,
    ) {
        let end = ChildEnd {
            index,
            instance,
            state,
            declared: vec![],
            others: vec![],
        };
        self.ask_task(task, TaskCommand::EndChild(end));
    }

    /// A child does as it is told, or ends well.
    fn obey(&mut self, (task, index, instance): (TaskCode, u32, InstanceId)) {
        let orders = self.world.run.child_orders(task);
        let order = orders.into_iter().find(|(child, _)| *child == instance);
        let state = match order {
            Some((_, ChildOrder::Stop(_))) => WorkflowState::Stop,
            Some((_, ChildOrder::Pause(_))) => WorkflowState::Pause,
            Some((_, ChildOrder::Wake(_))) | None => WorkflowState::Success,
        };
        self.end_child(task, index, instance, state);
    }

    fn meet(&mut self, owed: &Obligation, how: usize) {
        match owed {
            Obligation::Run(owed) => self.meet_whole(owed, how),
            Obligation::Task(task, owed) => self.meet_task(*task, owed, how),
        }
    }

    fn meet_whole(&mut self, owed: &Whole, how: usize) {
        match owed {
            Whole::AskTurn { run_times } => {
                let answer = if how.is_multiple_of(8) {
                    TurnAnswer::Refused {
                        reason: "an earlier run has not ended".to_owned(),
                    }
                } else {
                    TurnAnswer::Granted
                };
                let run_times = *run_times;
                self.ask(Command::Turn { run_times, answer });
            }
            Whole::ReleaseTurn { run_times } => self.ask(Command::Turn {
                run_times: *run_times,
                answer: TurnAnswer::Released,
            }),
            Whole::Wake { at } => {
                self.world.now = self.world.now.max(*at);
                self.ask(Command::Wake);
            }
            Whole::Tell { number, .. } => self.ask(Command::SettleAlert {
                number: *number,
                reason: String::new(),
            }),
        }
    }

    fn meet_task(&mut self, task: TaskCode, owed: &Owed, how: usize) {
        let word = |attempt: u32, worker: &WorkerRef, word: Word| TaskCommand::Report {
            attempt,
            worker: worker.clone(),
            word,
        };
        let answer = match owed {
            Owed::FindWorker { .. } => TaskCommand::RequestDispatch {
                worker: some_worker(how),
            },
            Owed::Send { attempt, worker } | Owed::Watch { attempt, worker } => {
                word(*attempt, worker, some_word(how))
            }
            Owed::Kill { attempt, worker } => {
                word(*attempt, worker, Word::Finished(report(Outcome::Kill)))
            }
            Owed::Wake { at } => {
                self.world.now = self.world.now.max(*at);
                TaskCommand::Wake
            }
            Owed::AskSlot { attempt, claim, .. } => TaskCommand::GrantSlot {
                attempt: *attempt,
                claim: *claim,
            },
            Owed::ReleaseSlot { attempt, claim, .. } => TaskCommand::ReleaseSlot {
                attempt: *attempt,
                claim: *claim,
            },
            Owed::StartChild { attempt, index } => {
                self.children += 1;
                TaskCommand::StartChild {
                    attempt: *attempt,
                    index: *index,
                    instance: InstanceId(1_000 + 1_000 * self.children),
                }
            }
            Owed::Check { attempt } => TaskCommand::Check {
                attempt: *attempt,
                verdicts: vec![match how % 4 {
                    0 => Verdict::Waiting,
                    1 => Verdict::Fails,
                    _ => Verdict::Holds,
                }],
            },
        };
        self.ask_task(task, answer);
    }

    fn ask_task(&mut self, task: TaskCode, command: TaskCommand) {
        self.ask(Command::Task { task, command });
    }

    /// Asks, and asks again: a refusal changes nothing, and neither does the second time. Only a run that
    /// ended in the same breath can be made to begin again.
    pub(super) fn ask(&mut self, command: Command) {
        let before = self.world.run.clone();
        if self.world.try_ask(&command).is_err() {
            assert_eq!(self.world.run, before, "refused, yet changed: {command:?}");
        } else if !matches!(command, Command::Restart { .. }) {
            let after = self.world.run.clone();
            if let Ok(told) = self.world.try_ask(&command) {
                assert_eq!(told, [""; 0], "twice: {command:?}");
            }
            assert_eq!(self.world.run, after);
        }
        assert_eq!(
            self.world.run.clone().settle(self.world.now),
            Ok(vec![]),
            "something was left undone after {command:?}"
        );
        self.said.push(command);
        check(&self.world);
    }

    /// The faults stop: whatever is owed is met, and the run must end and owe nothing.
    pub(super) fn calm(&mut self) {
        let most = 60 * (self.world.run.definition().graph().len() + 1);
        for _ in 0..most {
            if let Some(&child) = self.children().first() {
                self.obey(child);
                continue;
            }
            let owed: Vec<_> = self.world.run.obligations().collect();
            // The last obligation of a task is the one that brings it nearer to its end.
            match owed.last() {
                Some(owed) => self.meet(owed, 7),
                None => return,
            }
        }
        panic!("it never ends: {:?}", self.world.run);
    }
}

fn is_active(stage: &TaskStage) -> bool {
    match stage {
        TaskStage::Delayed { .. }
        | TaskStage::WaitingSlot { .. }
        | TaskStage::Submitted
        | TaskStage::OnWorker { .. }
        | TaskStage::OnEngine { .. }
        | TaskStage::Retrying { .. }
        | TaskStage::Replacing => true,
        TaskStage::Absent
        | TaskStage::Paused
        | TaskStage::Succeeded { .. }
        | TaskStage::Failed { .. }
        | TaskStage::Killed { .. }
        | TaskStage::Lost { .. } => false,
    }
}

/// What is true after every decision.
fn check(world: &World) {
    let run = &world.run;
    let tasks = &run.definition().spec().tasks;
    let active = tasks
        .iter()
        .filter(|spec| is_active(&run.task(spec.code).unwrap().stage))
        .count();
    let queued = matches!(run.workflow().stage, Stage::Queued);
    assert_eq!(
        run.has_ended() || queued,
        active == 0,
        "a run goes on while something is active, and never without: {run:?}"
    );
    let owed: Vec<_> = run.obligations().collect();
    if run.has_ended() {
        let lasts = owed.iter().all(|owed| {
            matches!(
                owed,
                Obligation::Run(Whole::ReleaseTurn { .. } | Whole::Tell { .. })
                    | Obligation::Task(_, Owed::ReleaseSlot { .. })
            )
        });
        assert!(lasts, "an ended run owes more: {owed:?}");
    } else {
        let children = tasks
            .iter()
            .any(|spec| run.task(spec.code).unwrap().running_children().count() > 0);
        assert!(!owed.is_empty() || children, "nobody moves it on: {run:?}");
    }
}
