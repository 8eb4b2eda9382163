//! How events are written down. What is stored is for ever: a change of the snapshot is a new version of
//! an event and an upcaster, or a mistake.

use std::fmt::Write;
use std::sync::Arc;

use super::*;
use crate::id::{TaskCode, WorkerRef};
use crate::task_instance::{Event as Task, Outcome, Output, Started};
use crate::testing::{at, spec, submission, task, worker};
use crate::workflow_definition::{Param, Priority};
use crate::workflow_instance::{
    Depend, Event as Workflow, FailureStrategy, Submission, WorkflowState,
};

const RUN: InstanceId = InstanceId(12_003);
const TASK: TaskId = TaskId {
    instance: RUN,
    task: TaskCode(77),
};

/// The event after this one in the sample. A new event does not compile without a place in it.
fn next_task_event(event: Option<&Task>) -> Option<Task> {
    let attempt = 2;
    let reason = "its words".to_owned();
    let worker: WorkerRef = worker("a");
    Some(match event {
        None => Task::Submitted {
            attempt,
            retry_times: 1,
        },
        Some(Task::Submitted { .. }) => Task::DispatchRequested { attempt, worker },
        Some(Task::DispatchRequested { .. }) => Task::DispatchFailed { attempt, reason },
        Some(Task::DispatchFailed { .. }) => Task::Dispatched { attempt },
        Some(Task::Dispatched { .. }) => Task::Adopted { attempt, worker },
        Some(Task::Adopted { .. }) => Task::Started {
            attempt,
            started: start(),
        },
        Some(Task::Started { .. }) => Task::KillRequested { attempt, reason },
        Some(Task::KillRequested { .. }) => Task::Finished {
            attempt,
            outcome: Outcome::Failure,
            ended_at: at(3),
            started: Some(start()),
            exit_code: Some(-1),
            outputs: vec![Output {
                name: "rows".to_owned(),
                value: "42".to_owned(),
            }],
            reason,
            retry_at: Some(at(4)),
        },
        Some(Task::Finished { .. }) => Task::Lost { attempt, reason },
        Some(Task::Lost { .. }) => Task::RetryAbandoned { attempt, reason },
        Some(Task::RetryAbandoned { .. }) => Task::LateReported {
            attempt,
            outcome: Outcome::Kill,
        },
        Some(Task::LateReported { .. }) => return None,
    })
}

fn next_workflow_event(event: Option<&Workflow>) -> Option<Workflow> {
    Some(match event {
        None => Workflow::Submitted(Arc::new(Submission {
            params: vec![Param::text("day", "2026-01-01")],
            failure: FailureStrategy::End,
            start_nodes: vec![TaskCode(77)],
            depend: Depend::TaskOnly,
            dry_run: true,
            priority: Priority::Lowest,
            ..submission()
        })),
        Some(Workflow::Submitted(_)) => Workflow::Started {},
        Some(Workflow::Started {}) => Workflow::StopRequested {
            reason: "alice asked".to_owned(),
        },
        Some(Workflow::StopRequested { .. }) => Workflow::Finished {
            state: WorkflowState::Stop,
            reason: "alice asked".to_owned(),
        },
        Some(Workflow::Finished { .. }) => return None,
    })
}

fn start() -> Started {
    Started {
        started_at: at(1),
        log_path: "12003/77/2.log".to_owned(),
        pid: Some(4242),
    }
}

/// One of each event, full, and the ones that are written shorter when they have less to say.
fn samples() -> Vec<Fact> {
    let tasks = std::iter::successors(next_task_event(None), |event| next_task_event(Some(event)));
    let runs = std::iter::successors(next_workflow_event(None), |event| {
        next_workflow_event(Some(event))
    });
    let bare_start = Started {
        log_path: String::new(),
        pid: None,
        ..start()
    };
    let mut facts: Vec<Fact> = runs.map(|event| Fact::Workflow(RUN, event)).collect();
    facts.push(Fact::Workflow(
        RUN,
        Workflow::Submitted(Arc::new(submission())),
    ));
    facts.push(Fact::Workflow(
        RUN,
        Workflow::Finished {
            state: WorkflowState::Success,
            reason: String::new(),
        },
    ));
    facts.extend(tasks.map(|event| Fact::Task(TASK, event)));
    facts.push(Fact::Task(
        TASK,
        Task::Started {
            attempt: 1,
            started: bare_start,
        },
    ));
    facts.push(Fact::Task(
        TASK,
        Task::Finished {
            attempt: 1,
            outcome: Outcome::Success,
            ended_at: at(3),
            started: None,
            exit_code: None,
            outputs: vec![],
            reason: String::new(),
            retry_at: None,
        },
    ));
    facts.push(Fact::Definition(
        DefinitionCode(5),
        workflow_definition::Event::Defined {
            version: 1,
            workflow: spec(vec![task("a", &[])]),
        },
    ));
    facts.push(Fact::Trigger(
        "key/of a caller".to_owned(),
        trigger::Event::Fired { instance: RUN },
    ));
    facts
}

#[test]
fn the_stored_form_of_every_event() {
    let mut stored = String::new();
    for fact in samples() {
        writeln!(
            stored,
            "{} | {} v{}\n  {}",
            fact.stream(),
            fact.event_type(),
            fact.event_version(),
            fact.payload()
        )
        .unwrap();
    }
    insta::with_settings!({omit_expression => true, prepend_module_to_snapshot => false}, {
        insta::assert_snapshot!("events", stored);
    });
}

#[test]
fn every_event_reads_back_as_it_was_written() {
    for fact in samples() {
        assert_eq!(Fact::parse(&fact.stream(), &fact.payload()), Ok(fact));
    }
}

#[test]
fn a_payloads_only_key_is_the_events_name() {
    for fact in samples() {
        let value: serde_json::Value = serde_json::from_str(&fact.payload()).unwrap();
        let keys: Vec<_> = value.as_object().unwrap().keys().collect();
        assert_eq!(keys, [fact.event_type()]);
    }
}

#[test]
fn the_parts_of_a_run_live_in_its_shard() {
    for fact in samples() {
        match &fact {
            Fact::Workflow(..) | Fact::Task(..) => {
                assert_eq!(fact.instance(), Some(RUN));
                assert_eq!(fact.shard(16), ShardId(3));
            }
            Fact::Definition(..) => {
                assert_eq!(fact.instance(), None);
                assert_eq!((fact.shard(4), fact.shard(0)), (ShardId(1), ShardId(0)));
            }
            Fact::Trigger(..) => {
                assert_eq!(fact.instance(), None);
                assert_eq!(fact.shard(16), ShardId(3));
            }
        }
    }
}

#[test]
fn what_cannot_be_read_is_told_with_its_stream_and_never_skipped() {
    let stream = Fact::Task(TASK, Task::Dispatched { attempt: 1 }).stream();
    for unreadable in [
        "",
        "{}",
        "not json",
        r#"{"dispatched":{}}"#,
        r#"{"dispatched":{"attempt":1,"colour":"red"}}"#,
        r#"{"dispatched":{"attempt":-1}}"#,
        r#"{"teleported":{"attempt":1}}"#,
        r#"{"dispatched":{"attempt":1},"lost":{"attempt":1,"reason":""}}"#,
        r#"{"started":{"attempt":1,"started_at":1,"colour":"red"}}"#,
    ] {
        let error = Fact::parse(&stream, unreadable).unwrap_err();
        assert!(error.starts_with("task_instance 12003/77: "), "{error}");
        assert!(error.ends_with(unreadable), "{error}");
    }
    let no_such_id = StreamId {
        kind: AggregateType::WorkflowInstance,
        id: "twelve".to_owned(),
    };
    assert!(Fact::parse(&no_such_id, r#"{"started":{}}"#).is_err());
}

#[test]
fn the_names_of_kinds_are_read_back() {
    for kind in AggregateType::ALL {
        assert_eq!(AggregateType::from_name(kind.name()), Some(kind));
    }
    assert_eq!(AggregateType::from_name("process_instance"), None);
}
