//! Dates against what the original makes of them, and where zones change their clocks.

use jiff::civil::DateTime;
use proptest::prelude::*;
use serde::Deserialize;

use super::*;

fn moment(zone: &str, at: &str) -> Moment {
    let zone = Zone::parse(zone).unwrap();
    let at = point(&zone, at);
    Moment { at, zone }
}

fn point(zone: &Zone, at: &str) -> Timestamp {
    let at: DateTime = at.parse().unwrap();
    let at = at.to_zoned(zone.0.clone()).unwrap();
    Timestamp(at.timestamp().as_microsecond())
}

/// What a placeholder is replaced by.
#[derive(Deserialize)]
struct Written {
    at: String,
    write: String,
    read: String,
}

/// Intervals without gaps: where they begin and end, and how many there are.
#[derive(Deserialize)]
struct LookedBack {
    at: String,
    cycle: String,
    value: String,
    from: String,
    until: String,
    count: usize,
}

fn lines<T: for<'a> Deserialize<'a>>(file: &str) -> Vec<T> {
    let read = |line| serde_json::from_str(line).unwrap();
    file.lines().map(read).collect()
}

#[test]
fn placeholders_read_as_the_original_reads_them() {
    let all: Vec<Written> = lines(include_str!("testdata/placeholders.jsonl"));
    assert_eq!(all.len(), 100);
    for line in all {
        let replaced = replace(&line.write, &moment("UTC", &line.at));
        assert_eq!(replaced, line.read, "{} at {}", line.write, line.at);
    }
}

#[test]
fn intervals_are_the_original_ones_but_for_the_corrected() {
    let all: Vec<LookedBack> = lines(include_str!("testdata/intervals.jsonl"));
    assert_eq!(all.len(), 38);
    for line in all {
        let moment = moment("UTC", &line.at);
        let found = intervals(&line.cycle, &line.value, &moment).unwrap();
        let case = format!("{} at {}", line.value, line.at);
        assert_eq!(found.len(), line.count, "{case}");
        assert!(found.windows(2).all(|two| two[0].1 == two[1].0), "{case}");
        assert_eq!(found[0].0, point(&moment.zone, &line.from), "{case}");
        let last = found.last().unwrap();
        assert_eq!(last.1, point(&moment.zone, &line.until), "{case}");
    }
}

mod edges;
