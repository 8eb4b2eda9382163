//! Expressions as authors write them, and as somebody writes them who means harm.

use proptest::prelude::*;

use super::*;

fn values(pairs: &[(&str, &str)]) -> Values {
    let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    pairs.iter().map(owned).collect()
}

fn given() -> Values {
    values(&[
        ("rows", "42"),
        ("ratio", "0.5"),
        ("flag", "true"),
        ("state", "OK"),
        ("empty", ""),
        ("hour", "08"),
        ("evil", "1 || true"),
        ("quote", "' || true || '"),
        ("long", "9223372036854775808"),
        ("big", "9223372036854775807"),
    ])
}

fn holds_here(expression: &str) -> Result<bool, String> {
    holds(expression, &given())
}

#[test]
fn what_authors_write_comes_to_what_javascript_makes_of_it() {
    for (expression, expected) in [
        ("${rows} > 10", true),
        ("${rows}>=42&&${rows}<=42", true),
        ("${rows} < 10 || ${state} == 'OK'", true),
        ("!(${rows} == 42) && ${flag}", false),
        ("${flag} ? ${rows} == 1 : true", false),
        (
            "${rows} == 1 ? true : ${rows} == 2 ? true : ${rows} == 42",
            true,
        ),
        ("'${state}' === \"OK\"", true),
        ("'a ${state} b' == 'a OK b'", true),
        ("${state} + '-' + ${rows} == 'OK-42'", true),
        ("1 + 2 * 3 == 7 && (1 + 2) * 3 == 9", true),
        ("10 - 4 - 3 == 3 && 2 * 3 % 4 == 2", true),
        ("7 / 2 == 3.5 && 8 / 2 === 4", true),
        ("-7 % 3 == -1 && 7.5 % 2 == 1.5", true),
        ("1 == 1.0 && 1 === 1.0 && 0.1 + 0.2 != 0.3", true),
        ("1 < 2 == true && true != false", true),
        ("!false && !!true", true),
        ("--1 == +1 && - -1 == 1", true),
        ("1e3 == 1000 && .5 < 1. && ${ratio} == .5", true),
        ("'b' > 'a' && 'B' < 'a' && '10' < '9'", true),
        ("\n\t true ", true),
        (
            "'it\\'s' == \"it's\" && '\\\\' != '' && '\\n' == '\n'",
            true,
        ),
        ("'\\${rows}' == '$' + '{rows}' && '$5' == \"$5\"", true),
        ("'日本' == '日本'", true),
        ("false && ${missing} == 1 || true", true),
        ("true ? true : ${missing}", true),
    ] {
        assert_eq!(holds_here(expression), Ok(expected), "{expression}");
        assert_eq!(check(expression), Ok(()), "{expression}");
    }
}

#[test]
fn kinds_meet_as_documented() {
    for (expression, expected) in [
        ("${rows} == '42' && ${rows} !== '42'", true),
        ("'${rows}' === '42' && '${rows}' == 42", true),
        ("${rows} == ' 42.0 '", true),
        ("${state} != 0 && ${empty} != 0", true),
        ("${empty} == ''", true),
        ("${flag} == 'true' && ${flag} == 1 && ${flag} !== 1", true),
        ("${flag} != 'True' && ${flag} != 'yes'", true),
        (
            "${hour} == 8 && ${hour} + 1 == 9 && '${hour}' === '08'",
            true,
        ),
        (
            "'10' > 9 && 9 < '10' && '6' * '7' == 42 && '6' + 7 == '67'",
            true,
        ),
        // Too long for a number: two such ids are equal only as texts.
        (
            "${long} != '9223372036854775809' && ${long} === '9223372036854775808'",
            true,
        ),
        ("${big} > 9223372036854775806", true),
    ] {
        assert_eq!(holds_here(expression), Ok(expected), "{expression}");
    }
}

#[test]
fn what_cannot_be_worked_out_is_said_in_a_sentence() {
    for (expression, sentence) in [
        ("${missing} == 1", "no parameter is named `missing`"),
        ("'${missing}' == ''", "no parameter is named `missing`"),
        (
            "${rows}",
            "42 is neither true nor false; compare it with something",
        ),
        (
            "!${state}",
            "the text `OK` is neither true nor false; compare it with something",
        ),
        (
            "true && 1",
            "1 is neither true nor false; compare it with something",
        ),
        (
            "1 ? true : false",
            "1 is neither true nor false; compare it with something",
        ),
        (
            "${state} > 3",
            "`>` needs a number, and the text `OK` is none",
        ),
        ("true < 3", "`<` needs a number, and true is none"),
        ("1 < 2 < 3", "`<` needs a number, and true is none"),
        (
            "${empty} * 2 == 0",
            "`*` needs a number, and the text `` is none",
        ),
        ("true + 1 == 2", "`+` needs a number, and true is none"),
        ("${rows} / 0 == 1", "42 / 0 divides by zero"),
        ("1 % 0.0 == 1", "1 % 0 divides by zero"),
        (
            "${big} + 1 > 0",
            "9223372036854775807 + 1 is too large a number",
        ),
        (
            "-(-${big} - 1) > 0",
            "-(-9223372036854775808) is too large a number",
        ),
        (
            "(-${big} - 1) / -1 > 0",
            "-9223372036854775808 / -1 is too large a number",
        ),
        ("(-${big} - 1) % -1 > 0", ""),
        ("1e308 * 10 > 0", " * 10 is too large a number"),
    ] {
        match holds_here(expression) {
            Ok(truth) => assert!(sentence.is_empty() && !truth, "{expression}"),
            Err(said) => assert!(!sentence.is_empty() && said.ends_with(sentence), "{said}"),
        }
        assert_eq!(check(expression), Ok(()), "{expression}");
    }
}

#[test]
fn what_cannot_be_read_is_refused_with_its_place() {
    let value = "a number, a text in quotes, true, false, ${name} or a parenthesis";
    for (expression, sentence) in [
        (
            "",
            format!("expected {value} at character 1, found the end"),
        ),
        (
            "rows > 10",
            format!("expected {value} at character 1, found `rows > 10`"),
        ),
        (
            "1 > ",
            format!("expected {value} at character 5, found the end"),
        ),
        (
            "1 && && 2",
            format!("expected {value} at character 6, found `&& 2`"),
        ),
        (
            "'é' = 2",
            "expected an operator or the end at character 5, found `= 2`".to_owned(),
        ),
        (
            "1 == 1 1",
            "expected an operator or the end at character 8, found `1`".to_owned(),
        ),
        (
            "true)",
            "expected an operator or the end at character 5, found `)`".to_owned(),
        ),
        (
            "(true",
            "expected an operator or `)` at character 6, found the end".to_owned(),
        ),
        (
            "true ? 1",
            "expected `:` at character 9, found the end".to_owned(),
        ),
        (
            "'open",
            "expected a closing quote for the text at character 1, found `'open`".to_owned(),
        ),
        (
            "'\\u0041'",
            "expected one of \\ ' \" $ n t r after the backslash at character 3, found `u0041'`"
                .to_owned(),
        ),
        (
            "${rows > 1",
            "expected ${name} with the name of a parameter at character 1, found `${rows > 1`"
                .to_owned(),
        ),
        (
            "${} > 1",
            "expected ${name} with the name of a parameter at character 1, found `${} > 1`"
                .to_owned(),
        ),
        (
            "'${'",
            "expected ${name} with the name of a parameter at character 2, found `${'`".to_owned(),
        ),
        (
            "$x == 1",
            "expected ${name} with the name of a parameter at character 1, found `$x == 1`"
                .to_owned(),
        ),
        (
            "9223372036854775808 > 1",
            "expected a number of at most 64 bits at character 1, found `9223372036854775808 > 1`"
                .to_owned(),
        ),
        (
            "1e999 > 1",
            "expected a number of at most 64 bits at character 1, found `1e999 > 1`".to_owned(),
        ),
        (
            ". > 1",
            "expected a number of at most 64 bits at character 1, found `. > 1`".to_owned(),
        ),
        (
            "alert(1)",
            format!("expected {value} at character 1, found `alert(1)`"),
        ),
        (
            "'a'.length == 1",
            "expected an operator or the end at character 4, found `.length == 1`".to_owned(),
        ),
    ] {
        assert_eq!(check(expression), Err(sentence.clone()), "{expression}");
        assert_eq!(holds_here(expression), Err(sentence), "{expression}");
    }
}

#[test]
fn a_value_never_becomes_code() {
    for (expression, expected) in [
        ("${evil} == 1", false),
        ("${evil} == '1 || true'", true),
        ("'${evil}' == 'x'", false),
        ("'${quote}' == 'x'", false),
        ("'${quote}' == \"' || true || '\"", true),
    ] {
        assert_eq!(holds_here(expression), Ok(expected), "{expression}");
    }
    // Nor is a value read again for the names in it.
    let nested = values(&[("a", "${b}"), ("b", "1")]);
    assert_eq!(holds("${a} == 1 || '${a}' == '1'", &nested), Ok(false));
}

#[test]
fn nobody_exhausts_the_stack_or_the_memory() {
    let deep = |open: &str, inner: &str, close: &str, times: usize| {
        check(&format!(
            "{}{inner}{}",
            open.repeat(times),
            close.repeat(times)
        ))
    };
    for (open, inner, close) in [
        ("(", "1", ")"),
        ("!", "true", ""),
        ("- ", "1", ""),
        ("true?", "1", ":1"),
        ("true?1:", "1", ""),
        ("", "1", "+1"),
        ("", "1", "==1"),
        ("1-(", "1", ")"),
        ("1&&(1||", "1", ")"),
        ("1||1&&1==1<1+1*(", "1", ")"),
    ] {
        assert_eq!(deep(open, inner, close, 8), Ok(()), "{open}{close}");
        let refused = deep(open, inner, close, 500).unwrap_err();
        let known = refused.starts_with("expected less nesting")
            || refused.starts_with("expected fewer operators");
        assert!(known, "{open}{close}: {refused}");
        assert!(
            deep(open, inner, close, 1_000_000)
                .unwrap_err()
                .contains("bytes long")
        );
    }
    // The deepest that may be written can also be worked out.
    let deepest = format!("{}true{}", "(".repeat(49), ")".repeat(49));
    assert_eq!(holds_here(&deepest), Ok(true));
    let row = vec!["${rows} == 1"; 500].join(" || ");
    assert_eq!(holds_here(&row), Ok(false));
    let large = values(&[("x", &"x".repeat(100_000))]);
    let text = format!("'{}' == ''", "${x}".repeat(1_000));
    assert_eq!(
        holds(&text, &large),
        Err("a text grows longer than 1048576 bytes".to_owned())
    );
    assert!(holds("${x} > 1", &large).unwrap_err().len() < 200);
}

proptest! {
    #[test]
    fn any_text_has_an_answer(text in ".{0,300}", value in ".{0,30}") {
        let values = values(&[("a", &value)]);
        prop_assert_eq!(holds(&text, &values).is_ok() && check(&text).is_err(), false);
    }

    #[test]
    fn what_looks_like_an_expression_has_an_answer(
        parts in proptest::collection::vec("[-+*/%!()?:<>=&|]{1,2}|===|[$][{]a[}]|'[$][{]a[}]'|[0-9.e]{1,20}|true| ", 0..40),
        value in "[-0-9.e]{0,20}|true|.{0,10}",
    ) {
        let text = parts.concat();
        let values = values(&[("a", &value)]);
        prop_assert_eq!(holds(&text, &values).is_ok() && check(&text).is_err(), false);
    }

    #[test]
    fn no_value_changes_what_an_author_asked(value in ".{0,40}") {
        let values = values(&[("a", &value)]);
        prop_assert_eq!(holds("'${a}' === 'secret'", &values), Ok(value == "secret"));
        prop_assert_eq!(holds("${a} === 'secret' && true", &values), Ok(value == "secret"));
    }

    #[test]
    fn whole_numbers_are_reckoned_exactly(a: i64, b in -1_000_000_000i64..1_000_000_000) {
        let values = values(&[("a", &a.to_string()), ("b", &b.to_string())]);
        prop_assert_eq!(holds("${a} > ${b}", &values), Ok(a > b));
        if let Some(sum) = a.checked_add(b) {
            prop_assert_eq!(holds(&format!("${{a}} + ${{b}} === {sum}"), &values), Ok(true));
        }
        if b != 0 {
            prop_assert_eq!(holds(&format!("${{a}} % ${{b}} === {}", a.wrapping_rem(b)), &values), Ok(true));
        }
    }
}
