//! What holds for every file, and for every heap of bytes.

use std::time::Duration;

use domain::TaskCode;
use domain::workflow_definition::{
    Direction, Param, Policy, Priority, RetryPolicy, TaskKind, TaskSpec, Workflow, WorkflowSpec,
};
use proptest::prelude::*;

use super::tests::WHOLE;
use super::*;

fn name() -> impl Strategy<Value = String> {
    "[a-zA-Z0-9_ äß:#'\"{}-]{0,11}[a-z]"
}

fn param() -> impl Strategy<Value = Param> {
    let direct = prop_oneof![Just(Direction::In), Just(Direction::Out)];
    (
        name(),
        direct,
        prop::sample::select(Param::TYPES.to_vec()),
        any::<String>(),
    )
        .prop_map(|(name, direct, type_name, value)| Param {
            name,
            direct,
            type_name: type_name.to_owned(),
            value: value.replace('\0', ""),
        })
}

fn params_of(names: Vec<Param>) -> Vec<Param> {
    let mut seen = std::collections::HashSet::new();
    names
        .into_iter()
        .filter(|param| seen.insert(param.name.clone()))
        .collect()
}

prop_compose! {
    fn workflow()(
        (project, flow) in (name(), name()),
        globals in prop::collection::vec(param(), 0..4),
        tasks in prop::collection::btree_map(
            name(),
            (any::<(u32, u16, bool)>(), "\\PC{0,40}[a-z]\n?", prop::collection::vec(param(), 0..3), any::<u64>()),
            1..6,
        ),
    ) -> WorkflowSpec {
        let names: Vec<String> = tasks.keys().cloned().collect();
        let tasks = tasks.into_iter().enumerate().map(|(index, (name, (numbers, run, params, bits)))| {
            let (millis, times, noop) = numbers;
            let retry = RetryPolicy { times: u32::from(times % 3), interval: Duration::from_millis(u64::from(millis)) };
            TaskSpec {
                code: if bits & 1 == 0 { TaskCode::of_name(&name) } else { TaskCode(1 + index as u64) },
                name,
                kind: if noop { TaskKind::Noop {} } else { TaskKind::Shell { run } },
                depends_on: names[..index].iter().filter(|_| bits & 2 == 0).cloned().collect(),
                params: params_of(params),
                policy: Policy {
                    retry: if retry.times == 0 { RetryPolicy::default() } else { retry },
                    priority: if bits & 4 == 0 { Priority::Medium } else { Priority::Lowest },
                    worker_group: if bits & 8 == 0 { "default".to_owned() } else { "big".to_owned() },
                    ..Policy::default()
                },
            }
        }).collect();
        let globals = params_of(globals).into_iter().map(|param| Param { direct: Direction::In, ..param });
        WorkflowSpec { name: flow, project, params: globals.collect(), tasks, ..WorkflowSpec::default() }
    }
}

proptest! {
    #[test]
    fn what_is_written_reads_back_as_the_same(spec in workflow()) {
        let file = write(&spec).get().to_owned();
        let read = read(file.as_bytes());
        let checked = Workflow::check(spec).ok();
        prop_assert_eq!(read.as_ref().ok(), checked.as_ref(), "{}: {:?}", file, read);
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
            let lines = text.lines().count() + 1;
            prop_assert!(flaws.iter().all(|flaw| (1..=lines).contains(&flaw.line) && flaw.column > 0), "{:?}", flaws);
        }
    }
}
