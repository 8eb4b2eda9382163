//! What workers say. A report is durable before it is acked, and every report is acked in the end: one
//! that can change nothing any more just makes the worker forget it.

use domain::run::{self, TaskCommand, Word};
use domain::{AttemptId, Timestamp, WorkerRef};
use proto::worker::{NotOwner, WorkerMessage, engine_message, worker_message};
use store::Metadata;

use super::inputs::Input;
use super::shard::Effect;
use super::{Core, Output, SessionId, wire};

/// One thing a worker said about one attempt.
struct Saying {
    session: SessionId,
    worker: WorkerRef,
    attempt: AttemptId,
    /// The number to ack it with; none for an answer, which is not repeated.
    sequence: Option<u64>,
    word: Word,
}

impl Core {
    pub(super) fn heard(&mut self, now: Timestamp, session: SessionId, message: WorkerMessage) {
        let Some(worker) = self.workers.heard(session, now) else {
            return;
        };
        let mut question = 0;
        let (attempt, sequence, word) = match &message.body {
            Some(worker_message::Body::Answer(answer)) => {
                question = answer.question;
                let word = if answer.rejected.is_empty() {
                    Word::Accepted
                } else {
                    Word::Refused(answer.rejected.clone())
                };
                (answer.attempt.as_ref(), None, word)
            }
            Some(worker_message::Body::Report(report)) => match wire::word(report) {
                Some(word) => (report.attempt.as_ref(), Some(report.sequence), word),
                None => return,
            },
            Some(worker_message::Body::Heartbeat(beat)) => {
                self.workers.beat(&worker.id, beat);
                self.look_for_silence(now, session, &worker);
                return;
            }
            Some(worker_message::Body::Goodbye(goodbye)) => {
                self.goodbye(now, &worker, &goodbye.ended);
                return;
            }
            Some(worker_message::Body::Holding(holding)) => {
                self.holding(now, session, &worker.id, holding);
                return;
            }
            Some(worker_message::Body::Hello(_) | worker_message::Body::LogChunk(_)) | None => {
                return;
            }
        };
        if let Some(attempt) = wire::attempt_id(attempt) {
            if !self.takes_word(&worker, attempt, question, &word) {
                return;
            }
            let saying = Saying {
                session,
                worker,
                attempt,
                sequence,
                word,
            };
            self.hear(now, &saying, message);
        }
    }

    /// What a word says of the worker itself. Answers whether it says something of the attempt: not a
    /// rejection by a worker that was asked again since.
    fn takes_word(
        &mut self,
        worker: &WorkerRef,
        attempt: AttemptId,
        question: u64,
        word: &Word,
    ) -> bool {
        let ended = matches!(word, Word::Finished(_));
        self.workers.spoke(&worker.id, ended);
        match word {
            Word::Refused(why) => {
                self.workers.refused(&worker.id, why);
                return self.workers.rejected(&worker.id, attempt, question);
            }
            Word::Accepted => {
                self.workers.accepted(&worker.id, attempt);
            }
            Word::Started(_) | Word::Finished(_) => {
                self.workers.reported(&worker.id, attempt, ended);
            }
        }
        self.workers.says_it_holds(&worker.id, attempt);
        true
    }

    fn hear(&mut self, now: Timestamp, saying: &Saying, message: WorkerMessage) {
        let Saying {
            session, attempt, ..
        } = *saying;
        let instance = attempt.task.instance;
        if !self.lease_holds(now, instance.shard()) {
            let owner = String::new();
            let not_owner = NotOwner {
                attempt: Some(wire::attempt(attempt)),
                owner,
            };
            self.tell(session, engine_message::Body::NotOwner(not_owner));
            return;
        }
        let Some(shard) = self.shards.get_mut(&instance.shard()) else {
            return;
        };
        let Some(memory) = shard.memory() else {
            // Dropped when too many wait: the worker sends it again.
            shard.park(Input::Heard { session, message });
            return;
        };
        if memory.corrupt.contains_key(&instance) {
            return;
        }
        if memory.absent.contains(&instance) {
            self.answer_saying(saying, false);
            return;
        }
        if !memory.runs.contains_key(&instance) {
            let generation = shard.generation;
            if shard.park_for(instance, Input::Heard { session, message }) {
                self.out.push(Output::LoadRun {
                    instance,
                    generation,
                });
            }
            return;
        }
        let valid = self.apply(now, saying);
        self.answer_saying(saying, valid);
    }

    /// Records what the worker said. Answers whether the attempt is still one that should run.
    fn apply(&mut self, now: Timestamp, saying: &Saying) -> bool {
        let cause = match &saying.word {
            Word::Accepted => "accepted",
            Word::Refused(_) => "refused",
            Word::Started(_) => "report started",
            Word::Finished(_) => "report finished",
        };
        let by = Metadata {
            actor: format!("worker {}", saying.worker.id),
            cause: cause.to_owned(),
            trace: None,
        };
        let AttemptId { task, number } = saying.attempt;
        let command = run::Command::Task {
            task: task.task,
            command: TaskCommand::Report {
                attempt: number,
                worker: saying.worker.clone(),
                word: saying.word.clone(),
            },
        };
        if let Err(rejection) = self.decide(now, task.instance, &command, &by) {
            tracing::warn!(attempt = %saying.attempt, %rejection, "a report that fits nothing");
            return false;
        }
        let run = self
            .shards
            .get(&task.instance.shard())
            .and_then(|shard| shard.run(task.instance));
        let holder = run
            .and_then(|run| run.task(task.task))
            .and_then(|state| state.holder(number));
        holder.is_some_and(|holder| holder.id == saying.worker.id)
    }

    /// Acks a report once it is durable, and ends an attempt that should not be running.
    fn answer_saying(&mut self, saying: &Saying, valid: bool) {
        let Some(shard) = self.shards.get_mut(&saying.attempt.task.instance.shard()) else {
            return;
        };
        if let Some(sequence) = saying.sequence {
            let (session, attempt) = (saying.session, saying.attempt);
            let last = matches!(saying.word, Word::Finished(_));
            shard.when_durable(Effect::Ack {
                session,
                attempt,
                sequence,
                last,
            });
        }
        let runs = matches!(saying.word, Word::Accepted | Word::Started(_));
        if runs && !valid {
            shard.when_durable(Effect::KillStray(saying.session, saying.attempt));
        }
    }
}
