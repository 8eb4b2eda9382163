//! The schema against the reader: on every example, and on files that both must refuse.

use std::collections::HashSet;
use std::path::Path;
use std::sync::LazyLock;

use serde_json::{Map, Value};

use super::super::{read, tests::WHOLE};
use super::SCHEMA;
use crate::document::{Data, Kind, Node, load};

static ROOT: LazyLock<Value> = LazyLock::new(|| serde_json::from_str(SCHEMA).unwrap());

/// Whether the schema admits a file.
pub(in crate::workflow_file) fn schema_admits(file: &str) -> bool {
    admits(&ROOT, &value(&load(file).unwrap()))
}

fn value(node: &Node) -> Value {
    match &node.data {
        Data::Scalar(Kind::Null, _) => Value::Null,
        Data::Scalar(Kind::Boolean, text) => Value::Bool(text == "true"),
        Data::Scalar(Kind::Integer | Kind::Float, text) => text.parse().map(Value::Number).unwrap(),
        Data::Scalar(Kind::Text, text) => Value::String(text.clone()),
        Data::Sequence(items) => items.iter().map(value).collect(),
        Data::Mapping(entries) => Value::Object(
            entries
                .iter()
                .map(|(key, node)| match &key.data {
                    Data::Scalar(_, key) => (key.clone(), value(node)),
                    Data::Sequence(_) | Data::Mapping(_) => panic!("a key that is no text"),
                })
                .collect(),
        ),
    }
}

/// As much of JSON Schema as the schema uses; a keyword it does not know is an error of the test.
fn admits(schema: &Value, value: &Value) -> bool {
    let Value::Object(keywords) = schema else {
        panic!("{schema} is no schema")
    };
    keywords.iter().all(|(keyword, wanted)| {
        let all = |schemas: &Value| schemas.as_array().unwrap().clone();
        match keyword.as_str() {
            "$schema" | "$id" | "$defs" | "title" | "description" | "then" => true,
            "$ref" => {
                let place = wanted.as_str().unwrap().strip_prefix('#').unwrap();
                admits(ROOT.pointer(place).unwrap(), value)
            }
            "type" => match wanted.as_array() {
                Some(kinds) => kinds.iter().any(|kind| is(kind, value)),
                None => is(wanted, value),
            },
            "enum" => all(wanted).contains(value),
            "const" => wanted == value,
            "allOf" => all(wanted).iter().all(|schema| admits(schema, value)),
            "anyOf" => all(wanted).iter().any(|schema| admits(schema, value)),
            "not" => !admits(wanted, value),
            "if" => !admits(wanted, value) || admits(&keywords["then"], value),
            other => match value {
                Value::Object(value) => admits_object(other, wanted, keywords, value),
                Value::Array(items) => admits_array(other, wanted, items),
                Value::String(text) => admits_text(other, wanted, text),
                Value::Number(number) => match other {
                    "minimum" => number.as_f64() >= wanted.as_f64(),
                    "maximum" => number.as_f64() <= wanted.as_f64(),
                    other => is_of_other_kinds(other),
                },
                Value::Null | Value::Bool(_) => is_of_other_kinds(other),
            },
        }
    })
}

fn admits_object(
    keyword: &str,
    wanted: &Value,
    keywords: &Map<String, Value>,
    value: &Map<String, Value>,
) -> bool {
    match keyword {
        "required" => {
            let keys = wanted.as_array().unwrap();
            keys.iter()
                .all(|key| value.contains_key(key.as_str().unwrap()))
        }
        "properties" => value
            .iter()
            .all(|(key, value)| wanted.get(key).is_none_or(|schema| admits(schema, value))),
        "additionalProperties" => {
            let known = keywords.get("properties");
            value
                .iter()
                .filter(|(key, _)| known.is_none_or(|known| known.get(key).is_none()))
                .all(|(_, value)| wanted.as_bool().unwrap_or_else(|| admits(wanted, value)))
        }
        "propertyNames" => value
            .keys()
            .all(|key| admits(wanted, &Value::String(key.clone()))),
        "minProperties" => value.len() as u64 >= wanted.as_u64().unwrap(),
        other => is_of_other_kinds(other),
    }
}

fn admits_array(keyword: &str, wanted: &Value, items: &[Value]) -> bool {
    match keyword {
        "items" => items.iter().all(|item| admits(wanted, item)),
        "minItems" => items.len() as u64 >= wanted.as_u64().unwrap(),
        "maxItems" => items.len() as u64 <= wanted.as_u64().unwrap(),
        "uniqueItems" => {
            let different: HashSet<String> = items.iter().map(Value::to_string).collect();
            different.len() == items.len()
        }
        other => is_of_other_kinds(other),
    }
}

fn admits_text(keyword: &str, wanted: &Value, text: &str) -> bool {
    match keyword {
        "minLength" => text.chars().count() as u64 >= wanted.as_u64().unwrap(),
        "maxLength" => text.chars().count() as u64 <= wanted.as_u64().unwrap(),
        "pattern" => regex::Regex::new(wanted.as_str().unwrap())
            .unwrap()
            .is_match(text),
        other => is_of_other_kinds(other),
    }
}

/// What is said of other kinds of values admits this one.
fn is_of_other_kinds(keyword: &str) -> bool {
    let known = [
        "required",
        "properties",
        "additionalProperties",
        "propertyNames",
        "minProperties",
        "items",
        "minItems",
        "maxItems",
        "uniqueItems",
        "minLength",
        "maxLength",
        "pattern",
        "minimum",
        "maximum",
    ];
    assert!(
        known.contains(&keyword),
        "the test does not know the keyword {keyword}"
    );
    true
}

fn is(kind: &Value, value: &Value) -> bool {
    match kind.as_str().unwrap() {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "number" => value.is_number(),
        "integer" => value.is_u64() || value.is_i64(),
        "boolean" => value.is_boolean(),
        other => panic!("the test does not know the type {other}"),
    }
}

/// Every file below the folder, as (where, what it says).
fn examples(folder: &Path) -> Vec<(String, String)> {
    let entries = std::fs::read_dir(folder).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    paths
        .flat_map(|path| {
            if path.is_dir() {
                return examples(&path);
            }
            if path.extension().is_none_or(|extension| extension != "yaml") {
                return Vec::new();
            }
            let text = std::fs::read_to_string(&path).unwrap();
            vec![(path.display().to_string(), text)]
        })
        .collect()
}

/// Every YAML block of the page about the format, made whole: it shows a workflow, tasks of one, or
/// parameters.
fn blocks(page: &str) -> Vec<(String, String)> {
    let blocks = page.split("```yaml\n").skip(1);
    blocks
        .map(|rest| {
            let block = rest.split("```").next().unwrap();
            let file = if block.starts_with("params:") {
                format!("name: w\n{block}tasks: [{{name: a, type: NOOP}}]\n")
            } else if block.starts_with("- ") {
                format!("name: w\ntasks:\n{block}")
            } else {
                block.to_owned()
            };
            (block.to_owned(), file)
        })
        .collect()
}

#[test]
fn the_schema_admits_what_the_reader_reads() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let page = std::fs::read_to_string(root.join("docs/workflow-format.md")).unwrap();
    let (examples, blocks) = (examples(&root.join("examples")), blocks(&page));
    assert!(!examples.is_empty() && !blocks.is_empty());
    let whole = ("the whole".to_owned(), WHOLE.to_owned());
    for (place, file) in examples.into_iter().chain(blocks).chain([whole]) {
        assert_eq!(read(file.as_bytes()).err(), None, "{place}");
        assert!(schema_admits(&file), "{place}");
    }
}

/// Refused by both, for reasons that a schema can say.
#[test]
fn the_schema_refuses_what_the_reader_refuses_for_its_shape() {
    for file in [
        "tasks: [{name: a, run: x}]",
        "name: w",
        "name: w\ntasks: []",
        "name: w\nnam: v\ntasks: [{name: a, run: x}]",
        "name: w\nexecution: SERIAL\ntasks: [{name: a, run: x}]",
        "name: w\ntimeout: 0h\ntasks: [{name: a, run: x}]",
        "name: w\nparams: {p: [1]}\ntasks: [{name: a, run: x}]",
    ] {
        refused(file);
    }
    for task in [
        "name: a",
        "name: '', run: x",
        "name: a, run: ' '",
        "name: a, run: x, timeout: 5s",
        "name: a, run: x, timeout: {strategy: WARN}",
        "name: a, run: x, timeout: {after: 0s}",
        "name: a, run: x, timeout: {after: 1s, strategy: KILL}",
        "name: a, run: x, delay: 5",
        "name: a, run: x, dispatch_timeout: 0ms",
        "name: a, run: x, environment: ''",
        "name: a, run: x, task_group: {priority: 1}",
        "name: a, run: x, task_group: {name: g, priority: 1.5}",
        "name: a, run: x, forbidden: 'true'",
        "name: a, run: x, code: 0",
        "name: a, run: x, priority: high",
        "name: a, run: x, retry: {interval: 5s}",
        "name: a, run: x, retry: {times: 1, interval: 5}",
        "name: a, run: x, retry: {times: 1, interval: 5d}",
        "name: a, run: x, depends_on: b",
        "name: a, run: x, params: {p: {direct: INOUT}}",
        "name: a, run: x, url: 'http://x'",
        "name: a, type: NOOP, run: x",
        "name: a, type: COBOL, run: x",
        "name: a, type: PYTHON",
        "name: a, type: PYTHON, run: x, warm: 1",
        "name: a, type: HTTP",
        "name: a, type: HTTP, url: 'ftp://x'",
        "name: a, type: HTTP, url: 'http://x', method: 'G T'",
        "name: a, type: HTTP, url: 'http://x', expect_status: [20]",
        "name: a, type: HTTP, url: 'http://x', headers: {'a b': c}",
        "name: a, type: SQL, connection: c",
        "name: a, type: SQL, connection: c, statement: s, run: s",
        "name: a, type: PLUGIN, plugin: ../p",
        "name: a, type: CONDITIONS, when: {task: b, is: SUCCESS}",
        "name: a, type: CONDITIONS, when: {all: []}, success: b",
        "name: a, type: CONDITIONS, when: {task: b, is: KILL}, success: b",
        "name: a, type: CONDITIONS, when: [{task: b, is: SUCCESS}], success: b",
        "name: a, type: SWITCH, cases: []",
        "name: a, type: SWITCH, cases: [{if: 'true'}]",
        "name: a, type: SUB_WORKFLOW",
        "name: a, type: SUB_WORKFLOW, workflow: w, cache: true",
        "name: a, type: SUB_WORKFLOW, workflow: w, retry: {times: 1}",
        "name: a, type: SUB_WORKFLOW, workflow: w, environment: prod",
        "name: a, type: DEPENDENT, when: {task: b, is: SUCCESS}",
        "name: a, type: DEPENDENT, when: {workflow: b, cycle: year, value: today}",
        "name: a, type: DEPENDENT, when: {workflow: b, cycle: day, value: lastMonday}",
        "name: a, type: DEPENDENT, when: {workflow: b, cycle: day, value: today}, check_interval: 0s",
        "name: a, type: DYNAMIC, workflow: w",
        "name: a, type: DYNAMIC, workflow: w, values: {}",
        "name: a, type: DYNAMIC, workflow: w, values: {p: []}",
        "name: a, type: DYNAMIC, workflow: w, values: [{name: p}]",
        "name: a, type: DYNAMIC, workflow: w, values: {p: 'a,b'}, parallelism: 0",
        "name: a, type: BLOCKING, when: {task: b, is: SUCCESS}, block_on: MAYBE",
    ] {
        refused(&format!(
            "name: w\ntasks:\n  - {{name: b, type: NOOP}}\n  - {{{task}}}"
        ));
    }
}

fn refused(file: &str) {
    assert!(read(file.as_bytes()).is_err(), "the reader reads {file}");
    assert!(!schema_admits(file), "the schema admits {file}");
}

#[test]
fn the_schema_knows_the_values_of_every_cycle() {
    let cycles = ROOT.pointer("/$defs/Upstream/allOf").unwrap();
    let mut seen = 0;
    for rule in cycles.as_array().unwrap() {
        let text = |pointer: &str| rule.pointer(pointer).unwrap().clone();
        let cycle = text("/if/properties/cycle/const");
        for value in text("/then/properties/value/enum").as_array().unwrap() {
            let (cycle, value) = (cycle.as_str().unwrap(), value.as_str().unwrap());
            assert_eq!(domain::calendar::known_value(cycle, value), Ok(()));
            seen += 1;
        }
    }
    assert_eq!(seen, 25);
}
