//! Parameters: which value wins, and how `${name}` and `$[...]` are replaced.
//!
//! docs/parameters.md tells authors the same in more words.

mod builtins;
mod check;
mod combine;
mod expand;
mod pool;

use std::collections::BTreeMap;

use crate::calendar::Moment;
use crate::task_instance::Output;
use crate::workflow_definition::{Direction, Param};

pub use builtins::{BUILTIN, Context, builtins};
pub use check::check_value;
pub use combine::{combination, combinations, split};
pub use pool::{merge, pass_on};

use expand::{Told, expand, settle};

/// Values by name, as a task sees them.
pub type Values = BTreeMap<String, String>;

/// The values that reach a task. From weak to strong: what the engine knows ([`builtins`]), global
/// parameters, what earlier tasks handed on, the task's own IN parameters (an empty one does not hide a
/// weaker value), start parameters. (`DolphinScheduler`: startup > local > upstream > global.)
///
/// What people wrote may speak of other values and of dates, also of both: `$[yyyyMMdd-${days}]`. What a
/// task handed on, and what the engine knows, is data: no mark in it is ever read, wherever it goes.
pub fn resolve(
    global: &[Param],
    upstream: &[Output],
    own: &[Param],
    startup: &[Param],
    builtins: &Values,
    moment: &Moment,
) -> Values {
    let known = builtins
        .iter()
        .map(|(name, value)| (name.as_str(), Told::Data(value)))
        .collect();
    let told = ranked(known, global, upstream, own, startup);
    settle(&told, Some(moment))
}

/// Each name with its strongest value, where `told` are the weakest.
fn ranked<'a>(
    mut told: BTreeMap<&'a str, Told<'a>>,
    global: &'a [Param],
    upstream: &'a [Output],
    own: &'a [Param],
    startup: &'a [Param],
) -> BTreeMap<&'a str, Told<'a>> {
    let written = |param: &'a Param| (param.name.as_str(), Told::Written(&param.value));
    // One that only names what a run hands on is no value.
    let has_value = |param: &&Param| param.direct == Direction::In || !param.value.is_empty();
    told.extend(global.iter().filter(has_value).map(written));
    told.extend(
        upstream
            .iter()
            .map(|output| (output.name.as_str(), Told::Data(&output.value))),
    );
    for param in own.iter().filter(|param| param.direct == Direction::In) {
        if !param.value.is_empty() || !told.contains_key(param.name.as_str()) {
            told.extend([written(param)]);
        }
    }
    told.extend(startup.iter().map(written));
    told
}

/// The text with every `${name}` of a known name replaced. Unknown names stay, so that `${HOME}` means
/// what the shell says it means.
pub fn substitute(text: &str, values: &Values) -> String {
    expand(text, None, &mut |name| values.get(name).cloned())
}

/// The text with every `${name}` of a known name and every `$[...]` that is a date replaced, in one go: a
/// value may be part of a date that the author began, but what comes in is never read for marks of its own.
pub fn render(text: &str, values: &Values, moment: &Moment) -> String {
    expand(text, Some(moment), &mut |name| values.get(name).cloned())
}

#[cfg(test)]
mod tests;
