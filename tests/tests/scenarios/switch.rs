//! SWITCH: one branch of several, by expressions over parameters.

use serde_json::json;

use super::service::case;

/// Two branches, `big` and `small`; the second is the default.
fn flow(condition: &str) -> String {
    format!(
        r"
        name: route
        params: {{rows: 12, kind: big}}
        tasks:
          - name: S
            type: SWITCH
            cases:
              - if: '{condition}'
                then: big
            default: small
          - {{name: big, run: trace}}
          - {{name: small, run: trace}}
        "
    )
}

/// W01
#[test]
fn the_branch_whose_expression_holds_is_taken() {
    let run = case("W01").run(&flow("true == true"));
    run.ends("SUCCESS", "S 1 SUCCESS\n big 1 SUCCESS");
    run.traced(&["big"]);
}

/// W02
#[test]
fn without_one_that_holds_the_default_is_taken() {
    let run = case("W02").run(&flow("false == true"));
    run.ends("SUCCESS", "S 1 SUCCESS\n small 1 SUCCESS");
    run.traced(&["small"]);
}

/// W03
#[test]
fn without_one_that_holds_and_without_a_default_it_fails() {
    let run = case("W03").run(
        "
        name: route
        tasks:
          - {name: S, type: SWITCH, cases: [{if: 1 > 2, then: big}]}
          - {name: big, run: trace}
        ",
    );
    run.ends("FAILURE", "S 1 FAILURE");
    run.traced(&[]);
}

/// W04
#[test]
fn the_first_that_holds_is_taken_and_no_other() {
    let run = case("W04").run(
        "
        name: route
        tasks:
          - name: S
            type: SWITCH
            cases:
              - {if: 1 > 2, then: one}
              - {if: 2 > 1, then: two}
              - {if: 3 > 1, then: three}
            default: four
          - {name: one, run: trace}
          - {name: two, run: trace}
          - {name: three, run: trace}
          - {name: four, run: trace}
        ",
    );
    run.ends("SUCCESS", "S 1 SUCCESS\n two 1 SUCCESS");
}

/// W05
#[test]
fn an_output_decides() {
    let run = case("W05").run(
        r#"
        name: route
        tasks:
          - name: A
            run: echo '${setValue(rows=42)}'
            params: {rows: {direct: OUT}}
          - name: S
            type: SWITCH
            depends_on: [A]
            cases: [{if: "${rows} > 10", then: big}]
            default: small
          - {name: big, run: 'trace "${rows}"'}
          - {name: small, run: trace}
        "#,
    );
    run.ends("SUCCESS", "A 1 SUCCESS\n S 1 SUCCESS\n big 1 SUCCESS");
    run.traced(&["big 42"]);
}

/// W06
#[test]
fn a_parameter_that_nobody_gives_fails_it_by_name() {
    let run = case("W06").run(&flow("${nobody} > 1"));
    run.ends("FAILURE", "S 1 FAILURE");
    run.task_says("S", "nobody");
}

/// W07
#[test]
fn an_expression_that_cannot_be_read_is_refused_with_the_file() {
    let problem = case("W07").put(&flow("${rows} > > 1")).refused(422);
    assert_eq!(
        problem["flaws"][0]["path"], "tasks[0].cases[0].if",
        "{problem}"
    );
}

/// W08
#[test]
fn a_start_parameter_decides() {
    let run = case("W08").run_with(&flow("${rows} > 10"), &json!({"params": {"rows": 3}}));
    run.ends("SUCCESS", "S 1 SUCCESS\n small 1 SUCCESS");
}

/// W09
#[test]
fn a_forbidden_switch_leads_to_all_its_branches() {
    let yaml =
        flow("false == true").replace("type: SWITCH", "type: SWITCH\n            forbidden: true");
    let run = case("W09").run(&yaml);
    run.ends("SUCCESS", "big 1 SUCCESS\n small 1 SUCCESS");
}

/// W10
#[test]
fn where_the_branches_meet_again_the_run_goes_on() {
    let yaml = flow("${kind} == \"big\"") + "  - {name: E, run: trace, depends_on: [big, small]}\n";
    let run = case("W10").run(&yaml);
    run.ends("SUCCESS", "S 1 SUCCESS\n big 1 SUCCESS\n E 1 SUCCESS");
    run.traced(&["big", "E"]);
}

/// W11
#[test]
fn text_is_compared_as_text() {
    let run = case("W11").run(&flow("\"${kind}\" == \"big\" && ${rows} >= 12"));
    run.ends("SUCCESS", "S 1 SUCCESS\n big 1 SUCCESS");
}

/// W12
#[test]
fn a_value_never_becomes_a_part_of_the_expression() {
    let run = case("W12").run_with(
        &flow("\"${kind}\" == \"big\""),
        &json!({"params": {"kind": "x\" == \"x\" || \"big"}}),
    );
    run.ends("SUCCESS", "S 1 SUCCESS\n small 1 SUCCESS");
}
