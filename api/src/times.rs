//! Points in time as clients read and write them: ISO 8601, UTC, microseconds.

use domain::Timestamp;
use serde::{Serialize, Serializer};

/// Written as `2026-11-21T10:00:00.000000Z`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Iso(pub(crate) Timestamp);

impl Serialize for Iso {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        match jiff::Timestamp::from_microsecond(self.0.micros()) {
            Ok(time) => out.collect_str(&format_args!("{time:.6}")),
            // A worker's clock can say anything; what no calendar shows is shown as nothing.
            Err(_) => out.serialize_none(),
        }
    }
}

/// The time of this machine's clock.
pub(crate) fn now() -> Timestamp {
    Timestamp(jiff::Timestamp::now().as_microsecond())
}

/// Reads a time with its offset, for example `2026-11-21T10:00:00Z`. The error says what was expected.
pub(crate) fn parse(text: &str) -> Result<Timestamp, String> {
    text.parse::<jiff::Timestamp>()
        .map(|time| Timestamp(time.as_microsecond()))
        .map_err(|_| "expected a time such as 2026-11-21T10:00:00Z (write + as %2B)".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_utc_with_microseconds() {
        let shown = |micros| serde_json::to_string(&Iso(Timestamp(micros))).unwrap();
        assert_eq!(shown(0), "\"1970-01-01T00:00:00.000000Z\"");
        assert_eq!(shown(1_500_000), "\"1970-01-01T00:00:01.500000Z\"");
        assert_eq!(shown(i64::MAX), "null");
        assert_eq!(parse("1970-01-01T01:00:00+01:00"), Ok(Timestamp(0)));
        assert!(parse("yesterday").is_err());
    }
}
