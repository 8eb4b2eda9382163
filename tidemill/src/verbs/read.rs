//! `list`, `show`, `tasks`, `workers`, `engines`: tables for people, or the API's document as it is.

use serde_json::Value;

use crate::args::{List, One, Place, Plain};
use crate::failure::Failure;
use crate::output;
use crate::session::{self, Need, Request};

pub(super) async fn list(args: List) -> Result<(), Failure> {
    let request = Request::get(&["instances"])
        .with_some("project", args.project.as_ref())
        .with_some("workflow", args.workflow.as_ref())
        .with_some("state", args.state.as_ref())
        .with_some("after", args.after.as_ref())
        .with("limit", &args.limit);
    let page = ask_tables(&args.place, request).await?;
    if args.form.json {
        output::document(&page);
        return Ok(());
    }
    let rows = items(&page).iter().map(|run| {
        let began = text(run, "start_time").or_else(|| text(run, "submit_time"));
        [
            shown(run, "id"),
            shown(run, "workflow"),
            shown(run, "version"),
            shown(run, "state"),
            began
                .and_then(output::parse)
                .map(output::date)
                .unwrap_or_default(),
            lasted(run),
            shown(run, "reason"),
        ]
    });
    output::table(
        [
            "ID", "WORKFLOW", "VERSION", "STATE", "STARTED", "DURATION", "REASON",
        ],
        &[0, 2, 5],
        rows,
    );
    if let Some(next) = page.get("next").filter(|next| !next.is_null()) {
        output::say(format_args!("more: --after {}", plain(next)));
    }
    Ok(())
}

pub(super) async fn show(args: One) -> Result<(), Failure> {
    let document = ask_tables(
        &args.place,
        Request::get(&["instances", &args.id.to_string()]),
    )
    .await?;
    if args.form.json {
        output::document(&document);
        return Ok(());
    }
    let Some(fields) = document.as_object() else {
        return Ok(());
    };
    let told = fields.iter().filter(|(_, value)| !is_empty(value));
    let width = told
        .clone()
        .map(|(name, _)| name.len())
        .max()
        .unwrap_or_default();
    for (name, value) in told {
        output::say(format_args!(
            "{name:width$}  {}",
            output::flat(&plain(value))
        ));
    }
    Ok(())
}

pub(super) async fn tasks(args: One) -> Result<(), Failure> {
    let document = ask_tables(
        &args.place,
        Request::get(&["instances", &args.id.to_string(), "tasks"]),
    )
    .await?;
    if args.form.json {
        output::document(&document);
        return Ok(());
    }
    let rows = items(&document).iter().map(|task| {
        [
            shown(task, "name"),
            shown(task, "attempt"),
            shown(task, "state"),
            text(task, "start_time")
                .and_then(output::parse)
                .map(output::date)
                .unwrap_or_default(),
            lasted(task),
            shown(task, "host"),
            shown(task, "reason"),
        ]
    });
    output::table(
        [
            "TASK", "ATTEMPT", "STATE", "STARTED", "DURATION", "HOST", "REASON",
        ],
        &[1, 4],
        rows,
    );
    Ok(())
}

pub(super) async fn workers(args: Plain) -> Result<(), Failure> {
    let columns = [
        "id",
        "host",
        "groups",
        "busy",
        "slots",
        "load",
        "memory",
        "engine",
        "overloaded",
    ];
    roll_call(&args, "workers", columns, &[3, 4, 5, 6]).await
}

pub(super) async fn engines(args: Plain) -> Result<(), Failure> {
    roll_call(
        &args,
        "engines",
        ["id", "address", "standby", "shards"],
        &[],
    )
    .await
}

/// Who is there.
async fn roll_call<const N: usize>(
    args: &Plain,
    noun: &str,
    columns: [&str; N],
    right: &[usize],
) -> Result<(), Failure> {
    let document = ask(&args.place, Request::get(&[noun])).await?;
    if args.form.json {
        output::document(&document);
    } else if items(&document).is_empty() {
        output::say(format_args!("no {noun}: `tidemill serve` starts some"));
    } else {
        let rows = items(&document).iter();
        let header = columns.map(str::to_uppercase);
        let header = std::array::from_fn(|column| header[column].as_str());
        output::table(
            header,
            right,
            rows.map(|row| columns.map(|name| shown(row, name))),
        );
    }
    Ok(())
}

/// Asks one question of the log.
pub(super) async fn ask(place: &Place, request: Request) -> Result<Value, Failure> {
    session::with(place, Need::Read, async |session| {
        session.call(&request).await
    })
    .await
}

/// Asks one question of the read tables, when they show what the log holds now: who has just done
/// something sees it.
async fn ask_tables(place: &Place, request: Request) -> Result<Value, Failure> {
    session::with(place, Need::Read, async |session| {
        if let Err(failure) = session.see_all().await {
            output::complain(&format!("warning: {}", failure.brief()));
        }
        session.call(&request).await
    })
    .await
}

/// The rows of a page.
pub(super) fn items(page: &Value) -> &[Value] {
    page.get("items")
        .and_then(Value::as_array)
        .map_or(&[], Vec::as_slice)
}

fn text<'a>(row: &'a Value, name: &str) -> Option<&'a str> {
    row.get(name)?.as_str()
}

pub(super) fn shown(row: &Value, name: &str) -> String {
    row.get(name).map(plain).unwrap_or_default()
}

/// A value without the marks that JSON puts around it.
pub(super) fn plain(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().map(plain).collect::<Vec<_>>().join(","),
        // Measured, not counted: nobody reads more digits than these.
        Value::Number(number) if number.is_f64() => number
            .as_f64()
            .map_or_else(String::new, |measure| format!("{measure:.2}")),
        Value::Bool(_) | Value::Number(_) | Value::Object(_) => value.to_string(),
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        Value::Bool(_) | Value::Number(_) => false,
    }
}

/// From its start to its end, or to now.
fn lasted(row: &Value) -> String {
    let time = |name| text(row, name).and_then(output::parse);
    let Some(from) = time("start_time") else {
        return String::new();
    };
    output::span(time("end_time").unwrap_or_else(output::now).since(from))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn values_are_told_without_their_quotes() {
        assert_eq!(plain(&json!("a")), "a");
        assert_eq!(plain(&json!(["a", "b"])), "a,b");
        assert_eq!(plain(&json!({"day": "x"})), r#"{"day":"x"}"#);
    }

    #[test]
    fn a_duration_needs_a_start_and_may_lack_an_end() {
        let both =
            json!({"start_time": "2026-01-01T00:00:00Z", "end_time": "2026-01-01T00:00:02.5Z"});
        assert_eq!(lasted(&both), "2.5s");
        assert_eq!(lasted(&json!({"start_time": null})), "");
    }
}
