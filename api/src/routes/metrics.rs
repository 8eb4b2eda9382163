//! Figures for Prometheus. What cannot be learned now is left out, never guessed: `tidemill_up` says which
//! of the sources answered.

use std::fmt::{Display, Write};

use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};

use crate::state::Api;
use crate::times;

pub(super) async fn show(State(api): State<Api>) -> Response {
    let mut text = Text::default();
    requests(&api, &mut text);
    let log = shards(&api, &mut text).await;
    counts(&api, &mut text).await;
    let tables = projections(&api, &mut text).await;
    let engine = workers(&api, &mut text).await;
    text.head(
        "tidemill_up",
        "gauge",
        "Whether a part of the service answered just now.",
    );
    for (part, up) in [("log", log), ("projections", tables), ("engine", engine)] {
        text.line("tidemill_up", &[("part", part)], u8::from(up));
    }
    let kind = "text/plain; version=0.0.4; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], text.0).into_response()
}

fn requests(api: &Api, text: &mut Text) {
    let name = "tidemill_api_requests_total";
    text.head(
        name,
        "counter",
        "Requests answered by this process, by the class of the answer.",
    );
    let mut all = 0;
    for (class, count) in api.requests.counts() {
        all += count;
        text.line(name, &[("status", class.as_str())], count);
    }
    text.head(
        "ds_api_response_count",
        "counter",
        "Requests answered by this process.",
    );
    text.line("ds_api_response_count", &[], all);
}

async fn shards(api: &Api, text: &mut Text) -> bool {
    let Ok(infos) = api.log.shard_infos().await else {
        return false;
    };
    let name = "tidemill_log_events_total";
    text.head(name, "counter", "Events in the log, by shard.");
    for info in &infos {
        text.line(name, &[("shard", &info.shard.to_string())], info.head);
    }
    let name = "tidemill_log_commits_total";
    let help = "Transactions in which this process has appended to the log.";
    text.head(name, "counter", help);
    text.line(name, &[], api.log.commits());
    let name = "tidemill_shards_without_owner";
    text.head(name, "gauge", "Shards whose lease nobody holds.");
    let ownerless = infos
        .iter()
        .filter(|info| info.owner.is_empty() || info.expires_in_ms <= 0);
    text.line(name, &[], ownerless.count());
    true
}

/// What happened, as the engine of this process has counted it: nothing is read for it, however long the log is.
async fn counts(api: &Api, text: &mut Text) {
    let Ok(tally) = api.engine.tally().await else {
        return;
    };
    let tasks = "ds_task_instance_count";
    let help = "What became of attempts by this engine, since it began.";
    text.head(tasks, "counter", help);
    for (state, count) in tally.tasks() {
        text.line(tasks, &[("state", state)], count);
    }
    let workflows = "ds_workflow_instance_count";
    let help = "What became of workflow instances by this engine, since it began.";
    text.head(workflows, "counter", help);
    for (state, count) in tally.workflows() {
        text.line(workflows, &[("state", state)], count);
    }
    let name = "ds_alert_send_count";
    let help = "Alerts of this engine that were told, or given up, since it began.";
    text.head(name, "counter", help);
    for (status, count) in [("success", tally.told), ("fail", tally.untold)] {
        text.line(name, &[("status", status)], count);
    }
    for (name, help, count) in [
        (
            "ds_workflow_instance_resubmit",
            "Runs that had ended and were made to go on by this engine, since it began.",
            tally.resubmitted,
        ),
        (
            "tidemill_alerts_raised_total",
            "Alerts that this engine has raised, since it began.",
            tally.raised,
        ),
        (
            "ds_task_dispatch_count",
            "Attempts that a worker has taken from this engine, since it began.",
            tally.dispatched,
        ),
        (
            "ds_task_dispatch_failure_count",
            "Attempts that a worker has refused to this engine, since it began.",
            tally.refused,
        ),
    ] {
        text.head(name, "counter", help);
        text.line(name, &[], count);
    }
}

async fn projections(api: &Api, text: &mut Text) -> bool {
    let Ok(statuses) = api.reader.statuses(times::now()).await else {
        return false;
    };
    let name = "tidemill_projection_commits_total";
    let help = "Transactions in which this process has folded events into the read tables.";
    text.head(name, "counter", help);
    text.line(name, &[], api.tables.commits());
    let events = "tidemill_projection_lag_events";
    text.head(
        events,
        "gauge",
        "Events that are in the log and not in the read table.",
    );
    for status in &statuses {
        text.line(events, &[("projection", status.name)], status.lag_events);
    }
    let seconds = "tidemill_projection_lag_seconds";
    text.head(
        seconds,
        "gauge",
        "The age of the oldest event that is not in the read table.",
    );
    for status in &statuses {
        text.line(seconds, &[("projection", status.name)], status.lag_seconds);
    }
    let name = "tidemill_projection_stopped_shards";
    text.head(
        name,
        "gauge",
        "Shards of which nothing more is folded into the read table.",
    );
    for status in &statuses {
        let stopped = status.shards.iter().filter(|shard| shard.stopped.is_some());
        text.line(name, &[("projection", status.name)], stopped.count());
    }
    true
}

async fn workers(api: &Api, text: &mut Text) -> bool {
    let Ok(workers) = api.engine.workers().await else {
        return false;
    };
    text.head("tidemill_workers", "gauge", "Workers that are connected.");
    text.line("tidemill_workers", &[], workers.len());
    let slots = "tidemill_worker_slots";
    text.head(slots, "gauge", "Attempts that a worker may run at a time.");
    for worker in &workers {
        text.line(slots, &[("worker", &worker.id)], worker.slots);
    }
    text.head(
        "ds_worker_task",
        "gauge",
        "Attempts that a worker runs now.",
    );
    for worker in &workers {
        text.line("ds_worker_task", &[("worker", &worker.id)], worker.busy);
    }
    true
}

/// The text format of Prometheus.
#[derive(Default)]
struct Text(String);

impl Text {
    fn head(&mut self, name: &str, kind: &str, help: &str) {
        self.push(format_args!("# HELP {name} {help}\n# TYPE {name} {kind}\n"));
    }

    fn line(&mut self, name: &str, labels: &[(&str, &str)], value: impl Display) {
        let labels: Vec<String> = labels
            .iter()
            .map(|(label, value)| format!("{label}=\"{}\"", escape(value)))
            .collect();
        if labels.is_empty() {
            self.push(format_args!("{name} {value}\n"));
        } else {
            self.push(format_args!("{name}{{{}}} {value}\n", labels.join(",")));
        }
    }

    fn push(&mut self, text: std::fmt::Arguments<'_>) {
        // Writing into a String cannot fail.
        let _ = self.0.write_fmt(text);
    }
}

fn escape(value: &str) -> String {
    value
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}
