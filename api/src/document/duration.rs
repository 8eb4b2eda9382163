//! Durations as authors write them: `500ms`, `30s`, `10m`, `2h`.

use std::time::Duration;

/// What a duration looks like, for flaws.
pub(crate) const EXPECTED: &str = "a duration such as 500ms, 30s, 10m or 2h";

/// Reads a whole number and its unit; none when the text is anything else or too long to count.
pub(crate) fn parse(text: &str) -> Option<Duration> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let millis = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return None,
    };
    let number: u64 = number.parse().ok()?;
    number.checked_mul(millis).map(Duration::from_millis)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_a_whole_number_and_a_unit() {
        assert_eq!(parse("500ms"), Some(Duration::from_millis(500)));
        assert_eq!(parse("30s"), Some(Duration::from_secs(30)));
        assert_eq!(parse("10m"), Some(Duration::from_mins(10)));
        assert_eq!(parse("2h"), Some(Duration::from_hours(2)));
        assert_eq!(parse("0s"), Some(Duration::ZERO));
        for bad in [
            "",
            "5",
            "s",
            "1.5s",
            "-1s",
            "1 s",
            "1S",
            "1d",
            "é",
            "99999999999999999999h",
            "18446744073709551615h",
        ] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }
}
