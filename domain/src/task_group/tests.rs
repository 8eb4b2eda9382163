//! Who gets a slot, as claims and as a table. That none leaks is a property next door.

mod leaks;

use std::fmt::Write;

use proptest::prelude::*;

use super::*;
use crate::id::{InstanceId, TaskCode, TaskId};
use crate::testing::{self, fold};

fn given(past: &[Event]) -> testing::Given<TaskGroup> {
    testing::given(past)
}

fn attempt(task: u64, number: u32) -> AttemptId {
    AttemptId {
        task: TaskId {
            instance: InstanceId(1_000),
            task: TaskCode(task),
        },
        number,
    }
}

fn ask(task: u64, priority: i32) -> Command {
    Command::Ask {
        attempt: attempt(task, 1),
        claim: 0,
        priority,
    }
}

fn release(task: u64) -> Command {
    Command::Release {
        attempt: attempt(task, 1),
        claim: 0,
    }
}

fn force(task: u64) -> Command {
    Command::Force {
        attempt: attempt(task, 1),
    }
}

fn defined(size: u32) -> Event {
    Event::Defined { size }
}

fn requested(task: u64, priority: i32) -> Event {
    Event::Requested {
        attempt: attempt(task, 1),
        claim: 0,
        priority,
    }
}

fn granted(task: u64) -> Event {
    Event::Granted {
        attempt: attempt(task, 1),
        forced: false,
    }
}

fn forced(task: u64) -> Event {
    Event::Granted {
        attempt: attempt(task, 1),
        forced: true,
    }
}

fn released(task: u64) -> Event {
    Event::Released {
        attempt: attempt(task, 1),
    }
}

fn owed(task: u64) -> Obligation {
    Obligation {
        granted: attempt(task, 1),
        claim: 0,
    }
}

/// One slot, and task 1 has it.
fn taken() -> Vec<Event> {
    vec![defined(1), requested(1, 0), granted(1)]
}

#[test]
fn a_free_slot_is_granted_at_once_and_told_until_it_is_given_back() {
    given(&[defined(1)])
        .when(&ask(1, 0))
        .then(&[requested(1, 0), granted(1)])
        .owing(&[owed(1)]);
    given(&taken()).when(&ask(1, 0)).then_nothing();
    given(&taken())
        .when(&release(1))
        .then(&[released(1)])
        .owing(&[]);
    given(&taken()).when(&release(2)).then_nothing();
}

#[test]
fn the_larger_priority_goes_first_and_then_who_asked_first() {
    let past = [
        taken(),
        vec![
            requested(2, 0),
            requested(3, 5),
            requested(4, 5),
            requested(5, -1),
        ],
    ]
    .concat();
    let group = fold(TaskGroup::default(), &past);
    let order: Vec<u64> = group.waiting().map(|waits| waits.task.task.0).collect();
    assert_eq!(order, [3, 4, 2, 5]);
    assert_eq!(group.before(attempt(2, 1)), Some(2));
    assert_eq!(group.before(attempt(1, 1)), None);
    given(&past)
        .when(&release(1))
        .then(&[released(1), granted(3)]);
}

#[test]
fn whoever_gives_up_waiting_takes_no_slot_with_it() {
    let past = [taken(), vec![requested(2, 0), requested(3, 0)]].concat();
    given(&past).when(&release(2)).then(&[released(2)]);
    let past = [past, vec![released(2)]].concat();
    given(&past)
        .when(&release(1))
        .then(&[released(1), granted(3)]);
}

#[test]
fn a_group_that_nobody_has_defined_lets_everybody_wait_until_it_is() {
    given(&[])
        .when(&ask(1, 0))
        .then(&[requested(1, 0)])
        .owing(&[]);
    let waiting = [requested(1, 0), requested(2, 0), requested(3, 0)];
    given(&waiting)
        .when(&Command::Define { size: 2 })
        .then(&[defined(2), granted(1), granted(2)]);
    given(&[defined(0)])
        .when(&ask(1, 0))
        .then(&[requested(1, 0)]);
}

#[test]
fn a_group_that_becomes_smaller_takes_no_slot_away_and_grants_none_until_enough_are_back() {
    let past = [
        defined(2),
        requested(1, 0),
        granted(1),
        requested(2, 0),
        granted(2),
        requested(3, 0),
        defined(1),
    ];
    given(&past).when(&release(1)).then(&[released(1)]);
    let one_back = [&past[..], &[released(1)]].concat();
    given(&one_back)
        .when(&release(2))
        .then(&[released(2), granted(3)]);
    given(&past)
        .when(&Command::Define { size: 1 })
        .then_nothing();
}

#[test]
fn a_forced_start_needs_no_free_slot_and_is_counted_all_the_same() {
    let past = [taken(), vec![requested(2, 0), requested(3, 0)]].concat();
    given(&past)
        .when(&force(3))
        .then(&[forced(3)])
        .owing(&[owed(1), owed(3)]);
    let full = [past, vec![forced(3)]].concat();
    given(&full).when(&force(3)).then_nothing();
    // Two are in use of one: the first to come back is not given away again.
    given(&full).when(&release(1)).then(&[released(1)]);
    given(&full).when(&force(9)).then_refused(
        "FORCE_START is not allowed: attempt 1000/9#1 is not waiting for a slot of the task group; \
         nothing is allowed any more",
    );
}

#[test]
fn what_cannot_follow_is_damage() {
    given(&[]).cannot_be_followed_by(&granted(1));
    given(&[]).cannot_be_followed_by(&released(1));
    given(&taken()).cannot_be_followed_by(&granted(1));
    given(&taken()).cannot_be_followed_by(&requested(1, 0));
}

// The table.

fn words(group: &TaskGroup) -> String {
    let named = |ids: Vec<AttemptId>| -> String {
        let names = ids.iter().map(|id| id.task.task.to_string());
        names.collect::<Vec<_>>().join(" ")
    };
    let size = group.size.map_or("?".to_owned(), |size| size.to_string());
    let holders = named(group.holders.iter().copied().collect());
    let waiting = named(group.waiting().collect());
    format!("{size} [{holders}] {waiting}")
        .trim_end()
        .to_owned()
}

fn rows() -> Vec<TaskGroup> {
    [
        vec![],
        vec![requested(1, 0)],
        vec![defined(1)],
        taken(),
        [taken(), vec![requested(2, 0)]].concat(),
        [taken(), vec![requested(2, 0), forced(2)]].concat(),
    ]
    .iter()
    .map(|past| fold(TaskGroup::default(), past))
    .collect()
}

/// A command's columns. A new command does not compile without one.
fn heading(command: &Command) -> String {
    match command {
        Command::Define { size } => format!("DEFINE {size}"),
        Command::Ask {
            attempt, priority, ..
        } => format!("{} ASKS ({priority})", attempt.task.task),
        Command::Release { attempt, .. } => format!("{} RELEASES", attempt.task.task),
        Command::Force { attempt } => format!("FORCE {}", attempt.task.task),
    }
}

#[test]
fn the_table_of_states_and_commands() {
    let commands = [
        Command::Define { size: 1 },
        Command::Define { size: 2 },
        ask(1, 0),
        ask(2, 0),
        ask(3, 5),
        release(1),
        release(2),
        force(1),
        force(2),
    ];
    let mut table = format!("{:14}", "");
    for command in &commands {
        write!(table, "{:15}", heading(command)).unwrap();
    }
    for group in rows() {
        write!(table, "\n{:14}", words(&group)).unwrap();
        for command in &commands {
            let cell = match group.decide(command) {
                Err(_) => "refused".to_owned(),
                Ok(events) if events.is_empty() => "-".to_owned(),
                Ok(events) => words(&fold(group.clone(), &events)),
            };
            write!(table, "{cell:15}").unwrap();
        }
    }
    let table: Vec<&str> = table.lines().map(str::trim_end).collect();
    let legend = "Size, [who has a slot], who waits. ?: not defined.  - already so.";
    insta::with_settings!({omit_expression => true, prepend_module_to_snapshot => false}, {
        insta::assert_snapshot!("task_group", format!("{}\n\n{legend}", table.join("\n")));
    });
}

fn some_command() -> impl Strategy<Value = Command> {
    let task = 1..6_u64;
    prop_oneof![
        1 => (0..4_u32).prop_map(|size| Command::Define { size }),
        4 => (task.clone(), -1..2_i32).prop_map(|(task, priority)| ask(task, priority)),
        3 => task.clone().prop_map(release),
        1 => task.prop_map(force),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 500, ..ProptestConfig::default() })]

    #[test]
    fn what_decide_says_evolve_takes_and_saying_it_again_adds_nothing(
        commands in prop::collection::vec(some_command(), 1..60)
    ) {
        let mut group = TaskGroup::default();
        let mut log = Vec::new();
        for command in commands {
            let Ok(events) = group.decide(&command) else { continue };
            for event in &events {
                if let Event::Granted { forced: false, .. } = event {
                    prop_assert!(group.holders.len() < group.size.unwrap() as usize);
                }
                group = group.evolve(event).unwrap();
            }
            log.extend(events);
            prop_assert_eq!(group.decide(&command), Ok(vec![]));
            let free = group.size.unwrap_or(0) as usize > group.holders.len();
            prop_assert!(!free || group.waiting().next().is_none(), "a slot is free, yet {:?}", group);
        }
        let read: Vec<Event> = log
            .iter()
            .map(|event| serde_json::from_str(&serde_json::to_string(event).unwrap()).unwrap())
            .collect();
        prop_assert_eq!(fold(TaskGroup::default(), &read), group);
    }
}

#[test]
fn a_word_about_an_earlier_claim_neither_takes_a_later_slot_away_nor_asks_for_another() {
    let second = |priority| Event::Requested {
        attempt: attempt(1, 1),
        claim: 1,
        priority,
    };
    let again = [defined(1), second(0), granted(1)];
    given(&again).when(&release(1)).then_nothing();
    given(&again).when(&ask(1, 0)).then_nothing();
    let over = Command::Release {
        attempt: attempt(1, 1),
        claim: 1,
    };
    given(&again).when(&over).then(&[released(1)]);
}

#[test]
fn who_asks_anew_has_no_use_for_what_it_had_before() {
    let anew = Command::Ask {
        attempt: attempt(1, 1),
        claim: 1,
        priority: 0,
    };
    let second = Event::Requested {
        attempt: attempt(1, 1),
        claim: 1,
        priority: 0,
    };
    let past = [defined(1), requested(1, 0), granted(1), requested(2, 0)];
    given(&past)
        .when(&anew)
        .then(&[released(1), granted(2), second]);
}
