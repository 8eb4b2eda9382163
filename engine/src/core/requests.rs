//! What people and programs ask for.

use std::sync::Arc;

use domain::run::{self, Run};
use domain::trigger::{self, Trigger};
use domain::workflow_definition::{self, Workflow};
use domain::workflow_instance::Submission;
use domain::{Aggregate, DefinitionCode, Fact, InstanceId, Rejection, ShardId, Timestamp};

use super::inputs::{Answer, Asked, Input, Refusal, Request, Ticket};
use super::shard::{Effect, Shard};
use super::touched::Touched;
use super::{Core, Output};

impl Core {
    pub(super) fn asked(&mut self, now: Timestamp, asked: Asked) {
        let id = match &asked.request {
            Request::Define(workflow) => code_of(workflow).shard(self.settings.shards),
            Request::Start { shard, .. } => *shard,
            Request::Command { instance, .. } | Request::Explain { instance } => instance.shard(),
            Request::SetTaskGroup { name, .. } | Request::ForceSlot { name, .. } => {
                ShardId::of_task_group(name, self.settings.shards)
            }
            Request::SetEnvironment { name, .. } => {
                ShardId::of_environment(name, self.settings.shards)
            }
        };
        if !self.lease_holds(now, id) {
            let why = format!("shard {id} belongs to another engine, or to none yet");
            self.refuse(asked.ticket, Refusal::NotOwner(why));
            return;
        }
        let Some(shard) = self.shards.get_mut(&id) else {
            return;
        };
        if !shard.is_ready() {
            if let Some(Input::Asked(asked)) = shard.park(Input::Asked(asked)) {
                self.refuse(
                    asked.ticket,
                    Refusal::Unavailable("too many requests wait for the log".to_owned()),
                );
            }
            return;
        }
        match &asked.request {
            Request::Define(_) => self.define(now, id, asked),
            Request::Start { .. } => self.start(now, id, asked),
            Request::Command { instance, .. } | Request::Explain { instance } => {
                let instance = *instance;
                self.command(now, id, instance, asked);
            }
            Request::SetTaskGroup { name, size } => {
                self.set_group(now, asked.ticket, name, *size, &asked.by);
            }
            Request::ForceSlot { name, task } => {
                self.force_slot(now, asked.ticket, name, *task, &asked.by);
            }
            Request::SetEnvironment { name, config } => {
                self.set_environment(now, asked.ticket, name, config, &asked.by);
            }
        }
    }

    fn define(
        &mut self,
        now: Timestamp,
        id: ShardId,
        Asked {
            ticket,
            request,
            by,
        }: Asked,
    ) {
        let Request::Define(workflow) = request else {
            return;
        };
        let code = code_of(&workflow);
        let Some(shard) = self.shards.get_mut(&id) else {
            return;
        };
        let Some(memory) = shard.memory() else { return };
        let mut definition = memory.definitions.remove(&code).unwrap_or_default();
        let command = workflow_definition::Command::Define(workflow);
        let events = match definition.decide(&command) {
            Ok(events) => events,
            Err(rejection) => {
                memory.definitions.insert(code, definition);
                self.refuse(ticket, Refusal::Rejected(rejection));
                return;
            }
        };
        let changed = !events.is_empty();
        for event in events {
            let workflow_definition::Command::Define(workflow) = &command;
            let workflow_definition::Event::Defined { version, .. } = &event;
            // The content was checked at the door; checking it again would only cost time.
            definition = workflow_definition::WorkflowDefinition {
                version: *version,
                workflow: Some(workflow.clone()),
            };
            let sequence = u64::from(*version);
            shard.record_fact(now, Fact::Definition(code, event), sequence, &by);
        }
        let version = definition.version;
        if let Some(memory) = shard.memory() {
            memory.definitions.insert(code, definition);
        }
        let head = shard.head();
        reply(
            shard,
            ticket,
            Ok(Answer::Defined {
                code,
                version,
                changed,
                head,
            }),
        );
    }

    fn start(
        &mut self,
        now: Timestamp,
        id: ShardId,
        Asked {
            ticket,
            request,
            by,
        }: Asked,
    ) {
        let Request::Start {
            submission,
            workflow,
            key,
            ..
        } = request
        else {
            return;
        };
        let Some(shard) = self.shards.get_mut(&id) else {
            return;
        };
        let head = shard.head();
        let Some(memory) = shard.memory() else { return };
        if let Some(instance) = key.as_ref().and_then(|key| memory.started_by(key)) {
            reply(
                shard,
                ticket,
                Ok(Answer::Started {
                    instance,
                    existing: true,
                    head,
                }),
            );
            return;
        }
        let instance = InstanceId::new(memory.instances + 1, id);
        match begin(instance, workflow, submission, now) {
            Ok((run, steps)) => {
                memory.instances += 1;
                memory.runs.insert(instance, Box::new(run));
                if let Some(key) = key {
                    memory.fire(key.clone(), instance);
                    let fired = Trigger::default()
                        .decide(&trigger::Command::Fire(instance))
                        .unwrap_or_default();
                    for event in fired {
                        shard.record_fact(now, Fact::Trigger(key.clone(), event), 1, &by);
                    }
                }
                let touched = Touched::by(&steps);
                shard.record(now, steps, &by);
                self.after(now, instance, &touched);
                if let Some(shard) = self.shards.get_mut(&id) {
                    let head = shard.head();
                    reply(
                        shard,
                        ticket,
                        Ok(Answer::Started {
                            instance,
                            existing: false,
                            head,
                        }),
                    );
                    // A dry run has ended already.
                    shard.may_leave(instance);
                }
            }
            Err(rejection) => self.refuse(ticket, Refusal::Rejected(rejection)),
        }
    }

    fn command(&mut self, now: Timestamp, id: ShardId, instance: InstanceId, asked: Asked) {
        let Some(shard) = self.shards.get_mut(&id) else {
            return;
        };
        let generation = shard.generation;
        let Some(memory) = shard.memory() else { return };
        if let Some(corrupt) = memory.corrupt.get(&instance) {
            let refusal = Refusal::Corrupt(instance, corrupt.clone());
            self.refuse(asked.ticket, refusal);
            return;
        }
        if memory.absent.contains(&instance) {
            self.refuse(asked.ticket, Refusal::NoSuchInstance(instance));
            return;
        }
        if !memory.runs.contains_key(&instance) {
            if shard.park_for(instance, Input::Asked(asked)) {
                self.out.push(Output::LoadRun {
                    instance,
                    generation,
                });
            }
            return;
        }
        let Request::Command { command, .. } = &asked.request else {
            let explained = self.explain(now, instance);
            self.out.push(Output::Reply {
                ticket: asked.ticket,
                answer: Ok(Answer::Explained(explained)),
            });
            if let Some(shard) = self.shards.get_mut(&id) {
                shard.may_leave(instance);
            }
            return;
        };
        let answer = self.decide(now, instance, command, &asked.by);
        let Some(shard) = self.shards.get_mut(&id) else {
            return;
        };
        let corrupt = shard
            .memory()
            .and_then(|memory| memory.corrupt.get(&instance));
        if let Some(corrupt) = corrupt.cloned() {
            self.refuse(asked.ticket, Refusal::Corrupt(instance, corrupt));
            return;
        }
        let head = shard.head();
        // A refusal rests on what was decided before it: it must not be heard before that is durable.
        reply(
            shard,
            asked.ticket,
            answer
                .map(|()| Answer::Done { head })
                .map_err(Refusal::Rejected),
        );
        shard.may_leave(instance);
    }

    fn refuse(&mut self, ticket: Ticket, refusal: Refusal) {
        self.out.push(Output::Reply {
            ticket,
            answer: Err(refusal),
        });
    }
}

fn reply(shard: &mut Shard, ticket: Ticket, answer: Result<Answer, Refusal>) {
    shard.when_durable(Effect::Reply(ticket, answer));
}

fn begin(
    instance: InstanceId,
    workflow: Arc<Workflow>,
    submission: Arc<Submission>,
    now: Timestamp,
) -> Result<(Run, Vec<run::Step>), Rejection> {
    let mut run = Run::new(instance, workflow);
    let steps = run.handle(&run::Command::Submit(submission), now)?;
    Ok((run, steps))
}

fn code_of(workflow: &Workflow) -> DefinitionCode {
    DefinitionCode::new(&workflow.spec().project, &workflow.spec().name)
}
