//! A worker that only pretends: it speaks the contract of `proto` with a real service and does to what it is
//! asked whatever the scenario wants. Gone when it is dropped, without a word.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use proto::worker::worker_message::Body;
use proto::worker::worker_session_client::WorkerSessionClient;
use proto::worker::{
    Answer, Attempt, Dispatch, Finished, Heartbeat, Hello, Holding, Outcome, Report, Started,
    WorkerFrame, WorkerMessage, engine_message, report,
};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::mpsc;
use tokio_stream::wrappers::UnboundedReceiverStream;

use super::case::Case;
use super::service::wait_until;

/// What it does to a dispatch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Manner {
    /// Nothing at all.
    Swallows,
    /// It says no.
    Refuses,
    /// It takes it, and says at once that it ended well.
    Succeeds,
    /// It takes it, and says that it runs.
    Holds,
}

#[derive(Debug, Default)]
struct Seen {
    overloaded: String,
    welcomed: bool,
    asked: usize,
    killed: usize,
    refused: String,
    /// What it was asked to run and holds.
    held: Vec<Attempt>,
}

type Shared = Arc<Mutex<Seen>>;

pub(crate) struct Pretender {
    seen: Shared,
    // Its only task lives as long as this.
    _runtime: Runtime,
}

impl Pretender {
    /// Serves the group of its own name, with so many slots.
    pub(crate) fn new(case: &Case, id: &str, group: &str, slots: u32, manner: Manner) -> Self {
        let one = Self::incarnation(case, id, "one", group, slots, manner);
        wait_until("the pretender is welcome", || {
            let seen = look(&one.seen);
            if seen.welcomed {
                Ok(())
            } else {
                Err(seen.refused.clone())
            }
        });
        one
    }

    /// The same, whether or not it is welcome.
    pub(crate) fn incarnation(
        case: &Case,
        id: &str,
        incarnation: &str,
        group: &str,
        slots: u32,
        manner: Manner,
    ) -> Self {
        let hello = Hello {
            worker_id: id.to_owned(),
            incarnation: incarnation.to_owned(),
            host: id.to_owned(),
            groups: vec![group.to_owned()],
            slots,
            held: Vec::new(),
        };
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime can be had");
        let seen = Shared::default();
        let address = case.door.address().to_owned();
        runtime.spawn(converse(address, hello, manner, seen.clone()));
        Self {
            seen,
            _runtime: runtime,
        }
    }

    /// From now on its machine has too much to do; an empty reason ends that.
    pub(crate) fn is_overloaded(&self, why: &str) {
        why.clone_into(&mut look(&self.seen).overloaded);
    }

    /// How often it was asked to run something.
    pub(crate) fn asked(&self) -> usize {
        look(&self.seen).asked
    }

    /// How often it was told to kill something.
    pub(crate) fn killed(&self) -> usize {
        look(&self.seen).killed
    }

    /// Why it was sent away; empty when it was not.
    pub(crate) fn refused(&self) -> String {
        look(&self.seen).refused.clone()
    }
}

fn look(seen: &Shared) -> std::sync::MutexGuard<'_, Seen> {
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn converse(address: String, hello: Hello, manner: Manner, seen: Shared) {
    let mut client = WorkerSessionClient::connect(address)
        .await
        .expect("the service can be reached");
    let (out, frames) = mpsc::unbounded_channel();
    let say = |body| {
        let messages = vec![WorkerMessage { body: Some(body) }];
        // A stream that has ended hears nothing.
        let _ = out.send(WorkerFrame { messages });
    };
    say(Body::Hello(hello));
    let opened = client.open(UnboundedReceiverStream::new(frames)).await;
    let mut inbound = opened.expect("a stream").into_inner();
    let mut heart = tokio::time::interval(Duration::from_millis(50));
    loop {
        tokio::select! {
            frame = inbound.message() => {
                let Ok(Some(frame)) = frame else { return };
                for body in frame.messages.into_iter().filter_map(|message| message.body) {
                    hear(body, manner, &seen).into_iter().for_each(say);
                }
            }
            _ = heart.tick() => {
                let overloaded = look(&seen).overloaded.clone();
                say(Body::Heartbeat(Heartbeat { memory: 0.5, overloaded, ..Heartbeat::default() }));
            }
        }
    }
}

fn hear(body: engine_message::Body, manner: Manner, seen: &Shared) -> Vec<Body> {
    use engine_message::Body as Said;
    match body {
        Said::Welcome(_) => look(seen).welcomed = true,
        Said::Refused(refused) => look(seen).refused = refused.reason,
        Said::Dispatch(dispatch) => {
            look(seen).asked += 1;
            if manner == Manner::Holds {
                look(seen).held.extend(dispatch.attempt);
            }
            return react(&dispatch, manner);
        }
        Said::Owner(owner) => {
            let held = look(seen).held.clone();
            let shards = owner.shards;
            return vec![Body::Holding(Holding { shards, held })];
        }
        Said::Kill(kill) => {
            look(seen).killed += 1;
            look(seen).held.retain(|held| Some(*held) != kill.attempt);
            if manner == Manner::Holds {
                return vec![ended(kill.attempt, Outcome::Killed)];
            }
        }
        Said::Ack(_) | Said::NotOwner(_) | Said::ReadLog(_) | Said::Engines(_) => {}
    }
    Vec::new()
}

fn react(dispatch: &Dispatch, manner: Manner) -> Vec<Body> {
    let attempt = dispatch.attempt;
    let answer = |rejected: &str| {
        Body::Answer(Answer {
            attempt,
            rejected: rejected.to_owned(),
            question: dispatch.question,
        })
    };
    match manner {
        Manner::Swallows => Vec::new(),
        Manner::Refuses => vec![answer("it pretends to be full")],
        Manner::Succeeds => vec![answer(""), ended(attempt, Outcome::Success)],
        Manner::Holds => vec![
            answer(""),
            told(
                attempt,
                1,
                report::Kind::Started(Started {
                    started_at: 1,
                    log_path: "/nowhere".to_owned(),
                    pid: 0,
                }),
            ),
        ],
    }
}

fn ended(attempt: Option<Attempt>, outcome: Outcome) -> Body {
    let reason = if outcome == Outcome::Success {
        ""
    } else {
        "it pretends"
    };
    let finished = Finished {
        outcome: outcome.into(),
        started_at: 1,
        ended_at: 2,
        reason: reason.to_owned(),
        log_path: "/nowhere".to_owned(),
        ..Finished::default()
    };
    told(attempt, 2, report::Kind::Finished(finished))
}

fn told(attempt: Option<Attempt>, sequence: u64, kind: report::Kind) -> Body {
    Body::Report(Report {
        attempt,
        sequence,
        kind: Some(kind),
    })
}
