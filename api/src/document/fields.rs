//! Reading typed values out of a [`Node`], noting every flaw on the way instead of stopping at the first.
//! Knows what a list or a duration is, not what a task is.

use std::collections::HashSet;
use std::fmt::Display;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

use super::duration;
use super::flaw::{FileFlaw, Mark, short};
use super::suggest::did_you_mean;
use super::{Data, Kind, Node};

/// How many flaws are listed. A file with more of them is not a workflow with flaws.
const MOST: usize = 1_000;

/// The flaws found so far.
#[derive(Default)]
pub(crate) struct Fields {
    flaws: Vec<FileFlaw>,
    paths: HashSet<String>,
    /// How many were found beyond [`MOST`].
    unlisted: usize,
}

impl Fields {
    pub(crate) fn flaw(&mut self, mark: Mark, path: &str, problem: impl Into<String>) {
        if self.flaws.len() == MOST {
            self.unlisted += 1;
            return;
        }
        self.paths.insert(path.to_owned());
        self.flaws.push(FileFlaw::at(mark, path, problem));
    }

    /// Nothing is wrong so far.
    pub(crate) fn are_fine(&self) -> bool {
        self.flaws.is_empty()
    }

    /// There is a flaw at this path or above it; the root is above everything and says nothing.
    pub(crate) fn cover(&self, path: &str) -> bool {
        let ends = path.match_indices(['.', '[']).map(|(end, _)| end);
        ends.chain([path.len()])
            .any(|end| self.paths.contains(&path[..end]))
    }

    /// All flaws, in the order of the file.
    pub(crate) fn into_flaws(mut self) -> Vec<FileFlaw> {
        self.flaws.sort_by_key(|flaw| (flaw.line, flaw.column));
        if let (Some(last), more @ 1..) = (self.flaws.last(), self.unlisted) {
            let mark = Mark {
                line: last.line,
                column: last.column,
            };
            let problem = format!("and {more} more flaws, which are not listed");
            self.flaws.push(FileFlaw::at(mark, "", problem));
        }
        self.flaws
    }

    pub(crate) fn expected(&mut self, node: &Node, path: &str, expected: &str) {
        let found = match &node.data {
            Data::Scalar(Kind::Null, _) | Data::Sequence(_) | Data::Mapping(_) => {
                node.what().to_owned()
            }
            Data::Scalar(_, text) => format!("{} ({})", node.what(), short(text)),
        };
        self.flaw(
            node.mark,
            path,
            format!("expected {expected}, found {found}"),
        );
    }

    /// Checks that the node is a mapping whose keys are text, not repeated, and known (if it is known what
    /// may be known). Keys of `later` have a meaning that this version does not carry out: refused, never
    /// ignored.
    pub(crate) fn keys(
        &mut self,
        node: &Node,
        path: &str,
        known: Option<&[&str]>,
        later: &[&str],
    ) -> bool {
        let not_yet = |name: &str| {
            let is_later = later.contains(&name);
            is_later.then(|| format!("\"{name}\" is not supported yet"))
        };
        self.keys_but(node, path, known, &not_yet)
    }

    /// The same, where `misplaced` has a better word than "unknown" for some keys that are not known.
    pub(crate) fn keys_but(
        &mut self,
        node: &Node,
        path: &str,
        known: Option<&[&str]>,
        misplaced: &dyn Fn(&str) -> Option<String>,
    ) -> bool {
        let Data::Mapping(entries) = &node.data else {
            self.expected(node, path, "a mapping");
            return false;
        };
        let mut seen = HashSet::new();
        for (key, _) in entries {
            let Some(name) = self.key(key, path) else {
                continue;
            };
            let problem = if !seen.insert(name) {
                format!("the key \"{}\" is given twice", short(name))
            } else if name == "<<" {
                "merge keys (<<) are not supported; write the keys out".to_owned()
            } else if known.is_some_and(|known| known.contains(&name)) {
                continue;
            } else if let Some(problem) = misplaced(name) {
                problem
            } else if let Some(known) = known {
                // Guessing takes time, and is wasted on a flaw that is not listed.
                let hint = if self.flaws.len() < MOST {
                    did_you_mean(name, known)
                } else {
                    String::new()
                };
                format!("unknown key \"{}\"{hint}", short(name))
            } else {
                continue;
            };
            self.flaw(key.mark, &join(path, name), problem);
        }
        true
    }

    /// The entries of a mapping whose keys the author chooses.
    pub(crate) fn entries<'n>(
        &mut self,
        node: &'n Node,
        path: &str,
    ) -> Vec<(&'n str, &'n Node, &'n Node)> {
        let Data::Mapping(entries) = &node.data else {
            self.expected(node, path, "a mapping of names to values");
            return Vec::new();
        };
        let mut seen = HashSet::new();
        let mut found = Vec::with_capacity(entries.len());
        for (key, value) in entries {
            let Some(name) = self.key(key, path) else {
                continue;
            };
            if seen.insert(name) {
                found.push((name, key, value));
            } else {
                let problem = format!("the key \"{}\" is given twice", short(name));
                self.flaw(key.mark, &join(path, name), problem);
            }
        }
        found
    }

    /// Numbers and booleans are welcome as keys: a parameter may be called `2024`.
    fn key<'n>(&mut self, key: &'n Node, path: &str) -> Option<&'n str> {
        match &key.data {
            Data::Scalar(Kind::Null, text) if text.is_empty() => {}
            Data::Scalar(_, text) => return Some(text),
            Data::Sequence(_) | Data::Mapping(_) => {}
        }
        let problem = format!("expected a key of text, found {}", key.what());
        self.flaw(key.mark, path, problem);
        None
    }

    /// Text. A number or a boolean is a flaw, but is read as it is written, so that it causes no other flaw.
    pub(crate) fn text(&mut self, node: &Node, path: &str) -> Option<String> {
        match &node.data {
            Data::Scalar(Kind::Text, text) => Some(text.clone()),
            Data::Scalar(Kind::Boolean | Kind::Integer | Kind::Float, text) => {
                let problem = format!(
                    "expected text, found {}; write it in quotes: \"{}\"",
                    node.what(),
                    short(text)
                );
                self.flaw(node.mark, path, problem);
                Some(text.clone())
            }
            Data::Scalar(Kind::Null, _) | Data::Sequence(_) | Data::Mapping(_) => {
                self.expected(node, path, "text");
                None
            }
        }
    }

    /// A value: text, or a number or a boolean as it is written.
    pub(crate) fn value(&mut self, node: &Node, path: &str) -> Option<String> {
        match &node.data {
            Data::Scalar(Kind::Text | Kind::Boolean | Kind::Integer | Kind::Float, text) => {
                Some(text.clone())
            }
            Data::Scalar(Kind::Null, _) => {
                self.flaw(node.mark, path, "has no value; write \"\" for an empty one");
                None
            }
            Data::Sequence(_) | Data::Mapping(_) => {
                self.expected(node, path, "text, a number or a boolean");
                None
            }
        }
    }

    pub(crate) fn integer<T: FromStr + PartialOrd + Display>(
        &mut self,
        node: &Node,
        path: &str,
        range: RangeInclusive<T>,
    ) -> Option<T> {
        if let Data::Scalar(Kind::Integer, text) = &node.data
            && let Ok(number) = text.parse()
            && range.contains(&number)
        {
            return Some(number);
        }
        let expected = format!("an integer from {} to {}", range.start(), range.end());
        self.expected(node, path, &expected);
        None
    }

    pub(crate) fn flag(&mut self, node: &Node, path: &str) -> Option<bool> {
        if let Data::Scalar(Kind::Boolean, text) = &node.data {
            return Some(text.eq_ignore_ascii_case("true"));
        }
        self.expected(node, path, "true or false");
        None
    }

    pub(crate) fn duration(&mut self, node: &Node, path: &str) -> Option<Duration> {
        if let Data::Scalar(_, text) = &node.data
            && let Some(span) = duration::parse(text)
        {
            return Some(span);
        }
        self.expected(node, path, duration::EXPECTED);
        None
    }

    /// One of some names.
    pub(crate) fn choice<T: Copy>(
        &mut self,
        node: &Node,
        path: &str,
        choices: &[(&str, T)],
    ) -> Option<T> {
        let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
        if let Data::Scalar(Kind::Text, text) = &node.data {
            let chosen = choices.iter().find(|(name, _)| name == text);
            if chosen.is_none() {
                let problem = format!(
                    "\"{}\" is not one of {}{}",
                    short(text),
                    names.join(", "),
                    did_you_mean(text, &names)
                );
                self.flaw(node.mark, path, problem);
            }
            return chosen.map(|(_, value)| *value);
        }
        self.expected(node, path, &format!("one of {}", names.join(", ")));
        None
    }

    pub(crate) fn list<'n>(
        &mut self,
        node: &'n Node,
        path: &str,
        expected: &str,
    ) -> Option<&'n [Node]> {
        if let Data::Sequence(items) = &node.data {
            return Some(items);
        }
        self.expected(node, path, expected);
        None
    }

    /// A list of names.
    pub(crate) fn names(&mut self, node: &Node, path: &str, expected: &str) -> Vec<String> {
        if let Data::Scalar(Kind::Text, name) = &node.data {
            // Read as a list of one, so that it causes no other flaw.
            let problem = format!("expected {expected}; write [{}]", short(name));
            self.flaw(node.mark, path, problem);
            return vec![name.clone()];
        }
        let items = self.list(node, path, expected).unwrap_or(&[]);
        let texts = items.iter().enumerate();
        texts
            .filter_map(|(index, item)| self.text(item, &format!("{path}[{index}]")))
            .collect()
    }
}

/// The path of a key under a path.
pub(crate) fn join(path: &str, key: &str) -> String {
    let key = short(key);
    if path.is_empty() {
        key
    } else {
        format!("{path}.{key}")
    }
}
