//! People: they define, start, command and set things, and ask any engine, again and again, until they
//! are answered.

use std::sync::Arc;

use domain::run::{Command, TaskCommand};
use domain::workflow_instance::{Restart, Submission, WorkflowState};
use domain::{Fact, InstanceId, ShardId, trigger};
use engine::core::{Answer, Input, Refusal, Request};
use store::Metadata;

use crate::claim::{Claim, hold};
use crate::faults::Fault;
use crate::rng::Rng;
use crate::workflows::{self, ENVIRONMENTS, Flow, GROUPS};
use crate::world::{LEASE, SHARDS, TROUBLE, World};

/// What somebody waits for.
#[derive(Clone, Debug)]
pub(crate) enum Ask {
    Define(usize),
    Start(usize),
    Set(usize),
    Command(InstanceId, Command),
    Force,
    Explain,
}

/// Something that was asked of an engine.
pub(crate) struct Question {
    pub(crate) ask: Ask,
    /// The epoch in which the engine believed to decide it, when somebody else had a newer one already.
    pub(crate) outdated: Option<u64>,
}

/// A run somebody wants, and what they were told.
pub(crate) struct Wanted {
    flow: usize,
    submission: Arc<Submission>,
    shard: ShardId,
    pub(crate) key: String,
    /// Nobody wants it before.
    from: u64,
    pub(crate) started: Option<InstanceId>,
    asking: bool,
}

impl Wanted {
    pub(crate) fn new(index: u64, flows: &[Flow], rng: &mut Rng) -> Self {
        // Those that run others are wanted first.
        let flow = flows.len() - 1 - rng.below(flows.len() as u64) as usize;
        Self {
            flow,
            submission: Arc::new(workflows::submission(&flows[flow], rng)),
            shard: ShardId((index % u64::from(SHARDS)) as u16),
            key: format!("key-{index}"),
            from: rng.below(15_000_000),
            started: None,
            asking: false,
        }
    }
}

/// Something that runs share, and how somebody wants it to be.
pub(crate) struct Setting {
    what: Shared,
    from: u64,
    pub(crate) done: bool,
}

#[derive(Clone, Copy)]
enum Shared {
    Group(&'static str, u32),
    Environment(&'static str),
}

impl Setting {
    /// The groups change their sizes and the environment its text; the last group comes when all others
    /// have gone, and in the end every group has a slot.
    pub(crate) fn all(rng: &mut Rng) -> Vec<Self> {
        let mut settings = vec![
            (Shared::Environment(ENVIRONMENTS[0]), 0),
            (Shared::Group(GROUPS[0], rng.between(1, 2) as u32), 0),
            (Shared::Group(GROUPS[1], rng.between(2, 3) as u32), 0),
        ];
        for group in &GROUPS[..2] {
            let size = rng.below(4) as u32;
            settings.push((Shared::Group(group, size), rng.below(TROUBLE)));
        }
        for group in GROUPS {
            // Not before the last engine that slept with an earlier wish in its hands has woken.
            let size = rng.between(1, 3) as u32;
            settings.push((Shared::Group(group, size), TROUBLE + 4 * LEASE));
        }
        settings
            .into_iter()
            .map(|(what, from)| Self {
                what,
                from,
                done: false,
            })
            .collect()
    }
}

impl World {
    pub(crate) fn people(&mut self) {
        for index in 0..self.flows.len() {
            let often = if self.flows[index].asking { 1 } else { 10 };
            if !self.flows[index].defined && self.rng.percent(often) {
                self.flows[index].asking = true;
                let workflow = self.flows[index].workflow.clone();
                self.ask(Ask::Define(index), Request::Define(workflow));
            }
        }
        for index in 0..self.wanted.len() {
            self.start(index);
        }
        for index in 0..self.settings.len() {
            // One after the other: the last word about a group is the one meant to be.
            let turn = self.settings[..index].iter().all(|earlier| earlier.done);
            let setting = &self.settings[index];
            if !setting.done && turn && setting.from <= self.now && self.rng.percent(5) {
                let request = match self.settings[index].what {
                    Shared::Group(name, size) => Request::SetTaskGroup {
                        name: name.to_owned(),
                        size,
                    },
                    Shared::Environment(name) => Request::SetEnvironment {
                        name: name.to_owned(),
                        config: "export A=1".to_owned(),
                    },
                };
                self.ask(Ask::Set(index), request);
            }
        }
        if self.in_trouble() && self.rng.below(1_000) < self.faults.odds(Fault::People) {
            self.meddle();
        }
    }

    /// Somebody wants this run, with the same key each time.
    fn start(&mut self, index: usize) {
        let wanted = &self.wanted[index];
        // The impatient ask again while somebody is still looking for their answer.
        let often = if wanted.asking { 1 } else { 10 };
        let ready = wanted.from <= self.now && self.flows[wanted.flow].defined;
        if wanted.started.is_some() || !ready || !self.rng.percent(often) {
            return;
        }
        // As the engine's handle does: a key that fired is found in the log.
        let stream = domain::StreamId {
            kind: domain::AggregateType::Trigger,
            id: self.wanted[index].key.clone(),
        };
        // Or is not, by one who looked before it did.
        let looked_before = self.rng.percent(30);
        let fired = self.ledger.stream(&stream).next_back();
        let fired = fired.and_then(|entry| {
            if let Fact::Trigger(_, trigger::Event::Fired { instance }) = entry.fact {
                Some(instance)
            } else {
                None
            }
        });
        let wanted = &mut self.wanted[index];
        if let Some(instance) = fired.filter(|_| !looked_before) {
            wanted.started = Some(instance);
            return;
        }
        wanted.asking = true;
        let request = Request::Start {
            shard: wanted.shard,
            submission: wanted.submission.clone(),
            workflow: self.flows[wanted.flow].workflow.clone(),
            key: Some(wanted.key.clone()),
        };
        self.ask(Ask::Start(index), request);
    }

    /// Somebody wants something of a run, whether it makes sense or not.
    fn meddle(&mut self) {
        let runs: Vec<InstanceId> = self.ledger.runs.keys().copied().collect();
        if runs.is_empty() {
            return;
        }
        let instance = runs[self.rng.below(runs.len() as u64) as usize];
        if self.rng.percent(10) {
            self.ask(Ask::Explain, Request::Explain { instance });
            return;
        }
        let waiting = self.ledger.waiting.iter().next();
        if let Some((attempt, name)) = waiting
            && self.rng.percent(10)
        {
            let (name, task) = (name.to_string(), attempt.task);
            self.ask(Ask::Force, Request::ForceSlot { name, task });
            return;
        }
        let command = self.command_for(instance);
        let request = Request::Command {
            instance,
            command: command.clone(),
        };
        self.story.tell(self.now, "people", || {
            format!("want {command:?} of {instance}")
        });
        self.ask(Ask::Command(instance, command), request);
    }

    fn command_for(&mut self, instance: InstanceId) -> Command {
        let seen = &self.ledger.runs[&instance];
        let ended = seen.ended;
        let workflow = self.workflow_of(instance);
        let reason = || "somebody wants it".to_owned();
        let restart = |restart, scope| Command::Restart {
            restart,
            scope,
            reason: reason(),
        };
        let rng = &mut self.rng;
        let tasks = &workflow.spec().tasks;
        let task = tasks[rng.below(tasks.len() as u64) as usize].code;
        let of_task = |command| Command::Task { task, command };
        let kill = of_task(TaskCommand::Kill { reason: reason() });
        let force = of_task(TaskCommand::ForceSuccess { reason: reason() });
        if ended.is_none() || rng.percent(10) {
            return match rng.below(6) {
                0 | 1 => Command::Pause { reason: reason() },
                2 => Command::Stop { reason: reason() },
                3 | 4 => kill,
                _ => force,
            };
        }
        match rng.below(12) {
            0 => restart(Restart::RepeatRunning, None),
            1 => restart(Restart::ExecuteTask, Some(workflows::scope(&workflow, rng))),
            2 => force,
            3 if rng.percent(30) => Command::Delete,
            _ if ended == Some(WorkflowState::Failure) => {
                restart(Restart::StartFailureTaskProcess, None)
            }
            _ if ended == Some(WorkflowState::Success) => restart(Restart::RepeatRunning, None),
            _ => restart(Restart::RecoverSuspendedProcess, None),
        }
    }

    fn ask(&mut self, ask: Ask, request: Request) {
        self.next_ticket += 1;
        let ticket = self.next_ticket;
        let engine = self.rng.below(self.engines.len() as u64) as usize;
        let outdated = match &ask {
            Ask::Command(instance, _) => self.outdated(engine, instance.shard()),
            Ask::Define(_) | Ask::Start(_) | Ask::Set(_) | Ask::Force | Ask::Explain => None,
        };
        let engine = &mut self.engines[engine];
        engine.tickets.insert(ticket, Question { ask, outdated });
        let by = Metadata {
            actor: "user".to_owned(),
            cause: "test".to_owned(),
            trace: None,
        };
        let asked = engine::core::Asked {
            ticket,
            request,
            by,
        };
        engine.inbox.push_back((self.now, Input::Asked(asked)));
    }

    /// The epoch in which an engine has a shard, when there is a newer one.
    pub(crate) fn outdated(&self, engine: usize, shard: ShardId) -> Option<u64> {
        let (epoch, _) = self.engines[engine].told.get(&shard)?;
        (*epoch < self.newest_epoch(shard)).then_some(*epoch)
    }

    /// Whoever would have answered is gone.
    pub(crate) fn unanswered(&mut self, ask: &Ask) {
        match *ask {
            Ask::Define(index) => self.flows[index].asking = false,
            Ask::Start(index) => self.wanted[index].asking = false,
            Ask::Set(_) | Ask::Command(..) | Ask::Force | Ask::Explain => {}
        }
    }

    pub(crate) fn answered(&mut self, ask: &Ask, answer: &Result<Answer, Refusal>) {
        self.unanswered(ask);
        match (ask, answer) {
            (Ask::Define(index), Ok(_)) => self.flows[*index].defined = true,
            (Ask::Set(index), Ok(_)) => self.settings[*index].done = true,
            (Ask::Start(index), Ok(Answer::Started { instance, .. })) => {
                let instance = *instance;
                let wanted = &mut self.wanted[*index];
                let before = wanted.started;
                hold(
                    Claim::OneRun,
                    before.is_none_or(|before| before == instance),
                    || format!("one key, two runs: {before:?} and {instance}"),
                );
                wanted.started = Some(instance);
            }
            (Ask::Command(instance, command), answer) => {
                self.story.tell(self.now, "people", || {
                    format!("hear of {command:?} of {instance}: {answer:?}")
                });
            }
            (ask, answer) => {
                let fits = matches!(answer, Err(Refusal::NotOwner(_) | Refusal::Unavailable(_)))
                    || matches!(ask, Ask::Force | Ask::Explain);
                hold(Claim::Answered, fits, || {
                    format!("{ask:?} was answered {answer:?}")
                });
            }
        }
    }
}
