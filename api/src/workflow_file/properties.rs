//! What holds for every file, and for every heap of bytes.

mod strategies;

use domain::workflow_definition::{Workflow, WorkflowSpec};
use proptest::prelude::*;

use super::schema::tests::schema_admits;
use super::tests::WHOLE;
use super::*;
use strategies::workflow;

proptest! {
    #[test]
    fn what_is_written_reads_back_as_the_same(spec in workflow()) {
        let file = write(&spec).get().to_owned();
        let checked = Workflow::check(spec);
        prop_assert!(checked.is_ok(), "{}: {:?}", file, checked);
        prop_assert_eq!(read(file.as_bytes()).ok(), checked.ok(), "{}", file);
        prop_assert!(schema_admits(&file), "{}", file);
    }

    /// Else a definition would differ from itself after a restart, and get a new version.
    #[test]
    fn what_is_recorded_is_the_same_when_it_is_read_from_the_log(spec in workflow()) {
        let recorded = serde_json::to_string(&spec).unwrap();
        let read: WorkflowSpec = serde_json::from_str(&recorded).unwrap();
        prop_assert_eq!(read, spec, "{}", recorded);
    }

    #[test]
    fn arbitrary_bytes_are_a_workflow_or_flaws(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(!matches!(read(&bytes), Err(flaws) if flaws.is_empty()));
    }

    #[test]
    fn arbitrary_yaml_is_a_workflow_or_flaws(
        pieces in prop::collection::vec(
            prop::sample::select(vec![
                "name: ", "tasks:", "\n  - ", "\n", "run: |\n", "  ", "{", "}", "[", "]", "a", "'", "\"", ": ", ",",
                "&x ", "*x ", "!t ", "---", "...", "? ", "- ", "#", "\t", "retry: ", "params: ", "depends_on: ", "1",
                "when: ", "type: ", "SWITCH", "DYNAMIC", "values: ", "all: ",
                "~", "\u{feff}", "é", ">", "%YAML 1.2", "\\u", "<<: ",
            ]),
            0..40,
        ),
    ) {
        let text = pieces.concat();
        prop_assert!(!matches!(read(text.as_bytes()), Err(flaws) if flaws.is_empty()));
    }

    #[test]
    fn a_damaged_file_is_a_workflow_or_flaws(at in 0..WHOLE.len(), with in any::<char>(), cut in any::<bool>()) {
        let (before, after) = (&WHOLE[..at], &WHOLE[at..]);
        let text = if cut { before.to_owned() } else { format!("{before}{with}{after}") };
        if let Err(flaws) = read(text.as_bytes()) {
            prop_assert!(!flaws.is_empty());
            // A carriage return alone ends a line too, in YAML.
            let lines = text.split(['\n', '\r']).count() + 1;
            prop_assert!(flaws.iter().all(|flaw| (1..=lines).contains(&flaw.line) && flaw.column > 0), "{:?}", flaws);
        }
    }
}
