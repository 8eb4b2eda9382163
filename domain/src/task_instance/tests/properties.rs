//! What holds whatever is asked, in whatever order, however often.

use proptest::prelude::*;

use super::*;
use crate::aggregate::Aggregate;
use crate::id::InstanceId;
use crate::task_instance::{Obligation, Phase, TaskState, Wake, Work};
use crate::testing::{fold, reborn};
use crate::workflow_definition::{TaskGroupRef, Timeout, TimeoutStrategy};
use crate::workflow_instance::WorkflowState;

fn some_worker() -> impl Strategy<Value = WorkerRef> {
    (prop::sample::select(vec!["a", "b"]), 1..=2_u32)
        .prop_map(|(id, incarnation)| reborn(id, incarnation))
}

fn some_outcome() -> impl Strategy<Value = Outcome> {
    prop::sample::select(vec![Outcome::Success, Outcome::Failure, Outcome::Kill])
}

fn some_span() -> impl Strategy<Value = Option<Duration>> {
    prop::option::of((1..30_u64).prop_map(Duration::from_secs))
}

fn some_terms() -> impl Strategy<Value = Terms> {
    let strategy = prop::sample::select(vec![
        TimeoutStrategy::Warn,
        TimeoutStrategy::Failed,
        TimeoutStrategy::WarnFailed,
    ]);
    let group = prop::option::weighted(0.3, Just("gpu"));
    let retry = prop::option::of(0..3_u32);
    let spans = (some_span(), some_span(), some_span());
    (0..200_i64, spans, strategy, group, retry).prop_map(
        |(now, (delay, dispatch_timeout, timeout), strategy, group, retry)| Terms {
            at: at(now),
            delay: delay.unwrap_or_default(),
            task_group: group.map(|name| TaskGroupRef {
                name: name.to_owned(),
                priority: 0,
            }),
            dispatch_timeout,
            timeout: timeout.map(|after| Timeout { after, strategy }),
            retry: retry.map(|times| Retry {
                times,
                interval: Duration::from_secs(10),
            }),
            worker_group: "default".to_owned(),
        },
    )
}

fn some_report() -> impl Strategy<Value = Report> {
    (some_outcome(), any::<bool>(), any::<Option<i32>>()).prop_map(|(outcome, began, exit_code)| {
        Report {
            started: began.then(start),
            exit_code,
            ..report(outcome)
        }
    })
}

fn some_state() -> impl Strategy<Value = WorkflowState> {
    prop::sample::select(vec![
        WorkflowState::Success,
        WorkflowState::Failure,
        WorkflowState::Pause,
    ])
}

/// What a worker, a child or a clock may say at any time.
fn some_news() -> impl Strategy<Value = Command> {
    let attempt = 0..4_u32;
    let index = 0..3_u32;
    let child = |index: u32| InstanceId(2_000 + u64::from(index));
    prop_oneof![
        4 => (attempt.clone(), some_worker())
            .prop_map(|(attempt, worker)| Command::Accept { attempt, worker }),
        2 => (attempt.clone(), some_worker()).prop_map(|(attempt, worker)| Command::Refuse {
            attempt,
            worker,
            reason: "full".to_owned(),
            at: at(NOW),
        }),
        4 => (attempt.clone(), some_worker(), some_terms()).prop_map(|(attempt, worker, terms)| {
            Command::ReportStarted { attempt, worker, started: start(), terms }
        }),
        4 => (attempt.clone(), some_worker(), some_report(), some_terms()).prop_map(
            |(attempt, worker, report, terms)| Command::ReportFinished {
                attempt,
                worker,
                report,
                terms,
            }
        ),
        2 => (some_worker(), any::<bool>(), 0..3_u32, some_terms()).prop_map(
            |(worker, replace, failovers, terms)| Command::Lose {
                worker,
                reason: "its lease ran out".to_owned(),
                replace,
                failovers,
                terms,
            }
        ),
        3 => some_terms().prop_map(Command::Wake),
        3 => (attempt.clone(), some_terms())
            .prop_map(|(attempt, terms)| Command::GrantSlot { attempt, claim: 0, terms }),
        2 => attempt.clone().prop_map(|attempt| Command::ReleaseSlot { attempt, claim: 0 }),
        3 => (attempt, index.clone(), prop::option::weighted(0.3, Just(Wake::Resume))).prop_map(
            move |(attempt, index, wake)| Command::StartChild {
                attempt,
                index,
                instance: child(index),
                wake,
            }
        ),
        3 => (index, some_state()).prop_map(move |(index, state)| Command::EndChild {
            index,
            instance: child(index),
            state,
            outputs: vec![],
        }),
        1 => Just(pause()),
    ]
}

/// What the run, or a person, may ask for.
fn some_order() -> impl Strategy<Value = Command> {
    let work = prop_oneof![
        Just(Work::Check),
        (1..4_u32, 1..3_u32).prop_map(|(planned, parallelism)| Work::Children {
            planned,
            parallelism,
        }),
    ];
    prop_oneof![
        4 => some_terms().prop_map(Command::Submit),
        6 => some_worker().prop_map(|worker| Command::RequestDispatch { worker }),
        3 => (work, some_terms()).prop_map(|(work, terms)| Command::Engage {
            at: terms.at,
            work,
            terms,
        }),
        1 => some_outcome().prop_map(conclude),
        1 => Just(kill()),
        1 => some_terms().prop_map(Command::Resume),
        1 => Just(force()),
        1 => any::<bool>().prop_map(invalidate),
    ]
}

fn some_command() -> impl Strategy<Value = Command> {
    prop_oneof![some_news(), some_order()]
}

/// What is true of every state and what it owes, in one place.
fn check_state(task: &TaskInstance) {
    let owed = task.owes();
    let slots = owed
        .iter()
        .filter(|owed| matches!(owed, Obligation::ReleaseSlot { .. }))
        .count();
    assert_eq!(slots, task.traces().releasing.len());
    if !is_active(task) {
        assert_eq!(owed.len(), slots, "what has ended owes no more: {task:?}");
        assert_eq!(
            task.traces().claim,
            None,
            "nor does it claim a slot: {task:?}"
        );
    } else if !matches!(task.stage, Stage::OnEngine { .. }) {
        assert!(!owed.is_empty(), "what is active owes something: {task:?}");
    }
    assert_eq!(
        task.holder(task.attempt).is_some(),
        matches!(task.stage, Stage::OnWorker { .. })
    );
    for earlier in 0..task.attempt {
        assert_eq!(task.holder(earlier), None, "only one attempt is valid");
    }
    assert!(task.traces().unreported.iter().all(|&n| n <= task.attempt));
    assert!(task.traces().releasing.keys().all(|&n| n <= task.attempt));
    assert!(task.retry_times < task.attempt.max(1));
    let waits = matches!(task.stage, Stage::Retrying { .. });
    let absent = task.stage == Stage::Absent;
    assert_eq!(
        task.state().is_some_and(TaskState::is_finished),
        (!is_active(task) && !absent) || waits
    );
    assert_ne!(task.stage, Stage::Replacing, "nobody ever sees it there");
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 1_000, ..ProptestConfig::default() })]

    /// Of the catalogue of failures: B29.
    #[test]
    fn what_decide_says_evolve_takes_and_saying_it_again_adds_nothing(
        commands in prop::collection::vec(some_command(), 1..40)
    ) {
        let mut task = TaskInstance::default();
        let mut log = Vec::new();
        for command in commands {
            let answer = task.decide(&command);
            prop_assert_eq!(task.decide(&command), answer.clone(), "deciding remembers nothing");
            let Ok(events) = answer else { continue };
            task = fold(task, &events);
            log.extend(events);
            check_state(&task);
            prop_assert_eq!(task.decide(&command), Ok(vec![]), "{:?} again in {:?}", command, task);
        }
        prop_assert_eq!(fold(TaskInstance::default(), &log), task);
        for attempt in log.iter().map(Event::attempt) {
            let ends = log.iter().filter(|event| {
                event.attempt() == attempt
                    && matches!(event, Event::Finished { .. } | Event::Lost { .. })
            });
            prop_assert!(ends.count() <= 1, "attempt {} ended twice: {:?}", attempt, log);
        }
    }

    /// Of the catalogue of failures: H-26.
    #[test]
    fn i1_no_news_brings_back_what_has_ended(
        past in prop::collection::vec(some_command(), 1..40),
        news in prop::collection::vec(some_news(), 1..20),
    ) {
        let mut task = TaskInstance::default();
        for command in &past {
            if let Ok(events) = task.decide(command) {
                task = fold(task, &events);
            }
        }
        if is_active(&task) {
            let end = match &task.stage {
                Stage::OnWorker { worker, .. } => Command::ReportFinished {
                    attempt: task.attempt,
                    worker: worker.clone(),
                    report: report(Outcome::Kill),
                    terms: terms(),
                },
                Stage::OnEngine { .. } => conclude(Outcome::Kill),
                Stage::Absent
                | Stage::Delayed { .. }
                | Stage::WaitingSlot { .. }
                | Stage::Submitted
                | Stage::Retrying { .. }
                | Stage::Paused
                | Stage::Succeeded { .. }
                | Stage::Failed { .. }
                | Stage::Killed { .. }
                | Stage::Lost { .. }
                | Stage::Replacing => kill(),
            };
            task = fold(task.clone(), &task.decide(&end).unwrap());
        }
        prop_assert!(!is_active(&task));
        for command in &news {
            let events = task.decide(command).unwrap();
            prop_assert!(
                events.iter().all(|event| matches!(
                    event,
                    Event::LateReported { .. } | Event::SlotReleased { .. }
                )),
                "{:?} brought back {:?}", events, task
            );
            task = fold(task, &events);
        }
    }

    /// Of the catalogue of failures: A3-10, A3-52.
    #[test]
    fn i2_every_order_and_number_of_the_reports_of_an_attempt_ends_in_the_same_state(
        order in prop::collection::vec(0..3_usize, 0..12),
        outcome in some_outcome(),
        searching in any::<bool>(),
        killed in any::<bool>(),
    ) {
        let words = [
            accept(1, "a"),
            report_started(1, "a"),
            report_finished(1, "a", outcome),
        ];
        // The engine may still be asking that worker, or another one may have refused meanwhile.
        let past = match (searching, killed) {
            (true, _) => and(asked(), refused(1)),
            (false, false) => asked(),
            (false, true) => and(asked(), kill_requested(1)),
        };
        let mut task = fold(TaskInstance::default(), &past);
        let mut log = Vec::new();
        let finishing = [2];
        for word in order.iter().chain(&finishing).map(|&index| &words[index]) {
            let events = task.decide(word).unwrap();
            task = fold(task, &events);
            log.extend(events);
        }
        let account = report(outcome);
        // Who wanted it dead says more than the worker that saw to it.
        let wanted = killed && !searching && outcome == Outcome::Kill;
        let reason = if wanted { "alice asked" } else { &account.reason };
        let reason = reason.into();
        let expected = match outcome {
            Outcome::Success => Stage::Succeeded {
                var_pool: account.var_pool.into(),
                branches: None,
                forced: false,
            },
            Outcome::Failure => Stage::Failed { reason },
            Outcome::Kill => Stage::Killed { reason },
        };
        prop_assert_eq!(&task.stage, &expected);
        let mut in_order = fold(TaskInstance::default(), &past);
        for word in &words {
            in_order = fold(in_order.clone(), &in_order.decide(word).unwrap());
        }
        prop_assert_eq!(&task, &in_order, "each word once, in its order, is the same");
        let ends = log.iter().filter(|event| matches!(event, Event::Finished { .. }));
        prop_assert_eq!(ends.count(), 1);
        let starts = log.iter().filter(|event| matches!(event, Event::Started { .. }));
        prop_assert!(starts.count() <= 1);
    }

    /// Of the catalogue of failures: B10.
    #[test]
    fn an_attempt_only_moves_forward_unless_it_was_refused_or_paused(
        commands in prop::collection::vec(some_command(), 1..40)
    ) {
        let mut task = TaskInstance::default();
        for command in commands {
            let before = task.clone();
            if let Ok(events) = task.decide(&command) {
                let back = events.iter().any(|event| {
                    matches!(event, Event::DispatchFailed { .. } | Event::Resumed { .. })
                });
                task = fold(task, &events);
                prop_assert!(task.attempt >= before.attempt);
                if task.attempt == before.attempt && !back {
                    prop_assert!(rank(&task) >= rank(&before), "{before:?} -> {task:?}");
                }
            }
        }
    }

    #[test]
    fn an_event_reads_back_what_it_writes(
        commands in prop::collection::vec(some_command(), 1..40)
    ) {
        let mut task = TaskInstance::default();
        for command in commands {
            for event in task.decide(&command).unwrap_or_default() {
                let text = serde_json::to_string(&event).unwrap();
                prop_assert_eq!(serde_json::from_str::<Event>(&text).unwrap(), event.clone());
                task = task.evolve(&event).unwrap();
            }
        }
    }
}

fn rank(task: &TaskInstance) -> u8 {
    match &task.stage {
        Stage::Absent if task.attempt == 0 => 0,
        Stage::Delayed { .. } => 1,
        Stage::WaitingSlot { .. } => 2,
        Stage::Submitted => 3,
        Stage::OnWorker { phase, .. } => match phase {
            Phase::Requested => 4,
            Phase::Dispatched => 5,
            Phase::Running => 6,
        },
        Stage::OnEngine { .. } => 6,
        Stage::Retrying { .. } | Stage::Paused => 7,
        Stage::Replacing
        | Stage::Succeeded { .. }
        | Stage::Failed { .. }
        | Stage::Killed { .. }
        | Stage::Lost { .. } => 8,
        Stage::Absent => 9,
    }
}
