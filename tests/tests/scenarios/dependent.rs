//! DEPENDENT: a task that waits until other workflows have run.

use serde_json::json;

use super::case::Case;
use super::service::case;

/// A workflow whose first task waits for `upstream` of this day.
fn waiting(when: &str, keys: &str) -> String {
    format!(
        "
        name: downstream
        tasks:
          - name: wait
            type: DEPENDENT
            when: {{{when}}}
            check_interval: 100ms
            {keys}
          - {{name: B, run: trace, depends_on: [wait]}}
        "
    )
}

const TODAY: &str = "all: [{workflow: upstream, cycle: day, value: today}]";

fn upstream(case: &Case, run: &str) {
    case.define(&format!(
        "
        name: upstream
        tasks:
          - {{name: A, run: {run}}}
          - {{name: Z, run: exit 1, depends_on: [A]}}
        "
    ));
}

/// N01
#[test]
fn what_has_run_today_is_not_waited_for() {
    let case = case("N01");
    let earlier = case.run("name: upstream\ntasks: [{name: A, run: 'true'}]");
    earlier.ends("SUCCESS", "A 1 SUCCESS");
    let run = case.run(&waiting(TODAY, ""));
    run.ends("SUCCESS", "wait 1 SUCCESS\n B 1 SUCCESS");
}

/// N02
#[test]
fn what_is_running_is_waited_for() {
    let case = case("N02");
    let earlier = case.run("name: upstream\ntasks: [{name: A, run: hold}]");
    earlier.reaches("A RUNNING_EXECUTION");
    let run = case.run(&waiting(TODAY, ""));
    run.reaches("wait RUNNING_EXECUTION");
    earlier.let_go("A");
    run.ends("SUCCESS", "wait 1 SUCCESS\n B 1 SUCCESS");
    let (end, start) = (
        earlier.shows("end_time"),
        run.task("B")["start_time"].clone(),
    );
    assert!(end.as_str() <= start.as_str());
}

/// N03
#[test]
fn what_has_not_run_at_all_is_waited_for() {
    let case = case("N03");
    let name = case.define("name: upstream\ntasks: [{name: A, run: 'true'}]");
    let run = case.run(&waiting(TODAY, ""));
    run.reaches("wait RUNNING_EXECUTION");
    run.explains("upstream");
    case.start(&name, &json!({}));
    run.ends("SUCCESS", "wait 1 SUCCESS\n B 1 SUCCESS");
}

/// N04
#[test]
fn what_has_failed_fails_it() {
    let case = case("N04");
    let earlier = case.run("name: upstream\ntasks: [{name: A, run: exit 1}]");
    earlier.ends("FAILURE", "A 1 FAILURE");
    let run = case.run(&waiting(TODAY, ""));
    run.ends("FAILURE", "wait 1 FAILURE");
    run.task_says("wait", "upstream");
}

/// N05
#[test]
fn it_may_wait_for_what_has_failed_to_succeed_after_all() {
    let case = case("N05");
    let earlier = case.run("name: upstream\ntasks: [{name: A, run: again}]");
    earlier.ends("FAILURE", "A 1 FAILURE");
    let run = case.run(&waiting(TODAY, "wait_on_failure: 1h"));
    run.reaches("wait RUNNING_EXECUTION");
    earlier.command("RECOVER_FAILED");
    run.ends("SUCCESS", "wait 1 SUCCESS\n B 1 SUCCESS");
}

/// N06
#[test]
fn one_task_may_be_enough() {
    let case = case("N06");
    upstream(&case, "'true'");
    let earlier = case.start("upstream", &json!({}));
    earlier.ends("FAILURE", "A 1 SUCCESS\n Z 1 FAILURE");
    let when = "all: [{workflow: upstream, task: A, cycle: day, value: today}]";
    let run = case.run(&waiting(when, ""));
    run.ends("SUCCESS", "wait 1 SUCCESS\n B 1 SUCCESS");
}

/// N07
#[test]
fn one_of_several_may_be_enough() {
    let case = case("N07");
    case.define("name: other\ntasks: [{name: A, run: 'true'}]");
    let earlier = case.run("name: upstream\ntasks: [{name: A, run: 'true'}]");
    earlier.ends("SUCCESS", "A 1 SUCCESS");
    let when = "
              any:
                - {workflow: other, cycle: day, value: today}
                - {workflow: upstream, cycle: day, value: today}";
    let yaml = waiting("@", "").replace("{@}", when);
    let run = case.run(&yaml);
    run.ends("SUCCESS", "wait 1 SUCCESS\n B 1 SUCCESS");
}

/// N08
#[test]
fn the_day_is_that_of_the_schedule_time() {
    let case = case("N08");
    let name = case.define("name: upstream\ntasks: [{name: A, run: 'true'}]");
    let earlier = case.start(&name, &json!({"schedule_time": "2024-08-11T00:00:00Z"}));
    earlier.ends("SUCCESS", "A 1 SUCCESS");
    let when = "all: [{workflow: upstream, cycle: day, value: last1Days}]";
    let run = case.run_with(
        &waiting(when, ""),
        &json!({"schedule_time": "2024-08-12T03:00:00Z"}),
    );
    run.ends("SUCCESS", "wait 1 SUCCESS\n B 1 SUCCESS");
    let other = case.start(
        "downstream",
        &json!({"schedule_time": "2024-08-13T03:00:00Z"}),
    );
    other.reaches("wait RUNNING_EXECUTION");
    other.command("STOP");
    other.ends("STOP", "wait 1 KILL");
}

/// N09
#[test]
fn a_pause_pauses_it_and_it_looks_again_when_resumed() {
    let case = case("N09");
    let name = case.define("name: upstream\ntasks: [{name: A, run: 'true'}]");
    let run = case.run(&waiting(TODAY, ""));
    run.reaches("wait RUNNING_EXECUTION");
    run.command("PAUSE");
    run.ends("PAUSE", "wait 1 PAUSE");
    case.start(&name, &json!({})).ends("SUCCESS", "A 1 SUCCESS");
    run.command("RESUME");
    run.ends("SUCCESS", "wait 1 SUCCESS\n B 1 SUCCESS");
}

/// N10
#[test]
fn a_stop_ends_the_wait() {
    let case = case("N10");
    case.define("name: upstream\ntasks: [{name: A, run: 'true'}]");
    let run = case.run(&waiting(TODAY, ""));
    run.reaches("wait RUNNING_EXECUTION");
    run.command("STOP");
    run.ends("STOP", "wait 1 KILL");
}

/// N11
#[test]
fn the_latest_run_counts() {
    let case = case("N11");
    let name = case.define(
        "
        name: upstream
        params: {code: 0}
        tasks: [{name: A, run: 'exit ${code}'}]
        ",
    );
    let bad = case.start(&name, &json!({"params": {"code": 1}}));
    bad.ends("FAILURE", "A 1 FAILURE");
    case.start(&name, &json!({})).ends("SUCCESS", "A 1 SUCCESS");
    let run = case.run(&waiting(TODAY, ""));
    run.ends("SUCCESS", "wait 1 SUCCESS\n B 1 SUCCESS");
}

/// N12
#[test]
fn an_interval_that_nobody_knows_is_refused_with_the_file() {
    let when = "all: [{workflow: upstream, cycle: day, value: someday}]";
    let problem = case("N12").put(&waiting(when, "")).refused(422);
    let flaw = &problem["flaws"][0];
    super::run::contains(&flaw["path"], "tasks[0].when");
    super::run::contains(&flaw["problem"], "someday");
}

/// N13
#[test]
fn a_dry_run_waits_for_nobody() {
    let case = case("N13");
    case.define("name: upstream\ntasks: [{name: A, run: 'true'}]");
    let run = case.run_with(&waiting(TODAY, ""), &json!({"dry_run": true}));
    run.ends("SUCCESS", "wait 1 SUCCESS\n B 1 SUCCESS");
    run.traced(&[]);
}
