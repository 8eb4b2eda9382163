//! What becomes of a run that is asked for while an earlier one of its workflow goes on.

use serde_json::json;

use super::case::Case;
use super::run::Run;
use super::service::case;

/// A workflow with one task that waits for the scenario.
fn define(case: &Case, execution: &str) -> String {
    case.define(&format!(
        "
        name: serial
        execution: {execution}
        tasks: [{{name: A, run: hold}}]
        "
    ))
}

fn three(case: &Case, name: &str) -> [Run; 3] {
    [(); 3].map(|()| case.start(name, &json!({})))
}

/// E01
#[test]
fn with_serial_wait_one_runs_and_the_others_wait_their_turn() {
    let case = case("E01");
    let [first, second, third] = three(&case, &define(&case, "SERIAL_WAIT"));
    first.becomes("RUNNING_EXECUTION");
    second.becomes("SERIAL_WAIT");
    third.becomes("SERIAL_WAIT");
    second.has("");
    first.let_go("A");
    first.ends("SUCCESS", "A 1 SUCCESS");
    second.becomes("RUNNING_EXECUTION");
    assert_eq!(third.shows("state"), "SERIAL_WAIT");
    second.let_go("A");
    second.ends("SUCCESS", "A 1 SUCCESS");
    third.let_go("A");
    third.ends("SUCCESS", "A 1 SUCCESS");
    let time = |run: &Run, key: &str| run.shows(key).as_str().expect("a time").to_owned();
    assert!(time(&first, "end_time") <= time(&second, "start_time"));
    assert!(time(&second, "end_time") <= time(&third, "start_time"));
}

/// E02
#[test]
fn with_serial_discard_the_new_one_ends_at_once() {
    let case = case("E02");
    let name = define(&case, "SERIAL_DISCARD");
    let first = case.start(&name, &json!({}));
    first.reaches("A RUNNING_EXECUTION");
    let second = case.start(&name, &json!({}));
    second.ends("STOP", "");
    first.let_go("A");
    first.ends("SUCCESS", "A 1 SUCCESS");
    let third = case.start(&name, &json!({}));
    third.let_go("A");
    third.ends("SUCCESS", "A 1 SUCCESS");
}

/// E03
#[test]
fn with_serial_priority_the_newest_stops_all_others() {
    let case = case("E03");
    let [first, second, third] = three(&case, &define(&case, "SERIAL_PRIORITY"));
    first.becomes("STOP");
    second.becomes("STOP");
    third.let_go("A");
    third.ends("SUCCESS", "A 1 SUCCESS");
}

/// E04
#[test]
fn with_serial_wait_the_next_goes_on_however_the_earlier_one_ended() {
    let case = case("E04");
    let name = case.define(
        "
        name: serial
        execution: SERIAL_WAIT
        tasks: [{name: A, run: hold; exit 1}]
        ",
    );
    let [first, second, third] = three(&case, &name);
    first.let_go("A");
    first.ends("FAILURE", "A 1 FAILURE");
    second.reaches("A RUNNING_EXECUTION");
    second.command("STOP");
    second.ends("STOP", "A 1 KILL");
    third.let_go("A");
    third.ends("FAILURE", "A 1 FAILURE");
}

/// E05
#[test]
fn a_waiting_run_that_is_stopped_ends_at_once_and_loses_its_turn() {
    let case = case("E05");
    let [first, second, third] = three(&case, &define(&case, "SERIAL_WAIT"));
    first.reaches("A RUNNING_EXECUTION");
    second.becomes("SERIAL_WAIT");
    second.command("STOP");
    second.ends("STOP", "");
    third.becomes("SERIAL_WAIT");
    first.let_go("A");
    third.reaches("A RUNNING_EXECUTION");
    third.let_go("A");
    third.ends("SUCCESS", "A 1 SUCCESS");
}

/// E06
#[test]
fn a_waiting_run_cannot_be_paused() {
    let case = case("E06");
    let [first, second, third] = three(&case, &define(&case, "SERIAL_WAIT"));
    second.becomes("SERIAL_WAIT");
    let problem = second.refuses("PAUSE");
    assert_eq!(problem["allowed"], json!(["STOP"]));
    third.command("STOP");
    second.command("STOP");
    first.let_go("A");
    first.ends("SUCCESS", "A 1 SUCCESS");
}

/// E07
#[test]
fn with_serial_priority_what_the_earlier_one_runs_is_killed_first() {
    let case = case("E07");
    let name = define(&case, "SERIAL_PRIORITY");
    let first = case.start(&name, &json!({}));
    first.reaches("A RUNNING_EXECUTION");
    let second = case.start(&name, &json!({}));
    first.ends("STOP", "A 1 KILL");
    second.reaches("A RUNNING_EXECUTION");
    let (end, start) = (first.shows("end_time"), second.shows("start_time"));
    assert!(end.as_str() <= start.as_str());
    second.let_go("A");
    second.ends("SUCCESS", "A 1 SUCCESS");
}

/// E08
#[test]
fn another_workflow_does_not_wait() {
    let case = case("E08");
    let first = case.start(&define(&case, "SERIAL_WAIT"), &json!({}));
    first.reaches("A RUNNING_EXECUTION");
    let other = case.run(
        "
        name: other
        execution: SERIAL_WAIT
        tasks: [{name: A, run: 'true'}]
        ",
    );
    other.ends("SUCCESS", "A 1 SUCCESS");
    first.let_go("A");
    first.ends("SUCCESS", "A 1 SUCCESS");
}

/// E09
#[test]
fn a_new_version_still_waits_for_a_run_of_the_old_one() {
    let case = case("E09");
    let first = case.start(&define(&case, "SERIAL_WAIT"), &json!({}));
    first.reaches("A RUNNING_EXECUTION");
    let second = case.run(
        "
        name: serial
        execution: SERIAL_WAIT
        tasks: [{name: B, run: 'true'}]
        ",
    );
    second.becomes("SERIAL_WAIT");
    first.let_go("A");
    second.ends("SUCCESS", "B 1 SUCCESS");
}
