//! Runs and their queue write to each other, and the post loses, repeats and delays what they write.

use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::testing::{at, submission};
use crate::workflow_instance::{self, Restart, Stage, Submission, Tally, Turn, WorkflowInstance};

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
