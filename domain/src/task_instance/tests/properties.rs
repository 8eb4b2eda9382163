//! What holds whatever is asked, in whatever order, however often.

use proptest::prelude::*;

use super::*;
use crate::aggregate::Aggregate;
use crate::task_instance::{Obligation, Phase, Stage, TaskState};
use crate::testing::{fold, reborn};

fn some_worker() -> impl Strategy<Value = WorkerRef> {
    (prop::sample::select(vec!["a", "b"]), 1..=2_u32)
        .prop_map(|(id, incarnation)| reborn(id, incarnation))
}

fn some_outcome() -> impl Strategy<Value = Outcome> {
    prop::sample::select(vec![Outcome::Success, Outcome::Failure, Outcome::Kill])
}

fn some_retry() -> impl Strategy<Value = Option<Retry>> {
    prop::option::of((0..3_u32, 0..100_i64).prop_map(|(times, now)| Retry {
        times,
        interval: std::time::Duration::from_secs(10),
        at: at(now),
    }))
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

fn some_command() -> impl Strategy<Value = Command> {
    let attempt = 0..4_u32;
    prop_oneof![
        2 => Just(Command::Submit),
        6 => some_worker().prop_map(|worker| Command::RequestDispatch { worker }),
        4 => (attempt.clone(), some_worker())
            .prop_map(|(attempt, worker)| Command::Accept { attempt, worker }),
        2 => (attempt.clone(), some_worker()).prop_map(|(attempt, worker)| Command::Refuse {
            attempt,
            worker,
            reason: "full".to_owned(),
            at: at(NOW),
        }),
        4 => (attempt.clone(), some_worker()).prop_map(|(attempt, worker)| {
            Command::ReportStarted { attempt, worker, started: start() }
        }),
        4 => (attempt, some_worker(), some_report(), some_retry()).prop_map(
            |(attempt, worker, report, retry)| Command::ReportFinished {
                attempt,
                worker,
                report,
                retry,
            }
        ),
        1 => some_outcome().prop_map(|outcome| Command::Conclude {
            outcome,
            at: at(NOW),
            reason: "as asked".to_owned(),
        }),
        2 => (some_worker(), any::<bool>()).prop_map(|(worker, replace)| lose(worker, replace)),
        2 => (0..120_i64).prop_map(|now| Command::Retry { at: at(now) }),
        1 => Just(kill()),
    ]
}

/// What the spec says of states and what they owe, in one place.
fn check_state(task: &TaskInstance) {
    let owed: Vec<Obligation> = task.obligations().collect();
    assert_eq!(
        owed.is_empty(),
        !task.is_active(),
        "what is active owes something, what has ended owes nothing: {task:?}"
    );
    assert_eq!(
        task.holder(task.attempt).is_some(),
        matches!(task.stage, Stage::OnWorker { .. })
    );
    for earlier in 0..task.attempt {
        assert_eq!(task.holder(earlier), None, "only one attempt is valid");
    }
    assert!(
        task.unreported.iter().all(|&attempt| attempt < task.attempt
            || (attempt == task.attempt && task.stage == Stage::Lost))
    );
    assert!(task.retry_times < task.attempt.max(1));
    let waits = matches!(task.stage, Stage::Retrying { .. });
    assert_eq!(
        task.state().is_some_and(TaskState::is_finished),
        (!task.is_active() && task.attempt > 0) || waits
    );
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 1_000, ..ProptestConfig::default() })]

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
            let ended = !task.is_active() && task.attempt > 0;
            if ended {
                prop_assert!(
                    events.iter().all(|event| matches!(event, Event::LateReported { .. })),
                    "{:?} brought back {:?}", events, task
                );
            }
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

    #[test]
    fn every_order_and_number_of_the_reports_of_an_attempt_ends_in_the_same_state(
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
        let expected = match outcome {
            Outcome::Success => Stage::Succeeded { outputs: report(outcome).outputs.into() },
            Outcome::Failure => Stage::Failed,
            Outcome::Kill => Stage::Killed,
        };
        prop_assert_eq!(&task.stage, &expected);
        let ends = log.iter().filter(|event| matches!(event, Event::Finished { .. }));
        prop_assert_eq!(ends.count(), 1);
        let starts = log.iter().filter(|event| matches!(event, Event::Started { .. }));
        prop_assert!(starts.count() <= 1);
    }

    #[test]
    fn an_attempt_only_moves_forward(
        commands in prop::collection::vec(some_command(), 1..40)
    ) {
        let mut task = TaskInstance::default();
        for command in commands {
            let before = task.clone();
            if let Ok(events) = task.decide(&command) {
                let refused = events.iter().any(|event| matches!(event, Event::DispatchFailed { .. }));
                task = fold(task, &events);
                prop_assert!(task.attempt >= before.attempt);
                if task.attempt == before.attempt && !refused {
                    prop_assert!(rank(&task.stage) >= rank(&before.stage), "{before:?} -> {task:?}");
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

fn rank(stage: &Stage) -> u8 {
    match stage {
        Stage::Absent => 0,
        Stage::Submitted => 1,
        Stage::OnWorker { phase, .. } => match phase {
            Phase::Requested => 2,
            Phase::Dispatched => 3,
            Phase::Running => 4,
        },
        Stage::Retrying { .. } => 5,
        Stage::Succeeded { .. } | Stage::Failed | Stage::Killed | Stage::Lost => 6,
    }
}
