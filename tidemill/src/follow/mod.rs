//! Following a run by its events, from the first to the last: what `run` and `watch` do.

mod event;
mod following;
mod picture;
mod progress;
mod signals;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use domain::workflow_instance::Submission;
use domain::{InstanceId, TaskCode};
use serde_json::Value;

pub(crate) use event::Event;
pub(crate) use following::{Following, Stake, left};
pub(crate) use picture::{Known, Picture, Task};
pub(crate) use progress::Progress;
pub(crate) use signals::{Asked, Signals};

use crate::failure::Failure;
use crate::session::{Request, Session};

/// How many events to ask for at once.
const PAGE: usize = 1_000;

/// How far the story of a run has been read.
pub(crate) struct Story {
    /// The run so far.
    pub(crate) picture: Picture,
    after: u64,
    /// The names of the tasks are known.
    learned: bool,
}

impl Story {
    /// From its beginning.
    pub(crate) fn of(id: InstanceId) -> Self {
        Self {
            picture: Picture::new(id),
            after: 0,
            learned: false,
        }
    }

    /// The next events, oldest first; none when all have been read.
    pub(crate) async fn read(&mut self, session: &mut Session) -> Result<Vec<Event>, Failure> {
        let request = Request::get(&["instances", &self.picture.id.to_string(), "events"])
            .with("after", &self.after)
            .with("limit", &PAGE);
        let page = session.call(&request).await?;
        let items = page
            .get("items")
            .and_then(Value::as_array)
            .map_or(&[][..], Vec::as_slice);
        let events: Vec<Event> = items.iter().map(Event::parse).collect::<Result<_, _>>()?;
        if let Some(last) = events.last() {
            self.after = last.seq;
        }
        Ok(events)
    }

    /// Reads what has happened so far without showing it, and learns the names of the tasks.
    pub(crate) async fn catch_up(&mut self, session: &mut Session) -> Result<(), Failure> {
        loop {
            let events = self.read(session).await?;
            for event in &events {
                self.picture.apply(event)?;
            }
            if events.is_empty() {
                break;
            }
        }
        self.learn(session).await
    }

    /// Learns the names of the tasks, once, from the definition that the first event names.
    pub(crate) async fn learn(&mut self, session: &mut Session) -> Result<(), Failure> {
        let Some(submission) = self.picture.submission.clone().filter(|_| !self.learned) else {
            return Ok(());
        };
        let Submission {
            project,
            workflow,
            version,
            ..
        } = submission.as_ref();
        let known = definition(session, project, workflow, Some(*version)).await?;
        self.picture.learn(&known);
        self.learned = true;
        Ok(())
    }
}

/// What somebody asked for when they asked for this run: its first event.
pub(crate) async fn submission(
    session: &mut Session,
    id: InstanceId,
) -> Result<Option<Arc<Submission>>, Failure> {
    let request = Request::get(&["instances", &id.to_string(), "events"]).with("limit", &1);
    let page = session.call(&request).await?;
    let mut picture = Picture::new(id);
    for item in page
        .get("items")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
    {
        picture.apply(&Event::parse(item)?)?;
    }
    Ok(picture.submission)
}

/// The tasks of a stored definition.
pub(crate) async fn definition(
    session: &mut Session,
    project: &str,
    workflow: &str,
    version: Option<u32>,
) -> Result<Vec<Known>, Failure> {
    let version = version.map(|version| version.to_string());
    let mut path = vec!["projects", project, "workflows", workflow];
    if let Some(version) = &version {
        path.extend(["versions", version]);
    }
    let document = session.call(&Request::get(&path)).await?;
    Ok(known(&document))
}

/// The tasks in the document of a definition.
pub(crate) fn known(document: &Value) -> Vec<Known> {
    let inner = ["workflow", "spec", "definition"]
        .iter()
        .filter_map(|name| document.get(name))
        .find(|value| value.is_object())
        .unwrap_or(document);
    let tasks = inner
        .get("tasks")
        .and_then(Value::as_array)
        .map_or(&[][..], Vec::as_slice);
    tasks.iter().filter_map(known_task).collect()
}

fn known_task(task: &Value) -> Option<Known> {
    let names = |key: &str| {
        let named = match task.get(key) {
            Some(Value::Array(items)) => items.iter().filter_map(Value::as_str).collect(),
            Some(Value::String(name)) => vec![name.as_str()],
            Some(_) | None => Vec::new(),
        };
        named.into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    let cases = task.get("cases").and_then(Value::as_array);
    let cases = cases.into_iter().flatten();
    let cases = cases.filter_map(|case| case.get("then")?.as_str().map(str::to_owned));
    let name = task.get("name")?.as_str()?;
    let code = task.get("code").and_then(Value::as_u64);
    Some(Known {
        name: name.to_owned(),
        // Written only where its author gave it.
        code: code.unwrap_or_else(|| TaskCode::of_name(name).0),
        depends_on: names("depends_on"),
        leads_to: ["success", "failed", "default"]
            .into_iter()
            .flat_map(names)
            .chain(cases)
            .collect(),
        forbidden: task.get("forbidden").and_then(Value::as_bool) == Some(true),
    })
}
