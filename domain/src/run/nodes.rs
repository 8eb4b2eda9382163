//! The tasks of a run and how far the graph has come. Everything here is folded from the tasks' events;
//! one event costs the out-degree of its node at most.

use std::collections::VecDeque;

use crate::aggregate::{Aggregate, Corrupt};
use crate::params;
use crate::task_instance::{self, Outcome, Output, Stage, TaskInstance};
use crate::workflow_definition::{Graph, Node};
use crate::workflow_instance::{Depend, Submission, Tally};

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Nodes {
    states: Vec<NodeState>,
    counts: Counts,
    /// Nodes whose predecessors have all succeeded and that have not been submitted yet, in the order in
    /// which that came about. Part of the fold like everything here: a run that was read from the log
    /// is equal to the one that wrote it.
    ready: VecDeque<Node>,
    /// How many nodes have succeeded so far: the order in which they did.
    successes: u32,
    /// The first node that did not end well, and what happened to it.
    first_problem: Option<(Node, String)>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct NodeState {
    task: TaskInstance,
    /// How many events the task instance's stream has.
    sequence: u64,
    /// It takes part in this run.
    selected: bool,
    /// How many of its predecessors have not succeeded yet.
    waits_for: u32,
    /// When it succeeded, relative to the others.
    success: u32,
    /// What it hands to its successors.
    var_pool: Vec<Output>,
}

/// How many nodes are in which class.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Counts {
    selected: u32,
    active: u32,
    dying: u32,
    succeeded: u32,
    failed: u32,
    killed: u32,
}

/// What a node means for the run.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
    Idle,
    Active,
    /// Active, and somebody has asked for its end.
    Dying,
    Succeeded,
    Failed,
    Killed,
}

impl Class {
    fn of(stage: &Stage) -> Self {
        match stage {
            Stage::Absent => Self::Idle,
            Stage::OnWorker { kill: Some(_), .. } => Self::Dying,
            Stage::Submitted | Stage::OnWorker { .. } | Stage::Retrying { .. } => Self::Active,
            Stage::Succeeded { .. } => Self::Succeeded,
            Stage::Failed | Stage::Lost => Self::Failed,
            Stage::Killed => Self::Killed,
        }
    }
}

impl Counts {
    fn of(&mut self, class: Class) -> Option<&mut u32> {
        match class {
            Class::Idle => None,
            Class::Active => Some(&mut self.active),
            Class::Dying => Some(&mut self.dying),
            Class::Succeeded => Some(&mut self.succeeded),
            Class::Failed => Some(&mut self.failed),
            Class::Killed => Some(&mut self.killed),
        }
    }

    fn change(&mut self, from: Class, to: Class) {
        if let Some(count) = self.of(from) {
            *count -= 1;
        }
        if let Some(count) = self.of(to) {
            *count += 1;
        }
    }
}

impl Nodes {
    pub(super) fn new(len: usize) -> Self {
        Self {
            states: vec![NodeState::default(); len],
            counts: Counts::default(),
            ready: VecDeque::new(),
            successes: 0,
            first_problem: None,
        }
    }

    pub(super) fn task(&self, node: Node) -> &TaskInstance {
        &self.states[node as usize].task
    }

    pub(super) fn sequence(&self, node: Node) -> u64 {
        self.states[node as usize].sequence
    }

    pub(super) fn tasks(&self) -> impl Iterator<Item = &TaskInstance> {
        self.states.iter().map(|node| &node.task)
    }

    /// Chooses the nodes that take part, and finds the ones that wait for nobody.
    pub(super) fn select(&mut self, graph: &Graph, submission: &Submission) {
        let all = 0..graph.len() as Node;
        let chosen = if submission.start_nodes.is_empty() {
            vec![true; graph.len()]
        } else {
            let start: Vec<Node> = submission
                .start_nodes
                .iter()
                .filter_map(|code| graph.node(*code))
                .collect();
            match submission.depend {
                Depend::TaskOnly => graph.reach(&start, |_, _| &[]),
                Depend::TaskPre => graph.reach(&start, Graph::predecessors),
                Depend::TaskPost => graph.reach(&start, Graph::successors),
            }
        };
        for node in all {
            let waits_for = graph
                .predecessors(node)
                .iter()
                .filter(|&&before| chosen[before as usize])
                .count();
            let state = &mut self.states[node as usize];
            state.selected = chosen[node as usize];
            state.waits_for = waits_for as u32;
            if state.selected {
                self.counts.selected += 1;
                if waits_for == 0 {
                    self.ready.push_back(node);
                }
            }
        }
    }

    pub(super) fn evolve(
        &mut self,
        graph: &Graph,
        node: Node,
        event: &task_instance::Event,
        sequence: u64,
    ) -> Result<(), Corrupt> {
        let state = &mut self.states[node as usize];
        if sequence != state.sequence + 1 || !state.selected {
            return Err(Corrupt {
                state: format!(
                    "task event {} (takes part: {})",
                    state.sequence, state.selected
                ),
                event: format!("task event {sequence}"),
            });
        }
        let before = Class::of(&state.task.stage);
        state.task = std::mem::take(&mut state.task).evolve(event)?;
        state.sequence = sequence;
        let after = Class::of(&state.task.stage);
        self.counts.change(before, after);
        if before == Class::Idle && after != Class::Idle {
            self.leave_ready(node);
        }
        if before != after {
            match after {
                Class::Succeeded => self.succeed(graph, node),
                Class::Failed | Class::Killed => self.note_problem(node, event),
                Class::Active
                    if self
                        .first_problem
                        .as_ref()
                        .is_some_and(|(first, _)| *first == node) =>
                {
                    self.first_problem = None;
                }
                Class::Idle | Class::Active | Class::Dying => {}
            }
        }
        Ok(())
    }

    /// What a node's predecessors hand to it, the earliest to succeed first.
    pub(super) fn handed_to(&self, graph: &Graph, node: Node) -> Vec<Output> {
        let mut before: Vec<&NodeState> = graph
            .predecessors(node)
            .iter()
            .map(|&node| &self.states[node as usize])
            .filter(|state| !state.var_pool.is_empty())
            .collect();
        before.sort_unstable_by_key(|state| state.success);
        params::merge(before.into_iter().map(|state| state.var_pool.as_slice()))
    }

    /// The next node to submit. Submitting it takes it off the list, so this is a look at the front; whoever
    /// asks in a loop must never be told of a node that submitting does not move.
    pub(super) fn next_ready(&self) -> Option<Node> {
        let mut ready = self.ready.iter().copied();
        ready.find(|&node| matches!(self.task(node).stage, Stage::Absent))
    }

    /// Active nodes whose end nobody has asked for.
    pub(super) fn not_dying(&self) -> Vec<Node> {
        if self.counts.active == 0 {
            return Vec::new();
        }
        let all = 0..self.states.len() as Node;
        all.filter(|&node| Class::of(&self.task(node).stage) == Class::Active)
            .collect()
    }

    /// Nothing is active: no attempt is open, and none is due.
    pub(super) fn is_still(&self) -> bool {
        self.counts.active == 0 && self.counts.dying == 0
    }

    pub(super) fn any_failed(&self) -> bool {
        self.counts.failed > 0
    }

    pub(super) fn tally<'a>(&self, name: impl Fn(Node) -> &'a str) -> Tally {
        let ended = self.counts.succeeded + self.counts.failed + self.counts.killed;
        Tally {
            succeeded: self.counts.succeeded,
            failed: self.counts.failed,
            killed: self.counts.killed,
            unstarted: self.counts.selected - ended,
            first_problem: self
                .first_problem
                .as_ref()
                .map_or_else(String::new, |(node, what)| {
                    format!("task \"{}\" {what}", name(*node))
                }),
        }
    }

    /// Nodes are submitted in the order of the list, so this is a look at its front; a log written by
    /// another order is still read right.
    fn leave_ready(&mut self, node: Node) {
        if self.ready.front() == Some(&node) {
            self.ready.pop_front();
        } else {
            self.ready.retain(|&other| other != node);
        }
    }

    fn succeed(&mut self, graph: &Graph, node: Node) {
        let handed = self.handed_to(graph, node);
        self.successes += 1;
        let state = &mut self.states[node as usize];
        state.success = self.successes;
        if let Stage::Succeeded { outputs } = &state.task.stage {
            state.var_pool = params::pass_on(handed, outputs);
        }
        for &successor in graph.successors(node) {
            let state = &mut self.states[successor as usize];
            state.waits_for = state.waits_for.saturating_sub(1);
            if state.selected && state.waits_for == 0 {
                self.ready.push_back(successor);
            }
        }
    }

    fn note_problem(&mut self, node: Node, event: &task_instance::Event) {
        let what = match event {
            task_instance::Event::Finished {
                outcome: Outcome::Kill,
                reason,
                ..
            } => format!("was killed: {reason}"),
            task_instance::Event::Finished { reason, .. } => format!("failed: {reason}"),
            task_instance::Event::Lost { reason, .. } => format!("was lost: {reason}"),
            task_instance::Event::RetryAbandoned { reason, .. } => {
                format!("failed and was not retried: {reason}")
            }
            task_instance::Event::Submitted { .. }
            | task_instance::Event::DispatchRequested { .. }
            | task_instance::Event::DispatchFailed { .. }
            | task_instance::Event::Dispatched { .. }
            | task_instance::Event::Adopted { .. }
            | task_instance::Event::Started { .. }
            | task_instance::Event::KillRequested { .. }
            | task_instance::Event::LateReported { .. } => return,
        };
        self.first_problem.get_or_insert((node, what));
    }
}
