//! Reads a text of SQL just well enough to find where its statements end and where `${name}` stands, so that
//! values are bound and never pasted in.
//!
//! A literal that is nothing but a placeholder, `'${day}'`, is the placeholder itself: that is how authors
//! write who are used to text being replaced. Inside a longer literal nothing can be bound, and the text is
//! refused. Comments are left alone.

/// Whose rules of quoting hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dialect {
    Postgres,
    MySql,
    Sqlite,
}

/// What is to be run.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Script {
    /// Nothing is bound: the database splits it better than we do.
    Plain {
        text: String,
        /// There is more than one statement.
        several: bool,
    },
    /// Statement by statement.
    Bound(Vec<Statement>),
}

#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Statement {
    /// With the placeholders of the dialect.
    pub(super) text: String,
    /// The values to bind, in the order of the placeholders.
    pub(super) values: Vec<String>,
}

impl Script {
    /// Refuses, with a reason, what cannot be bound: a placeholder without a value or inside a literal.
    pub(super) fn parse(
        text: &str,
        dialect: Dialect,
        value: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, String> {
        let mut reader = Reader {
            text,
            dialect,
            rest: text,
            statement: Statement::default(),
            empty: true,
            statements: Vec::new(),
        };
        while !reader.rest.is_empty() {
            reader.step(&value)?;
        }
        reader.end_statement();
        let statements = reader.statements;
        if statements.iter().any(|it| !it.values.is_empty()) {
            return Ok(Script::Bound(statements));
        }
        Ok(Script::Plain {
            text: text.to_owned(),
            several: statements.len() > 1,
        })
    }

    pub(super) fn is_several(&self) -> bool {
        match self {
            Script::Plain { several, .. } => *several,
            Script::Bound(statements) => statements.len() > 1,
        }
    }

    /// It begins a transaction itself.
    pub(super) fn is_transaction(&self) -> bool {
        let text = match self {
            Script::Plain { text, .. } => text,
            Script::Bound(statements) => statements.first().map_or("", |first| &first.text),
        };
        let mut words = text.split_whitespace().map(|word| {
            let word = word.trim_end_matches(';');
            word.to_ascii_uppercase()
        });
        match words.next().as_deref() {
            Some("BEGIN") => true,
            Some("START") => words.next().as_deref() == Some("TRANSACTION"),
            Some(_) | None => false,
        }
    }
}

struct Reader<'a> {
    text: &'a str,
    dialect: Dialect,
    rest: &'a str,
    statement: Statement,
    /// Nothing but comments and spaces so far.
    empty: bool,
    statements: Vec<Statement>,
}

impl<'a> Reader<'a> {
    /// Takes the next piece: a literal, a comment, a placeholder, or one character.
    fn step(&mut self, value: &impl Fn(&str) -> Option<String>) -> Result<(), String> {
        if let Some(length) = self.comment() {
            self.copy(length);
            return Ok(());
        }
        if let Some(name) = placeholder(self.rest) {
            self.bind(name, value)?;
            self.skip(name.len() + 3);
            return Ok(());
        }
        if let Some((length, inner, kind)) = self.quoted() {
            return self.literal(length, inner, kind, value);
        }
        let Some(next) = self.rest.chars().next() else {
            return Ok(());
        };
        if next == ';' {
            self.skip(1);
            self.end_statement();
        } else {
            self.empty &= next.is_whitespace();
            self.copy(next.len_utf8());
        }
        Ok(())
    }

    fn literal(
        &mut self,
        length: usize,
        inner: &str,
        kind: Quoted,
        value: &impl Fn(&str) -> Option<String>,
    ) -> Result<(), String> {
        self.empty = false;
        let whole = placeholder(inner).filter(|name| name.len() + 3 == inner.len());
        match (whole, kind) {
            (Some(name), Quoted::Text) => {
                self.bind(name, value)?;
                self.skip(length);
                return Ok(());
            }
            (Some(name), Quoted::Name) => {
                return Err(format!(
                    "${{{name}}} stands where a name of the database must stand; only values can be bound"
                ));
            }
            (None, Quoted::Text | Quoted::Name) => {}
        }
        if let Some(name) = inner
            .match_indices("${")
            .find_map(|(at, _)| placeholder(&inner[at..]))
        {
            return Err(format!(
                "${{{name}}} stands inside a literal, where nothing can be bound; put the parts together in SQL, for example 'a' || ${{{name}}}"
            ));
        }
        self.copy(length);
        Ok(())
    }

    fn bind(&mut self, name: &str, value: &impl Fn(&str) -> Option<String>) -> Result<(), String> {
        let value = value(name).ok_or_else(|| {
            format!("the statement names ${{{name}}}, and the task has no parameter of that name")
        })?;
        if value.contains('\0') {
            return Err(format!(
                "the parameter {name} holds a NUL character, which no database takes in a text"
            ));
        }
        self.statement.values.push(value);
        self.empty = false;
        match self.dialect {
            Dialect::Postgres => {
                let number = self.statement.values.len();
                self.statement.text.push('$');
                self.statement.text.push_str(&number.to_string());
            }
            Dialect::MySql | Dialect::Sqlite => self.statement.text.push('?'),
        }
        Ok(())
    }

    fn end_statement(&mut self) {
        let statement = std::mem::take(&mut self.statement);
        if !self.empty {
            self.statements.push(statement);
        }
        self.empty = true;
    }

    fn copy(&mut self, length: usize) {
        self.statement.text.push_str(&self.rest[..length]);
        self.skip(length);
    }

    fn skip(&mut self, length: usize) {
        self.rest = &self.rest[length..];
    }

    /// The length of the comment that begins here.
    fn comment(&self) -> Option<usize> {
        let rest = self.rest;
        let line = match self.dialect {
            Dialect::Postgres | Dialect::Sqlite => rest.starts_with("--"),
            // For it, `5--3` is 8.
            Dialect::MySql => {
                rest.starts_with('#')
                    || rest.strip_prefix("--").is_some_and(|after| {
                        after.is_empty() || after.starts_with(char::is_whitespace)
                    })
            }
        };
        if line {
            return Some(rest.find('\n').map_or(rest.len(), |end| end + 1));
        }
        if !rest.starts_with("/*") {
            return None;
        }
        let (mut at, mut depth) = (2, 1);
        while depth > 0 {
            let Some(next) = rest[at..].find(['*', '/']).map(|next| at + next) else {
                return Some(rest.len());
            };
            at = next + 1;
            if rest[next..].starts_with("*/") {
                depth -= 1;
                at += 1;
            } else if self.dialect == Dialect::Postgres && rest[next..].starts_with("/*") {
                depth += 1;
                at += 1;
            }
        }
        Some(at)
    }

    /// The length of the quoted text that begins here, and what stands in it.
    fn quoted(&self) -> Option<(usize, &'a str, Quoted)> {
        let rest = self.rest;
        let quote = rest.chars().next()?;
        let kind = match (quote, self.dialect) {
            ('\'', _) | ('"', Dialect::MySql) => Quoted::Text,
            ('"', Dialect::Postgres | Dialect::Sqlite)
            | ('`', Dialect::MySql | Dialect::Sqlite) => Quoted::Name,
            ('$', Dialect::Postgres) => return self.dollar_quoted(),
            _ => return None,
        };
        let escapes = match self.dialect {
            Dialect::MySql => quote != '`',
            Dialect::Postgres => quote == '\'' && self.is_escape_string(),
            Dialect::Sqlite => false,
        };
        let mut characters = rest.char_indices().skip(1);
        while let Some((at, character)) = characters.next() {
            if escapes && character == '\\' {
                characters.next();
            } else if character == quote {
                // A doubled quote is one that does not end it.
                if rest[at + 1..].starts_with(quote) {
                    characters.next();
                } else {
                    return Some((at + 1, &rest[1..at], kind));
                }
            }
        }
        Some((rest.len(), &rest[1..], kind))
    }

    /// `E'...'`: the only literals of PostgreSQL in which a backslash means something.
    fn is_escape_string(&self) -> bool {
        let mut before = self.before().chars().rev();
        before.next().is_some_and(|it| matches!(it, 'e' | 'E'))
            && !before.next().is_some_and(is_word)
    }

    /// `$tag$...$tag$`, the way PostgreSQL quotes the bodies of functions.
    fn dollar_quoted(&self) -> Option<(usize, &'a str, Quoted)> {
        if self.before().chars().next_back().is_some_and(is_word) {
            return None;
        }
        let end = 1 + self.rest[1..].find('$')?;
        let tag = &self.rest[..=end];
        let name = &tag[1..end];
        if !name.chars().all(is_word) || name.starts_with(|first: char| first.is_ascii_digit()) {
            return None;
        }
        let inner = &self.rest[tag.len()..];
        let length = inner.find(tag);
        let inner = &inner[..length.unwrap_or(inner.len())];
        let whole = length.map_or(self.rest.len(), |length| length + 2 * tag.len());
        Some((whole, inner, Quoted::Name))
    }

    fn before(&self) -> &'a str {
        &self.text[..self.text.len() - self.rest.len()]
    }
}

fn is_word(character: char) -> bool {
    character.is_alphanumeric() || character == '_'
}

#[derive(Debug, Clone, Copy)]
enum Quoted {
    /// A value.
    Text,
    /// A name, or the body of a function.
    Name,
}

/// The name in a placeholder that begins here.
fn placeholder(text: &str) -> Option<&str> {
    let inner = text.strip_prefix("${")?;
    let name = &inner[..inner.find('}')?];
    let legal = !name.is_empty() && !name.contains(['{', '\'', '"', '\n', ';']);
    legal.then_some(name)
}

#[cfg(test)]
mod tests;
