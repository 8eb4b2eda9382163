//! Whose turn it is, as claims, as a table, and whatever happens to the messages.

use std::fmt::Write;
use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::testing::{self, at, fold, submission};
use crate::workflow_instance::{self, Restart, Stage, Submission, Tally, Turn, WorkflowInstance};

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

// Properties.

/// What a run and the queue tell each other.
#[derive(Clone, Copy, Debug)]
enum Message {
    Ask(Asker),
    Release(Asker),
    Granted(Asker),
    Stop(Asker),
    Refused(Asker),
    Released(Asker),
}

/// Runs of one workflow, their queue, and the messages between them.
struct World {
    execution: Execution,
    queue: SerialQueue,
    runs: Vec<WorkflowInstance>,
    post: Vec<Message>,
}

/// What happens next; the numbers choose among what there is.
#[derive(Clone, Copy, Debug)]
enum Move {
    /// Somebody asks for another run.
    Submit,
    /// Everything that is owed is written once.
    Write,
    /// A message arrives, and may arrive once more.
    Deliver(usize, bool),
    /// A message is lost.
    Lose(usize),
    /// A run ends by itself.
    End(usize),
    /// Somebody stops a run.
    Stop(usize),
    /// Somebody runs it again.
    Rerun(usize),
}

fn some_move() -> impl Strategy<Value = Move> {
    prop_oneof![
        3 => Just(Move::Submit),
        4 => Just(Move::Write),
        12 => (any::<usize>(), prop::bool::weighted(0.2))
            .prop_map(|(which, again)| Move::Deliver(which, again)),
        1 => any::<usize>().prop_map(Move::Lose),
        3 => any::<usize>().prop_map(Move::End),
        1 => any::<usize>().prop_map(Move::Stop),
        1 => any::<usize>().prop_map(Move::Rerun),
    ]
}

impl World {
    fn new(execution: Execution) -> Self {
        Self {
            execution,
            queue: SerialQueue::default(),
            runs: vec![],
            post: vec![],
        }
    }

    fn decide_run(&mut self, index: usize, command: &workflow_instance::Command) {
        let run = &mut self.runs[index];
        if let Ok(events) = run.decide(command) {
            *run = fold(run.clone(), &events);
        }
        let start = workflow_instance::Command::Start { at: at(0) };
        if let (Stage::Submitted, Ok(events)) = (&run.stage, run.decide(&start)) {
            *run = fold(run.clone(), &events);
        }
    }

    fn decide_queue(&mut self, command: &Command) {
        let events = self.queue.decide(command).unwrap();
        self.queue = fold(self.queue.clone(), &events);
    }

    fn take(&mut self, next: Move) {
        match next {
            Move::Submit if self.runs.len() < 5 => {
                self.runs.push(WorkflowInstance::default());
                let asked = Submission {
                    execution: self.execution,
                    ..submission()
                };
                let submit = workflow_instance::Command::Submit(Arc::new(asked));
                self.decide_run(self.runs.len() - 1, &submit);
            }
            Move::Write => self.write(),
            Move::Deliver(which, again) if !self.post.is_empty() => {
                let which = which % self.post.len();
                let message = self.post[which];
                if !again {
                    self.post.remove(which);
                }
                self.deliver(message);
            }
            Move::Lose(which) if !self.post.is_empty() => {
                self.post.remove(which % self.post.len());
            }
            Move::End(which) if !self.runs.is_empty() => {
                self.end(which % self.runs.len());
            }
            Move::Stop(which) if !self.runs.is_empty() => {
                let stop = workflow_instance::Command::Stop {
                    reason: "alice asked".to_owned(),
                };
                self.decide_run(which % self.runs.len(), &stop);
            }
            Move::Rerun(which) if !self.runs.is_empty() => {
                let again = workflow_instance::Command::Restart {
                    restart: Restart::RepeatRunning,
                    scope: None,
                    reason: "alice asked".to_owned(),
                };
                self.decide_run(which % self.runs.len(), &again);
            }
            Move::Submit
            | Move::Deliver(..)
            | Move::Lose(_)
            | Move::End(_)
            | Move::Stop(_)
            | Move::Rerun(_) => {}
        }
        let turns = self.runs.iter().filter(|run| has_turn(run)).count();
        assert!(turns <= 1, "two turns after {next:?}");
    }

    fn end(&mut self, index: usize) {
        if has_turn(&self.runs[index]) {
            let end = workflow_instance::Command::Conclude(Tally::default());
            self.decide_run(index, &end);
        }
    }

    /// Writes everything that is owed.
    fn write(&mut self) {
        for (index, whole) in self.runs.iter().enumerate() {
            let asker = |run_times| run(index as u64 + 1, run_times);
            self.post
                .extend(whole.obligations().filter_map(|owed| match owed {
                    workflow_instance::Obligation::AskTurn { run_times } => {
                        Some(Message::Ask(asker(run_times)))
                    }
                    workflow_instance::Obligation::ReleaseTurn { run_times } => {
                        Some(Message::Release(asker(run_times)))
                    }
                    workflow_instance::Obligation::Wake { .. }
                    | workflow_instance::Obligation::Tell { .. } => None,
                }));
        }
        self.post
            .extend(self.queue.obligations().map(|owed| match owed {
                Obligation::TellGranted(asker) => Message::Granted(asker),
                Obligation::TellStop(asker) => Message::Stop(asker),
                Obligation::TellRefused(asker) => Message::Refused(asker),
            }));
    }

    fn deliver(&mut self, message: Message) {
        use workflow_instance::Command as Whole;
        let index = |asker: Asker| asker.instance.number() as usize - 1;
        match message {
            Message::Ask(asker) => self.decide_queue(&ask(asker, self.execution)),
            Message::Release(asker) => {
                self.decide_queue(&release(asker));
                self.post.push(Message::Released(asker));
            }
            Message::Granted(asker) => {
                let run_times = asker.run_times;
                let at = at(0);
                self.decide_run(index(asker), &Whole::GrantTurn { run_times, at });
                self.decline(asker);
            }
            Message::Stop(asker) => {
                let whole = &self.runs[index(asker)];
                if whole.run_times == asker.run_times && whole.turn == Turn::Claimed {
                    let reason = "a newer one".to_owned();
                    self.decide_run(index(asker), &Whole::Stop { reason });
                }
                self.decline(asker);
            }
            Message::Refused(asker) => {
                let run_times = asker.run_times;
                let reason = "too late".to_owned();
                self.decide_run(index(asker), &Whole::RefuseTurn { run_times, reason });
                self.decline(asker);
            }
            Message::Released(asker) => {
                let run_times = asker.run_times;
                self.decide_run(index(asker), &Whole::ReleaseTurn { run_times });
            }
        }
    }

    /// Whoever has no use for what it was told says so.
    fn decline(&mut self, asker: Asker) {
        let whole = &self.runs[asker.instance.number() as usize - 1];
        let claims = match whole.turn {
            Turn::Claimed => whole.run_times == asker.run_times,
            Turn::Releasing { run_times } => run_times == asker.run_times,
            Turn::None => false,
        };
        if !claims {
            self.post.push(Message::Release(asker));
        }
    }

    /// Nothing is lost any more, and whatever runs comes to its end.
    fn calm(&mut self) {
        for _ in 0..200 {
            while let Some(message) = self.post.pop() {
                self.deliver(message);
            }
            for index in 0..self.runs.len() {
                self.end(index);
            }
            self.write();
            if self.post.is_empty() {
                return;
            }
        }
        panic!("it never ends: {:?}", self.queue);
    }
}

/// It may run tasks now.
fn has_turn(run: &WorkflowInstance) -> bool {
    match run.stage {
        Stage::Running
        | Stage::Pausing { .. }
        | Stage::Blocking { .. }
        | Stage::Stopping { .. } => true,
        Stage::Absent | Stage::Submitted | Stage::Queued | Stage::Ended { .. } | Stage::Deleted => {
            false
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 500, ..ProptestConfig::default() })]

    #[test]
    fn there_are_never_two_turns_and_everybody_comes_to_an_end_whatever_the_post_does(
        execution in prop::sample::select(KINDS.to_vec()),
        moves in prop::collection::vec(some_move(), 1..150),
    ) {
        let mut world = World::new(execution);
        for next in moves {
            world.take(next);
        }
        world.calm();
        prop_assert_eq!(&world.queue, &SerialQueue::default());
        for run in &world.runs {
            prop_assert!(matches!(run.stage, Stage::Ended { .. }), "{:?}", run.stage);
            prop_assert_eq!(run.turn, Turn::None);
        }
    }

    #[test]
    fn what_decide_says_evolve_takes_and_saying_it_again_adds_nothing(
        commands in prop::collection::vec(
            (1..4_u64, 1..3_u32, prop::option::of(prop::sample::select(KINDS.to_vec()))),
            1..40,
        )
    ) {
        let mut queue = SerialQueue::default();
        let mut log = Vec::new();
        for (instance, run_times, execution) in commands {
            let asker = run(instance, run_times);
            let command = execution.map_or_else(|| release(asker), |kind| ask(asker, kind));
            let events = queue.decide(&command).unwrap();
            queue = fold(queue, &events);
            log.extend(events);
            prop_assert_eq!(queue.decide(&command), Ok(vec![]));
            prop_assert!(queue.turn().is_some() || queue.waiting().next().is_none());
        }
        let read: Vec<Event> = log
            .iter()
            .map(|event| serde_json::from_str(&serde_json::to_string(event).unwrap()).unwrap())
            .collect();
        prop_assert_eq!(fold(SerialQueue::default(), &read), queue);
    }
}
