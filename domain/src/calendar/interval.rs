//! The intervals that a DEPENDENT task looks back on, each of which must hold a run of the other workflow.
//!
//! The words are `DolphinScheduler`'s (`DependentUtils`), and so are the days and hours they mean, but for
//! `thisMonthEnd` and `last24Hours` (docs/adr/0010).

use jiff::civil::Date;
use jiff::{SignedDuration, ToSpan, Zoned};

use super::{Moment, shortened};
use crate::time::Timestamp;

/// What one word means.
#[derive(Clone, Copy)]
enum Span {
    /// The first hour and the one after the last, counted from the current hour.
    Hours(i32, i32),
    Days(Days),
}

/// A first and a last day.
#[derive(Clone, Copy)]
enum Days {
    /// Counted from today.
    FromToday(i32, i32),
    /// Counted from Monday of the week before.
    OfLastWeek(i32, i32),
    MondayToToday,
    FirstOfMonthToToday,
    FirstOfMonth,
    LastOfMonth,
    LastMonth,
    FirstOfLastMonth,
    LastOfLastMonth,
}

type Words = &'static [(&'static str, Span)];

const CYCLES: [(&str, Words); 4] = [
    (
        "hour",
        &[
            ("currentHour", Span::Hours(0, 1)),
            ("last1Hour", Span::Hours(-1, 0)),
            ("last2Hours", Span::Hours(-2, 0)),
            ("last3Hours", Span::Hours(-3, 0)),
            ("last24Hours", Span::Hours(-24, 0)),
        ],
    ),
    (
        "day",
        &[
            ("today", Span::Days(Days::FromToday(0, 0))),
            ("last1Days", Span::Days(Days::FromToday(-1, -1))),
            ("last2Days", Span::Days(Days::FromToday(-2, -1))),
            ("last3Days", Span::Days(Days::FromToday(-3, -1))),
            ("last7Days", Span::Days(Days::FromToday(-7, -1))),
        ],
    ),
    (
        "week",
        &[
            ("thisWeek", Span::Days(Days::MondayToToday)),
            ("lastWeek", Span::Days(Days::OfLastWeek(0, 6))),
            ("lastMonday", Span::Days(Days::OfLastWeek(0, 0))),
            ("lastTuesday", Span::Days(Days::OfLastWeek(1, 1))),
            ("lastWednesday", Span::Days(Days::OfLastWeek(2, 2))),
            ("lastThursday", Span::Days(Days::OfLastWeek(3, 3))),
            ("lastFriday", Span::Days(Days::OfLastWeek(4, 4))),
            ("lastSaturday", Span::Days(Days::OfLastWeek(5, 5))),
            ("lastSunday", Span::Days(Days::OfLastWeek(6, 6))),
        ],
    ),
    (
        "month",
        &[
            ("thisMonth", Span::Days(Days::FirstOfMonthToToday)),
            ("thisMonthBegin", Span::Days(Days::FirstOfMonth)),
            ("thisMonthEnd", Span::Days(Days::LastOfMonth)),
            ("lastMonth", Span::Days(Days::LastMonth)),
            ("lastMonthBegin", Span::Days(Days::FirstOfLastMonth)),
            ("lastMonthEnd", Span::Days(Days::LastOfLastMonth)),
        ],
    ),
];

/// Whether a DEPENDENT item may say this. The error names the words that are known.
pub fn known_value(cycle: &str, value: &str) -> Result<(), String> {
    span(cycle, value).map(|_| ())
}

/// The intervals that a value means at a moment, oldest first, each from its first point in time until the
/// first one after it: half open, `[from, until)`.
///
/// A day begins and ends at midnight in the moment's zone, so it may have 23 or 25 hours; a day that the
/// zone left out has no interval. An hour begins when the clock of the zone shows minute zero and lasts 60
/// minutes. A week begins on Monday. An error says which words are known, or that the moment is outside the
/// years that have a calendar.
pub fn intervals(
    cycle: &str,
    value: &str,
    moment: &Moment,
) -> Result<Vec<(Timestamp, Timestamp)>, String> {
    let span = span(cycle, value)?;
    let found = moment.local().and_then(|now| match span {
        Span::Hours(first, until) => hours(&now, first, until),
        Span::Days(span) => days(&now, span),
    });
    found.ok_or_else(|| {
        format!("`{value}` at this time is outside the years that have a calendar, -9999 to 9999")
    })
}

fn span(cycle: &str, value: &str) -> Result<Span, String> {
    let Some((_, words)) = CYCLES.iter().find(|(name, _)| *name == cycle) else {
        return Err(format!(
            "`{}` is no cycle; expected one of {}",
            shortened(cycle),
            listed(CYCLES.iter().map(|(name, _)| *name))
        ));
    };
    match words.iter().find(|(word, _)| *word == value) {
        Some((_, span)) => Ok(*span),
        None => Err(format!(
            "`{}` is no value of the cycle `{cycle}`; expected one of {}",
            shortened(value),
            listed(words.iter().map(|(word, _)| *word))
        )),
    }
}

fn listed<'a>(names: impl Iterator<Item = &'a str>) -> String {
    names.collect::<Vec<_>>().join(", ")
}

fn hours(now: &Zoned, first: i32, until: i32) -> Option<Vec<(Timestamp, Timestamp)>> {
    let clock = now.time();
    let into_the_hour = SignedDuration::from_mins(clock.minute().into())
        + SignedDuration::from_secs(clock.second().into())
        + SignedDuration::from_nanos(clock.subsec_nanosecond().into());
    let this_hour = now.timestamp().checked_sub(into_the_hour).ok()?;
    let start = |offset: i32| {
        let start = this_hour.checked_add(SignedDuration::from_hours(offset.into()));
        Some(Timestamp(start.ok()?.as_microsecond()))
    };
    (first..until)
        .map(|hour| Some((start(hour)?, start(hour + 1)?)))
        .collect()
}

fn days(now: &Zoned, span: Days) -> Option<Vec<(Timestamp, Timestamp)>> {
    let (first, last) = bounds(now.date(), span)?;
    let mut found = Vec::new();
    let mut day = first;
    while day <= last {
        let next = day.tomorrow().ok()?;
        let (from, until) = (midnight(day, now)?, midnight(next, now)?);
        if from < until {
            found.push((from, until));
        }
        day = next;
    }
    Some(found)
}

fn bounds(today: Date, span: Days) -> Option<(Date, Date)> {
    let day = |from: Date, offset: i32| from.checked_add(offset.days()).ok();
    let monday = |offset: i32| {
        let since_monday = i32::from(today.weekday().to_monday_zero_offset());
        day(today, offset - since_monday)
    };
    let end_of_last_month = || day(today.first_of_month(), -1);
    let (first, last) = match span {
        Days::FromToday(first, last) => (day(today, first)?, day(today, last)?),
        Days::OfLastWeek(first, last) => (monday(first - 7)?, monday(last - 7)?),
        Days::MondayToToday => (monday(0)?, today),
        Days::FirstOfMonthToToday => (today.first_of_month(), today),
        Days::FirstOfMonth => (today.first_of_month(), today.first_of_month()),
        Days::LastOfMonth => (today.last_of_month(), today.last_of_month()),
        Days::LastMonth => (end_of_last_month()?.first_of_month(), end_of_last_month()?),
        Days::FirstOfLastMonth => {
            let first = end_of_last_month()?.first_of_month();
            (first, first)
        }
        Days::LastOfLastMonth => (end_of_last_month()?, end_of_last_month()?),
    };
    Some((first, last))
}

/// When the day begins where `now` is; usually at midnight, but some zones change their clocks then.
fn midnight(day: Date, now: &Zoned) -> Option<Timestamp> {
    let zoned = day.to_zoned(now.time_zone().clone()).ok()?;
    let start = zoned.start_of_day().ok()?;
    Some(Timestamp(start.timestamp().as_microsecond()))
}
