//! What holds for everything that is seen, whatever is claimed: codes fit names, what did not succeed says
//! why, what has ended says when, only the newest attempt of a task counts, and a refusal says what is allowed.

use std::collections::BTreeMap;

use serde_json::{Value, json};

const RUN_STATES: [(&str, u64); 11] = [
    ("SUBMITTED_SUCCESS", 0),
    ("RUNNING_EXECUTION", 1),
    ("READY_PAUSE", 2),
    ("PAUSE", 3),
    ("READY_STOP", 4),
    ("STOP", 5),
    ("FAILURE", 6),
    ("SUCCESS", 7),
    ("SERIAL_WAIT", 14),
    ("READY_BLOCK", 15),
    ("BLOCK", 16),
];
/// States in which nothing goes on.
pub(crate) const ENDED: [&str; 5] = ["SUCCESS", "FAILURE", "STOP", "PAUSE", "BLOCK"];

const TASK_STATES: [(&str, u64); 10] = [
    ("SUBMITTED_SUCCESS", 0),
    ("RUNNING_EXECUTION", 1),
    ("PAUSE", 3),
    ("FAILURE", 6),
    ("SUCCESS", 7),
    ("NEED_FAULT_TOLERANCE", 8),
    ("KILL", 9),
    ("DELAY_EXECUTION", 12),
    ("FORCED_SUCCESS", 13),
    ("DISPATCH", 17),
];
/// What the engine carries out itself, so that no worker has it.
const ON_ENGINE: [&str; 6] = [
    "CONDITIONS",
    "SWITCH",
    "SUB_WORKFLOW",
    "DEPENDENT",
    "DYNAMIC",
    "BLOCKING",
];
/// States of a task that ended badly, each with a reason and an end.
const BAD: [&str; 3] = ["FAILURE", "NEED_FAULT_TOLERANCE", "KILL"];

#[track_caller]
pub(crate) fn check_refusal(problem: &Value, command: &str) {
    assert_eq!(problem["command"], command, "{problem}");
    assert_ne!(problem["subject"].as_str().unwrap_or_default(), "");
    let allowed = problem["allowed"].as_array().expect("what is allowed");
    assert!(!allowed.contains(&json!(command)), "{problem}");
}

/// What holds for every run.
#[track_caller]
pub(crate) fn check_run(run: &Value) {
    let state = run["state"].as_str().expect("a state");
    let known = RUN_STATES.iter().find(|(name, _)| *name == state);
    let (_, code) = known.unwrap_or_else(|| panic!("unknown state: {run}"));
    assert_eq!(run["state_code"], *code, "{run}");
    let reason = run["reason"].as_str().expect("a reason, even if empty");
    if state == "SUCCESS" {
        assert_eq!(reason, "", "{run}");
    }
    if ["FAILURE", "STOP", "PAUSE", "BLOCK", "SERIAL_WAIT"].contains(&state) {
        assert_ne!(reason, "", "no reason: {run}");
    }
    if ["SUCCESS", "FAILURE", "STOP"].contains(&state) {
        assert!(run["end_time"].is_string(), "no end: {run}");
    }
    if !ENDED.contains(&state) {
        assert!(run["end_time"].is_null(), "an end before the end: {run}");
    }
}

/// What holds for the rows of every run.
#[track_caller]
pub(crate) fn check_rows(rows: &[Value]) {
    let mut newest: BTreeMap<&str, u64> = BTreeMap::new();
    for row in rows {
        let state = row["state"].as_str().expect("a state");
        let known = TASK_STATES.iter().find(|(name, _)| *name == state);
        let (_, code) = known.unwrap_or_else(|| panic!("unknown state: {row}"));
        assert_eq!(row["state_code"], *code, "{row}");
        let reason = row["reason"].as_str().expect("a reason, even if empty");
        if state == "SUCCESS" {
            assert_eq!(reason, "", "{row}");
        }
        if BAD.contains(&state) || state == "PAUSE" {
            assert_ne!(reason, "", "no reason: {row}");
        }
        assert!(row["submit_time"].is_string(), "{row}");
        check_place_and_times(row, state);
        if let (Some(start), Some(end)) = (row["start_time"].as_str(), row["end_time"].as_str()) {
            assert!(start <= end, "it ended before it started: {row}");
        }
        let attempt = row["attempt"].as_u64().expect("an attempt");
        let before = newest.insert(row["name"].as_str().expect("a name"), attempt);
        assert_eq!(attempt, before.unwrap_or(0) + 1, "attempts count on: {row}");
    }
    for row in rows.iter().filter(|row| row["valid"] == true) {
        let newest = newest[row["name"].as_str().expect("a name")];
        assert_eq!(row["attempt"], newest, "an old attempt counts: {row}");
    }
}

/// What a worker has says where, what runs says since when, what has ended says when, and what has not begun
/// has no start.
#[track_caller]
fn check_place_and_times(row: &Value, state: &str) {
    let ended = BAD.contains(&state) || ["SUCCESS", "FORCED_SUCCESS"].contains(&state);
    assert!(!ended || row["end_time"].is_string(), "no end: {row}");
    let kind = row["type"].as_str().expect("a type");
    let has_host = row["host"].as_str().is_some_and(|host| !host.is_empty());
    if state == "DISPATCH" || (state == "RUNNING_EXECUTION" && !ON_ENGINE.contains(&kind)) {
        assert!(has_host, "nobody knows where: {row}");
    }
    let runs = state == "RUNNING_EXECUTION";
    assert!(!runs || row["start_time"].is_string(), "no start: {row}");
    if ["SUBMITTED_SUCCESS", "DELAY_EXECUTION", "DISPATCH"].contains(&state) {
        assert!(row["start_time"].is_null(), "a start too early: {row}");
    }
}
