//! Values that tasks are given and hand on.

use super::*;
use crate::workflow_definition::{Direction, Param};

fn out(name: &str) -> Param {
    Param {
        direct: Direction::Out,
        ..Param::text(name, "")
    }
}

fn hands_on(mut spec: TaskSpec, names: &[&str]) -> TaskSpec {
    spec.params.extend(names.iter().map(|name| out(name)));
    spec
}

fn succeed_with(world: &mut World, task: &str, outputs: &[(&str, &str)]) {
    world.dispatch(task);
    world.say(
        task,
        Word::Finished(End {
            outputs: values(outputs),
            ..report(Outcome::Success)
        }),
    );
}

fn params(world: &World, task: &str) -> Vec<(String, String)> {
    let assignment = world.run.assignment(TaskCode::of_name(task)).unwrap();
    let own = assignment.params.into_iter();
    own.filter(|(name, _)| !name.starts_with("system."))
        .collect()
}

fn values(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect()
}

/// Of the catalogue of failures: A6, A3-20.
#[test]
fn an_output_reaches_all_that_come_after() {
    let mut world = World::of(vec![
        hands_on(task("a", &[]), &["rows"]),
        task("b", &["a"]),
        task("c", &["b"]),
        task("beside", &[]),
    ]);
    succeed_with(&mut world, "a", &[("rows", "42")]);
    assert_eq!(params(&world, "b"), values(&[("rows", "42")]));
    world.succeed("b");
    assert_eq!(params(&world, "c"), values(&[("rows", "42")]));
    assert_eq!(params(&world, "beside"), values(&[]));
}

#[test]
fn an_output_that_the_author_did_not_declare_goes_nowhere() {
    let mut world = World::of(vec![hands_on(task("a", &[]), &["rows"]), task("b", &["a"])]);
    succeed_with(&mut world, "a", &[("rows", "42"), ("PATH", "/evil")]);
    assert_eq!(params(&world, "b"), values(&[("rows", "42")]));
    let stored = world.log.iter().any(|step| {
        matches!(&step.fact, Fact::Task(_, TaskEvent::Finished { var_pool, .. }) if var_pool.len() > 1)
    });
    assert!(!stored);
}

/// Of the catalogue of failures: B64.
#[test]
fn over_a_diamond_the_earliest_finished_and_not_empty_value_wins() {
    for (order, left, right, expected) in [
        (["left", "right"], "L", "R", "L"),
        (["right", "left"], "L", "R", "R"),
        (["left", "right"], "", "R", "R"),
        (["right", "left"], "L", "", "L"),
        (["left", "right"], "", "", ""),
    ] {
        let mut world = World::of(vec![
            task("top", &[]),
            hands_on(task("left", &["top"]), &["x"]),
            hands_on(task("right", &["top"]), &["x"]),
            task("bottom", &["left", "right"]),
        ]);
        world.succeed("top");
        for name in order {
            let value = if name == "left" { left } else { right };
            succeed_with(&mut world, name, &[("x", value)]);
        }
        let wanted = values(&[("x", expected)]);
        assert_eq!(params(&world, "bottom"), wanted, "{order:?}");
        // Whoever reads the log sees the same order of ends.
        world.run = world.reread();
        assert_eq!(params(&world, "bottom"), wanted, "{order:?} from the log");
    }
}

#[test]
fn a_tasks_own_output_takes_the_place_of_what_it_was_handed() {
    let mut world = World::of(vec![
        hands_on(task("a", &[]), &["x", "y"]),
        hands_on(task("b", &["a"]), &["x"]),
        task("c", &["b"]),
    ]);
    succeed_with(&mut world, "a", &[("x", "1"), ("y", "2")]);
    succeed_with(&mut world, "b", &[("x", "3")]);
    assert_eq!(params(&world, "c"), values(&[("x", "3"), ("y", "2")]));
}

#[test]
fn a_failed_attempt_hands_nothing_on() {
    let mut first = hands_on(task("a", &[]), &["x"]);
    first.policy.retry.times = 1;
    let mut world = World::of(vec![first, task("b", &["a"])]);
    world.dispatch("a");
    world.say(
        "a",
        Word::Finished(End {
            outputs: values(&[("x", "half done")]),
            ..report(Outcome::Failure)
        }),
    );
    world.wake("a", 0);
    succeed_with(&mut world, "a", &[]);
    assert_eq!(params(&world, "b"), values(&[]));
}

/// Of the catalogue of failures: A0-51.
#[test]
fn an_assignment_says_everything_a_worker_needs() {
    let mut shell = task("load", &["extract"]);
    shell.kind = TaskKind::Shell {
        run: "load ${rows} of ${day} in ${HOME} '${setValue(done=1)}'".to_owned(),
    };
    shell.params = vec![Param::text("day", "")];
    let mut spec = crate::testing::spec(vec![hands_on(task("extract", &[]), &["rows"]), shell]);
    spec.params = vec![Param::text("day", "monday"), Param::text("rows", "0")];
    let mut world = World::of(vec![task("a", &[])]);
    world.run = Run::new(InstanceId(1_000), Arc::new(Workflow::check(spec).unwrap()));
    let load = TaskCode::of_name("load");
    assert_eq!(world.run.assignment(load), None, "nobody asked for the run");
    world.ask(&Command::Submit(Arc::new(Submission {
        params: vec![Param::text("day", "friday")],
        ..submission()
    })));
    succeed_with(&mut world, "extract", &[("rows", "42")]);
    let assignment = world.run.assignment(load).unwrap();
    assert_eq!(
        assignment.attempt,
        AttemptId {
            task: TaskId {
                instance: InstanceId(1_000),
                task: load,
            },
            number: 1,
        }
    );
    assert_eq!(
        (assignment.workflow.as_str(), assignment.task.as_str()),
        ("flow", "load")
    );
    assert_eq!(
        (assignment.kind, assignment.options.as_str()),
        ("SHELL", "")
    );
    assert_eq!(
        assignment.body,
        "load 42 of friday in ${HOME} '${setValue(done=1)}'"
    );
    assert_eq!(
        params(&world, "load"),
        values(&[("day", "friday"), ("rows", "42")])
    );
    assert_eq!(world.run.assignment(TaskCode(1)), None);
}

#[test]
fn an_output_goes_through_a_forbidden_task() {
    let mut between = task("between", &["a"]);
    between.policy.forbidden = true;
    let mut world = World::of(vec![
        hands_on(task("a", &[]), &["rows"]),
        between,
        task("b", &["between"]),
    ]);
    succeed_with(&mut world, "a", &[("rows", "42")]);
    assert_eq!(params(&world, "b"), values(&[("rows", "42")]));
}

#[test]
fn what_was_handed_on_before_a_rerun_is_forgotten_and_after_a_resume_it_is_not() {
    let flow = || vec![hands_on(task("a", &[]), &["rows"]), task("b", &["a"])];
    let mut world = World::of(flow());
    succeed_with(&mut world, "a", &[("rows", "42")]);
    world.succeed("b");
    world.rerun();
    succeed_with(&mut world, "a", &[]);
    assert_eq!(params(&world, "b"), values(&[]));
    let mut world = World::of(flow());
    succeed_with(&mut world, "a", &[("rows", "42")]);
    world.pause();
    world.resume();
    assert_eq!(params(&world, "b"), values(&[("rows", "42")]));
}

#[test]
fn a_task_that_was_let_count_hands_on_what_it_was_handed() {
    let mut world = World::of(vec![
        hands_on(task("a", &[]), &["rows"]),
        hands_on(task("b", &["a"]), &["rows"]),
        task("c", &["b"]),
        task("slow", &[]),
    ]);
    succeed_with(&mut world, "a", &[("rows", "42")]);
    world.fail("b");
    world.force("b");
    assert_eq!(params(&world, "c"), values(&[("rows", "42")]));
}

#[test]
fn the_run_keeps_what_its_last_tasks_handed_on() {
    let mut world = World::of(vec![
        hands_on(task("a", &[]), &["x"]),
        hands_on(task("b", &["a"]), &["y"]),
        hands_on(task("beside", &[]), &["z"]),
    ]);
    succeed_with(&mut world, "a", &[("x", "1")]);
    succeed_with(&mut world, "beside", &[("z", "3")]);
    succeed_with(&mut world, "b", &[("y", "2")]);
    let kept = world.log.iter().find_map(|step| match &step.fact {
        Fact::Workflow(_, workflow_instance::Event::Finished { var_pool, .. }) => Some(var_pool),
        Fact::Workflow(..)
        | Fact::Task(..)
        | Fact::Definition(..)
        | Fact::Trigger(..)
        | Fact::TaskGroup(..)
        | Fact::SerialQueue(..)
        | Fact::Environment(..) => None,
    });
    let names: Vec<&str> = kept.unwrap().iter().map(|out| out.name.as_str()).collect();
    assert_eq!(names, ["z", "x", "y"]);
}
