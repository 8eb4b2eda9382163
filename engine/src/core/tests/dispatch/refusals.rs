//! What a worker that refuses or has too much to do costs, and what people are told about it.

use super::*;

#[test]
fn d21_a_refused_task_is_offered_to_another_worker_at_its_next_turn() {
    let mut bench = with_tasks(&[("default", 1)]);
    bench.join(1, "w", "default", 9);
    bench.join(2, "x", "default", 1);
    assert_eq!(bench.asked_of(), [(1, 1, 1)]);
    bench.refuse(1, attempt(1));
    // The first one says at once that it has room; it is still not the one to ask.
    bench.beat(1, 0, "");
    bench.wait(1);
    assert_eq!(bench.asked_of(), [(2, 1, 1)]);
}

#[test]
fn d21_a_worker_that_refuses_is_asked_for_nothing_until_it_has_room() {
    let mut bench = with_tasks(&[("default", 1_000)]);
    bench.join(1, "w", "default", 4);
    let asked = bench.asked_of();
    for (session, code, number) in &asked {
        bench.refuse(*session, of_task(*code, *number));
    }
    // Full with what other engines have given it.
    for _ in 0..60 {
        bench.wait(1);
        bench.beat(1, 4, "");
    }
    assert_eq!(bench.asked_of(), []);
    let (cause, reason) = bench.says();
    assert_eq!(cause, "WORKER");
    assert!(reason.contains("it refuses: full"), "{reason}");
    bench.beat(1, 0, "");
    assert_eq!(bench.asked_of().len(), 4);
}

#[test]
fn d21_a_task_that_was_refused_often_is_offered_at_once_when_a_worker_gets_room() {
    let mut bench = with_tasks(&[("default", 1)]);
    bench.join(1, "w", "default", 1);
    for refusals in 1..=20 {
        bench.refuse(1, attempt(1));
        assert_eq!(bench.says().0, "WORKER", "{refusals}");
        bench.wait(7);
        bench.beat(1, 0, "");
    }
    bench.asked_of();
    bench.refuse(1, attempt(1));
    let (_, reason) = bench.says();
    assert!(reason.contains("refused it 21 times"), "{reason}");
    // Its rest has hardly begun.
    bench.join(2, "x", "default", 1);
    assert_eq!(bench.asked_of(), [(2, 1, 1)]);
}

#[test]
fn d21_the_rest_of_a_task_ends_by_itself_and_grows_to_a_few_seconds_at_most() {
    let mut bench = with_tasks(&[("default", 1)]);
    bench.join(1, "w", "default", 1);
    for _ in 0..30 {
        bench.refuse(1, attempt(1));
        bench.asked_of();
        bench.wait(7);
        bench.beat(1, 0, "");
        assert_eq!(bench.asked_of().len(), 1);
    }
}

#[test]
fn issue_6499_an_overloaded_worker_gets_nothing_and_people_are_told_why() {
    let mut bench = with_tasks(&[("default", 2)]);
    bench.join(1, "w", "default", 1);
    bench.asked_of();
    bench.beat(1, 1, "the load is 9.0 per core");
    bench.accept(1, attempt(1));
    bench.finish(1, attempt(1), wire::Outcome::Success);
    assert_eq!(bench.asked_of(), []);
    let instance = attempt(1).task.instance;
    bench.ask(51, Request::Explain { instance });
    let Some((_, Ok(Answer::Explained(all)))) = bench.replies.pop() else {
        panic!("an answer")
    };
    assert_eq!(all[0].cause, "WORKER");
    assert_eq!(
        all[0].reason,
        "every worker of group \"default\" is overloaded (w: the load is 9.0 per core)"
    );
    let seen = &bench.core.workers()[0];
    assert_eq!(seen.overloaded, "the load is 9.0 per core");
    bench.beat(1, 0, "");
    assert_eq!(bench.asked_of(), [(1, 2, 1)]);
}
