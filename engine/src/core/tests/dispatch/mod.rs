//! Claims about giving tasks to workers: who gets them, what a worker that refuses, is overloaded or does
//! not answer costs, and what one group costs another.

mod answers;
mod groups;
mod leaving;
mod refusals;

use domain::task_instance::Event;
use proto::worker::{Answer as Said, Heartbeat};

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
