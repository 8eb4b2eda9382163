//! The texts of `MySQL`'s values. Bound statements are answered in a binary form, others as texts; both read
//! the same here.

use sqlx::error::BoxDynError;
use sqlx::mysql::MySqlValueRef;
use sqlx::{Decode, MySql, TypeInfo, ValueRef};

use super::session::hex;

/// The value as `MySQL`'s own client would print it.
pub(super) fn text(value: MySqlValueRef<'_>) -> Result<String, BoxDynError> {
    let kind = value.type_info().name().to_owned();
    Ok(match kind.as_str() {
        "BOOLEAN" | "TINYINT" | "SMALLINT" | "INT" | "MEDIUMINT" | "BIGINT" => {
            <i64 as Decode<MySql>>::decode(value)?.to_string()
        }
        "TINYINT UNSIGNED" | "SMALLINT UNSIGNED" | "INT UNSIGNED" | "MEDIUMINT UNSIGNED"
        | "BIGINT UNSIGNED" | "YEAR" | "BIT" => <u64 as Decode<MySql>>::decode(value)?.to_string(),
        "FLOAT" => <f32 as Decode<MySql>>::decode(value)?.to_string(),
        "DOUBLE" => <f64 as Decode<MySql>>::decode(value)?.to_string(),
        "DATE" | "DATETIME" | "TIMESTAMP" => moment(bytes(value)?, kind == "DATE")?,
        "TIME" => duration(bytes(value)?)?,
        _ => {
            let bytes = bytes(value)?;
            str::from_utf8(bytes).map_or_else(|_| hex(bytes), str::to_owned)
        }
    })
}

fn bytes(value: MySqlValueRef<'_>) -> Result<&[u8], BoxDynError> {
    <&[u8] as Decode<MySql>>::decode(value)
}

/// A text begins with a digit or a sign; the binary form with its length, which is smaller than those.
fn is_text(bytes: &[u8]) -> bool {
    bytes.first().is_some_and(|first| *first > 12)
}

/// Length, year (2 bytes), month, day, then hour, minute, second, then microseconds (4 bytes); what is zero
/// at the end may be missing.
fn moment(bytes: &[u8], only_date: bool) -> Result<String, BoxDynError> {
    if is_text(bytes) {
        return Ok(str::from_utf8(bytes)?.to_owned());
    }
    let at = |place: usize| bytes.get(place).copied().unwrap_or(0);
    let year = u16::from_le_bytes([at(1), at(2)]);
    let date = format!("{year:04}-{:02}-{:02}", at(3), at(4));
    if only_date {
        return Ok(date);
    }
    let time = format!("{:02}:{:02}:{:02}", at(5), at(6), at(7));
    let micros = u32::from_le_bytes([at(8), at(9), at(10), at(11)]);
    Ok(format!("{date} {time}{}", fraction(micros)))
}

/// Length, sign, days (4 bytes), hour, minute, second, then microseconds (4 bytes).
fn duration(bytes: &[u8]) -> Result<String, BoxDynError> {
    if is_text(bytes) {
        return Ok(str::from_utf8(bytes)?.to_owned());
    }
    let at = |place: usize| bytes.get(place).copied().unwrap_or(0);
    let sign = if at(1) == 1 { "-" } else { "" };
    let days = u32::from_le_bytes([at(2), at(3), at(4), at(5)]);
    let hours = u64::from(days) * 24 + u64::from(at(6));
    let micros = u32::from_le_bytes([at(9), at(10), at(11), at(12)]);
    Ok(format!(
        "{sign}{hours:02}:{:02}:{:02}{}",
        at(7),
        at(8),
        fraction(micros)
    ))
}

fn fraction(micros: u32) -> String {
    if micros == 0 {
        String::new()
    } else {
        format!(".{micros:06}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_read_the_same_in_both_forms() {
        let date = [4, 0xea, 0x07, 11, 21];
        let second = [7, 0xea, 0x07, 11, 21, 15, 4, 5];
        let micro = [11, 0xea, 0x07, 11, 21, 15, 4, 5, 0x40, 0xe2, 0x01, 0x00];
        assert_eq!(moment(&date, true).unwrap(), "2026-11-21");
        assert_eq!(moment(&date, false).unwrap(), "2026-11-21 00:00:00");
        assert_eq!(moment(&second, false).unwrap(), "2026-11-21 15:04:05");
        assert_eq!(moment(&micro, false).unwrap(), "2026-11-21 15:04:05.123456");
        let text = "2026-11-21 15:04:05";
        assert_eq!(moment(text.as_bytes(), false).unwrap(), text);
        assert_eq!(moment(&[0], true).unwrap(), "0000-00-00");
    }

    #[test]
    fn durations_read_the_same_in_both_forms() {
        let binary = [8, 1, 1, 0, 0, 0, 2, 3, 4];
        assert_eq!(duration(&binary).unwrap(), "-26:03:04");
        assert_eq!(duration(&[0]).unwrap(), "00:00:00");
        assert_eq!(duration(b"-26:03:04").unwrap(), "-26:03:04");
    }
}
