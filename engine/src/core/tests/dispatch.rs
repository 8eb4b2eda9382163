//! Claims about giving tasks to workers: who gets them, what a worker that refuses, is overloaded or does
//! not answer costs, and what one group costs another.

use domain::task_instance::Event;
use proto::worker::{Answer as Said, Goodbye, Heartbeat};

use super::*;

/// One shard, and one run of so many tasks of each group.
fn with_tasks(groups: &[(&str, u64)]) -> Bench {
    let mut bench = Bench::new(&Arc::new(MemoryLog::new(1)), "e1");
    bench.lease();
    let mut spec = spec_of(RetryPolicy::default());
    let one = spec.tasks.remove(0);
    for (group, tasks) in groups {
        for _ in 0..*tasks {
            let code = spec.tasks.len() as u64 + 1;
            let mut task = one.clone();
            task.code = TaskCode(code);
            task.name = format!("t{code}");
            task.policy.worker_group = (*group).to_owned();
            spec.tasks.push(task);
        }
    }
    bench.begin(spec);
    bench
}

fn of_task(code: u64, number: u32) -> AttemptId {
    let task = TaskId {
        task: TaskCode(code),
        ..attempt(1).task
    };
    AttemptId { task, number }
}

impl Bench {
    fn join(&mut self, session: SessionId, id: &str, group: &str, slots: u32) {
        let hello = Hello {
            worker_id: id.to_owned(),
            incarnation: "1".to_owned(),
            host: id.to_owned(),
            groups: vec![group.to_owned()],
            slots,
            held: Vec::new(),
        };
        self.open(session, hello);
    }

    /// Rejects what was asked last about an attempt.
    fn refuse(&mut self, session: SessionId, attempt: AttemptId) {
        let question = self.questions(session, attempt).pop().unwrap_or_default();
        self.refuse_question(session, attempt, question);
    }

    fn refuse_question(&mut self, session: SessionId, attempt: AttemptId, question: u64) {
        let answer = Said {
            attempt: Some(crate::core::wire::attempt(attempt)),
            rejected: "full: 1 attempts queued or running".to_owned(),
            question,
        };
        self.say(session, worker_message::Body::Answer(answer));
    }

    /// What was asked about an attempt on a stream, in order.
    fn questions(&self, session: SessionId, attempt: AttemptId) -> Vec<u64> {
        let attempt = crate::core::wire::attempt(attempt);
        let asked = self.questions.iter();
        let about = asked.filter(|(to, of, _)| (*to, *of) == (session, attempt));
        about.map(|(.., question)| *question).collect()
    }

    fn beat(&mut self, session: SessionId, busy: u32, overloaded: &str) {
        let beat = Heartbeat {
            busy,
            overloaded: overloaded.to_owned(),
            ..Heartbeat::default()
        };
        self.say(session, worker_message::Body::Heartbeat(beat));
    }

    /// So many seconds pass, and the workers of these streams are heard in each of them.
    fn beating(&mut self, sessions: &[SessionId], seconds: i64) {
        for _ in 0..seconds {
            self.wait(1);
            for session in sessions {
                self.beat(*session, 0, "");
            }
        }
    }

    /// Who was asked to run what, in order, and forgets it.
    fn asked_of(&mut self) -> Vec<(SessionId, u64, u32)> {
        let sent = std::mem::take(&mut self.sent).into_iter();
        sent.filter_map(|(session, body)| {
            let Body::Dispatch(dispatch) = body else {
                return None;
            };
            let attempt = dispatch.attempt?;
            Some((session, attempt.task, attempt.number))
        })
        .collect()
    }

    fn killed(&self, session: SessionId, attempt: AttemptId) -> usize {
        let wanted = Some(crate::core::wire::attempt(attempt));
        let kills = self.sent.iter().filter(|(to, body)| {
            *to == session && matches!(body, Body::Kill(kill) if kill.attempt == wanted)
        });
        kills.count()
    }

    fn says(&mut self) -> (&'static str, String) {
        let instance = attempt(1).task.instance;
        self.ask(51, Request::Explain { instance });
        let Some((_, Ok(Answer::Explained(all)))) = self.replies.pop() else {
            panic!("an answer")
        };
        let why = all.into_iter().find(|why| why.task == Some(TaskCode(1)));
        let why = why.expect("task 1 waits");
        (why.cause, why.reason)
    }

    fn losses(&self) -> Vec<String> {
        let events = now(self.log.read(SHARD, 0, 1_000)).unwrap();
        let lost = events.into_iter().filter_map(|event| {
            if let Fact::Task(_, Event::Lost { reason, .. }) = event.fact().unwrap() {
                Some(reason)
            } else {
                None
            }
        });
        lost.collect()
    }
}

/// `DolphinScheduler` issues 17581, 6959, 8225 and 5242: tasks of a group without a worker, or with a full
/// one, hold up the tasks of all others.
#[test]
fn d18_issue_17581_ten_thousand_tasks_of_one_group_cost_the_others_nothing() {
    let mut bench = with_tasks(&[("absent", 10_000), ("full", 500), ("well", 100)]);
    bench.join(1, "f", "full", 1);
    bench.join(2, "w", "well", 4);
    assert_eq!(bench.core.load().1, 10_600 - 5);
    let mut running: Vec<_> = bench.asked_of();
    running.retain(|(session, ..)| *session == 2);
    let before = bench.core.queue.looks;
    let mut done = 0;
    while let Some((session, code, number)) = running.pop() {
        bench.accept(session, of_task(code, number));
        bench.finish(session, of_task(code, number), wire::Outcome::Success);
        running.extend(bench.asked_of());
        done += 1;
    }
    assert_eq!(done, 100);
    let looks = bench.core.queue.looks - before;
    // For each slot that becomes free: one look that finds a task, and one that finds no more room.
    assert!(looks <= 2 * 100, "{looks} looks for 100 tasks");
}

/// `DolphinScheduler` issue 15761: a worker goes down, and a task becomes a new instance every second.
#[test]
fn issue_15761_without_a_worker_nothing_is_asked_and_nothing_becomes_of_a_task() {
    let mut bench = with_tasks(&[("default", 1)]);
    bench.join(1, "w", "default", 1);
    bench.accept(1, attempt(1));
    bench.handle(Input::Closed { session: 1 });
    bench.wait(11);
    let (events, looks) = (bench.told().len(), bench.core.queue.looks);
    bench.wait(3_600);
    assert_eq!(
        (bench.told().len(), bench.core.queue.looks),
        (events, looks)
    );
    assert_eq!(bench.core.timers.len(), 0);
}

#[test]
fn groups_that_share_a_worker_share_its_slots() {
    let mut bench = with_tasks(&[("a", 4), ("b", 4)]);
    let hello = Hello {
        worker_id: "w".to_owned(),
        incarnation: "1".to_owned(),
        host: "w".to_owned(),
        groups: vec!["a".to_owned(), "b".to_owned()],
        slots: 4,
        held: Vec::new(),
    };
    bench.handle(Input::Opened { session: 1, hello });
    let mut codes: Vec<u64> = bench.asked_of().iter().map(|(_, code, _)| *code).collect();
    codes.sort_unstable();
    assert_eq!(codes, [1, 2, 5, 6]);
}

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
