//! Everything that is not the core: the log, one worker, and those who ask. Nobody takes any time.

use std::collections::VecDeque;
use std::time::Duration;

use domain::{ShardId, Timestamp};
use engine::core::{
    Asked, Core, Dispatching, Image, Input, Output, Request, SessionId, Settings, Ticket,
};
use proto::worker::engine_message::Body as Told;
use proto::worker::worker_message::Body as Said;
use proto::worker::{
    Answer, Attempt, Finished, Hello, Holding, Outcome, Report, WorkerMessage, report,
};
use store::Metadata;

const SHARDS: u16 = 16;
const SLOTS: u32 = 64;
const SESSION: SessionId = 1;
const NOW: Timestamp = Timestamp(1_700_000_000_000_000);
/// How much of what has happened the core is told before it is to say what follows: where a log takes
/// time, that is what has come in meanwhile.
const AT_ONCE: usize = 64;

/// The shard of the run of this number: each in its turn.
pub(crate) fn shard(number: u32) -> ShardId {
    ShardId((number % u32::from(SHARDS)) as u16)
}

pub(crate) struct Outside {
    core: Core,
    /// What has happened and was not yet told.
    happened: VecDeque<Input>,
    asked: Ticket,
    /// How many ends of tasks were acknowledged.
    ended: u32,
}

impl Outside {
    /// An engine with all shards, all empty, and one worker.
    pub(crate) fn new() -> Self {
        let settings = Settings {
            engine: "engine-1".to_owned(),
            shards: SHARDS,
            worker_lease: Duration::from_secs(10),
            heartbeat: Duration::from_secs(1),
            kill_grace: Duration::from_secs(1),
            dispatch: Dispatching::default(),
            standing_every: 20_000,
        };
        let leased = |number| Input::Leased {
            shard: ShardId(number),
            epoch: 1,
            until: Timestamp(i64::MAX),
            from: String::new(),
        };
        let hello = Hello {
            worker_id: "worker-1".to_owned(),
            incarnation: "worker-1.1".to_owned(),
            host: "host-1".to_owned(),
            groups: vec!["default".to_owned()],
            slots: SLOTS,
            held: Vec::new(),
        };
        let mut happened: VecDeque<Input> = (0..SHARDS).map(leased).collect();
        happened.push_back(Input::Opened {
            session: SESSION,
            hello,
        });
        let mut outside = Self {
            core: Core::new(settings),
            happened,
            asked: 0,
            ended: 0,
        };
        outside.play();
        outside
    }

    /// Asks for something, as soon as anything is played.
    pub(crate) fn ask(&mut self, request: Request) {
        self.asked += 1;
        self.happened.push_back(Input::Asked(Asked {
            ticket: self.asked,
            request,
            by: Metadata::default(),
        }));
    }

    /// Goes on until nothing happens any more.
    pub(crate) fn play(&mut self) {
        while !self.happened.is_empty() {
            let news = self.happened.len().min(AT_ONCE);
            for input in self.happened.drain(..news) {
                self.core.handle(NOW, input);
            }
            for output in self.core.flush(NOW) {
                self.carry_out(output);
            }
        }
    }

    pub(crate) const fn ended(&self) -> u32 {
        self.ended
    }

    fn carry_out(&mut self, output: Output) {
        match output {
            Output::Append {
                generation, append, ..
            } => self.happened.push_back(Input::Appended {
                shard: append.shard,
                generation,
                head: append.after.head + append.events.len() as u64,
            }),
            Output::Load { shard, generation } => self.happened.push_back(Input::Loaded {
                shard,
                generation,
                image: Box::new(Image::empty()),
            }),
            Output::Send { message, .. } => {
                if let Some(told) = message.body {
                    self.worker(told);
                }
            }
            Output::Reply { answer, .. } => {
                answer.expect("nothing that is asked is refused");
            }
            Output::Prove { .. }
            | Output::LoadRun { .. }
            | Output::Look { .. }
            | Output::Tell { .. }
            | Output::Post { .. }
            | Output::KeepStanding(_)
            | Output::Close { .. }
            | Output::SteppedDown { .. } => {
                unreachable!("nothing is forgotten, lost or waited for: {output:?}")
            }
        }
    }

    /// Takes what it is given and has done it at once.
    fn worker(&mut self, told: Told) {
        match told {
            Told::Dispatch(dispatch) => {
                self.say(Said::Answer(Answer {
                    attempt: dispatch.attempt,
                    rejected: String::new(),
                    question: dispatch.question,
                }));
                self.say(Said::Report(success(dispatch.attempt)));
            }
            Told::Ack(_) => self.ended += 1,
            Told::Owner(owner) => self.say(Said::Holding(Holding {
                shards: owner.shards,
                held: Vec::new(),
            })),
            Told::Welcome(_) | Told::Engines(_) => {}
            Told::Kill(_) | Told::NotOwner(_) | Told::ReadLog(_) | Told::Refused(_) => {
                unreachable!("nobody stops or looks at anything: {told:?}")
            }
        }
    }

    fn say(&mut self, said: Said) {
        self.happened.push_back(Input::Heard {
            session: SESSION,
            message: WorkerMessage { body: Some(said) },
        });
    }
}

fn success(attempt: Option<Attempt>) -> Report {
    Report {
        attempt,
        sequence: 1,
        kind: Some(report::Kind::Finished(Finished {
            outcome: Outcome::Success.into(),
            ended_at: NOW.micros(),
            ..Finished::default()
        })),
    }
}
