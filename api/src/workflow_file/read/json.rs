//! A part of the file that is handed on as it is, as a JSON value.

use serde_json::{Map, Number, Value};

use crate::document::{Data, Fields, Kind, Node, join, short};

/// The value; what JSON cannot say is a flaw, and null takes its place.
pub(super) fn value(node: &Node, path: &str, fields: &mut Fields) -> Value {
    match &node.data {
        Data::Scalar(Kind::Null, _) => Value::Null,
        Data::Scalar(Kind::Boolean, text) => Value::Bool(text.eq_ignore_ascii_case("true")),
        Data::Scalar(Kind::Text, text) => Value::String(text.clone()),
        Data::Scalar(Kind::Integer | Kind::Float, text) => number(text).map_or_else(
            || {
                let problem = format!(
                    "JSON cannot keep the number {} as it is; write it in quotes",
                    short(text)
                );
                fields.flaw(node.mark, path, problem);
                Value::Null
            },
            Value::Number,
        ),
        Data::Sequence(items) => items
            .iter()
            .enumerate()
            .map(|(index, item)| value(item, &format!("{path}[{index}]"), fields))
            .collect(),
        Data::Mapping(_) => {
            let entries = fields.entries(node, path).into_iter();
            let read = entries.map(|(name, _, node)| {
                let place = join(path, name);
                (name.to_owned(), value(node, &place, fields))
            });
            Value::Object(read.collect::<Map<_, _>>())
        }
    }
}

/// Whole numbers exactly or not at all: an identifier of thirty digits must not lose its last ones.
fn number(text: &str) -> Option<Number> {
    let whole = text.parse::<u64>().map(Number::from);
    let whole = whole.or_else(|_| text.parse::<i64>().map(Number::from));
    if let Ok(number) = whole {
        return Some(number);
    }
    let has_fraction = text.contains(['.', 'e', 'E']);
    let number = text.parse().ok().filter(|_| has_fraction)?;
    Number::from_f64(number)
}
