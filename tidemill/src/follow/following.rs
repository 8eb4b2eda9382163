//! Following a run to its end, with an ear for signals. What has been asked of the service is waited for
//! even when a signal comes, because in the middle of it this process may be becoming the service.

use std::pin::pin;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::sleep;

use super::{Asked, Event, PAGE, Progress, Signals, Story};
use crate::failure::Failure;
use crate::output;
use crate::session::{Request, Session};

/// How soon to look again after something has happened.
const EAGER: Duration = Duration::from_millis(20);
/// How soon to look again when nothing has happened for a while.
const CALM: Duration = Duration::from_millis(200);

/// What whoever follows has to do with the run, and so what Ctrl-C means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stake {
    /// It was begun here: it is stopped, and when asked again left.
    Starter,
    /// It was begun earlier and is taken up here: likewise.
    Heir,
    /// It is only looked at: Ctrl-C ends that.
    Onlooker,
}

/// A run that is being followed.
pub(crate) struct Following<'a> {
    /// The run.
    pub(crate) story: &'a mut Story,
    /// Who knows about it.
    pub(crate) session: &'a mut Session,
    /// Where it is shown.
    pub(crate) progress: &'a mut Progress,
    /// Where wishes arrive.
    pub(crate) signals: &'a mut Signals,
    /// What they mean.
    pub(crate) stake: Stake,
}

impl Following<'_> {
    /// Shows what happens until the run has ended or somebody ends this process.
    pub(crate) async fn follow(mut self) -> Result<(), Failure> {
        self.progress.begin(&self.story.picture);
        let done = self.go_on().await;
        self.progress.end();
        if let Err(Failure::Left(signal)) = &done {
            let id = self.story.picture.id;
            output::complain(&match (self.stake, *signal) {
                (Stake::Onlooker, _) => format!("no longer following run {id}"),
                (Stake::Starter | Stake::Heir, Failure::INTERRUPT) => {
                    format!("left run {id} while it stops; the next `run` or `serve` here ends it")
                }
                (Stake::Starter | Stake::Heir, _) => {
                    format!("leaving run {id}; the same command takes it up")
                }
            });
        }
        done
    }

    async fn go_on(&mut self) -> Result<(), Failure> {
        let mut pause = EAGER;
        let mut stopping = false;
        while self.story.picture.end().is_none() {
            let (events, asked) = self.look(stopping).await?;
            self.show(&events).await?;
            let more = events.len() == PAGE || self.story.picture.end().is_some();
            pause = if events.is_empty() {
                (pause * 2).min(CALM)
            } else {
                EAGER
            };
            let asked = match asked {
                Some(asked) => Some(asked),
                None if more => None,
                None => tokio::select! {
                    () = sleep(pause) => None,
                    asked = self.signals.next() => Some(asked),
                },
            };
            if let Some(asked) = asked {
                stopping = self.obey(asked, stopping).await?;
            }
        }
        Ok(())
    }

    /// The next events, and what somebody wished meanwhile. Who insists need not wait for the events.
    async fn look(&mut self, stopping: bool) -> Result<(Vec<Event>, Option<Asked>), Failure> {
        let mut reading = pin!(self.story.read(self.session));
        let asked = tokio::select! {
            events = &mut reading => return Ok((events?, None)),
            asked = self.signals.next() => asked,
        };
        if let Some(left) = leaves(asked, self.stake, stopping) {
            return Err(left);
        }
        tokio::select! {
            events = reading => Ok((events?, Some(asked))),
            again = self.signals.next() => Err(left(again)),
        }
    }

    async fn show(&mut self, events: &[Event]) -> Result<(), Failure> {
        for event in events {
            let change = self.story.picture.apply(event)?;
            self.story.learn(self.session).await?;
            self.progress.show(&self.story.picture, change, event);
        }
        self.progress.refresh(&self.story.picture);
        Ok(())
    }

    /// Carries out a wish. True when the run is being stopped.
    async fn obey(&mut self, asked: Asked, stopping: bool) -> Result<bool, Failure> {
        if let Some(left) = leaves(asked, self.stake, stopping) {
            return Err(left);
        }
        let id = self.story.picture.id.to_string();
        let request = Request::post(&["instances", &id, "commands"], json!({"command": "STOP"}));
        let stopped: Result<Value, Failure> = tokio::select! {
            stopped = self.session.call(&request) => stopped,
            again = self.signals.next() => return Err(left(again)),
        };
        match stopped {
            // Said when it is so: whoever leaves now leaves a run that is being stopped.
            Ok(_) => self
                .progress
                .note("stopping the run (Ctrl-C again leaves at once)"),
            // Most likely it has just ended; what has become of it is shown next.
            Err(refused) => self.progress.note(refused.brief()),
        }
        Ok(true)
    }
}

/// The end of this process, if that is what the wish means.
fn leaves(asked: Asked, stake: Stake, stopping: bool) -> Option<Failure> {
    let stays = match (asked, stake) {
        (Asked::Interrupt, Stake::Starter | Stake::Heir) => !stopping,
        (Asked::Interrupt, Stake::Onlooker) | (Asked::Terminate, _) => false,
    };
    (!stays).then(|| left(asked))
}

/// This process ends because of this wish.
pub(crate) fn left(asked: Asked) -> Failure {
    match asked {
        Asked::Interrupt => Failure::Left(Failure::INTERRUPT),
        Asked::Terminate => Failure::Left(Failure::TERMINATE),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signal(asked: Asked, stake: Stake, stopping: bool) -> Option<u8> {
        match leaves(asked, stake, stopping) {
            Some(Failure::Left(signal)) => Some(signal),
            Some(other) => panic!("{other:?}"),
            None => None,
        }
    }

    #[test]
    fn only_the_first_interrupt_of_whoever_runs_it_stays() {
        assert_eq!(signal(Asked::Interrupt, Stake::Starter, false), None);
        assert_eq!(signal(Asked::Interrupt, Stake::Starter, true), Some(2));
        assert_eq!(signal(Asked::Interrupt, Stake::Onlooker, false), Some(2));
        assert_eq!(signal(Asked::Terminate, Stake::Starter, false), Some(15));
        assert_eq!(signal(Asked::Terminate, Stake::Onlooker, true), Some(15));
    }
}
