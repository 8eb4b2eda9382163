//! Where the domain's flaws lie in the file: its paths, followed to their line and column.

use crate::document::{Data, Mark, Node, join};

/// Where a path of [`domain::workflow_definition::Flaw`] lies in the file, and how the file would say it:
/// parameters are numbered there and named here.
pub(super) fn locate(root: &Node, path: &str) -> (Mark, String) {
    let mut node = root;
    let mut mark = root.mark;
    let mut shown = String::new();
    // The last step led to a parameter, whose name is its key.
    let mut named = false;
    for step in path.split(['.', '[']) {
        let was_named = std::mem::replace(&mut named, false);
        let index = step.strip_suffix(']').and_then(|n| n.parse::<usize>().ok());
        match (&node.data, index) {
            (Data::Sequence(items), Some(index)) if index < items.len() => {
                node = &items[index];
                mark = node.mark;
                shown = format!("{shown}[{index}]");
            }
            (Data::Mapping(entries), Some(index)) if index < entries.len() => {
                let (key, value) = &entries[index];
                named = true;
                mark = key.mark;
                node = value;
                if let Data::Scalar(_, name) = &key.data {
                    shown = join(&shown, name);
                }
            }
            (Data::Mapping(_), None) if was_named && step == "name" => break,
            (Data::Mapping(_), None) => {
                shown = join(&shown, step);
                // What is missing lies where it should stand.
                let Some((_, value)) = node.entry(step) else {
                    break;
                };
                node = value;
                mark = value.mark;
            }
            (Data::Scalar(..) | Data::Sequence(_) | Data::Mapping(_), _) => break,
        }
    }
    (mark, shown)
}
