//! The workflows of the load, and how their runs must end whatever is done to the fleet.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

/// What becomes of a task in the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It succeeds in whichever attempt is not lost.
    Succeeds,
    /// Its first attempt fails, if it comes to its end; then it succeeds.
    SucceedsLater,
    /// It fails, and is not retried.
    Fails,
    /// What it depends on fails, so it never exists.
    NeverExists,
}

/// A task of a shape.
#[derive(Clone, Debug)]
pub struct Task {
    /// Its name.
    pub name: String,
    /// Its number, by which the log knows it.
    pub code: u64,
    /// The names of those it waits for.
    pub depends_on: Vec<String>,
    /// What becomes of it.
    pub fate: Fate,
    /// How long its body takes.
    pub takes: Takes,
}

/// How long a body takes.
#[derive(Clone, Debug, PartialEq)]
pub enum Takes {
    /// So many seconds.
    Seconds(f64),
    /// Until there is a file at this place; or until its folder has gone, because nobody will put one there.
    Until(PathBuf),
}

/// A workflow whose runs all end the same way.
#[derive(Clone, Debug)]
pub struct Shape {
    /// The workflow's name.
    pub name: &'static str,
    /// Its tasks.
    pub tasks: Vec<Task>,
    /// The state in which its runs end.
    pub end: &'static str,
}

impl Shape {
    /// `SUCCESS`, one task after the other.
    pub fn chain(name: &'static str, length: usize, takes: f64) -> Self {
        let mut shape = Self::new(name, "SUCCESS");
        for place in 0..length {
            let before = place.checked_sub(1).map(|before| format!("t{before}"));
            let before: Vec<&str> = before.iter().map(String::as_str).collect();
            shape.add(&format!("t{place}"), &before, Fate::Succeeds, takes);
        }
        shape
    }

    /// So many tasks side by side between one that all of them wait for and one that waits for all of them.
    pub fn fan(name: &'static str, width: usize, takes: f64) -> Self {
        let mut shape = Self::new(name, "SUCCESS");
        shape.add("first", &[], Fate::Succeeds, takes);
        let between: Vec<_> = (0..width).map(|place| format!("w{place}")).collect();
        for task in &between {
            shape.add(task, &["first"], Fate::Succeeds, takes);
        }
        let between: Vec<_> = between.iter().map(String::as_str).collect();
        shape.add("join", &between, Fate::Succeeds, takes);
        shape
    }

    /// A task that needs its retry, and one after it.
    pub fn retries() -> Self {
        let mut shape = Self::new("retries", "SUCCESS");
        shape.add("flaky", &[], Fate::SucceedsLater, 0.1);
        shape.add("after", &["flaky"], Fate::Succeeds, 0.1);
        shape
    }

    /// A task that fails while the others go on.
    pub fn failing() -> Self {
        let mut shape = Self::new("failing", "FAILURE");
        shape.add("bad", &[], Fate::Fails, 0.1);
        shape.add("steady", &[], Fate::Succeeds, 0.2);
        shape.add("after", &["steady"], Fate::Succeeds, 0.1);
        shape.add("never", &["bad", "steady"], Fate::NeverExists, 0.1);
        shape
    }

    /// What a load consists of: each with how often it comes.
    pub fn mixture() -> Vec<(Self, usize)> {
        vec![
            (Self::chain("single", 1, 0.2), 6),
            (Self::chain("chain", 3, 0.2), 4),
            (Self::fan("fan", 4, 0.2), 2),
            (Self::retries(), 3),
            (Self::failing(), 3),
            // Long enough to be running when something breaks and when it has been mended.
            (Self::chain("slow", 1, 6.0), 1),
        ]
    }

    /// A chain whose first task waits for a file.
    pub fn held(gate: &Path, length: usize) -> Self {
        let mut shape = Self::chain("held", length, 0.0);
        if let Some(first) = shape.tasks.first_mut() {
            first.takes = Takes::Until(gate.to_owned());
        }
        shape
    }

    fn new(name: &'static str, end: &'static str) -> Self {
        Self {
            name,
            tasks: Vec::new(),
            end,
        }
    }

    fn add(&mut self, name: &str, depends_on: &[&str], fate: Fate, takes: f64) {
        self.tasks.push(Task {
            name: name.to_owned(),
            code: 1_000 + self.tasks.len() as u64,
            depends_on: depends_on.iter().map(|&name| name.to_owned()).collect(),
            fate,
            takes: Takes::Seconds(takes),
        });
    }

    /// The task of this number.
    pub fn task(&self, code: u64) -> Option<&Task> {
        self.tasks.iter().find(|task| task.code == code)
    }

    /// The task of this name.
    pub fn named(&self, name: &str) -> Option<&Task> {
        self.tasks.iter().find(|task| task.name == name)
    }

    /// Tasks of a run that come to exist.
    pub fn size(&self) -> usize {
        let exist = self
            .tasks
            .iter()
            .filter(|task| task.fate != Fate::NeverExists);
        exist.count()
    }

    /// The workflow as its author would write it. Every task leaves a line in the side file when it begins
    /// and another when it ends.
    pub fn document(&self, side: &Path) -> Value {
        let tasks: Vec<_> = self.tasks.iter().map(|task| task.document(side)).collect();
        json!({"name": self.name, "tasks": tasks})
    }
}

impl Takes {
    fn script(&self) -> String {
        match self {
            Self::Seconds(seconds) => format!("sleep {seconds}"),
            Self::Until(file) => {
                let folder = file.parent().unwrap_or(Path::new("/"));
                let (file, folder) = (file.display(), folder.display());
                format!("until [ -e {file} ]; do [ -d {folder} ] || exit 1; sleep 0.1; done")
            }
        }
    }
}

impl Task {
    fn document(&self, side: &Path) -> Value {
        // One write each, at the end of the file: lines of several tasks do not mix.
        let line = |word: &str| {
            format!(
                "echo {word} $TIDEMILL_INSTANCE_ID $TIDEMILL_TASK $TIDEMILL_ATTEMPT \
                 $TIDEMILL_FENCING_TOKEN $TIDEMILL_WORKER >> {}",
                side.display()
            )
        };
        let verdict = match self.fate {
            Fate::Succeeds | Fate::NeverExists => "true",
            Fate::SucceedsLater => "[ $TIDEMILL_ATTEMPT -gt 1 ]",
            Fate::Fails => "false",
        };
        let run = format!(
            "{}\n{}\n{}\n{verdict}\n",
            line("begin"),
            self.takes.script(),
            line("end")
        );
        let mut document = json!({
            "name": self.name,
            "code": self.code,
            "depends_on": self.depends_on,
            "run": run,
        });
        if self.fate == Fate::SucceedsLater {
            document["retry"] = json!({"times": 1, "interval": "300ms"});
        }
        document
    }
}
