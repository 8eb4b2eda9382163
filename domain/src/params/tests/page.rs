//! The page for authors says what the code does: its tables are tried row by row.

use super::*;
use crate::calendar::{intervals, known_value};
use crate::expression::holds;

const PAGE: &str = include_str!("../../../../docs/parameters.md");

/// The cells of the table under a heading, without its head.
fn rows(heading: &str) -> Vec<Vec<String>> {
    let (_, section) = PAGE.split_once(&format!("\n## {heading}\n")).unwrap();
    let section = section.split("\n## ").next().unwrap();
    let rows = section.lines().filter(|line| line.starts_with("| "));
    let cells = |line: &str| {
        let line = line.replace("\\|", "\u{0}");
        let cells = line.trim_matches('|').split('|');
        cells
            .map(|cell| cell.trim().replace('\u{0}', "|"))
            .collect()
    };
    rows.skip(1).map(cells).collect()
}

fn code(cell: &str) -> &str {
    cell.trim_matches('`')
}

/// Monday, 2026-06-15 14:00:00.
fn monday() -> Moment {
    Moment {
        at: Timestamp(1_781_503_200_000_000),
        zone: Zone::parse("Asia/Shanghai").unwrap(),
    }
}

#[test]
fn every_date_on_the_page_is_what_it_says() {
    let utc = Moment {
        at: Timestamp(1_781_532_000_000_000),
        zone: Zone::default(),
    };
    let rows = rows("Dates");
    assert_eq!(rows.len(), 26);
    for row in rows {
        let becomes = render(code(&row[0]), &Values::new(), &monday());
        assert_eq!(becomes, code(&row[1]), "{}", row[0]);
        if !row[0].contains("timestamp") {
            let becomes = render(code(&row[0]), &Values::new(), &utc);
            assert_eq!(becomes, code(&row[1]), "{} in UTC", row[0]);
        }
    }
}

#[test]
fn every_interval_on_the_page_is_what_it_says_and_none_is_missing() {
    let rows = rows("Intervals of DEPENDENT");
    for row in &rows {
        let found = intervals(code(&row[0]), code(&row[1]), &monday()).unwrap();
        let shown = |at: Timestamp| {
            let moment = Moment { at, ..monday() };
            render("$[yyyy-MM-dd HH:mm]", &Values::new(), &moment)
        };
        assert_eq!(found.len().to_string(), row[4], "{row:?}");
        assert_eq!(shown(found[0].0), code(&row[2]), "{row:?}");
        assert_eq!(shown(found[found.len() - 1].1), code(&row[3]), "{row:?}");
    }
    for cycle in ["hour", "day", "week", "month"] {
        let known = known_value(cycle, "").unwrap_err();
        let (_, known) = known.split_once("expected one of ").unwrap();
        let told = rows.iter().filter(|row| code(&row[0]) == cycle);
        let told: Vec<&str> = told.map(|row| code(&row[1])).collect();
        assert_eq!(known, told.join(", "));
    }
}

#[test]
fn every_condition_on_the_page_comes_to_what_it_says() {
    let known = values(&[
        ("rows", "42"),
        ("state", "OK"),
        ("flag", "true"),
        ("id", "007"),
        ("evil", "1 || true"),
    ]);
    let rows = rows("Conditions");
    assert_eq!(rows.len(), 17);
    for row in rows {
        let said = match holds(code(&row[0]), &known) {
            Ok(truth) => format!("`{truth}`"),
            Err(sentence) => sentence,
        };
        assert_eq!(said, row[1], "{}", row[0]);
    }
}

#[test]
fn every_type_on_the_page_takes_and_refuses_what_it_says() {
    let rows = rows("Types");
    let told: Vec<&str> = rows.iter().map(|row| code(&row[0])).collect();
    let mut known = Param::TYPES.to_vec();
    known.sort_unstable();
    let mut sorted = told.clone();
    sorted.sort_unstable();
    assert_eq!(sorted, known);
    for row in &rows {
        assert_eq!(check_value(code(&row[0]), code(&row[1])), Ok(()), "{row:?}");
        let refused = row.get(2).filter(|cell| !cell.is_empty());
        let refused = refused.map(|bad| check_value(code(&row[0]), code(bad)).is_err());
        assert_ne!(refused, Some(false), "{row:?}");
    }
}

#[test]
fn every_built_in_value_is_on_the_page() {
    let context = Context {
        workflow: "w",
        workflow_code: 1,
        project: "p",
        instance: 1,
        task: "t",
        task_code: 1,
        task_instance: "1".to_owned(),
        moment: monday(),
    };
    let rows = rows("What every task knows");
    let names = rows.iter().flat_map(|row| row[0].split(", "));
    let mut told: Vec<&str> = names.map(code).collect();
    told.sort_unstable();
    let known = builtins(&context);
    assert_eq!(told, known.keys().collect::<Vec<_>>());
    for row in rows.iter().take(3) {
        assert!(
            row[1].ends_with(&format!("`{}`", known[code(&row[0])])),
            "{row:?}"
        );
    }
}
