//! What expressions reckon with, and what operators make of it.

use std::cmp::Ordering;
use std::fmt;

use super::number::{Number, Sum};
use crate::calendar::shortened;

/// No text grows longer than this, in bytes: an expression may join long values many times.
const LONGEST_TEXT: usize = 1024 * 1024;

/// A value of one of the kinds that JavaScript knows.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    Number(Number),
    Truth(bool),
    Text(String),
}

/// An operator that looks at both its operands.
#[derive(Clone, Copy, Debug)]
pub(super) enum Operator {
    /// `==`, or its opposite.
    Equal(bool),
    /// `===`, or its opposite.
    Same(bool),
    /// `<` and its like.
    Ordered(Order),
    /// `+` and its like.
    Reckoned(Sum),
}

/// How two values must be ordered.
#[derive(Clone, Copy, Debug)]
pub(super) enum Order {
    Less,
    AtMost,
    More,
    AtLeast,
}

impl Order {
    const fn sign(self) -> &'static str {
        match self {
            Self::Less => "<",
            Self::AtMost => "<=",
            Self::More => ">",
            Self::AtLeast => ">=",
        }
    }

    const fn allows(self, order: Ordering) -> bool {
        match self {
            Self::Less => order.is_lt(),
            Self::AtMost => order.is_le(),
            Self::More => order.is_gt(),
            Self::AtLeast => order.is_ge(),
        }
    }
}

impl Operator {
    /// What it makes of two values.
    pub(super) fn apply(self, left: &Value, right: &Value) -> Result<Value, String> {
        match self {
            Self::Equal(wanted) => Ok(Value::Truth(left.equals(right) == wanted)),
            Self::Same(wanted) => Ok(Value::Truth((left == right) == wanted)),
            Self::Ordered(wanted) => {
                let sign = wanted.sign();
                let order = match (left, right) {
                    (Value::Text(left), Value::Text(right)) => left.cmp(right),
                    (left, right) => left.number(sign)?.order(right.number(sign)?),
                };
                Ok(Value::Truth(wanted.allows(order)))
            }
            Self::Reckoned(Sum::Plus) if left.is_text() || right.is_text() => joined(left, right),
            Self::Reckoned(sum) => {
                let sign = sum.sign();
                let (a, b) = (left.number(sign)?, right.number(sign)?);
                let failed = |why| format!("{left} {sign} {right} {why}");
                sum.of(a, b).map(Value::Number).map_err(failed)
            }
        }
    }
}

impl Value {
    /// A number or a truth when the text looks like one, else the text.
    pub(super) fn that_looks_like(text: &str) -> Self {
        match text {
            "true" => Self::Truth(true),
            "false" => Self::Truth(false),
            _ => match Number::spelled(text) {
                Some(number) => Self::Number(number),
                None => Self::Text(text.to_owned()),
            },
        }
    }

    /// The text of those pieces.
    pub(super) fn text<'a>(
        pieces: impl Iterator<Item = Result<&'a str, String>>,
    ) -> Result<Self, String> {
        let mut whole = String::new();
        for piece in pieces {
            let piece = piece?;
            if whole.len() + piece.len() > LONGEST_TEXT {
                return Err(format!("a text grows longer than {LONGEST_TEXT} bytes"));
            }
            whole.push_str(piece);
        }
        Ok(Self::Text(whole))
    }

    /// The truth that something is decided by.
    pub(super) fn decides(&self) -> Result<bool, String> {
        match self {
            Self::Truth(truth) => Ok(*truth),
            Self::Number(_) | Self::Text(_) => Err(format!(
                "{self} is neither true nor false; compare it with something"
            )),
        }
    }

    /// The number that this operator needs.
    pub(super) fn number(&self, sign: &str) -> Result<Number, String> {
        let number = match self {
            Self::Number(number) => Some(*number),
            Self::Text(text) => Number::spelled(text),
            Self::Truth(_) => None,
        };
        number.ok_or_else(|| format!("`{sign}` needs a number, and {self} is none"))
    }

    fn equals(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Number(number), Self::Text(text)) | (Self::Text(text), Self::Number(number)) => {
                Number::spelled(text) == Some(*number)
            }
            (Self::Truth(truth), Self::Text(text)) | (Self::Text(text), Self::Truth(truth)) => {
                *text == truth.to_string()
            }
            (Self::Truth(truth), Self::Number(number))
            | (Self::Number(number), Self::Truth(truth)) => {
                *number == Number::Whole(i64::from(*truth))
            }
            (Self::Number(_), Self::Number(_))
            | (Self::Truth(_), Self::Truth(_))
            | (Self::Text(_), Self::Text(_)) => self == other,
        }
    }

    const fn is_text(&self) -> bool {
        matches!(self, Self::Text(_))
    }
}

fn joined(left: &Value, right: &Value) -> Result<Value, String> {
    let plain = |value: &Value| match value {
        Value::Number(number) => number.to_string(),
        Value::Truth(truth) => truth.to_string(),
        Value::Text(text) => text.clone(),
    };
    let (left, right) = (plain(left), plain(right));
    Value::text([Ok(left.as_str()), Ok(right.as_str())].into_iter())
}

/// For people: a text is shown in quotes, and only its beginning.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => number.fmt(f),
            Self::Truth(truth) => truth.fmt(f),
            Self::Text(text) => write!(f, "the text `{}`", shortened(text)),
        }
    }
}
