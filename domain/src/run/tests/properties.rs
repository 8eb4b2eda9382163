//! What holds for every graph, every order and every fault.

mod flows;
mod watched;

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::id::WorkerRef;
use crate::workflow_definition::Execution;
use flows::some_start;
use watched::{Turn, Watched, some_turn};

/// The tasks that a scope names, by another way than the run's: round after round over all edges.
fn chosen(flow: &Workflow, scope: &Scope) -> BTreeSet<TaskCode> {
    let tasks = &flow.spec().tasks;
    if scope.start_nodes.is_empty() {
        return tasks.iter().map(|spec| spec.code).collect();
    }
    let known = |code: &&TaskCode| flow.graph().node(**code).is_some();
    let mut chosen: BTreeSet<TaskCode> = scope.start_nodes.iter().filter(known).copied().collect();
    for _ in tasks {
        for (node, spec) in tasks.iter().enumerate() {
            for &before in flow.graph().predecessors(node as Node) {
                let before = tasks[before as usize].code;
                if scope.depend == Depend::TaskPost && chosen.contains(&before) {
                    chosen.insert(spec.code);
                }
                if scope.depend == Depend::TaskPre && chosen.contains(&spec.code) {
                    chosen.insert(before);
                }
            }
        }
    }
    chosen
}

/// What has been read of the log.
#[derive(Default)]
struct Audit {
    sequences: BTreeMap<crate::fact::StreamId, u64>,
    submitted: BTreeSet<(TaskCode, u32)>,
    ended: BTreeSet<(TaskCode, u32)>,
    /// Attempts that have not ended, and failed ones that are to be followed by another.
    open: BTreeMap<TaskCode, u32>,
    due: BTreeSet<TaskCode>,
    /// Tasks whose newest attempt is to be followed by another: it failed within its budget, was lost, or
    /// somebody wants it run again.
    again: BTreeSet<TaskCode>,
    chosen: BTreeSet<TaskCode>,
}

impl Audit {
    fn read(&mut self, flow: &Workflow, step: &Step) {
        let last = self.sequences.entry(step.fact.stream()).or_insert(0);
        *last += 1;
        assert_eq!(step.sequence, *last, "each stream is gapless");
        match &step.fact {
            Fact::Workflow(_, workflow_instance::Event::Submitted(asked)) => {
                self.chosen = chosen(flow, &asked.scope);
            }
            Fact::Workflow(_, workflow_instance::Event::Restarted { scope, .. }) => {
                self.chosen = chosen(flow, scope);
            }
            Fact::Task(id, event) => self.read_task(flow, id.task, event),
            Fact::Workflow(..)
            | Fact::Definition(..)
            | Fact::Trigger(..)
            | Fact::TaskGroup(..)
            | Fact::SerialQueue(..)
            | Fact::Environment(..) => {}
        }
    }

    fn read_task(&mut self, flow: &Workflow, task: TaskCode, event: &TaskEvent) {
        match event {
            TaskEvent::Submitted { attempt, .. } => {
                assert!(self.submitted.insert((task, *attempt)), "submitted twice");
                assert_eq!(
                    self.again.remove(&task),
                    *attempt > 1,
                    "{task}: attempt {attempt} follows from nothing"
                );
                assert_eq!(self.open.insert(task, *attempt), None, "two open attempts");
                self.due.remove(&task);
                assert!(self.chosen.contains(&task), "{task} takes no part");
                let node = flow.graph().node(task).unwrap();
                for &before in flow.graph().predecessors(node) {
                    let before = flow.spec().tasks[before as usize].code;
                    let settled = !self.open.contains_key(&before) && !self.due.contains(&before);
                    assert!(
                        settled || !self.chosen.contains(&before),
                        "{before} had not ended"
                    );
                }
            }
            TaskEvent::Finished {
                attempt, retry_at, ..
            } => {
                self.end(task, *attempt);
                if retry_at.is_some() {
                    self.due.insert(task);
                    self.again.insert(task);
                }
            }
            TaskEvent::Lost {
                attempt, replaced, ..
            } => {
                self.end(task, *attempt);
                if *replaced {
                    self.again.insert(task);
                }
            }
            TaskEvent::RetryAbandoned { .. } | TaskEvent::SuccessForced { .. } => {
                self.due.remove(&task);
                self.again.remove(&task);
            }
            // What was paused has not ended; it may be forgotten all the same.
            TaskEvent::Invalidated { .. } => {
                self.open.remove(&task);
                self.again.insert(task);
            }
            TaskEvent::LateReported { .. } | TaskEvent::SlotReleased { .. } => {}
            TaskEvent::DelayPassed { attempt, .. }
            | TaskEvent::SlotGranted { attempt, .. }
            | TaskEvent::DispatchRequested { attempt, .. }
            | TaskEvent::DispatchFailed { attempt, .. }
            | TaskEvent::Dispatched { attempt }
            | TaskEvent::Adopted { attempt, .. }
            | TaskEvent::Started { attempt, .. }
            | TaskEvent::Engaged { attempt, .. }
            | TaskEvent::ChildStarted { attempt, .. }
            | TaskEvent::ChildEnded { attempt, .. }
            | TaskEvent::TimedOut { attempt, .. }
            | TaskEvent::KillRequested { attempt, .. }
            | TaskEvent::Paused { attempt, .. }
            | TaskEvent::Resumed { attempt, .. } => {
                assert_eq!(
                    self.open.get(&task),
                    Some(attempt),
                    "only the valid one moves"
                );
            }
        }
    }

    fn end(&mut self, task: TaskCode, attempt: u32) {
        assert!(self.ended.insert((task, attempt)), "ended twice");
        assert_eq!(self.open.remove(&task), Some(attempt));
    }
}

/// What is true of the whole log.
fn audit(world: &World) {
    let (once, twice) = (world.reread(), world.reread());
    assert_eq!(once, world.run);
    assert_eq!(once, twice);
    assert!(
        once.obligations().eq(world.run.obligations()),
        "whoever reads it owes what was owed, and nothing else"
    );
    let mut audit = Audit::default();
    for step in &world.log {
        audit.read(world.run.definition(), step);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 300, ..ProptestConfig::default() })]

    /// Of the catalogue of failures: A6, B14, B64b, B66, A0-37, A3-45, H-15.
    #[test]
    fn i3_i6_i8_a_run_ends_and_its_log_makes_sense_whatever_happens_to_it(
        (flow, submission) in some_start(false),
        turns in prop::collection::vec(some_turn(), 0..80),
    ) {
        let mut watched = Watched::new(World::run_of(flow, submission));
        for turn in &turns {
            watched.take(turn);
        }
        watched.calm();
        prop_assert!(watched.world.run.is_at_rest());
        audit(&watched.world);
        let end = watched.world.log.len();
        for command in watched.said.clone() {
            // Reports, clocks, stops: whatever does not ask for a new beginning.
            let begins = matches!(command, Command::Restart { .. });
            let forces = matches!(
                command,
                Command::Task { command: TaskCommand::ForceSuccess { .. }, .. }
            );
            if !begins && !forces {
                watched.ask(command);
            }
        }
        let after: Vec<_> = watched.world.log[end..].iter().map(|step| step.fact.event_type()).collect();
        prop_assert!(after.iter().all(|event| *event == "late_reported"), "{:?} after the end", after);
    }

    #[test]
    fn without_faults_every_run_is_a_success_and_every_chosen_task_runs_once(
        (flow, submission) in some_start(true),
        order in prop::collection::vec(any::<usize>(), 0..100),
    ) {
        let chosen = chosen(&flow, &submission.scope);
        let mut watched = Watched::new(World::run_of(flow, submission));
        for which in order {
            let ready = watched.world.find_worker();
            if ready.is_empty() { break; }
            watched.world.succeed(&ready[which % ready.len()]);
        }
        watched.calm();
        watched.world.ended(WorkflowState::Success);
        for spec in &watched.world.run.definition().spec().tasks {
            let expected = usize::from(chosen.contains(&spec.code));
            prop_assert_eq!(watched.world.submissions(&spec.name), expected);
        }
        audit(&watched.world);
    }

    #[test]
    fn issue_15575_16937_a_run_that_was_paused_anywhere_and_resumed_ends_as_one_that_was_not(
        (flow, submission) in some_start(true),
        before in 0..10_usize,
    ) {
        let run = |pauses: bool| {
            let mut watched = Watched::new(World::run_of(flow.clone(), submission.clone()));
            for _ in 0..before {
                if let Some(name) = watched.world.find_worker().first() {
                    watched.world.succeed(&name.clone());
                }
            }
            if pauses {
                watched.take(&Turn::Pause);
                watched.calm();
                watched.take(&Turn::Restart(Restart::RecoverSuspendedProcess, None));
            }
            watched.calm();
            watched.world
        };
        let (calm, paused) = (run(false), run(true));
        calm.ended(WorkflowState::Success);
        paused.ended(WorkflowState::Success);
        for spec in &flow.spec().tasks {
            prop_assert_eq!(calm.submissions(&spec.name), paused.submissions(&spec.name));
        }
    }
}
