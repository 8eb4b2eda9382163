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
fn d44_a_takeover_asks_a_worker_what_it_has_and_takes_nothing_from_it() {
    let mut second = takeover();
    assert_eq!(second.claims(7), [second.epoch]);
    // Until the worker has answered nothing is known.
    assert_eq!(
        second.told(),
        ["submitted", "dispatch_requested", "dispatched"]
    );
    second.holding(7, second.epoch, &[attempt(1)]);
    second.wait(5);
    assert_eq!(
        second.told(),
        ["submitted", "dispatch_requested", "dispatched"]
    );
    second.finish(7, attempt(1), wire::Outcome::Success);
    assert_eq!(second.told().last().unwrap(), "finished");
    assert_eq!(second.core.load(), (0, 0));
}

#[test]
fn an_answer_about_an_earlier_epoch_says_nothing() {
    let mut second = takeover();
    second.holding(7, second.epoch - 1, &[]);
    assert_eq!(second.told().len(), 3);
    second.holding(7, second.epoch, &[]);
    assert_eq!(second.told()[3], "lost");
}

#[test]
fn a_worker_is_told_at_its_hello_whose_the_shards_are_and_where_the_engines_live() {
    let mut bench = Bench::with_a_run(RetryPolicy::default());
    let member = |id: &str| store::Member {
        id: id.to_owned(),
        address: format!("http://{id}:1"),
        standby: false,
    };
    bench.handle(Input::Engines(vec![member("e1")]));
    bench.hello(1, &[]);
    assert_eq!(bench.claims(1), [bench.epoch]);
    bench.handle(Input::Engines(vec![member("e1"), member("e2")]));
    let told = bench.sent.iter().filter_map(|(_, body)| {
        if let Body::Engines(engines) = body {
            Some(engines.engines.len())
        } else {
            None
        }
    });
    assert_eq!(told.collect::<Vec<_>>(), [1, 2]);
}

#[test]
fn what_a_worker_says_it_has_and_should_not_have_is_killed() {
    let mut second = takeover();
    second.holding(7, second.epoch, &[attempt(1), attempt(2)]);
    let stray = Some(crate::core::wire::attempt(attempt(2)));
    let kills = second.sent.iter().filter(|(_, body)| {
        matches!(body, Body::Kill(kill) if kill.attempt == stray && kill.epoch == second.epoch)
    });
    assert_eq!(kills.count(), 1);
    assert_eq!(second.told().len(), 3);
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
fn d38_what_a_worker_does_not_have_is_given_up() {
    let mut second = takeover();
    second.holding(7, second.epoch, &[]);
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

#[test]
fn what_happened_is_counted_once_it_is_durable_and_not_again_by_the_next_owner() {
    let mut first = Bench::with_a_run(RetryPolicy::default());
    let count = |bench: &Bench, name| {
        let tally = bench.core.tally();
        let mut tasks = tally.tasks();
        tasks.find(|(known, _)| *known == name).map(|(_, n)| n)
    };
    first.hello(1, &[]);
    assert_eq!(count(&first, "submit"), Some(1));
    first.deaf = true;
    first.accept(1, attempt(1));
    assert_eq!(first.core.tally().dispatched, 0);
    for answer in std::mem::take(&mut first.answers) {
        first.handle(answer);
    }
    assert_eq!(first.core.tally().dispatched, 1);
    let mut second = Bench::new(&first.log, "e2");
    first.log.advance(10);
    second.lease();
    assert_eq!(count(&second, "submit"), Some(0));
}
