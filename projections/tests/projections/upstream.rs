//! What a DEPENDENT task is told about other runs.

use std::sync::Arc;

use domain::run::Wanted;
use domain::task_instance::{self, Outcome};
use domain::workflow_definition::Verdict::{self, Fails, Holds, Waiting};
use domain::workflow_instance::WorkflowState::{self, Block, Failure, Pause, Stop, Success};
use domain::workflow_instance::{Event, Submission};
use domain::{DefinitionCode, Fact, InstanceId, ShardId, TaskCode, TaskId, Timestamp, WorkerRef};
use store::Log;

use crate::world::{World, places};

/// A run: its number, the time that it is for, when it began, and when and how it ended.
type Ran = (u64, Option<i64>, i64, Option<(i64, WorkflowState)>);

fn id(number: u64) -> InstanceId {
    InstanceId::new(number, ShardId(1))
}

async fn runs(world: &mut World, definition: DefinitionCode, offset: u64, ran: Ran) {
    let (number, schedule, begin, end) = ran;
    let id = id(offset + number);
    let submission = Submission {
        definition,
        version: 1,
        schedule_time: schedule.map(Timestamp),
        ..Submission::default()
    };
    world.now = Timestamp(begin);
    let started = Event::Started {
        at: Timestamp(begin),
        timeout_at: None,
    };
    world
        .tell([
            Fact::Workflow(id, Event::Submitted(Arc::new(submission))),
            Fact::Workflow(id, started),
        ])
        .await;
    if let Some((end, state)) = end {
        world.now = Timestamp(end);
        let ended = Event::Finished {
            state,
            reason: String::new(),
            var_pool: Vec::new(),
        };
        world.tell([Fact::Workflow(id, ended)]).await;
    }
}

/// What is known about the interval from 100 until 200, when these have run; of a workflow of others, and of
/// the asker's own. The ninth run is the one that asks.
const INTERVAL: &[(&str, &[Ran], Verdict, Verdict)] = &[
    ("nothing ever ran", &[], Waiting, Holds),
    (
        "only the asker",
        &[(9, Some(150), 150, None)],
        Waiting,
        Holds,
    ),
    (
        "only the asker, in this interval",
        &[(9, Some(150), 150, None), (1, Some(300), 300, None)],
        Waiting,
        Waiting,
    ),
    (
        "for it",
        &[(1, Some(150), 900, Some((950, Success)))],
        Holds,
        Holds,
    ),
    (
        "for its first",
        &[(1, Some(100), 900, Some((950, Success)))],
        Holds,
        Holds,
    ),
    (
        "for the next one's first",
        &[(1, Some(200), 150, Some((950, Success)))],
        Waiting,
        Waiting,
    ),
    (
        "for no time, in it",
        &[(1, None, 150, Some((950, Success)))],
        Holds,
        Holds,
    ),
    (
        "for no time, after it",
        &[(1, None, 200, Some((950, Success)))],
        Waiting,
        Waiting,
    ),
    (
        "failed",
        &[(1, Some(150), 150, Some((160, Failure)))],
        Fails,
        Fails,
    ),
    (
        "stopped",
        &[(1, Some(150), 150, Some((160, Stop)))],
        Fails,
        Fails,
    ),
    (
        "paused",
        &[(1, Some(150), 150, Some((160, Pause)))],
        Fails,
        Fails,
    ),
    (
        "blocked",
        &[(1, None, 150, Some((160, Block)))],
        Fails,
        Fails,
    ),
    ("runs", &[(1, Some(150), 150, None)], Waiting, Waiting),
    (
        "the last to end is not the newest",
        &[
            (1, Some(150), 150, Some((300, Success))),
            (2, Some(160), 160, Some((250, Failure))),
        ],
        Holds,
        Holds,
    ),
    (
        "who runs ends last",
        &[
            (1, Some(150), 150, None),
            (2, Some(160), 160, Some((250, Success))),
        ],
        Waiting,
        Waiting,
    ),
    (
        "of both kinds the higher id",
        &[
            (1, Some(150), 150, Some((500, Success))),
            (2, None, 150, Some((160, Failure))),
        ],
        Fails,
        Fails,
    ),
];

#[tokio::test(flavor = "multi_thread")]
async fn in_each_interval_one_instance_decides() {
    for place in places() {
        let mut world = World::new().await;
        let coded = |case: usize| (DefinitionCode(100 + case as u64), 10 * (1 + case as u64));
        for (case, (_, ran, ..)) in INTERVAL.iter().enumerate() {
            let (definition, offset) = coded(case);
            for ran in *ran {
                runs(&mut world, definition, offset, *ran).await;
            }
        }
        let projections = place.open().await;
        let (_feed, runner) = projections.spawn(Arc::clone(&world.log) as Arc<dyn Log>);
        let reader = projections.reader();
        world.settle(&reader).await;
        for (case, (name, _, others, owns)) in INTERVAL.iter().enumerate() {
            let (definition, offset) = coded(case);
            for (own, verdict) in [(false, others), (true, owns)] {
                let wanted = Wanted {
                    definition,
                    task: None,
                    intervals: vec![(Timestamp(100), Timestamp(200))],
                    except: id(offset + 9),
                    own,
                };
                assert_eq!(reader.upstream(&wanted).await, Ok(*verdict), "{name}");
            }
        }
        runner.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn issue_15229_every_interval_must_hold_and_one_that_fails_is_not_waited_with() {
    for place in places() {
        let mut world = World::new().await;
        let definition = DefinitionCode(5);
        let (good, bad) = (
            (1, Some(50), 50, Some((60, Success))),
            (2, Some(150), 150, Some((160, Failure))),
        );
        for ran in [good, bad] {
            runs(&mut world, definition, 0, ran).await;
        }
        let projections = place.open().await;
        let (_feed, runner) = projections.spawn(Arc::clone(&world.log) as Arc<dyn Log>);
        let reader = projections.reader();
        world.settle(&reader).await;
        let (good, bad, empty) = ((0, 100), (100, 200), (200, 300));
        let cases = [
            (vec![], Fails),
            (vec![good], Holds),
            (vec![good, bad], Fails),
            (vec![good, empty], Waiting),
            (vec![bad, empty], Fails),
            (vec![empty, bad], Fails),
        ];
        for (intervals, verdict) in cases {
            let interval = |(from, until)| (Timestamp(from), Timestamp(until));
            let wanted = Wanted {
                definition,
                task: None,
                intervals: intervals.into_iter().map(interval).collect(),
                except: id(9),
                own: false,
            };
            assert_eq!(reader.upstream(&wanted).await, Ok(verdict), "{wanted:?}");
        }
        runner.stop().await;
    }
}

/// What happened to a task, how its run ended, and what is known about it.
fn of_task() -> Vec<(Vec<task_instance::Event>, Option<WorkflowState>, Verdict)> {
    use task_instance::Event as Task;
    let submitted = |attempt| Task::Submitted {
        attempt,
        retry_times: 0,
        delay_until: None,
        task_group: None,
        dispatch_by: None,
    };
    let finished = |outcome, retry_at| Task::Finished {
        attempt: 1,
        outcome,
        ended_at: Timestamp(1),
        started: None,
        exit_code: None,
        var_pool: Vec::new(),
        reason: String::new(),
        retry_at,
        branches: None,
        cache_key: None,
    };
    let reason = || "somebody asked".to_owned();
    let paused = Task::Paused {
        attempt: 1,
        reason: reason(),
    };
    let forced = Task::SuccessForced {
        attempt: 1,
        reason: reason(),
        var_pool: Vec::new(),
    };
    let again = Task::Invalidated {
        attempt: 1,
        reason: reason(),
        afresh: false,
    };
    let lost = |replaced| Task::Lost {
        attempt: 1,
        reason: reason(),
        replaced,
    };
    let abandoned = Task::RetryAbandoned {
        attempt: 1,
        reason: reason(),
    };
    let on_worker = [
        submitted(1),
        Task::DispatchRequested {
            attempt: 1,
            worker: WorkerRef::new("w", "1", "w"),
        },
        Task::Dispatched { attempt: 1 },
    ];
    let success = finished(Outcome::Success, None);
    let failure = finished(Outcome::Failure, None);
    let retried = finished(Outcome::Failure, Some(Timestamp(9)));
    vec![
        (vec![], None, Waiting),
        (vec![], Some(Success), Fails),
        (vec![submitted(1)], None, Waiting),
        (on_worker.to_vec(), None, Waiting),
        (vec![submitted(1), success.clone()], None, Holds),
        (vec![submitted(1), success.clone()], Some(Failure), Holds),
        (vec![submitted(1), failure.clone()], None, Fails),
        (
            vec![submitted(1), finished(Outcome::Kill, None)],
            None,
            Fails,
        ),
        (vec![submitted(1), retried.clone()], None, Waiting),
        (vec![submitted(1), retried, abandoned], None, Fails),
        (vec![submitted(1), failure, forced], Some(Failure), Holds),
        (vec![submitted(1), success, again], None, Waiting),
        (vec![submitted(1), paused.clone()], None, Waiting),
        (vec![submitted(1), paused], Some(Pause), Fails),
        (vec![submitted(1), lost(false)], None, Fails),
        (vec![submitted(1), lost(true)], None, Waiting),
        (vec![submitted(1), lost(true), submitted(2)], None, Waiting),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn d49_issue_15038_of_a_task_the_attempt_that_counts_decides() {
    for place in places() {
        let mut world = World::new().await;
        let task = TaskCode::of_name("extract");
        let from = |case: usize| 1_000 * (1 + case as i64);
        for (case, (facts, ended, _)) in of_task().into_iter().enumerate() {
            let instance = id(1 + case as u64);
            let end = ended.map(|state| (from(case) + 20, state));
            let definition = world.definition;
            let ran = (1, Some(from(case)), from(case), end);
            let of_task = |fact| Fact::Task(TaskId { instance, task }, fact);
            if !facts.is_empty() {
                world.tell(facts.into_iter().map(of_task)).await;
            }
            runs(&mut world, definition, case as u64, ran).await;
        }
        let projections = place.open().await;
        let (_feed, runner) = projections.spawn(Arc::clone(&world.log) as Arc<dyn Log>);
        let reader = projections.reader();
        world.settle(&reader).await;
        let wanted = |case: usize, task: &str| Wanted {
            definition: world.definition,
            task: Some(task.to_owned()),
            intervals: vec![(Timestamp(from(case)), Timestamp(from(case) + 1))],
            except: id(900),
            own: false,
        };
        for (case, (facts, ended, verdict)) in of_task().into_iter().enumerate() {
            let answer = reader.upstream(&wanted(case, "extract")).await;
            assert_eq!(answer, Ok(verdict), "{facts:?}, {ended:?}");
            // A task that the workflow does not have never runs.
            let never = if ended.is_some() { Fails } else { Waiting };
            let answer = reader.upstream(&wanted(case, "nothing")).await;
            assert_eq!(answer, Ok(never));
        }
        runner.stop().await;
    }
}
