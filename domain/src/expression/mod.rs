//! The conditions of SWITCH tasks: expressions as JavaScript writes them, over the values of parameters.
//!
//! The author writes the structure, others write the values: `${name}` is a variable and never pasted as
//! code, so no value can add an operator. There are no names but parameters, no calls and no loops.
//!
//! The operators are read by a table and a parser crate. An engine for a whole language was not taken:
//! the Common Expression Language has no `===`, cuts `7 / 2` to 3 and finds `10 == '10'` an error, and a
//! JavaScript engine brings everything that a condition must not have.

mod number;
mod read;
mod tree;
mod value;

use crate::params::Values;

/// Whether the expression holds. The error is a sentence about what is wrong with it: it cannot be read, it
/// asks for a parameter that has no value, or an operator does not fit its operands.
///
/// * `${name}` outside quotes is a number, `true`, `false` or a text, by what it looks like. In a text it is
///   replaced within that text, which stays a text.
/// * Operators are `|| && == != === !== < <= > >= + - * / % !`, parentheses and `?:`, and bind as they do in
///   JavaScript. `||`, `&&` and `?:` look only at the operands that they need.
/// * `==` finds a number equal to a text that spells it, and so for `true` and `false`; `true` equals 1 and
///   `false` equals 0. `===` finds values of two kinds different.
/// * Two texts are ordered by their characters; in all other cases, and for `- * / %`, a text must spell a
///   number. `+` with a text joins.
/// * What is decided upon must be `true` or `false`: nothing else is taken for one of them.
/// * Whole numbers are exact to 64 bits. Overflow and division by zero are errors.
pub fn holds(expression: &str, values: &Values) -> Result<bool, String> {
    read::read(expression)?.value(values)?.decides()
}

/// Whether [`holds`] could read this expression, for whoever lets it in. The error says where it is flawed.
pub fn check(expression: &str) -> Result<(), String> {
    read::read(expression).map(|_| ())
}

#[cfg(test)]
mod tests;
