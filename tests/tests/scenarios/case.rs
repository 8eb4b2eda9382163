//! One case: its workflows, and what it starts.

use serde_json::{Value, json};

use super::run::Run;
use super::service::{Answer, Door};

/// A case: a project in which nothing has happened yet.
pub(crate) struct Case {
    pub(crate) door: Door,
    project: String,
}

impl Case {
    pub(crate) fn new(door: Door, id: &str) -> Self {
        let project = id.to_owned();
        Self { door, project }
    }

    /// Defines a workflow and starts it.
    #[track_caller]
    pub(crate) fn run(&self, yaml: &str) -> Run {
        self.run_with(yaml, &json!({}))
    }

    /// Defines a workflow and starts it as asked.
    #[track_caller]
    pub(crate) fn run_with(&self, yaml: &str, asked: &Value) -> Run {
        let name = self.define(yaml);
        self.start(&name, asked)
    }

    /// Defines a workflow and answers its name.
    #[track_caller]
    pub(crate) fn define(&self, yaml: &str) -> String {
        self.put(yaml).done();
        name_in(yaml).to_owned()
    }

    /// Sends a workflow file, whatever is thought of it.
    pub(crate) fn put(&self, yaml: &str) -> Answer {
        let path = format!("/projects/{}/workflows/{}", self.project, name_in(yaml));
        self.door.put(&path, yaml)
    }

    /// Starts a workflow that is there.
    #[track_caller]
    pub(crate) fn start(&self, name: &str, asked: &Value) -> Run {
        let answer = self.try_start(name, asked);
        assert_eq!(answer.status, 201, "{}", answer.body);
        Run::new(&self.door, &answer.body)
    }

    /// Asks for a run, whatever is thought of it.
    pub(crate) fn try_start(&self, name: &str, asked: &Value) -> Answer {
        self.door.post(&self.address(name), asked)
    }

    /// Where runs of a workflow are asked for.
    pub(crate) fn address(&self, name: &str) -> String {
        format!("/projects/{}/workflows/{name}/instances", self.project)
    }

    /// The runs of a workflow, oldest first.
    pub(crate) fn runs_of(&self, name: &str) -> Vec<Run> {
        let path = format!("/instances?project={}&workflow={name}", self.project);
        let list = self.door.get(&path).done();
        let items = list["items"].as_array().expect("a list").iter().rev();
        items.map(|item| Run::new(&self.door, item)).collect()
    }

    /// A name for something that does not belong to a project, so that no other case has it.
    pub(crate) fn own(&self, name: &str) -> String {
        format!("{}-{name}", self.project)
    }

    /// Sets the size of a task group.
    #[track_caller]
    pub(crate) fn task_group(&self, name: &str, size: u32) {
        let path = format!("/task-groups/{name}");
        let body = json!({ "size": size }).to_string();
        self.door.put(&path, body).done();
    }
}

/// The name that a workflow file gives.
fn name_in(yaml: &str) -> &str {
    let mut lines = yaml.lines().map(str::trim);
    lines
        .find_map(|line| line.strip_prefix("name: "))
        .expect("a workflow has a name")
}
