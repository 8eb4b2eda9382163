//! A client as the operations guide asks for one: it knows several addresses, asks the next one when one does
//! not answer, and starts runs with a key, so that asking again is safe.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, Instant};

use reqwest::{Method, StatusCode};
use serde_json::Value;
use tokio::runtime::Runtime;
use tokio::time::sleep;

/// One answer may take so long. A service that is stopped takes connections and never answers.
const ANSWER: Duration = Duration::from_secs(10);
/// Between two rounds over all addresses.
const PAUSE: Duration = Duration::from_millis(100);
/// After so long nobody hopes any more.
const PATIENCE: Duration = Duration::from_mins(8);

/// Speaks HTTP to whichever service answers.
#[derive(Debug)]
pub struct Client {
    runtime: Runtime,
    asker: Asker,
}

/// The part of it that asks from within a runtime.
#[derive(Clone, Debug)]
pub struct Asker {
    http: reqwest::Client,
    addresses: Vec<String>,
    /// Who answered last, and is asked first by whoever wants to know something.
    reader: Arc<AtomicUsize>,
    /// Who is asked first to do something: everybody in turn.
    turn: Arc<AtomicUsize>,
}

/// A question that was not answered as it should have been.
#[derive(Debug)]
pub enum Unanswered {
    /// The service understood it, and said no: the status and the document.
    Refused(u16, Value),
    /// Nobody answered for as long as anybody would wait; the last thing that was heard.
    Silence(String),
}

impl fmt::Display for Unanswered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(status, document) => write!(f, "refused with {status}: {document}"),
            Self::Silence(last) => write!(f, "no answer in {} s: {last}", PATIENCE.as_secs()),
        }
    }
}

impl Client {
    /// A client of the services at these addresses.
    ///
    /// # Panics
    /// When there cannot be one on this machine.
    pub fn new(addresses: Vec<String>) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime can be made");
        // Only http is spoken, but in one build with a worker the library asks for somebody who could do more.
        // Whoever came first has done the same.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder()
            .timeout(ANSWER)
            .build()
            .expect("a client can be made");
        let asker = Asker {
            http,
            addresses,
            reader: Arc::default(),
            turn: Arc::default(),
        };
        Self { runtime, asker }
    }

    /// Where its tasks run, for whoever wants to ask much at once.
    pub fn runtime(&self) -> &Runtime {
        &self.runtime
    }

    /// The asking part.
    pub fn asker(&self) -> &Asker {
        &self.asker
    }

    /// Reads what is under `/api/v1/`, from whoever answers.
    ///
    /// # Panics
    /// When it is refused or nobody answers.
    #[track_caller]
    pub fn get(&self, path: &str) -> Value {
        let answer = self
            .runtime
            .block_on(self.asker.ask(Method::GET, path, None, None));
        answer.unwrap_or_else(|problem| panic!("GET {path}: {problem}"))
    }

    /// The items of a list under `/api/v1/`, all pages.
    ///
    /// # Panics
    /// When it is refused or nobody answers.
    #[track_caller]
    pub fn list(&self, path: &str) -> Vec<Value> {
        let all = self.runtime.block_on(self.asker.list(path));
        all.unwrap_or_else(|problem| panic!("GET {path}: {problem}"))
    }

    /// Stores a workflow.
    ///
    /// # Panics
    /// When it is refused or nobody answers.
    #[track_caller]
    pub fn define(&self, name: &str, document: &Value) {
        let path = format!("projects/default/workflows/{name}");
        let asking = self.asker.ask(Method::PUT, &path, Some(document), None);
        if let Err(problem) = self.runtime.block_on(asking) {
            panic!("PUT {path}: {problem}");
        }
    }

    /// Starts a run and answers its id.
    ///
    /// # Panics
    /// When it is refused or nobody answers.
    #[track_caller]
    pub fn start(&self, workflow: &str, key: &str) -> u64 {
        let started = self.runtime.block_on(self.asker.start(workflow, key));
        started.unwrap_or_else(|problem| panic!("{workflow} cannot be started: {problem}"))
    }

    /// What one service says, without a second try. None when it does not answer.
    pub fn of(&self, address: &str, path: &str) -> Option<Value> {
        let url = format!("{address}/api/v1/{path}");
        let asking = async {
            let answer = self.asker.http.get(url).send().await.ok()?;
            answer.error_for_status().ok()?.json().await.ok()
        };
        self.runtime.block_on(asking)
    }
}

impl Asker {
    /// Starts a run of a workflow. The same key answers the same run, however often it is asked.
    pub async fn start(&self, workflow: &str, key: &str) -> Result<u64, Unanswered> {
        let path = format!("projects/default/workflows/{workflow}/instances");
        let body = serde_json::json!({});
        let answer = self
            .ask(Method::POST, &path, Some(&body), Some(key))
            .await?;
        answer["id"]
            .as_u64()
            .ok_or_else(|| Unanswered::Silence(format!("an answer without an id: {answer}")))
    }

    /// The items of a list, page by page.
    pub async fn list(&self, path: &str) -> Result<Vec<Value>, Unanswered> {
        let mut items = Vec::new();
        let mut place = path.to_owned();
        loop {
            let mut page = self.ask(Method::GET, &place, None, None).await?;
            if let Some(more) = page["items"].as_array_mut() {
                items.append(more);
            }
            let Some(next) = page["next"].as_str() else {
                return Ok(items);
            };
            let mark = if path.contains('?') { '&' } else { '?' };
            place = format!("{path}{mark}after={next}");
        }
    }

    /// Asks one after the other until one answers. A 503 says that another one may know better, or the
    /// same one in a moment.
    pub async fn ask(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
        key: Option<&str>,
    ) -> Result<Value, Unanswered> {
        let deadline = Instant::now() + PATIENCE;
        let mut last = String::new();
        let first = if method == Method::GET {
            self.reader.load(SeqCst)
        } else {
            self.turn.fetch_add(1, SeqCst)
        };
        while Instant::now() < deadline {
            for place in first..first + self.addresses.len() {
                let place = place % self.addresses.len();
                let address = &self.addresses[place];
                let url = format!("{address}/api/v1/{path}");
                let mut request = self.http.request(method.clone(), url);
                if let Some(body) = body {
                    request = request.json(body);
                }
                if let Some(key) = key {
                    request = request.header("idempotency-key", key);
                }
                match heard(request).await {
                    Ok((status, document)) if status.is_success() => {
                        self.reader.store(place, SeqCst);
                        return Ok(document);
                    }
                    Ok((StatusCode::SERVICE_UNAVAILABLE, document)) => last = document.to_string(),
                    Ok((status, document)) => {
                        return Err(Unanswered::Refused(status.as_u16(), document));
                    }
                    Err(error) => last = error.to_string(),
                }
            }
            sleep(PAUSE).await;
        }
        Err(Unanswered::Silence(last))
    }
}

async fn heard(request: reqwest::RequestBuilder) -> Result<(StatusCode, Value), reqwest::Error> {
    let answer = request.send().await?;
    let status = answer.status();
    Ok((status, answer.json().await?))
}
