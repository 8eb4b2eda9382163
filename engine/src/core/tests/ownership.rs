//! Claims about the end of a lease, and about a shard that another engine had.

use super::*;

#[test]
fn what_became_durable_is_not_acted_on_after_the_lease() {
    let mut bench = Bench::new(&Arc::new(MemoryLog::new(1)), "e1");
    bench.lease_until(5 * SECOND);
    let (workflow, submission) = wanted(RetryPolicy::default());
    let shard = SHARD;
    bench.deaf = true;
    bench.ask(
        1,
        Request::Start {
            shard,
            submission,
            workflow,
            key: None,
        },
    );
    bench.hello(1, &[]);
    bench.at = 6 * SECOND;
    for answer in std::mem::take(&mut bench.answers) {
        bench.handle(answer);
    }
    assert_eq!(bench.told(), ["submitted", "dispatch_requested"]);
    assert_eq!(bench.dispatches(), 0);
    assert_eq!(bench.stepped_down, [bench.epoch]);
    assert!(matches!(
        bench.replies[..],
        [(1, Err(Refusal::Unavailable(_)))]
    ));
}

#[test]
fn a_shard_that_was_read_after_its_lease_owes_nothing() {
    let mut bench = Bench::with_a_run(RetryPolicy::default());
    bench.hello(1, &[]);
    assert_eq!(bench.dispatches(), 1);
    bench.handle(Input::LeaseLost { shard: SHARD });
    bench.handle(Input::Closed { session: 1 });
    bench.hello(2, &[]);
    bench.deaf = true;
    bench.lease_until(bench.at + SECOND);
    bench.at += 2 * SECOND;
    for answer in std::mem::take(&mut bench.answers) {
        bench.handle(answer);
    }
    assert_eq!(bench.dispatches(), 1);
    assert_eq!(bench.stepped_down.last(), Some(&bench.epoch));
}

/// The attempt was accepted on a stream to another engine, after the worker had said hello to this one.
fn takeover() -> Bench {
    let mut first = Bench::with_a_run(RetryPolicy::default());
    let mut second = Bench::new(&first.log, "e2");
    first.hello(1, &[]);
    second.hello(7, &[]);
    first.accept(1, attempt(1));
    first.log.advance(10);
    second.lease();
    second
}

#[test]
fn d44_a_takeover_asks_a_worker_again_what_it_has_and_takes_nothing_from_it() {
    let mut second = takeover();
    assert_eq!(second.closed, [7]);
    second.hello(8, &[attempt(1)]);
    second.wait(5);
    assert_eq!(
        second.told(),
        ["submitted", "dispatch_requested", "dispatched"]
    );
    second.finish(8, attempt(1), wire::Outcome::Success);
    assert_eq!(second.told().last().unwrap(), "finished");
    assert_eq!(second.core.load(), (0, 0));
}

#[test]
fn d39_an_attempt_that_was_given_up_is_killed_where_it_still_runs() {
    let mut bench = Bench::with_a_run(RetryPolicy::default());
    bench.hello(1, &[]);
    bench.accept(1, attempt(1));
    bench.handle(Input::Closed { session: 1 });
    bench.wait(11);
    bench.hello(2, &[attempt(1)]);
    let killed = |(session, body): &(SessionId, Body)| {
        let stray = Some(crate::core::wire::attempt(attempt(1)));
        *session == 2 && matches!(body, Body::Kill(kill) if kill.attempt == stray)
    };
    assert!(bench.sent.iter().any(killed));
}

#[test]
fn d38_what_a_worker_does_not_have_at_its_next_hello_is_given_up() {
    let mut second = takeover();
    second.hello(8, &[]);
    assert_eq!(
        second.told()[3..],
        ["lost", "submitted", "dispatch_requested"]
    );
}

#[test]
fn d45_a_worker_that_left_before_the_shard_was_read_is_given_up_like_any_other() {
    let mut bench = Bench::with_a_run(RetryPolicy::default());
    bench.hello(1, &[]);
    bench.accept(1, attempt(1));
    bench.handle(Input::LeaseLost { shard: SHARD });
    bench.handle(Input::Closed { session: 1 });
    bench.wait(11);
    bench.lease();
    bench.wait(11);
    assert_eq!(
        bench.told(),
        [
            "submitted",
            "dispatch_requested",
            "dispatched",
            "lost",
            "submitted"
        ]
    );
}

#[test]
fn a_worker_known_from_before_is_given_up_also_when_it_left_just_before_the_shard_was_read() {
    let mut bench = Bench::with_a_run(RetryPolicy::default());
    bench.hello(1, &[]);
    bench.accept(1, attempt(1));
    bench.handle(Input::Closed { session: 1 });
    bench.wait(5);
    bench.handle(Input::LeaseLost { shard: SHARD });
    bench.lease();
    bench.wait(11);
    assert_eq!(bench.told().last().unwrap(), "submitted");
    assert_eq!(bench.told().len(), 5);
}
