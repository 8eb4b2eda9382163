//! Parameters: which value wins, and how `${name}` is replaced.

mod check;

use std::collections::BTreeMap;

use crate::task_instance::Output;
use crate::workflow_definition::{Direction, Param, Workflow};

pub use check::check_value;

/// Values by name, as a task sees them.
pub type Values = BTreeMap<String, String>;

/// The values that reach a task. From weak to strong: global parameters, what earlier tasks handed on,
/// the task's own IN parameters (an empty one does not hide a weaker value), start parameters.
/// (`DolphinScheduler`: startup > local > upstream > global.)
pub fn resolve(global: &[Param], upstream: &[Output], own: &[Param], startup: &[Param]) -> Values {
    let mut values = Values::new();
    for param in global {
        values.insert(param.name.clone(), param.value.clone());
    }
    for output in upstream {
        values.insert(output.name.clone(), output.value.clone());
    }
    for param in own.iter().filter(|param| param.direct == Direction::In) {
        if !param.value.is_empty() || !values.contains_key(&param.name) {
            values.insert(param.name.clone(), param.value.clone());
        }
    }
    for param in startup {
        values.insert(param.name.clone(), param.value.clone());
    }
    // A value may speak of other values; one that speaks of itself stays as written.
    let raw = values.clone();
    for (name, value) in &mut values {
        let mut room = MOST_EXPANDED;
        *value = expand(value, &raw, &mut vec![name.as_str()], &mut room);
    }
    values
}

/// How deep values may speak of values. Parameters are other people's words: a chain of them must not
/// exhaust the stack of the engine that reads them.
const DEEPEST: usize = 32;

/// How many bytes may come in for the names in one value, for the same reason: ten parameters that each
/// say the next one ten times are a hundred bytes to write and ten gigabytes to read.
const MOST_EXPANDED: usize = 1024 * 1024;

/// The text with every `${name}` of a known name replaced. Unknown names stay, so that `${HOME}` means
/// what the shell says it means.
pub fn substitute(text: &str, values: &Values) -> String {
    replace(text, |name| values.get(name).cloned())
}

fn expand<'a>(text: &str, values: &'a Values, open: &mut Vec<&'a str>, room: &mut usize) -> String {
    replace(text, |name| {
        let (name, value) = values.get_key_value(name)?;
        if open.contains(&name.as_str()) || open.len() > DEEPEST {
            return None;
        }
        // One more than the bytes, so that empty values are not free either.
        *room = room.checked_sub(value.len() + 1)?;
        open.push(name);
        let expanded = expand(value, values, open, room);
        open.pop();
        Some(expanded)
    })
}

fn replace(text: &str, mut value_of: impl FnMut(&str) -> Option<String>) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find("${") {
        let (before, from) = rest.split_at(start);
        out.push_str(before);
        // No name is longer, so marks that are never closed cost no more than those that are.
        let name = from[2..]
            .bytes()
            .take(Workflow::LONGEST_NAME + 1)
            .position(|byte| byte == b'}')
            .map(|end| &from[2..2 + end]);
        if let Some((name, value)) = name.and_then(|name| Some((name, value_of(name)?))) {
            out.push_str(&value);
            rest = &from[name.len() + 3..];
        } else {
            out.push_str("${");
            rest = &from[2..];
        }
    }
    out.push_str(rest);
    out
}

/// What several tasks hand on together: of one name, the first value that is not empty wins.
pub fn merge<'a>(pools: impl IntoIterator<Item = &'a [Output]>) -> Vec<Output> {
    let mut merged: Vec<Output> = Vec::new();
    for output in pools.into_iter().flatten() {
        match merged
            .iter_mut()
            .find(|earlier| earlier.name == output.name)
        {
            Some(earlier) if earlier.value.is_empty() => earlier.value.clone_from(&output.value),
            Some(_) => {}
            None => merged.push(output.clone()),
        }
    }
    merged
}

/// What a task hands on: what it was handed, with its own outputs in their place.
pub fn pass_on(handed: Vec<Output>, own: &[Output]) -> Vec<Output> {
    let mut passed = handed;
    for output in own {
        match passed
            .iter_mut()
            .find(|earlier| earlier.name == output.name)
        {
            Some(earlier) => earlier.value.clone_from(&output.value),
            None => passed.push(output.clone()),
        }
    }
    passed
}

#[cfg(test)]
mod tests {
    use super::*;

    fn output(name: &str, value: &str) -> Output {
        Output {
            name: name.to_owned(),
            value: value.to_owned(),
        }
    }

    #[test]
    fn stronger_sources_win_and_an_empty_own_value_hides_nothing() {
        let values = resolve(
            &[
                Param::text("a", "global"),
                Param::text("b", "global"),
                Param::text("c", "global"),
                Param::text("d", "g"),
            ],
            &[output("b", "upstream"), output("c", "upstream")],
            &[
                Param::text("c", "own"),
                Param::text("d", ""),
                Param::text("e", ""),
            ],
            &[Param::text("a", "start")],
        );
        let expected = [
            ("a", "start"),
            ("b", "upstream"),
            ("c", "own"),
            ("d", "g"),
            ("e", ""),
        ];
        assert_eq!(
            values,
            expected.map(|(k, v)| (k.to_owned(), v.to_owned())).into()
        );
    }

    #[test]
    fn a_value_may_speak_of_others_but_not_of_itself() {
        let values = resolve(
            &[
                Param::text("day", "2026"),
                Param::text("path", "/in/${day}"),
                Param::text("x", "${y}"),
                Param::text("y", "${x}"),
            ],
            &[],
            &[],
            &[],
        );
        assert_eq!(values["path"], "/in/2026");
        assert_eq!(values["x"], "${x}");
    }

    #[test]
    fn unknown_names_and_broken_marks_stay_as_written() {
        let values = Values::from([("rows".to_owned(), "42".to_owned())]);
        assert_eq!(
            substitute("echo ${rows} ${HOME} '${setValue(rows=1)}' ${", &values),
            "echo 42 ${HOME} '${setValue(rows=1)}' ${"
        );
        assert_eq!(substitute("${a${rows}}", &values), "${a42}");
        assert_eq!(substitute("", &values), "");
    }

    #[test]
    fn values_that_multiply_each_other_stop_growing() {
        let mut bomb: Vec<Param> = (0..20)
            .map(|n| Param::text(format!("p{n}"), format!("${{p{}}}", n + 1).repeat(10)))
            .collect();
        bomb.push(Param::text("p20", "x".repeat(100)));
        let values = resolve(&bomb, &[], &[], &[]);
        assert!(values["p0"].len() < 2 * MOST_EXPANDED);
        assert_eq!(values["p19"], "x".repeat(1_000));
    }

    #[test]
    fn a_long_chain_of_values_stays_as_written_where_it_gets_too_deep() {
        let mut chain: Vec<Param> = (0..10_000)
            .map(|n| Param::text(format!("p{n}"), format!("${{p{}}}", n + 1)))
            .collect();
        chain.push(Param::text("p10000", "end"));
        let values = resolve(&chain, &[], &[], &[]);
        assert_eq!(values["p9990"], "end");
        assert_eq!(values["p0"], format!("${{p{}}}", DEEPEST + 1));
    }

    #[test]
    fn a_name_is_found_up_to_its_longest_and_not_beyond() {
        let longest = "é".repeat(127) + "x";
        let values = Values::from([(longest.clone(), "v".to_owned())]);
        assert_eq!(substitute(&format!("${{{longest}}}"), &values), "v");
        let open = "${é".repeat(1_000);
        assert_eq!(substitute(&open, &values), open);
    }

    #[test]
    fn the_first_value_that_is_not_empty_wins_between_predecessors() {
        let merged = merge([
            &[output("a", ""), output("b", "1")][..],
            &[output("a", "2"), output("b", "3")][..],
        ]);
        assert_eq!(merged, [output("a", "2"), output("b", "1")]);
        assert_eq!(
            pass_on(merged, &[output("b", "own"), output("c", "4")]),
            [output("a", "2"), output("b", "own"), output("c", "4")]
        );
    }
}
// STUB
pub struct Context<'a> { pub workflow: &'a str, pub workflow_code: u64, pub project: &'a str, pub instance: u64, pub task: &'a str, pub task_code: u64, pub task_instance: String, pub moment: crate::calendar::Moment }
pub fn builtins(_: &Context) -> Values { Values::new() }
pub fn render(t: &str, v: &Values, _m: &crate::calendar::Moment) -> String { substitute(t, v) }
pub fn combinations(_l: &[(String, Vec<String>)], _m: usize) -> Option<usize> { None }
pub fn combination(_l: &[(String, Vec<String>)], _i: usize) -> Vec<(String, String)> { vec![] }
pub fn split(v: &str, _s: &str, _f: &[String]) -> Vec<String> { vec![v.to_owned()] }
pub fn resolve_all(g: &[Param], u: &[Output], o: &[Param], s: &[Param], _b: &Values, _m: &crate::calendar::Moment) -> Values { resolve(g,u,o,s) }
