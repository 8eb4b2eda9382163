//! Finds the values a task sets: `${setValue(name=value)}` or `#{setValue(name=value)}`, anywhere in a
//! line of its log, several to a line if it likes. The last value of a name wins.

use std::collections::HashMap;
use std::io::{self, BufRead, Read};

/// A longer line is looked at in pieces of this size, so that no log can fill the memory.
const LINE: u64 = 1024 * 1024;
/// More than this in all does not fit what an engine wants to keep; the task fails and says so.
pub(crate) const TOTAL: usize = 256 * 1024;
/// A reason is a sentence.
const LONGEST_REASON: usize = 1024;
const REASON: &[u8] = b"reason: ";
const MARK: &[u8] = b"{setValue(";
const END: &[u8] = b")}";

#[derive(Debug, thiserror::Error)]
pub(crate) enum Unreadable {
    #[error("its log cannot be read for outputs: {0}")]
    Log(#[from] io::Error),
    #[error("its outputs are larger than {} KiB in all", TOTAL / 1024)]
    TooLarge,
}

/// The outputs in a log, in order of first appearance.
pub(crate) fn scan(mut log: impl BufRead) -> Result<Vec<(String, String)>, Unreadable> {
    let mut outputs: Vec<(String, String)> = Vec::new();
    let mut places: HashMap<String, usize> = HashMap::new();
    let mut size = 0;
    let mut line = Vec::new();
    loop {
        line.clear();
        if log.by_ref().take(LINE).read_until(b'\n', &mut line)? == 0 {
            return Ok(outputs);
        }
        for (name, value) in find(&line) {
            if let Some(place) = places.get(&name) {
                size = size - outputs[*place].1.len() + value.len();
                outputs[*place].1 = value;
            } else {
                size += name.len() + value.len();
                places.insert(name.clone(), outputs.len());
                outputs.push((name, value));
            }
            if size > TOTAL {
                return Err(Unreadable::TooLarge);
            }
        }
    }
}

/// Refuses outputs that are larger in all than what an engine wants to keep.
pub(crate) fn check(outputs: &[(String, String)]) -> Result<(), Unreadable> {
    let size = |(name, value): &(String, String)| name.len() + value.len();
    if outputs.iter().map(size).sum::<usize>() > TOTAL {
        return Err(Unreadable::TooLarge);
    }
    Ok(())
}

/// What a program says of its failure: the last line of its log that begins with `reason: `.
pub(crate) fn reason(mut log: impl BufRead) -> io::Result<Option<String>> {
    let mut reason = None;
    let mut line = Vec::new();
    loop {
        line.clear();
        if log.by_ref().take(LINE).read_until(b'\n', &mut line)? == 0 {
            return Ok(reason);
        }
        if let Some(said) = line.strip_prefix(REASON) {
            let said = &said[..said.len().min(LONGEST_REASON)];
            reason = Some(String::from_utf8_lossy(said).trim().to_owned());
        }
    }
}

/// All settings in one line, from left to right. What has no name, no `=` or no end is not a setting.
fn find(line: &[u8]) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut rest = line;
    while let Some(mark) = position(rest, MARK) {
        let opened = mark > 0 && matches!(rest[mark - 1], b'$' | b'#');
        rest = &rest[mark + MARK.len()..];
        if !opened {
            continue;
        }
        let Some(end) = position(rest, END) else {
            break;
        };
        if let Some(equals) = rest[..end].iter().position(|b| *b == b'=') {
            let name = String::from_utf8_lossy(&rest[..equals]).trim().to_owned();
            if !name.is_empty() {
                found.push((
                    name,
                    String::from_utf8_lossy(&rest[equals + 1..end]).into_owned(),
                ));
            }
        }
        rest = &rest[end + END.len()..];
    }
    found
}

fn position(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes
        .windows(wanted.len())
        .position(|window| window == wanted)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn set(log: &str) -> Vec<(String, String)> {
        scan(log.as_bytes()).unwrap()
    }

    fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
        expected
            .iter()
            .map(|(n, v)| ((*n).to_owned(), (*v).to_owned()))
            .collect()
    }

    #[test]
    fn a_value_may_hold_spaces_equals_signs_and_brackets() {
        let log = "rows: ${setValue(rows=42)} done\n#{setValue(q=a = b, f(x) {y})}\n";
        assert_eq!(set(log), pairs(&[("rows", "42"), ("q", "a = b, f(x) {y}")]));
    }

    #[test]
    fn several_to_a_line_and_the_last_value_of_a_name_wins_in_the_place_of_the_first() {
        let log = "${setValue(a=1)}${setValue(b=2)} #{setValue(a=3)}";
        assert_eq!(set(log), pairs(&[("a", "3"), ("b", "2")]));
    }

    #[test]
    fn an_empty_value_is_a_value() {
        assert_eq!(set("${setValue(a=)}"), pairs(&[("a", "")]));
    }

    #[test]
    fn what_is_not_a_setting_sets_nothing() {
        let log =
            "{setValue(a=1)} ${setValue(=1)} ${setValue(a)} ${setvalue(a=1)}\n${setValue(a=1\n)}";
        assert_eq!(set(log), []);
    }

    #[test]
    fn too_much_in_all_is_an_error_and_not_a_silent_loss() {
        let log = format!("${{setValue(a={})}}", "x".repeat(TOTAL));
        assert!(matches!(scan(log.as_bytes()), Err(Unreadable::TooLarge)));
    }

    #[test]
    fn the_last_line_that_gives_a_reason_is_the_reason() {
        let log = "reason: first\nthe reason: no\nreason: second \nbye\n";
        assert_eq!(reason(log.as_bytes()).unwrap().as_deref(), Some("second"));
        assert_eq!(reason("fine".as_bytes()).unwrap(), None);
    }

    proptest! {
        #[test]
        fn no_log_breaks_the_scan(log in prop::collection::vec(any::<u8>(), 0..400)) {
            let _ = scan(log.as_slice());
        }

        #[test]
        fn what_is_set_is_found_whatever_stands_around_it(
            before in "[^{}\n]{0,20}", after in "[^{}\n]{0,20}",
            name in "[a-z_][a-z0-9_.]{0,8}", value in "[^)}\n\r]{0,40}",
        ) {
            let log = format!("{before}\n{before}${{setValue({name}={value})}}{after}\n{after}");
            prop_assert_eq!(set(&log), vec![(name, value)]);
        }
    }
}
