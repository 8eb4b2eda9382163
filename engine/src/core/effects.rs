//! From decisions to effects: what a task owes is noted when it is decided and leaves when it is durable.

use domain::run::{self, Run, Step, TaskCommand};
use domain::task_instance::Obligation;
use domain::{
    Aggregate, AttemptId, InstanceId, Rejection, ShardId, TaskId, Timestamp, workflow_instance,
};
use proto::worker::{Ack, Dispatch, EngineMessage, Kill, engine_message};
use store::Metadata;

use super::children::{Order, orders_of};
use super::letters::letter_of;
use super::lookups::Inquiry;
use super::offers::offer_backoff;
use super::shard::{Effect, Shard};
use super::touched::Touched;
use super::{Core, Output, SessionId, Timer, wire};
use crate::contained::contained;

impl Core {
    /// Decides a command of a run that is in memory, takes down what follows, and notes what is owed.
    pub(super) fn decide(
        &mut self,
        now: Timestamp,
        instance: InstanceId,
        command: &run::Command,
        by: &Metadata,
    ) -> Result<(), Rejection> {
        self.decide_by(now, instance, by, |run| run.handle(command, now))
            .map(drop)
    }

    /// Takes down what a run decides, and notes what is owed. Answers how many steps that was. A run that
    /// cannot be decided stands still from then on, as one whose events cannot be folded.
    pub(super) fn decide_by(
        &mut self,
        now: Timestamp,
        instance: InstanceId,
        by: &Metadata,
        decide: impl FnOnce(&mut Run) -> Result<Vec<Step>, Rejection>,
    ) -> Result<usize, Rejection> {
        let Some(shard) = self.shards.get_mut(&instance.shard()) else {
            return Ok(0);
        };
        let Some(memory) = shard.memory() else {
            return Ok(0);
        };
        let Some(run) = memory.runs.get_mut(&instance) else {
            return Ok(0);
        };
        let steps = match contained(instance, || decide(run)) {
            Ok(decided) => decided?,
            Err(corrupt) => {
                memory.runs.remove(&instance);
                memory.corrupt.insert(instance, corrupt);
                return Ok(0);
            }
        };
        let decided = steps.len();
        if decided > 0 {
            let touched = Touched::by(&steps);
            shard.record(now, steps, by);
            self.after(now, instance, &touched);
        }
        Ok(decided)
    }

    /// What follows from what was decided: what is owed, what the runs below are told, and what the run
    /// above is told.
    pub(super) fn after(&mut self, now: Timestamp, instance: InstanceId, touched: &Touched) {
        self.note_owed(now, instance, touched);
        for order in self.orders_after(instance, touched) {
            self.order(now, order);
        }
        let run = self
            .shards
            .get(&instance.shard())
            .and_then(|shard| shard.run(instance));
        let ended = run.is_some_and(Run::has_ended);
        if touched.finished
            && let Some((parent, end)) = run.and_then(Run::end_for_parent)
        {
            let task = TaskId {
                instance: parent.instance,
                task: parent.task,
            };
            self.tell_parent(now, task, end);
        }
        if ended && let Some(shard) = self.shards.get_mut(&instance.shard()) {
            shard.may_leave(instance);
        }
    }

    /// What the runs below are told: all of them when the whole run changes its mind, else those of the
    /// tasks that were touched.
    fn orders_after(&self, instance: InstanceId, touched: &Touched) -> Vec<Order> {
        let Some(run) = self
            .shards
            .get(&instance.shard())
            .and_then(|shard| shard.run(instance))
        else {
            return Vec::new();
        };
        let orders: Vec<Order> = if touched.turns {
            let tasks = run.definition().spec().tasks.iter();
            tasks.flat_map(|spec| orders_of(run, spec.code)).collect()
        } else {
            let tasks = touched.tasks.iter();
            tasks.flat_map(|task| orders_of(run, task.task)).collect()
        };
        orders
            .into_iter()
            .filter(|order| order.wanted.is_some())
            .collect()
    }

    /// What the run and its touched tasks owe now, in place of what they owed before.
    pub(super) fn note_owed(&mut self, now: Timestamp, instance: InstanceId, touched: &Touched) {
        for task in self.by_urgency(instance, touched.tasks.clone()) {
            let owed = self
                .shards
                .get(&instance.shard())
                .and_then(|shard| shard.run(instance))
                .map_or_else(Vec::new, |run| run.task_obligations(task.task));
            let any = |wanted: fn(&Obligation) -> bool| owed.iter().any(wanted);
            let held = any(|owed| matches!(owed, Obligation::Watch { .. }));
            let sought = any(|owed| matches!(owed, Obligation::FindWorker { .. }));
            if !held {
                self.workers.release(task);
            }
            if !sought {
                self.queue.remove(task);
            }
            if !held && !sought {
                self.preparations.remove(&task);
            }
            if !any(|owed| matches!(owed, Obligation::Check { .. })) {
                self.looking.remove(&task);
            }
            for obligation in owed {
                self.owe(now, task, obligation);
            }
        }
        if touched.whole {
            let owed: Vec<workflow_instance::Obligation> = self
                .shards
                .get(&instance.shard())
                .and_then(|shard| shard.run(instance))
                .map_or_else(Vec::new, |run| run.workflow().obligations().collect());
            for obligation in owed {
                self.owe_any(now, instance, run::Obligation::Run(obligation));
            }
        }
    }

    /// Of tasks that come to their task groups together, the more urgent ask first.
    fn by_urgency(&self, instance: InstanceId, mut tasks: Vec<TaskId>) -> Vec<TaskId> {
        let shard = self.shards.get(&instance.shard());
        if let Some(run) = shard.and_then(|shard| shard.run(instance)) {
            let urgency = |task: &TaskId| {
                let group = run.task_spec(task.task)?.policy.task_group.as_ref()?;
                Some(group.priority)
            };
            tasks.sort_by_key(|task| std::cmp::Reverse(urgency(task)));
        }
        tasks
    }

    /// Notes one obligation of a run. Noting it again is harmless.
    pub(super) fn owe_any(
        &mut self,
        now: Timestamp,
        instance: InstanceId,
        obligation: run::Obligation,
    ) {
        use workflow_instance::Obligation as Whole;
        match obligation {
            run::Obligation::Task(task, owed) => self.owe(now, TaskId { instance, task }, owed),
            run::Obligation::Run(Whole::Wake { at }) => {
                self.set_timer(at, Timer::Run(instance));
            }
            run::Obligation::Run(Whole::Tell { number, .. }) => {
                if let Some(shard) = self.shards.get_mut(&instance.shard()) {
                    shard.when_durable(Effect::Tell(instance, number));
                }
            }
            run::Obligation::Run(Whole::AskTurn { .. } | Whole::ReleaseTurn { .. }) => {
                self.write(instance, &obligation);
            }
        }
    }

    /// Writes the letter that meets an obligation.
    fn write(&mut self, instance: InstanceId, obligation: &run::Obligation) {
        let run = self
            .shards
            .get(&instance.shard())
            .and_then(|shard| shard.run(instance));
        if let Some(letter) = run.and_then(|run| letter_of(run, obligation)) {
            self.send(instance.shard(), letter);
        }
    }

    /// Notes one obligation of a task. Noting it again is harmless.
    pub(super) fn owe(&mut self, now: Timestamp, task: TaskId, obligation: Obligation) {
        match obligation {
            Obligation::FindWorker {
                refusals: 0,
                attempt,
            } => {
                if self.is_prepared(task, attempt) {
                    self.offer(task);
                }
            }
            Obligation::FindWorker { refusals, attempt } => {
                self.set_timer(now.after(offer_backoff(refusals)), Timer::Offer(task));
                if self.is_prepared(task, attempt)
                    && let Some((group, rank)) = self.place_in_queue(task)
                {
                    self.queue.rest(&group, rank);
                }
            }
            Obligation::Watch { attempt, worker } => {
                if self.workers.hold(task, attempt, &worker, now) {
                    self.watch_worker(now, worker.id.clone());
                }
            }
            Obligation::Wake { at } => self.set_timer(at, Timer::Task(task)),
            Obligation::AskSlot { .. } | Obligation::ReleaseSlot { .. } => {
                let owed = run::Obligation::Task(task.task, obligation);
                self.write(task.instance, &owed);
            }
            Obligation::Check { .. } => {
                if self.looking.insert(task) {
                    self.when_durable(task, obligation);
                }
            }
            Obligation::Send { .. } | Obligation::Kill { .. } | Obligation::StartChild { .. } => {
                self.when_durable(task, obligation);
            }
        }
    }

    fn when_durable(&mut self, task: TaskId, obligation: Obligation) {
        if let Some(shard) = self.shards.get_mut(&task.instance.shard()) {
            shard.when_durable(Effect::Owed(task, obligation));
        }
    }

    pub(super) fn task_due(&mut self, now: Timestamp, task: TaskId) {
        if self.lease_holds(now, task.instance.shard()) {
            let by = self.by_engine("due");
            let command = run::Command::Task {
                task: task.task,
                command: TaskCommand::Wake,
            };
            // A timer of an attempt that is over finds nothing to do.
            let _ = self.decide(now, task.instance, &command, &by);
        }
    }

    pub(super) fn run_due(&mut self, now: Timestamp, instance: InstanceId) {
        if self.lease_holds(now, instance.shard()) {
            let by = self.by_engine("due");
            let _ = self.decide(now, instance, &run::Command::Wake, &by);
        }
    }

    /// People have been told an alert, or it was given up.
    pub(super) fn told(
        &mut self,
        now: Timestamp,
        instance: InstanceId,
        number: u32,
        reason: String,
    ) {
        if self.lease_holds(now, instance.shard()) {
            let by = self.by_engine("alert");
            let settle = run::Command::SettleAlert { number, reason };
            if let Err(rejection) = self.decide(now, instance, &settle, &by) {
                tracing::debug!(%instance, number, %rejection, "nobody waits for this alert");
            }
        }
    }

    /// Hands an alert that is still open to whoever tells people.
    fn tell_people(&mut self, instance: InstanceId, number: u32) {
        let run = self
            .shards
            .get(&instance.shard())
            .and_then(|shard| shard.run(instance));
        let Some(whole) = run.map(Run::workflow) else {
            return;
        };
        if let (Some(asked), Some(alert)) = (&whole.submission, whole.alerts.get(&number)) {
            self.out.push(Output::Tell {
                instance,
                number,
                project: asked.project.clone(),
                workflow: asked.workflow.clone(),
                alert: alert.clone(),
            });
        }
    }

    /// Asks every run of a shard again what its state calls for: nothing, unless a step is missing.
    pub(super) fn settle(&mut self, now: Timestamp, id: ShardId) {
        let by = self.by_engine("settle");
        let Some(memory) = self.shards.get_mut(&id).and_then(Shard::memory) else {
            return;
        };
        let instances: Vec<InstanceId> = memory.runs.keys().copied().collect();
        for instance in instances {
            match self.decide_by(now, instance, &by, |run| run.settle(now)) {
                Ok(0) => {}
                Ok(steps) => {
                    tracing::warn!(%instance, steps, "the log was missing steps that its state calls for");
                }
                Err(rejection) => {
                    tracing::error!(%instance, %rejection, "the run cannot be settled");
                }
            }
        }
    }

    /// Lets every effect of a shard out whose events are durable, while the shard is ours: what a state owes
    /// that another engine has moved on since must not be done.
    pub(super) fn release(&mut self, now: Timestamp, id: ShardId) {
        let due = self.shards.get(&id).is_some_and(Shard::has_effects);
        if !due || !self.lease_holds(now, id) {
            return;
        }
        while let Some(effect) = self.shards.get_mut(&id).and_then(Shard::next_effect) {
            self.let_out(now, id, effect);
        }
        self.ask_for_proof(id);
    }

    /// Asks the log whether the shard is still ours, when something waits for that.
    fn ask_for_proof(&mut self, id: ShardId) {
        if let Some(shard) = self.shards.get_mut(&id)
            && shard.must_prove()
        {
            self.out.push(Output::Prove {
                shard: id,
                generation: shard.generation,
                epoch: shard.epoch,
            });
        }
    }

    /// The log has said whether a shard is still ours.
    pub(super) fn proved(&mut self, now: Timestamp, id: ShardId, generation: u64, newest: bool) {
        let current = |shard: &Shard| shard.generation == generation;
        if !self.shards.get(&id).is_some_and(current) {
            return;
        }
        if !newest {
            self.step_down(now, id);
        }
        // Who waits for an answer has been sent to the next owner when the shard is not ours any more.
        if !self.lease_holds(now, id) {
            return;
        }
        let proved = self.shards.get_mut(&id).map(Shard::proved);
        for effect in proved.unwrap_or_default() {
            self.let_out(now, id, effect);
        }
        self.ask_for_proof(id);
    }

    fn let_out(&mut self, now: Timestamp, id: ShardId, effect: Effect) {
        match effect {
            Effect::Reply(ticket, answer) => self.out.push(Output::Reply { ticket, answer }),
            Effect::Ack {
                session,
                attempt,
                sequence,
                last,
            } => {
                if last {
                    self.workers.acked(session, attempt);
                }
                let ack = Ack {
                    attempt: Some(wire::attempt(attempt)),
                    sequence,
                    epoch: self.epoch(attempt.task.instance.shard()),
                };
                self.tell(session, engine_message::Body::Ack(ack));
            }
            Effect::Owed(task, obligation) => self.meet(now, task, &obligation),
            Effect::Letter(letter) => self.deliver(now, letter),
            Effect::Tell(instance, number) => self.tell_people(instance, number),
            Effect::KillStray(session, attempt) => self.kill_on(session, attempt),
            Effect::Ended(instance) => {
                if let Some(shard) = self.shards.get_mut(&id) {
                    shard.leave(instance);
                }
            }
            Effect::KeepStanding(standing) => self.out.push(Output::KeepStanding(standing)),
            Effect::Count(tally) => self.tally.add(&tally),
        }
    }

    /// Tells a worker what a task owes it, if the worker is here. If it is not, its next hello brings
    /// the obligation up again.
    fn meet(&mut self, now: Timestamp, task: TaskId, obligation: &Obligation) {
        let (attempt, worker) = match obligation {
            Obligation::Send { attempt, worker } | Obligation::Kill { attempt, worker } => {
                (attempt, worker)
            }
            Obligation::StartChild { attempt, index } => {
                let run = self
                    .shards
                    .get(&task.instance.shard())
                    .and_then(|shard| shard.run(task.instance));
                if let Some(start) = run.and_then(|run| run.child_start(task.task, *index)) {
                    self.look_up(task, *attempt, Inquiry::Definition(start.definition));
                }
                return;
            }
            Obligation::Check { attempt } => {
                let run = self
                    .shards
                    .get(&task.instance.shard())
                    .and_then(|shard| shard.run(task.instance));
                if let Some(wanted) = run.and_then(|run| run.wanted(task.task)) {
                    self.look_up(task, *attempt, Inquiry::Upstream(wanted));
                }
                return;
            }
            Obligation::FindWorker { .. }
            | Obligation::Watch { .. }
            | Obligation::Wake { .. }
            | Obligation::AskSlot { .. }
            | Obligation::ReleaseSlot { .. } => return,
        };
        let Some(session) = self.workers.session(&worker.id) else {
            return;
        };
        let number = *attempt;
        if matches!(obligation, Obligation::Kill { .. }) {
            self.kill_on(session, AttemptId { task, number });
            return;
        }
        // Another incarnation must not be sent what was meant for the one before: it never held it. Nor must a
        // worker that has rejected the attempt meanwhile be asked for what another one has by now.
        let same = self.workers.incarnation(&worker.id);
        let attempt = AttemptId { task, number };
        if same.is_some_and(|same| same.is(worker))
            && self.is_only_asked(attempt, worker)
            && self.is_prepared(task, number)
            && let Some(question) = self.workers.ask(&worker.id, attempt, now)
        {
            self.dispatch(session, attempt, question);
        }
    }

    /// Asks the worker of this session to run an attempt, if that is still wanted.
    pub(super) fn dispatch(&mut self, session: SessionId, attempt: AttemptId, question: u64) {
        let AttemptId { task, number } = attempt;
        let run = self
            .shards
            .get(&task.instance.shard())
            .and_then(|shard| shard.run(task.instance));
        let Some(run) = run.filter(|run| {
            run.task(task.task)
                .is_some_and(|state| state.holder(number).is_some())
        }) else {
            return;
        };
        let Some(assignment) = run.assignment(task.task) else {
            return;
        };
        let environment = self
            .preparations
            .get(&task)
            .map(|(_, environment)| environment.to_string())
            .unwrap_or_default();
        let dispatch = Dispatch {
            attempt: Some(wire::attempt(attempt)),
            fencing_token: u64::from(number),
            epoch: self.epoch(task.instance.shard()),
            question,
            workflow: assignment.workflow,
            task: assignment.task,
            r#type: assignment.kind.to_owned(),
            body: assignment.body,
            options: assignment.options,
            environment,
            params: assignment
                .params
                .into_iter()
                .map(|(name, value)| proto::worker::Output { name, value })
                .collect(),
        };
        self.tell(session, engine_message::Body::Dispatch(dispatch));
    }

    /// The epoch of our lease on a shard; 0 without one.
    fn epoch(&self, id: ShardId) -> u64 {
        self.shards.get(&id).map_or(0, |shard| shard.epoch)
    }

    pub(super) fn kill_on(&mut self, session: SessionId, attempt: AttemptId) {
        let grace_ms = u32::try_from(self.settings.kill_grace.as_millis()).unwrap_or(u32::MAX);
        let kill = Kill {
            attempt: Some(wire::attempt(attempt)),
            grace_ms,
            epoch: self.epoch(attempt.task.instance.shard()),
        };
        self.tell(session, engine_message::Body::Kill(kill));
    }

    pub(super) fn tell(&mut self, session: SessionId, body: engine_message::Body) {
        self.out.push(Output::Send {
            session,
            message: EngineMessage { body: Some(body) },
        });
    }
}
