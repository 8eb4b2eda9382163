//! The list of scenarios in `docs/scenarios.md` is the list of these tests.

use std::fs;
use std::path::Path;

use tests::binary::root;

/// `(number, claim)` of every scenario in this folder, by file.
fn written() -> Vec<(String, String)> {
    let folder = root().join("tests/tests/scenarios");
    let mut files: Vec<_> = fs::read_dir(folder)
        .expect("the folder of the scenarios")
        .flatten()
        .map(|file| file.path())
        .collect();
    files.sort();
    files.iter().flat_map(|file| claims(file)).collect()
}

fn claims(file: &Path) -> Vec<(String, String)> {
    let text = fs::read_to_string(file).expect("a source file can be read");
    let lines: Vec<_> = text.lines().collect();
    let claim = |three: &[&str]| {
        let number = three[0].strip_prefix("/// ")?;
        let name = three[2].strip_prefix("fn ")?.strip_suffix("() {")?;
        (three[1] == "#[test]").then(|| (number.to_owned(), name.replace('_', " ")))
    };
    lines.windows(3).filter_map(claim).collect()
}

/// `(number, claim)` of every line of the list.
fn listed() -> Vec<(String, String)> {
    let text = fs::read_to_string(root().join("docs/scenarios.md")).expect("the list");
    let row = |line: &str| {
        let (number, claim) = line
            .strip_prefix("| ")?
            .strip_suffix(" |")?
            .split_once(" | ")?;
        let is_number = number.len() == 3 && number[1..].parse::<u8>().is_ok();
        is_number.then(|| (number.to_owned(), claim.to_owned()))
    };
    text.lines().filter_map(row).collect()
}

#[test]
fn every_scenario_is_listed_and_every_number_is_given_once() {
    let (mut written, mut listed) = (written(), listed());
    assert!(written.len() > 100, "the scenarios were found");
    written.sort();
    listed.sort();
    assert_eq!(written, listed);
    let twice = written.windows(2).find(|two| two[0].0 == two[1].0);
    assert_eq!(twice, None, "a number was given twice");
}
