//! The gRPC stream to each worker: frames become messages for the engine, and the engine's messages
//! become frames. Decides nothing.

use std::pin::Pin;

use futures_util::{Stream, StreamExt, stream};
use proto::worker::worker_session_server::{WorkerSession, WorkerSessionServer};
use proto::worker::{EngineFrame, EngineMessage, Hello, WorkerFrame, worker_message};
use tokio::sync::mpsc;
use tonic::{Request, Response, Status, Streaming};

use crate::driver::FromWorker;
use crate::engine::Engine;

/// How many messages one frame carries at most.
const FRAME: usize = 512;

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
        Ok(Response::new(Box::pin(framed(outgoing))))
    }
}

/// Everything that queued goes into the next frame. Ends when the engine drops its end.
fn framed(
    outgoing: mpsc::UnboundedReceiver<EngineMessage>,
) -> impl Stream<Item = Result<EngineFrame, Status>> {
    stream::unfold(outgoing, |mut outgoing| async move {
        let mut messages = Vec::new();
        match outgoing.recv_many(&mut messages, FRAME).await {
            0 => None,
            _ => Some((Ok(EngineFrame { messages }), outgoing)),
        }
    })
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
