//! Parameters in either form: `name: value`, or `name: {direct, type, value}`.

use domain::workflow_definition::{Direction, Param};

use super::part::Part;
use crate::document::{Data, Fields, Node, join};

const DIRECTIONS: [(&str, Direction); 2] = [("IN", Direction::In), ("OUT", Direction::Out)];

/// Those of a workflow or a task; none when it has no such key.
pub(super) fn params(of: Part<'_>, fields: &mut Fields) -> Vec<Param> {
    let Some((node, path)) = of.at("params") else {
        return Vec::new();
    };
    let mut params = Vec::new();
    for (name, _, value) in fields.entries(node, &path) {
        let place = join(&path, name);
        params.push(match &value.data {
            Data::Mapping(_) => long(name, value, &place, fields),
            Data::Scalar(..) | Data::Sequence(_) => {
                Param::text(name, fields.value(value, &place).unwrap_or_default())
            }
        });
    }
    params
}

fn long(name: &str, node: &Node, path: &str, fields: &mut Fields) -> Param {
    fields.keys(node, path, Some(&["direct", "type", "value"]), &[]);
    let part = Part { node, path };
    let types = Param::TYPES.map(|name| (name, name));
    let type_name = part.choice("type", &types, fields);
    let value = part
        .at("value")
        .and_then(|(value, place)| fields.value(value, &place));
    Param {
        name: name.to_owned(),
        direct: part
            .choice("direct", &DIRECTIONS, fields)
            .unwrap_or_default(),
        type_name: type_name.unwrap_or(Param::VARCHAR).to_owned(),
        value: value.unwrap_or_default(),
    }
}
