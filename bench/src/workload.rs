//! What is measured: workflows by their names, as documents that anybody could send.

use serde_json::{Value, json};

/// Something to measure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Workload {
    /// A chain of 40 tasks that do nothing.
    W1,
    /// The same, each task a little Python in a warm interpreter.
    W1p,
    /// Ten times much Python, one after the other.
    W2,
    /// One task, 1,000 at once, one task.
    W3,
    /// 1,000 workflows of three tasks.
    W4,
    /// 100,000 of them.
    W4L,
    /// 200 workflows of one task, one after the other.
    W5,
    /// 200 workflows of one program.
    W6,
    /// 10,000 of them.
    W6L,
    /// Graphs of 10,000 tasks.
    W7,
    /// 100,000 runs that wait.
    W8,
    /// 10,000 starts as fast as they can be sent.
    W9,
    /// W4 on an empty log, and on top of 1,000,000 runs that have ended.
    W10,
    /// The first run, an idle service, the program.
    S,
    /// The log alone.
    L,
    /// What the machine and the database can do at best.
    F,
}

impl Workload {
    /// All of them.
    pub const ALL: [Self; 16] = [
        Self::W1,
        Self::W1p,
        Self::W2,
        Self::W3,
        Self::W4,
        Self::W4L,
        Self::W5,
        Self::W6,
        Self::W6L,
        Self::W7,
        Self::W8,
        Self::W9,
        Self::W10,
        Self::S,
        Self::L,
        Self::F,
    ];

    /// Those that end within two minutes and say most.
    pub const USUAL: [Self; 8] = [
        Self::F,
        Self::L,
        Self::S,
        Self::W1,
        Self::W3,
        Self::W4,
        Self::W5,
        Self::W6,
    ];

    /// What people call it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::W1 => "W1",
            Self::W1p => "W1p",
            Self::W2 => "W2",
            Self::W3 => "W3",
            Self::W4 => "W4",
            Self::W4L => "W4L",
            Self::W5 => "W5",
            Self::W6 => "W6",
            Self::W6L => "W6L",
            Self::W7 => "W7",
            Self::W8 => "W8",
            Self::W9 => "W9",
            Self::W10 => "W10",
            Self::S => "S",
            Self::L => "L",
            Self::F => "F",
        }
    }

    /// The workload of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|one| one.name() == name)
    }
}

/// How much of a workload is run. Less of it shows that it works, not how fast.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scale {
    /// As described.
    Full,
    /// A tenth of the workflows, and of the tasks in wide graphs.
    Small,
    /// A hundredth of them.
    Tiny,
}

impl Scale {
    /// So many of so many, at least one.
    pub(crate) fn of(self, count: usize) -> usize {
        let by = match self {
            Self::Full => 1,
            Self::Small => 10,
            Self::Tiny => 100,
        };
        (count / by).max(1)
    }
}

/// How workflows are started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pace {
    /// So many are under way at a time: another one starts when one has ended.
    InFlight(usize),
    /// All are started as fast as that goes, over so many connections; then their ends are waited for.
    Burst(usize),
}

impl Pace {
    pub(crate) const fn connections(self) -> usize {
        match self {
            Self::InFlight(count) | Self::Burst(count) => count,
        }
    }
}

/// Workflows of one definition, started at one pace.
#[derive(Clone, Debug)]
pub(crate) struct Load {
    /// What tells it from others of the same workload; may be empty.
    pub(crate) variant: String,
    /// The definition, as it is sent.
    pub(crate) definition: Value,
    /// The tasks of one workflow.
    pub(crate) tasks: usize,
    /// Workflows in one run.
    pub(crate) instances: usize,
    pub(crate) pace: Pace,
}

/// The workflows of a workload that consists of runs from their starts to their ends; of others there are none.
pub(crate) fn loads(workload: Workload, scale: Scale) -> Vec<Load> {
    let one = |tasks: Vec<Value>| load("", tasks, 1, Pace::InFlight(1));
    let three =
        |variant, count, at_once| load(variant, chain(3, &noop()), count, Pace::InFlight(at_once));
    match workload {
        Workload::W1 => vec![one(chain(40, &noop()))],
        Workload::W1p => vec![one(chain(40, &python("fib(10)")))],
        Workload::W2 => vec![one(chain(10, &python("fib(33)")))],
        Workload::W3 => vec![one(fan(scale.of(1_000)))],
        Workload::W4 => vec![
            three("64 in flight", scale.of(1_000), 64),
            three("256 in flight", scale.of(1_000), 256),
        ],
        Workload::W4L => vec![three("", scale.of(100_000), 64)],
        Workload::W10 => vec![three("", scale.of(1_000), 64)],
        Workload::W5 => {
            let tasks = chain(1, &noop());
            vec![load("", tasks, scale.of(200), Pace::InFlight(1))]
        }
        Workload::W6 => {
            let tasks = chain(1, &shell());
            vec![load("", tasks, scale.of(200), Pace::InFlight(64))]
        }
        Workload::W6L => {
            let tasks = chain(1, &shell());
            vec![load("", tasks, scale.of(10_000), Pace::InFlight(64))]
        }
        Workload::W7 => {
            let tasks = scale.of(10_000);
            let whole = |variant, tasks| load(variant, tasks, 1, Pace::InFlight(1));
            vec![
                whole("chain", chain(tasks, &noop())),
                whole("fan", fan(tasks - 2)),
                whole("mesh", mesh(tasks)),
            ]
        }
        Workload::W9 => {
            let tasks = chain(1, &noop());
            vec![load("", tasks, scale.of(10_000), Pace::Burst(64))]
        }
        Workload::W8 | Workload::S | Workload::L | Workload::F => Vec::new(),
    }
}

fn load(variant: &str, tasks: Vec<Value>, instances: usize, pace: Pace) -> Load {
    Load {
        variant: variant.to_owned(),
        tasks: tasks.len(),
        definition: json!({ "tasks": Value::Array(tasks) }),
        instances,
        pace,
    }
}

fn noop() -> Value {
    json!({ "type": "NOOP" })
}

fn shell() -> Value {
    json!({ "type": "SHELL", "run": "/bin/true" })
}

fn python(work: &str) -> Value {
    let script =
        format!("def fib(n):\n    return n if n < 2 else fib(n - 1) + fib(n - 2)\n{work}\n");
    json!({ "type": "PYTHON", "warm": true, "run": script })
}

/// The task with this number, after those.
fn task(kind: &Value, number: usize, after: impl IntoIterator<Item = usize>) -> Value {
    let after: Vec<_> = after.into_iter().map(name).collect();
    let mut task = kind.clone();
    task["name"] = name(number).into();
    task["depends_on"] = after.into();
    task
}

fn name(number: usize) -> String {
    format!("t{number}")
}

fn chain(tasks: usize, kind: &Value) -> Vec<Value> {
    (0..tasks)
        .map(|number| task(kind, number, number.checked_sub(1)))
        .collect()
}

/// One task, then so many that wait for nothing else, then one that waits for all of those.
fn fan(width: usize) -> Vec<Value> {
    let kind = noop();
    let root = [task(&kind, 0, [])];
    let parallel = (1..=width).map(|number| task(&kind, number, [0]));
    let join = [task(&kind, width + 1, 1..=width)];
    root.into_iter().chain(parallel).chain(join).collect()
}

/// A square of layers: each task waits for three of the layer before its own.
fn mesh(tasks: usize) -> Vec<Value> {
    let width = tasks.isqrt();
    let kind = noop();
    let before = |number: usize| {
        let (layer, place) = (number / width, number % width);
        let mut places: Vec<_> = (0..3).map(|step| (place + step) % width).collect();
        places.sort_unstable();
        places.dedup();
        let layer = layer.checked_sub(1);
        layer.map(|layer| places.into_iter().map(move |place| layer * width + place))
    };
    (0..tasks)
        .map(|number| task(&kind, number, before(number).into_iter().flatten()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edges(tasks: &[Value]) -> usize {
        let of = |task: &Value| task["depends_on"].as_array().unwrap().len();
        tasks.iter().map(of).sum()
    }

    #[test]
    fn graphs_have_the_shapes_that_their_names_say() {
        assert_eq!(edges(&chain(40, &noop())), 39);
        let fan = fan(1_000);
        assert_eq!((fan.len(), edges(&fan)), (1_002, 2_000));
        let mesh = mesh(10_000);
        assert_eq!((mesh.len(), edges(&mesh)), (10_000, 99 * 100 * 3));
    }

    #[test]
    fn a_workload_is_found_by_the_name_that_it_prints() {
        for workload in Workload::ALL {
            assert_eq!(Workload::from_name(workload.name()), Some(workload));
            for load in loads(workload, Scale::Tiny) {
                let tasks = load.definition["tasks"].as_array().unwrap();
                assert_eq!(load.tasks, tasks.len());
            }
        }
        assert_eq!(Workload::from_name("W0"), None);
    }
}
