//! Attempts that lose their worker: it goes, it dies, it comes back without them, or there are two of it.

use proto::worker::Goodbye;

use super::*;

#[test]
fn d20_a37_a_lost_attempt_goes_to_another_worker_and_back_to_the_same_if_there_is_none() {
    for (others, goes_to) in [(true, 9), (false, 3)] {
        let mut bench = with_tasks(&[("default", 1)]);
        bench.join(1, "w", "default", 9);
        bench.accept(1, attempt(1));
        bench.asked_of();
        if others {
            // It has less room than the one that lost the attempt.
            bench.join(9, "x", "default", 1);
        }
        // It comes back without the attempt.
        bench.join(3, "w", "default", 9);
        assert_eq!(bench.asked_of(), [(goes_to, 1, 2)]);
    }
}

#[test]
fn a_task_that_takes_every_worker_down_with_it_fails_in_the_end() {
    let mut bench = with_tasks(&[("default", 1)]);
    bench.core.settings.dispatch.max_failovers = 3;
    for number in 1..=4 {
        let session = u64::from(number);
        bench.join(session, &format!("w{number}"), "default", 1);
        bench.accept(session, attempt(number));
        bench.handle(Input::Closed { session });
        bench.wait(11);
    }
    assert_eq!(bench.told().last().unwrap(), "lost");
    let last = bench.losses().pop().unwrap();
    assert!(last.contains("max_failovers"), "{last}");
    assert_eq!(bench.core.load(), (0, 0), "its run has ended");
}

#[test]
fn d40_what_a_worker_ended_because_it_goes_is_given_up_at_once() {
    let mut bench = with_tasks(&[("default", 3)]);
    bench.join(1, "w", "default", 2);
    bench.accept(1, of_task(1, 1));
    bench.asked_of();
    let goodbye = |ended: &[AttemptId]| {
        let ended = ended.iter().map(|id| crate::core::wire::attempt(*id));
        worker_message::Body::Goodbye(Goodbye {
            ended: ended.collect(),
        })
    };
    bench.say(1, goodbye(&[]));
    assert_eq!(bench.losses(), [] as [String; 0]);
    bench.join(2, "x", "default", 9);
    assert_eq!(bench.asked_of(), [(2, 3, 1)]);
    bench.say(1, goodbye(&[of_task(1, 1)]));
    assert_eq!(bench.losses(), ["worker w was stopped"]);
    assert_eq!(bench.asked_of(), [(2, 1, 2)]);
    // It was asked for this one, and left without an answer.
    bench.handle(Input::Closed { session: 1 });
    assert_eq!(bench.asked_of(), [(2, 2, 2)]);
}

#[test]
fn d40_a_stream_that_is_cut_after_a_goodbye_takes_nothing_from_what_may_still_run() {
    let mut bench = with_tasks(&[("default", 1)]);
    bench.join(1, "w", "default", 1);
    bench.accept(1, attempt(1));
    bench.say(1, worker_message::Body::Goodbye(Goodbye { ended: vec![] }));
    bench.handle(Input::Closed { session: 1 });
    assert_eq!(bench.losses(), [] as [String; 0]);
    bench.wait(11);
    assert_eq!(bench.losses(), ["worker w was not heard for 10 s"]);
}

#[test]
fn two_living_workers_with_one_id_do_not_take_tasks_to_and_fro() {
    let mut bench = with_tasks(&[("default", 1)]);
    let hello = |incarnation: &str, held: &[AttemptId]| Hello {
        worker_id: "w".to_owned(),
        incarnation: incarnation.to_owned(),
        host: format!("host of {incarnation}"),
        groups: vec!["default".to_owned()],
        slots: 1,
        held: held
            .iter()
            .map(|id| crate::core::wire::attempt(*id))
            .collect(),
    };
    let session = 1;
    bench.handle(Input::Opened {
        session,
        hello: hello("one", &[]),
    });
    bench.accept(1, attempt(1));
    bench.open(2, hello("two", &[]));
    assert_eq!(bench.losses(), ["worker w was restarted"]);
    bench.accept(2, attempt(2));
    for session in 3..10 {
        bench.handle(Input::Opened {
            session,
            hello: hello("one", &[attempt(1)]),
        });
        let Some((to, Body::Refused(refused))) = bench.sent.last() else {
            panic!("{:?}", bench.sent.last())
        };
        assert_eq!(*to, session);
        assert!(refused.reason.contains("host of two"), "{}", refused.reason);
        assert_eq!(bench.closed.last(), Some(&session));
        bench.handle(Input::Closed { session });
    }
    assert_eq!(bench.losses().len(), 1);
    bench.finish(2, attempt(2), wire::Outcome::Success);
    assert_eq!(bench.told().last().unwrap(), "finished");
}
