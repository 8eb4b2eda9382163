//! HTTP tasks against a real server on this machine.

#![allow(clippy::unwrap_used, clippy::wildcard_enum_match_arm)] // a test names what it expects

mod harness;

use axum::Router;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::Redirect;
use axum::routing::{any, get};
use harness::{World, attempt, run, set, task};
use proto::worker::{Dispatch, Finished, Outcome};
use serde_json::{Value, json};
use tokio::sync::mpsc;

/// A server, and what happens on it: `asked` when a request comes to `/hang`, `gone` when it is dropped.
struct Server {
    address: String,
    happened: mpsc::UnboundedReceiver<&'static str>,
}

struct OnDrop(mpsc::UnboundedSender<&'static str>);

impl Drop for OnDrop {
    fn drop(&mut self) {
        let _ = self.0.send("gone");
    }
}

async fn echo(method: Method, uri: Uri, headers: HeaderMap, body: String) -> String {
    let header = |name: &str| {
        let value = headers.get(name);
        value.map_or("-", |value| value.to_str().unwrap())
    };
    format!("{method} {uri} {} [{body}]", header("x-token"))
}

async fn server() -> Server {
    let (happens, happened) = mpsc::unbounded_channel();
    let hang = move || {
        let happens = happens.clone();
        async move {
            let _ = happens.send("asked");
            let _gone = OnDrop(happens);
            std::future::pending::<()>().await;
        }
    };
    let router = Router::new()
        .route("/echo", any(echo))
        .route(
            "/teapot",
            get(|| async { (StatusCode::IM_A_TEAPOT, "short and stout") }),
        )
        .route("/long", get(|| async { "é".repeat(1_000_000) }))
        .route(
            "/leave",
            get(|| async { Redirect::temporary("file:///etc/passwd") }),
        )
        .route("/away", get(|| async { Redirect::temporary("/echo") }))
        .route("/hang", get(hang));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    Server { address, happened }
}

async fn ask(options: Value) -> (Finished, String) {
    let mut world = World::new().await;
    run(&mut world, task("HTTP", "", &options)).await
}

#[tokio::test]
async fn a_request_carries_method_headers_and_body_and_its_answer_is_offered_and_logged() {
    let server = server().await;
    let (finished, log) = ask(json!({
        "url": format!("http://{}/echo?day=1", server.address),
        "method": "post", "headers": {"X-Token": "t0ken"}, "body": "hello",
    }))
    .await;
    assert_eq!(finished.outcome(), Outcome::Success, "{}", finished.reason);
    assert_eq!(
        set(&finished),
        [
            ("response", "POST /echo?day=1 t0ken [hello]"),
            ("status_code", "200")
        ]
    );
    let expected = format!(
        "POST http://{}/echo?...\nHTTP/1.1 200 OK\nPOST /echo?day=1 t0ken [hello]\n",
        server.address
    );
    assert_eq!(log, expected);
    assert_eq!((finished.pid, finished.exit_code), (0, None));
}

#[tokio::test]
async fn a_status_is_a_success_when_it_is_expected() {
    let server = server().await;
    let url = format!("http://{}/teapot", server.address);
    let (finished, _) = ask(json!({"url": url, "expect_status": [200, 418]})).await;
    assert_eq!(finished.outcome(), Outcome::Success);
    let (finished, log) = ask(json!({"url": url})).await;
    assert_eq!(
        (finished.outcome(), finished.reason.as_str()),
        (
            Outcome::Failure,
            "the status is 418, expected was 200 to 299"
        )
    );
    assert_eq!(set(&finished)[0], ("response", "short and stout"));
    assert!(log.contains("expected was 200 to 299"), "{log}");
}

#[tokio::test]
async fn an_answer_without_the_expected_text_is_a_failure() {
    let server = server().await;
    let url = format!("http://{}/teapot", server.address);
    for (text, outcome) in [("stout", Outcome::Success), ("tall", Outcome::Failure)] {
        let (finished, _) =
            ask(json!({"url": url, "expect_status": [418], "expect_body": text})).await;
        assert_eq!(finished.outcome(), outcome);
    }
}

#[tokio::test]
async fn a_long_answer_is_cut_in_the_log_and_in_the_output() {
    let server = server().await;
    let (finished, log) = ask(json!({"url": format!("http://{}/long", server.address)})).await;
    assert_eq!(finished.outcome(), Outcome::Success, "{}", finished.reason);
    assert_eq!(finished.outputs[0].value, "é".repeat(32 * 1024));
    assert!(
        log.len() < 1024 * 1024 + 300 && log.contains("after 1024 KiB"),
        "{}",
        log.len()
    );
}

#[tokio::test]
async fn a_redirect_is_followed_but_not_out_of_http() {
    let server = server().await;
    let (finished, _) = ask(json!({"url": format!("http://{}/away", server.address)})).await;
    assert!(
        set(&finished)[0].1.starts_with("GET /echo"),
        "{}",
        finished.reason
    );
    let (finished, log) = ask(json!({"url": format!("http://{}/leave", server.address)})).await;
    assert_eq!(finished.outcome(), Outcome::Failure);
    assert!(!log.contains("root:"), "{log}");
}

#[tokio::test]
async fn no_answer_is_a_failure_that_names_the_host_and_no_password() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let nobody = port.local_addr().unwrap();
    drop(port);
    let (finished, log) =
        ask(json!({"url": format!("http://me:s3cret@{nobody}/x?token=s3cret")})).await;
    assert_eq!(finished.outcome(), Outcome::Failure);
    let expected = format!("cannot connect to {nobody}");
    assert!(finished.reason.contains(&expected), "{}", finished.reason);
    assert!(
        !finished.reason.contains("s3cret") && !log.contains("s3cret"),
        "{log}"
    );
}

#[tokio::test]
async fn what_cannot_be_sent_is_a_failure_that_says_why() {
    for (options, expected) in [
        (json!({"url": "ftp://host/x"}), "http://"),
        (json!({"url": "nonsense"}), "not a URL"),
        (json!({"method": "GET"}), "`url`"),
        (
            json!({"url": "http://127.0.0.1:1/", "method": "G T"}),
            "method",
        ),
        (
            json!({"url": "http://127.0.0.1:1/", "headers": {"a b": "c"}}),
            "\"a b\"",
        ),
        (
            json!({"url": "http://127.0.0.1:1/", "headers": {"a": "c\nd"}}),
            "value",
        ),
    ] {
        let (finished, _) = ask(options).await;
        assert_eq!(finished.outcome(), Outcome::Failure);
        assert!(finished.reason.contains(expected), "{}", finished.reason);
        assert_eq!(finished.started_at, 0, "nothing was sent");
    }
}

#[tokio::test]
async fn a_kill_aborts_the_request() {
    let mut server = server().await;
    let mut world = World::new().await;
    let url = format!("http://{}/hang", server.address);
    world.engine.dispatch_like(Dispatch {
        attempt: Some(attempt(1)),
        ..task("HTTP", "", &json!({"url": url}))
    });
    assert_eq!(server.happened.recv().await, Some("asked"));
    world.engine.kill(attempt(1), 0);
    let (_, finished) = world.engine.end(attempt(1)).await;
    assert_eq!(finished.outcome(), Outcome::Killed);
    assert_eq!(server.happened.recv().await, Some("gone"));
}

#[tokio::test]
async fn a_server_that_does_not_speak_tls_is_told_apart() {
    let server = server().await;
    let (finished, _) = ask(json!({"url": format!("https://{}/echo", server.address)})).await;
    assert_eq!(finished.outcome(), Outcome::Failure);
    let expected = format!("cannot connect to {}", server.address);
    assert!(
        finished.reason.starts_with(&expected),
        "{}",
        finished.reason
    );
}
