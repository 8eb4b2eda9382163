//! The shape of a checked workflow: who comes before whom, by dense index, so that advancing a run costs
//! the out-degree of the finished node and nothing else.

use std::collections::HashMap;

use crate::id::TaskCode;

/// A node's index: its place in [`super::WorkflowSpec::tasks`].
pub type Node = u32;

/// A directed graph without cycles.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Graph {
    successors: Vec<Vec<Node>>,
    predecessors: Vec<Vec<Node>>,
    by_code: HashMap<TaskCode, Node>,
}

impl Graph {
    /// Only [`super::Workflow::check`] makes one, after it has seen that there is no cycle.
    pub(super) fn new(codes: impl Iterator<Item = TaskCode>, predecessors: Vec<Vec<Node>>) -> Self {
        let mut successors = vec![Vec::new(); predecessors.len()];
        for (node, before) in predecessors.iter().enumerate() {
            for &earlier in before {
                successors[earlier as usize].push(node as Node);
            }
        }
        let by_code = codes
            .enumerate()
            .map(|(node, code)| (code, node as Node))
            .collect();
        Self {
            successors,
            predecessors,
            by_code,
        }
    }

    /// How many nodes there are.
    pub fn len(&self) -> usize {
        self.successors.len()
    }

    /// There are none.
    pub fn is_empty(&self) -> bool {
        self.successors.is_empty()
    }

    /// Those that wait for this node.
    pub fn successors(&self, node: Node) -> &[Node] {
        &self.successors[node as usize]
    }

    /// Those that this node waits for.
    pub fn predecessors(&self, node: Node) -> &[Node] {
        &self.predecessors[node as usize]
    }

    /// The node of this code.
    pub fn node(&self, code: TaskCode) -> Option<Node> {
        self.by_code.get(&code).copied()
    }

    /// Marks `from` and everything that `next` leads to from there.
    pub fn reach<'a>(
        &'a self,
        from: &[Node],
        next: impl Fn(&'a Self, Node) -> &'a [Node],
    ) -> Vec<bool> {
        let mut reached = vec![false; self.len()];
        let mut open = from.to_vec();
        while let Some(node) = open.pop() {
            if !std::mem::replace(&mut reached[node as usize], true) {
                open.extend_from_slice(next(self, node));
            }
        }
        reached
    }
}
