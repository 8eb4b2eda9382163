//! The tasks of a run and how far the graph has come. Everything here is folded from the tasks' events;
//! one event costs the out-degree of its node at most.
//!
//! Every edge is decided once: by how its source ended, or by the fate of a source that is never run. A
//! node whose edges are all decided is run, or has a fate of its own.

use std::collections::{BTreeSet, VecDeque};

use crate::aggregate::{Aggregate, Corrupt};
use crate::params;
use crate::task_instance::{self, Output, Stage, TaskInstance, Work};
use crate::workflow_definition::{Graph, Node, TaskSpec, Workflow};
use crate::workflow_instance::{Depend, Scope, Tally};

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

/// How the incoming edges of a node that takes part were decided.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Edges {
    open: u32,
    passed: u32,
    skipped: u32,
    failed: u32,
    dead: u32,
}

/// How one edge was decided.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Edge {
    /// Its source ended well.
    Passed,
    /// Its source, or another branch of it, was not chosen.
    Skipped,
    /// Its source failed: nothing but a task that judges may follow.
    Failed,
    /// Its source was killed, or can never be run: nothing may follow.
    Dead,
}

/// What becomes of a node whose incoming edges are decided.
enum Fate {
    Run,
    PassOn(Edge),
}

/// How many nodes that take part are in which class.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Counts {
    selected: u32,
    /// Forbidden, or on a branch that was not chosen.
    aside: u32,
    waiting: u32,
    running: u32,
    dying: u32,
    paused: u32,
    succeeded: u32,
    failed: u32,
    handled: u32,
    killed: u32,
}

/// What kinds of node come after a node, seen through forbidden ones.
#[derive(Clone, Copy, Default)]
struct Successors {
    /// One that is there to judge it.
    judge: bool,
    /// One that is not.
    other: bool,
}

/// What a node means for the run.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
    Idle,
    /// Active, and nobody carries it out yet.
    Waiting,
    Running,
    /// Active, and somebody has asked for its end.
    Dying,
    Paused,
    Succeeded,
    Failed,
    Killed,
}

impl Class {
    fn of(task: &TaskInstance) -> Self {
        match &task.stage {
            Stage::Absent => Self::Idle,
            Stage::OnWorker { kill: Some(_), .. } | Stage::OnEngine { kill: Some(_), .. } => {
                Self::Dying
            }
            Stage::Delayed { .. }
            | Stage::WaitingSlot { .. }
            | Stage::Submitted
            | Stage::Retrying { .. }
            | Stage::OnEngine {
                work: Work::Check, ..
            } => Self::Waiting,
            // Its next child has not been started yet: that is waiting too.
            Stage::OnEngine {
                work: Work::Children { .. },
                ..
            } if task.running_children().next().is_none() => Self::Waiting,
            Stage::OnWorker { .. }
            | Stage::OnEngine {
                work: Work::Children { .. },
                ..
            }
            | Stage::Replacing => Self::Running,
            Stage::Paused => Self::Paused,
            Stage::Succeeded { .. } => Self::Succeeded,
            Stage::Failed { .. } | Stage::Lost { .. } => Self::Failed,
            Stage::Killed { .. } => Self::Killed,
        }
    }

    /// How the edges of a node that ended like this are decided; none while it may still end.
    fn edge(self) -> Option<Edge> {
        match self {
            Self::Succeeded => Some(Edge::Passed),
            Self::Failed => Some(Edge::Failed),
            Self::Killed => Some(Edge::Dead),
            Self::Idle | Self::Waiting | Self::Running | Self::Dying | Self::Paused => None,
        }
    }
}

impl Counts {
    fn of(&mut self, class: Class, handled: bool) -> Option<&mut u32> {
        match class {
            Class::Idle => None,
            Class::Waiting => Some(&mut self.waiting),
            Class::Running => Some(&mut self.running),
            Class::Dying => Some(&mut self.dying),
            Class::Paused => Some(&mut self.paused),
            Class::Succeeded => Some(&mut self.succeeded),
            Class::Failed if handled => Some(&mut self.handled),
            Class::Failed => Some(&mut self.failed),
            Class::Killed => Some(&mut self.killed),
        }
    }

    fn enter(&mut self, class: Class, handled: bool) {
        if let Some(count) = self.of(class, handled) {
            *count += 1;
        }
    }

    fn leave(&mut self, class: Class, handled: bool) {
        if let Some(count) = self.of(class, handled) {
            *count -= 1;
        }
    }
}

impl Edges {
    fn decide(&mut self, edge: Edge) {
        self.open -= 1;
        match edge {
            Edge::Passed => self.passed += 1,
            Edge::Skipped => self.skipped += 1,
            Edge::Failed => self.failed += 1,
            Edge::Dead => self.dead += 1,
        }
    }

    /// What becomes of the node, once no edge is open.
    fn fate(self, spec: &TaskSpec) -> Fate {
        let nothing_came = self.passed == 0 && self.failed == 0 && self.skipped > 0;
        if self.dead > 0 {
            Fate::PassOn(Edge::Dead)
        } else if nothing_came {
            Fate::PassOn(Edge::Skipped)
        } else if spec.policy.forbidden && self.failed > 0 {
            Fate::PassOn(Edge::Failed)
        } else if spec.policy.forbidden {
            Fate::PassOn(Edge::Passed)
        } else if self.failed > 0 && !spec.kind.judges() {
            Fate::PassOn(Edge::Dead)
        } else {
            Fate::Run
        }
    }
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

    /// What a node's predecessors hand to it, the earliest to end first. Forbidden ones are seen through.
    pub(super) fn handed_to(&self, flow: &Workflow, node: Node) -> Vec<Output> {
        let mut pools: Vec<(u32, &[Output])> = Vec::new();
        let mut seen = BTreeSet::new();
        let mut open: Vec<Node> = flow.graph().predecessors(node).to_vec();
        while let Some(before) = open.pop() {
            let state = &self.states[before as usize];
            if let Stage::Succeeded { var_pool, .. } = &state.task.stage {
                if !var_pool.is_empty() {
                    pools.push((state.order, var_pool));
                }
            } else if flow.spec().tasks[before as usize].policy.forbidden && seen.insert(before) {
                open.extend_from_slice(flow.graph().predecessors(before));
            }
        }
        pools.sort_unstable_by_key(|(order, _)| *order);
        pools.dedup_by_key(|(order, _)| *order);
        params::merge(pools.into_iter().map(|(_, pool)| pool))
    }

    /// What the last nodes of the run handed on: those after which nothing succeeded.
    pub(super) fn handed_out(&self, flow: &Workflow) -> Vec<Output> {
        let succeeded = |node: Node| {
            matches!(
                self.states[node as usize].task.stage,
                Stage::Succeeded { .. }
            )
        };
        let mut pools: Vec<(u32, &[Output])> = Vec::new();
        for (node, state) in self.states.iter().enumerate() {
            if let Stage::Succeeded { var_pool, .. } = &state.task.stage
                && !var_pool.is_empty()
                && !flow
                    .graph()
                    .successors(node as Node)
                    .iter()
                    .any(|&next| succeeded(next))
            {
                pools.push((state.order, var_pool));
            }
        }
        pools.sort_unstable_by_key(|(order, _)| *order);
        params::merge(pools.into_iter().map(|(_, pool)| pool))
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

    /// Nodes that take no part this time and ended badly before: their attempts still count.
    pub(super) fn left_bad(&self) -> (u32, u32) {
        if self.counts.selected as usize == self.states.len() {
            return (0, 0);
        }
        let mut bad = (0, 0);
        for state in self.states.iter().filter(|state| !state.selected) {
            let class = Class::of(&state.task);
            if class == Class::Failed && !state.handled {
                bad.0 += 1;
            } else if class == Class::Killed {
                bad.1 += 1;
            }
        }
        bad
    }

    pub(super) fn tally(&self, flow: &Workflow) -> Tally {
        let counts = &self.counts;
        let (failed, killed) = self.left_bad();
        let begun = counts.succeeded + counts.failed + counts.handled + counts.killed;
        Tally {
            succeeded: counts.succeeded + counts.handled + counts.aside,
            failed: counts.failed + failed,
            killed: counts.killed + killed,
            paused: counts.paused,
            unstarted: counts
                .selected
                .saturating_sub(begun + counts.paused + counts.aside),
            first_problem: if counts.failed + counts.killed + failed + killed > 0 {
                self.first_problem(flow)
            } else {
                String::new()
            },
            var_pool: self.handed_out(flow),
        }
    }

    fn first_problem(&self, flow: &Workflow) -> String {
        let problems = self.states.iter().enumerate().filter_map(|(node, state)| {
            let what = match &state.task.stage {
                Stage::Failed { reason } if !state.handled => format!("failed: {reason}"),
                Stage::Killed { reason } => format!("was killed: {reason}"),
                Stage::Lost { reason } if !state.handled => format!("was lost: {reason}"),
                Stage::Failed { .. }
                | Stage::Lost { .. }
                | Stage::Absent
                | Stage::Delayed { .. }
                | Stage::WaitingSlot { .. }
                | Stage::Submitted
                | Stage::OnWorker { .. }
                | Stage::OnEngine { .. }
                | Stage::Retrying { .. }
                | Stage::Paused
                | Stage::Succeeded { .. }
                | Stage::Replacing => return None,
            };
            Some((state.order, node, what))
        });
        let first = problems.min_by_key(|(order, ..)| *order);
        first.map_or_else(String::new, |(_, node, what)| {
            format!("task \"{}\" {what}", flow.spec().tasks[node].name)
        })
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
