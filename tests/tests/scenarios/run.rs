//! One run, and what is claimed of it. Every look at it also checks what always holds (`always.rs`).

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::{fmt, fs};

use serde_json::{Value, json};

use super::always::{ENDED, check_refusal, check_rows, check_run};
use super::service::{Answer, Door, wait_until};

/// A run, seen through the API. It never sees less than it has seen before.
pub(crate) struct Run {
    /// Its number.
    pub(crate) id: u64,
    door: Door,
    position: RefCell<String>,
}

impl Run {
    /// The run of a document that names it and says where it was.
    pub(crate) fn new(door: &Door, document: &Value) -> Self {
        let position = document["position"].as_str().expect("a position");
        Self {
            id: document["id"].as_u64().expect("a number"),
            door: door.clone(),
            position: RefCell::new(position.to_owned()),
        }
    }

    /// The run as it is now.
    #[track_caller]
    pub(crate) fn show(&self) -> Value {
        let answer = self
            .door
            .get(&format!("/instances/{}?{}", self.id, self.since()));
        let shown = answer.done();
        self.note(&shown);
        check_run(&shown);
        shown
    }

    /// One thing about the run.
    #[track_caller]
    pub(crate) fn shows(&self, key: &str) -> Value {
        self.show()[key].clone()
    }

    /// Its rows as they are now, oldest first.
    #[track_caller]
    pub(crate) fn tasks(&self) -> Vec<Value> {
        let path = format!("/instances/{}/tasks?{}", self.id, self.since());
        let list = self.door.get(&path).done();
        let rows = list["items"].as_array().expect("a list").clone();
        check_rows(&rows);
        rows
    }

    /// The newest row of a task.
    #[track_caller]
    pub(crate) fn task(&self, name: &str) -> Value {
        let rows = self.tasks();
        let newest = rows.iter().rfind(|row| row["name"] == name);
        newest.expect("the task has a row").clone()
    }

    fn since(&self) -> String {
        format!("min_position={}", self.position.borrow())
    }

    fn note(&self, document: &Value) {
        if let Some(position) = document["position"].as_str() {
            position.clone_into(&mut self.position.borrow_mut());
        }
    }

    /// It comes into this state.
    #[track_caller]
    pub(crate) fn becomes(&self, state: &str) {
        wait_until(state, || {
            let now = self.shows("state");
            let over = ENDED.iter().any(|end| now == **end);
            assert!(now == state || !over, "{state}? It is:\n{}", Story(self));
            if now == state {
                Ok(())
            } else {
                Err(Story(self))
            }
        });
    }

    /// It ends in this state, with exactly these rows.
    #[track_caller]
    pub(crate) fn ends(&self, state: &str, rows: &str) {
        self.becomes(state);
        assert!(ENDED.contains(&state), "{state} is no end");
        self.has(rows);
    }

    /// It has exactly these rows now: `name attempt state`, and `invalid` and `retry N` where they are so.
    #[track_caller]
    pub(crate) fn has(&self, rows: &str) {
        let mut wanted: Vec<String> = rows
            .lines()
            .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
            .filter(|line| !line.is_empty())
            .collect();
        let mut found: Vec<String> = self.tasks().iter().map(line).collect();
        wanted.sort();
        found.sort();
        assert_eq!(found, wanted, "{}", Story(self));
    }

    /// The newest rows of some tasks come into a state: `A B RUNNING_EXECUTION`.
    #[track_caller]
    pub(crate) fn reaches(&self, claim: &str) {
        let mut names: Vec<&str> = claim.split_whitespace().collect();
        let state = names.pop().expect("a state");
        let there = || {
            let rows = self.tasks();
            let newest: BTreeMap<&str, &Value> = rows
                .iter()
                .map(|row| (row["name"].as_str().expect("a name"), &row["state"]))
                .collect();
            let there = |name: &&str| newest.get(name).is_some_and(|now| **now == state);
            names.iter().all(there)
        };
        wait_until(claim, || {
            // The run first: what is not there when the run is over will never be.
            let now = self.shows("state");
            let over = ENDED.iter().any(|end| now == **end);
            match there() {
                true => Ok(()),
                false if over => panic!("{claim}? It is:\n{}", Story(self)),
                false => Err(Story(self)),
            }
        });
    }

    /// The run says this in its reason.
    #[track_caller]
    pub(crate) fn says(&self, words: &str) {
        contains(&self.shows("reason"), words);
    }

    /// The newest row of a task says this in its reason.
    #[track_caller]
    pub(crate) fn task_says(&self, name: &str, words: &str) {
        contains(&self.task(name)["reason"], words);
    }

    /// Whoever asks for an explanation reads this.
    #[track_caller]
    pub(crate) fn explains(&self, words: &str) {
        let path = format!("/instances/{}/explain", self.id);
        let explained = self.door.get(&path).done().to_string();
        assert!(explained.contains(words), "{words:?} in {explained}");
    }

    /// How often it ran, and what made it run.
    #[track_caller]
    pub(crate) fn ran(&self, run_times: u64, command: &str) {
        let shown = self.show();
        let found = (&shown["run_times"], &shown["command"]);
        assert_eq!(found, (&json!(run_times), &json!(command)));
    }

    /// Lets tasks go that `hold`, now and in later attempts.
    pub(crate) fn let_go(&self, tasks: &str) {
        for task in tasks.split_whitespace() {
            let gate = format!("{}.{task}.go", self.id);
            fs::write(self.door.things.join(gate), "").expect("a gate can be opened");
        }
    }

    /// What tasks have traced, in order.
    pub(crate) fn traces(&self) -> Vec<String> {
        let file = self.door.things.join(format!("{}.trace", self.id));
        let text = fs::read_to_string(file).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    /// Tasks have traced exactly this, in this order.
    #[track_caller]
    pub(crate) fn traced(&self, lines: &[&str]) {
        assert_eq!(self.traces(), lines);
    }

    /// Waits until a task has traced this.
    #[track_caller]
    pub(crate) fn traces_soon(&self, line: &str) {
        wait_until(line, || {
            let lines = self.traces();
            let there = lines.iter().any(|traced| traced == line);
            if there { Ok(()) } else { Err(lines.join("\n")) }
        });
    }

    /// Gives the run a command, which it takes.
    #[track_caller]
    pub(crate) fn command(&self, name: &str) {
        self.command_with(&json!({ "command": name }));
    }

    /// The same, with everything that belongs to it.
    #[track_caller]
    pub(crate) fn command_with(&self, body: &Value) {
        let done = self.try_command(body).done();
        self.note(&done);
    }

    /// Gives the run a command, whatever it thinks of it.
    pub(crate) fn try_command(&self, body: &Value) -> Answer {
        let path = format!("/instances/{}/commands", self.id);
        self.door.post(&path, body)
    }

    /// The run does not take this command now: the problem says who refuses, why, and what is allowed.
    #[track_caller]
    pub(crate) fn refuses(&self, name: &str) -> Value {
        let problem = self.try_command(&json!({ "command": name })).refused(409);
        check_refusal(&problem, name);
        let state = self.shows("state");
        assert_eq!(problem["state"], state, "{problem}");
        problem
    }

    /// Gives a task a command, which it takes.
    #[track_caller]
    pub(crate) fn task_command(&self, task: &str, name: &str) {
        let done = self.try_task_command(task, name).done();
        self.note(&done);
    }

    /// Gives a task a command, whatever it thinks of it.
    pub(crate) fn try_task_command(&self, task: &str, name: &str) -> Answer {
        let path = format!("/instances/{}/tasks/{task}/commands", self.id);
        self.door.post(&path, &json!({ "command": name }))
    }

    /// A task does not take this command now.
    #[track_caller]
    pub(crate) fn task_refuses(&self, task: &str, name: &str) {
        let problem = self.try_task_command(task, name).refused(409);
        check_refusal(&problem, name);
    }

    /// The runs that a task has started, oldest first, once there are so many.
    #[track_caller]
    pub(crate) fn children(&self, task: &str, count: usize) -> Vec<Run> {
        let parent = json!({ "id": self.id, "task": task });
        let project = self.shows("project");
        let project = project.as_str().expect("a project");
        let ours = || {
            let path = format!("/instances?project={project}&limit=1000&{}", self.since());
            let list = self.door.get(&path).done();
            let items = list["items"].as_array().expect("a list");
            let ours = items.iter().filter(|item| item["parent"] == parent);
            let ours: Vec<Run> = ours.map(|item| Run::new(&self.door, item)).collect();
            (ours.len() >= count).then_some(ours)
        };
        let what = format!("{count} children of {task}");
        let mut children = wait_until(&what, || {
            let now = self.shows("state");
            let over = ENDED.iter().any(|end| now == **end);
            match ours() {
                Some(ours) => Ok(ours),
                None if over => panic!("{what}? It is:\n{}", Story(self)),
                None => Err(Story(self)),
            }
        });
        assert_eq!(children.len(), count, "children of {task}");
        children.sort_by_key(|child| child.id);
        let shard = |id| id % 1000;
        assert!(
            children
                .iter()
                .all(|child| shard(child.id) == shard(self.id))
        );
        children
    }

    /// The one run that a task has started.
    #[track_caller]
    pub(crate) fn child(&self, task: &str) -> Run {
        self.children(task, 1).remove(0)
    }

    /// What a task has written, in its newest attempt.
    #[track_caller]
    pub(crate) fn log(&self, task: &str) -> String {
        let path = format!("/instances/{}/tasks/{task}/log", self.id);
        let answer = self.door.get(&path);
        assert_eq!(answer.status, 200, "{}", answer.body);
        answer.text
    }

    /// Where to ask about it.
    pub(crate) fn address(&self) -> String {
        format!("/instances/{}", self.id)
    }
}

/// Everything about a run at this moment, for whoever finds that a claim does not hold.
struct Story<'a>(&'a Run);

impl fmt::Display for Story<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = self.0.show();
        write!(
            f,
            "run {} {} {}",
            shown["id"], shown["state"], shown["reason"]
        )?;
        for row in self.0.tasks() {
            write!(f, "\n  {}  {}", line(&row), row["reason"])?;
        }
        Ok(())
    }
}

/// A row as claims write it.
fn line(row: &Value) -> String {
    let text = |key: &str| row[key].as_str().unwrap_or("?").to_owned();
    let mut words = vec![text("name"), row["attempt"].to_string(), text("state")];
    if row["valid"] == false {
        words.push("invalid".to_owned());
    }
    if row["retry_times"] != 0 {
        words.push(format!("retry {}", row["retry_times"]));
    }
    words.join(" ")
}

/// The text says this somewhere.
#[track_caller]
pub(crate) fn contains(text: &Value, words: &str) {
    let there = text.as_str().is_some_and(|text| text.contains(words));
    assert!(there, "{words:?} in {text}");
}
