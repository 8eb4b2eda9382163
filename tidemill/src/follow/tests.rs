//! A run told by its events as the API writes them, and what is made of it.

use domain::InstanceId;
use domain::workflow_instance::WorkflowState;
use serde_json::{Value, json};

use super::picture::Change;
use super::{Event, Known, Picture, known};

const RUN: u64 = 1_000;

fn event(seq: u64, kind: &str, id: &str, payload: &Value) -> Event {
    let document = json!({
        "shard": 0, "seq": seq, "aggregate_type": kind, "aggregate_id": id, "sequence": 1,
        "payload": payload, "metadata": {"actor": "user", "cause": "command START"},
        "recorded_at": format!("2026-01-01T00:00:{seq:02}Z"),
    });
    Event::parse(&document).unwrap()
}

fn of_run(seq: u64, payload: &Value) -> Event {
    event(seq, "workflow_instance", "1000", payload)
}

fn of_task(seq: u64, payload: &Value) -> Event {
    event(seq, "task_instance", "1000/7", payload)
}

fn submitted(start_nodes: &[u64], depend: &str) -> Event {
    let asked = json!({
        "definition": 5, "version": 1, "project": "default", "workflow": "w",
        "scope": {"start_nodes": start_nodes, "depend": depend},
    });
    of_run(1, &json!({ "submitted": asked }))
}

fn chain() -> Vec<Known> {
    let task = |name: &str, code, before: &[&str]| Known {
        name: name.to_owned(),
        code,
        depends_on: before.iter().map(|&name| name.to_owned()).collect(),
        ..Known::default()
    };
    vec![
        task("a", 6, &[]),
        task("b", 7, &["a"]),
        task("c", 8, &["b"]),
    ]
}

fn names(picture: &Picture) -> Vec<&str> {
    picture
        .tasks
        .iter()
        .map(|task| task.name.as_str())
        .collect()
}

fn worker() -> Value {
    json!({"id": "w", "incarnation": "1", "host": "here"})
}

#[test]
fn a_picture_follows_an_attempt_through_failure_retry_and_success() {
    let mut picture = Picture::new(InstanceId(RUN));
    picture.apply(&submitted(&[], "TASK_POST")).unwrap();
    picture.learn(&chain());
    let steps = [
        (
            json!({"submitted": {"attempt": 1, "retry_times": 0}}),
            Change::Task(1),
        ),
        // Asked of a worker is still SUBMITTED_SUCCESS to a client.
        (
            json!({"dispatch_requested": {"attempt": 1, "worker": worker()}}),
            Change::None,
        ),
        (json!({"dispatched": {"attempt": 1}}), Change::Task(1)),
        (
            json!({"started": {"attempt": 1, "started": {"started_at": 1, "pid": 42}}}),
            Change::Task(1),
        ),
        (
            json!({"finished": {"attempt": 1, "outcome": "FAILURE", "ended_at": 2_000_001, "exit_code": 3,
                "reason": "exit code 3", "retry_at": 9}}),
            Change::Task(1),
        ),
    ];
    for (seq, (payload, change)) in (2..).zip(steps) {
        assert_eq!(
            picture.apply(&of_task(seq, &payload)).unwrap(),
            change,
            "{payload}"
        );
    }
    let task = &picture.document()["tasks"][0];
    assert_eq!(
        (&task["name"], &task["state"], &task["exit_code"]),
        (&json!("b"), &json!("FAILURE"), &json!(3))
    );
    assert_eq!(
        (&task["pid"], &task["worker"], &task["reason"]),
        (&json!(42), &json!("w"), &json!("exit code 3"))
    );
    assert!(picture.tasks[1].retry_at().is_some());
    assert_eq!(picture.done(), 0, "another attempt follows");

    picture
        .apply(&of_task(
            8,
            &json!({"submitted": {"attempt": 2, "retry_times": 1}}),
        ))
        .unwrap();
    let task = &picture.document()["tasks"][0];
    assert_eq!(
        (&task["attempt"], &task["state"]),
        (&json!(2), &json!("SUBMITTED_SUCCESS"))
    );
    assert_eq!(
        (&task["pid"], &task["exit_code"], &task["reason"]),
        (&Value::Null, &Value::Null, &json!(""))
    );
    assert_eq!(picture.document()["not_started"], json!(["a", "c"]));
}

#[test]
fn the_end_of_a_run_is_its_state_and_its_reason() {
    let mut picture = Picture::new(InstanceId(RUN));
    picture.apply(&submitted(&[], "TASK_POST")).unwrap();
    picture
        .apply(&of_run(
            2,
            &json!({"started": {"at": 1_767_225_602_000_000_i64}}),
        ))
        .unwrap();
    assert_eq!(picture.end(), None);
    let finished = json!({"finished": {"state": "FAILURE", "reason": "task \"b\" failed"}});
    assert_eq!(picture.apply(&of_run(5, &finished)).unwrap(), Change::Run);
    assert_eq!(picture.end(), Some(WorkflowState::Failure));
    assert_eq!(picture.elapsed().as_secs(), 3);
    let document = picture.document();
    assert_eq!(
        (&document["id"], &document["state_code"]),
        (&json!(RUN), &json!(6))
    );
    assert_eq!(document["end_time"], "2026-01-01T00:00:05.000000Z");
}

#[test]
fn events_of_other_runs_change_nothing() {
    let mut picture = Picture::new(InstanceId(2_000));
    assert_eq!(
        picture.apply(&submitted(&[], "TASK_POST")).unwrap(),
        Change::None
    );
    assert_eq!(picture.state(), None);
}

#[test]
fn an_event_that_cannot_follow_is_told_and_not_skipped() {
    let mut picture = Picture::new(InstanceId(RUN));
    assert!(
        picture
            .apply(&of_task(1, &json!({"dispatched": {"attempt": 1}})))
            .is_err()
    );
}

#[test]
fn a_run_with_start_nodes_is_about_the_chosen_tasks_only() {
    for (depend, chosen) in [
        ("TASK_ONLY", vec!["b"]),
        ("TASK_PRE", vec!["a", "b"]),
        ("TASK_POST", vec!["b", "c"]),
    ] {
        let mut picture = Picture::new(InstanceId(RUN));
        picture.apply(&submitted(&[7], depend)).unwrap();
        picture.learn(&chain());
        assert_eq!(names(&picture), chosen, "{depend}");
    }
}

#[test]
fn tasks_are_known_from_a_definition_with_and_without_codes() {
    let document = json!({"version": 2, "workflow": {"tasks": [
        {"name": "a", "code": 6}, {"name": "b", "depends_on": ["a"]}]}});
    let known = known(&document);
    assert_eq!(known[0].code, 6);
    assert_eq!(known[1].code, domain::TaskCode::of_name("b").0);
    assert_eq!(known[1].depends_on, ["a"]);
}

#[test]
fn an_unknown_event_is_an_error() {
    let strange = json!({"seq": 1, "aggregate_type": "moon", "aggregate_id": "1"});
    assert!(Event::parse(&strange).is_err());
    let newer = json!({"seq": 1, "aggregate_type": "task_instance", "aggregate_id": "1000/7",
        "payload": {"levitated": {}}, "recorded_at": "2026-01-01T00:00:00Z"});
    assert!(Event::parse(&newer).is_err());
}

#[test]
fn branches_lead_on_and_forbidden_tasks_are_left_out() {
    let document = json!({"tasks": [
        {"name": "judge", "code": 6, "success": ["good"], "failed": "bad"},
        {"name": "route", "code": 7, "depends_on": ["good"], "cases": [{"if": "1 > 0", "then": "big"}]},
        {"name": "good", "code": 8}, {"name": "bad", "code": 9}, {"name": "big", "code": 10},
        {"name": "never", "code": 11, "depends_on": ["judge"], "forbidden": true},
        {"name": "other", "code": 12}]});
    let mut picture = Picture::new(InstanceId(RUN));
    picture.apply(&submitted(&[6], "TASK_POST")).unwrap();
    picture.learn(&known(&document));
    assert_eq!(names(&picture), ["judge", "route", "good", "bad", "big"]);
}

#[test]
fn a_run_that_goes_on_has_not_ended() {
    let mut picture = Picture::new(InstanceId(RUN));
    picture.apply(&submitted(&[], "TASK_POST")).unwrap();
    picture.learn(&chain());
    let at = 1_767_225_602_000_000_i64;
    let started = json!({"started": {"at": at}});
    let events = [
        of_run(2, &started),
        of_task(3, &json!({"submitted": {"attempt": 1, "retry_times": 0}})),
        of_run(4, &json!({"pause_requested": {"reason": "paused by user"}})),
        of_task(
            5,
            &json!({"paused": {"attempt": 1, "reason": "paused by user"}}),
        ),
        of_run(
            6,
            &json!({"finished": {"state": "PAUSE", "reason": "paused by user"}}),
        ),
    ];
    for event in &events {
        picture.apply(event).unwrap();
    }
    assert_eq!(picture.end(), Some(WorkflowState::Pause));
    assert_eq!(picture.done(), 0, "what is paused is not done");
    let restarted = json!({"restarted": {
        "restart": "RECOVER_SUSPENDED_PROCESS", "run_times": 2, "scope": {}, "reason": "resumed by user"}});
    picture.apply(&of_run(7, &restarted)).unwrap();
    picture.apply(&of_run(8, &started)).unwrap();
    picture
        .apply(&of_task(9, &json!({"resumed": {"attempt": 1}})))
        .unwrap();
    assert_eq!(picture.end(), None);
    let document = picture.document();
    assert_eq!(
        (
            &document["run_times"],
            &document["end_time"],
            &document["reason"]
        ),
        (&json!(2), &Value::Null, &json!(""))
    );
    assert_eq!(document["tasks"][0]["state"], "SUBMITTED_SUCCESS");
}

#[test]
fn a_task_that_is_to_be_run_again_has_not_begun() {
    let mut picture = Picture::new(InstanceId(RUN));
    picture.apply(&submitted(&[7], "TASK_ONLY")).unwrap();
    picture.learn(&chain());
    let end = json!({"finished": {"attempt": 1, "outcome": "SUCCESS", "ended_at": 2}});
    let events = [
        of_task(2, &json!({"submitted": {"attempt": 1, "retry_times": 0}})),
        of_task(3, &end),
        of_task(
            5,
            &json!({"invalidated": {"attempt": 1, "reason": "run again by user"}}),
        ),
    ];
    for event in &events {
        picture.apply(event).unwrap();
    }
    assert_eq!(picture.document()["not_started"], json!(["b"]));
    assert_eq!(picture.document()["tasks"], json!([]));
}
