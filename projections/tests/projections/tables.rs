//! What rows show after each of their turns.

use std::sync::Arc;

use domain::task_instance::{self, Outcome, Output, TaskState, Work};
use domain::workflow_instance::{
    self, Alert, AlertKind, Parent, Restart, Scope, Submission, WorkflowState,
};
use domain::{Fact, InstanceId, ShardId, TaskCode, TaskId, Timestamp, WorkerRef};
use projections::ParentTask;

use crate::world::{World, follow, places};

const RUN: InstanceId = InstanceId(7_002);

fn task(name: &str) -> TaskId {
    TaskId {
        instance: RUN,
        task: TaskCode::of_name(name),
    }
}

fn submitted(attempt: u32) -> task_instance::Event {
    task_instance::Event::Submitted {
        attempt,
        retry_times: 0,
        delay_until: None,
        task_group: None,
        dispatch_by: None,
    }
}

fn finished(
    attempt: u32,
    outcome: Outcome,
    rows: &str,
    key: &str,
    at: i64,
) -> task_instance::Event {
    task_instance::Event::Finished {
        attempt,
        outcome,
        ended_at: Timestamp(at),
        started: None,
        exit_code: None,
        var_pool: vec![Output::text("rows", rows)],
        reason: String::new(),
        retry_at: None,
        branches: None,
        cache_key: Some(key.to_owned()),
    }
}

fn asked(world: &World, parent: Option<Parent>) -> workflow_instance::Event {
    workflow_instance::Event::Submitted(Arc::new(Submission {
        definition: world.definition,
        version: 1,
        parent,
        ..Submission::default()
    }))
}

fn run(event: workflow_instance::Event) -> Fact {
    Fact::Workflow(RUN, event)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_run_is_gone_with_its_tasks_and_stays_gone() {
    for at_once in [true, false] {
        for place in places() {
            let mut world = World::new().await;
            let alert = Alert {
                kind: AlertKind::TaskTimeout,
                task: Some(task("load").task),
                text: "load takes longer than 1h".to_owned(),
            };
            let raised = |number, alert: &Alert| {
                let alert = alert.clone();
                run(workflow_instance::Event::AlertRaised { number, alert })
            };
            let about_the_run = Alert {
                kind: AlertKind::WorkflowFailure,
                task: None,
                text: "load failed".to_owned(),
            };
            let facts = [
                run(asked(&world, None)),
                raised(1, &alert),
                raised(2, &about_the_run),
                Fact::Task(task("load"), submitted(1)),
            ];
            world.tell(facts).await;
            let shown = follow(&world, &place).await;
            if !at_once {
                world.settle(&shown.reader).await;
                assert_eq!(shown.reader.tasks(RUN).await.unwrap().len(), 1);
            }
            world
                .tell([run(workflow_instance::Event::Deleted {})])
                .await;
            let late = workflow_instance::Event::AlertSettled {
                number: 1,
                reason: "nobody listens".to_owned(),
            };
            let released = workflow_instance::Event::TurnReleased { run_times: 1 };
            world.tell([run(late), run(released)]).await;
            world.settle(&shown.reader).await;
            assert_eq!(shown.reader.instance(RUN).await.unwrap(), None);
            assert_eq!(shown.reader.tasks(RUN).await.unwrap(), []);
            let alerts = shown.reader.alerts(RUN).await.unwrap();
            let told: Vec<_> = alerts
                .iter()
                .map(|row| (row.number, row.kind, row.task, row.settled_at.is_some()))
                .collect();
            assert_eq!(
                told,
                [
                    (1, AlertKind::TaskTimeout, alert.task, true),
                    (2, AlertKind::WorkflowFailure, None, false)
                ]
            );
            assert_eq!(alerts[0].reason, "nobody listens");
            assert_eq!(alerts[1].text, "load failed");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_waits_for_an_end_is_told_each_time_it_is_in_the_tables() {
    for place in places() {
        let mut world = World::new().await;
        let shown = follow(&world, &place).await;
        let (mut one, mut other) = (shown.reader.ending(RUN), shown.reader.ending(RUN));
        let ended = |state| workflow_instance::Event::Finished {
            state,
            reason: String::new(),
            var_pool: Vec::new(),
        };
        let first = [run(asked(&world, None)), run(ended(WorkflowState::Failure))];
        world.tell(first).await;
        let (told, also) = tokio::join!(one.told(), other.told());
        let row = shown.reader.instance(RUN).await.unwrap();
        assert_eq!(row.as_ref().unwrap().state, WorkflowState::Failure);
        assert_eq!((&told, &also), (&row, &row));
        drop(other);
        let again = workflow_instance::Event::Restarted {
            restart: Restart::StartFailureTaskProcess,
            run_times: 2,
            scope: Scope::default(),
            reason: String::new(),
        };
        // What removes rows takes several trips to the database.
        let gone = Fact::Workflow(InstanceId(8_002), workflow_instance::Event::Deleted {});
        world
            .tell([run(again), run(ended(WorkflowState::Success)), gone])
            .await;
        let told = one.told().await;
        let row = shown.reader.instance(RUN).await.unwrap();
        assert_eq!(row.as_ref().unwrap().state, WorkflowState::Success);
        assert_eq!(told, row);
        // Whoever must see a position is told, too, and looks for himself.
        let least = shown.reader.at_least(RUN.shard(), 1);
        let mut careful = least.ending(RUN);
        let end = run(ended(WorkflowState::Failure));
        world.tell([end]).await;
        assert_eq!(careful.told().await, None);
        let row = least.instance(RUN).await.unwrap().unwrap();
        assert_eq!(row.state, WorkflowState::Failure);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_goes_on_has_not_ended() {
    for place in places() {
        let mut world = World::new().await;
        let shown = follow(&world, &place).await;
        let ended = || workflow_instance::Event::Finished {
            state: WorkflowState::Failure,
            reason: "load failed".to_owned(),
            var_pool: vec![Output::text("rows", "1")],
        };
        let first = [run(asked(&world, None)), run(ended())];
        world.tell(first).await;
        world.settle(&shown.reader).await;
        let row = shown.reader.instance(RUN).await.unwrap().unwrap();
        assert_eq!((row.end_time, row.run_times), (Some(world.now), 1));
        assert_eq!(
            (row.reason.as_str(), row.var_pool.len()),
            ("load failed", 1)
        );
        assert_eq!(row.command, "START_PROCESS");

        let again = workflow_instance::Event::Restarted {
            restart: Restart::StartFailureTaskProcess,
            run_times: 2,
            scope: Scope::default(),
            reason: "somebody asked".to_owned(),
        };
        world.tell([run(again)]).await;
        world.settle(&shown.reader).await;
        let row = shown.reader.instance(RUN).await.unwrap().unwrap();
        assert_eq!((row.end_time, row.run_times), (None, 2));
        assert_eq!((row.reason.as_str(), row.var_pool.len()), ("", 0));
        assert_eq!(row.command, "START_FAILURE_TASK_PROCESS");
        assert_eq!(row.state, WorkflowState::SubmittedSuccess);
        let unfinished = shown.reader.unfinished(world.definition, 9).await.unwrap();
        assert_eq!(unfinished, [row]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_attempt_has_not_ended_and_waits_again_when_it_goes_on() {
    use task_instance::Event as Task;
    for place in places() {
        let mut world = World::new().await;
        let shown = follow(&world, &place).await;
        let id = task("await");
        let engaged = Task::Engaged {
            attempt: 1,
            at: Timestamp(5),
            work: Work::Check,
            timeout_at: None,
        };
        let first = [
            run(asked(&world, None)),
            Fact::Task(id, submitted(1)),
            Fact::Task(id, engaged),
        ];
        world.tell(first).await;
        world.settle(&shown.reader).await;
        let row = shown.reader.tasks(RUN).await.unwrap().remove(0);
        assert_eq!(
            (row.state, row.start_time, row.task_type.as_str()),
            (TaskState::RunningExecution, Some(Timestamp(5)), "DEPENDENT")
        );
        let paused = Task::Paused {
            attempt: 1,
            reason: "somebody asked".to_owned(),
        };
        world.tell([Fact::Task(id, paused)]).await;
        world.settle(&shown.reader).await;
        let row = shown.reader.tasks(RUN).await.unwrap().remove(0);
        assert_eq!(
            (row.state, row.end_time, row.reason.as_str()),
            (TaskState::Pause, None, "somebody asked")
        );
        let resumed = Task::Resumed {
            attempt: 1,
            task_group: None,
            dispatch_by: None,
        };
        world.tell([Fact::Task(id, resumed)]).await;
        world.settle(&shown.reader).await;
        let row = shown.reader.tasks(RUN).await.unwrap().remove(0);
        assert_eq!(
            (row.state, row.start_time, row.reason.as_str()),
            (TaskState::SubmittedSuccess, None, "")
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn d06_issue_7696_an_attempt_has_no_start_before_it_starts_and_a_host_from_when_it_has_one() {
    use task_instance::Event as Task;
    let delayed = Task::Submitted {
        attempt: 1,
        retry_times: 0,
        delay_until: Some(Timestamp(9)),
        task_group: None,
        dispatch_by: None,
    };
    let turns = [
        (delayed, TaskState::DelayExecution, None, "", None),
        (
            Task::DelayPassed {
                attempt: 1,
                dispatch_by: None,
            },
            TaskState::SubmittedSuccess,
            None,
            "",
            None,
        ),
        (
            Task::DispatchRequested {
                attempt: 1,
                worker: WorkerRef::new("w", "1", "host"),
            },
            TaskState::SubmittedSuccess,
            None,
            "host",
            None,
        ),
        (
            Task::Dispatched { attempt: 1 },
            TaskState::Dispatch,
            None,
            "host",
            None,
        ),
        (
            Task::Started {
                attempt: 1,
                started: task_instance::Started {
                    started_at: Timestamp(11),
                    log_path: "1.log".to_owned(),
                    pid: None,
                },
                timeout_at: None,
            },
            TaskState::RunningExecution,
            Some(Timestamp(11)),
            "host",
            None,
        ),
        (
            finished(1, Outcome::Success, "1", "key", 12),
            TaskState::Success,
            Some(Timestamp(11)),
            "host",
            Some(Timestamp(12)),
        ),
    ];
    for place in places() {
        let mut world = World::new().await;
        let shown = follow(&world, &place).await;
        world.tell([run(asked(&world, None))]).await;
        for (event, state, start, host, end) in turns.clone() {
            world.tell([Fact::Task(task("extract"), event)]).await;
            world.settle(&shown.reader).await;
            let row = shown.reader.tasks(RUN).await.unwrap().remove(0);
            assert_eq!(
                (row.state, row.start_time, row.host.as_str(), row.end_time),
                (state, start, host, end)
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_attempt_names_the_runs_that_it_started() {
    for place in places() {
        let mut world = World::new().await;
        let child = |number| InstanceId::new(number, ShardId(2));
        let started = |world: &World, number, index| {
            let parent = Parent {
                instance: RUN,
                task: task("load").task,
                index,
                depth: 1,
                dynamic: false,
            };
            Fact::Workflow(child(number), asked(world, Some(parent)))
        };
        let facts = [
            run(asked(&world, None)),
            Fact::Task(task("load"), submitted(1)),
            started(&world, 20, 0),
            started(&world, 21, 1),
            Fact::Task(task("load"), submitted(2)),
            started(&world, 22, 0),
            Fact::Task(task("check"), submitted(1)),
        ];
        for fact in facts {
            world.now = Timestamp(world.now.micros() + 1);
            world.tell([fact]).await;
        }
        let shown = follow(&world, &place).await;
        world.settle(&shown.reader).await;
        let tasks = shown.reader.tasks(RUN).await.unwrap();
        let named: Vec<_> = tasks
            .iter()
            .map(|row| {
                (
                    row.name.as_str(),
                    row.attempt,
                    row.valid,
                    row.children.clone(),
                )
            })
            .collect();
        assert_eq!(
            named,
            [
                ("load", 1, false, vec![child(20), child(21)]),
                ("load", 2, true, vec![child(22)]),
                ("check", 1, true, vec![])
            ]
        );
        assert_eq!(tasks[1].first_submit_time, tasks[0].submit_time);
        assert!(tasks[1].submit_time > tasks[0].submit_time);
        let children = shown.reader.children(RUN).await.unwrap();
        let parent = Some(ParentTask {
            id: RUN,
            task: task("load").task,
        });
        let ids: Vec<_> = children.iter().map(|row| (row.id, row.parent)).collect();
        assert_eq!(ids, [20, 21, 22].map(|number| (child(number), parent)));
        assert_eq!(shown.reader.children(child(20)).await.unwrap(), []);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_newest_success_of_a_key_is_what_is_found() {
    for place in places() {
        let mut world = World::new().await;
        let on = |name, event| Fact::Task(task(name), event);
        let facts = [
            run(asked(&world, None)),
            on("extract", submitted(1)),
            on("extract", finished(1, Outcome::Success, "2", "a", 20)),
            on("extract", submitted(2)),
            on("extract", finished(2, Outcome::Success, "1", "a", 10)),
            on("extract", submitted(3)),
            on("extract", finished(3, Outcome::Failure, "3", "a", 30)),
            on("load", submitted(1)),
            on("load", finished(1, Outcome::Success, "4", "b", 40)),
        ];
        world.tell(facts).await;
        let shown = follow(&world, &place).await;
        world.settle(&shown.reader).await;
        let found = |rows: &str| Ok(Some(vec![Output::text("rows", rows)]));
        assert_eq!(shown.reader.cached("a").await, found("2"));
        assert_eq!(shown.reader.cached("b").await, found("4"));
        assert_eq!(shown.reader.cached("c").await, Ok(None));
    }
}
