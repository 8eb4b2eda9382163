//! Claims about a long life: nothing piles up, and what cannot be read harms nobody else.

use super::*;

#[test]
fn a_worker_that_comes_and_goes_leaves_one_timer_and_in_the_end_none() {
    let mut bench = Bench::new(&Arc::new(MemoryLog::new(1)), "e1");
    for session in 0..100 {
        bench.hello(session, &[]);
        bench.handle(Input::Closed { session });
        bench.wait(1);
    }
    assert_eq!(bench.core.timers.len(), 1);
    bench.wait(11);
    assert_eq!(bench.core.timers.len(), 0);
    assert_eq!(bench.core.workers(), []);
}

#[test]
fn a_shard_that_is_read_often_does_not_pile_up_timers() {
    let mut bench = Bench::with_a_run(hourly());
    bench.hello(1, &[]);
    bench.accept(1, attempt(1));
    bench.finish(1, attempt(1), wire::Outcome::Failure);
    let timers = bench.core.timers.len();
    for _ in 0..20 {
        bench.handle(Input::LeaseLost { shard: SHARD });
        bench.lease();
    }
    assert_eq!(bench.core.timers.len(), timers);
}

#[test]
fn a_run_stays_while_something_about_it_is_not_durable() {
    let mut bench = Bench::with_a_run(RetryPolicy::default());
    bench.hello(1, &[]);
    bench.accept(1, attempt(1));
    bench.handle(Input::Closed { session: 1 });
    bench.wait(11);
    bench.hello(2, &[]);
    bench.accept(2, attempt(2));
    bench.deaf = true;
    bench.finish(2, attempt(2), wire::Outcome::Success);
    // Of the attempt that was given up, twice: the second time the first is not durable yet.
    bench.finish(2, attempt(1), wire::Outcome::Success);
    let ended = bench.answers.remove(0);
    bench.handle(ended);
    bench.finish(2, attempt(1), wire::Outcome::Success);
    assert_eq!((bench.runs_read, bench.core.load().0), (0, 1));
    bench.deaf = false;
    for answer in std::mem::take(&mut bench.answers) {
        bench.handle(answer);
    }
    assert_eq!(bench.told().last().unwrap(), "late_reported");
    assert_eq!((bench.stepped_down.len(), bench.core.load().0), (0, 0));
}

#[test]
fn issue_13390_12440_a_run_whose_definition_cannot_be_read_stops_alone() {
    let mut bench = Bench::with_a_run(RetryPolicy::default());
    // Nobody has defined version 2; the core takes the word of whoever asks.
    let (workflow, submission) = wanted(RetryPolicy::default());
    let submission = Arc::new(Submission {
        version: 2,
        ..(*submission).clone()
    });
    let shard = SHARD;
    bench.ask(
        3,
        Request::Start {
            shard,
            submission,
            workflow,
            key: None,
        },
    );
    bench.handle(Input::LeaseLost { shard: SHARD });
    bench.lease();
    let bad = AttemptId {
        task: TaskId {
            instance: InstanceId::new(2, SHARD),
            ..attempt(1).task
        },
        number: 1,
    };
    bench.hello(1, &[bad]);
    let killed = bench
        .sent
        .iter()
        .any(|(_, body)| matches!(body, Body::Kill(_)));
    assert!(!killed, "of a run that cannot be read nothing is touched");
    bench.finish(1, attempt(1), wire::Outcome::Success);
    assert_eq!(bench.told().last().unwrap(), "finished");
    let stop = domain::run::Command::Stop {
        reason: String::new(),
    };
    let instance = bad.task.instance;
    bench.ask(
        4,
        Request::Command {
            instance,
            command: stop,
        },
    );
    assert!(matches!(
        bench.replies.last(),
        Some((4, Err(Refusal::Corrupt(..))))
    ));
}

#[test]
fn old_keys_are_left_to_the_log() {
    let mut shard = Shard::new(SHARD, 1, Timestamp(0), String::new());
    shard.fill(Image::empty());
    let memory = shard.memory().unwrap();
    for number in 0..100_000 {
        memory.fire(format!("key {number}"), InstanceId(number));
    }
    assert_eq!(memory.started_by("key 0"), None);
    assert_eq!(memory.started_by("key 99999"), Some(InstanceId(99_999)));
}

#[test]
fn a_leap_of_the_clock_is_not_the_silence_of_a_worker() {
    let mut bench = Bench::with_a_run(RetryPolicy::default());
    bench.hello(1, &[]);
    bench.accept(1, attempt(1));
    bench.at += 3_600 * SECOND;
    bench.handle(Input::Tick);
    bench.wait(5);
    assert_eq!(
        bench.told(),
        ["submitted", "dispatch_requested", "dispatched"]
    );
    // Real silence is.
    bench.wait(11);
    assert_eq!(bench.told()[3..], ["lost", "submitted"]);
}
