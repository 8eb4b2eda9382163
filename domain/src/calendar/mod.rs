//! Dates as people write them: a point in time seen from a zone, `$[...]` placeholders and the intervals
//! that a DEPENDENT task looks back on.
//!
//! No clock is read here. Whoever asks says which moment is meant, usually a run's schedule time. The rules
//! of the zones come with the program and never from the machine, so two machines that read the same log
//! agree on what a date was.

mod arithmetic;
mod format;
mod interval;
mod placeholder;

use std::fmt;
use std::sync::LazyLock;

use jiff::Zoned;
use jiff::tz::{TimeZone, TimeZoneDatabase};
use serde::{Deserialize, Serialize};

use crate::time::Timestamp;

pub use interval::{intervals, known_value};
pub use placeholder::replace;
pub(crate) use placeholder::{date, placeholder};

static ZONES: LazyLock<TimeZoneDatabase> = LazyLock::new(TimeZoneDatabase::bundled);

/// A time zone of the IANA database, for example `Asia/Shanghai`; UTC unless said otherwise.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Zone(TimeZone);

impl Zone {
    /// The zone of that name, in any case; an error says what was expected.
    pub fn parse(name: &str) -> Result<Self, String> {
        let refused = || {
            format!(
                "`{}` is no time zone; expected a name of the IANA database such as `UTC` or `Europe/Berlin`",
                shortened(name)
            )
        };
        let zone = ZONES.get(name).map_err(|_| refused())?;
        // Only a zone with a name can be written down again, and the unknown one is not a place.
        if zone.is_unknown() || zone.iana_name().is_none() {
            return Err(refused());
        }
        Ok(Self(zone))
    }

    /// Its name in the IANA database.
    pub fn name(&self) -> &str {
        self.0.iana_name().unwrap_or("UTC")
    }
}

impl Default for Zone {
    fn default() -> Self {
        Self(TimeZone::UTC)
    }
}

impl fmt::Debug for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Zone({})", self.name())
    }
}

impl fmt::Display for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl TryFrom<String> for Zone {
    type Error = String;

    fn try_from(name: String) -> Result<Self, String> {
        Self::parse(&name)
    }
}

impl From<Zone> for String {
    fn from(zone: Zone) -> Self {
        zone.name().to_owned()
    }
}

/// A point in time as the people of a zone see it: what placeholders and intervals are counted from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Moment {
    /// The point in time.
    pub at: Timestamp,
    /// Where its day begins and ends.
    pub zone: Zone,
}

impl Moment {
    /// What calendar and clock on the wall show; none outside the years -9999 to 9999.
    fn local(&self) -> Option<Zoned> {
        let at = jiff::Timestamp::from_microsecond(self.at.micros()).ok()?;
        Some(at.to_zoned(self.zone.0.clone()))
    }
}

/// The beginning of a text that somebody else wrote, to be repeated to them.
pub(crate) fn shortened(text: &str) -> String {
    const SHOWN: usize = 60;
    let mut chars = text.chars();
    let mut shown: String = chars.by_ref().take(SHOWN).collect();
    if chars.next().is_some() {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests;
