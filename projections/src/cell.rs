//! One value of a row, on its way into a database or out of it.

/// One value of a row.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Cell {
    Null,
    Int(i64),
    Text(String),
}

/// An id or a code: the bits are kept.
impl From<u64> for Cell {
    fn from(id: u64) -> Self {
        Self::Int(id as i64)
    }
}

/// Databases hold no NUL character, and text that people wrote may.
impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        Self::Text(text.replace('\0', "\u{fffd}"))
    }
}

impl Cell {
    /// The number; none when there is none.
    pub(crate) fn as_int(&self) -> Option<i64> {
        match self {
            Self::Int(number) => Some(*number),
            Self::Null | Self::Text(_) => None,
        }
    }

    /// The text; none when there is none.
    pub(crate) fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Null | Self::Int(_) => None,
        }
    }

    /// The number; none when there is none.
    pub(crate) fn int(self) -> Option<i64> {
        match self {
            Self::Int(number) => Some(number),
            Self::Null | Self::Text(_) => None,
        }
    }

    /// The text; none when there is none.
    pub(crate) fn text(self) -> Option<String> {
        match self {
            Self::Text(text) => Some(text),
            Self::Null | Self::Int(_) => None,
        }
    }
}
