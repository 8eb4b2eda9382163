//! A pretend engine: one process, one turn at a time. Decides with the domain, appends to a log in memory,
//! answers. No timers, no leases to lose, no workers: what they would say, the test says.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex as StdMutex};

use async_trait::async_trait;
use domain::environment::{self, Environment};
use domain::run::{Run, TaskCommand, Word};
use domain::task_group::{self, TaskGroup};
use domain::task_instance::Stage;
use domain::workflow_definition::{self, Workflow, WorkflowDefinition};
use domain::workflow_instance::Submission;
use domain::{
    Aggregate, AttemptId, DefinitionCode, Fact, InstanceId, Rejection, ShardId, Tally, TaskCode,
    TaskId, Timestamp, run, trigger,
};
use store::{Append, Chain, Lease, Log, MemoryLog, Recorded};
use tokio::sync::Mutex;

use super::world::{SHARDS, worker};
use crate::engine::{
    Accepted, Caller, Changed, Defined, Engine, EngineInfo, Explanation, LogChunk, Owner, Place,
    Position, Refused, WorkerInfo,
};

/// An engine of one process and one turn: decides, appends, answers.
pub(super) struct Pretend {
    pub(super) log: Arc<MemoryLog>,
    pub(super) away: AtomicBool,
    /// Who decides, if it is not this one.
    pub(super) elsewhere: StdMutex<Option<Owner>>,
    pub(super) logs: StdMutex<HashMap<AttemptId, Vec<u8>>>,
    pub(super) callers: StdMutex<Vec<Caller>>,
    leases: Vec<Lease>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    chains: HashMap<ShardId, Chain>,
    definitions: HashMap<DefinitionCode, (WorkflowDefinition, Vec<Arc<Workflow>>)>,
    runs: HashMap<InstanceId, Run>,
    keys: HashMap<String, InstanceId>,
    groups: HashMap<String, (TaskGroup, u64)>,
    environments: HashMap<String, (Environment, u64)>,
    tally: Tally,
    now: i64,
}

/// Decides a command on something that runs share, and remembers what follows. Answers the events with
/// their places in the stream.
fn decided<A: Aggregate>(
    known: &mut HashMap<String, (A, u64)>,
    name: &str,
    command: &A::Command,
) -> Result<Vec<(A::Event, u64)>, Rejection> {
    let (mut thing, mut sequence) = known.remove(name).unwrap_or_default();
    let events = thing.decide(command);
    let mut placed = Vec::new();
    for event in events.iter().flatten() {
        thing = thing.evolve(event).unwrap();
        sequence += 1;
        placed.push((event.clone(), sequence));
    }
    known.insert(name.to_owned(), (thing, sequence));
    events.map(|_| placed)
}

impl Pretend {
    pub(super) fn new(log: Arc<MemoryLog>, leases: Vec<Lease>) -> Self {
        Self {
            log,
            away: AtomicBool::new(false),
            elsewhere: StdMutex::default(),
            logs: StdMutex::default(),
            callers: StdMutex::default(),
            leases,
            state: Mutex::default(),
        }
    }

    fn here(&self, caller: &Caller) -> Result<(), Refused> {
        self.callers.lock().unwrap().push(caller.clone());
        if self.away.load(Ordering::Relaxed) {
            return Err(Refused::Unavailable("no engine owns the shard".to_owned()));
        }
        Ok(())
    }

    async fn append(&self, state: &mut State, shard: ShardId, facts: Vec<(Fact, u64)>) -> Position {
        state.now += 1_000;
        for (fact, _) in &facts {
            state.tally.count(fact);
        }
        let chain = state.chains.entry(shard).or_insert_with(Chain::start);
        let after = *chain;
        let at = Timestamp(1_700_000_000_000_000 + state.now);
        let metadata = r#"{"actor":"user","cause":"test"}"#;
        let events: Vec<Recorded> = facts
            .iter()
            .map(|(fact, sequence)| chain.record(shard, fact, *sequence, metadata, at))
            .collect();
        let seq = chain.head;
        if !events.is_empty() {
            let epoch = self.leases[usize::from(shard.0)].epoch;
            let append = Append {
                shard,
                epoch,
                after,
                events,
            };
            self.log.append(append).await.unwrap();
        }
        Position { shard, seq }
    }

    pub(super) async fn handle(
        &self,
        id: InstanceId,
        command: run::Command,
    ) -> Result<Position, Refused> {
        let mut state = self.state.lock().await;
        let now = Timestamp(1_700_000_000_000_000 + state.now);
        let run = state.runs.get_mut(&id);
        let run =
            run.ok_or_else(|| Refused::NotFound(format!("there is no workflow instance {id}")))?;
        let steps = run.handle(&command, now).map_err(Refused::Rejected)?;
        let facts = steps
            .into_iter()
            .map(|step| (step.fact, step.sequence))
            .collect();
        Ok(self.append(&mut state, id.shard(), facts).await)
    }

    /// Commands a task group, whoever would do so.
    pub(super) async fn group(
        &self,
        name: &str,
        command: task_group::Command,
    ) -> Result<Changed, Refused> {
        let mut state = self.state.lock().await;
        let events = decided(&mut state.groups, name, &command).map_err(Refused::Rejected)?;
        let fact = |(event, sequence)| (Fact::TaskGroup(name.into(), event), sequence);
        let facts: Vec<_> = events.into_iter().map(fact).collect();
        let changed = !facts.is_empty();
        let shard = ShardId::of_name("task_group", name, SHARDS);
        let position = self.append(&mut state, shard, facts).await;
        Ok(Changed { changed, position })
    }

    pub(super) async fn say(&self, id: InstanceId, task: TaskCode, word: Word) -> Position {
        let attempt = {
            let state = self.state.lock().await;
            state.runs[&id].task(task).unwrap().attempt
        };
        let command = TaskCommand::Report {
            attempt,
            worker: worker(),
            word,
        };
        let command = run::Command::Task { task, command };
        self.handle(id, command).await.unwrap()
    }

    pub(super) async fn position(&self, id: InstanceId) -> Position {
        let shard = id.shard();
        let seq = self.state.lock().await.chains[&shard].head;
        Position { shard, seq }
    }

    pub(super) fn write_log(&self, instance: InstanceId, task: &str, number: u32, text: &str) {
        let task = TaskId {
            instance,
            task: TaskCode::of_name(task),
        };
        let mut logs = self.logs.lock().unwrap();
        let log = logs.entry(AttemptId { task, number }).or_default();
        log.extend_from_slice(text.as_bytes());
    }
}

#[async_trait]
impl Engine for Pretend {
    async fn owner(&self, _: Place) -> Result<Owner, Refused> {
        let elsewhere = self.elsewhere.lock().unwrap().clone();
        Ok(elsewhere.unwrap_or(Owner::Here))
    }

    async fn define(&self, workflow: Arc<Workflow>, caller: Caller) -> Result<Defined, Refused> {
        self.here(&caller)?;
        let mut state = self.state.lock().await;
        let spec = workflow.spec();
        let code = DefinitionCode::new(&spec.project, &spec.name);
        let (mut definition, mut versions) = state.definitions.remove(&code).unwrap_or_default();
        let command = workflow_definition::Command::Define(workflow.clone());
        let events = definition.decide(&command).map_err(Refused::Rejected)?;
        let mut facts = Vec::new();
        for event in events {
            definition = definition.evolve(&event).unwrap();
            versions.push(workflow.clone());
            facts.push((Fact::Definition(code, event), u64::from(definition.version)));
        }
        let changed = !facts.is_empty();
        let version = definition.version;
        state.definitions.insert(code, (definition, versions));
        let position = self.append(&mut state, code.shard(SHARDS), facts).await;
        Ok(Defined {
            code,
            version,
            changed,
            position,
        })
    }

    async fn start(
        &self,
        submission: Submission,
        key: Option<String>,
        caller: Caller,
    ) -> Result<Accepted, Refused> {
        self.here(&caller)?;
        let mut state = self.state.lock().await;
        if let Some(&instance) = key.as_ref().and_then(|key| state.keys.get(key)) {
            let shard = instance.shard();
            let seq = state.chains[&shard].head;
            return Ok(Accepted {
                instance,
                position: Position { shard, seq },
                existing: true,
            });
        }
        let number = state.runs.len() as u64 + 1;
        let instance = InstanceId::new(number, ShardId((number % u64::from(SHARDS)) as u16));
        let version = submission.version as usize - 1;
        let workflow = state.definitions[&submission.definition].1[version].clone();
        let mut run = Run::new(instance, workflow);
        let now = Timestamp(1_700_000_000_000_000 + state.now);
        let steps = run.handle(&run::Command::Submit(Arc::new(submission)), now);
        let mut facts: Vec<_> = steps
            .map_err(Refused::Rejected)?
            .into_iter()
            .map(|step| (step.fact, step.sequence))
            .collect();
        if let Some(key) = key {
            facts.push((
                Fact::Trigger(key.clone(), trigger::Event::Fired { instance }),
                1,
            ));
            state.keys.insert(key, instance);
        }
        state.runs.insert(instance, run);
        let position = self.append(&mut state, instance.shard(), facts).await;
        Ok(Accepted {
            instance,
            position,
            existing: false,
        })
    }

    async fn command(
        &self,
        instance: InstanceId,
        command: run::Command,
        caller: Caller,
    ) -> Result<Position, Refused> {
        self.here(&caller)?;
        self.handle(instance, command).await
    }

    async fn set_task_group(
        &self,
        name: &str,
        size: u32,
        caller: Caller,
    ) -> Result<Changed, Refused> {
        self.here(&caller)?;
        let command = task_group::Command::Define { size };
        self.group(name, command).await
    }

    async fn set_environment(
        &self,
        name: &str,
        config: &str,
        caller: Caller,
    ) -> Result<Changed, Refused> {
        self.here(&caller)?;
        let mut state = self.state.lock().await;
        let config = config.into();
        let command = environment::Command::Set { config };
        let events = decided(&mut state.environments, name, &command).map_err(Refused::Rejected)?;
        let fact = |(event, sequence)| (Fact::Environment(name.into(), event), sequence);
        let facts: Vec<_> = events.into_iter().map(fact).collect();
        let changed = !facts.is_empty();
        let shard = ShardId::of_name("environment", name, SHARDS);
        let position = self.append(&mut state, shard, facts).await;
        Ok(Changed { changed, position })
    }

    async fn force_slot(
        &self,
        group: &str,
        task: TaskId,
        caller: Caller,
    ) -> Result<Changed, Refused> {
        self.here(&caller)?;
        let attempt = AttemptId { task, number: 1 };
        let command = task_group::Command::Force { attempt };
        self.group(group, command).await
    }

    async fn is_under_way(&self, instance: InstanceId) -> bool {
        let state = self.state.lock().await;
        let run = state.runs.get(&instance);
        self.here(&Caller::default()).is_ok() && run.is_some_and(|run| !run.has_ended())
    }

    /// Whatever was submitted waits for a worker.
    async fn explain(&self, instance: InstanceId) -> Result<Vec<Explanation>, Refused> {
        self.here(&Caller::default())?;
        let state = self.state.lock().await;
        let run = &state.runs[&instance];
        let tasks = run.definition().spec().tasks.iter();
        let waits = tasks.filter(|spec| {
            let task = run.task(spec.code);
            task.is_some_and(|task| matches!(task.stage, Stage::Submitted))
        });
        let explained = waits.map(|spec| Explanation {
            task: Some(spec.code),
            cause: "WORKER",
            reason: "it waits for a worker".to_owned(),
        });
        Ok(explained.collect())
    }

    async fn read_task_log(
        &self,
        attempt: AttemptId,
        offset: u64,
        limit: u32,
    ) -> Result<LogChunk, Refused> {
        let logs = self.logs.lock().unwrap();
        let log = logs.get(&attempt);
        let log = log.ok_or_else(|| Refused::NotFound(format!("there is no log of {attempt}")))?;
        let data = log
            .iter()
            .skip(offset as usize)
            .take(limit as usize)
            .copied()
            .collect();
        Ok(LogChunk {
            data,
            size: log.len() as u64,
        })
    }

    async fn workers(&self) -> Result<Vec<WorkerInfo>, Refused> {
        self.here(&Caller::default())?;
        Ok(vec![WorkerInfo {
            id: "w-\"1\"".to_owned(),
            groups: vec!["default".to_owned()],
            slots: 4,
            busy: 1,
            last_seen: Some(Timestamp(0)),
            ..WorkerInfo::default()
        }])
    }

    async fn tally(&self) -> Result<Tally, Refused> {
        self.here(&Caller::default())?;
        Ok(self.state.lock().await.tally)
    }

    async fn engines(&self) -> Result<Vec<EngineInfo>, Refused> {
        self.here(&Caller::default())?;
        let shards = self.leases.iter().map(|lease| lease.shard).collect();
        Ok(vec![EngineInfo {
            id: "e-1".to_owned(),
            address: String::new(),
            standby: false,
            shards,
        }])
    }
}
