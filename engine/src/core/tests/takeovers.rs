//! Claims about a change of engine: what a worker has goes on there, and what it has said is heard.

use super::reports::{EVERY, Got, with_an_attempt};
use super::*;

#[test]
fn d41_d44_after_a_takeover_an_attempt_goes_on_where_it_was_and_is_not_run_twice() {
    for got in EVERY {
        let first = with_an_attempt(got);
        let mut second = Bench::new(&first.log, "e2");
        first.log.advance(10);
        second.lease();
        // The worker has got what the first engine sent, whether or not its answer was heard.
        second.hello(8, &[attempt(1)]);
        second.wait(5);
        second.accept(8, attempt(1));
        second.begins(8, attempt(1));
        second.finish(8, attempt(1), wire::Outcome::Success);
        assert_eq!(
            second.told(),
            [
                "submitted",
                "dispatch_requested",
                "dispatched",
                "started",
                "finished"
            ],
            "{got:?}"
        );
        assert_eq!(second.core.load(), (0, 0));
    }
}

#[test]
fn d41_what_was_asked_and_never_arrived_is_asked_again_of_the_same_worker_by_the_same_attempt() {
    let first = with_an_attempt(Got::Asked);
    let mut second = Bench::new(&first.log, "e2");
    first.log.advance(10);
    second.lease();
    second.hello(8, &[]);
    assert_eq!(second.dispatches(), 1);
    second.finish(8, attempt(1), wire::Outcome::Success);
    assert_eq!(
        second.told(),
        ["submitted", "dispatch_requested", "dispatched", "finished"]
    );
}

#[test]
fn d42_reports_that_waited_for_an_engine_are_taken_and_acked_by_the_next_one() {
    let first = with_an_attempt(Got::Accepted);
    let mut second = Bench::new(&first.log, "e2");
    first.log.advance(10);
    second.lease();
    second.hello(8, &[attempt(1)]);
    second.begins(8, attempt(1));
    second.finish(8, attempt(1), wire::Outcome::Success);
    assert_eq!(second.acked(attempt(1)), [1, 2]);
    assert_eq!(second.told()[3..], ["started", "finished"]);
}

#[test]
fn d46_a_report_to_an_engine_without_the_shard_is_turned_away_and_stored_nowhere() {
    let first = with_an_attempt(Got::Running);
    let before = first.told();
    let mut second = Bench::new(&first.log, "e2");
    second.hello(8, &[attempt(1)]);
    second.finish(8, attempt(1), wire::Outcome::Success);
    assert!(matches!(second.sent.last(), Some((8, Body::NotOwner(_)))));
    assert_eq!(second.acked(attempt(1)), [0; 0]);
    assert_eq!(second.told(), before);
}

#[test]
fn i8_a_shard_that_is_read_again_is_the_same_and_orders_nothing_anew() {
    for got in EVERY {
        let mut bench = with_an_attempt(got);
        let (told, orders) = (bench.told(), bench.sent.len());
        for _ in 0..2 {
            let before = bench.core.shards[&SHARD]
                .run(attempt(1).task.instance)
                .cloned();
            bench.reread();
            let after = bench.core.shards[&SHARD].run(attempt(1).task.instance);
            assert!(before.is_some() && before.as_ref() == after, "{got:?}");
        }
        // What nobody has answered is asked again: the worker runs it once, however often it is asked.
        let asked = if matches!(got, Got::Asked) { 2 } else { 0 };
        assert_eq!(orders_since(&bench, orders), asked, "{got:?}");
        assert_eq!(bench.told(), told, "{got:?}");
    }
    let mut ended = with_an_attempt(Got::Running);
    ended.finish(1, attempt(1), wire::Outcome::Success);
    let (told, sent) = (ended.told(), ended.sent.len());
    ended.reread();
    assert_eq!((ended.told(), orders_since(&ended, sent)), (told, 0));
}

/// How many orders workers were given.
fn orders_since(bench: &Bench, sent: usize) -> usize {
    let orders = |(_, body): &&(SessionId, Body)| matches!(body, Body::Dispatch(_) | Body::Kill(_));
    bench.sent[sent..].iter().filter(orders).count()
}

/// Of the catalogue of failures: H-02.
#[test]
fn what_a_dead_worker_had_is_given_up_also_when_the_log_refused_it_the_first_time() {
    let mut bench = Bench::new(&Arc::new(MemoryLog::new(1)), "e1");
    bench.lease();
    bench.greet(1, "1", 3, &[]);
    for _ in 0..3 {
        bench.begin(spec_of(RetryPolicy::default()));
    }
    assert_eq!(bench.dispatches(), 3);
    bench.refuse = Some(SHARD);
    bench.handle(Input::Closed { session: 1 });
    bench.wait(11);
    let lost = |bench: &Bench, number| {
        let history = bench.history(InstanceId::new(number, SHARD));
        history.iter().filter(|told| *told == "lost").count()
    };
    assert_eq!((bench.stepped_down.len(), lost(&bench, 1)), (1, 0));
    bench.lease();
    bench.wait(11);
    for number in 1..=3 {
        assert_eq!(lost(&bench, number), 1, "run {number}");
    }
}

/// Of the catalogue of failures: A0-26.
#[test]
fn each_engine_gives_up_what_a_dead_worker_had_of_its_own_runs_and_nothing_else() {
    let log = Arc::new(MemoryLog::new(2));
    let mut engines = ["e1", "e2"].map(|name| Bench::new(&log, name));
    for (engine, session) in engines.iter_mut().zip([1, 2]) {
        let owner = engine.core.settings.engine.clone();
        let lease = now(log.acquire(&owner, 1, 1_000)).unwrap().remove(0);
        engine.handle(Input::Leased {
            shard: lease.shard,
            epoch: lease.epoch,
            until: Timestamp(i64::MAX),
            from: String::new(),
        });
        engine.greet(session, "1", 2, &[]);
        let (workflow, submission) = wanted(RetryPolicy::default());
        engine.ask(
            1,
            Request::Start {
                shard: lease.shard,
                submission,
                workflow,
                key: None,
            },
        );
        assert_eq!(engine.dispatches(), 1, "{owner}");
    }
    for (engine, session) in engines.iter_mut().zip([1, 2]) {
        engine.handle(Input::Closed { session });
        engine.wait(11);
        assert_eq!(engine.stepped_down, [0; 0]);
    }
    for shard in [0, 1].map(ShardId) {
        let history = engines[0].history(InstanceId::new(1, shard));
        let lost = history.iter().filter(|told| *told == "lost").count();
        assert_eq!(lost, 1, "{history:?}");
    }
}
