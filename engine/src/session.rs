//! The gRPC stream to each worker: frames become messages for the engine, and the engine's messages
//! become frames. Decides nothing.

use std::pin::Pin;
use std::time::Duration;

use futures_util::{Stream, StreamExt, stream};
use proto::worker::worker_session_server::{WorkerSession, WorkerSessionServer};
use proto::worker::{
    EngineFrame, EngineMessage, Hello, WorkerFrame, engine_message, worker_message,
};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};
use tonic::{Request, Response, Status, Streaming};

use crate::driver::FromWorker;
use crate::engine::Engine;

/// How many messages one frame carries at most.
const FRAME: usize = 512;
/// How long acks wait for something to go with.
const COMPANY: Duration = Duration::from_millis(5);

/// The service that workers connect to.
#[derive(Clone)]
pub struct WorkerSessions {
    engine: Engine,
}

impl WorkerSessions {
    /// The service of this engine, ready to be mounted.
    pub fn service(engine: Engine) -> WorkerSessionServer<Self> {
        WorkerSessionServer::new(Self { engine }).max_decoding_message_size(64 << 20)
    }
}

type Frames = Pin<Box<dyn Stream<Item = Result<EngineFrame, Status>> + Send>>;

#[tonic::async_trait]
impl WorkerSession for WorkerSessions {
    type OpenStream = Frames;

    async fn open(
        &self,
        request: Request<Streaming<WorkerFrame>>,
    ) -> Result<Response<Frames>, Status> {
        let mut frames = request.into_inner();
        let first = frames
            .message()
            .await?
            .ok_or_else(|| Status::invalid_argument("the stream ended before Hello"))?;
        let mut messages = first
            .messages
            .into_iter()
            .filter_map(|message| message.body);
        let Some(worker_message::Body::Hello(hello)) = messages.next() else {
            return Err(Status::invalid_argument("the first message must be Hello"));
        };
        check(&hello)?;
        let (to_worker, outgoing) = mpsc::unbounded_channel();
        let session = self.engine.next_session();
        let engine = self.engine.clone();
        let gone = || Status::unavailable("the engine is shutting down");
        engine
            .worker_said(FromWorker::Opened {
                session,
                hello,
                to_worker,
            })
            .map_err(|_| gone())?;
        for body in messages {
            engine
                .worker_said(FromWorker::Said { session, body })
                .map_err(|_| gone())?;
        }
        tokio::spawn(async move {
            while let Some(Ok(frame)) = frames.next().await {
                for body in frame
                    .messages
                    .into_iter()
                    .filter_map(|message| message.body)
                {
                    if engine
                        .worker_said(FromWorker::Said { session, body })
                        .is_err()
                    {
                        return;
                    }
                }
            }
            let _ = engine.worker_said(FromWorker::Closed { session });
        });
        Ok(Response::new(Box::pin(framed(outgoing, COMPANY))))
    }
}

/// Everything that queued goes into the next frame, and acks wait a little for something to go with. Ends when the
/// engine drops its end.
fn framed(
    outgoing: mpsc::UnboundedReceiver<EngineMessage>,
    company: Duration,
) -> impl Stream<Item = Result<EngineFrame, Status>> {
    stream::unfold(outgoing, move |mut outgoing| async move {
        let mut messages = Vec::new();
        if outgoing.recv_many(&mut messages, FRAME).await == 0 {
            return None;
        }
        let until = Instant::now() + company;
        while messages.len() < FRAME && messages.iter().all(is_ack) {
            let room = FRAME - messages.len();
            let more = timeout_at(until, outgoing.recv_many(&mut messages, room)).await;
            if matches!(more, Err(_) | Ok(0)) {
                break;
            }
        }
        Some((Ok(EngineFrame { messages }), outgoing))
    })
}

/// Nobody waits for it: the worker would only say its report again, much later.
fn is_ack(message: &EngineMessage) -> bool {
    matches!(message.body, Some(engine_message::Body::Ack(_)))
}

fn check(hello: &Hello) -> Result<(), Status> {
    let problem = if hello.worker_id.is_empty() {
        "worker_id must not be empty"
    } else if hello.incarnation.is_empty() {
        "incarnation must not be empty"
    } else if hello.groups.is_empty() {
        "groups must name at least one worker group"
    } else if hello.slots == 0 {
        "slots must be at least 1"
    } else {
        return Ok(());
    };
    Err(Status::invalid_argument(format!("Hello: {problem}")))
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use futures_util::FutureExt;
    use proto::worker::{Ack, Dispatch};

    use super::*;

    fn ack() -> EngineMessage {
        EngineMessage {
            body: Some(engine_message::Body::Ack(Ack::default())),
        }
    }

    fn dispatch() -> EngineMessage {
        EngineMessage {
            body: Some(engine_message::Body::Dispatch(Dispatch::default())),
        }
    }

    #[tokio::test]
    async fn acks_go_with_what_follows_them() {
        let (say, said) = mpsc::unbounded_channel();
        let mut frames = pin!(framed(said, Duration::from_hours(1)));
        say.send(ack()).unwrap();
        assert!(
            frames.next().now_or_never().is_none(),
            "it waits for company"
        );
        say.send(ack()).unwrap();
        say.send(dispatch()).unwrap();
        let together = frames.next().await.unwrap().unwrap();
        assert_eq!(together.messages, [ack(), ack(), dispatch()]);

        say.send(dispatch()).unwrap();
        let at_once = frames.next().now_or_never().unwrap().unwrap().unwrap();
        assert_eq!(at_once.messages, [dispatch()]);

        say.send(ack()).unwrap();
        drop(say);
        let last = frames.next().await.unwrap().unwrap();
        assert_eq!(last.messages, [ack()]);
        assert!(frames.next().await.is_none(), "the engine has let go");
    }

    #[tokio::test]
    async fn an_ack_goes_alone_when_nothing_follows() {
        let (say, said) = mpsc::unbounded_channel();
        let mut frames = pin!(framed(said, Duration::from_millis(1)));
        say.send(ack()).unwrap();
        let alone = frames.next().await.unwrap().unwrap();
        assert_eq!(alone.messages, [ack()]);
    }
}
