//! `explain`: what a run and its tasks wait for.

use serde_json::{Value, json};

use super::read::{items, shown};
use crate::args::Explain;
use crate::failure::Failure;
use crate::output;
use crate::session::{self, Need, Request};

pub(super) async fn explain(args: Explain) -> Result<(), Failure> {
    let id = args.id.to_string();
    let request = Request::get(&["instances", &id, "explain"]);
    // Only an engine knows: a process that is there for this verb alone must have one.
    let mut answer = session::with(&args.place, Need::Act, async |session| {
        session.call(&request).await
    })
    .await?;
    if let Some(task) = &args.task {
        let about = items(&answer)
            .iter()
            .filter(|item| shown(item, "name") == *task || shown(item, "task") == *task);
        let about: Vec<Value> = about.cloned().collect();
        answer["items"] = json!(about);
    }
    if args.form.json {
        output::document(&answer);
    } else if items(&answer).is_empty() {
        let what = match &args.task {
            Some(task) => format!("task {} of run {id}", output::flat(task)),
            None => format!("run {id}"),
        };
        output::say(format_args!("{what} waits for nothing"));
    } else {
        let rows = items(&answer)
            .iter()
            .map(|item| ["name", "cause", "reason"].map(|key| shown(item, key)));
        output::table(["TASK", "CAUSE", "REASON"], &[], rows);
    }
    Ok(())
}
