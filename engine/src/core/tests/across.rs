//! Claims about things that live in different shards, with both shards in one core: what one forgets, the
//! other says again.

use domain::workflow_definition::{Execution, TaskGroupRef};

use super::*;

const OTHER: ShardId = ShardId(1);

/// A task group that lives in the other shard.
fn group() -> String {
    let names = (0..).map(|number| format!("group {number}"));
    let mut there = names.filter(|name| ShardId::of_task_group(name, 2) == OTHER);
    there.next().expect("half of all names")
}

/// Two shards, and a run in the first one whose task needs a slot of a group in the second.
fn with_a_slot_to_ask_for(log: &Arc<MemoryLog>, size: Option<u32>) -> Bench {
    let mut bench = Bench::new(log, "e1");
    bench.lease();
    if let Some(size) = size {
        let name = group();
        bench.ask(1, Request::SetTaskGroup { name, size });
    }
    let mut spec = spec_of(RetryPolicy::default());
    spec.tasks[0].policy.task_group = Some(TaskGroupRef {
        name: group(),
        priority: 0,
    });
    bench.begin(spec);
    bench
}

impl Bench {
    /// Defines a workflow and starts a run of it in the first shard.
    pub(super) fn begin(&mut self, spec: WorkflowSpec) {
        let workflow = Arc::new(Workflow::check(spec).unwrap());
        let submission = Arc::new(Submission {
            definition: DefinitionCode::new("p", &workflow.spec().name),
            workflow: workflow.spec().name.clone(),
            execution: workflow.spec().execution,
            ..(*wanted(RetryPolicy::default()).1).clone()
        });
        self.ask(101, Request::Define(workflow.clone()));
        let (shard, key) = (SHARD, None);
        self.ask(
            102,
            Request::Start {
                shard,
                submission,
                workflow,
                key,
            },
        );
    }

    fn slots(&self) -> Vec<String> {
        let stream = StreamId {
            kind: AggregateType::TaskGroup,
            id: group(),
        };
        let events = now(self.log.read_stream(&stream, 0)).unwrap();
        events
            .into_iter()
            .map(|event| event.event_type.into_owned())
            .collect()
    }
}

#[test]
fn a_slot_goes_from_shard_to_shard_and_back() {
    let log = Arc::new(MemoryLog::new(2));
    let mut bench = with_a_slot_to_ask_for(&log, Some(1));
    bench.hello(1, &[]);
    bench.accept(1, attempt(1));
    bench.finish(1, attempt(1), wire::Outcome::Success);
    assert_eq!(
        bench.slots(),
        ["defined", "requested", "granted", "released"]
    );
    assert_eq!(bench.told().last().unwrap(), "slot_released");
    assert_eq!(bench.core.load(), (0, 0));
}

#[test]
fn what_the_groups_shard_heard_and_could_not_write_is_said_again() {
    let log = Arc::new(MemoryLog::new(2));
    let mut bench = Bench::new(&log, "e1");
    bench.refuse = Some(OTHER);
    bench.lease();
    let mut spec = spec_of(RetryPolicy::default());
    spec.tasks[0].policy.task_group = Some(TaskGroupRef {
        name: group(),
        priority: 0,
    });
    spec.name = in_shard(SHARD);
    bench.begin(spec);
    assert_eq!(bench.slots(), [""; 0]);
    bench.lease();
    bench.wait(2);
    assert_eq!(bench.slots(), ["requested"]);
}

#[test]
fn a_release_waits_for_a_shard_that_is_away() {
    let log = Arc::new(MemoryLog::new(2));
    let mut bench = with_a_slot_to_ask_for(&log, Some(1));
    bench.hello(1, &[]);
    bench.accept(1, attempt(1));
    bench.handle(Input::LeaseLost { shard: OTHER });
    bench.finish(1, attempt(1), wire::Outcome::Success);
    let there = |(shard, letter): &(ShardId, Letter)| {
        *shard == OTHER && matches!(letter, Letter::ReleaseSlot { .. })
    };
    assert!(bench.posted.iter().any(there));
    let run_stays = bench.core.load().0;
    assert_eq!(run_stays, 1, "it owes the release");
    bench.lease();
    bench.wait(2);
    assert_eq!(bench.slots().last().unwrap(), "released");
    assert_eq!(bench.core.load(), (0, 0));
}

#[test]
fn issue_15528_a_slot_that_is_granted_while_the_run_is_being_read_is_found_by_the_run() {
    let log = Arc::new(MemoryLog::new(2));
    let mut bench = with_a_slot_to_ask_for(&log, None);
    bench.handle(Input::LeaseLost { shard: SHARD });
    let (name, size) = (group(), 1);
    bench.ask(7, Request::SetTaskGroup { name, size });
    assert_eq!(bench.slots().last().unwrap(), "granted");
    assert!(!bench.told().contains(&"slot_granted".to_owned()));
    bench.lease();
    assert!(bench.told().contains(&"slot_granted".to_owned()));
}

#[test]
fn a_slot_that_nobody_knows_to_have_is_given_back() {
    let log = Arc::new(MemoryLog::new(2));
    let mut bench = with_a_slot_to_ask_for(&log, Some(1));
    bench.hello(1, &[]);
    bench.accept(1, attempt(1));
    bench.finish(1, attempt(1), wire::Outcome::Success);
    // A letter of long ago asks once more, and the answer is lost on the way to the run's next engine.
    bench.handle(Input::LeaseLost { shard: SHARD });
    let late = Letter::AskSlot {
        group: group().into(),
        attempt: attempt(1),
        claim: 0,
        priority: 0,
    };
    bench.handle(Input::Letter(late));
    bench.lease();
    assert_eq!(bench.slots().last().unwrap(), "granted");
    bench.wait(10);
    assert_eq!(bench.slots().last().unwrap(), "released");
}

#[test]
fn issue_15270_16474_a_run_waits_for_its_turn_also_when_the_shard_of_turns_is_read_again() {
    let log = Arc::new(MemoryLog::new(2));
    let mut bench = Bench::new(&log, "e1");
    bench.lease();
    let mut spec = spec_of(RetryPolicy::default());
    spec.execution = Execution::SerialWait;
    spec.name = in_shard(OTHER);
    bench.begin(spec.clone());
    bench.begin(spec);
    bench.hello(1, &[]);
    bench.accept(1, attempt(1));
    bench.handle(Input::LeaseLost { shard: OTHER });
    bench.lease();
    bench.finish(1, attempt(1), wire::Outcome::Success);
    bench.wait(2);
    let second = StreamId {
        kind: AggregateType::WorkflowInstance,
        id: InstanceId::new(2, SHARD).to_string(),
    };
    let events = now(log.read_stream(&second, 0)).unwrap();
    let told: Vec<&str> = events.iter().map(|event| &*event.event_type).collect();
    assert_eq!(told, ["submitted", "queued", "started"]);
}

/// The name of a workflow whose definition and turns live in this shard.
fn in_shard(shard: ShardId) -> String {
    let names = (0..).map(|number| format!("w{number}"));
    let mut there = names.filter(|name| DefinitionCode::new("p", name).shard(2) == shard);
    there.next().expect("half of all names")
}
