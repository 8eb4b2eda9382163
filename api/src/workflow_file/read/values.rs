//! The values of a DYNAMIC task: a list of `{name, value, separator, filter}`, or short `{name: "a,b"}` and
//! `{name: [a, b]}`.

use domain::workflow_definition::DynamicValues;

use super::part::Part;
use crate::document::{Data, Fields, Node, join};
use crate::workflow_file::defaults;

/// What may separate values that are given as a list: the first that none of them contains.
const SEPARATORS: [&str; 5] = [defaults::SEPARATOR, ";", "|", "\n", "\u{1f}"];

/// The values of all parameters.
pub(super) fn values(of: Part<'_>, fields: &mut Fields) -> Vec<DynamicValues> {
    let absent = "a DYNAMIC task needs at least one parameter with its values";
    let Some((node, path)) = of.needed("values", absent, fields) else {
        return Vec::new();
    };
    match &node.data {
        Data::Sequence(items) => items
            .iter()
            .enumerate()
            .map(|(index, item)| long(item, &format!("{path}[{index}]"), fields))
            .collect(),
        Data::Mapping(_) => fields
            .entries(node, &path)
            .into_iter()
            .map(|(name, _, value)| short(name, value, &join(&path, name), fields))
            .collect(),
        Data::Scalar(..) => {
            let expected =
                "a mapping of parameters to their values, such as {region: [north, south]}";
            fields.expected(node, &path, expected);
            Vec::new()
        }
    }
}

fn long(node: &Node, path: &str, fields: &mut Fields) -> DynamicValues {
    fields.keys(
        node,
        path,
        Some(&["name", "value", "separator", "filter"]),
        &[],
    );
    let part = Part { node, path };
    let value = part
        .needed("value", "says not which values", fields)
        .and_then(|(value, place)| fields.value(value, &place));
    DynamicValues {
        name: part.needed_text("name", "says not which parameter", fields),
        value: value.unwrap_or_default(),
        separator: part
            .text("separator", fields)
            .unwrap_or_else(|| defaults::SEPARATOR.to_owned()),
        filter: filter(part, fields),
    }
}

/// One value or several.
fn filter(of: Part<'_>, fields: &mut Fields) -> Vec<String> {
    match of.at("filter") {
        None => Vec::new(),
        Some((node, path)) => match &node.data {
            Data::Sequence(items) => texts(items, &path, fields),
            Data::Scalar(..) | Data::Mapping(_) => fields.value(node, &path).into_iter().collect(),
        },
    }
}

fn short(name: &str, node: &Node, path: &str, fields: &mut Fields) -> DynamicValues {
    let (value, separator) = match &node.data {
        Data::Sequence(items) => joined(node, items, path, fields),
        Data::Scalar(..) | Data::Mapping(_) => (
            fields.value(node, path).unwrap_or_default(),
            defaults::SEPARATOR,
        ),
    };
    DynamicValues {
        name: name.to_owned(),
        value,
        separator: separator.to_owned(),
        filter: Vec::new(),
    }
}

fn joined(node: &Node, items: &[Node], path: &str, fields: &mut Fields) -> (String, &'static str) {
    let texts = texts(items, path, fields);
    let apart = |separator: &&str| texts.iter().all(|text| !text.contains(separator));
    if let Some(separator) = SEPARATORS.into_iter().find(apart) {
        return (texts.join(separator), separator);
    }
    let problem = "these values contain every separator; use the form {name, value, separator}";
    fields.flaw(node.mark, path, problem);
    (String::new(), defaults::SEPARATOR)
}

fn texts(items: &[Node], path: &str, fields: &mut Fields) -> Vec<String> {
    let items = items.iter().enumerate();
    items
        .filter_map(|(index, item)| fields.value(item, &format!("{path}[{index}]")))
        .collect()
}
