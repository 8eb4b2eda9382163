//! The figures for people: a few lines about the machine, then a row for each workload in two tables, how fast
//! it was and what it cost.

use std::fmt::Write;

use comfy_table::{CellAlignment, Table, presets};

use crate::figures::ratio;
use crate::floors::Floor;
use crate::log::LogRow;
use crate::report::{Report, Row};
use crate::startup::StartRow;
use crate::waiting::WaitingRow;

impl Report {
    /// All of it as text, without a line end behind it.
    pub fn text(&self) -> String {
        let mut text = self.head();
        if !self.floors.is_empty() {
            section(&mut text, &floors(&self.floors));
        }
        if !self.log.is_empty() {
            section(&mut text, &log(&self.log));
        }
        if !self.workloads.is_empty() {
            section(&mut text, &speed(&self.workloads));
            section(&mut text, &costs(&self.workloads));
        }
        if !self.starts.is_empty() {
            section(&mut text, &starts(&self.starts));
        }
        if !self.waiting.is_empty() {
            section(&mut text, &waiting(&self.waiting));
        }
        text.truncate(text.trim_end().len());
        text
    }

    fn head(&self) -> String {
        let Self {
            machine, database, ..
        } = self;
        let settings = database.durability.iter();
        let settings: Vec<_> = settings
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        let busy = if machine.busy {
            ", one of them kept busy"
        } else {
            ""
        };
        let mut text = format!(
            "tidemill {} on {} {}, {}\n{} cores{busy}, Linux {}; {} shards, {} worker process(es) of {} slots",
            self.version,
            database.name,
            database.version,
            settings.join(", "),
            machine.cores,
            machine.kernel,
            self.shards,
            self.workers,
            self.slots,
        );
        if self.commit_delay_ms > 0.0 {
            // Writing to a String cannot fail.
            let _ = write!(text, "; each commit held back {} ms", self.commit_delay_ms);
        }
        text.push('\n');
        text
    }
}

fn section(text: &mut String, table: &Table) {
    text.push('\n');
    text.push_str(&table.trim_fmt());
    text.push('\n');
}

fn floors(rows: &[Floor]) -> Table {
    table(["F: AT BEST", "PER SECOND", "MIN", "MAX"], rows, |row| {
        [
            row.name.to_owned(),
            digits(row.per_s.median),
            digits(row.per_s.min),
            digits(row.per_s.max),
        ]
    })
}

fn log(rows: &[LogRow]) -> Table {
    let header = [
        "L: SHARDS",
        "EVENTS/append",
        "APPENDS/s",
        "EVENTS/s",
        "BY HAND",
        "RATIO",
        "EVENTS/commit",
    ];
    table(header, rows, |row| {
        [
            row.shards.to_string(),
            row.batch.to_string(),
            digits(row.appends_per_s),
            digits(row.events_per_s.median),
            digits(row.by_hand_events_per_s.median),
            format!("{:.0}%", row.ratio * 100.0),
            digits(ratio(row.events as f64, row.commits as f64)),
        ]
    })
}

fn starts(rows: &[StartRow]) -> Table {
    let header = [
        "S: RUNS",
        "FIRST TASK ENDED ms",
        "MIN",
        "MAX",
        "EXIT ms",
        "IDLE SERVICE MB",
        "PEAK",
        "PROGRAM MB",
    ];
    table(header, rows, |row| {
        [
            row.runs.to_string(),
            digits(row.first_end_ms.median),
            digits(row.first_end_ms.min),
            digits(row.first_end_ms.max),
            digits(row.exit_ms.median),
            megabytes(Some(row.idle.now)),
            megabytes(Some(row.idle.peak)),
            megabytes(Some(row.program_bytes)),
        ]
    })
}

fn waiting(rows: &[WaitingRow]) -> Table {
    let header = [
        "W8: WAITING FOR",
        "TASKS",
        "FILLED IN s",
        "BYTES/task",
        "ENGINE MB",
        "IDLE CPU",
        "RESTART s",
        "THEN MB",
    ];
    table(header, rows, |row| {
        [
            row.waiting_for.to_owned(),
            row.tasks.to_string(),
            digits(row.filling_s),
            digits(row.bytes_per_task),
            megabytes(Some(row.memory.now)),
            format!("{:.2}%", row.idle_cpu * 100.0),
            digits(row.restart_s),
            megabytes(Some(row.memory_after_restart.now)),
        ]
    })
}

fn speed(rows: &[Row]) -> Table {
    let header = [
        "WORKLOAD",
        "RUNS",
        "WALL s",
        "MIN",
        "MAX",
        "WORKFLOWS/s",
        "TASKS/s",
        "p50 ms",
        "p95",
        "p99",
        "COMMITS/s",
        "FOREIGN CPU",
    ];
    table(header, rows, |row| {
        let noise = if row.noisy { " NOISY" } else { "" };
        [
            name(row),
            row.runs.to_string(),
            digits(row.wall_s.median),
            digits(row.wall_s.min),
            digits(row.wall_s.max),
            digits(row.workflows_per_s),
            digits(row.tasks_per_s),
            digits(row.latency_ms.p50),
            digits(row.latency_ms.p95),
            digits(row.latency_ms.p99),
            digits(row.commits_per_s),
            format!("{:.0}%{noise}", row.foreign_cpu * 100.0),
        ]
    })
}

fn costs(rows: &[Row]) -> Table {
    let header = [
        "WORKLOAD",
        "EVENTS/task",
        "COMMITS/workflow",
        "EVENTS/commit",
        "CPU ms/task",
        "CPU s: ENGINE",
        "WORKER",
        "DATABASE",
        "CLIENT",
        "PEAK MB: ENGINE",
        "WORKER",
        "DATABASE (now)",
    ];
    table(header, rows, |row| {
        let peak = |who| row.memory.get(who).map(|memory| memory.peak);
        let now = |who| row.memory.get(who).map(|memory| memory.now);
        [
            name(row),
            digits(row.events_per_task),
            digits(row.commits_per_workflow),
            digits(row.events_per_commit),
            digits(row.cpu_ms_per_task),
            digits(row.cpu_s.engine),
            digits(row.cpu_s.worker),
            row.cpu_s.database.map_or_else(|| "-".to_owned(), digits),
            digits(row.cpu_s.client),
            megabytes(peak("engine")),
            megabytes(peak("worker")),
            // What its processes share would be counted many times in their peaks.
            megabytes(now("database")),
        ]
    })
}

fn name(row: &Row) -> String {
    format!("{} {}", row.workload, row.variant)
        .trim()
        .to_owned()
}

/// Columns that line up; all but the first to the right.
pub(crate) fn table<const N: usize, T>(
    header: [&str; N],
    rows: &[T],
    cells: impl Fn(&T) -> [String; N],
) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(header);
    for row in rows {
        table.add_row(cells(row));
    }
    for (number, column) in table.column_iter_mut().enumerate() {
        column.set_padding((0, 2));
        if number > 0 {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}

/// Three digits that count.
pub(crate) fn digits(number: f64) -> String {
    let size = number.abs();
    if size >= 100.0 || size == 0.0 {
        format!("{number:.0}")
    } else if size >= 10.0 {
        format!("{number:.1}")
    } else if size >= 1.0 {
        format!("{number:.2}")
    } else {
        format!("{number:.3}")
    }
}

fn megabytes(bytes: Option<u64>) -> String {
    bytes.map_or_else(|| "-".to_owned(), |bytes| digits(bytes as f64 / 1e6))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_has_three_digits_that_count() {
        let written = [0.0, 0.0421, 0.5, 1.234, 12.34, 123.4, 12_345.6].map(digits);
        assert_eq!(
            written,
            ["0", "0.042", "0.500", "1.23", "12.3", "123", "12346"]
        );
    }

    #[test]
    fn columns_line_up_to_the_right() {
        let rows = [("a", 1), ("bcd", 1_000)];
        let table = table(["NAME", "N"], &rows, |row| {
            [row.0.to_owned(), row.1.to_string()]
        });
        assert_eq!(table.trim_fmt(), "NAME     N\na        1\nbcd   1000");
    }
}
