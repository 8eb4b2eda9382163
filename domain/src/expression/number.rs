//! Numbers: JavaScript's, but whole ones are exact and nothing is infinite.

use std::cmp::Ordering;
use std::fmt;

/// A number.
#[derive(Clone, Copy, Debug)]
pub(super) enum Number {
    Whole(i64),
    /// Finite.
    Decimal(f64),
}

/// What two numbers make.
#[derive(Clone, Copy, Debug)]
pub(super) enum Sum {
    Plus,
    Minus,
    Times,
    Over,
    /// What a division leaves over, with the sign of what was divided.
    Rest,
}

impl Number {
    /// The number that the text spells, with blanks around it. Whole ones of more than 64 bits are none:
    /// rounded, two different ids would be equal.
    pub(super) fn spelled(text: &str) -> Option<Self> {
        let text = text.trim();
        let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
        let (digits, rest) = split_digits(unsigned);
        if rest.is_empty() {
            return text.parse().ok().map(Self::Whole);
        }
        // Rust reads `inf` and `NaN`, too.
        let begins = !digits.is_empty() || rest.starts_with('.');
        let decimal = text.parse::<f64>().ok().filter(|value| value.is_finite());
        decimal.filter(|_| begins).map(Self::Decimal)
    }

    /// The number with its sign turned; none when there is no such.
    pub(super) fn negative(self) -> Option<Self> {
        match self {
            Self::Whole(whole) => whole.checked_neg().map(Self::Whole),
            Self::Decimal(decimal) => Some(Self::Decimal(-decimal)),
        }
    }

    pub(super) fn order(self, other: Self) -> Ordering {
        match (self, other) {
            (Self::Whole(a), Self::Whole(b)) => a.cmp(&b),
            // Not total, for zero has two signs that are equal.
            (a, b) => a
                .rounded()
                .partial_cmp(&b.rounded())
                .unwrap_or(Ordering::Equal),
        }
    }

    /// As JavaScript has it: 53 bits of it.
    #[expect(clippy::cast_precision_loss, reason = "said above")]
    const fn rounded(self) -> f64 {
        match self {
            Self::Whole(whole) => whole as f64,
            Self::Decimal(decimal) => decimal,
        }
    }
}

fn split_digits(text: &str) -> (&str, &str) {
    let end = text.bytes().position(|byte| !byte.is_ascii_digit());
    text.split_at(end.unwrap_or(text.len()))
}

impl PartialEq for Number {
    fn eq(&self, other: &Self) -> bool {
        self.order(*other).is_eq()
    }
}

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whole(whole) => whole.fmt(f),
            Self::Decimal(decimal) => decimal.fmt(f),
        }
    }
}

impl Sum {
    pub(super) const fn sign(self) -> &'static str {
        match self {
            Self::Plus => "+",
            Self::Minus => "-",
            Self::Times => "*",
            Self::Over => "/",
            Self::Rest => "%",
        }
    }

    /// What they make; the error says why there is no such number.
    pub(super) fn of(self, a: Number, b: Number) -> Result<Number, &'static str> {
        if matches!(self, Self::Over | Self::Rest) && b == Number::Whole(0) {
            return Err("divides by zero");
        }
        let sum = match (a, b) {
            (Number::Whole(a), Number::Whole(b)) => self.of_whole(a, b),
            (a, b) => self.of_rounded(a, b),
        };
        sum.ok_or("is too large a number")
    }

    fn of_whole(self, a: i64, b: i64) -> Option<Number> {
        let whole = match self {
            Self::Plus => a.checked_add(b),
            Self::Minus => a.checked_sub(b),
            Self::Times => a.checked_mul(b),
            // A division that leaves something over makes a decimal: 7 / 2 is 3.5.
            Self::Over if a.wrapping_rem(b) != 0 => {
                return self.of_rounded(Number::Whole(a), Number::Whole(b));
            }
            Self::Over => a.checked_div(b),
            Self::Rest => Some(a.wrapping_rem(b)),
        };
        whole.map(Number::Whole)
    }

    fn of_rounded(self, a: Number, b: Number) -> Option<Number> {
        let (a, b) = (a.rounded(), b.rounded());
        let decimal = match self {
            Self::Plus => a + b,
            Self::Minus => a - b,
            Self::Times => a * b,
            Self::Over => a / b,
            Self::Rest => a % b,
        };
        decimal.is_finite().then_some(Number::Decimal(decimal))
    }
}
