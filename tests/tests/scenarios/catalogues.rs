//! The catalogues in `docs/scenarios.md` that name tests of every crate: each test that they name is there, and
//! each test whose name carries a number of theirs is named by that number.
//!
//! A name carries `d17` and `i7` at its beginning, and the numbers of reported issues after `issue`:
//! `d17_issue_10785_10854_a_report_is_not_acked_before_it_is_stored`.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use tests::binary::root;

/// A test by its file, from the root of the repository, and its name.
type Test = (String, String);

fn read(path: &Path) -> String {
    fs::read_to_string(path).expect("a file of the repository can be read")
}

fn sources(folder: &Path, found: &mut Vec<(String, String)>) {
    for entry in fs::read_dir(folder).expect("a folder of the repository") {
        let path = entry.expect("an entry").path();
        let built = path.file_name().is_some_and(|name| name == "target");
        if path.is_dir() && !built {
            sources(&path, found);
        } else if path.extension().is_some_and(|end| end == "rs") {
            let name = path.strip_prefix(root()).expect("it is below the root");
            found.push((name.display().to_string(), read(&path)));
        }
    }
}

/// Every source file of every crate, with its text.
fn all_sources() -> Vec<(String, String)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(root()).expect("the root of the repository") {
        let folder = entry.expect("an entry").path();
        if folder.join("Cargo.toml").is_file() {
            sources(&folder, &mut found);
        }
    }
    found
}

/// The numbers that the name of a function carries: `D-17`, `I-7`, `#10785`.
fn numbers(name: &str) -> BTreeSet<String> {
    let mut words = name.split('_').peekable();
    let mut found = BTreeSet::new();
    while let Some(word) = words.next_if(|word| list_of(word).is_some()) {
        found.extend(list_of(word));
    }
    if words.next_if_eq(&"issue").is_some() {
        while let Some(number) = words.next_if(|word| word.parse::<u32>().is_ok()) {
            found.insert(format!("#{number}"));
        }
    }
    found
}

/// `d17` as `D-17`, `i7` as `I-7`.
fn list_of(word: &str) -> Option<String> {
    let digits = |digits: &str| digits.parse::<u8>().is_ok().then(|| digits.to_owned());
    match (word.strip_prefix('d'), word.strip_prefix('i')) {
        (Some(rest), _) if rest.len() == 2 => Some(format!("D-{}", digits(rest)?)),
        (_, Some(rest)) if rest.len() == 1 => Some(format!("I-{}", digits(rest)?)),
        _ => None,
    }
}

/// Every test that carries numbers, once for each of them.
fn carried(sources: &[(String, String)]) -> BTreeSet<(String, Test)> {
    let function = |line: &str| {
        let line = line.trim_start();
        let line = line.strip_prefix("async ").unwrap_or(line);
        let (name, _) = line.strip_prefix("fn ")?.split_once('(')?;
        Some(name.to_owned())
    };
    let mut found = BTreeSet::new();
    for (file, text) in sources {
        for name in text.lines().filter_map(function) {
            let test = (file.clone(), name.clone());
            found.extend(
                numbers(&name)
                    .into_iter()
                    .map(|number| (number, test.clone())),
            );
        }
    }
    found
}

/// The tests that a line names: a file and, right after it, a function.
fn named(line: &str) -> Vec<Test> {
    let quoted: Vec<&str> = line.split('`').skip(1).step_by(2).collect();
    let is_file = |word: &str| Path::new(word).extension().is_some_and(|end| end == "rs");
    let pairs = quoted
        .windows(2)
        .filter(|two| is_file(two[0]) && !is_file(two[1]));
    pairs
        .map(|two| (two[0].to_owned(), two[1].to_owned()))
        .collect()
}

/// Of every line of a numbered list: its numbers and the tests that it names.
fn listed(text: &str) -> Vec<(Vec<String>, Vec<Test>)> {
    let row = |line: &str| {
        let (first, _) = line.strip_prefix("| ")?.split_once(" |")?;
        let numbers: Vec<String> = first
            .split(", ")
            .map(|number| number.trim_matches('`').to_owned())
            .collect();
        let ours = |number: &String| {
            ["D-", "I-", "#"]
                .iter()
                .any(|kind| number.starts_with(kind))
        };
        numbers.iter().all(ours).then(|| (numbers, named(line)))
    };
    text.lines().filter_map(row).collect()
}

#[test]
fn every_test_that_a_catalogue_names_is_there() {
    let sources = all_sources();
    let text = read(&root().join("docs/scenarios.md"));
    let tests: BTreeSet<Test> = text.lines().flat_map(named).collect();
    assert!(tests.len() > 200, "the catalogues were found");
    let word = |c: char| !(c.is_alphanumeric() || c == '_');
    let gone: Vec<_> = tests
        .iter()
        .filter(|(file, name)| {
            let source = sources.iter().find(|(known, _)| known == file);
            !source.is_some_and(|(_, text)| text.split(word).any(|word| word == name))
        })
        .collect();
    assert!(gone.is_empty(), "named and not there: {gone:#?}");
}

#[test]
fn every_number_of_a_list_is_carried_by_a_test_and_every_number_that_a_test_carries_is_listed() {
    let carried = carried(&all_sources());
    let rows = listed(&read(&root().join("docs/scenarios.md")));
    let numbers: Vec<&String> = rows.iter().flat_map(|(numbers, _)| numbers).collect();
    let once: BTreeSet<_> = numbers.iter().collect();
    assert_eq!(once.len(), numbers.len(), "a number is listed twice");
    let is_named = |number: &String, test: &Test| {
        let row = rows.iter().find(|(numbers, _)| numbers.contains(number));
        row.is_some_and(|(_, tests)| tests.contains(test))
    };
    let forgotten: Vec<String> = carried
        .iter()
        .filter(|(number, test)| !is_named(number, test))
        .map(|(number, (file, name))| format!("{number}: `{file}` `{name}`"))
        .collect();
    assert!(
        forgotten.is_empty(),
        "docs/scenarios.md does not name {forgotten:#?}"
    );
    for number in numbers {
        assert!(
            carried.iter().any(|(carried, _)| carried == number),
            "no test carries {number}"
        );
    }
}
