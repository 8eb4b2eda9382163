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
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ALL: [Dialect; 3] = [Dialect::Postgres, Dialect::MySql, Dialect::Sqlite];

    fn parse(text: &str, dialect: Dialect) -> Result<Script, String> {
        Script::parse(text, dialect, |name| {
            name.starts_with('v').then(|| format!("<{name}>"))
        })
    }

    fn bound(text: &str, dialect: Dialect) -> Vec<(String, Vec<String>)> {
        match parse(text, dialect).unwrap() {
            Script::Bound(statements) => statements
                .into_iter()
                .map(|it| (it.text.trim().to_owned(), it.values))
                .collect(),
            Script::Plain { text, .. } => panic!("nothing was bound in {text}"),
        }
    }

    fn one(text: &str, values: &[&str]) -> (String, Vec<String>) {
        (
            text.to_owned(),
            values.iter().map(|v| (*v).to_owned()).collect(),
        )
    }

    #[test]
    fn placeholders_become_those_of_the_dialect_with_their_values_in_order() {
        let text = "SELECT ${v1}, '${v2}'::date WHERE a = ${v1}";
        assert_eq!(
            bound(text, Dialect::Postgres),
            [one(
                "SELECT $1, $2::date WHERE a = $3",
                &["<v1>", "<v2>", "<v1>"]
            )]
        );
        assert_eq!(
            bound("SELECT ${v1}, '${v2}'", Dialect::Sqlite),
            [one("SELECT ?, ?", &["<v1>", "<v2>"])]
        );
        assert_eq!(
            bound("SELECT \"${v1}\"", Dialect::MySql),
            [one("SELECT ?", &["<v1>"])]
        );
    }

    #[test]
    fn statements_end_at_semicolons_that_are_not_quoted() {
        let text =
            "INSERT INTO a VALUES ('x;y', ${v1}); -- not; here\n;; /* nor; here */ SELECT ${v2};";
        for dialect in [Dialect::MySql, Dialect::Sqlite] {
            let statements = bound(text, dialect);
            assert_eq!(statements.len(), 2, "{statements:?}");
            assert_eq!(
                statements[0],
                one("INSERT INTO a VALUES ('x;y', ?)", &["<v1>"])
            );
            assert!(statements[1].0.ends_with("SELECT ?"));
        }
    }

    #[test]
    fn each_dialect_ends_its_literals_in_its_own_way() {
        let several = |text: &str, dialect| parse(text, dialect).unwrap().is_several();
        for dialect in ALL {
            assert!(!several("SELECT 'it''s; fine'", dialect));
            assert!(several("SELECT 1; SELECT 2", dialect));
            assert!(!several("SELECT 1;", dialect));
        }
        assert!(!several(r"SELECT 'a\'; b'", Dialect::MySql));
        assert!(!several(r"SELECT E'a\'; b'", Dialect::Postgres));
        assert!(several(r"SELECT 'a\'; SELECT 'b'", Dialect::Postgres));
        assert!(!several("DO $do$ BEGIN; $$;$$ END $do$", Dialect::Postgres));
        assert!(several("SELECT a$b$c; SELECT 1", Dialect::Postgres));
        assert!(!several("SELECT 1 /* a /* b */ ; */", Dialect::Postgres));
        assert!(!several("SELECT `a;b`", Dialect::MySql));
        assert!(several("SELECT 5--3;SELECT 1", Dialect::MySql));
    }

    #[test]
    fn a_placeholder_where_nothing_can_be_bound_is_refused_with_a_way_out() {
        for dialect in ALL {
            let refused = parse("SELECT '%${v1}%'", dialect).unwrap_err();
            assert!(refused.contains("'a' || ${v1}"), "{refused}");
        }
        let refused = parse("SELECT \"${v1}\" FROM a", Dialect::Postgres).unwrap_err();
        assert!(refused.contains("only values"), "{refused}");
        let refused = parse("SELECT $$ ${v1} $$", Dialect::Postgres).unwrap_err();
        assert!(refused.contains("${v1}"), "{refused}");
    }

    #[test]
    fn a_placeholder_without_a_parameter_is_refused_by_its_name() {
        let refused = parse("SELECT ${unknown}", Dialect::Sqlite).unwrap_err();
        assert!(refused.contains("${unknown}"), "{refused}");
    }

    #[test]
    fn a_text_without_placeholders_stays_as_it_is() {
        let text = "CREATE TRIGGER t AFTER INSERT ON a BEGIN SELECT 1; SELECT 2; END; -- ${v1}";
        let script = parse(text, Dialect::Sqlite).unwrap();
        let several = true;
        let text = text.to_owned();
        assert_eq!(script, Script::Plain { text, several });
    }

    #[test]
    fn a_text_that_begins_a_transaction_is_known() {
        for (text, expected) in [
            ("begin; SELECT 1; commit", true),
            ("START  TRANSACTION; SELECT 1", true),
            ("BEGINNING", false),
            ("SELECT 1; BEGIN", false),
        ] {
            let script = parse(text, Dialect::Postgres).unwrap();
            assert_eq!(script.is_transaction(), expected, "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_breaks_the_reader(text in r#"[a-z'"`$;{}\\/*#\-v1 \n]{0,60}"#) {
            for dialect in ALL {
                let _ = parse(&text, dialect);
            }
        }

        #[test]
        fn no_value_gets_into_the_text(text in r"[a-z '();=]{0,20}") {
            let text = format!("{text} ${{v1}} {text}");
            for dialect in ALL {
                if let Ok(Script::Bound(statements)) = parse(&text, dialect) {
                    prop_assert!(statements.iter().all(|it| !it.text.contains("<v1>")));
                }
            }
        }
    }
}
