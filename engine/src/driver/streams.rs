//! Workers' streams: what they bring, and questions about logs that go the other way.

use domain::{AttemptId, Timestamp};
use proto::worker::{
    EngineMessage, LogChunk, ReadLog, WorkerMessage, engine_message, worker_message,
};
use tokio::sync::oneshot;

use super::{Driver, FromWorker, Stream};
use crate::core::{Input, SessionId, wire};

impl Driver {
    pub(super) fn worker_said(&mut self, now: Timestamp, said: FromWorker) {
        match said {
            FromWorker::Opened {
                session,
                hello,
                to_worker,
            } => {
                self.streams.insert(
                    session,
                    Stream {
                        worker: hello.worker_id.clone(),
                        to_worker,
                    },
                );
                self.core.handle(now, Input::Opened { session, hello });
            }
            FromWorker::Said {
                body: worker_message::Body::LogChunk(chunk),
                ..
            } => {
                if let Some((_, reply)) = self.log_reads.remove(&chunk.request) {
                    let _ = reply.send(Some(chunk));
                }
            }
            FromWorker::Said { session, body } => {
                self.core.handle(
                    now,
                    Input::Heard {
                        session,
                        message: WorkerMessage { body: Some(body) },
                    },
                );
            }
            FromWorker::Closed { session } => {
                self.forget_stream(session);
                self.core.handle(now, Input::Closed { session });
            }
        }
    }

    /// A stream that we end may never be seen to end by the other side.
    pub(super) fn forget_stream(&mut self, session: SessionId) {
        self.streams.remove(&session);
        self.log_reads.retain(|_, (reader, _)| *reader != session);
    }

    pub(super) fn read_log(
        &mut self,
        worker: &str,
        attempt: AttemptId,
        offset: u64,
        limit: u32,
        reply: oneshot::Sender<Option<LogChunk>>,
    ) {
        let newest = self
            .streams
            .iter()
            .filter(|(_, stream)| stream.worker == worker)
            .max_by_key(|(id, _)| **id);
        let Some((&session, stream)) = newest else {
            let _ = reply.send(None);
            return;
        };
        self.next_ticket += 1;
        let request = self.next_ticket;
        let attempt = wire::attempt(attempt);
        let read = ReadLog {
            request,
            attempt: Some(attempt),
            offset,
            limit,
        };
        // A stream that has just ended answers nothing; the reader is told when its end is noticed.
        let _ = stream.to_worker.send(EngineMessage {
            body: Some(engine_message::Body::ReadLog(read)),
        });
        // Who has waited too long has gone away.
        self.log_reads.retain(|_, (_, reply)| !reply.is_closed());
        self.log_reads.insert(request, (session, reply));
    }
}
