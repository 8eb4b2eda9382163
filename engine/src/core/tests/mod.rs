//! The core against a log that answers when the test says so: what must not happen after a lease, at a
//! takeover, and over a long life. What happens under random faults is in `simulation/`.

use domain::TaskCode;
use domain::workflow_definition::{
    Policy, Priority, RetryPolicy, TaskKind, TaskSpec, Workflow, WorkflowSpec,
};
use domain::workflow_instance::{Alert, FailureStrategy, Submission};
use domain::{AggregateType, AttemptId, DefinitionCode, Fact, StreamId};
use futures_util::FutureExt;
use proto::worker::engine_message::Body;
use proto::worker::{self as wire, Hello, WorkerMessage, report, worker_message};
use store::{Append, Log, MemoryLog};

mod across;
mod asking;
mod dispatch;
mod issues;
mod over_time;
mod ownership;
mod poison;
mod reports;
mod standings;
mod takeovers;

use super::*;
use crate::load::{self, Definitions};

const SHARD: ShardId = ShardId(0);
const SECOND: i64 = 1_000_000;

fn now<T>(future: impl Future<Output = T>) -> T {
    future.now_or_never().expect("memory answers at once")
}

/// One core, one shard, and what it has said to whom.
struct Bench {
    core: Core,
    log: Arc<MemoryLog>,
    at: i64,
    epoch: u64,
    /// The log takes events, but its answers are kept back.
    deaf: bool,
    /// The next append to this shard is refused.
    refuse: Option<ShardId>,
    answers: Vec<Input>,
    sent: Vec<(SessionId, Body)>,
    /// Every dispatch that was ever sent, by its number.
    questions: Vec<(SessionId, wire::Attempt, u64)>,
    closed: Vec<SessionId>,
    replies: Vec<(Ticket, Result<Answer, Refusal>)>,
    runs_read: usize,
    stepped_down: Vec<u64>,
    /// What it wants to know; the test answers.
    looked: Vec<(TaskId, u32, u64, Inquiry)>,
    /// What people are to be told.
    notices: Vec<(InstanceId, u32, Alert)>,
    /// Letters to other engines.
    posted: Vec<(ShardId, Letter)>,
}

impl Bench {
    fn new(log: &Arc<MemoryLog>, engine: &str) -> Self {
        let settings = Settings {
            engine: engine.to_owned(),
            shards: log.shards(),
            worker_lease: Duration::from_secs(10),
            heartbeat: Duration::from_secs(1),
            kill_grace: Duration::from_secs(1),
            dispatch: Dispatching::default(),
            standing_every: 20,
        };
        Self {
            core: Core::new(settings),
            log: log.clone(),
            at: SECOND,
            epoch: 0,
            deaf: false,
            refuse: None,
            answers: Vec::new(),
            sent: Vec::new(),
            questions: Vec::new(),
            closed: Vec::new(),
            replies: Vec::new(),
            runs_read: 0,
            stepped_down: Vec::new(),
            looked: Vec::new(),
            notices: Vec::new(),
            posted: Vec::new(),
        }
    }

    /// With the shard, and one run of one task in it.
    fn with_a_run(retry: RetryPolicy) -> Self {
        let mut bench = Self::new(&Arc::new(MemoryLog::new(1)), "e1");
        bench.lease();
        let (workflow, submission) = wanted(retry);
        bench.ask(1, Request::Define(workflow.clone()));
        let shard = SHARD;
        bench.ask(
            2,
            Request::Start {
                shard,
                submission,
                workflow,
                key: None,
            },
        );
        bench
    }

    fn handle(&mut self, input: Input) {
        self.core.handle(Timestamp(self.at), input);
        self.settle();
    }

    /// Time passes, and the clock rings.
    fn wait(&mut self, seconds: i64) {
        for _ in 0..seconds {
            self.at += SECOND;
            self.handle(Input::Tick);
        }
    }

    fn settle(&mut self) {
        loop {
            let outputs = self.core.flush(Timestamp(self.at));
            if outputs.is_empty() {
                return;
            }
            for output in outputs {
                self.carry_out(output);
            }
        }
    }

    fn carry_out(&mut self, output: Output) {
        let input = match output {
            Output::Append {
                generation, append, ..
            } => self.append(generation, append),
            Output::Load { shard, generation } => {
                let image = now(load::shard(
                    self.log.as_ref(),
                    &Definitions::default(),
                    shard,
                ));
                let image = Box::new(image.unwrap());
                Input::Loaded {
                    shard,
                    generation,
                    image,
                }
            }
            Output::Prove {
                shard,
                generation,
                epoch,
            } => {
                let infos = now(self.log.shard_infos()).unwrap();
                Input::Proved {
                    shard,
                    generation,
                    newest: infos[usize::from(shard.0)].epoch == epoch,
                }
            }
            Output::LoadRun {
                instance,
                generation,
            } => {
                self.runs_read += 1;
                let run = now(load::run(
                    self.log.as_ref(),
                    &Definitions::default(),
                    instance,
                ));
                let run = run.unwrap().map(Box::new);
                Input::RunLoaded {
                    instance,
                    generation,
                    run,
                }
            }
            Output::Reply { ticket, answer } => return self.replies.push((ticket, answer)),
            Output::Send { session, message } => {
                let body = message.body.unwrap();
                if let Body::Dispatch(dispatch) = &body {
                    let attempt = dispatch.attempt.unwrap();
                    self.questions.push((session, attempt, dispatch.question));
                }
                return self.sent.push((session, body));
            }
            Output::Close { session } => return self.closed.push(session),
            Output::SteppedDown { shard, epoch } => {
                let owner = &self.core.settings.engine;
                let head = 0;
                let lease = store::Lease { shard, epoch, head };
                now(self.log.release(owner, &[lease])).unwrap();
                return self.stepped_down.push(epoch);
            }
            Output::Look {
                task,
                attempt,
                generation,
                inquiry,
            } => return self.looked.push((task, attempt, generation, inquiry)),
            Output::Tell {
                instance,
                number,
                alert,
                ..
            } => return self.notices.push((instance, number, alert)),
            Output::Post { shard, letter } => return self.posted.push((shard, letter)),
            Output::KeepStanding(standing) => {
                return now(self.log.keep_standing(&standing)).unwrap();
            }
        };
        if self.deaf {
            self.answers.push(input);
        } else {
            self.core.handle(Timestamp(self.at), input);
        }
    }

    fn append(&mut self, generation: u64, append: Append) -> Input {
        let (shard, head) = (append.shard, append.after.head + append.events.len() as u64);
        let written = match self.refuse.take_if(|refused| *refused == shard) {
            Some(_) => Err(AppendError::Unavailable("refused".to_owned())),
            None => now(self.log.append(append)),
        };
        match written {
            Ok(()) => Input::Appended {
                shard,
                generation,
                head,
            },
            Err(error) => Input::AppendFailed {
                shard,
                generation,
                error,
            },
        }
    }

    fn lease_until(&mut self, until: i64) {
        let owner = self.core.settings.engine.clone();
        let most = usize::from(self.log.shards()) - self.core.ready_shards().count();
        for lease in now(self.log.acquire(&owner, most, 1)).unwrap() {
            self.epoch = lease.epoch;
            self.handle(Input::Leased {
                shard: lease.shard,
                epoch: lease.epoch,
                until: Timestamp(until),
                from: String::new(),
            });
        }
    }

    fn lease(&mut self) {
        self.lease_until(i64::MAX);
    }

    fn ask(&mut self, ticket: Ticket, request: Request) {
        let by = Metadata::default();
        self.handle(Input::Asked(Asked {
            ticket,
            request,
            by,
        }));
    }

    fn hello(&mut self, session: SessionId, held: &[AttemptId]) {
        self.hello_of(session, "w", 1, held);
    }

    fn hello_of(&mut self, session: SessionId, id: &str, slots: u32, held: &[AttemptId]) {
        let hello = Hello {
            worker_id: id.to_owned(),
            incarnation: "1".to_owned(),
            host: id.to_owned(),
            groups: vec!["default".to_owned()],
            slots,
            held: held
                .iter()
                .map(|held| crate::core::wire::attempt(*held))
                .collect(),
        };
        self.open(session, hello);
    }

    /// Says hello, and answers what it is asked then.
    fn open(&mut self, session: SessionId, hello: Hello) {
        let held: Vec<AttemptId> = hello
            .held
            .iter()
            .filter_map(|held| crate::core::wire::attempt_id(Some(held)))
            .collect();
        self.handle(Input::Opened { session, hello });
        if self.claims(session).last() == Some(&self.epoch) {
            self.holding(session, self.epoch, &held);
        }
    }

    fn say(&mut self, session: SessionId, body: worker_message::Body) {
        let message = WorkerMessage { body: Some(body) };
        self.handle(Input::Heard { session, message });
    }

    /// Says what it has of the shard that it was told is ours, as of this epoch.
    fn holding(&mut self, session: SessionId, epoch: u64, held: &[AttemptId]) {
        let held = held.iter().map(|held| crate::core::wire::attempt(*held));
        let shards = vec![wire::Ownership {
            shard: u32::from(SHARD.0),
            epoch,
        }];
        let held = held.collect();
        self.say(
            session,
            worker_message::Body::Holding(wire::Holding { shards, held }),
        );
    }

    /// The epochs that a worker was told of on this stream.
    fn claims(&self, session: SessionId) -> Vec<u64> {
        let on_it = self.sent.iter().filter(|(to, _)| *to == session);
        on_it
            .filter_map(|(_, body)| {
                if let Body::Owner(owner) = body {
                    Some(&owner.shards)
                } else {
                    None
                }
            })
            .flatten()
            .map(|owned| owned.epoch)
            .collect()
    }

    fn accept(&mut self, session: SessionId, attempt: AttemptId) {
        let attempt = Some(crate::core::wire::attempt(attempt));
        let rejected = String::new();
        self.say(
            session,
            worker_message::Body::Answer(wire::Answer {
                attempt,
                rejected,
                ..wire::Answer::default()
            }),
        );
    }

    fn finish(&mut self, session: SessionId, attempt: AttemptId, outcome: wire::Outcome) {
        let finished = wire::Finished {
            outcome: outcome.into(),
            ended_at: self.at,
            ..wire::Finished::default()
        };
        self.say(
            session,
            worker_message::Body::Report(wire::Report {
                attempt: Some(crate::core::wire::attempt(attempt)),
                sequence: 2,
                kind: Some(report::Kind::Finished(finished)),
            }),
        );
    }

    /// What the log says of the task, event by event.
    fn told(&self) -> Vec<String> {
        let kind = AggregateType::TaskInstance;
        let id = attempt(1).task.to_string();
        let events = now(self.log.read_stream(&StreamId { kind, id }, 0)).unwrap();
        events
            .into_iter()
            .map(|event| event.event_type.into_owned())
            .collect()
    }

    fn dispatches(&self) -> usize {
        let dispatches = self
            .sent
            .iter()
            .filter(|(_, body)| matches!(body, Body::Dispatch(_)));
        dispatches.count()
    }
}

fn attempt(number: u32) -> AttemptId {
    let task = TaskId {
        instance: InstanceId::new(1, SHARD),
        task: TaskCode(1),
    };
    AttemptId { task, number }
}

fn spec_of(retry: RetryPolicy) -> WorkflowSpec {
    WorkflowSpec {
        name: "w".to_owned(),
        project: "p".to_owned(),
        tasks: vec![TaskSpec {
            code: TaskCode(1),
            name: "t".to_owned(),
            kind: TaskKind::Shell {
                run: "true".to_owned(),
            },
            depends_on: Vec::new(),
            params: Vec::new(),
            policy: Policy {
                retry,
                ..Policy::default()
            },
        }],
        ..WorkflowSpec::default()
    }
}

fn wanted(retry: RetryPolicy) -> (Arc<Workflow>, Arc<Submission>) {
    let spec = spec_of(retry);
    let submission = Submission {
        definition: DefinitionCode::new("p", "w"),
        version: 1,
        project: "p".to_owned(),
        workflow: "w".to_owned(),
        params: Vec::new(),
        failure: FailureStrategy::Continue,
        priority: Priority::Medium,
        ..Submission::default()
    };
    (
        Arc::new(Workflow::check(spec).unwrap()),
        Arc::new(submission),
    )
}

fn hourly() -> RetryPolicy {
    RetryPolicy {
        times: 3,
        interval: Duration::from_hours(1),
    }
}

#[test]
fn every_fact_of_the_bench_is_one_the_log_can_read() {
    let bench = Bench::with_a_run(RetryPolicy::default());
    let events = now(bench.log.read(SHARD, 0, 10)).unwrap();
    let facts: Vec<Fact> = events.iter().map(|event| event.fact().unwrap()).collect();
    assert!(matches!(
        facts[..],
        [
            Fact::Definition(..),
            Fact::Workflow(..),
            Fact::Workflow(..),
            Fact::Task(..)
        ]
    ));
}
