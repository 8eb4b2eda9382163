//! From what is asked of a run's task to what is asked of its task instance: the policies of the author
//! and what predecessors handed on come in here.

use super::Run;
use super::command::{ChildEnd, End, TaskCommand, Word};
use crate::id::WorkerRef;
use crate::params;
use crate::task_instance::{self, Conclusion, Output, Report, Retry, Terms};
use crate::time::Timestamp;
use crate::workflow_definition::{Direction, Node};

impl Run {
    /// What the author allows a task, as of now.
    pub(super) fn terms(&self, node: Node, now: Timestamp) -> Terms {
        let spec = self.spec(node);
        let asked = self.workflow.submission.as_deref();
        if asked.is_some_and(|asked| asked.dry_run) {
            return Terms {
                at: now,
                ..Terms::default()
            };
        }
        let policy = &spec.policy;
        let logic = spec.kind.is_logic();
        Terms {
            at: now,
            delay: policy.delay,
            task_group: policy.task_group.clone().filter(|_| !logic),
            dispatch_timeout: policy
                .dispatch_timeout
                .or_else(|| asked.and_then(|asked| asked.dispatch_timeout))
                .filter(|_| !logic),
            timeout: policy.timeout,
            retry: (self.goes_on() && !logic).then_some(Retry {
                times: policy.retry.times,
                interval: policy.retry.interval,
            }),
            worker_group: self.worker_group(node).to_owned(),
        }
    }

    /// What is asked of the task instance; none when there is nothing to ask.
    pub(super) fn task_command(
        &self,
        node: Node,
        command: &TaskCommand,
        now: Timestamp,
    ) -> Option<task_instance::Command> {
        use task_instance::Command as Task;
        let task = self.nodes.task(node);
        Some(match command {
            TaskCommand::Kill { reason } => Task::Kill {
                at: now,
                reason: reason.clone(),
            },
            TaskCommand::ForceSuccess { reason } => Task::ForceSuccess {
                reason: reason.clone(),
                var_pool: self.handed_to(node),
            },
            TaskCommand::RequestDispatch { worker } => Task::RequestDispatch {
                worker: worker.clone(),
            },
            TaskCommand::Report {
                attempt,
                worker,
                word,
            } => self.report(node, *attempt, worker, word, now),
            TaskCommand::LoseWorker {
                worker,
                reason,
                failovers,
            } => Task::Lose {
                worker: worker.clone(),
                reason: reason.clone(),
                replace: self.wants_tasks(),
                failovers: *failovers,
                terms: self.terms(node, now),
            },
            TaskCommand::Wake => Task::Wake(self.terms(node, now)),
            TaskCommand::GrantSlot { attempt, claim } => Task::GrantSlot {
                attempt: *attempt,
                claim: *claim,
                terms: self.terms(node, now),
            },
            TaskCommand::ReleaseSlot { attempt, claim } => Task::ReleaseSlot {
                attempt: *attempt,
                claim: *claim,
            },
            TaskCommand::StartChild {
                attempt,
                index,
                instance,
            } => Task::StartChild {
                attempt: *attempt,
                index: *index,
                instance: *instance,
                wake: None,
            },
            TaskCommand::EndChild(end) => self.end_child(node, end),
            TaskCommand::Check { attempt, verdicts } => {
                if task.attempt != *attempt {
                    return None;
                }
                return self.judge_check(node, verdicts, now).map(Task::Conclude);
            }
            TaskCommand::Conclude {
                attempt,
                outcome,
                reason,
                outputs,
            } => {
                if task.attempt != *attempt {
                    return None;
                }
                Task::Conclude(Conclusion {
                    outcome: *outcome,
                    at: now,
                    reason: reason.clone(),
                    ran: false,
                    var_pool: params::pass_on(self.handed_to(node), outputs),
                    branches: None,
                    retry: self.terms(node, now).retry,
                })
            }
        })
    }

    fn report(
        &self,
        node: Node,
        attempt: u32,
        worker: &WorkerRef,
        word: &Word,
        now: Timestamp,
    ) -> task_instance::Command {
        use task_instance::Command as Task;
        let worker = worker.clone();
        match word {
            Word::Accepted => Task::Accept { attempt, worker },
            Word::Refused(reason) => Task::Refuse {
                attempt,
                worker,
                reason: reason.clone(),
                at: now,
            },
            Word::Started(started) => Task::ReportStarted {
                attempt,
                worker,
                started: started.clone(),
                terms: self.terms(node, now),
            },
            Word::Finished(end) => Task::ReportFinished {
                attempt,
                worker,
                report: self.account(node, end),
                terms: self.terms(node, now),
            },
        }
    }

    /// The worker's account, with what the attempt hands on in place of all that it offered.
    fn account(&self, node: Node, end: &End) -> Report {
        let spec = self.spec(node);
        let succeeded = end.outcome == task_instance::Outcome::Success;
        let declared = |(name, value): &(String, String)| {
            let param = spec
                .params
                .iter()
                .find(|p| p.direct == Direction::Out && p.name == *name)?;
            Some(Output {
                name: name.clone(),
                type_name: param.type_name.clone(),
                value: value.clone(),
            })
        };
        let own: Vec<Output> = end.outputs.iter().filter_map(declared).collect();
        Report {
            outcome: end.outcome,
            ended_at: end.ended_at,
            started: end.started.clone(),
            exit_code: end.exit_code,
            var_pool: if succeeded {
                params::pass_on(self.handed_to(node), &own)
            } else {
                own
            },
            reason: end.reason.clone(),
            cache_key: if succeeded && spec.policy.cache {
                self.cache_key(spec.code)
            } else {
                None
            },
        }
    }

    fn end_child(&self, node: Node, end: &ChildEnd) -> task_instance::Command {
        let wanted = |output: &&Output| {
            self.spec(node)
                .params
                .iter()
                .any(|p| p.direct == Direction::Out && p.name == output.name)
        };
        let others = end.others.iter().filter(wanted);
        task_instance::Command::EndChild {
            index: end.index,
            instance: end.instance,
            state: end.state,
            outputs: end.declared.iter().chain(others).cloned().collect(),
        }
    }
}
