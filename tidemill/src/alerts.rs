//! The channels through which people are told: addresses that get a POST, and programs that are run.
//!
//! Each alert goes to every channel, and all of them must have it. What fails is told again to all, so a
//! receiver may be told twice: an alert is known by its run and its number.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use engine::Untold;
use reqwest::redirect;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;
use tokio::time::timeout;

use crate::config::{Alerts, Webhook};

/// How long an address may take to answer.
const ANSWER: Duration = Duration::from_secs(10);
/// How long a program may run.
const RUN: Duration = Duration::from_secs(30);

/// Everybody who is to be told.
pub(crate) struct Channels {
    http: reqwest::Client,
    webhooks: Vec<Webhook>,
    scripts: Vec<PathBuf>,
}

/// What is told, in every form in which a channel may want it.
#[derive(Clone, Debug)]
pub(crate) struct Message {
    pub(crate) instance: u64,
    pub(crate) number: u32,
    pub(crate) project: String,
    pub(crate) workflow: String,
    pub(crate) kind: Value,
    pub(crate) task: Option<String>,
    pub(crate) text: String,
}

impl Message {
    fn document(&self) -> Value {
        json!({
            "instance": self.instance,
            "project": self.project,
            "workflow": self.workflow,
            "number": self.number,
            "kind": self.kind,
            "task": self.task,
            "text": self.text,
        })
    }

    /// As environment variables. They can hold everything but NUL.
    fn variables(&self) -> [(&'static str, String); 7] {
        let whole = |text: &str| text.replace('\0', "\u{fffd}");
        [
            ("TIDEMILL_INSTANCE_ID", self.instance.to_string()),
            ("TIDEMILL_PROJECT", whole(&self.project)),
            ("TIDEMILL_WORKFLOW", whole(&self.workflow)),
            (
                "TIDEMILL_TASK",
                whole(self.task.as_deref().unwrap_or_default()),
            ),
            ("TIDEMILL_ALERT", self.number.to_string()),
            (
                "TIDEMILL_ALERT_KIND",
                self.kind.as_str().unwrap_or_default().to_owned(),
            ),
            ("TIDEMILL_ALERT_TEXT", whole(&self.text)),
        ]
    }
}

impl Channels {
    /// The channels that are configured.
    pub(crate) fn new(alerts: Alerts) -> anyhow::Result<Self> {
        let Alerts { webhooks, scripts } = alerts;
        let mut http = reqwest::Client::builder()
            .timeout(ANSWER)
            .redirect(redirect::Policy::none())
            .user_agent("tidemill");
        http = if webhooks.iter().any(|hook| hook.url.scheme() == "https") {
            http.tls_backend_preconfigured(worker::tls().map_err(anyhow::Error::msg)?)
        } else {
            // Reading the machine's certificates takes a while, and nobody would look at them.
            http.tls_certs_only([])
        };
        Ok(Self {
            http: http.build()?,
            webhooks,
            scripts,
        })
    }

    /// Tells everybody. The error names those who could not be told.
    pub(crate) async fn tell(&self, message: &Message) -> Result<(), Untold> {
        if self.webhooks.is_empty() && self.scripts.is_empty() {
            return Err(Untold::Nobody);
        }
        let document = message.document().to_string();
        let mut failed = Vec::new();
        for hook in &self.webhooks {
            if let Err(why) = self.post(hook, &document).await {
                failed.push(format!("the webhook at {}: {why}", hook.host()));
            }
        }
        for script in &self.scripts {
            if let Err(why) = run(script, message, &document).await {
                failed.push(format!("the script {}: {why}", script.display()));
            }
        }
        if failed.is_empty() {
            Ok(())
        } else {
            Err(Untold::Later(failed.join("; ")))
        }
    }

    async fn post(&self, hook: &Webhook, document: &str) -> Result<(), String> {
        let mut request = self
            .http
            .post(hook.url.clone())
            .header("content-type", "application/json")
            .body(document.to_owned());
        for (name, value) in &hook.headers {
            request = request.header(name, value);
        }
        // The address is named by its host alone: the rest of it may be a secret.
        let answer = request
            .send()
            .await
            .map_err(|error| innermost(&error.without_url()))?;
        if answer.status().is_success() {
            Ok(())
        } else {
            Err(format!("it answered {}", answer.status()))
        }
    }
}

fn innermost(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}

/// Runs a program with the document on its stdin. Exit code 0 says that somebody was told.
async fn run(script: &Path, message: &Message, document: &str) -> Result<(), String> {
    let mut command = Command::new(script);
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .envs(message.variables());
    for (name, _) in std::env::vars_os() {
        // Where our own data lies is not the script's business.
        if name.to_str().is_some_and(worker::is_secret) {
            command.env_remove(name);
        }
    }
    let mut child = command.spawn().map_err(|error| error.to_string())?;
    if let Some(mut stdin) = child.stdin.take() {
        // A program that does not read what it is told has its reasons.
        let _ = timeout(RUN, stdin.write_all(document.as_bytes())).await;
    }
    let ended = timeout(RUN, child.wait_with_output()).await;
    let ended = ended.map_err(|_| format!("it ran for more than {} s", RUN.as_secs()))?;
    let output = ended.map_err(|error| error.to_string())?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let last: String = said
        .trim()
        .lines()
        .last()
        .unwrap_or_default()
        .chars()
        .take(200)
        .collect();
    Err(format!("it ended with {}: {last}", output.status))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;
    use std::sync::{Arc, Mutex};

    use axum::http::{HeaderMap, StatusCode};
    use axum::routing::post;

    use super::*;

    fn message() -> Message {
        Message {
            instance: 1_000,
            number: 2,
            project: "p".to_owned(),
            workflow: "w".to_owned(),
            kind: json!("TASK_TIMEOUT"),
            task: Some("a".to_owned()),
            text: "it takes too long".to_owned(),
        }
    }

    fn script(folder: &Path, body: &str) -> PathBuf {
        let path = folder.join("tell.sh");
        fs::write(&path, format!("#!/bin/sh\n{body}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    fn channels(webhooks: Vec<Webhook>, scripts: Vec<PathBuf>) -> Channels {
        let _ = rustls::crypto::ring::default_provider().install_default();
        Channels::new(Alerts { webhooks, scripts }).unwrap()
    }

    fn why(told: Result<(), Untold>) -> String {
        match told {
            Err(Untold::Later(why)) => why,
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn without_a_channel_there_is_nobody_to_tell() {
        let told = channels(vec![], vec![]).tell(&message()).await;
        assert_eq!(told, Err(Untold::Nobody));
    }

    #[tokio::test]
    async fn a_script_gets_the_document_and_the_variables() {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("out");
        let body = format!(
            "cat > {0}; echo \" $TIDEMILL_INSTANCE_ID $TIDEMILL_TASK $TIDEMILL_ALERT_KIND\" >> {0}",
            out.display()
        );
        let channels = channels(vec![], vec![script(folder.path(), &body)]);
        channels.tell(&message()).await.unwrap();
        let text = fs::read_to_string(out).unwrap();
        let (document, variables) = text.split_once("} ").unwrap();
        let document: Value = serde_json::from_str(&format!("{document}}}")).unwrap();
        assert_eq!(document, message().document());
        assert_eq!(variables, "1000 a TASK_TIMEOUT\n");
    }

    #[tokio::test]
    async fn whoever_could_not_be_told_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let failing = script(folder.path(), "echo no paper >&2; exit 3");
        let missing = folder.path().join("nobody");
        let told = channels(vec![], vec![failing, missing])
            .tell(&message())
            .await;
        let why = why(told);
        assert!(why.contains("tell.sh") && why.contains("no paper"), "{why}");
        assert!(why.contains("nobody"), "{why}");
    }

    #[tokio::test]
    async fn a_webhook_gets_the_document_and_its_headers() {
        type Seen = Arc<Mutex<Vec<(HeaderMap, String)>>>;
        let seen = Seen::default();
        let hear = {
            let seen = seen.clone();
            move |headers: HeaderMap, body: String| {
                let mut seen = seen.lock().unwrap();
                seen.push((headers, body));
                let busy = seen.len() == 1;
                async move {
                    if busy {
                        StatusCode::SERVICE_UNAVAILABLE
                    } else {
                        StatusCode::OK
                    }
                }
            }
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = axum::Router::new().route("/T0K3N", post(hear));
        let serving = tokio::spawn(async move { axum::serve(listener, router).await });
        let hook = Webhook {
            url: format!("http://{address}/T0K3N").parse().unwrap(),
            headers: vec![("x-key".parse().unwrap(), "k".parse().unwrap())],
        };
        let channels = channels(vec![hook], vec![]);
        let busy = why(channels.tell(&message()).await);
        assert!(busy.contains("127.0.0.1") && busy.contains("503"), "{busy}");
        assert!(!busy.contains("T0K3N"), "{busy}");
        channels.tell(&message()).await.unwrap();
        serving.abort();
        let seen = seen.lock().unwrap();
        let (headers, body) = &seen[1];
        assert_eq!(headers["x-key"], "k");
        let body: Value = serde_json::from_str(body).unwrap();
        assert_eq!(body, message().document());
    }
}
