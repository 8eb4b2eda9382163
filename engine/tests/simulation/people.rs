//! People who want runs: they ask any engine, again and again, until they are answered.

use std::sync::Arc;
use std::time::Duration;

use domain::workflow_definition::{
    Policy, RetryPolicy, TaskKind, TaskSpec, Workflow, WorkflowSpec,
};
use domain::workflow_instance::{FailureStrategy, Submission};
use domain::{DefinitionCode, InstanceId, ShardId, TaskCode};
use engine::core::{Answer, Asked, Input, Request};
use store::{Log, Metadata};

use crate::rng::Rng;
use crate::world::{SHARDS, World, now};

/// A run somebody wants, and what they were told.
pub(crate) struct Wanted {
    workflow: Arc<Workflow>,
    submission: Arc<Submission>,
    shard: ShardId,
    pub(crate) key: String,
    pub(crate) defined: bool,
    pub(crate) started: Option<InstanceId>,
    stop_at: Option<u64>,
    stopped: bool,
    pub(crate) asking: bool,
}

impl World {
    /// People ask until they are answered, with the same key.
    pub(crate) fn people(&mut self) {
        for index in 0..self.wanted.len() {
            // The impatient ask again while somebody is still looking for their answer.
            let often = if self.wanted[index].asking { 1 } else { 10 };
            if !self.rng.percent(often) {
                continue;
            }
            let wanted = &self.wanted[index];
            let request = match wanted.started {
                None if !wanted.defined => Request::Define(wanted.workflow.clone()),
                None => {
                    // As the engine's handle does: a key that fired is found in the log.
                    let stream = domain::StreamId {
                        kind: domain::AggregateType::Trigger,
                        id: wanted.key.clone(),
                    };
                    // Or is not, by one who looked before it did.
                    let looked_before = self.rng.percent(30);
                    let fired = now(self.log.read_last(&stream)).expect("memory");
                    if let Some(fired) = fired.filter(|_| !looked_before) {
                        let domain::Fact::Trigger(_, domain::trigger::Event::Fired { instance }) =
                            fired.fact().expect("ours")
                        else {
                            panic!("a trigger stream holds triggers")
                        };
                        self.wanted[index].started = Some(instance);
                        continue;
                    }
                    Request::Start {
                        shard: wanted.shard,
                        submission: wanted.submission.clone(),
                        workflow: wanted.workflow.clone(),
                        key: Some(wanted.key.clone()),
                    }
                }
                Some(instance)
                    if !wanted.stopped && wanted.stop_at.is_some_and(|at| at <= self.now) =>
                {
                    let command = domain::run::Command::Stop {
                        reason: "somebody wants it".to_owned(),
                    };
                    Request::Command { instance, command }
                }
                Some(_) => continue,
            };
            self.next_ticket += 1;
            let engine = self.rng.below(self.engines.len() as u64) as usize;
            let engine = &mut self.engines[engine];
            engine.tickets.insert(self.next_ticket, index);
            self.wanted[index].asking = true;
            let by = Metadata {
                actor: "user".to_owned(),
                cause: "test".to_owned(),
                trace: None,
            };
            engine.inbox.push_back((
                self.now,
                Input::Asked(Asked {
                    ticket: self.next_ticket,
                    request,
                    by,
                }),
            ));
        }
    }

    pub(crate) fn answered(
        &mut self,
        index: usize,
        answer: &Result<Answer, engine::core::Refusal>,
    ) {
        let wanted = &mut self.wanted[index];
        wanted.asking = false;
        match answer {
            Ok(Answer::Defined { .. }) => wanted.defined = true,
            Ok(Answer::Started { instance, .. }) => {
                let instance = *instance;
                assert!(
                    wanted.started.is_none_or(|before| before == instance),
                    "seed {}: one key, two runs",
                    self.seed
                );
                wanted.started = Some(instance);
            }
            Ok(Answer::Done { .. }) | Err(engine::core::Refusal::Rejected(_)) => {
                wanted.stopped = true;
            }
            Err(_) => {}
        }
    }
}

/// A random layered workflow, asked for with a key.
pub(crate) fn wanted(index: u64, rng: &mut Rng) -> Wanted {
    let mut tasks: Vec<TaskSpec> = Vec::new();
    for number in 0..rng.between(1, 10) {
        let mut depends_on: Vec<String> = tasks
            .iter()
            .map(|earlier| earlier.name.clone())
            .filter(|_| rng.percent(30))
            .collect();
        depends_on.truncate(3);
        let name = format!("t{number}");
        let retry = RetryPolicy {
            times: rng.below(3) as u32,
            interval: Duration::from_millis(rng.below(3_000)),
        };
        tasks.push(TaskSpec {
            code: TaskCode(number + 1),
            name,
            kind: TaskKind::Shell {
                run: "true".to_owned(),
            },
            depends_on,
            params: Vec::new(),
            policy: Policy {
                retry: if retry.times == 0 {
                    RetryPolicy::default()
                } else {
                    retry
                },
                ..Policy::default()
            },
        });
    }
    let spec = WorkflowSpec {
        name: format!("w{index}"),
        project: "default".to_owned(),
        tasks,
        ..WorkflowSpec::default()
    };
    let definition = DefinitionCode::new(&spec.project, &spec.name);
    let failure = if rng.percent(50) {
        FailureStrategy::End
    } else {
        FailureStrategy::Continue
    };
    let submission = Submission {
        definition,
        version: 1,
        project: spec.project.clone(),
        workflow: spec.name.clone(),
        params: Vec::new(),
        failure,
        start_nodes: Vec::new(),
        depend: domain::workflow_instance::Depend::TaskPost,
        dry_run: false,
        priority: domain::workflow_definition::Priority::Medium,
    };
    Wanted {
        workflow: Arc::new(Workflow::check(spec).expect("earlier tasks only: no cycle")),
        submission: Arc::new(submission),
        shard: ShardId((index % u64::from(SHARDS)) as u16),
        key: format!("key-{index}"),
        defined: false,
        started: None,
        stop_at: rng.percent(30).then(|| rng.between(1_000_000, 20_000_000)),
        stopped: false,
        asking: false,
    }
}
