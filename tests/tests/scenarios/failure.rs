//! What a failed task means for the others: CONTINUE, or END.

use serde_json::json;

use super::service::case;

/// G09
#[test]
fn a_join_with_one_failed_predecessor_gets_no_row() {
    let run = case("G09").run_with(
        "
        name: join
        tasks:
          - {name: A, code: 1, run: 'true'}
          - {name: B, code: 2, run: exit 1, depends_on: [A]}
          - {name: D, code: 4, run: trace, depends_on: [B, C]}
          - {name: C, code: 3, run: 'true'}
        ",
        &json!({"failure": "CONTINUE"}),
    );
    run.ends("FAILURE", "A 1 SUCCESS\n B 1 FAILURE\n C 1 SUCCESS");
    run.traced(&[]);
}

/// G10
#[test]
fn branches_beside_a_failed_one_run_to_their_ends() {
    let run = case("G10").run(
        "
        name: beside
        tasks:
          - {name: A, run: exit 1}
          - {name: B, run: hold}
          - {name: C, run: trace, depends_on: [B]}
        ",
    );
    run.reaches("A FAILURE");
    assert_eq!(run.shows("state"), "RUNNING_EXECUTION");
    run.let_go("B");
    run.ends("FAILURE", "A 1 FAILURE\n B 1 SUCCESS\n C 1 SUCCESS");
    run.traced(&["C"]);
}

/// G12
#[test]
fn with_end_a_failure_kills_what_runs() {
    let run = case("G12").run_with(
        "
        name: three
        tasks:
          - {name: A, run: hold}
          - {name: B, run: hold}
          - {name: C, run: hold; exit 1}
        ",
        &json!({"failure": "END"}),
    );
    run.reaches("A B C RUNNING_EXECUTION");
    run.let_go("C");
    run.ends("FAILURE", "A 1 KILL\n B 1 KILL\n C 1 FAILURE");
}

/// G20
#[test]
fn with_end_nothing_new_starts_after_a_failure() {
    let run = case("G20").run_with(
        "
        name: two
        tasks:
          - {name: A, run: hold}
          - {name: B, run: trace, depends_on: [A]}
          - {name: C, run: hold; exit 1}
        ",
        &json!({"failure": "END"}),
    );
    run.reaches("A C RUNNING_EXECUTION");
    run.let_go("C");
    run.ends("FAILURE", "A 1 KILL\n C 1 FAILURE");
    run.traced(&[]);
}

/// G21
#[test]
fn with_end_only_the_last_attempt_is_a_failure() {
    let run = case("G21").run_with(
        "
        name: two
        tasks:
          - {name: A, run: hold}
          - {name: B, run: again, retry: {times: 1}}
        ",
        &json!({"failure": "END"}),
    );
    run.reaches("B SUCCESS");
    run.reaches("A RUNNING_EXECUTION");
    run.let_go("A");
    run.ends(
        "SUCCESS",
        "A 1 SUCCESS\n B 1 FAILURE invalid\n B 2 SUCCESS retry 1",
    );
}

/// G24
#[test]
fn with_end_a_pending_retry_is_given_up() {
    let run = case("G24").run_with(
        "
        name: two
        tasks:
          - {name: A, run: exit 1, retry: {times: 1, interval: 1h}}
          - {name: B, run: hold; exit 1}
        ",
        &json!({"failure": "END"}),
    );
    run.reaches("A FAILURE");
    run.reaches("B RUNNING_EXECUTION");
    run.let_go("B");
    run.ends("FAILURE", "A 1 FAILURE\n B 1 FAILURE");
}
