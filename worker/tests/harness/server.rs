//! The gRPC server behind the scripted engine: it passes on what workers say, and when their streams end.

use std::pin::Pin;
use std::sync::{Arc, Mutex};

use futures_util::{Stream, StreamExt};
use proto::worker::worker_session_server::{WorkerSession, WorkerSessionServer};
use proto::worker::{
    EngineFrame, EngineMessage, Welcome, WorkerFrame, WorkerMessage, engine_message,
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::{Request, Response, Status, Streaming};

pub(super) type Out = mpsc::UnboundedSender<Result<EngineFrame, Status>>;

#[derive(Clone)]
pub(super) struct Service {
    id: String,
    heard: mpsc::UnboundedSender<WorkerMessage>,
    out: Arc<Mutex<Option<Out>>>,
    /// The end of each stream that a worker closed, or that was closed for it.
    ended: mpsc::UnboundedSender<()>,
}

#[tonic::async_trait]
impl WorkerSession for Service {
    type OpenStream = Pin<Box<dyn Stream<Item = Result<EngineFrame, Status>> + Send>>;

    async fn open(
        &self,
        request: Request<Streaming<WorkerFrame>>,
    ) -> Result<Response<Self::OpenStream>, Status> {
        let mut inbound = request.into_inner();
        let (out, frames) = mpsc::unbounded_channel();
        let welcome = Welcome {
            engine: self.id.clone(),
            // So seldom that a test sees none but the first, and those that have a reason of their own.
            heartbeat_ms: 60_000,
        };
        let _ = out.send(Ok(frame(engine_message::Body::Welcome(welcome))));
        let this = out.downgrade();
        *self.out.lock().unwrap() = Some(out);
        let (heard, ended) = (self.heard.clone(), self.ended.clone());
        let current = self.out.clone();
        tokio::spawn(async move {
            while let Some(Ok(frame)) = inbound.next().await {
                for message in frame.messages {
                    let _ = heard.send(message);
                }
            }
            let _ = ended.send(());
            // The worker has said all it had to say, so the session is over.
            let mut current = current.lock().unwrap();
            if let Some(this) = this.upgrade() {
                current.take_if(|current| current.same_channel(&this));
            }
        });
        Ok(Response::new(Box::pin(UnboundedReceiverStream::new(
            frames,
        ))))
    }
}

pub(super) fn frame(body: engine_message::Body) -> EngineFrame {
    EngineFrame {
        messages: vec![EngineMessage { body: Some(body) }],
    }
}

pub(super) type Parts = (
    WorkerSessionServer<Service>,
    mpsc::UnboundedReceiver<WorkerMessage>,
    Arc<Mutex<Option<Out>>>,
    mpsc::UnboundedReceiver<()>,
);

pub(super) fn parts(id: &str) -> Parts {
    let (heard, listen) = mpsc::unbounded_channel();
    let (ended, ends) = mpsc::unbounded_channel();
    let out = Arc::new(Mutex::new(None));
    (
        WorkerSessionServer::new(Service {
            id: id.to_owned(),
            heard,
            out: out.clone(),
            ended,
        }),
        listen,
        out,
        ends,
    )
}
