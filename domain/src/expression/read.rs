//! Reading an expression: what is written, and how tightly operators bind.

use winnow::ascii::{digit0, digit1, multispace0};
use winnow::combinator::{Infix, alt, dispatch, empty, expression, fail, opt, peek};
use winnow::error::{ErrMode, ParserError};
use winnow::prelude::*;
use winnow::stream::{Stateful, Stream};
use winnow::token::{any, one_of, take_till, take_while};

use super::number::{Number, Sum};
use super::tree::{Piece, Tree};
use super::value::{Operator, Order, Value};
use crate::calendar::shortened;
use crate::workflow_definition::Workflow;

/// No expression is longer, in bytes.
const LONGEST: usize = 10_000;

/// How deep parentheses, signs, branches and operators may be in each other. Both reading and working out
/// go down with the tree, on the stack of a thread that others need.
const DEEPEST: usize = 50;

const A_VALUE: &str = "a number, a text in quotes, true, false, ${name} or a parenthesis";

/// What is still to be read, and how deep in the expression that is.
type Rest<'a> = Stateful<&'a str, usize>;

type Reading<T> = ModalResult<T, Flaw>;

/// What is wrong, and how many bytes were left to read there.
#[derive(Debug)]
struct Flaw {
    left: usize,
    expected: &'static str,
}

impl ParserError<Rest<'_>> for Flaw {
    type Inner = Self;

    fn from_input(rest: &Rest<'_>) -> Self {
        Self {
            left: rest.eof_offset(),
            expected: A_VALUE,
        }
    }

    fn into_inner(self) -> Result<Self, Self> {
        Ok(self)
    }
}

/// A part of the tree, and how many levels it has.
struct Part {
    tree: Tree,
    levels: usize,
}

impl Part {
    const fn leaf(tree: Tree) -> Self {
        Self { tree, levels: 1 }
    }

    /// A part one level above the deepest of those.
    fn above(levels: usize, tree: Tree, rest: &Rest<'_>) -> Reading<Self> {
        if levels >= DEEPEST {
            return refuse(rest, "fewer operators in a row or in each other");
        }
        Ok(Self {
            tree,
            levels: levels + 1,
        })
    }
}

/// The expression as a tree; the error says where it is flawed.
pub(super) fn read(written: &str) -> Result<Tree, String> {
    if written.len() > LONGEST {
        return Err(format!(
            "the expression is {} bytes long; expected at most {LONGEST}",
            written.len()
        ));
    }
    let mut rest = Rest {
        input: written,
        state: 0,
    };
    let flaw = match whole(&mut rest) {
        Ok(part) if rest.is_empty() => return Ok(part.tree),
        Ok(_) => Flaw {
            left: rest.eof_offset(),
            expected: "an operator or the end",
        },
        Err(ErrMode::Backtrack(flaw) | ErrMode::Cut(flaw)) => flaw,
        Err(ErrMode::Incomplete(_)) => Flaw::from_input(&rest),
    };
    let (read, unread) = written.split_at(written.len() - flaw.left);
    let place = read.chars().count() + 1;
    let found = match unread {
        "" => "the end".to_owned(),
        _ => format!("`{}`", shortened(unread)),
    };
    Err(format!(
        "expected {} at character {place}, found {found}",
        flaw.expected
    ))
}

fn refuse<T>(rest: &Rest<'_>, expected: &'static str) -> Reading<T> {
    let left = rest.eof_offset();
    Err(ErrMode::Cut(Flaw { left, expected }))
}

/// One level further down, if there may be one.
fn deeper<'a>(
    rest: &mut Rest<'a>,
    read: impl FnOnce(&mut Rest<'a>) -> Reading<Part>,
) -> Reading<Part> {
    if rest.state >= DEEPEST {
        return refuse(rest, "less nesting");
    }
    rest.state += 1;
    let part = read(rest);
    rest.state -= 1;
    part
}

/// `condition ? then : otherwise`, or only the condition.
fn whole(rest: &mut Rest<'_>) -> Reading<Part> {
    deeper(rest, |rest| {
        let condition = binary(rest)?;
        if opt('?').parse_next(rest)?.is_none() {
            return Ok(condition);
        }
        let then = whole(rest)?;
        if opt(':').parse_next(rest)?.is_none() {
            return refuse(rest, "`:`");
        }
        let otherwise = whole(rest)?;
        let levels = condition.levels.max(then.levels).max(otherwise.levels);
        let parts = [condition.tree, then.tree, otherwise.tree];
        Part::above(levels, Tree::Choice(Box::new(parts)), rest)
    })
}

/// Operands with operators between them.
fn binary(rest: &mut Rest<'_>) -> Reading<Part> {
    expression(operand).infix(operator).parse_next(rest)
}

/// How tightly each operator binds, and what it makes. All of one level go from left to right.
fn operator<'a>(rest: &mut Rest<'a>) -> Reading<Infix<Rest<'a>, Part, ErrMode<Flaw>>> {
    use Infix::Left;
    use Operator::{Equal, Ordered, Reckoned, Same};
    // Where one begins like another, the longer one is tried first.
    alt((
        alt((
            "||".value(Left(1, |rest, a, b| row(rest, true, a, b))),
            "&&".value(Left(2, |rest, a, b| row(rest, false, a, b))),
            "===".value(Left(3, |rest, a, b| both(rest, Same(true), a, b))),
            "!==".value(Left(3, |rest, a, b| both(rest, Same(false), a, b))),
            "==".value(Left(3, |rest, a, b| both(rest, Equal(true), a, b))),
            "!=".value(Left(3, |rest, a, b| both(rest, Equal(false), a, b))),
        )),
        alt((
            "<=".value(Left(4, |rest, a, b| {
                both(rest, Ordered(Order::AtMost), a, b)
            })),
            ">=".value(Left(4, |rest, a, b| {
                both(rest, Ordered(Order::AtLeast), a, b)
            })),
            "<".value(Left(4, |rest, a, b| both(rest, Ordered(Order::Less), a, b))),
            ">".value(Left(4, |rest, a, b| both(rest, Ordered(Order::More), a, b))),
        )),
        alt((
            "+".value(Left(5, |rest, a, b| both(rest, Reckoned(Sum::Plus), a, b))),
            "-".value(Left(5, |rest, a, b| both(rest, Reckoned(Sum::Minus), a, b))),
            "*".value(Left(6, |rest, a, b| both(rest, Reckoned(Sum::Times), a, b))),
            "/".value(Left(6, |rest, a, b| both(rest, Reckoned(Sum::Over), a, b))),
            "%".value(Left(6, |rest, a, b| both(rest, Reckoned(Sum::Rest), a, b))),
        )),
    ))
    .parse_next(rest)
}

fn both(rest: &mut Rest<'_>, operator: Operator, left: Part, right: Part) -> Reading<Part> {
    let levels = left.levels.max(right.levels);
    let tree = Tree::Both(operator, Box::new(left.tree), Box::new(right.tree));
    Part::above(levels, tree, rest)
}

/// Long rows of alternatives are common, so a row takes in what is no deeper than what it has.
fn row(rest: &mut Rest<'_>, until: bool, mut left: Part, right: Part) -> Reading<Part> {
    if let Tree::Row(same, parts) = &mut left.tree
        && *same == until
        && right.levels < left.levels
    {
        parts.push(right.tree);
        return Ok(left);
    }
    let levels = left.levels.max(right.levels);
    let tree = Tree::Row(until, vec![left.tree, right.tree]);
    Part::above(levels, tree, rest)
}

/// What operators stand between, with the blanks around it.
fn operand(rest: &mut Rest<'_>) -> Reading<Part> {
    multispace0.parse_next(rest)?;
    let Some(first) = opt(peek(any)).parse_next(rest)? else {
        return refuse(rest, A_VALUE);
    };
    let part = match first {
        '(' => parenthesis(rest)?,
        '!' => signed(rest, Tree::Not)?,
        '-' => signed(rest, Tree::Negative)?,
        '+' => signed(rest, Tree::Positive)?,
        '$' => Part::leaf(Tree::Param(param(rest)?)),
        '\'' | '"' => Part::leaf(Tree::Text(text(rest)?)),
        '0'..='9' | '.' => Part::leaf(Tree::Is(Value::Number(number(rest)?))),
        _ => Part::leaf(Tree::Is(Value::Truth(truth(rest)?))),
    };
    multispace0.parse_next(rest)?;
    Ok(part)
}

fn parenthesis(rest: &mut Rest<'_>) -> Reading<Part> {
    '('.parse_next(rest)?;
    let part = whole(rest)?;
    if opt(')').parse_next(rest)?.is_none() {
        return refuse(rest, "an operator or `)`");
    }
    Ok(part)
}

fn signed(rest: &mut Rest<'_>, sign: fn(Box<Tree>) -> Tree) -> Reading<Part> {
    any.parse_next(rest)?;
    let part = deeper(rest, operand)?;
    Part::above(part.levels, sign(Box::new(part.tree)), rest)
}

/// `${name}`
fn param(rest: &mut Rest<'_>) -> Reading<String> {
    let start = rest.checkpoint();
    let name = ("${", take_till(1..=Workflow::LONGEST_NAME, '}'), '}')
        .map(|(_, name, _): (_, &str, _)| name.to_owned());
    if let Some(name) = opt(name).parse_next(rest)? {
        return Ok(name);
    }
    rest.reset(&start);
    refuse(rest, "${name} with the name of a parameter")
}

/// A text in quotes of either kind, with the parameters in it.
fn text(rest: &mut Rest<'_>) -> Reading<Vec<Piece>> {
    let start = rest.checkpoint();
    let quote = any.parse_next(rest)?;
    let mut pieces = Vec::new();
    let mut plain = String::new();
    loop {
        let before: &str = take_till(0.., [quote, '\\', '$']).parse_next(rest)?;
        plain.push_str(before);
        if opt(quote).parse_next(rest)?.is_some() {
            pieces.push(Piece::Text(plain));
            return Ok(pieces);
        }
        if opt(peek("${")).parse_next(rest)?.is_some() {
            pieces.push(Piece::Text(std::mem::take(&mut plain)));
            pieces.push(Piece::Param(param(rest)?));
            continue;
        }
        match opt(any).parse_next(rest)? {
            Some('\\') => plain.push(escaped(rest)?),
            Some(other) => plain.push(other),
            None => {
                rest.reset(&start);
                return refuse(rest, "a closing quote for the text");
            }
        }
    }
}

/// What a backslash stands before.
fn escaped(rest: &mut Rest<'_>) -> Reading<char> {
    let escapes = dispatch! {any;
        'n' => empty.value('\n'),
        't' => empty.value('\t'),
        'r' => empty.value('\r'),
        '\\' => empty.value('\\'),
        '\'' => empty.value('\''),
        '"' => empty.value('"'),
        '$' => empty.value('$'),
        _ => fail,
    };
    match opt(escapes).parse_next(rest)? {
        Some(character) => Ok(character),
        None => refuse(rest, "one of \\ ' \" $ n t r after the backslash"),
    }
}

fn number(rest: &mut Rest<'_>) -> Reading<Number> {
    let start = rest.checkpoint();
    let exponent = (one_of(['e', 'E']), opt(one_of(['-', '+'])), digit1);
    let written: &str = (digit0, opt(('.', digit0)), opt(exponent))
        .take()
        .parse_next(rest)?;
    if let Some(number) = Number::spelled(written) {
        return Ok(number);
    }
    rest.reset(&start);
    refuse(rest, "a number of at most 64 bits")
}

fn truth(rest: &mut Rest<'_>) -> Reading<bool> {
    let start = rest.checkpoint();
    let word: &str = take_while(0.., |c: char| c.is_alphanumeric() || c == '_').parse_next(rest)?;
    match word {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => {
            rest.reset(&start);
            refuse(rest, A_VALUE)
        }
    }
}
