//! An expression that could be read, and what it comes to.

use super::value::{Operator, Value};
use crate::calendar::shortened;
use crate::params::Values;

/// A part of an expression. Its author's words are bounded in length and depth by who reads them.
#[derive(Debug)]
pub(super) enum Tree {
    Is(Value),
    Param(String),
    Text(Vec<Piece>),
    Not(Box<Tree>),
    Negative(Box<Tree>),
    Positive(Box<Tree>),
    Both(Operator, Box<Tree>, Box<Tree>),
    /// Whether one of them comes to this; those after it are not looked at. (`||` looks for true, `&&` for
    /// false.)
    Row(bool, Vec<Tree>),
    /// The second when the first is true, else the third.
    Choice(Box<[Tree; 3]>),
}

/// What a text in quotes is made of.
#[derive(Debug)]
pub(super) enum Piece {
    Text(String),
    Param(String),
}

impl Tree {
    /// What it comes to with those values of parameters.
    pub(super) fn value(&self, values: &Values) -> Result<Value, String> {
        match self {
            Self::Is(value) => Ok(value.clone()),
            Self::Param(name) => Ok(Value::that_looks_like(value_of(name, values)?)),
            Self::Text(pieces) => Value::text(pieces.iter().map(|piece| match piece {
                Piece::Text(text) => Ok(text.as_str()),
                Piece::Param(name) => value_of(name, values),
            })),
            Self::Not(of) => Ok(Value::Truth(!of.value(values)?.decides()?)),
            Self::Positive(of) => Ok(Value::Number(of.value(values)?.number("+")?)),
            Self::Negative(of) => {
                let number = of.value(values)?.number("-")?;
                let negative = number.negative().map(Value::Number);
                negative.ok_or_else(|| format!("-({number}) is too large a number"))
            }
            Self::Both(operator, left, right) => {
                operator.apply(&left.value(values)?, &right.value(values)?)
            }
            Self::Row(until, parts) => {
                for part in parts {
                    if part.value(values)?.decides()? == *until {
                        return Ok(Value::Truth(*until));
                    }
                }
                Ok(Value::Truth(!until))
            }
            Self::Choice(parts) => {
                let [condition, then, otherwise] = parts.as_ref();
                if condition.value(values)?.decides()? {
                    then.value(values)
                } else {
                    otherwise.value(values)
                }
            }
        }
    }
}

fn value_of<'a>(name: &str, values: &'a Values) -> Result<&'a str, String> {
    let missing = || format!("no parameter is named `{}`", shortened(name));
    values.get(name).map(String::as_str).ok_or_else(missing)
}
