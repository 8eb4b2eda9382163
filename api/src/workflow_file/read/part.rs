//! A mapping of the file, asked for its keys by name.

use std::time::Duration;

use crate::document::{Data, Fields, Kind, Node, join};

/// A mapping and its path. Of a node that is no mapping, every key is absent.
#[derive(Clone, Copy)]
pub(super) struct Part<'n> {
    pub(super) node: &'n Node,
    pub(super) path: &'n str,
}

impl<'n> Part<'n> {
    /// The value of a key, and its path.
    pub(super) fn at(self, key: &str) -> Option<(&'n Node, String)> {
        let (_, value) = self.node.entry(key)?;
        Some((value, join(self.path, key)))
    }

    /// The value of a key that must be there; `absent` says what is wrong when it is not.
    pub(super) fn needed(
        self,
        key: &str,
        absent: &str,
        fields: &mut Fields,
    ) -> Option<(&'n Node, String)> {
        let found = self.at(key);
        if found.is_none() {
            let problem = format!("{absent}; add `{key}: ...`");
            fields.flaw(self.node.mark, &join(self.path, key), problem);
        }
        found
    }

    /// Text that must be there; empty when it is not, so that the rest can be read.
    pub(super) fn needed_text(self, key: &str, absent: &str, fields: &mut Fields) -> String {
        self.needed(key, absent, fields)
            .and_then(|(value, place)| fields.text(value, &place))
            .unwrap_or_default()
    }

    pub(super) fn text(self, key: &str, fields: &mut Fields) -> Option<String> {
        let (value, place) = self.at(key)?;
        fields.text(value, &place)
    }

    /// False when it is not there.
    pub(super) fn flag(self, key: &str, fields: &mut Fields) -> bool {
        self.at(key)
            .and_then(|(value, place)| fields.flag(value, &place))
            .unwrap_or_default()
    }

    pub(super) fn duration(self, key: &str, fields: &mut Fields) -> Option<Duration> {
        let (value, place) = self.at(key)?;
        fields.duration(value, &place)
    }

    pub(super) fn choice<T: Copy>(
        self,
        key: &str,
        choices: &[(&str, T)],
        fields: &mut Fields,
    ) -> Option<T> {
        let (value, place) = self.at(key)?;
        fields.choice(value, &place, choices)
    }

    /// A number from 1 on.
    pub(super) fn count(self, key: &str, fields: &mut Fields) -> Option<u32> {
        let (value, place) = self.at(key)?;
        fields.integer(value, &place, 1..=u32::MAX)
    }

    /// A list of names, or one of them; none when it is not there.
    pub(super) fn one_or_more(self, key: &str, fields: &mut Fields) -> Vec<String> {
        match self.at(key) {
            None => Vec::new(),
            Some((value, place)) => match &value.data {
                Data::Scalar(Kind::Text, name) => vec![name.clone()],
                Data::Scalar(..) | Data::Sequence(_) | Data::Mapping(_) => {
                    fields.names(value, &place, "a name or a list of names")
                }
            },
        }
    }
}
