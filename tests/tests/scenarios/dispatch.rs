//! Finding a worker: groups, who goes first, and what happens while there is none.

use std::collections::BTreeSet;

use serde_json::json;

use super::pretender::{Manner, Pretender};
use super::run::Run;
use super::service::{Guest, Service, case, wait_until};

/// D01
#[test]
fn a_group_without_a_worker_fails_the_task_when_its_time_is_up() {
    let run = case("D01").run(
        "
        name: lost
        tasks:
          - {name: A, run: trace, worker_group: workerGroupNotFound, dispatch_timeout: 200ms}
        ",
    );
    run.ends("FAILURE", "A 1 FAILURE");
    assert_eq!(run.task("A")["worker_group"], "workerGroupNotFound");
    run.task_says("A", "workerGroupNotFound");
    run.traced(&[]);
}

/// D02
#[test]
fn without_a_time_limit_a_task_waits_until_a_worker_comes() {
    let case = case("D02");
    let run = case.run("name: patient\ntasks: [{name: A, run: trace, worker_group: D02}]");
    run.reaches("A SUBMITTED_SUCCESS");
    run.task_says("A", "D02");
    run.explains("D02");
    let _guest = Guest::new(&case, "D02", "1");
    run.ends("SUCCESS", "A 1 SUCCESS");
    assert_eq!(run.task("A")["worker_group"], "D02");
}

/// D03
#[test]
fn a_task_that_found_no_worker_is_retried_like_any_other() {
    let run = case("D03").run(
        "
        name: lost
        tasks:
          - {name: A, run: trace, worker_group: D03, dispatch_timeout: 100ms, retry: {times: 1}}
        ",
    );
    run.ends("FAILURE", "A 1 FAILURE invalid\n A 2 FAILURE retry 1");
}

/// D04
#[test]
fn of_tasks_that_wait_for_a_worker_the_higher_priority_goes_first() {
    let case = case("D04");
    let run = case.run(
        "
        name: queue
        tasks:
          - {name: A, run: trace, worker_group: D04, priority: LOWEST}
          - {name: B, run: trace, worker_group: D04, priority: LOW}
          - {name: C, run: trace, worker_group: D04}
          - {name: D, run: trace, worker_group: D04, priority: HIGH}
          - {name: E, run: trace, worker_group: D04, priority: HIGHEST}
        ",
    );
    run.reaches("A B C D E SUBMITTED_SUCCESS");
    let _guest = Guest::new(&case, "D04", "1");
    run.becomes("SUCCESS");
    run.traced(&["E", "D", "C", "B", "A"]);
}

/// D05
#[test]
fn a_group_of_the_run_is_for_tasks_without_their_own() {
    let case = case("D05");
    let run = case.run_with(
        "
        name: where
        tasks:
          - {name: A, run: 'true'}
          - {name: B, run: 'true', worker_group: D05-other}
        ",
        &json!({"worker_group": "D05"}),
    );
    run.reaches("A B SUBMITTED_SUCCESS");
    let _guest = Guest::new(&case, "D05", "1");
    run.reaches("A SUCCESS");
    assert_eq!(run.task("A")["worker_group"], "D05");
    assert_eq!(run.task("B")["worker_group"], "D05-other");
    run.command("STOP");
    run.ends("STOP", "A 1 SUCCESS\n B 1 KILL");
}

/// D06
#[test]
fn the_priority_of_the_run_comes_before_that_of_its_tasks() {
    let case = case("D06");
    let name = case.define(
        "
        name: queue
        tasks:
          - {name: A, run: trace, worker_group: D06, priority: HIGHEST}
        ",
    );
    let low = case.start(&name, &json!({"priority": "LOW"}));
    let high = case.run_with(
        "
        name: other
        tasks:
          - {name: A, run: trace, worker_group: D06, priority: LOWEST}
        ",
        &json!({"priority": "HIGH"}),
    );
    low.reaches("A SUBMITTED_SUCCESS");
    high.reaches("A SUBMITTED_SUCCESS");
    let _guest = Guest::new(&case, "D06", "1");
    low.ends("SUCCESS", "A 1 SUCCESS");
    high.ends("SUCCESS", "A 1 SUCCESS");
    let start = |run: &super::run::Run| run.task("A")["start_time"].to_string();
    assert!(start(&high) <= start(&low));
}

/// D07
#[test]
fn a_run_that_is_stopped_while_it_waits_for_a_worker_is_stopped_at_once() {
    let run = case("D07").run("name: patient\ntasks: [{name: A, run: trace, worker_group: D07}]");
    run.reaches("A SUBMITTED_SUCCESS");
    run.command("STOP");
    run.ends("STOP", "A 1 KILL");
    let row = run.task("A");
    assert_eq!(
        (&row["start_time"], &row["host"]),
        (&json!(null), &json!(null))
    );
}

/// D08
#[test]
fn a_task_whose_worker_dies_runs_again_elsewhere_and_no_retry_is_counted() {
    let mut service = Service::without_worker();
    service.worker("default", "4");
    let run = service
        .case("D08")
        .run("name: moved\ntasks: [{name: A, run: hold && trace}]");
    run.reaches("A RUNNING_EXECUTION");
    service.worker_dies();
    service.worker("default", "4");
    run.let_go("A");
    run.ends("SUCCESS", "A 1 NEED_FAULT_TOLERANCE invalid\n A 2 SUCCESS");
}

/// D09
#[test]
fn a_worker_with_one_slot_runs_one_task_at_a_time() {
    let case = case("D09");
    let run = case.run(
        "
        name: narrow
        tasks:
          - {name: A, run: trace in; trace out, worker_group: D09}
          - {name: B, run: trace in; trace out, worker_group: D09}
        ",
    );
    run.reaches("A B SUBMITTED_SUCCESS");
    let _guest = Guest::new(&case, "D09", "1");
    run.ends("SUCCESS", "A 1 SUCCESS\n B 1 SUCCESS");
    let traces = run.traces();
    let task = |line: &String| line.split(' ').next().map(str::to_owned);
    assert_eq!(task(&traces[0]), task(&traces[1]), "{traces:?}");
    assert_eq!(task(&traces[2]), task(&traces[3]), "{traces:?}");
}

/// D10
#[test]
fn the_worker_with_the_least_to_do_gets_the_next_task() {
    let case = case("D10");
    let _small = Pretender::new(&case, "D10-small", "D10", 1, Manner::Succeeds);
    let _large = Pretender::new(&case, "D10-large", "D10", 50, Manner::Succeeds);
    let run = case.run(&chain("D10"));
    run.becomes("SUCCESS");
    assert_eq!(hosts(&run), ["D10-large"; 4]);
}

/// D11
#[test]
fn round_robin_gives_every_worker_its_turn() {
    let service = Service::set("engine,api", "[engine]\nhost_selector = 'round_robin'\n");
    let case = service.case("D11");
    let _small = Pretender::new(&case, "small", "D11", 1, Manner::Succeeds);
    let _large = Pretender::new(&case, "large", "D11", 50, Manner::Succeeds);
    let run = case.run(&chain("D11"));
    run.becomes("SUCCESS");
    assert_eq!(hosts(&run), ["large", "small", "large", "small"]);
}

/// D12
#[test]
fn chance_gives_something_to_every_worker() {
    let service = Service::set("engine,api", "[engine]\nhost_selector = 'random'\n");
    let case = service.case("D12");
    let _one = Pretender::new(&case, "one", "D12", 99, Manner::Succeeds);
    let _other = Pretender::new(&case, "other", "D12", 99, Manner::Succeeds);
    let text = many(60, "worker_group: D12");
    let run = case.run(&text);
    run.becomes("SUCCESS");
    let hosts: BTreeSet<String> = hosts(&run).into_iter().collect();
    assert_eq!(hosts.len(), 2, "{hosts:?}");
}

/// D13
#[test]
fn issue_17795_a_task_that_its_worker_swallows_is_asked_for_again_and_then_goes_elsewhere() {
    let mut service = Service::set("engine,api", "[engine]\naccept_timeout = '200ms'\n");
    let case = service.case("D13");
    let silent = Pretender::new(&case, "silent", "default", 9, Manner::Swallows);
    let run = case.run("name: patient\ntasks: [{name: A, run: trace}]");
    wait_until("it is told to kill", || {
        let kills = silent.killed();
        if kills > 0 { Ok(()) } else { Err(kills) }
    });
    assert_eq!(silent.asked(), 2);
    run.explains("does not answer");
    service.worker("default", "4");
    run.ends("SUCCESS", "A 1 NEED_FAULT_TOLERANCE invalid\n A 2 SUCCESS");
    let rows = run.tasks();
    let reason = rows[0]["reason"].as_str().unwrap_or_default();
    assert!(reason.contains("silent did not answer"), "{reason}");
    run.traced(&["A"]);
}

/// D14
#[test]
fn issue_6499_12196_an_overloaded_worker_gets_nothing_and_says_why() {
    let case = case("D14");
    let worker = Pretender::new(&case, "D14", "D14", 4, Manner::Succeeds);
    let why = "97 % of its memory is in use";
    worker.is_overloaded(why);
    let shown = || {
        let list = case.door.get("/workers").done();
        let workers = list["items"].as_array().expect("a list").clone();
        let worker = workers.into_iter().find(|worker| worker["id"] == "D14");
        worker.expect("it is there")
    };
    wait_until("the worker is shown as overloaded", || {
        let shown = shown();
        if shown["overloaded"] == why {
            Ok(())
        } else {
            Err(shown)
        }
    });
    assert_eq!(shown()["memory"], 0.5);
    let run = case.run("name: heavy\ntasks: [{name: A, run: trace, worker_group: D14}]");
    run.reaches("A SUBMITTED_SUCCESS");
    run.explains(&format!("is overloaded (D14: {why})"));
    assert_eq!(worker.asked(), 0);
    worker.is_overloaded("");
    run.ends("SUCCESS", "A 1 SUCCESS");
}

/// D15
#[test]
fn issue_17581_6959_8225_5242_one_group_without_workers_holds_up_no_other() {
    let case = case("D15");
    let text = many(300, "worker_group: D15-gone, priority: HIGHEST");
    let stuck = case.run_with(&text, &json!({"priority": "HIGHEST"}));
    let _full = Pretender::new(&case, "D15-full", "D15-full", 1, Manner::Holds);
    let full = case.run(
        "
        name: full
        tasks:
          - {name: A, code: 1, run: 'true', worker_group: D15-full}
          - {name: B, code: 2, run: 'true', worker_group: D15-full}
        ",
    );
    stuck.reaches("t0 t299 SUBMITTED_SUCCESS");
    full.reaches("A RUNNING_EXECUTION");
    let free = case.run_with(&chain("default"), &json!({"priority": "LOWEST"}));
    free.becomes("SUCCESS");
    stuck.reaches("t0 t299 SUBMITTED_SUCCESS");
    stuck.explains("D15-gone");
    full.reaches("B SUBMITTED_SUCCESS");
    stuck.command("STOP");
    full.command("STOP");
    stuck.becomes("STOP");
    full.becomes("STOP");
}

/// D16
#[test]
fn a_worker_that_refused_a_task_is_not_the_next_one_to_be_asked() {
    let case = case("D16");
    let refusing = Pretender::new(&case, "D16", "D16", 99, Manner::Refuses);
    let run = case.run("name: picky\ntasks: [{name: A, run: trace, worker_group: D16}]");
    wait_until("it was asked", || {
        let asked = refusing.asked();
        if asked > 0 { Ok(()) } else { Err(asked) }
    });
    let _guest = Guest::new(&case, "D16", "1");
    let before = refusing.asked();
    run.ends("SUCCESS", "A 1 SUCCESS");
    // One question may have been on its way when the other worker came.
    assert!(refusing.asked() <= before + 1);
}

/// D17
#[test]
fn a_task_that_takes_its_workers_down_with_it_fails_in_the_end() {
    let service = Service::set(
        "engine,api",
        "[engine]\nmax_failovers = 1\nworker_lease = '1s'\n",
    );
    let case = service.case("D17");
    let first = Pretender::new(&case, "first", "D17", 1, Manner::Holds);
    let run = case.run("name: deadly\ntasks: [{name: A, run: trace, worker_group: D17}]");
    run.reaches("A RUNNING_EXECUTION");
    drop(first);
    let second = Pretender::new(&case, "second", "D17", 1, Manner::Holds);
    wait_until("the second one has it", || {
        let row = run.task("A");
        let there = row["host"] == "second" && row["state"] == "RUNNING_EXECUTION";
        if there { Ok(()) } else { Err(row) }
    });
    drop(second);
    run.ends(
        "FAILURE",
        "A 1 NEED_FAULT_TOLERANCE invalid\n A 2 NEED_FAULT_TOLERANCE",
    );
    run.task_says("A", "max_failovers");
}

/// D18
#[test]
fn what_a_worker_had_that_was_stopped_in_order_runs_elsewhere_at_once() {
    // If nobody said goodbye, the task would stay where it was for longer than this test is patient.
    let mut service = Service::set("engine,api", "[engine]\nworker_lease = '10m'\n");
    service.worker("default", "4");
    let run = service
        .case("D18")
        .run("name: moved\ntasks: [{name: A, run: hold && trace}]");
    run.reaches("A RUNNING_EXECUTION");
    service.worker_leaves();
    service.worker("default", "4");
    run.let_go("A");
    run.ends("SUCCESS", "A 1 NEED_FAULT_TOLERANCE invalid\n A 2 SUCCESS");
    assert!(run.tasks()[0]["reason"].to_string().contains("was stopped"));
}

/// D19
#[test]
fn of_two_living_workers_with_one_id_the_newer_one_stays() {
    let case = case("D19");
    let twin =
        |incarnation| Pretender::incarnation(&case, "D19", incarnation, "D19", 4, Manner::Holds);
    let _one = Pretender::new(&case, "D19", "D19", 4, Manner::Holds);
    let run = case.run("name: torn\ntasks: [{name: A, run: trace, worker_group: D19}]");
    run.reaches("A RUNNING_EXECUTION");
    let _two = twin("two");
    wait_until("the newer one has the task", || {
        let row = run.task("A");
        let there = row["attempt"] == 2 && row["state"] == "RUNNING_EXECUTION";
        if there { Ok(()) } else { Err(row) }
    });
    let again = twin("one");
    wait_until("the older one is sent away", || {
        let why = again.refused();
        if why.contains("directory") {
            Ok(())
        } else {
            Err(why)
        }
    });
    run.command("STOP");
    run.ends("STOP", "A 1 NEED_FAULT_TOLERANCE invalid\n A 2 KILL");
}

/// So many tasks `t0`, `t1` and so on, all alike.
fn many(tasks: usize, keys: &str) -> String {
    let tasks = (0..tasks).map(|task| format!("  - {{name: t{task}, run: 'true', {keys}}}\n"));
    format!("name: many\ntasks:\n{}", tasks.collect::<String>())
}

/// Four tasks, one after the other.
fn chain(group: &str) -> String {
    format!(
        "
        name: chain
        tasks:
          - {{name: A, run: 'true', worker_group: {group}}}
          - {{name: B, run: 'true', worker_group: {group}, depends_on: [A]}}
          - {{name: C, run: 'true', worker_group: {group}, depends_on: [B]}}
          - {{name: D, run: 'true', worker_group: {group}, depends_on: [C]}}
        "
    )
}

/// Where its tasks ran, in their order.
fn hosts(run: &Run) -> Vec<String> {
    let rows = run.tasks();
    let hosts = rows.iter().filter_map(|row| row["host"].as_str());
    hosts.map(str::to_owned).collect()
}
