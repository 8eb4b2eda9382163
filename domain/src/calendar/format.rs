//! Date formats as Java writes them (`DateTimeFormatter`), as far as schedules have a use for them.

use jiff::Zoned;
use jiff::civil::Weekday;

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

/// The date in that format. None when the format has no letter or an unknown one, so is no format at all.
///
/// Letters are `y` (two: the last two digits), `M` (three or four: the name), `d`, `H`, `m`, `s`, `S` (a
/// fraction of a second) and `E` (the weekday); repeated, they say how many digits. `'text'` stands for
/// itself, `''` is a quote. Names are English.
pub(super) fn render(format: &str, date: &Zoned) -> Option<String> {
    let mut out = String::new();
    let mut rest = format;
    let mut letters = false;
    while let Some(first) = rest.chars().next() {
        let run = rest.len() - rest.trim_start_matches(first).len();
        match first {
            '\'' => {
                let (text, after) = quoted(rest)?;
                out.push_str(&text);
                rest = after;
            }
            'a'..='z' | 'A'..='Z' => {
                field(first, run, date, &mut out)?;
                letters = true;
                rest = &rest[run..];
            }
            // Reserved by Java, so that they may be given a meaning.
            '[' | ']' | '{' | '}' | '#' => return None,
            _ => {
                out.push_str(&rest[..run]);
                rest = &rest[run..];
            }
        }
    }
    letters.then_some(out)
}

fn field(letter: char, count: usize, date: &Zoned, out: &mut String) -> Option<()> {
    // No year, fraction or name is written longer than this.
    if count > 9 {
        return None;
    }
    let two = |value: i8| (count <= 2).then(|| format!("{value:0count$}"));
    let text = match letter {
        'y' => {
            // Years before the first have no number that a file name could bear.
            let year = u16::try_from(date.year()).ok().filter(|year| *year > 0)?;
            if count == 2 {
                format!("{:02}", year % 100)
            } else {
                format!("{year:0count$}")
            }
        }
        'M' if count <= 2 => two(date.month())?,
        'M' => name(MONTHS[usize::try_from(date.month() - 1).ok()?], count)?,
        'd' => two(date.day())?,
        'H' => two(date.hour())?,
        'm' => two(date.minute())?,
        's' => two(date.second())?,
        'S' => format!("{:09}", date.subsec_nanosecond())[..count].to_owned(),
        'E' => name(weekday(date.weekday()), count)?,
        _ => return None,
    };
    out.push_str(&text);
    Some(())
}

/// Up to three letters ask for the short name, four for the long one.
fn name(name: &str, count: usize) -> Option<String> {
    match count {
        ..=3 => Some(name.chars().take(3).collect()),
        4 => Some(name.to_owned()),
        _ => None,
    }
}

const fn weekday(day: Weekday) -> &'static str {
    match day {
        Weekday::Monday => "Monday",
        Weekday::Tuesday => "Tuesday",
        Weekday::Wednesday => "Wednesday",
        Weekday::Thursday => "Thursday",
        Weekday::Friday => "Friday",
        Weekday::Saturday => "Saturday",
        Weekday::Sunday => "Sunday",
    }
}

/// The text from an opening quote to its closing one, and what comes after. None when it is never closed.
fn quoted(from: &str) -> Option<(String, &str)> {
    if let Some(after) = from.strip_prefix("''") {
        return Some(("'".to_owned(), after));
    }
    let mut text = String::new();
    let mut rest = from.strip_prefix('\'')?;
    loop {
        let (before, after) = rest.split_once('\'')?;
        text.push_str(before);
        match after.strip_prefix('\'') {
            Some(after) => {
                text.push('\'');
                rest = after;
            }
            None => return Some((text, after)),
        }
    }
}
