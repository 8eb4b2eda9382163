//! `verify`: the hash chain of every shard is followed from its first event to its last.

use serde_json::Value;

use super::read::ask;
use crate::args::Plain;
use crate::failure::Failure;
use crate::output;
use crate::session::Request;

pub(super) async fn verify(args: Plain) -> Result<(), Failure> {
    let report = ask(&args.place, Request::post(&["verify"], Value::Null)).await?;
    let number = |name: &str| report.get(name).and_then(Value::as_u64).unwrap_or_default();
    // Nobody's word is not a good word.
    let is_whole = report.get("whole").and_then(Value::as_bool) == Some(true);
    if args.form.json {
        output::document(&report);
    } else {
        let problems = report.get("problems").and_then(Value::as_array);
        for problem in problems.into_iter().flatten() {
            let said = problem
                .as_str()
                .map_or_else(|| problem.to_string(), str::to_owned);
            output::say(output::flat(&said));
        }
        let verdict = if is_whole {
            "the log is complete and unaltered"
        } else {
            "the log is DAMAGED"
        };
        let (events, shards) = (number("events"), number("shards"));
        output::say(format_args!(
            "{events} events in {shards} shards: {verdict}"
        ));
    }
    if is_whole {
        Ok(())
    } else {
        Err(Failure::Unsuccessful)
    }
}
