//! Whether a value is one of its type. Values are text everywhere; the type says what text.

use jiff::civil::{Date, DateTime, Time};
use serde::de::IgnoredAny;

use crate::calendar::shortened;
use crate::workflow_definition::Param;

/// Whether the value is one of the type, one of [`Param::TYPES`]. The error says what was expected.
///
/// An empty value is always one, for it means that there is none yet; so is one with `${` or `$[` in it,
/// whose text is known only when the task runs.
pub fn check_value(type_name: &str, value: &str) -> Result<(), String> {
    let (fits, expected): (fn(&str) -> bool, &str) = match type_name {
        "VARCHAR" | "FILE" => return Ok(()),
        "INTEGER" => (
            |value| value.parse::<i32>().is_ok(),
            "a whole number from -2147483648 to 2147483647",
        ),
        "LONG" => (
            |value| value.parse::<i64>().is_ok(),
            "a whole number of at most 64 bits",
        ),
        "FLOAT" | "DOUBLE" => (
            |value| value.parse::<f64>().is_ok_and(f64::is_finite),
            "a number such as 1.5",
        ),
        "BOOLEAN" => (
            |value| value.eq_ignore_ascii_case("true") || value.eq_ignore_ascii_case("false"),
            "true or false",
        ),
        "DATE" => (
            |value| is_shaped(value, "0000-00-00") && value.parse::<Date>().is_ok(),
            "a date as yyyy-MM-dd",
        ),
        "TIME" => (
            |value| is_shaped(value, "00:00:00") && value.parse::<Time>().is_ok(),
            "a time as HH:mm:ss",
        ),
        "TIMESTAMP" => (
            |value| is_shaped(value, "0000-00-00 00:00:00") && value.parse::<DateTime>().is_ok(),
            "a date and a time as yyyy-MM-dd HH:mm:ss",
        ),
        "LIST" => (
            |value| serde_json::from_str::<Vec<IgnoredAny>>(value).is_ok(),
            "a JSON array such as [\"a\", 1]",
        ),
        _ => {
            return Err(format!(
                "`{}` is no type of a parameter; expected one of {}",
                shortened(type_name),
                Param::TYPES.join(", ")
            ));
        }
    };
    if value.is_empty() || value.contains("${") || value.contains("$[") || fits(value) {
        return Ok(());
    }
    Err(format!(
        "`{}` is no {type_name}; expected {expected}",
        shortened(value)
    ))
}

/// Digits where the shape has digits, and its other signs where they are. Dates may be written in more ways
/// than tasks can rely on; and the second 60, though it exists, is none that they can count with.
fn is_shaped(value: &str, shape: &str) -> bool {
    let same = |(a, b): (u8, u8)| {
        if b == b'0' {
            a.is_ascii_digit()
        } else {
            a == b
        }
    };
    value.len() == shape.len()
        && value.bytes().zip(shape.bytes()).all(same)
        && !value.ends_with(":60")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_one_of_its_type_or_the_error_says_what_is() {
        for (type_name, good, bad) in [
            ("INTEGER", "-42", "2147483648"),
            ("INTEGER", "0", "4.2"),
            ("LONG", "2147483648", "9223372036854775808"),
            ("FLOAT", "1e3", "NaN"),
            ("DOUBLE", "-1.5", "1,5"),
            ("BOOLEAN", "True", "yes"),
            ("DATE", "2024-02-29", "2025-02-29"),
            ("DATE", "2024-12-01", "2024-12-01 00:00:00"),
            ("DATE", "0001-01-01", "20241201"),
            ("TIME", "23:59:59", "24:00:00"),
            ("TIME", "00:00:00", "12:00:60"),
            ("TIMESTAMP", "2024-12-01 00:00:00", "2024-12-01T00:00:00"),
            ("LIST", "[\"a\", 1, {\"b\": []}]", "{\"a\": 1}"),
            ("LIST", "[]", "a,b"),
        ] {
            assert_eq!(check_value(type_name, good), Ok(()), "{type_name} {good}");
            let refused = check_value(type_name, bad).unwrap_err();
            assert!(refused.starts_with(&format!("`{bad}` is no {type_name}; expected ")));
        }
        let refused = check_value("INTEGER", &"9".repeat(1_000_000)).unwrap_err();
        assert!(refused.len() < 200);
        let deep = check_value("LIST", &"[".repeat(1_000_000));
        assert!(deep.unwrap_err().ends_with("such as [\"a\", 1]"));
    }

    #[test]
    fn what_is_not_known_yet_is_of_every_type_that_exists() {
        for type_name in Param::TYPES {
            for value in ["", "${rows}", "$[yyyy-MM-dd]", "1${more}"] {
                assert_eq!(check_value(type_name, value), Ok(()), "{type_name} {value}");
            }
        }
        let refused = check_value("NUMBER", "").unwrap_err();
        assert!(
            refused.starts_with("`NUMBER` is no type of a parameter; expected one of VARCHAR, ")
        );
    }
}
