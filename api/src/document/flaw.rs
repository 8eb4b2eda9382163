//! What is wrong with a file, and where.

use std::fmt;

use serde::Serialize;

/// A place in a file, counted from 1 as editors do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Mark {
    pub(crate) line: usize,
    pub(crate) column: usize,
}

impl Mark {
    pub(crate) const START: Self = Self { line: 1, column: 1 };

    pub(crate) fn of(marker: saphyr::Marker) -> Self {
        Self {
            line: marker.line().max(1),
            column: marker.col() + 1,
        }
    }
}

/// Something wrong with a workflow file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FileFlaw {
    /// Where, for people: `line 12, column 5 (tasks[2].depends_on[0])`.
    pub place: String,
    /// The path into the document, for example `tasks[2].depends_on[0]`; empty for the file itself.
    pub path: String,
    /// The line, from 1.
    pub line: usize,
    /// The column, in characters, from 1.
    pub column: usize,
    /// What is wrong and what was expected, as a sentence.
    pub problem: String,
}

impl FileFlaw {
    pub(crate) fn at(mark: Mark, path: &str, problem: impl Into<String>) -> Self {
        let Mark { line, column } = mark;
        let place = if path.is_empty() {
            format!("line {line}, column {column}")
        } else {
            format!("line {line}, column {column} ({path})")
        };
        Self {
            place,
            path: path.to_owned(),
            line,
            column,
            problem: problem.into(),
        }
    }
}

impl fmt::Display for FileFlaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.problem)
    }
}

/// At most forty characters of a text, on one line: a flaw quotes the file, it does not repeat it.
pub(crate) fn short(text: &str) -> String {
    let line = text.lines().next().unwrap_or_default();
    let mut out: String = line.chars().take(40).collect();
    if out.len() < text.len() {
        out.push_str("...");
    }
    out
}
