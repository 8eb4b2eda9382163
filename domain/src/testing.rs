//! What the tests of every aggregate share: given some events, when a command comes, then these events
//! follow. Compiled for tests only.

use std::fmt::Debug;
use std::sync::Arc;

use crate::aggregate::{Aggregate, Rejection};
use crate::id::{DefinitionCode, WorkerRef};
use crate::time::Timestamp;
use crate::workflow_definition::{TaskKind, TaskSpec, Workflow, WorkflowSpec};
use crate::workflow_instance::Submission;

/// An aggregate with a past.
pub(crate) struct Given<A>(A);

/// What a decider answered, and the state after it.
#[derive(Debug)]
pub(crate) struct Answer<A: Aggregate> {
    result: Result<Vec<A::Event>, Rejection>,
    pub(crate) state: A,
}

/// The aggregate to which all this happened.
pub(crate) fn given<A: Aggregate>(past: &[A::Event]) -> Given<A> {
    Given(fold(A::default(), past))
}

/// The state after some more events.
pub(crate) fn fold<A: Aggregate>(state: A, events: &[A::Event]) -> A {
    events
        .iter()
        .fold(state, |state, event| state.evolve(event).unwrap())
}

impl<A: Aggregate> Given<A> {
    pub(crate) fn when(self, command: &A::Command) -> Answer<A> {
        let result = self.0.decide(command);
        let state = match &result {
            Ok(events) => fold(self.0, events),
            Err(_) => self.0,
        };
        Answer { result, state }
    }

    /// The stored event cannot be: it is refused as damage, not skipped.
    pub(crate) fn cannot_be_followed_by(self, event: &A::Event) {
        let answer = self.0.clone().evolve(event);
        assert!(
            answer.is_err(),
            "{event:?} was taken after {:?}: {answer:?}",
            self.0
        );
    }
}

impl<A: Aggregate> Answer<A> {
    #[track_caller]
    pub(crate) fn then(self, expected: &[A::Event]) -> Self {
        assert_eq!(self.result.as_deref(), Ok(expected));
        self
    }

    /// It is already so, or it is not worth a word.
    #[track_caller]
    pub(crate) fn then_nothing(self) -> Self {
        self.then(&[])
    }

    /// The refusal, word by word, as a client reads it.
    #[track_caller]
    pub(crate) fn then_refused(self, words: &str) {
        assert_eq!(self.result.unwrap_err().to_string(), words);
    }

    /// The state owes exactly this.
    #[track_caller]
    pub(crate) fn owing(self, expected: &[A::Obligation]) -> Self
    where
        A::Obligation: Debug,
    {
        assert_eq!(self.state.obligations().collect::<Vec<_>>(), expected);
        self
    }
}

/// A point in time, in seconds.
pub(crate) const fn at(seconds: i64) -> Timestamp {
    Timestamp(seconds * 1_000_000)
}

/// The first incarnation of a worker.
pub(crate) fn worker(id: &str) -> WorkerRef {
    reborn(id, 1)
}

/// A later incarnation of a worker.
pub(crate) fn reborn(id: &str, incarnation: u32) -> WorkerRef {
    WorkerRef::new(
        id,
        format!("{id}.{incarnation}"),
        format!("{id}.example:1234"),
    )
}

/// A task that does nothing, after the named ones.
pub(crate) fn task(name: &str, depends_on: &[&str]) -> TaskSpec {
    TaskSpec {
        depends_on: depends_on.iter().map(|&name| name.to_owned()).collect(),
        ..TaskSpec::new(name, TaskKind::Noop {})
    }
}

/// A workflow of these tasks, not checked.
pub(crate) fn spec(tasks: Vec<TaskSpec>) -> WorkflowSpec {
    WorkflowSpec {
        name: "flow".to_owned(),
        project: "default".to_owned(),
        tasks,
        ..WorkflowSpec::default()
    }
}

/// A workflow of these tasks.
pub(crate) fn workflow(tasks: Vec<TaskSpec>) -> Arc<Workflow> {
    Arc::new(Workflow::check(spec(tasks)).unwrap())
}

/// A start of `flow` with nothing special about it.
pub(crate) fn submission() -> Submission {
    Submission {
        definition: DefinitionCode::new("default", "flow"),
        version: 1,
        project: "default".to_owned(),
        workflow: "flow".to_owned(),
        ..Submission::default()
    }
}
