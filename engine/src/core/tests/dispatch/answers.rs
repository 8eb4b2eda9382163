//! What a worker that does not answer costs, and what an answer that comes late still means.

use super::*;

/// `DolphinScheduler` issue 17795: a dispatch that a worker swallows is waited for until somebody looks.
#[test]
fn d22_issue_17795_a_dispatch_that_nobody_answers_is_asked_again_and_then_goes_elsewhere() {
    let mut bench = with_tasks(&[("default", 1)]);
    bench.join(1, "w", "default", 9);
    assert_eq!(bench.asked_of(), [(1, 1, 1)]);
    bench.join(2, "x", "default", 1);
    bench.beating(&[1, 2], 4);
    assert_eq!(bench.asked_of(), []);
    bench.beating(&[1, 2], 1);
    assert_eq!(bench.asked_of(), [(1, 1, 1)]);
    bench.beating(&[1, 2], 5);
    assert_eq!(bench.killed(1, attempt(1)), 1);
    assert_eq!(bench.asked_of(), [(2, 1, 2)]);
    assert_eq!(
        bench.losses(),
        ["worker w did not answer within 5 s, asked twice"]
    );
    bench.accept(2, attempt(2));
    bench.finish(2, attempt(2), wire::Outcome::Success);
    assert_eq!(bench.told().last().unwrap(), "finished");
}

#[test]
fn d22_a_worker_that_does_not_answer_is_told_to_kill_until_it_does_and_gets_nothing_else() {
    let mut bench = with_tasks(&[("default", 2)]);
    bench.join(1, "w", "default", 1);
    bench.beating(&[1], 10);
    assert_eq!(bench.says().0, "WORKER");
    assert!(bench.says().1.contains("does not answer"));
    assert_eq!(bench.killed(1, attempt(1)), 1);
    bench.beating(&[1], 10);
    assert_eq!(bench.killed(1, attempt(1)), 3);
    bench.asked_of();
    bench.finish(1, attempt(1), wire::Outcome::Killed);
    let told = bench.told();
    assert_eq!(
        told[told.len() - 2..],
        ["late_reported", "dispatch_requested"]
    );
    assert_eq!(bench.asked_of(), [(1, 1, 2)], "it speaks again");
    bench.accept(1, attempt(2));
    bench.beating(&[1], 10);
    assert_eq!(bench.killed(1, attempt(1)), 0);
}

#[test]
fn d22_an_answer_that_comes_late_counts_as_long_as_the_attempt_is_valid() {
    let mut bench = with_tasks(&[("default", 1)]);
    bench.join(1, "w", "default", 1);
    bench.beating(&[1], 6);
    bench.accept(1, attempt(1));
    bench.accept(1, attempt(1));
    bench.beating(&[1], 20);
    assert_eq!(
        bench.told(),
        ["submitted", "dispatch_requested", "dispatched"]
    );
    bench.finish(1, attempt(1), wire::Outcome::Success);
    assert_eq!(bench.told().last().unwrap(), "finished");
}

#[test]
fn d22_a_worker_that_was_asked_twice_may_refuse_first_and_accept_then() {
    let mut bench = with_tasks(&[("default", 1)]);
    bench.join(1, "w", "default", 1);
    bench.join(2, "x", "default", 1);
    let (first, ..) = bench.asked_of()[0];
    bench.beating(&[1, 2], 5);
    assert_eq!(bench.asked_of(), [(first, 1, 1)]);
    let earlier = bench.questions(first, attempt(1))[0];
    bench.refuse_question(first, attempt(1), earlier);
    bench.wait(1);
    assert_eq!(bench.asked_of(), [], "it has another answer to give");
    bench.accept(first, attempt(1));
    assert_eq!(bench.told().last().unwrap(), "dispatched");
}

#[test]
fn d22_a_rejection_from_before_a_reload_does_not_answer_what_was_asked_after_it() {
    let mut bench = with_tasks(&[("default", 1)]);
    bench.join(1, "w", "default", 1);
    bench.join(2, "x", "default", 1);
    let (asked, ..) = bench.asked_of()[0];
    bench.handle(Input::LeaseLost { shard: SHARD });
    bench.deaf = true;
    bench.lease();
    bench.refuse(asked, attempt(1));
    bench.deaf = false;
    for answer in std::mem::take(&mut bench.answers) {
        bench.handle(answer);
    }
    assert_eq!(bench.asked_of(), [(asked, 1, 1)], "it is asked anew");
    // The worker had no room then. It has now, and takes the attempt: nobody else may get it.
    bench.wait(1);
    assert_eq!(bench.asked_of(), []);
    bench.accept(asked, attempt(1));
    assert_eq!(
        bench.told(),
        ["submitted", "dispatch_requested", "dispatched"]
    );
}

#[test]
fn d22_a_silent_machine_is_not_a_silent_worker() {
    let mut bench = with_tasks(&[("default", 1)]);
    bench.join(1, "w", "default", 1);
    bench.asked_of();
    // Nothing at all is heard: that is what the worker's lease is for.
    bench.wait(9);
    assert_eq!(bench.asked_of(), []);
    bench.wait(2);
    assert_eq!(bench.losses(), ["worker w was not heard for 10 s"]);
}

#[test]
fn d22_after_a_reload_the_question_is_still_open_and_its_time_runs() {
    let mut bench = with_tasks(&[("default", 1)]);
    bench.join(1, "w", "default", 1);
    bench.beating(&[1], 3);
    bench.handle(Input::LeaseLost { shard: SHARD });
    bench.lease();
    bench.asked_of();
    bench.beating(&[1], 12);
    assert_eq!(bench.losses().len(), 1);
}

#[test]
fn what_was_taken_from_a_worker_and_did_not_become_durable_is_not_killed() {
    let mut bench = with_tasks(&[("default", 1)]);
    bench.join(1, "w", "default", 1);
    bench.beating(&[1], 9);
    bench.refuse = Some(SHARD);
    bench.beating(&[1], 1);
    assert_eq!(bench.losses(), [] as [String; 0]);
    bench.lease();
    bench.accept(1, attempt(1));
    bench.beating(&[1], 20);
    assert_eq!(bench.killed(1, attempt(1)), 0);
    assert_eq!(bench.told().last().unwrap(), "dispatched");
}
