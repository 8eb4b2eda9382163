//! Whose turn it is, as claims and as a table. What the post may do to it is a property next door.

mod post;

use std::fmt::Write;

use super::*;
use crate::testing::{self, fold};

fn given(past: &[Event]) -> testing::Given<SerialQueue> {
    testing::given(past)
}

fn run(instance: u64, run_times: u32) -> Asker {
    Asker {
        instance: InstanceId(instance * 1_000),
        run_times,
    }
}

const KINDS: [Execution; 3] = [
    Execution::SerialWait,
    Execution::SerialDiscard,
    Execution::SerialPriority,
];

fn ask(asker: Asker, execution: Execution) -> Command {
    Command::Ask { asker, execution }
}

fn release(asker: Asker) -> Command {
    Command::Release { asker }
}

fn holding(asker: Asker) -> Vec<Event> {
    vec![Event::Requested(asker), Event::Granted(asker)]
}

#[test]
fn who_asks_first_has_the_turn_and_asking_again_changes_nothing() {
    for execution in KINDS {
        given(&[])
            .when(&ask(run(1, 1), execution))
            .then(&holding(run(1, 1)))
            .owing(&[Obligation::TellGranted(run(1, 1))]);
        given(&holding(run(1, 1)))
            .when(&ask(run(1, 1), execution))
            .then_nothing();
    }
}

/// Of the catalogue of failures: A3-40.
#[test]
fn under_serial_wait_the_turn_goes_round_in_the_order_of_asking() {
    let past = [
        holding(run(1, 1)),
        vec![Event::Requested(run(2, 1)), Event::Requested(run(3, 1))],
    ]
    .concat();
    given(&past)
        .when(&release(run(1, 1)))
        .then(&[Event::Released(run(1, 1)), Event::Granted(run(2, 1))]);
    // Who gives up waiting leaves the turn where it is.
    given(&past)
        .when(&release(run(2, 1)))
        .then(&[Event::Released(run(2, 1))])
        .owing(&[Obligation::TellGranted(run(1, 1))]);
    given(&past).when(&release(run(9, 1))).then_nothing();
}

#[test]
fn under_serial_discard_who_comes_too_late_is_told_so_until_it_answers() {
    let refused = [holding(run(1, 1)), vec![Event::Refused(run(2, 1))]].concat();
    given(&holding(run(1, 1)))
        .when(&ask(run(2, 1), Execution::SerialDiscard))
        .then(&refused[2..])
        .owing(&[
            Obligation::TellGranted(run(1, 1)),
            Obligation::TellRefused(run(2, 1)),
        ]);
    let again = ask(run(2, 1), Execution::SerialDiscard);
    given(&refused).when(&again).then_nothing();
    given(&refused)
        .when(&release(run(2, 1)))
        .then(&[Event::Released(run(2, 1))])
        .owing(&[Obligation::TellGranted(run(1, 1))]);
}

#[test]
fn under_serial_priority_the_newest_waits_until_the_one_before_has_made_way() {
    let kind = Execution::SerialPriority;
    let first = [
        holding(run(1, 1)),
        vec![Event::Superseded(run(1, 1)), Event::Requested(run(2, 1))],
    ]
    .concat();
    given(&holding(run(1, 1)))
        .when(&ask(run(2, 1), kind))
        .then(&first[2..])
        .owing(&[Obligation::TellStop(run(1, 1))]);
    let second = vec![Event::Refused(run(2, 1)), Event::Requested(run(3, 1))];
    given(&first).when(&ask(run(3, 1), kind)).then(&second);
    let both = [first, second].concat();
    // The word of the one in between that it asks came late: it does not make it the newest.
    given(&both).when(&ask(run(2, 1), kind)).then_nothing();
    given(&both)
        .when(&release(run(1, 1)))
        .then(&[Event::Released(run(1, 1)), Event::Granted(run(3, 1))]);
}

#[test]
fn an_instance_that_runs_again_is_not_in_its_own_way() {
    for execution in KINDS {
        given(&holding(run(1, 1)))
            .when(&ask(run(1, 2), execution))
            .then(&[
                Event::Released(run(1, 1)),
                Event::Requested(run(1, 2)),
                Event::Granted(run(1, 2)),
            ]);
        // And its earlier word, when it comes after that, is about what is over.
        given(&holding(run(1, 2)))
            .when(&ask(run(1, 1), execution))
            .then_nothing();
    }
}

#[test]
fn what_cannot_follow_is_damage() {
    given(&[]).cannot_be_followed_by(&Event::Granted(run(1, 1)));
    given(&[]).cannot_be_followed_by(&Event::Released(run(1, 1)));
    given(&[]).cannot_be_followed_by(&Event::Superseded(run(1, 1)));
    let past = [holding(run(1, 1)), vec![Event::Requested(run(2, 1))]].concat();
    given(&past).cannot_be_followed_by(&Event::Granted(run(2, 1)));
    given(&past).cannot_be_followed_by(&Event::Requested(run(2, 1)));
    given(&past).cannot_be_followed_by(&Event::Refused(run(1, 1)));
}

// The table.

const ROWS: [&str; 5] = [
    "nobody",
    "1",
    "1, 2 waits",
    "1 to stop, 2 waits",
    "1, 2 refused",
];

fn words(queue: &SerialQueue) -> String {
    let turn = match queue.turn {
        None => return "nobody".to_owned(),
        Some((asker, superseded)) => {
            let way = if superseded { " to stop" } else { "" };
            format!("{}{way}", asker.instance.number())
        }
    };
    let waiting = queue.waiting().map(|asker| (asker, "waits"));
    let refused = queue.refused.iter().map(|&asker| (asker, "refused"));
    let others = waiting.chain(refused);
    let others = others.map(|(asker, how)| format!(", {} {how}", asker.instance.number()));
    turn + &others.collect::<String>()
}

fn row(name: &str) -> SerialQueue {
    let holder = holding(run(1, 1));
    let more = match name {
        "nobody" => return SerialQueue::default(),
        "1" => vec![],
        "1, 2 waits" => vec![Event::Requested(run(2, 1))],
        "1 to stop, 2 waits" => {
            vec![Event::Superseded(run(1, 1)), Event::Requested(run(2, 1))]
        }
        "1, 2 refused" => vec![Event::Refused(run(2, 1))],
        other => unreachable!("no such row: {other}"),
    };
    fold(SerialQueue::default(), &[holder, more].concat())
}

/// Every command's columns. A new command does not compile without one.
fn columns_of(command: &Command) -> [&'static str; 3] {
    match command {
        Command::Ask {
            execution: Execution::Parallel | Execution::SerialWait,
            ..
        } => ["1 ASKS/WAIT", "2 ASKS/WAIT", "3 ASKS/WAIT"],
        Command::Ask {
            execution: Execution::SerialDiscard,
            ..
        } => ["1 ASKS/DISC", "2 ASKS/DISC", "3 ASKS/DISC"],
        Command::Ask {
            execution: Execution::SerialPriority,
            ..
        } => ["1 ASKS/PRIO", "2 ASKS/PRIO", "3 ASKS/PRIO"],
        Command::Release { .. } => ["1 RELEASES", "2 RELEASES", "3 RELEASES"],
    }
}

#[test]
fn the_table_of_states_and_commands() {
    let commands: Vec<Command> = KINDS
        .into_iter()
        .flat_map(|kind| (1..=3).map(move |who| ask(run(who, 1), kind)))
        .chain((1..=3).map(|who| release(run(who, 1))))
        .collect();
    let mut table = format!("{:20}", "");
    for (index, command) in commands.iter().enumerate() {
        write!(table, "{:24}", columns_of(command)[index % 3]).unwrap();
    }
    for name in ROWS {
        let queue = row(name);
        assert_eq!(words(&queue), name);
        write!(table, "\n{name:20}").unwrap();
        for command in &commands {
            let events = queue.decide(command).unwrap();
            let after = fold(queue.clone(), &events);
            let cell = if events.is_empty() {
                "-".to_owned()
            } else {
                words(&after)
            };
            write!(table, "{cell:24}").unwrap();
        }
    }
    let table: Vec<&str> = table.lines().map(str::trim_end).collect();
    insta::with_settings!({omit_expression => true, prepend_module_to_snapshot => false}, {
        insta::assert_snapshot!("serial_queue", table.join("\n"));
    });
}
