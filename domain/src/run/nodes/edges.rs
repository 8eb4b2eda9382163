//! Edges: each is decided once, and what they were decided to be says what becomes of a node.

use crate::workflow_definition::TaskSpec;

/// How the incoming edges of a node that takes part were decided.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Edges {
    pub(super) open: u32,
    pub(super) passed: u32,
    pub(super) skipped: u32,
    pub(super) failed: u32,
    pub(super) dead: u32,
}

/// How one edge was decided.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Edge {
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
pub(super) enum Fate {
    Run,
    PassOn(Edge),
}

impl Edges {
    pub(super) fn decide(&mut self, edge: Edge) {
        self.open -= 1;
        match edge {
            Edge::Passed => self.passed += 1,
            Edge::Skipped => self.skipped += 1,
            Edge::Failed => self.failed += 1,
            Edge::Dead => self.dead += 1,
        }
    }

    /// What becomes of the node, once no edge is open.
    pub(super) fn fate(self, spec: &TaskSpec) -> Fate {
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
