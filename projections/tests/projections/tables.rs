//! The smaller tables, and what a row shows after each of a row's turns.

use std::sync::Arc;

use domain::task_instance::{self, Outcome, Output, TaskState, Work};
use domain::workflow_instance::{
    self, Alert, AlertKind, Parent, Restart, Scope, Submission, WorkflowState,
};
use domain::{
    AttemptId, Fact, InstanceId, ShardId, TaskCode, TaskId, Timestamp, environment, task_group,
};
use projections::{ParentTask, Projections, Reader, Runner, SlotStatus, TaskGroupRow};
use store::Log;

use crate::world::{Place, World, places};

const RUN: InstanceId = InstanceId(7_002);

/// Tables that follow a log.
struct Shown {
    reader: Reader,
    _projections: Projections,
    _runner: Runner,
}

async fn follow(world: &World, place: &Place) -> Shown {
    let projections = place.open().await;
    let (feed, runner) = projections.spawn(Arc::clone(&world.log) as Arc<dyn Log>);
    drop(feed);
    Shown {
        reader: projections.reader(),
        _projections: projections,
        _runner: runner,
    }
}

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

#[tokio::test(flavor = "multi_thread")]
async fn a_task_group_is_shown_with_who_has_its_slots_and_who_waits() {
    use task_group::Event as Group;
    for place in places() {
        let mut world = World::new().await;
        let shown = follow(&world, &place).await;
        let attempt = |number| AttemptId {
            task: task("load"),
            number,
        };
        let small = |event| Fact::TaskGroup("small".into(), event);
        let asks = |number, priority| {
            let attempt = attempt(number);
            small(Group::Requested { attempt, priority })
        };
        world.tell([asks(1, 0), asks(2, 5), asks(3, 0)]).await;
        world.settle(&shown.reader).await;
        let group = |size, used, waiting| {
            let name = "small".to_owned();
            Ok(Some(TaskGroupRow {
                name,
                size,
                used,
                waiting,
            }))
        };
        assert_eq!(shown.reader.task_group("small").await, group(None, 0, 3));
        let granted = Group::Granted {
            attempt: attempt(3),
            forced: true,
        };
        world
            .tell([small(Group::Defined { size: 0 }), small(granted)])
            .await;
        world.settle(&shown.reader).await;
        assert_eq!(shown.reader.task_group("small").await, group(Some(0), 1, 2));
        let slots = shown.reader.task_group_slots("small").await.unwrap();
        let slots: Vec<_> = slots
            .iter()
            .map(|slot| (slot.attempt.number, slot.status, slot.priority))
            .collect();
        assert_eq!(
            slots,
            [
                (3, SlotStatus::Holds, 0),
                (2, SlotStatus::Waiting, 5),
                (1, SlotStatus::Waiting, 0)
            ]
        );
        // Who lets go and asks again is the last in the row.
        let released = |number| {
            let attempt = attempt(number);
            small(Group::Released { attempt })
        };
        world
            .tell([released(3), released(1), asks(3, 0), asks(1, 0)])
            .await;
        world.settle(&shown.reader).await;
        let slots = shown.reader.task_group_slots("small").await.unwrap();
        let numbers: Vec<_> = slots.iter().map(|slot| slot.attempt.number).collect();
        assert_eq!(numbers, [2, 3, 1]);
        assert_eq!(shown.reader.task_group("small").await, group(Some(0), 0, 3));
        assert_eq!(shown.reader.task_group("nothing").await, Ok(None));
        assert_eq!(shown.reader.task_groups().await.unwrap().len(), 2);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_environment_is_what_it_was_last_set_to() {
    for place in places() {
        let mut world = World::new().await;
        let shown = follow(&world, &place).await;
        for (name, config) in [
            ("prod", "export A=1\n"),
            ("dev", ""),
            ("prod", "export A=2\n"),
        ] {
            world.now = Timestamp(world.now.micros() + 1);
            let event = environment::Event::Changed {
                config: config.into(),
            };
            world.tell([Fact::Environment(name.into(), event)]).await;
        }
        world.settle(&shown.reader).await;
        let row = shown.reader.environment("prod").await.unwrap().unwrap();
        assert_eq!(
            (row.config.as_str(), row.updated),
            ("export A=2\n", world.now)
        );
        let all = shown.reader.environments().await.unwrap();
        let names: Vec<_> = all.iter().map(|row| row.name.as_str()).collect();
        assert_eq!(names, ["dev", "prod"]);
        assert_eq!(shown.reader.environment("test").await, Ok(None));
    }
}
