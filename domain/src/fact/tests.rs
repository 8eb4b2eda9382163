//! How events are written down. What is stored is for ever: a change of the snapshot is a new version of
//! an event and an upcaster, or a mistake.

use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::id::{TaskCode, WorkerRef};
use crate::serial_queue::{Asker, Event as Queue};
use crate::task_group::Event as Group;
use crate::task_instance::{Event as Task, Outcome, Output, Started, Wake, Work};
use crate::testing::{at, spec, submission, task, worker};
use crate::workflow_definition::{Execution, Param, Priority, TaskGroupRef, TimeoutStrategy};
use crate::workflow_instance::{
    Alert, AlertKind, Depend, Event as Workflow, FailureStrategy, Parent, Restart, Scope,
    Submission, Warning, WorkflowState,
};

const RUN: InstanceId = InstanceId(12_003);
const TASK: TaskId = TaskId {
    instance: RUN,
    task: TaskCode(77),
};
const ATTEMPT: crate::AttemptId = crate::AttemptId {
    task: TASK,
    number: 2,
};
const ASKER: Asker = Asker {
    instance: RUN,
    run_times: 2,
};

fn slot() -> TaskGroupRef {
    TaskGroupRef {
        name: "gpu".to_owned(),
        priority: 7,
    }
}

fn rows() -> Vec<Output> {
    vec![Output {
        type_name: "INTEGER".to_owned(),
        ..Output::text("rows", "42")
    }]
}

/// The event after this one in the sample. A new event does not compile without a place in it.
#[allow(clippy::too_many_lines)] // a list, to be read as one
fn next_task_event(event: Option<&Task>) -> Option<Task> {
    let attempt = 2;
    let reason = "its words".to_owned();
    let worker: WorkerRef = worker("a");
    let dispatch_by = Some(at(9));
    Some(match event {
        None => Task::Submitted {
            attempt,
            retry_times: 1,
            delay_until: Some(at(8)),
            task_group: Some(slot()),
            dispatch_by,
        },
        Some(Task::Submitted { .. }) => Task::DelayPassed {
            attempt,
            dispatch_by,
        },
        Some(Task::DelayPassed { .. }) => Task::SlotGranted {
            attempt,
            dispatch_by,
        },
        Some(Task::SlotGranted { .. }) => Task::SlotReleased { attempt },
        Some(Task::SlotReleased { .. }) => Task::DispatchRequested { attempt, worker },
        Some(Task::DispatchRequested { .. }) => Task::DispatchFailed { attempt, reason },
        Some(Task::DispatchFailed { .. }) => Task::Dispatched { attempt },
        Some(Task::Dispatched { .. }) => Task::Adopted { attempt, worker },
        Some(Task::Adopted { .. }) => Task::Started {
            attempt,
            started: start(),
            timeout_at: Some(at(7)),
        },
        Some(Task::Started { .. }) => Task::Engaged {
            attempt,
            at: at(1),
            work: Work::Children {
                planned: 3,
                parallelism: 2,
            },
            timeout_at: Some(at(7)),
        },
        Some(Task::Engaged { .. }) => Task::ChildStarted {
            attempt,
            index: 0,
            instance: InstanceId(13_003),
            wake: Some(Wake::Recover),
        },
        Some(Task::ChildStarted { .. }) => Task::ChildEnded {
            attempt,
            index: 0,
            state: WorkflowState::Success,
            outputs: rows(),
        },
        Some(Task::ChildEnded { .. }) => Task::TimedOut {
            attempt,
            strategy: TimeoutStrategy::WarnFailed,
        },
        Some(Task::TimedOut { .. }) => Task::KillRequested { attempt, reason },
        Some(Task::KillRequested { .. }) => Task::Paused { attempt, reason },
        Some(Task::Paused { .. }) => Task::Resumed {
            attempt,
            task_group: Some(slot()),
            dispatch_by,
        },
        Some(Task::Resumed { .. }) => Task::Finished {
            attempt,
            outcome: Outcome::Failure,
            ended_at: at(3),
            started: Some(start()),
            exit_code: Some(-1),
            var_pool: rows(),
            reason,
            retry_at: Some(at(4)),
            branches: Some(vec![TaskCode(78)]),
            cache_key: Some("c0ffee".to_owned()),
        },
        Some(Task::Finished { .. }) => Task::Lost {
            attempt,
            reason,
            replaced: true,
        },
        Some(Task::Lost { .. }) => Task::RetryAbandoned { attempt, reason },
        Some(Task::RetryAbandoned { .. }) => Task::SuccessForced {
            attempt,
            reason,
            var_pool: rows(),
        },
        Some(Task::SuccessForced { .. }) => Task::Invalidated {
            attempt,
            reason,
            afresh: true,
        },
        Some(Task::Invalidated { .. }) => Task::LateReported {
            attempt,
            outcome: Outcome::Kill,
        },
        Some(Task::LateReported { .. }) => return None,
    })
}

/// What can be left out, left out.
fn bare_task_events() -> Vec<Task> {
    let attempt = 1;
    let bare_start = Started {
        log_path: String::new(),
        pid: None,
        ..start()
    };
    vec![
        Task::Submitted {
            attempt,
            retry_times: 0,
            delay_until: None,
            task_group: None,
            dispatch_by: None,
        },
        Task::DelayPassed {
            attempt,
            dispatch_by: None,
        },
        Task::SlotGranted {
            attempt,
            dispatch_by: None,
        },
        Task::Started {
            attempt,
            started: bare_start,
            timeout_at: None,
        },
        Task::Engaged {
            attempt,
            at: at(1),
            work: Work::Check,
            timeout_at: None,
        },
        Task::ChildStarted {
            attempt,
            index: 0,
            instance: InstanceId(13_003),
            wake: None,
        },
        Task::ChildEnded {
            attempt,
            index: 0,
            state: WorkflowState::Failure,
            outputs: vec![],
        },
        Task::Resumed {
            attempt,
            task_group: None,
            dispatch_by: None,
        },
        Task::Finished {
            attempt,
            outcome: Outcome::Success,
            ended_at: at(3),
            started: None,
            exit_code: None,
            var_pool: vec![],
            reason: String::new(),
            retry_at: None,
            branches: None,
            cache_key: None,
        },
        Task::SuccessForced {
            attempt,
            reason: "alice asked".to_owned(),
            var_pool: vec![],
        },
        Task::Invalidated {
            attempt,
            reason: "alice asked".to_owned(),
            afresh: false,
        },
    ]
}

fn full_submission() -> Submission {
    Submission {
        params: vec![Param::text("day", "2026-01-01")],
        failure: FailureStrategy::End,
        scope: Scope {
            start_nodes: vec![TaskCode(77)],
            depend: Depend::TaskOnly,
        },
        dry_run: true,
        priority: Priority::Lowest,
        execution: Execution::SerialPriority,
        timeout: Some(Duration::from_mins(1)),
        schedule_time: Some(at(5)),
        time_zone: Some("Europe/Berlin".to_owned()),
        worker_group: Some("gpu".to_owned()),
        dispatch_timeout: Some(Duration::from_secs(30)),
        environment: Some("prod".to_owned()),
        warning: Warning::All,
        parent: Some(Parent {
            instance: InstanceId(9_003),
            task: TaskCode(5),
            index: 1,
            depth: 2,
            dynamic: false,
        }),
        ..submission()
    }
}

fn next_workflow_event(event: Option<&Workflow>) -> Option<Workflow> {
    let reason = "alice asked".to_owned();
    Some(match event {
        None => Workflow::Submitted(Arc::new(full_submission())),
        Some(Workflow::Submitted(_)) => Workflow::Queued {},
        Some(Workflow::Queued {}) => Workflow::Started {
            at: at(1),
            timeout_at: Some(at(61)),
        },
        Some(Workflow::Started { .. }) => Workflow::TimedOut {},
        Some(Workflow::TimedOut {}) => Workflow::PauseRequested { reason },
        Some(Workflow::PauseRequested { .. }) => Workflow::BlockRequested { reason },
        Some(Workflow::BlockRequested { .. }) => Workflow::StopRequested { reason },
        Some(Workflow::StopRequested { .. }) => Workflow::Finished {
            state: WorkflowState::Stop,
            reason,
            var_pool: rows(),
        },
        Some(Workflow::Finished { .. }) => Workflow::TurnReleased { run_times: 1 },
        Some(Workflow::TurnReleased { .. }) => Workflow::Restarted {
            restart: Restart::ExecuteTask,
            run_times: 2,
            scope: Scope {
                start_nodes: vec![TaskCode(77)],
                depend: Depend::TaskPre,
            },
            reason,
        },
        Some(Workflow::Restarted { .. }) => Workflow::AlertRaised {
            number: 1,
            alert: Alert {
                kind: AlertKind::TaskTimeout,
                task: Some(TaskCode(77)),
                text: "it takes long".to_owned(),
            },
        },
        Some(Workflow::AlertRaised { .. }) => Workflow::AlertSettled {
            number: 1,
            reason: "nobody answers".to_owned(),
        },
        Some(Workflow::AlertSettled { .. }) => Workflow::Deleted {},
        Some(Workflow::Deleted {}) => return None,
    })
}

fn bare_workflow_events() -> Vec<Workflow> {
    vec![
        Workflow::Submitted(Arc::new(submission())),
        Workflow::Started {
            at: at(1),
            timeout_at: None,
        },
        Workflow::Finished {
            state: WorkflowState::Success,
            reason: String::new(),
            var_pool: vec![],
        },
        Workflow::Restarted {
            restart: Restart::RepeatRunning,
            run_times: 2,
            scope: Scope::default(),
            reason: "alice asked".to_owned(),
        },
        Workflow::AlertRaised {
            number: 2,
            alert: Alert {
                kind: AlertKind::WorkflowFailure,
                task: None,
                text: "it failed".to_owned(),
            },
        },
        Workflow::AlertSettled {
            number: 2,
            reason: String::new(),
        },
    ]
}

fn next_group_event(event: Option<&Group>) -> Option<Group> {
    let attempt = ATTEMPT;
    Some(match event {
        None => Group::Defined { size: 3 },
        Some(Group::Defined { .. }) => Group::Requested {
            attempt,
            claim: 1,
            priority: -1,
        },
        Some(Group::Requested { .. }) => Group::Granted {
            attempt,
            forced: true,
        },
        Some(Group::Granted { .. }) => Group::Released { attempt },
        Some(Group::Released { .. }) => return None,
    })
}

fn next_queue_event(event: Option<&Queue>) -> Option<Queue> {
    Some(match event {
        None => Queue::Requested(ASKER),
        Some(Queue::Requested(_)) => Queue::Granted(ASKER),
        Some(Queue::Granted(_)) => Queue::Refused(ASKER),
        Some(Queue::Refused(_)) => Queue::Superseded(ASKER),
        Some(Queue::Superseded(_)) => Queue::Released(ASKER),
        Some(Queue::Released(_)) => return None,
    })
}

fn start() -> Started {
    Started {
        started_at: at(1),
        log_path: "12003/77/2.log".to_owned(),
        pid: Some(4242),
    }
}

/// Every event of a list in which each says what comes after it.
fn all<E>(next: fn(Option<&E>) -> Option<E>) -> impl Iterator<Item = E> {
    std::iter::successors(next(None), move |event| next(Some(event)))
}

/// One of each event, full, and the ones that are written shorter when they have less to say.
fn samples() -> Vec<Fact> {
    let runs = all(next_workflow_event).chain(bare_workflow_events());
    let tasks = all(next_task_event).chain(bare_task_events());
    let mut facts: Vec<Fact> = runs.map(|event| Fact::Workflow(RUN, event)).collect();
    facts.extend(tasks.map(|event| Fact::Task(TASK, event)));
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
    facts.extend(all(next_group_event).map(|event| Fact::TaskGroup("gpu".into(), event)));
    facts.push(Fact::TaskGroup(
        "gpu".into(),
        Group::Granted {
            attempt: ATTEMPT,
            forced: false,
        },
    ));
    facts.extend(all(next_queue_event).map(|event| Fact::SerialQueue(DefinitionCode(5), event)));
    facts.push(Fact::Environment(
        "prod".into(),
        environment::Event::Changed {
            config: "export A=1".into(),
        },
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
            Fact::Definition(..) | Fact::SerialQueue(..) => {
                assert_eq!(fact.instance(), None);
                assert_eq!((fact.shard(4), fact.shard(0)), (ShardId(1), ShardId(0)));
            }
            Fact::Trigger(..) => {
                assert_eq!(fact.instance(), None);
                assert_eq!(fact.shard(16), ShardId(3));
            }
            Fact::TaskGroup(..) | Fact::Environment(..) => {
                assert_eq!(fact.instance(), None);
                assert_eq!(fact.shard(1), ShardId(0));
                assert!(fact.shard(16).0 < 16);
            }
        }
    }
}

#[test]
fn things_of_one_name_and_different_kinds_need_not_share_a_shard() {
    let shards = |kind| (0..50).map(move |n| ShardId::of_name(kind, &n.to_string(), 16));
    assert!(shards("task_group").ne(shards("environment")));
}

/// Of the catalogue of failures: A3-04.
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
