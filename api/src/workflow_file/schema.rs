//! The JSON Schema of a workflow file, for editors. The reader does not use it; a test holds the two to
//! the same examples.

/// JSON Schema, draft 2020-12.
pub const SCHEMA: &str = include_str!("schema.json");

#[cfg(test)]
mod tests {
    use serde_json::{Map, Value};

    use super::super::{read, tests::WHOLE};
    use super::SCHEMA;
    use crate::document::{Data, Kind, Node, load};

    fn value(node: &Node) -> Value {
        match &node.data {
            Data::Scalar(Kind::Null, _) => Value::Null,
            Data::Scalar(Kind::Boolean, text) => Value::Bool(text == "true"),
            Data::Scalar(Kind::Integer | Kind::Float, text) => {
                text.parse().map(Value::Number).unwrap()
            }
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
        let root: Value = serde_json::from_str(SCHEMA).unwrap();
        let Value::Object(keywords) = schema else {
            panic!("{schema} is no schema")
        };
        keywords
            .iter()
            .all(|(keyword, wanted)| match keyword.as_str() {
                "$schema" | "$id" | "$defs" | "title" | "description" | "then" | "else" => true,
                "$ref" => {
                    let place = wanted.as_str().unwrap().strip_prefix('#').unwrap();
                    admits(root.pointer(place).unwrap(), value)
                }
                "type" => match wanted.as_array() {
                    Some(kinds) => kinds.iter().any(|kind| is(kind, value)),
                    None => is(wanted, value),
                },
                "enum" => wanted.as_array().unwrap().contains(value),
                "const" => wanted == value,
                "required" => value.as_object().is_none_or(|object| {
                    wanted
                        .as_array()
                        .unwrap()
                        .iter()
                        .all(|key| object.contains_key(key.as_str().unwrap()))
                }),
                "properties" => object(value)
                    .iter()
                    .all(|(key, value)| wanted.get(key).is_none_or(|schema| admits(schema, value))),
                "additionalProperties" => {
                    let known = keywords.get("properties").map(object).unwrap_or_default();
                    object(value)
                        .iter()
                        .filter(|(key, _)| !known.contains_key(*key))
                        .all(|(_, value)| wanted.as_bool().unwrap_or_else(|| admits(wanted, value)))
                }
                "propertyNames" => object(value)
                    .keys()
                    .all(|key| admits(wanted, &Value::String(key.clone()))),
                "items" => value
                    .as_array()
                    .is_none_or(|items| items.iter().all(|item| admits(wanted, item))),
                "minItems" => value
                    .as_array()
                    .is_none_or(|items| items.len() as u64 >= wanted.as_u64().unwrap()),
                "maxItems" => value
                    .as_array()
                    .is_none_or(|items| items.len() as u64 <= wanted.as_u64().unwrap()),
                "minLength" => value
                    .as_str()
                    .is_none_or(|text| text.chars().count() as u64 >= wanted.as_u64().unwrap()),
                "maxLength" => value
                    .as_str()
                    .is_none_or(|text| text.chars().count() as u64 <= wanted.as_u64().unwrap()),
                "minimum" => value
                    .as_u64()
                    .is_none_or(|number| number >= wanted.as_u64().unwrap()),
                "maximum" => value
                    .as_u64()
                    .is_none_or(|number| number <= wanted.as_u64().unwrap()),
                "anyOf" => wanted
                    .as_array()
                    .unwrap()
                    .iter()
                    .any(|schema| admits(schema, value)),
                "not" => !admits(wanted, value),
                "if" => admits(
                    &keywords[if admits(wanted, value) {
                        "then"
                    } else {
                        "else"
                    }],
                    value,
                ),
                "pattern" => value
                    .as_str()
                    .is_none_or(|text| match wanted.as_str().unwrap() {
                        "\\S" => text.chars().any(|c| !c.is_whitespace()),
                        "^[0-9]+(ms|s|m|h)$" => {
                            let unit = text.trim_start_matches(|c: char| c.is_ascii_digit());
                            unit.len() < text.len() && ["ms", "s", "m", "h"].contains(&unit)
                        }
                        other => panic!("the test does not know the pattern {other}"),
                    }),
                other => panic!("the test does not know the keyword {other}"),
            })
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

    fn object(value: &Value) -> Map<String, Value> {
        value.as_object().cloned().unwrap_or_default()
    }

    fn schema_admits(file: &str) -> bool {
        let schema = serde_json::from_str(SCHEMA).unwrap();
        admits(&schema, &value(&load(file).unwrap()))
    }

    #[test]
    fn the_schema_admits_what_the_reader_reads() {
        assert!(read(WHOLE.as_bytes()).is_ok() && schema_admits(WHOLE));
        let examples = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples");
        let mut seen = 0;
        for entry in std::fs::read_dir(examples).unwrap() {
            let path = entry.unwrap().path();
            if path
                .extension()
                .is_some_and(|extension| extension == "yaml")
            {
                let file = std::fs::read_to_string(&path).unwrap();
                let flaws = read(file.as_bytes()).err();
                assert_eq!(flaws, None, "{}", path.display());
                assert!(schema_admits(&file), "{}", path.display());
                seen += 1;
            }
        }
        assert!(seen > 0, "there are no examples");
    }

    #[test]
    fn the_schema_refuses_what_the_reader_refuses_for_its_shape() {
        for file in [
            "tasks: [{name: a, run: x}]",
            "name: w",
            "name: w\ntasks: []",
            "name: w\nnam: v\ntasks: [{name: a, run: x}]",
            "name: w\nexecution: SERIAL_WAIT\ntasks: [{name: a, run: x}]",
            "name: w\nparams: {p: {direct: OUT}}\ntasks: [{name: a, run: x}]",
            "name: w\nparams: {p: [1]}\ntasks: [{name: a, run: x}]",
            "name: w\ntasks: [{name: a}]",
            "name: w\ntasks: [{name: a, run: ' '}]",
            "name: w\ntasks: [{name: a, type: NOOP, run: x}]",
            "name: w\ntasks: [{name: a, type: PYTHON, run: x}]",
            "name: w\ntasks: [{name: '', run: x}]",
            "name: w\ntasks: [{name: a, run: x, timeout: 5s}]",
            "name: w\ntasks: [{name: a, run: x, code: 0}]",
            "name: w\ntasks: [{name: a, run: x, priority: high}]",
            "name: w\ntasks: [{name: a, run: x, retry: {interval: 5s}}]",
            "name: w\ntasks: [{name: a, run: x, retry: {times: 1, interval: 5}}]",
            "name: w\ntasks: [{name: a, run: x, retry: {times: 1, interval: 5d}}]",
            "name: w\ntasks: [{name: a, run: x, depends_on: b}]",
            "name: w\ntasks: [{name: a, run: x, params: {p: {direct: INOUT}}}]",
        ] {
            assert!(read(file.as_bytes()).is_err(), "the reader reads {file}");
            assert!(!schema_admits(file), "the schema admits {file}");
        }
    }
}
