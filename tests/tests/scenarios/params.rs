//! Parameters: which value wins, what tasks hand on, environments.

use serde_json::json;

use super::service::case;

/// P01
#[test]
fn a_global_parameter_reaches_every_task() {
    let run = case("P01").run(
        r#"
        name: global
        params: {name: workflowParam}
        tasks:
          - name: A
            code: 1
            run: if [ "${name}" = "workflowParam" ]; then exit 0; else exit 1; fi
          - name: B
            code: 2
            run: if [ "${name}" = "commandParam" ]; then exit 0; else exit 1; fi
        "#,
    );
    run.ends("FAILURE", "A 1 SUCCESS\n B 1 FAILURE");
}

/// P02
#[test]
fn a_start_parameter_wins_over_a_global_one() {
    let run = case("P02").run_with(
        r#"
        name: global
        params: {name: workflowParam}
        tasks:
          - name: A
            run: '[ "${name}" = "workflowParam" ]'
          - name: B
            run: '[ "${name}" = "commandParam" ]'
        "#,
        &json!({"params": {"name": "commandParam"}}),
    );
    run.ends("FAILURE", "A 1 FAILURE\n B 1 SUCCESS");
}

/// P03
#[test]
fn a_parameter_of_the_task_wins_over_a_global_one_unless_it_is_empty() {
    let run = case("P03").run(
        r#"
        name: own
        params: {name: global}
        tasks:
          - name: A
            run: trace "${name}"
            params: {name: own}
          - name: B
            run: trace "${name}"
            params: {name: ""}
            depends_on: [A]
        "#,
    );
    run.ends("SUCCESS", "A 1 SUCCESS\n B 1 SUCCESS");
    run.traced(&["A own", "B global"]);
}

/// P04
#[test]
fn an_output_is_handed_down_the_chain_and_stays_in_the_pool() {
    let run = case("P04").run(
        r#"
        name: output
        tasks:
          - name: A
            run: echo '${setValue(output=1)}'
            params: {output: {direct: OUT, type: VARCHAR, value: ""}}
          - name: B
            run: trace "${output}"
            params: {output: {direct: IN, type: VARCHAR, value: ""}}
            depends_on: [A]
          - name: C
            run: trace "${output}"
            params: {output: {direct: IN, type: VARCHAR, value: ""}}
            depends_on: [B]
        "#,
    );
    run.ends("SUCCESS", "A 1 SUCCESS\n B 1 SUCCESS\n C 1 SUCCESS");
    run.traced(&["B 1", "C 1"]);
    let pool = json!([{"prop": "output", "direct": "OUT", "type": "VARCHAR", "value": "1"}]);
    assert_eq!(run.shows("var_pool"), pool);
    for task in ["A", "B", "C"] {
        assert_eq!(run.task(task)["var_pool"], pool, "{task}");
    }
}

/// P05
#[test]
fn an_output_may_be_marked_with_a_hash_and_the_last_of_a_name_wins() {
    let run = case("P05").run(
        r"
        name: output
        tasks:
          - name: A
            run: |
              echo '#{setValue(day=monday)} and ${setValue(n=1)}'
              echo 'then ${setValue(n=2)}'
            params: {day: {direct: OUT}, n: {direct: OUT, type: INTEGER}}
          - name: B
            run: trace ${day} ${n}
            depends_on: [A]
        ",
    );
    run.ends("SUCCESS", "A 1 SUCCESS\n B 1 SUCCESS");
    run.traced(&["B monday 2"]);
    let pool = run.shows("var_pool");
    let n = pool
        .as_array()
        .expect("a pool")
        .iter()
        .find(|it| it["prop"] == "n");
    assert_eq!(
        n,
        Some(&json!({"prop": "n", "direct": "OUT", "type": "INTEGER", "value": "2"}))
    );
}

/// P06
#[test]
fn what_is_not_declared_as_an_output_is_not_handed_on() {
    let run = case("P06").run(
        r"
        name: secretive
        params: {n: global}
        tasks:
          - name: A
            run: echo '${setValue(n=1)}'
          - name: B
            run: trace ${n}
            depends_on: [A]
        ",
    );
    run.ends("SUCCESS", "A 1 SUCCESS\n B 1 SUCCESS");
    run.traced(&["B global"]);
    assert_eq!(run.shows("var_pool"), json!([]));
}

/// P07
#[test]
fn from_weak_to_strong_global_upstream_own_start() {
    let run = case("P07").run_with(
        r"
        name: precedence
        params: {a: global, b: global, c: global, d: global}
        tasks:
          - name: A
            run: |
              echo '${setValue(b=upstream)}'
              echo '${setValue(c=upstream)}'
              echo '${setValue(d=upstream)}'
            params: {b: {direct: OUT}, c: {direct: OUT}, d: {direct: OUT}}
          - name: B
            run: trace ${a} ${b} ${c} ${d}
            params: {c: own, d: own}
            depends_on: [A]
        ",
        &json!({"params": {"d": "start"}}),
    );
    run.ends("SUCCESS", "A 1 SUCCESS\n B 1 SUCCESS");
    run.traced(&["B global upstream own start"]);
}

/// P08
#[test]
fn of_two_upstream_values_one_that_is_not_empty_wins_then_the_earlier_one() {
    let run = case("P08").run(
        r"
        name: two
        tasks:
          - name: A
            run: |
              echo '${setValue(x=)}'
              echo '${setValue(y=first)}'
            params: {x: {direct: OUT}, y: {direct: OUT}}
          - name: B
            run: |
              hold
              echo '${setValue(x=second)}'
              echo '${setValue(y=second)}'
            params: {x: {direct: OUT}, y: {direct: OUT}}
          - name: C
            run: trace ${x} ${y}
            depends_on: [B, A]
        ",
    );
    run.reaches("A SUCCESS");
    run.let_go("B");
    run.ends("SUCCESS", "A 1 SUCCESS\n B 1 SUCCESS\n C 1 SUCCESS");
    run.traced(&["C second first"]);
}

/// P09
#[test]
fn a_value_may_speak_of_other_values() {
    let run = case("P09").run(
        r#"
        name: nested
        params: {region: north, table: "orders_${region}"}
        tasks:
          - name: A
            run: trace ${table}
          - name: B
            run: trace ${path}
            params: {path: "/${table}/x"}
            depends_on: [A]
        "#,
    );
    run.ends("SUCCESS", "A 1 SUCCESS\n B 1 SUCCESS");
    run.traced(&["A orders_north", "B /orders_north/x"]);
}

/// P10
#[test]
fn a_name_that_no_parameter_has_is_left_to_the_shell() {
    let run = case("P10").run(
        r#"
        name: shell
        tasks:
          - name: A
            run: |
              mine=here
              trace "${mine}${nobody}"
        "#,
    );
    run.ends("SUCCESS", "A 1 SUCCESS");
    run.traced(&["A here"]);
}

/// P11
#[test]
fn built_in_values_say_where_a_task_is_and_for_which_day() {
    let run = case("P11").run_with(
        r#"
        name: built-in
        tasks:
          - name: A
            code: 17
            run: trace ${system.biz.date} ${system.biz.curdate} ${system.datetime}
          - name: B
            run: trace ${system.workflow.definition.name} ${system.task.definition.name} ${system.project.name}
            depends_on: [A]
          - name: C
            run: '[ "${system.workflow.instance.id}" = "$TIDEMILL_INSTANCE_ID" ]'
            depends_on: [B]
        "#,
        &json!({"schedule_time": "2024-03-01T04:05:06Z"}),
    );
    run.ends("SUCCESS", "A 1 SUCCESS\n B 1 SUCCESS\n C 1 SUCCESS");
    run.traced(&["A 20240229 20240301 20240301040506", "B built-in B P11"]);
}

/// P12
#[test]
fn time_placeholders_count_from_the_schedule_time() {
    let run = case("P12").run_with(
        r#"
        name: times
        params: {yesterday: "$[yyyyMMdd-1]"}
        tasks:
          - name: A
            run: trace ${yesterday} $[yyyy-MM-dd] $[yyyyMMdd+7*1] $[add_months(yyyyMM,-1)]
        "#,
        &json!({"schedule_time": "2024-03-01T00:00:00Z"}),
    );
    run.ends("SUCCESS", "A 1 SUCCESS");
    run.traced(&["A 20240229 2024-03-01 20240308 202402"]);
    let time = run.shows("schedule_time");
    super::run::contains(&time, "2024-03-01T00:00:00");
}

/// P13
#[test]
fn parameters_are_in_the_environment_of_the_process_too() {
    let run = case("P13").run(
        r#"
        name: exported
        params: {region: north}
        tasks:
          - name: A
            run: trace "$(printenv region)"
        "#,
    );
    run.ends("SUCCESS", "A 1 SUCCESS");
    run.traced(&["A north"]);
}

/// P14
#[test]
fn an_environment_comes_before_the_script() {
    let case = case("P14");
    let name = case.own("prod");
    let body = json!({"config": "export STAGE=prod\nexport PLACE=$STAGE-east"}).to_string();
    case.door.put(&format!("/environments/{name}"), body).done();
    let run = case.run(&format!(
        "
        name: staged
        tasks:
          - name: A
            run: trace $PLACE
            environment: {name}
        "
    ));
    run.ends("SUCCESS", "A 1 SUCCESS");
    run.traced(&["A prod-east"]);
}

/// P15
#[test]
fn a_missing_environment_fails_the_task_and_says_so() {
    let run = case("P15").run(
        "
        name: staged
        tasks:
          - {name: A, run: trace, environment: nowhere-P15}
        ",
    );
    run.ends("FAILURE", "A 1 FAILURE");
    run.task_says("A", "nowhere-P15");
    run.traced(&[]);
}

/// P16
#[test]
fn an_environment_of_the_run_is_for_tasks_without_their_own() {
    let case = case("P16");
    for stage in ["test", "prod"] {
        let path = format!("/environments/{}", case.own(stage));
        let body = json!({"config": format!("export STAGE={stage}")}).to_string();
        case.door.put(&path, body).done();
    }
    let run = case.run_with(
        "
        name: staged
        tasks:
          - {name: A, run: trace $STAGE, environment: P16-prod}
          - {name: B, run: trace $STAGE, depends_on: [A]}
        ",
        &json!({"environment": "P16-test"}),
    );
    run.ends("SUCCESS", "A 1 SUCCESS\n B 1 SUCCESS");
    run.traced(&["A prod", "B test"]);
}

/// P17
#[test]
fn the_output_of_a_failed_attempt_is_not_handed_on() {
    let run = case("P17").run(
        r"
        name: retried
        params: {x: global}
        tasks:
          - name: A
            run: |
              if [ $TIDEMILL_ATTEMPT = 1 ]; then echo '${setValue(x=bad)}'; exit 1; fi
              true
            params: {x: {direct: OUT}}
            retry: {times: 1}
          - name: B
            run: trace ${x}
            depends_on: [A]
        ",
    );
    run.ends(
        "SUCCESS",
        "A 1 FAILURE invalid\n A 2 SUCCESS retry 1\n B 1 SUCCESS",
    );
    run.traced(&["B global"]);
}
