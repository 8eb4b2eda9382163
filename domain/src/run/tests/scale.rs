//! Large graphs, moved through whole. What is counted is work, never time.

use std::collections::VecDeque;

use super::*;

/// Runs everything that becomes ready, and counts the facts of each task's end beside its own.
fn run_through(tasks: Vec<TaskSpec>) -> Counted {
    let mut run = Run::new(InstanceId(1_000), workflow(tasks));
    let begin = run
        .handle(&Command::Submit(Arc::new(submission())), at(0))
        .unwrap();
    let mut counted = Counted::default();
    let mut queue = VecDeque::new();
    counted.see(&begin, &mut queue);
    while let Some(code) = queue.pop_front() {
        let ask = Command::Task {
            task: code,
            command: TaskCommand::RequestDispatch {
                worker: worker("w"),
            },
        };
        let asked = run.handle(&ask, at(0)).unwrap();
        counted.see(&asked, &mut queue);
        let end = Command::Task {
            task: code,
            command: TaskCommand::Report {
                attempt: 1,
                worker: worker("w"),
                word: Word::Finished(report(Outcome::Success)),
            },
        };
        let ended = run.handle(&end, at(0)).unwrap();
        counted.see(&ended, &mut queue);
    }
    assert_eq!(run.workflow().state(), Some(WorkflowState::Success));
    assert_eq!(run.obligations().count(), 0);
    counted
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Counted {
    /// Commands after the start.
    commands: usize,
    facts: usize,
    /// The most facts that one command brought about.
    most: usize,
}

impl Counted {
    fn see(&mut self, steps: &[Step], queue: &mut VecDeque<TaskCode>) {
        self.commands += 1;
        self.facts += steps.len();
        self.most = self.most.max(steps.len());
        for step in steps {
            if let Fact::Task(id, TaskEvent::Submitted { .. }) = &step.fact {
                queue.push_back(id.task);
            }
        }
    }
}

fn names(from: usize, to: usize) -> Vec<String> {
    (from..to).map(|n| n.to_string()).collect()
}

/// Of the catalogue of failures: A1.
#[test]
fn a_chain_of_ten_thousand_costs_four_facts_a_task() {
    let mut tasks = vec![task("0", &[])];
    tasks.extend((1..10_000).map(|n| task(&n.to_string(), &[&(n - 1).to_string()])));
    assert_eq!(
        run_through(tasks),
        Counted {
            commands: 20_001,
            facts: 4 * 10_000 + 3,
            most: 3,
        }
    );
}

/// Of the catalogue of failures: B42.
#[test]
fn a_fan_of_ten_thousand_costs_four_facts_a_task() {
    let leaves = names(0, 10_000);
    let leaf_names: Vec<&str> = leaves.iter().map(String::as_str).collect();
    let mut tasks = vec![task("source", &[])];
    tasks.extend(leaf_names.iter().map(|name| task(name, &["source"])));
    tasks.push(task("sink", &leaf_names));
    assert_eq!(
        run_through(tasks),
        Counted {
            commands: 20_005,
            facts: 4 * 10_002 + 3,
            most: 10_002,
        }
    );
}

#[test]
fn a_mesh_of_a_hundred_layers_of_a_hundred_costs_four_facts_a_task() {
    assert_eq!(
        run_through(mesh(false)),
        Counted {
            commands: 20_001,
            facts: 4 * 10_000 + 3,
            most: 102,
        }
    );
}

#[test]
fn a_failure_in_a_fan_of_ten_thousand_ends_every_one_of_them() {
    let leaves = names(0, 10_000);
    let mut world = World::that_ends(leaves.iter().map(|name| task(name, &[])).collect());
    world.run_on_worker("1");
    let told = world.fail("0");
    // 0: dispatched and finished; 1: to be killed; the others: finished.
    assert_eq!(told.len(), 2 + 1 + 9_998);
    assert_eq!(world.to_kill(), ["1"]);
    world.end("1", Outcome::Kill);
    world.ended(WorkflowState::Failure);
}

/// A hundred layers of a hundred, each node after all of the layer before.
fn mesh(forbidden: bool) -> Vec<TaskSpec> {
    let mut tasks: Vec<TaskSpec> = names(0, 100).iter().map(|name| task(name, &[])).collect();
    for layer in 1..100 {
        let before = names((layer - 1) * 100, layer * 100);
        let before: Vec<&str> = before.iter().map(String::as_str).collect();
        let here = names(layer * 100, (layer + 1) * 100);
        tasks.extend(here.iter().map(|name| task(name, &before)));
    }
    for spec in &mut tasks {
        spec.policy.forbidden = forbidden;
    }
    tasks
}

#[test]
fn a_mesh_of_forbidden_tasks_is_seen_through_edge_by_edge_and_not_path_by_path() {
    let mut tasks = mesh(true);
    tasks.push(task("last", &["9900", "9901"]));
    assert_eq!(
        run_through(tasks),
        Counted {
            commands: 3,
            facts: 7,
            most: 3,
        }
    );
}

#[test]
fn a_rerun_of_ten_thousand_costs_one_more_fact_a_task() {
    let leaves = names(0, 10_000);
    let mut world = World::of(leaves.iter().map(|name| task(name, &[])).collect());
    world.stop();
    world.ended(WorkflowState::Stop);
    // Each is invalidated and submitted; the run is restarted and started.
    assert_eq!(world.rerun().len(), 2 * 10_000 + 2);
}

#[test]
fn a_pause_of_ten_thousand_pauses_each_of_them_once() {
    let leaves = names(0, 10_000);
    let mut world = World::of(leaves.iter().map(|name| task(name, &[])).collect());
    assert_eq!(world.pause().len(), 10_000 + 2);
    assert_eq!(world.resume().len(), 10_000 + 2);
}
