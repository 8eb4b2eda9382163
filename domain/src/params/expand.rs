//! Replacing the marks in a text, and in values that speak of each other.

use std::collections::BTreeMap;

use super::Values;
use crate::calendar::{self, Moment};
use crate::workflow_definition::Workflow;

/// How deep values may speak of values. Parameters are other people's words: a chain of them must not
/// exhaust the stack of the engine that reads them.
pub(super) const DEEPEST: usize = 32;

/// How many bytes may come in for the names in one value, for the same reason: ten parameters that each
/// say the next one ten times are a hundred bytes to write and ten gigabytes to read.
pub(super) const MOST_EXPANDED: usize = 1024 * 1024;

/// How many bytes may come in for all values of a task together.
const MOST_TOGETHER: usize = 32 * MOST_EXPANDED;

/// What each name costs beside the bytes that come in for it, for short values take their time, too.
const NAME_COST: usize = 64;

/// Where a value comes from, as far as its text is concerned.
#[derive(Clone, Copy)]
pub(super) enum Told<'a> {
    /// Somebody wrote it, and may have meant other values and dates.
    Written(&'a str),
    /// A program made it, so it is what it is.
    Data(&'a str),
}

/// The values with what they speak of put in. One that speaks of itself stays as written there.
pub(super) fn settle(told: &BTreeMap<&str, Told<'_>>, moment: Option<&Moment>) -> Values {
    let mut together = MOST_TOGETHER;
    let settled = |(name, value): (&&str, &Told<'_>)| {
        let value = match *value {
            Told::Data(value) => value.to_owned(),
            Told::Written(value) => {
                let room = MOST_EXPANDED.min(together);
                let mut open = Open {
                    told,
                    moment,
                    names: vec![*name],
                    room,
                };
                let expanded = open.expand(value);
                together -= room - open.room;
                expanded
            }
        };
        ((*name).to_owned(), value)
    };
    told.iter().map(settled).collect()
}

/// A value that is being put together, and those that it is put together for.
struct Open<'a> {
    told: &'a BTreeMap<&'a str, Told<'a>>,
    moment: Option<&'a Moment>,
    names: Vec<&'a str>,
    /// Bytes that may still come in.
    room: usize,
}

impl Open<'_> {
    fn expand(&mut self, text: &str) -> String {
        let moment = self.moment;
        expand(text, moment, &mut |name| self.value_of(name))
    }

    fn value_of(&mut self, name: &str) -> Option<String> {
        let (&name, &told) = self.told.get_key_value(name)?;
        let (Told::Written(value) | Told::Data(value)) = told;
        if self.names.contains(&name) || self.names.len() > DEEPEST {
            return None;
        }
        self.room = self.room.checked_sub(value.len() + NAME_COST)?;
        match told {
            Told::Data(value) => Some(value.to_owned()),
            Told::Written(value) => {
                self.names.push(name);
                let expanded = self.expand(value);
                self.names.pop();
                Some(expanded)
            }
        }
    }
}

/// The text with its marks replaced: `${name}` by what there is for the name, `$[...]` by the date, if a
/// moment is given. What comes in is not read again; marks that mean nothing stay as written.
pub(super) fn expand(
    text: &str,
    moment: Option<&Moment>,
    value_of: &mut dyn FnMut(&str) -> Option<String>,
) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find('$') {
        let (before, from) = rest.split_at(start);
        out.push_str(before);
        if let Some((replaced, length)) = mark(from, moment, value_of) {
            out.push_str(&replaced);
            rest = &from[length..];
        } else {
            out.push('$');
            rest = &from[1..];
        }
    }
    out.push_str(rest);
    out
}

/// What the mark that begins here is replaced by, and how many bytes it has.
fn mark(
    from: &str,
    moment: Option<&Moment>,
    value_of: &mut dyn FnMut(&str) -> Option<String>,
) -> Option<(String, usize)> {
    if let Some(after) = from.strip_prefix("${") {
        // No name is longer, so marks that are never closed cost no more than those that are.
        let mut begin = after.bytes().take(Workflow::LONGEST_NAME + 1);
        let name = &after[..begin.position(|byte| byte == b'}')?];
        return Some((value_of(name)?, name.len() + 3));
    }
    let inside = calendar::placeholder(from)?;
    let date = calendar::date(&expand(inside, None, value_of), moment?)?;
    Some((date, inside.len() + 3))
}
