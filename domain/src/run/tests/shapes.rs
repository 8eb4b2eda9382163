//! How a run moves through its graph.

use super::*;

#[test]
fn a_chain_runs_link_by_link() {
    let mut world = World::of(vec![task("a", &[]), task("b", &["a"]), task("c", &["b"])]);
    assert_eq!(world.find_worker(), ["a"]);
    assert_eq!(
        world.succeed("a"),
        ["a dispatched", "a finished", "b submitted"]
    );
    assert_eq!(world.state(), WorkflowState::RunningExecution);
    world.succeed("b");
    assert_eq!(
        world.succeed("c"),
        ["c dispatched", "c finished", "run finished"]
    );
    world.ended(WorkflowState::Success);
    assert_eq!(world.reason(), "");
}

/// Of the catalogue of failures: B30.
#[test]
fn asking_for_a_run_begins_it_in_one_breath() {
    let world = World::of(diamond());
    let told: Vec<String> = world
        .log
        .iter()
        .map(|step| world.tell(&step.fact))
        .collect();
    assert_eq!(told, ["run submitted", "run started", "top submitted"]);
    let sequences: Vec<u64> = world.log.iter().map(|step| step.sequence).collect();
    assert_eq!(sequences, [1, 2, 1], "each stream counts for itself");
}

/// Of the catalogue of failures: B38.
#[test]
fn a_run_is_asked_for_once_however_often_it_is_asked_for() {
    let mut world = World::of(diamond());
    assert_eq!(world.ask(&Command::Submit(Arc::new(submission()))), [""; 0]);
    world.succeed("top");
    assert_eq!(world.ask(&Command::Submit(Arc::new(submission()))), [""; 0]);
}

/// Of the catalogue of failures: A22.
#[test]
fn a_join_waits_for_all_its_branches() {
    let mut world = World::of(diamond());
    assert_eq!(
        world.succeed("top"),
        [
            "top dispatched",
            "top finished",
            "left submitted",
            "right submitted"
        ]
    );
    world.succeed("right");
    assert_eq!(world.find_worker(), ["left"]);
    assert_eq!(world.task_state("bottom"), None);
    world.succeed("left");
    world.succeed("bottom");
    world.ended(WorkflowState::Success);
}

/// Of the catalogue of failures: B55, A3-25.
#[test]
fn under_continue_a_failed_branch_lets_the_others_end_and_its_join_never_starts() {
    for failed_first in [true, false] {
        let mut world = World::of(vec![
            task("top", &[]),
            task("left", &["top"]),
            task("right", &["top"]),
            task("after_right", &["right"]),
            task("bottom", &["left", "after_right"]),
        ]);
        world.succeed("top");
        if failed_first {
            world.fail("left");
        }
        world.succeed("right");
        if !failed_first {
            world.fail("left");
        }
        assert_eq!(world.state(), WorkflowState::RunningExecution);
        world.succeed("after_right");
        world.ended(WorkflowState::Failure);
        assert_eq!(world.task_state("bottom"), None);
        assert_eq!(world.reason(), "task \"left\" failed: exit code 1");
    }
}

/// Of the catalogue of failures: A2, B55, A3-26.
#[test]
fn under_end_a_failed_branch_kills_its_siblings_wherever_they_are() {
    let mut world = World::that_ends(vec![
        task("fails", &[]),
        task("queued", &[]),
        task("asked", &[]),
        task("dispatched", &[]),
        task("running", &[]),
        retried("retrying", &[], 3),
        task("done", &[]),
        task("later", &["running"]),
    ]);
    world.succeed("done");
    world.dispatch("asked");
    world.dispatch("dispatched");
    world.say("dispatched", Word::Accepted);
    world.run_on_worker("running");
    world.fail("retrying");
    assert_eq!(
        world.fail("fails"),
        [
            "fails dispatched",
            "fails finished",
            "queued finished",
            "asked kill_requested",
            "dispatched kill_requested",
            "running kill_requested",
            "retrying retry_abandoned",
        ]
    );
    assert_eq!(world.state(), WorkflowState::RunningExecution);
    assert_eq!(world.to_kill(), ["asked", "dispatched", "running"]);
    assert_eq!(world.find_worker(), [""; 0]);
    world.say("asked", Word::Refused("full".to_owned()));
    world.end("dispatched", Outcome::Kill);
    // It was faster than the kill, but what comes after it does not start any more.
    world.succeed("running");
    world.ended(WorkflowState::Failure);
    assert_eq!(world.task_state("later"), None);
    assert_eq!(world.reason(), "task \"fails\" failed: exit code 1");
}

/// Of the catalogue of failures: A20.
#[test]
fn the_first_problem_is_what_a_run_names_as_its_reason() {
    let mut world = World::of(vec![task("a", &[]), task("b", &[]), task("c", &[])]);
    world.succeed("c");
    world.fail("b");
    world.fail("a");
    world.ended(WorkflowState::Failure);
    assert_eq!(world.reason(), "task \"b\" failed: exit code 1");
}

/// Of the catalogue of failures: A21, B58, A3-23, H-12.
#[test]
fn a_task_is_retried_until_its_budget_is_used_up() {
    let mut world = World::of(vec![retried("a", &[], 2), task("b", &["a"])]);
    for (attempt, due) in [(1, 10), (2, 20)] {
        assert_eq!(world.attempt("a"), attempt);
        assert_eq!(world.fail("a"), ["a dispatched", "a finished"]);
        assert_eq!(world.state(), WorkflowState::RunningExecution);
        assert_eq!(world.wake("a", due - 1), [""; 0]);
        assert_eq!(world.wake("a", due), ["a submitted"]);
        assert_eq!(world.wake("a", due), [""; 0], "a timer may ring twice");
    }
    assert_eq!(
        world.fail("a"),
        ["a dispatched", "a finished", "run finished"]
    );
    world.ended(WorkflowState::Failure);
    assert_eq!(world.submissions("a"), 3);
}

#[test]
fn a_retry_that_succeeds_leaves_no_trace_on_the_run() {
    for failure in [FailureStrategy::Continue, FailureStrategy::End] {
        let mut world = World::start(
            vec![retried("a", &[], 1), task("b", &["a"]), task("c", &[])],
            Submission {
                failure,
                ..submission()
            },
        );
        world.fail("a");
        world.wake("a", 10);
        world.succeed("a");
        world.succeed("c");
        world.succeed("b");
        world.ended(WorkflowState::Success);
        assert_eq!(world.reason(), "");
    }
}

/// `1->3->5`, `2->4->5`, and 3 fails: the graph whose runs never ended elsewhere (#18131, #18318, #18406).
fn the_graph_that_hung() -> Vec<TaskSpec> {
    vec![
        task("1", &[]),
        task("2", &[]),
        task("3", &["1"]),
        task("4", &["2"]),
        task("5", &["3", "4"]),
    ]
}

#[test]
fn issue_18131_18318_18406_a_join_behind_a_failed_node_does_not_hold_the_run() {
    let orders = [
        ["1", "2", "3", "4"],
        ["1", "2", "4", "3"],
        ["2", "1", "3", "4"],
        ["2", "1", "4", "3"],
        ["1", "3", "2", "4"],
        ["2", "4", "1", "3"],
    ];
    for order in orders {
        let mut world = World::of(the_graph_that_hung());
        for name in order {
            assert!(!world.run.has_ended(), "{order:?} before {name}");
            if name == "3" {
                world.fail(name);
            } else {
                world.succeed(name);
            }
        }
        world.ended(WorkflowState::Failure);
        assert_eq!(world.submissions("5"), 0);
    }
}

#[test]
fn issue_18131_18318_18406_under_end_the_run_ends_as_soon_as_what_runs_is_dead() {
    // 4 has not begun, is queued, runs, or has ended when 3 fails.
    for (before, killed) in [
        (&["1"][..], &[][..]),
        (&["1", "2"], &[]),
        (&["1", "2", "run 4"], &["4"]),
        (&["1", "2", "4"], &[]),
    ] {
        let mut world = World::that_ends(the_graph_that_hung());
        for step in before {
            match step.strip_prefix("run ") {
                Some(name) => world.run_on_worker(name),
                None => {
                    world.succeed(step);
                }
            }
        }
        world.fail("3");
        assert_eq!(world.to_kill(), killed);
        for name in killed {
            world.end(name, Outcome::Kill);
        }
        world.ended(WorkflowState::Failure);
        assert_eq!(world.submissions("5"), 0);
        assert_eq!(world.reason(), "task \"3\" failed: exit code 1");
    }
}

#[test]
fn start_nodes_run_alone_or_with_what_comes_before_or_after_them() {
    let tasks = || {
        vec![
            task("a", &[]),
            task("b", &["a"]),
            task("c", &["b"]),
            task("d", &["c"]),
            task("beside", &["a"]),
            task("end", &["d", "beside"]),
        ]
    };
    for (depend, expected) in [
        (Depend::TaskOnly, &["b"][..]),
        (Depend::TaskPre, &["a", "b"]),
        (Depend::TaskPost, &["b", "c", "d", "end"]),
    ] {
        let mut world = World::start(
            tasks(),
            Submission {
                scope: scope(&["b"], depend),
                ..submission()
            },
        );
        let mut ran = vec![];
        while let Some(name) = world.find_worker().first().cloned() {
            world.succeed(&name);
            ran.push(name);
        }
        assert_eq!(ran, expected, "{depend:?}");
        world.ended(WorkflowState::Success);
    }
}

/// Of the catalogue of failures: A12, A3-05, H-12.
#[test]
fn a_task_that_takes_no_part_cannot_be_moved() {
    let mut world = World::start(
        vec![task("a", &[]), task("b", &["a"])],
        Submission {
            scope: scope(&["a"], Depend::TaskOnly),
            ..submission()
        },
    );
    let refused = world.try_ask(&Command::Task {
        task: TaskCode::of_name("b"),
        command: TaskCommand::Kill {
            reason: "alice asked".to_owned(),
        },
    });
    assert_eq!(
        refused.unwrap_err().to_string(),
        "KILL is not allowed: task \"b\" of workflow instance 1000 is not submitted; \
         nothing is allowed any more"
    );
    let unknown = world.try_ask(&Command::Task {
        task: TaskCode(1),
        command: TaskCommand::Wake,
    });
    assert!(unknown.is_err());
    world.succeed("a");
    world.ended(WorkflowState::Success);
}

/// Of the catalogue of failures: B41.
#[test]
fn a_submission_is_checked_against_its_workflow() {
    let workflow = workflow(diamond());
    let flaws = |start_nodes: &[&str], depend| {
        Run::scope_flaws(&scope(start_nodes, depend), &workflow)
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
    };
    assert_eq!(flaws(&[], Depend::TaskPost), [""; 0]);
    assert_eq!(flaws(&["top"], Depend::TaskOnly), [""; 0]);
    assert_eq!(
        flaws(&[], Depend::TaskOnly),
        ["depend: says what runs beside the start nodes, but there are none"]
    );
    assert_eq!(
        flaws(&["top", "nobody"], Depend::TaskPost),
        [format!(
            "start_nodes[1]: the workflow has no task with code {}",
            TaskCode::of_name("nobody")
        )]
    );
}

/// Of the catalogue of failures: A0-67.
#[test]
fn d05_a_dry_run_decides_everything_and_asks_no_worker() {
    let world = World::start(
        diamond(),
        Submission {
            dry_run: true,
            ..submission()
        },
    );
    world.ended(WorkflowState::Success);
    let told: Vec<String> = world
        .log
        .iter()
        .map(|step| world.tell(&step.fact))
        .collect();
    assert_eq!(
        told,
        [
            "run submitted",
            "run started",
            "top submitted",
            "top finished",
            "left submitted",
            "left finished",
            "right submitted",
            "right finished",
            "bottom submitted",
            "bottom finished",
            "run finished",
        ]
    );
}
