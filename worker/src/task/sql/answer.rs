//! What a database answered: the rows that are kept, and what is told about them.

use super::super::Place;
use crate::outputs;

/// More rows than this are a failure: a task hands over values, not data.
const MOST_ROWS: usize = 10_000;
/// So many rows are shown in the log.
const SHOWN: usize = 100;
/// A cell of the table in the log is no wider.
const WIDEST: usize = 60;

type Row = Vec<Option<String>>;

/// The rows of the last statement that returned any, and one line about each statement.
#[derive(Debug, Default)]
pub(super) struct Answer {
    columns: Vec<String>,
    rows: Vec<Row>,
    /// Bytes in the rows.
    size: usize,
    /// The statement that the rows came from is over.
    over: bool,
    statements: Vec<String>,
}

impl Answer {
    /// Takes one row; `None` is NULL. Fails when there are too many.
    pub(super) fn row(
        &mut self,
        columns: impl Fn() -> Vec<String>,
        row: Row,
    ) -> Result<(), String> {
        if self.over || self.columns.is_empty() {
            self.columns = columns();
            self.rows.clear();
            (self.size, self.over) = (0, false);
        }
        if self.rows.len() == MOST_ROWS {
            return Err(format!(
                "a statement returns more than {MOST_ROWS} rows; a task may return that many at most"
            ));
        }
        self.size += row.iter().flatten().map(String::len).sum::<usize>();
        if self.size > outputs::TOTAL {
            return Err(format!(
                "the rows of a statement are larger than {} KiB in all; select less",
                outputs::TOTAL / 1024
            ));
        }
        self.rows.push(row);
        Ok(())
    }

    /// A statement is over.
    pub(super) fn done(&mut self, affected: u64) {
        let returned = if self.over { 0 } else { self.rows.len() };
        self.over = true;
        self.statements.push(if returned > 0 {
            format!("{returned} {}", if returned == 1 { "row" } else { "rows" })
        } else {
            let rows = if affected == 1 { "row" } else { "rows" };
            format!("{affected} {rows} affected")
        });
    }

    /// Each column as an output: the value of the only row, or a JSON list of the values of all. NULL is an
    /// empty text, or null in a list. Fails when they are too large in all.
    pub(super) fn outputs(&self) -> Result<Vec<(String, String)>, String> {
        let mut outputs: Vec<(String, String)> = Vec::new();
        for (place, name) in self.columns.iter().enumerate() {
            let values: Vec<_> = self.rows.iter().map(|row| row[place].as_deref()).collect();
            let value = match values.as_slice() {
                [] => continue,
                [value] => value.unwrap_or_default().to_owned(),
                values => serde_json::to_string(values).map_err(|e| e.to_string())?,
            };
            // Of two columns of one name, the last counts.
            outputs.retain(|(other, _)| other != name);
            outputs.push((name.clone(), value));
        }
        outputs::check(&outputs).map_err(|e| e.to_string())?;
        Ok(outputs)
    }

    pub(super) async fn log(&self, place: &Place) {
        let mut lines = self.statements.clone();
        if !self.rows.is_empty() {
            lines.push(self.table());
        }
        if !lines.is_empty() {
            place.say(lines.join("\n")).await;
        }
    }

    fn table(&self) -> String {
        let shown = &self.rows[..self.rows.len().min(SHOWN)];
        let cell = |row: &Row, place: usize| narrow(row[place].as_deref().unwrap_or("NULL"));
        let width = |place: usize| {
            let cells = shown.iter().map(|row| cell(row, place).chars().count());
            let name = narrow(&self.columns[place]).chars().count();
            cells.max().unwrap_or(0).max(name)
        };
        let widths: Vec<_> = (0..self.columns.len()).map(width).collect();
        let line = |cells: Vec<String>| {
            let cells = cells.iter().zip(&widths);
            let padded: Vec<_> = cells
                .map(|(cell, width)| format!("{cell:width$}"))
                .collect();
            padded.join(" | ").trim_end().to_owned()
        };
        let rule: Vec<_> = widths.iter().map(|width| "-".repeat(*width)).collect();
        let mut lines = vec![
            line(self.columns.iter().map(|name| narrow(name)).collect()),
            rule.join("-+-"),
        ];
        lines.extend(
            shown
                .iter()
                .map(|row| line((0..row.len()).map(|place| cell(row, place)).collect())),
        );
        if shown.len() < self.rows.len() {
            lines.push(format!(
                "[tidemill] and {} more",
                self.rows.len() - shown.len()
            ));
        }
        lines.join("\n")
    }
}

/// A text on one line and not too long.
fn narrow(text: &str) -> String {
    let mut line: String = text
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .take(WIDEST)
        .collect();
    if text.chars().nth(WIDEST).is_some() {
        line.push_str("...");
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(columns: &[&str], rows: &[&[Option<&str>]]) -> Answer {
        let mut answer = Answer::default();
        let columns: Vec<String> = columns.iter().map(|c| (*c).to_owned()).collect();
        for row in rows {
            let row = row.iter().map(|cell| cell.map(str::to_owned)).collect();
            answer.row(|| columns.clone(), row).unwrap();
        }
        answer
    }

    fn pairs(outputs: &[(String, String)]) -> Vec<(&str, &str)> {
        outputs
            .iter()
            .map(|(n, v)| (n.as_str(), v.as_str()))
            .collect()
    }

    #[test]
    fn one_row_gives_values_and_several_give_lists() {
        let one = answer(&["a", "b"], &[&[Some("1"), None]]);
        assert_eq!(pairs(&one.outputs().unwrap()), [("a", "1"), ("b", "")]);
        let two = answer(&["a"], &[&[Some("x\"y")], &[None]]);
        assert_eq!(pairs(&two.outputs().unwrap()), [("a", r#"["x\"y",null]"#)]);
    }

    #[test]
    fn the_last_statement_with_rows_counts() {
        let mut answer = answer(&["a"], &[&[Some("1")]]);
        answer.done(1);
        answer
            .row(|| vec!["b".into()], vec![Some("2".into())])
            .unwrap();
        answer.done(1);
        answer.done(3);
        assert_eq!(pairs(&answer.outputs().unwrap()), [("b", "2")]);
        assert_eq!(answer.statements, ["1 row", "1 row", "3 rows affected"]);
    }

    #[test]
    fn too_many_rows_and_too_large_rows_are_refused() {
        let mut many = Answer::default();
        for _ in 0..MOST_ROWS {
            many.row(|| vec!["a".into()], vec![None]).unwrap();
        }
        let refused = many.row(Vec::new, vec![None]).unwrap_err();
        assert!(refused.contains("10000 rows"), "{refused}");
        let mut large = Answer::default();
        let cell = Some("x".repeat(outputs::TOTAL + 1));
        let refused = large.row(|| vec!["a".into()], vec![cell]).unwrap_err();
        assert!(refused.contains("256 KiB"), "{refused}");
    }

    #[test]
    fn the_table_in_the_log_is_bounded_in_both_directions() {
        let long = "x".repeat(1000);
        let rows: Vec<Vec<Option<&str>>> = vec![vec![Some("1"), Some(&long)]; SHOWN + 5];
        let rows: Vec<&[Option<&str>]> = rows.iter().map(Vec::as_slice).collect();
        let table = answer(&["id", "text"], &rows).table();
        let lines: Vec<_> = table.lines().collect();
        assert_eq!(lines[0], "id | text");
        assert!(lines[1].starts_with("---+----"));
        assert_eq!(lines.last(), Some(&"[tidemill] and 5 more"));
        assert_eq!(lines.len(), SHOWN + 3);
        assert!(lines.iter().all(|line| line.chars().count() < 80));
    }
}
