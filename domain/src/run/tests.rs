//! Runs moved through their whole life by a pretend world, as claims.

mod branches;
mod children;
mod faults;
mod params;
mod properties;
mod reported;
mod resting;
mod scale;
mod shapes;
mod stopping;
mod waiting;

use super::*;
use crate::id::AttemptId;
use crate::task_instance::{Event as TaskEvent, Outcome, Started, TaskState};
use crate::testing::{at, submission, task, worker, workflow};
use crate::time::Timestamp;
use crate::workflow_definition::TaskKind;
use crate::workflow_instance::{
    Depend, FailureStrategy, Restart, Scope, Submission, WorkflowState,
};

/// What a task owes.
type Owed = task_instance::Obligation;

/// A run and everything that was ever decided about it.
struct World {
    run: Run,
    log: Vec<Step>,
    now: Timestamp,
}

impl World {
    /// A run of these tasks that has just been asked for.
    fn of(tasks: Vec<TaskSpec>) -> Self {
        Self::start(tasks, submission())
    }

    /// The same, where one failure ends all.
    fn that_ends(tasks: Vec<TaskSpec>) -> Self {
        Self::start(
            tasks,
            Submission {
                failure: FailureStrategy::End,
                ..submission()
            },
        )
    }

    fn start(tasks: Vec<TaskSpec>, submission: Submission) -> Self {
        Self::run_of(workflow(tasks), submission)
    }

    fn run_of(flow: Arc<Workflow>, submission: Submission) -> Self {
        let mut world = Self {
            run: Run::new(InstanceId(1_000), flow),
            log: vec![],
            now: at(0),
        };
        world.ask(&Command::Submit(Arc::new(submission)));
        world
    }

    /// Decides the command, and says what happened as `task event` or `run event`.
    fn ask(&mut self, command: &Command) -> Vec<String> {
        self.try_ask(command).unwrap()
    }

    fn try_ask(&mut self, command: &Command) -> Result<Vec<String>, Rejection> {
        let steps = self.run.handle(command, self.now)?;
        let told = steps.iter().map(|step| self.tell(&step.fact)).collect();
        self.log.extend(steps);
        Ok(told)
    }

    fn tell(&self, fact: &Fact) -> String {
        let who = match fact {
            Fact::Task(id, _) => self.run.task_spec(id.task).unwrap().name.clone(),
            Fact::Workflow(..) => "run".to_owned(),
            Fact::Definition(..)
            | Fact::Trigger(..)
            | Fact::TaskGroup(..)
            | Fact::SerialQueue(..)
            | Fact::Environment(..) => unreachable!("not of a run: {fact:?}"),
        };
        format!("{who} {}", fact.event_type())
    }

    /// Asks something of a task.
    fn ask_task(&mut self, task: &str, command: TaskCommand) -> Vec<String> {
        self.ask(&of_task(task, command))
    }

    fn dispatch(&mut self, task: &str) -> Vec<String> {
        self.dispatch_to(task, "w")
    }

    fn dispatch_to(&mut self, task: &str, id: &str) -> Vec<String> {
        self.ask_task(task, TaskCommand::RequestDispatch { worker: worker(id) })
    }

    fn say(&mut self, task: &str, word: Word) -> Vec<String> {
        let code = TaskCode::of_name(task);
        let attempt = self.run.task(code).unwrap().attempt;
        let holder = self.run.task(code).unwrap().holder(attempt).cloned();
        self.ask_task(
            task,
            TaskCommand::Report {
                attempt,
                worker: holder.unwrap_or_else(|| worker("w")),
                word,
            },
        )
    }

    fn run_on_worker(&mut self, task: &str) {
        self.dispatch(task);
        self.say(task, Word::Accepted);
        self.say(task, Word::Started(start()));
    }

    /// Dispatches it if need be, and ends it.
    fn end(&mut self, task: &str, outcome: Outcome) -> Vec<String> {
        if self.find_worker().contains(&task.to_owned()) {
            self.dispatch(task);
        }
        self.say(task, Word::Finished(report(outcome)))
    }

    fn succeed(&mut self, task: &str) -> Vec<String> {
        self.end(task, Outcome::Success)
    }

    fn fail(&mut self, task: &str) -> Vec<String> {
        self.end(task, Outcome::Failure)
    }

    fn stop(&mut self) -> Vec<String> {
        self.ask(&Command::Stop {
            reason: "alice asked".to_owned(),
        })
    }

    fn kill(&mut self, task: &str) -> Vec<String> {
        self.ask_task(
            task,
            TaskCommand::Kill {
                reason: "alice asked".to_owned(),
            },
        )
    }

    fn lose(&mut self, task: &str, id: &str) -> Vec<String> {
        self.ask_task(
            task,
            TaskCommand::LoseWorker {
                worker: worker(id),
                reason: "its lease ran out".to_owned(),
                failovers: 10,
            },
        )
    }

    /// A time that the task waits for may have come.
    fn wake(&mut self, task: &str, seconds: i64) -> Vec<String> {
        self.now = at(seconds);
        self.ask_task(task, TaskCommand::Wake)
    }

    fn force(&mut self, task: &str) -> Vec<String> {
        self.ask_task(
            task,
            TaskCommand::ForceSuccess {
                reason: "alice asked".to_owned(),
            },
        )
    }

    fn pause(&mut self) -> Vec<String> {
        self.ask(&Command::Pause {
            reason: "alice asked".to_owned(),
        })
    }

    fn restart(&mut self, restart: Restart) -> Vec<String> {
        self.ask(&Command::Restart {
            restart,
            scope: None,
            reason: "alice asked".to_owned(),
        })
    }

    fn resume(&mut self) -> Vec<String> {
        self.restart(Restart::RecoverSuspendedProcess)
    }

    fn rerun(&mut self) -> Vec<String> {
        self.restart(Restart::RepeatRunning)
    }

    fn recover(&mut self) -> Vec<String> {
        self.restart(Restart::StartFailureTaskProcess)
    }

    fn execute(&mut self, start_nodes: &[&str], depend: Depend) -> Vec<String> {
        self.ask(&Command::Restart {
            restart: Restart::ExecuteTask,
            scope: Some(scope(start_nodes, depend)),
            reason: "alice asked".to_owned(),
        })
    }

    /// The tasks that seek a worker, in the author's order.
    fn find_worker(&self) -> Vec<String> {
        self.owed(|owed| matches!(owed, Owed::FindWorker { .. }))
    }

    /// The tasks that are to be killed, in the author's order.
    fn to_kill(&self) -> Vec<String> {
        self.owed(|owed| matches!(owed, Owed::Kill { .. }))
    }

    /// The tasks that owe something like this, in the author's order.
    fn owed(&self, wanted: impl Fn(&Owed) -> bool) -> Vec<String> {
        let owed = self.run.obligations().filter_map(|owed| match owed {
            Obligation::Task(code, owed) if wanted(&owed) => Some(code),
            Obligation::Task(..) | Obligation::Run(_) => None,
        });
        owed.map(|code| self.run.task_spec(code).unwrap().name.clone())
            .collect()
    }

    fn state(&self) -> WorkflowState {
        self.run.workflow().state().unwrap()
    }

    fn task_state(&self, task: &str) -> Option<TaskState> {
        self.run.task(TaskCode::of_name(task)).unwrap().state()
    }

    fn attempt(&self, task: &str) -> u32 {
        self.run.task(TaskCode::of_name(task)).unwrap().attempt
    }

    /// How often a task was submitted, over all its attempts.
    fn submissions(&self, task: &str) -> usize {
        let code = TaskCode::of_name(task);
        self.log
            .iter()
            .filter(|step| {
                matches!(&step.fact, Fact::Task(id, TaskEvent::Submitted { .. }) if id.task == code)
            })
            .count()
    }

    /// The run as somebody else reads it from the log, through its stored form.
    fn reread(&self) -> Run {
        let mut run = Run::new(self.run.id(), self.run.definition().clone());
        for step in &self.log {
            let read = Fact::parse(&step.fact.stream(), &step.fact.payload()).unwrap();
            assert_eq!(read, step.fact);
            run.evolve(&read, step.sequence).unwrap();
        }
        run
    }

    /// The run ended like this, owes nothing, and the log tells the same story.
    #[track_caller]
    fn ended(&self, state: WorkflowState) {
        assert_eq!(self.state(), state);
        assert!(self.run.has_ended());
        assert_eq!(self.run.obligations().count(), 0);
        assert_eq!(self.reread(), self.run);
    }

    /// Why the run ended as it did, each time that it was run.
    fn reasons(&self) -> Vec<String> {
        let ends = self.log.iter().filter_map(|step| {
            if let Fact::Workflow(_, workflow_instance::Event::Finished { reason, .. }) = &step.fact
            {
                Some(reason.clone())
            } else {
                None
            }
        });
        ends.collect()
    }

    /// Why the run ended as it did.
    fn reason(&self) -> String {
        let reasons = self.reasons();
        assert_eq!(
            reasons.len(),
            self.run.workflow().run_times as usize,
            "a run ends once each time"
        );
        reasons.last().unwrap().clone()
    }
}

fn start() -> Started {
    Started {
        started_at: at(1),
        log_path: "1000/1.log".to_owned(),
        pid: Some(4242),
    }
}

fn report(outcome: Outcome) -> End {
    End {
        outcome,
        ended_at: at(2),
        started: Some(start()),
        exit_code: Some(i32::from(outcome != Outcome::Success)),
        outputs: vec![],
        reason: match outcome {
            Outcome::Success => String::new(),
            Outcome::Failure => "exit code 1".to_owned(),
            Outcome::Kill => "killed".to_owned(),
        },
    }
}

fn of_task(task: &str, command: TaskCommand) -> Command {
    Command::Task {
        task: TaskCode::of_name(task),
        command,
    }
}

fn scope(start_nodes: &[&str], depend: Depend) -> Scope {
    Scope {
        start_nodes: start_nodes.iter().map(|n| TaskCode::of_name(n)).collect(),
        depend,
    }
}

/// A task that may be retried this often, after ten seconds.
fn retried(name: &str, depends_on: &[&str], times: u32) -> TaskSpec {
    let mut spec = task(name, depends_on);
    spec.policy.retry.times = times;
    spec.policy.retry.interval = std::time::Duration::from_secs(10);
    spec
}

/// `top` before `left` and `right`, and both before `bottom`.
fn diamond() -> Vec<TaskSpec> {
    vec![
        task("top", &[]),
        task("left", &["top"]),
        task("right", &["top"]),
        task("bottom", &["left", "right"]),
    ]
}
