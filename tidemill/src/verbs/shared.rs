//! `env` and `task-group`: what runs of all workflows share.

use std::io::Read;
use std::path::Path;

use serde_json::{Value, json};

use super::read::{ask, items, plain, shown};
use crate::args::{Env, ForceSlot, Named, Plain, SetEnv, SetTaskGroup, TaskGroup};
use crate::failure::Failure;
use crate::output;
use crate::session::{self, Need, Request};

pub(super) async fn env(args: Env) -> Result<(), Failure> {
    match args {
        Env::Set(args) => set_env(args).await,
        Env::Get(args) => get_env(args).await,
        Env::List(args) => list_envs(args).await,
    }
}

pub(super) async fn task_group(args: TaskGroup) -> Result<(), Failure> {
    match args {
        TaskGroup::Set(args) => set_group(args).await,
        TaskGroup::Get(args) => get_group(args).await,
        TaskGroup::List(args) => list_groups(args).await,
        TaskGroup::Force(args) => force_slot(args).await,
    }
}

async fn set_env(args: SetEnv) -> Result<(), Failure> {
    let config = text(&args.file)?;
    let body = json!({ "config": config }).to_string();
    let request = Request::put(&["environments", &args.name], body.into());
    let answer = session::with(&args.place, Need::Define, async |session| {
        session.call(&request).await
    })
    .await?;
    tell(
        args.form.json,
        &answer,
        &format!("environment {}", args.name),
    );
    Ok(())
}

async fn get_env(args: Named) -> Result<(), Failure> {
    let answer = ask(&args.place, Request::get(&["environments", &args.name])).await?;
    if args.form.json {
        output::document(&answer);
    } else {
        output::say(shown(&answer, "config").trim_end());
    }
    Ok(())
}

async fn list_envs(args: Plain) -> Result<(), Failure> {
    let answer = ask(&args.place, Request::get(&["environments"])).await?;
    if args.form.json {
        output::document(&answer);
        return Ok(());
    }
    let rows = items(&answer).iter().map(|row| {
        let set = row.get("update_time").and_then(Value::as_str);
        let set = set.and_then(output::parse).map(output::date);
        let lines = shown(row, "config").lines().count();
        [
            shown(row, "name"),
            lines.to_string(),
            set.unwrap_or_default(),
        ]
    });
    output::table(["NAME", "LINES", "SET"], &[1], rows);
    Ok(())
}

async fn set_group(args: SetTaskGroup) -> Result<(), Failure> {
    let body = json!({ "size": args.size }).to_string();
    let request = Request::put(&["task-groups", &args.name], body.into());
    let answer = session::with(&args.place, Need::Define, async |session| {
        session.call(&request).await
    })
    .await?;
    let what = format!("task group {} of size {}", args.name, args.size);
    tell(args.form.json, &answer, &what);
    Ok(())
}

async fn get_group(args: Named) -> Result<(), Failure> {
    let answer = ask(&args.place, Request::get(&["task-groups", &args.name])).await?;
    if args.form.json {
        output::document(&answer);
        return Ok(());
    }
    output::say(format_args!(
        "{}: {} of {} slots in use, {} waiting",
        args.name,
        shown(&answer, "used"),
        size(&answer),
        shown(&answer, "waiting")
    ));
    let slots = |list: &str, word: &'static str| {
        let slots = answer.get(list).and_then(Value::as_array).cloned();
        slots.unwrap_or_default().into_iter().map(move |slot| {
            let [instance, task, attempt, priority] =
                ["instance", "task", "attempt", "priority"].map(|key| shown(&slot, key));
            [instance, task, attempt, priority, word.to_owned()]
        })
    };
    let rows: Vec<_> = slots("holders", "has a slot")
        .chain(slots("waiters", "waits"))
        .collect();
    if !rows.is_empty() {
        output::table(["RUN", "TASK", "ATTEMPT", "PRIORITY", ""], &[0, 2, 3], rows);
    }
    Ok(())
}

async fn list_groups(args: Plain) -> Result<(), Failure> {
    let answer = ask(&args.place, Request::get(&["task-groups"])).await?;
    if args.form.json {
        output::document(&answer);
        return Ok(());
    }
    let rows = items(&answer).iter().map(|row| {
        [
            shown(row, "name"),
            size(row),
            shown(row, "used"),
            shown(row, "waiting"),
        ]
    });
    output::table(["NAME", "SIZE", "USED", "WAITING"], &[1, 2, 3], rows);
    Ok(())
}

async fn force_slot(args: ForceSlot) -> Result<(), Failure> {
    let body = json!({ "instance": args.id, "task": args.task });
    let request = Request::post(&["task-groups", &args.name, "force"], body);
    let answer = session::with(&args.place, Need::Act, async |session| {
        session.call(&request).await
    })
    .await?;
    if args.form.json {
        output::document(&answer);
    } else {
        output::say(format_args!("run {}: {} has a slot", args.id, args.task));
    }
    Ok(())
}

/// How many slots a group has, if somebody has said so.
fn size(group: &Value) -> String {
    match group.get("size") {
        Some(Value::Null) | None => "undefined".to_owned(),
        Some(size) => plain(size),
    }
}

fn tell(json: bool, answer: &Value, what: &str) {
    if json {
        output::document(answer);
    } else {
        let changed = answer.get("changed").and_then(Value::as_bool);
        let word = if changed == Some(false) {
            "unchanged"
        } else {
            "set"
        };
        output::say(format_args!("{what} {word}"));
    }
}

/// The text of a file, or of stdin when it is called `-`.
fn text(file: &Path) -> Result<String, Failure> {
    let read = if file == Path::new("-") {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text).map(|_| text)
    } else {
        std::fs::read_to_string(file)
    };
    read.map_err(|error| Failure::usage(format!("{}: {error}", file.display())))
}
