//! The sessions: one connection to each engine, kept up for as long as the worker lives. A session moves
//! messages; what they mean is the keeper's business.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::stream::{self, Stream};
use hyper_util::rt::TokioIo;
use proto::worker::worker_session_client::WorkerSessionClient;
use proto::worker::{EngineFrame, Heartbeat, Welcome, WorkerFrame, WorkerMessage};
use proto::worker::{engine_message, report, worker_message};
use tokio::net::UnixStream;
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout, timeout_at};
use tonic::Streaming;
use tonic::transport::{Channel, Uri};

use crate::Endpoint;
use crate::dir::random;
use crate::keeper::{Gauges, Input};
use crate::machine::Condition;

const CONNECT: Duration = Duration::from_secs(3);
/// How long the engine may take from the connection to its welcome.
const WELCOME: Duration = Duration::from_secs(10);
const KEEP_ALIVE: Duration = Duration::from_secs(3);
const SHORTEST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// A frame stays well below the 4 MiB that gRPC receivers take by default.
const FRAME_BYTES: usize = 1024 * 1024;
const FRAME_MESSAGES: usize = 4096;
const PATIENCE: Patience = Patience {
    acceptances: Duration::from_millis(5),
    in_a_crowd: Duration::from_millis(10),
};
/// Dispatches carry scripts, and many may come in one frame.
const LARGEST_FRAME: usize = 64 * 1024 * 1024;

/// How long what is told waits for something to go with.
#[derive(Clone, Copy)]
struct Patience {
    /// Nobody waits for them: the engine has dispatched the attempt, and it goes its way.
    acceptances: Duration,
    /// Acceptances and reports, while programs wait for a processor. Each message by itself would cost everybody,
    /// this worker and the engine and its log, more of what there is too little of.
    in_a_crowd: Duration,
}

static SESSIONS: AtomicU64 = AtomicU64::new(1);

/// Which engines this worker has a session with, and through which address: an engine that can be reached
/// in two ways would end each session for the other one.
#[derive(Debug, Clone, Default)]
pub(crate) struct Circle(Arc<Mutex<HashMap<String, usize>>>);

impl Circle {
    fn engines(&self) -> MutexGuard<'_, HashMap<String, usize>> {
        // Each change is one insertion or removal, so a panic elsewhere leaves a whole map.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn enter(&self, engine: &str, endpoint: usize) {
        self.engines().insert(engine.to_owned(), endpoint);
    }

    fn leave(&self, engine: &str, endpoint: usize) {
        let mut engines = self.engines();
        if engines.get(engine) == Some(&endpoint) {
            engines.remove(engine);
        }
    }

    /// There is a session with this engine.
    pub(crate) fn knows(&self, engine: &str) -> bool {
        self.engines().contains_key(engine)
    }

    fn is_elsewhere(&self, engine: &str, endpoint: usize) -> bool {
        self.engines()
            .get(engine)
            .is_some_and(|other| *other != endpoint)
    }
}

/// Why an address cannot be connected to, as a sentence.
pub(crate) fn check(endpoint: &Endpoint) -> Result<(), String> {
    match endpoint {
        Endpoint::Tcp(address) if parse(address).is_none() => Err(format!(
            "{address:?} is not the address of an engine; write http://host:port"
        )),
        Endpoint::Tcp(_) | Endpoint::Unix(_) => Ok(()),
    }
}

/// Reads an address as engines write it: `http://host:port`, or `unix:` and a path.
pub(crate) fn parse(address: &str) -> Option<Endpoint> {
    if let Some(path) = address.strip_prefix("unix:") {
        return (!path.is_empty()).then(|| Endpoint::Unix(PathBuf::from(path)));
    }
    let uri: Uri = address.parse().ok()?;
    let dialable =
        uri.scheme_str() == Some("http") && uri.host().is_some_and(|host| !host.is_empty());
    dialable.then(|| Endpoint::Tcp(address.to_owned()))
}

/// Whether two endpoints are one address; a slash at the end makes no other.
pub(crate) fn same(one: &Endpoint, other: &Endpoint) -> bool {
    match (one, other) {
        (Endpoint::Tcp(one), Endpoint::Tcp(other)) => {
            one.trim_end_matches('/') == other.trim_end_matches('/')
        }
        (Endpoint::Unix(one), Endpoint::Unix(other)) => one == other,
        (Endpoint::Tcp(_), Endpoint::Unix(_)) | (Endpoint::Unix(_), Endpoint::Tcp(_)) => false,
    }
}

/// Keeps a session with this engine. Ends only by being aborted.
pub(crate) async fn keep(
    number: usize,
    endpoint: Endpoint,
    keeper: mpsc::Sender<Input>,
    gauges: Arc<Gauges>,
    circle: Circle,
) {
    let mut pause = SHORTEST_PAUSE;
    let mut reachable = true;
    // Who answered here the last time.
    let mut engine: Option<String> = None;
    loop {
        if let Some(engine) = &engine
            && circle.is_elsewhere(engine, number)
        {
            tokio::time::sleep(LONGEST_PAUSE).await;
            continue;
        }
        let begun = Instant::now();
        let ended = match connect(&endpoint).await {
            Ok(channel) => {
                let ended = converse(number, channel, &keeper, &gauges, &circle, &mut engine).await;
                if let Some(engine) = &engine {
                    circle.leave(engine, number);
                }
                ended
            }
            Err(error) => Err(describe(&error)),
        };
        if begun.elapsed() > LONGEST_PAUSE {
            (pause, reachable) = (SHORTEST_PAUSE, true);
        }
        if reachable {
            let why = ended
                .err()
                .unwrap_or_else(|| "it closed the session".into());
            tracing::info!(engine = ?endpoint, %why, "no session with this engine; trying until there is one");
            reachable = false;
        }
        // Half of the pause is chance, so that a thousand workers do not come back in one moment.
        let half = pause / 2;
        let jitter =
            half.mul_f64(f64::from(u16::try_from(random() & 0xffff).unwrap_or(0)) / 65_536.0);
        tokio::time::sleep(half + jitter).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

async fn connect(endpoint: &Endpoint) -> Result<Channel, tonic::transport::Error> {
    let address = match endpoint {
        Endpoint::Tcp(address) => address.clone(),
        Endpoint::Unix(_) => "http://engine".into(),
    };
    let transport = tonic::transport::Endpoint::from_shared(address)?
        .connect_timeout(CONNECT)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(KEEP_ALIVE)
        .keep_alive_timeout(KEEP_ALIVE)
        .keep_alive_while_idle(true);
    match endpoint {
        Endpoint::Tcp(_) => transport.connect().await,
        Endpoint::Unix(path) => {
            let path = path.clone();
            let connector = tower::service_fn(move |_: Uri| {
                let path = path.clone();
                async move { UnixStream::connect(path).await.map(TokioIo::new) }
            });
            transport.connect_with_connector(connector).await
        }
    }
}

/// One session from hello to its end.
async fn converse(
    number: usize,
    channel: Channel,
    keeper: &mpsc::Sender<Input>,
    gauges: &Arc<Gauges>,
    circle: &Circle,
    engine: &mut Option<String>,
) -> Result<(), String> {
    let session = SESSIONS.fetch_add(1, Ordering::Relaxed);
    let (wire, messages) = mpsc::unbounded_channel();
    let heart = wire.downgrade();
    let up = Input::Up {
        session,
        endpoint: number,
        wire,
    };
    keeper
        .send(up)
        .await
        .map_err(|_| "the worker is going down")?;
    let welcomed = |welcome: &Welcome| {
        circle.enter(&welcome.engine, number);
        *engine = Some(welcome.engine.clone());
    };
    let ended = exchange(session, channel, heart, messages, keeper, gauges, welcomed).await;
    let _ = keeper.send(Input::Down { session }).await;
    ended
}

async fn exchange(
    session: u64,
    channel: Channel,
    wire: mpsc::WeakUnboundedSender<WorkerMessage>,
    messages: mpsc::UnboundedReceiver<WorkerMessage>,
    keeper: &mpsc::Sender<Input>,
    gauges: &Arc<Gauges>,
    welcomed: impl FnOnce(&Welcome),
) -> Result<(), String> {
    let mut client = WorkerSessionClient::new(channel).max_decoding_message_size(LARGEST_FRAME);
    let opening = async {
        let mut inbound = client
            .open(frames(messages, gauges.clone(), PATIENCE))
            .await?
            .into_inner();
        let welcome = welcome(&mut inbound).await?;
        Ok::<_, tonic::Status>((inbound, welcome))
    };
    let (mut inbound, (welcome, first)) = match timeout(WELCOME, opening).await {
        Ok(opened) => opened.map_err(|status| status.to_string())?,
        Err(_) => return Err("it did not welcome this worker".into()),
    };
    tracing::info!(engine = %welcome.engine, "session with an engine");
    welcomed(&welcome);
    let tell = |input| async {
        keeper
            .send(input)
            .await
            .map_err(|_| "the worker is going down".to_owned())
    };
    tell(Input::Welcomed { session }).await?;
    tell(Input::Heard {
        session,
        messages: first.messages,
    })
    .await?;

    // Somewhat more often than asked for, as the engine counts from what arrives.
    let every =
        Duration::from_millis(u64::from(welcome.heartbeat_ms.clamp(50, 60_000))).mul_f64(0.8);
    let mut heartbeats = interval(every);
    heartbeats.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut condition = gauges.condition();
    let mut overloaded = false;
    // The keeper alone holds the stream open: when it lets go, what was said still leaves, and the stream ends.
    loop {
        tokio::select! {
            frame = inbound.message() => match frame.map_err(|status| status.to_string())? {
                Some(EngineFrame { messages }) => tell(Input::Heard { session, messages }).await?,
                None => return Ok(()),
            },
            _ = heartbeats.tick() => {
                let now = condition.borrow_and_update().clone();
                overloaded = !now.overloaded.is_empty();
                if let Some(wire) = wire.upgrade() {
                    let _ = wire.send(heartbeat(gauges, now));
                }
            }
            Ok(()) = condition.changed() => {
                if condition.borrow_and_update().overloaded.is_empty() == overloaded {
                    heartbeats.reset_immediately();
                }
            }
        }
    }
}

/// The welcome, and what the engine said in the same frame after it.
async fn welcome(
    inbound: &mut Streaming<EngineFrame>,
) -> Result<(Welcome, EngineFrame), tonic::Status> {
    loop {
        let Some(mut frame) = inbound.message().await? else {
            return Err(tonic::Status::unavailable(
                "it closed the session before the welcome",
            ));
        };
        if frame.messages.is_empty() {
            continue;
        }
        let first = frame.messages.remove(0);
        if let Some(engine_message::Body::Welcome(welcome)) = first.body {
            return Ok((welcome, frame));
        }
        if let Some(engine_message::Body::Refused(refused)) = first.body {
            tracing::error!(why = %refused.reason, "an engine refuses this worker");
            return Err(tonic::Status::already_exists(refused.reason));
        }
        return Err(tonic::Status::failed_precondition(
            "it spoke before it welcomed this worker",
        ));
    }
}

/// Everything that queued while the last frame was on its way goes into the next one, and some of it waits for more
/// ([`Patience`]).
fn frames(
    messages: mpsc::UnboundedReceiver<WorkerMessage>,
    gauges: Arc<Gauges>,
    patience: Patience,
) -> impl Stream<Item = WorkerFrame> {
    stream::unfold(
        (messages, gauges, None),
        move |(mut queue, gauges, kept)| async move {
            let first = match kept {
                Some(message) => message,
                None => queue.recv().await?,
            };
            // It may be over by the time of the next message, which then takes along all that waits.
            let can_wait = |message: &WorkerMessage| {
                is_acceptance(message) || gauges.is_crowded() && is_report(message)
            };
            let mut waits = can_wait(&first);
            let patience = if gauges.is_crowded() {
                patience.in_a_crowd
            } else {
                patience.acceptances
            };
            let until = Instant::now() + patience;
            let mut bytes = weight(&first);
            let mut messages = vec![first];
            let mut next = None;
            while messages.len() < FRAME_MESSAGES {
                let more = if waits {
                    timeout_at(until, queue.recv()).await.ok().flatten()
                } else {
                    queue.try_recv().ok()
                };
                let Some(message) = more else { break };
                waits &= can_wait(&message);
                bytes += weight(&message);
                if bytes > FRAME_BYTES {
                    next = Some(message);
                    break;
                }
                messages.push(message);
            }
            Some((WorkerFrame { messages }, (queue, gauges, next)))
        },
    )
}

fn is_report(message: &WorkerMessage) -> bool {
    matches!(&message.body, Some(worker_message::Body::Report(_)))
}

fn is_acceptance(message: &WorkerMessage) -> bool {
    matches!(&message.body, Some(worker_message::Body::Answer(answer)) if answer.rejected.is_empty())
}

/// About how many bytes a message takes: exact enough to bound a frame, without encoding it twice.
fn weight(message: &WorkerMessage) -> usize {
    use worker_message::Body;
    let text = match &message.body {
        Some(Body::LogChunk(chunk)) => chunk.data.len(),
        Some(Body::Hello(hello)) => hello.held.len() * 24,
        Some(Body::Report(report)) => match &report.kind {
            Some(report::Kind::Finished(end)) => {
                end.reason.len()
                    + end
                        .outputs
                        .iter()
                        .map(|o| o.name.len() + o.value.len() + 8)
                        .sum::<usize>()
            }
            Some(report::Kind::Started(_)) | None => 0,
        },
        Some(Body::Answer(answer)) => answer.rejected.len(),
        Some(Body::Holding(holding)) => holding.held.len() * 24,
        Some(Body::Goodbye(goodbye)) => goodbye.ended.len() * 24,
        Some(Body::Heartbeat(_)) | None => 0,
    };
    text + 256
}

fn heartbeat(gauges: &Gauges, condition: Condition) -> WorkerMessage {
    let status = gauges.read();
    let busy = u32::try_from(status.queued + status.running).unwrap_or(u32::MAX);
    WorkerMessage {
        body: Some(worker_message::Body::Heartbeat(Heartbeat {
            load: condition.load,
            busy,
            memory: condition.memory,
            overloaded: condition.overloaded,
        })),
    }
}

fn describe(error: &tonic::transport::Error) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use futures_util::{FutureExt, StreamExt};
    use proto::worker::{Answer, Report};

    use super::*;

    fn answer(rejected: &str) -> WorkerMessage {
        WorkerMessage {
            body: Some(worker_message::Body::Answer(Answer {
                rejected: rejected.into(),
                ..Answer::default()
            })),
        }
    }

    fn report() -> WorkerMessage {
        WorkerMessage {
            body: Some(worker_message::Body::Report(Report::default())),
        }
    }

    const LONG: Patience = Patience {
        acceptances: Duration::from_hours(1),
        in_a_crowd: Duration::from_hours(1),
    };
    const SHORT: Patience = Patience {
        acceptances: Duration::from_millis(1),
        in_a_crowd: Duration::from_millis(1),
    };

    #[tokio::test]
    async fn what_is_told_waits_for_company_while_programs_wait_for_processors() {
        let gauges = Arc::new(Gauges::default());
        let (say, said) = mpsc::unbounded_channel();
        let mut patient = pin!(frames(said, gauges.clone(), LONG));
        let waiting = gauges.waits();
        say.send(report()).unwrap();
        assert!(patient.next().now_or_never().is_none());
        // The engine asks somebody else as soon as it knows.
        say.send(answer("")).unwrap();
        say.send(answer("no room")).unwrap();
        let together = patient.next().now_or_never().unwrap().unwrap();
        assert_eq!(together.messages, [report(), answer(""), answer("no room")]);

        say.send(report()).unwrap();
        assert!(patient.next().now_or_never().is_none());
        drop(waiting);
        say.send(report()).unwrap();
        let over = patient.next().now_or_never().unwrap().unwrap();
        assert_eq!(over.messages, [report(), report()]);

        let waiting = gauges.waits();
        let (say, said) = mpsc::unbounded_channel();
        let mut brief = pin!(frames(said, gauges.clone(), SHORT));
        say.send(report()).unwrap();
        assert_eq!(brief.next().await.unwrap().messages, [report()]);
        drop(waiting);
        let (say, said) = mpsc::unbounded_channel();
        let mut alone = pin!(frames(said, gauges.clone(), LONG));
        say.send(report()).unwrap();
        let at_once = alone.next().now_or_never().unwrap().unwrap();
        assert_eq!(at_once.messages, [report()]);
    }

    #[tokio::test]
    async fn acceptances_go_with_what_follows_them() {
        let (say, said) = mpsc::unbounded_channel();
        let mut frames = pin!(frames(said, Arc::default(), LONG));
        say.send(answer("")).unwrap();
        assert!(
            frames.next().now_or_never().is_none(),
            "it waits for company"
        );
        say.send(answer("")).unwrap();
        say.send(report()).unwrap();
        let together = frames.next().await.unwrap();
        assert_eq!(together.messages, [answer(""), answer(""), report()]);

        // The engine asks somebody else as soon as it knows.
        say.send(answer("no room")).unwrap();
        let at_once = frames.next().now_or_never().unwrap().unwrap();
        assert_eq!(at_once.messages, [answer("no room")]);

        say.send(answer("")).unwrap();
        drop(say);
        let last = frames.next().await.unwrap();
        assert_eq!(last.messages, [answer("")]);
        assert!(frames.next().await.is_none(), "the keeper has let go");
    }

    #[tokio::test]
    async fn an_acceptance_goes_alone_when_nothing_follows() {
        let (say, said) = mpsc::unbounded_channel();
        let mut frames = pin!(frames(said, Arc::default(), SHORT));
        say.send(answer("")).unwrap();
        let alone = frames.next().await.unwrap();
        assert_eq!(alone.messages, [answer("")]);
    }
}
