//! Points in time as clients read and write them: ISO 8601, UTC, microseconds.

use std::sync::LazyLock;

use domain::Timestamp;
use domain::calendar::Zone;
use jiff::civil::DateTime;
use jiff::tz::TimeZoneDatabase;
use serde::{Serialize, Serializer};

/// The rules of the zones come with the program, as in the domain, so that both mean the same moment.
static ZONES: LazyLock<TimeZoneDatabase> = LazyLock::new(TimeZoneDatabase::bundled);

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

/// Reads a time with its offset, or one that the clocks of a zone show. Of two such times the earlier one
/// is meant; one that clocks leave out is moved to after the gap. The error says what was expected.
pub fn parse_in(text: &str, zone: &Zone) -> Result<Timestamp, String> {
    if let Ok(time) = text.parse::<jiff::Timestamp>() {
        return Ok(Timestamp(time.as_microsecond()));
    }
    text.parse::<DateTime>()
        .and_then(|local| ZONES.get(zone.name())?.to_timestamp(local))
        .map(|time| Timestamp(time.as_microsecond()))
        .map_err(|_| {
            "expected a time such as 2026-11-21T10:00:00Z, or 2026-11-21 10:00:00 in the time zone of the run"
                .to_owned()
        })
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

    #[test]
    fn a_time_without_an_offset_is_that_of_the_zone() {
        let berlin = Zone::parse("Europe/Berlin").unwrap();
        let hour = 3_600_000_000;
        assert_eq!(
            parse_in("1970-01-01 01:00:00", &berlin),
            Ok(Timestamp(0)),
            "an hour east of Greenwich"
        );
        assert_eq!(
            parse_in("1970-01-01 01:00:00", &Zone::default()),
            Ok(Timestamp(hour))
        );
        assert_eq!(
            parse_in("1970-01-01T01:00:00Z", &berlin),
            Ok(Timestamp(hour)),
            "an offset says it all"
        );
        // The clocks of that night went from two to three.
        assert_eq!(
            parse_in("2026-03-29 02:30:00", &berlin),
            parse("2026-03-29T03:30:00+02:00")
        );
        assert!(parse_in("2026-02-30 00:00:00", &berlin).is_err());
        assert!(parse_in("soon", &berlin).is_err());
    }
}
