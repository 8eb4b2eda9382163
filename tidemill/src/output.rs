//! Words and tables for people on stdout and stderr. A reader that goes away (`| head`) is not an error:
//! what was asked is still done, it is just not told any more.

use std::fmt::Display;
use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use comfy_table::{CellAlignment, Table};
use domain::Timestamp;

static CLOSED: AtomicBool = AtomicBool::new(false);

/// Writes a line to stdout.
pub(crate) fn say(line: impl Display) {
    write(format!("{line}\n").as_bytes());
}

/// Writes bytes to stdout as they are.
pub(crate) fn write(bytes: &[u8]) {
    if CLOSED.load(Ordering::Relaxed) {
        return;
    }
    let mut out = io::stdout().lock();
    if out.write_all(bytes).and_then(|()| out.flush()).is_err() {
        CLOSED.store(true, Ordering::Relaxed);
    }
}

/// Nobody reads stdout any more. A verb that prints without end may end.
pub(crate) fn closed() -> bool {
    CLOSED.load(Ordering::Relaxed)
}

/// Writes a line to stderr.
pub(crate) fn complain(line: &str) {
    // With stderr gone there is nobody left to tell.
    let _ = writeln!(io::stderr().lock(), "{line}");
}

/// Writes a JSON document to stdout.
pub(crate) fn document(value: &serde_json::Value) {
    say(format_args!("{value:#}"));
}

/// Writes columns that line up; the numbered columns to the right.
pub(crate) fn table<const N: usize>(
    header: [&str; N],
    right: &[usize],
    rows: impl IntoIterator<Item = [String; N]>,
) {
    let mut table = Table::new();
    table.load_style(comfy_table::presets::NOTHING);
    table.set_header(header);
    for row in rows {
        table.add_row(row.map(|cell| flat(&cell)));
    }
    for column in table.column_iter_mut() {
        // Columns are two spaces apart, and the first one begins at the margin.
        column.set_padding((0, 2));
    }
    for &column in right {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    say(table.trim_fmt());
}

/// The text on one line, and without anything that could steer a terminal.
pub(crate) fn flat(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect()
}

/// A span as people say it: `480ms`, `3.2s`, `4m07s`, `2h05m`.
pub(crate) fn span(span: Duration) -> String {
    let millis = span.as_millis();
    let seconds = span.as_secs();
    match seconds {
        0 => format!("{millis}ms"),
        1..60 => format!("{seconds}.{}s", span.subsec_millis() / 100),
        60..3600 => format!("{}m{:02}s", seconds / 60, seconds % 60),
        3600.. => format!("{}h{:02}m", seconds / 3600, seconds / 60 % 60),
    }
}

/// A point in time as documents write it: ISO 8601 in UTC, with microseconds.
pub(crate) fn iso(time: Timestamp) -> String {
    jiff::Timestamp::from_microsecond(time.micros())
        .map(|time| format!("{time:.6}"))
        .unwrap_or_default()
}

/// A point in time for people who were there: the local time of day.
pub(crate) fn clock(time: Timestamp) -> String {
    local(time, "%H:%M:%S%.3f")
}

/// A point in time for people: local date and time.
pub(crate) fn date(time: Timestamp) -> String {
    local(time, "%Y-%m-%d %H:%M:%S%.3f")
}

fn local(time: Timestamp, format: &str) -> String {
    jiff::Timestamp::from_microsecond(time.micros())
        .map(|time| {
            time.to_zoned(jiff::tz::TimeZone::system())
                .strftime(format)
                .to_string()
        })
        .unwrap_or_default()
}

/// A point in time that a document wrote, if it is one.
pub(crate) fn parse(time: &str) -> Option<Timestamp> {
    let time: jiff::Timestamp = time.parse().ok()?;
    Some(Timestamp(time.as_microsecond()))
}

/// Now, by this machine's clock.
pub(crate) fn now() -> Timestamp {
    Timestamp(jiff::Timestamp::now().as_microsecond())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_read_well_at_every_size() {
        let said =
            [40, 3_250, 59_999, 247_000, 7_500_000].map(|ms| span(Duration::from_millis(ms)));
        assert_eq!(said, ["40ms", "3.2s", "59.9s", "4m07s", "2h05m"]);
    }

    #[test]
    fn a_time_reads_back_what_it_writes() {
        let time = Timestamp(1_700_000_000_123_456);
        assert_eq!(iso(time), "2023-11-14T22:13:20.123456Z");
        assert_eq!(parse(&iso(time)), Some(time));
        assert_eq!(parse("yesterday"), None);
    }

    #[test]
    fn a_reason_cannot_break_a_line_or_steer_a_terminal() {
        assert_eq!(flat("a\nb\x1b[31mc"), "a b [31mc");
    }
}
