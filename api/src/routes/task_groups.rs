//! Task groups: pools of slots that tasks of all runs share, who has one, and who waits.

use axum::Json;
use axum::extract::State;
use domain::TaskId;
use projections::{SlotStatus, TaskGroupRow};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::instances::{show_soon, wait};
use crate::document::{Data, Fields, Kind, Node};
use crate::documents::Page;
use crate::engine::{Caller, Changed};
use crate::extract::{Asked, At, Content, finish, instance_id, name};
use crate::history::{Names, find_task, no_task, workflow_of};
use crate::problem::Problem;
use crate::state::Api;

/// A group in a list. `size` is null while nobody has defined it.
#[derive(Serialize)]
pub(super) struct GroupDocument {
    name: String,
    size: Option<u32>,
    used: u32,
    waiting: u32,
}

/// A group with those who use it. Whoever waits stands in the order in which slots are given.
#[derive(Serialize)]
pub(super) struct WholeGroupDocument {
    #[serde(flatten)]
    group: GroupDocument,
    holders: Vec<SlotDocument>,
    waiters: Vec<SlotDocument>,
}

/// An attempt that has a slot or waits for one.
#[derive(Serialize)]
struct SlotDocument {
    instance: u64,
    task: String,
    attempt: u32,
    priority: i32,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct GroupQuery {
    min_position: Option<String>,
}

pub(super) async fn set(
    State(api): State<Api>,
    At(path): At<String>,
    caller: Caller,
    body: Content,
) -> Result<Json<Value>, Problem> {
    let name = name(&path)?;
    let asked = body.object()?;
    let mut fields = Fields::default();
    fields.keys(&asked, "", Some(&["size"]), &[]);
    let size = if let Some((_, node)) = asked.entry("size") {
        fields.integer(node, "size", 0..=u32::MAX)
    } else {
        let problem = "is missing; it says how many tasks may run at a time";
        fields.flaw(asked.mark, "size", problem);
        None
    };
    finish(fields)?;
    let set = api
        .engine
        .set_task_group(name, size.unwrap_or_default(), caller);
    answer(&api, name, set.await?).await
}

/// Gives a task that waits a slot, whether one is free or not.
pub(super) async fn force(
    State(api): State<Api>,
    At(path): At<String>,
    caller: Caller,
    body: Content,
) -> Result<Json<Value>, Problem> {
    let group = name(&path)?;
    let asked = body.object()?;
    let mut fields = Fields::default();
    fields.keys(&asked, "", Some(&["instance", "task"]), &[]);
    let instance = word(&asked, "instance", "the number of a run", &mut fields);
    let task = word(&asked, "task", "the name of a task", &mut fields);
    finish(fields)?;
    let instance = instance_id(&instance)?;
    let workflow = workflow_of(&api, instance).await?;
    let task = find_task(&workflow, &task).ok_or_else(|| no_task(&workflow, &task))?;
    let task = TaskId { instance, task };
    let forced = api.engine.force_slot(group, task, caller).await?;
    answer(&api, group, forced).await
}

/// What was done, when whoever asks next sees it.
async fn answer(api: &Api, name: &str, done: Changed) -> Result<Json<Value>, Problem> {
    show_soon(api, done.position).await;
    Ok(Json(json!({
        "name": name,
        "changed": done.changed,
        "position": done.position.to_string(),
    })))
}

/// A name or a number under a key that must be there.
fn word(asked: &Node, key: &str, expected: &str, fields: &mut Fields) -> String {
    match asked.entry(key) {
        Some((_, node)) => {
            if let Data::Scalar(Kind::Text | Kind::Integer, text) = &node.data {
                return text.clone();
            }
            fields.expected(node, key, expected);
        }
        None => fields.flaw(asked.mark, key, format!("is missing; expected {expected}")),
    }
    String::new()
}

pub(super) async fn show(
    State(api): State<Api>,
    At(path): At<String>,
    Asked(query): Asked<GroupQuery>,
) -> Result<Json<WholeGroupDocument>, Problem> {
    let name = name(&path)?;
    let api = wait(api, query.min_position).await?;
    let row = api.reader.task_group(name).await?;
    let row =
        row.ok_or_else(|| Problem::not_found(format!("there is no task group \"{name}\"")))?;
    let mut names = Names::default();
    let (mut holders, mut waiters) = (Vec::new(), Vec::new());
    for slot in api.reader.task_group_slots(name).await? {
        let document = SlotDocument {
            instance: slot.attempt.task.instance.0,
            task: names.task(&api, slot.attempt.task).await?,
            attempt: slot.attempt.number,
            priority: slot.priority,
        };
        match slot.status {
            SlotStatus::Holds => holders.push(document),
            SlotStatus::Waiting => waiters.push(document),
        }
    }
    Ok(Json(WholeGroupDocument {
        group: document(row),
        holders,
        waiters,
    }))
}

/// By name.
pub(super) async fn list(
    State(api): State<Api>,
    Asked(query): Asked<GroupQuery>,
) -> Result<Json<Page<GroupDocument>>, Problem> {
    let api = wait(api, query.min_position).await?;
    let rows = api.reader.task_groups().await?;
    Ok(Json(Page::whole(rows.into_iter().map(document).collect())))
}

fn document(row: TaskGroupRow) -> GroupDocument {
    GroupDocument {
        name: row.name,
        size: row.size,
        used: row.used,
        waiting: row.waiting,
    }
}
