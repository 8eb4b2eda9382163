//! The tasks of a run and how far the graph has come. Everything here is folded from the tasks' events;
//! one event costs the out-degree of its node at most.
//!
//! Every edge is decided once: by how its source ended, or by the fate of a source that is never run. A
//! node whose edges are all decided is run, or has a fate of its own.

mod class;
mod edges;
mod outcome;

use std::collections::VecDeque;

use self::class::{Class, Counts};
use self::edges::{Edge, Edges, Fate};
use crate::aggregate::{Aggregate, Corrupt};
use crate::task_instance::{self, Stage, TaskInstance};
use crate::workflow_definition::{Graph, Node, Workflow};
use crate::workflow_instance::{Depend, Scope};

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Nodes {
    states: Vec<NodeState>,
    counts: Counts,
    /// Nodes that are to be run and have not been submitted yet, in the order in which that came about.
    /// Part of the fold like everything here: a run that was read from the log is equal to the one that
    /// wrote it.
    ready: VecDeque<Node>,
    /// How many nodes have ended so far: the order in which they did.
    ended: u32,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct NodeState {
    task: TaskInstance,
    /// How many events the task instance's stream has.
    sequence: u64,
    /// It takes part in this run.
    selected: bool,
    /// A failure of it is what its successors are there for.
    handled: bool,
    /// How its incoming edges were decided.
    edges: Edges,
    /// Its outgoing edges are decided.
    passed_on: bool,
    /// When it ended, relative to the others.
    order: u32,
}

/// What kinds of node come after a node, seen through forbidden ones.
#[derive(Clone, Copy, Default)]
struct Successors {
    /// One that is there to judge it.
    judge: bool,
    /// One that is not.
    other: bool,
}

impl Nodes {
    pub(super) fn new(len: usize) -> Self {
        Self {
            states: vec![NodeState::default(); len],
            counts: Counts::default(),
            ready: VecDeque::new(),
            ended: 0,
        }
    }

    pub(super) fn task(&self, node: Node) -> &TaskInstance {
        &self.states[node as usize].task
    }

    pub(super) fn sequence(&self, node: Node) -> u64 {
        self.states[node as usize].sequence
    }

    pub(super) fn takes_part(&self, node: Node) -> bool {
        self.states[node as usize].selected
    }

    /// Failed, and no other task is there to deal with it.
    pub(super) fn failed_for_good(&self, node: Node) -> bool {
        let state = &self.states[node as usize];
        Class::of(&state.task) == Class::Failed && !state.handled
    }

    /// The nodes that a scope names.
    pub(super) fn chosen(graph: &Graph, scope: &Scope) -> Vec<bool> {
        if scope.start_nodes.is_empty() {
            return vec![true; graph.len()];
        }
        let start: Vec<Node> = scope
            .start_nodes
            .iter()
            .filter_map(|code| graph.node(*code))
            .collect();
        match scope.depend {
            Depend::TaskOnly => graph.reach(&start, |_, _| &[]),
            Depend::TaskPre => graph.reach(&start, Graph::predecessors),
            Depend::TaskPost => graph.reach(&start, Graph::successors),
        }
    }

    /// Decides anew which nodes take part, and every edge, from how the nodes are. Costs the whole graph:
    /// for a beginning, and for the rare changes that go back.
    pub(super) fn recompute(&mut self, flow: &Workflow, scope: &Scope) {
        let graph = flow.graph();
        let chosen = Self::chosen(graph, scope);
        self.counts = Counts::default();
        self.ready.clear();
        for node in 0..graph.len() as Node {
            let open = graph
                .predecessors(node)
                .iter()
                .filter(|&&before| chosen[before as usize])
                .count();
            let state = &mut self.states[node as usize];
            state.selected = chosen[node as usize];
            state.passed_on = false;
            state.edges = Edges {
                open: open as u32,
                ..Edges::default()
            };
        }
        let handled = self.handled(flow);
        for (state, handled) in self.states.iter_mut().zip(handled) {
            state.handled = handled;
            if state.selected {
                self.counts.selected += 1;
                self.counts.enter(Class::of(&state.task), handled);
            }
        }
        for node in 0..graph.len() as Node {
            let state = &self.states[node as usize];
            if state.selected
                && graph
                    .predecessors(node)
                    .iter()
                    .all(|&n| !chosen[n as usize])
            {
                self.reach(flow, node);
            }
        }
    }

    /// For each node, whether all who come after it, seen through forbidden ones, are there to judge it.
    /// Goes from the last nodes to the first, so that each edge is looked at once.
    fn handled(&self, flow: &Workflow) -> Vec<bool> {
        let graph = flow.graph();
        let mut after = vec![Successors::default(); graph.len()];
        let mut undecided: Vec<usize> = (0..graph.len() as Node)
            .map(|node| graph.successors(node).len())
            .collect();
        let mut open: Vec<Node> = (0..graph.len() as Node)
            .filter(|&node| undecided[node as usize] == 0)
            .collect();
        while let Some(node) = open.pop() {
            let spec = &flow.spec().tasks[node as usize];
            let state = &self.states[node as usize];
            let seen = if !state.selected && matches!(state.task.stage, Stage::Absent) {
                Successors::default()
            } else if spec.policy.forbidden {
                after[node as usize]
            } else {
                let judge = spec.kind.judges();
                Successors {
                    judge,
                    other: !judge,
                }
            };
            for &before in graph.predecessors(node) {
                after[before as usize].judge |= seen.judge;
                after[before as usize].other |= seen.other;
                undecided[before as usize] -= 1;
                if undecided[before as usize] == 0 {
                    open.push(before);
                }
            }
        }
        after.iter().map(|seen| seen.judge && !seen.other).collect()
    }

    pub(super) fn evolve(
        &mut self,
        flow: &Workflow,
        node: Node,
        event: &task_instance::Event,
        sequence: u64,
    ) -> Result<Change, Corrupt> {
        let state = &mut self.states[node as usize];
        // A node that takes no part is not begun, but what it had begun before may still come to an end.
        let begins = matches!(event, task_instance::Event::Submitted { .. });
        if sequence != state.sequence + 1 || (begins && !state.selected) {
            return Err(Corrupt {
                state: format!(
                    "task event {} (takes part: {})",
                    state.sequence, state.selected
                ),
                event: format!("task event {sequence}"),
            });
        }
        let before = Class::of(&state.task);
        state.task = std::mem::take(&mut state.task).evolve(event)?;
        state.sequence = sequence;
        let after = Class::of(&state.task);
        if before == after {
            return Ok(Change::Forward);
        }
        if let Some(edge) = after.edge() {
            self.ended += 1;
            state.order = self.ended;
            if state.selected && !state.passed_on {
                self.count(node, before, after);
                self.pass_on(flow, node, edge);
                return Ok(Change::Forward);
            }
        }
        self.count(node, before, after);
        if before == Class::Idle {
            self.leave_ready(node);
        }
        Ok(if before.edge().is_some() {
            Change::Backward
        } else {
            Change::Forward
        })
    }

    fn count(&mut self, node: Node, before: Class, after: Class) {
        let state = &self.states[node as usize];
        if state.selected {
            self.counts.leave(before, state.handled);
            self.counts.enter(after, state.handled);
        }
    }

    /// Decides the outgoing edges of a node, and what follows from that.
    fn pass_on(&mut self, flow: &Workflow, node: Node, edge: Edge) {
        let mut open = VecDeque::from([(node, edge)]);
        while let Some((node, edge)) = open.pop_front() {
            self.states[node as usize].passed_on = true;
            for &next in flow.graph().successors(node) {
                if !self.states[next as usize].selected {
                    continue;
                }
                let edge = self.edge(flow, node, next, edge);
                let state = &mut self.states[next as usize];
                state.edges.decide(edge);
                if state.edges.open == 0 {
                    open.extend(self.reached(flow, next).map(|edge| (next, edge)));
                }
            }
        }
    }

    /// A node none of whose incoming edges is open.
    fn reach(&mut self, flow: &Workflow, node: Node) {
        if let Some(edge) = self.reached(flow, node) {
            self.pass_on(flow, node, edge);
        }
    }

    /// Answers how the node's own edges are decided, if they are decided already.
    fn reached(&mut self, flow: &Workflow, node: Node) -> Option<Edge> {
        let spec = &flow.spec().tasks[node as usize];
        let state = &self.states[node as usize];
        let class = Class::of(&state.task);
        if class != Class::Idle {
            return class.edge();
        }
        match state.edges.fate(spec) {
            Fate::Run => {
                self.ready.push_back(node);
                None
            }
            Fate::PassOn(edge) => {
                if spec.policy.forbidden || edge == Edge::Skipped {
                    self.counts.aside += 1;
                }
                Some(edge)
            }
        }
    }

    /// One edge of a node whose edges are decided: a task that chooses passes on to its choice only.
    fn edge(&self, flow: &Workflow, node: Node, next: Node, edge: Edge) -> Edge {
        let tasks = &flow.spec().tasks;
        let Stage::Succeeded {
            branches: Some(chosen),
            ..
        } = &self.states[node as usize].task.stage
        else {
            return edge;
        };
        let target = &tasks[next as usize];
        let a_branch = tasks[node as usize]
            .kind
            .targets()
            .iter()
            .any(|(_, name)| *name == target.name);
        if a_branch && !chosen.contains(&target.code) {
            Edge::Skipped
        } else {
            edge
        }
    }

    /// The next node to submit. Submitting it takes it off the list, so this is a look at the front; whoever
    /// asks in a loop must never be told of a node that submitting does not move.
    pub(super) fn next_ready(&self) -> Option<Node> {
        let mut ready = self.ready.iter().copied();
        ready.find(|&node| matches!(self.task(node).stage, Stage::Absent))
    }

    /// Active nodes whose end nobody has asked for.
    pub(super) fn not_dying(&self) -> Vec<Node> {
        if self.counts.waiting + self.counts.running == 0 {
            return Vec::new();
        }
        self.of_class(|class| matches!(class, Class::Waiting | Class::Running))
    }

    /// Active nodes that nobody carries out yet.
    pub(super) fn waiting(&self) -> Vec<Node> {
        if self.counts.waiting == 0 {
            return Vec::new();
        }
        self.of_class(|class| class == Class::Waiting)
    }

    pub(super) fn paused(&self) -> Vec<Node> {
        if self.counts.paused == 0 {
            return Vec::new();
        }
        self.of_class(|class| class == Class::Paused)
    }

    fn of_class(&self, wanted: impl Fn(Class) -> bool) -> Vec<Node> {
        let all = 0..self.states.len() as Node;
        all.filter(|&node| self.takes_part(node) && wanted(Class::of(self.task(node))))
            .collect()
    }

    /// Nothing is active: no attempt is open, and none is due.
    pub(super) fn is_still(&self) -> bool {
        self.counts.waiting == 0 && self.counts.running == 0 && self.counts.dying == 0
    }

    /// A node failed, and no other task is there to deal with it.
    pub(super) fn any_failed(&self) -> bool {
        self.counts.failed > 0
    }

    /// Nodes are submitted in the order of the list, so this is a look at its front; a log written by
    /// another order is still read right.
    fn leave_ready(&mut self, node: Node) {
        if self.ready.front() == Some(&node) {
            self.ready.pop_front();
        } else {
            self.ready.retain(|&other| other != node);
        }
        // A run that waits keeps no room for what is to come.
        if self.ready.is_empty() {
            self.ready = VecDeque::new();
        }
    }
}

/// What an event meant for the graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// It went on, or stood still.
    Forward,
    /// An end was taken back: the edges have to be decided anew.
    Backward,
}
