//! What the reader of SQL must tell apart, dialect by dialect.

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
