//! Claims about what is kept of how a shard stands: whoever begins there knows what is known to whoever reads
//! all of it. Random histories are in `simulation/`.

use domain::run::Command;
use domain::task_instance;
use domain::workflow_definition::TaskGroupRef;
use domain::workflow_instance::Restart;
use store::{Chain, Database, Hash, OpenOptions, Recorded, SqlLog, Standing};

use super::*;

/// A workflow whose task needs a slot.
fn in_a_group(name: &str) -> WorkflowSpec {
    let mut spec = spec_of(RetryPolicy::default());
    name.clone_into(&mut spec.name);
    spec.tasks[0].policy.task_group = Some(TaskGroupRef {
        name: "tapes".to_owned(),
        priority: 0,
    });
    spec
}

impl Bench {
    /// Ends what was sent since, and notes how the shard stands.
    fn go_on(&mut self, since: &mut usize, stood: &mut Vec<Standing>) {
        self.work(1, since);
        stood.extend(self.core.shards[&SHARD].standing());
    }

    fn told_to(&mut self, number: u64, command: Command) {
        let instance = InstanceId::new(number, SHARD);
        self.ask(90, Request::Command { instance, command });
        let (_, answer) = self.replies.pop().expect("an answer");
        answer.expect("it is allowed");
    }

    fn restarted(&mut self, number: u64) {
        let (restart, scope) = (Restart::RepeatRunning, None);
        let reason = "alice asked".to_owned();
        self.told_to(
            number,
            Command::Restart {
                restart,
                scope,
                reason,
            },
        );
    }
}

/// A shard in which runs wait, have ended, were begun again after that, and were deleted; with a definition of
/// three versions, a group, an environment, and a key. And how it stood at each step.
fn a_history() -> (Bench, Vec<Standing>) {
    let mut bench = Bench::new(&Arc::new(MemoryLog::new(1)), "e1");
    let (mut since, mut stood) = (0, Vec::new());
    bench.lease();
    bench.greet(1, "1", 1, &[]);
    let (name, size) = ("tapes".to_owned(), 1);
    bench.ask(1, Request::SetTaskGroup { name, size });
    for (number, text) in ["one", "two", "three"].into_iter().enumerate() {
        let mut spec = spec_of(RetryPolicy::default());
        spec.tasks[0].kind = TaskKind::Shell {
            run: text.to_owned(),
        };
        bench.begin(spec);
        bench.go_on(&mut since, &mut stood);
        bench.begin(in_a_group(text));
        bench.begin(in_a_group(text));
        bench.go_on(&mut since, &mut stood);
        let (name, config) = ("e".to_owned(), format!("export N={number}"));
        bench.ask(2, Request::SetEnvironment { name, config });
        bench.start_once(text).unwrap();
        stood.extend(bench.core.shards[&SHARD].standing());
        bench.go_on(&mut since, &mut stood);
    }
    for _ in 0..5 {
        bench.go_on(&mut since, &mut stood);
    }
    bench.told_to(1, Command::Delete);
    bench.restarted(2);
    bench.go_on(&mut since, &mut stood);
    bench.restarted(2);
    bench.begin(spec_of(hourly()));
    bench.go_on(&mut since, &mut stood);
    bench.restarted(4);
    stood.extend(bench.core.shards[&SHARD].standing());
    (bench, stood)
}

/// Adds an event that no state of this task allows.
fn spoil(log: &MemoryLog, instance: InstanceId, chain: &mut Chain, epoch: u64) {
    let task = TaskId {
        instance,
        task: TaskCode(1),
    };
    let nonsense = Fact::Task(task, task_instance::Event::Dispatched { attempt: 77 });
    let of_task = now(log.read_stream(&nonsense.stream(), 0)).unwrap();
    let after = *chain;
    let sequence = of_task.len() as u64 + 1;
    let event = chain.record(SHARD, &nonsense, sequence, "{}", Timestamp(0));
    let events = vec![event];
    let append = Append {
        shard: SHARD,
        epoch,
        after,
        events,
    };
    now(log.append(append)).unwrap();
}

/// Every standing leads to the same image as the whole log.
async fn each_leads_to_the_same(log: &dyn Log, stood: &[Standing]) {
    let definitions = Definitions::default();
    let whole = load::from_the_beginning(log, &definitions, SHARD).await;
    let whole = whole.unwrap();
    for standing in stood {
        let image = load::from_a_standing(log, &definitions, standing).await;
        let image = image.unwrap().expect("it is of this log");
        assert_eq!(image.standing, standing.at.head);
        let image = Image {
            standing: 0,
            ..image
        };
        assert_eq!(image, whole, "from {:?}", standing.at);
    }
}

#[test]
fn a_shard_is_the_same_from_wherever_it_stood() {
    let (bench, mut stood) = a_history();
    now(each_leads_to_the_same(bench.log.as_ref(), &stood));
    assert!(stood.len() > 15 && stood.iter().any(|it| it.stood.runs.len() > 2));
    // A run that cannot be folded stands still, whether that is known where reading begins or found later; one
    // that was at rest stays at rest.
    let mut chain = bench.core.shards[&SHARD].read().unwrap().chain;
    for instance in [1, 4, 8] {
        let instance = InstanceId::new(instance, SHARD);
        spoil(&bench.log, instance, &mut chain, bench.epoch);
    }
    now(each_leads_to_the_same(bench.log.as_ref(), &stood));
    let mut next = Bench::new(&bench.log, "e2");
    next.log.advance(10);
    next.lease();
    let memory = next.core.shards[&SHARD].read().unwrap();
    assert!(!memory.corrupt.is_empty());
    stood.extend(next.core.shards[&SHARD].standing());
    next.begin(spec_of(hourly()));
    now(each_leads_to_the_same(bench.log.as_ref(), &stood));
}

#[tokio::test]
async fn a_shard_is_the_same_from_wherever_it_stood_on_sqlite() {
    let (bench, stood) = a_history();
    let folder = tempfile::tempdir().unwrap();
    let database = Database::file(folder.path().join("log.db"));
    let options = OpenOptions {
        shards: 1,
        ..OpenOptions::default()
    };
    let log = SqlLog::open(&database, options).await.unwrap();
    let lease = log.acquire("e1", 1, 60_000).await.unwrap()[0];
    let events: Vec<Recorded> = bench.log.read(SHARD, 0, usize::MAX).await.unwrap();
    let append = Append {
        shard: SHARD,
        epoch: lease.epoch,
        after: Chain::start(),
        events,
    };
    log.append(append).await.unwrap();
    each_leads_to_the_same(&log, &stood).await;
    log.close().await;
}

/// One run that waits, after a hundred that have ended.
fn after_many_runs() -> Bench {
    let mut bench = Bench::new(&Arc::new(MemoryLog::new(1)), "e1");
    bench.lease();
    bench.greet(1, "1", 1, &[]);
    let mut since = 0;
    for _ in 0..100 {
        bench.begin(spec_of(RetryPolicy::default()));
        bench.work(1, &mut since);
    }
    bench.begin(spec_of(RetryPolicy::default()));
    bench
}

fn kept(log: &MemoryLog) -> Option<Standing> {
    now(log.standing(SHARD)).unwrap()
}

fn loaded(log: &MemoryLog) -> Image {
    now(load::shard(log, &Definitions::default(), SHARD)).unwrap()
}

#[test]
fn what_stands_is_kept_every_so_often_and_the_next_owner_begins_there() {
    let bench = after_many_runs();
    let head = bench.core.shards[&SHARD].durable;
    let standing = kept(&bench.log).expect("it was noted");
    assert!(standing.at.head + 2 * bench.core.settings.standing_every > head);
    let image = loaded(&bench.log);
    assert_eq!(image.standing, standing.at.head);
    assert_eq!((image.runs.len(), image.instances), (1, 101));
}

#[test]
fn whoever_leaves_says_how_the_shard_stands() {
    let mut bench = after_many_runs();
    let head = bench.core.shards[&SHARD].durable;
    let last = bench.core.standings().pop().expect("some events are new");
    assert_eq!(last.at.head, head);
    bench.handle(Input::LeaseLost { shard: SHARD });
    assert_eq!(kept(&bench.log), Some(last));
    bench.lease();
    assert_eq!(bench.core.standings(), [], "nothing is new");
}

#[test]
fn what_is_not_durable_is_not_said_to_stand() {
    let mut bench = after_many_runs();
    let before = kept(&bench.log);
    bench.deaf = true;
    for _ in 0..50 {
        bench.begin(spec_of(RetryPolicy::default()));
    }
    assert_eq!(bench.core.standings(), []);
    bench.handle(Input::LeaseLost { shard: SHARD });
    assert_eq!(kept(&bench.log), before);
}

#[test]
fn a_standing_of_another_log_is_not_believed() {
    let bench = after_many_runs();
    let mut foreign = kept(&bench.log).expect("it was noted");
    foreign.at.head += 1;
    foreign.stood.runs.clear();
    for at in [
        Chain {
            hash: Hash([7; 32]),
            ..foreign.at
        },
        Chain {
            head: 1_000_000,
            ..foreign.at
        },
    ] {
        let standing = Standing {
            at,
            ..foreign.clone()
        };
        now(bench.log.keep_standing(&standing)).unwrap();
        let image = loaded(&bench.log);
        assert_eq!((image.standing, image.runs.len()), (0, 1));
    }
}
