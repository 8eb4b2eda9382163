//! `$[...]`: dates in texts, as `DolphinScheduler` writes them (`TimePlaceholderUtils`).

use jiff::civil::{Date, DateTime, Time};
use jiff::{SignedDuration, Span, ToSpan, Zoned};

use super::Moment;
use super::arithmetic::value_of;
use super::format::render;

/// No placeholder is longer, in bytes. Shells and JSON paths use the same mark, so texts may be full of it.
const LONGEST: usize = 128;

/// The text with every `$[...]` that is a date replaced; whatever else bears the mark stays as written, and
/// so does a date that no calendar has.
///
/// Whole days, weeks and months are counted on the calendar of the moment's zone and keep the time of day,
/// also over a change of the clocks. (The original counts a day as 24 hours.) Parts of days, `/24` and
/// `/24/60`, are time that passes.
pub fn replace(text: &str, moment: &Moment) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find("$[") {
        let (before, from) = rest.split_at(start);
        out.push_str(before);
        let replaced = placeholder(from).and_then(|inside| Some((inside, date(inside, moment)?)));
        if let Some((inside, date)) = replaced {
            out.push_str(&date);
            rest = &from[inside.len() + 3..];
        } else {
            out.push_str("$[");
            rest = &from[2..];
        }
    }
    out.push_str(rest);
    out
}

/// What stands in the brackets, if the text begins with `$[` and they are closed soon.
pub(crate) fn placeholder(text: &str) -> Option<&str> {
    let from = text.strip_prefix("$[")?;
    let end = from
        .bytes()
        .take(LONGEST + 1)
        .position(|byte| byte == b']')?;
    Some(&from[..end])
}

/// The date that the words in the brackets mean, if they mean one.
pub(crate) fn date(inside: &str, moment: &Moment) -> Option<String> {
    if inside.len() > LONGEST {
        return None;
    }
    let now = moment.local()?;
    if let Some(of) = arguments(inside, "timestamp") {
        let (date, format) = moved(of, &now)?;
        return seconds_of(&render(format, &date)?, &now);
    }
    if let Some(of) = arguments(inside, "year_week") {
        return year_week(of, &now);
    }
    let (date, format) = moved(inside, &now)?;
    render(format, &date)
}

fn arguments<'a>(inside: &'a str, function: &str) -> Option<&'a str> {
    let after = inside.strip_prefix(function)?;
    after.strip_prefix('(')?.strip_suffix(')')
}

/// Where a function moves a date to, and by how much.
type Move = fn(&Zoned, i64) -> Option<Zoned>;

/// Whether a function is told how far it goes.
#[derive(Clone, Copy, PartialEq)]
enum Far {
    Always,
    MaySay,
    Never,
}

const FUNCTIONS: [(&str, Far, Move); 11] = [
    ("add_months", Far::Always, plus_months),
    ("this_day", Far::Never, plus_days),
    ("last_day", Far::Never, |now, _| plus_days(now, -1)),
    ("month_first_day", Far::MaySay, |now, months| {
        on(now, Date::first_of_month).and_then(|first| plus_months(&first, months))
    }),
    ("month_last_day", Far::MaySay, |now, months| {
        on(&plus_months(now, months)?, Date::last_of_month)
    }),
    ("month_begin", Far::Always, |now, days| {
        plus_days(&on(now, Date::first_of_month)?, days)
    }),
    ("month_end", Far::Always, |now, days| {
        plus_days(&on(now, Date::last_of_month)?, days)
    }),
    ("week_first_day", Far::MaySay, |now, weeks| {
        of_week(now, 0, weeks.checked_mul(7)?)
    }),
    ("week_last_day", Far::MaySay, |now, weeks| {
        of_week(now, 6, weeks.checked_mul(7)?)
    }),
    ("week_begin", Far::Always, |now, days| of_week(now, 0, days)),
    ("week_end", Far::Always, |now, days| of_week(now, 6, days)),
];

/// The date that is meant, and the format it is wanted in.
fn moved<'a>(inside: &'a str, now: &Zoned) -> Option<(Zoned, &'a str)> {
    let function = FUNCTIONS
        .iter()
        .find_map(|(name, far, to)| Some((arguments(inside, name)?, *far, to)));
    let Some((arguments, far, to)) = function else {
        return shifted(inside, now);
    };
    let (format, sum) = match arguments.split_once(',') {
        Some((format, sum)) => (format, Some(sum)),
        None => (arguments, None),
    };
    let by = match (far, sum) {
        (Far::Always | Far::MaySay, Some(sum)) => value_of(sum.trim())?,
        (Far::MaySay | Far::Never, None) => 0,
        (Far::Always, None) | (Far::Never, Some(_)) => return None,
    };
    let format = if format.is_empty() {
        "yyyy-MM-dd"
    } else {
        format
    };
    Some((to(now, by)?, format))
}

/// `yyyyMMdd-7*2`, `HHmmss+1/24`: the last sign with a digit after it parts the format from the sum. The
/// format may contain hyphens, so a plus is looked for first.
fn shifted<'a>(inside: &'a str, now: &Zoned) -> Option<(Zoned, &'a str)> {
    let sign = inside.rfind('+').or_else(|| inside.rfind('-'));
    let parted = sign
        .map(|at| (&inside[..at], &inside[at..=at], &inside[at + 1..]))
        .filter(|(_, _, sum)| sum.starts_with(|first: char| first.is_ascii_digit()));
    let Some((format, sign, sum)) = parted else {
        return Some((now.clone(), inside));
    };
    let signed = |amount: i64| match sign {
        "-" => amount.checked_neg(),
        _ => Some(amount),
    };
    let date = match sum.split_once('/') {
        None => plus_days(now, signed(value_of(sum)?)?)?,
        Some((days, divisors)) => {
            let minutes = signed(value_of(&format!("1440*({days})/{divisors}"))?)?;
            let passed = SignedDuration::try_from_mins(minutes)?;
            now.checked_add(passed).ok()?
        }
    };
    Some((date, format))
}

fn plus_days(now: &Zoned, days: i64) -> Option<Zoned> {
    now.checked_add(Span::new().try_days(days).ok()?).ok()
}

fn plus_months(now: &Zoned, months: i64) -> Option<Zoned> {
    now.checked_add(Span::new().try_months(months).ok()?).ok()
}

/// The same time of day on another day.
fn on(now: &Zoned, day: impl FnOnce(Date) -> Date) -> Option<Zoned> {
    now.with().date(day(now.date())).build().ok()
}

/// The day of this week that is so far from Monday, moved by days.
fn of_week(now: &Zoned, from_monday: i64, days: i64) -> Option<Zoned> {
    let since_monday = i64::from(now.weekday().to_monday_zero_offset());
    plus_days(now, days.checked_add(from_monday - since_monday)?)
}

/// Seconds since 1970 at what was written as `yyyyMMddHHmmss`, in the zone of `now`.
fn seconds_of(written: &str, now: &Zoned) -> Option<String> {
    if written.len() != 14 || !written.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let part = |from: usize, to: usize| written[from..to].parse::<i16>().ok();
    let small = |from: usize| i8::try_from(part(from, from + 2)?).ok();
    let date = Date::new(part(0, 4)?, small(4)?, small(6)?).ok()?;
    let time = Time::new(small(8)?, small(10)?, small(12)?, 0).ok()?;
    let zoned = DateTime::from_parts(date, time)
        .to_zoned(now.time_zone().clone())
        .ok()?;
    Some(zoned.timestamp().as_second().to_string())
}

/// `yyyy-MM-dd,7`: year and number of the week, with a hyphen when the format has one. A week belongs to the
/// year that has at least four of its days; it begins on Monday, or on the day said from 2 (Tuesday) to 7.
///
/// As in the original the year is the calendar's, so the days of week 1 that lie in December are written
/// with the old year.
fn year_week(of: &str, now: &Zoned) -> Option<String> {
    let (format, first_day) = match of.split_once(',') {
        Some((format, sum)) => (format, value_of(sum.trim())?),
        None => (of, 1),
    };
    let first_day = match first_day {
        day @ 2..=7 => i32::try_from(day - 1).ok()?,
        _ => 0,
    };
    let today = now.date();
    let since_first =
        (i32::from(today.weekday().to_monday_zero_offset()) - first_day).rem_euclid(7);
    // The fourth day decides which year the week belongs to.
    let fourth = today.checked_add((3 - since_first).days()).ok()?;
    let week = (fourth.day_of_year() - 1) / 7 + 1;
    let hyphen = if format.contains('-') { "-" } else { "" };
    let year = u16::try_from(today.year()).ok()?;
    Some(format!("{year}{hyphen}{week:02}"))
}
