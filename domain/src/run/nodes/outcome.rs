//! What nodes hand to each other, and what a run comes to.

use std::collections::BTreeSet;

use super::Nodes;
use super::class::Class;
use crate::params;
use crate::task_instance::{Output, Stage};
use crate::workflow_definition::{Node, Workflow};
use crate::workflow_instance::Tally;

impl Nodes {
    /// What a node's predecessors hand to it, the earliest to end first. Forbidden ones are seen through.
    pub(in crate::run) fn handed_to(&self, flow: &Workflow, node: Node) -> Vec<Output> {
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
    pub(in crate::run) fn handed_out(&self, flow: &Workflow) -> Vec<Output> {
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

    /// Nodes that take no part this time and ended badly before: their attempts still count.
    pub(in crate::run) fn left_bad(&self) -> (u32, u32) {
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

    pub(in crate::run) fn tally(&self, flow: &Workflow) -> Tally {
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
}
