//! The door to a DAG. Looks for every flaw instead of stopping at the first, because an author mends a
//! file once.

use std::collections::{BTreeMap, HashMap};
use std::fmt;

use petgraph::algo::kosaraju_scc;
use petgraph::graph::{DiGraph, NodeIndex};

use super::graph::{Graph, Node};
use super::kind::TaskKind;
use super::spec::{Direction, Param, WorkflowSpec};

/// A workflow that makes sense: names and codes are unique, dependencies exist, there is no cycle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Workflow {
    spec: WorkflowSpec,
    graph: Graph,
}

/// Something wrong with a workflow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flaw {
    /// Where, as a path into the document, for example `tasks[2].depends_on[0]`.
    pub place: String,
    /// What is wrong and what was expected, as a sentence.
    pub problem: String,
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.problem)
    }
}

impl Workflow {
    /// The longest name of a workflow, a project, a task or a parameter, in bytes.
    pub const LONGEST_NAME: usize = 255;

    /// Every flaw of the workflow, in the order of the document; or the workflow.
    pub fn check(spec: WorkflowSpec) -> Result<Self, Vec<Flaw>> {
        let mut flaws = Vec::new();
        rule_flaws(&spec, &mut flaws);
        Self::shape(spec, flaws)
    }

    /// A workflow that was checked when it was recorded. The rules may have become stricter since then,
    /// and it stands; but it must have a shape.
    pub fn recorded(spec: WorkflowSpec) -> Result<Self, Vec<Flaw>> {
        Self::shape(spec, Vec::new())
    }

    fn shape(spec: WorkflowSpec, mut flaws: Vec<Flaw>) -> Result<Self, Vec<Flaw>> {
        let by_name = unique_names(&spec, &mut flaws);
        unique_codes(&spec, &mut flaws);
        let predecessors = dependencies(&spec, &by_name, &mut flaws);
        cycles(&spec, &predecessors, &mut flaws);
        if !flaws.is_empty() {
            flaws.sort_by_key(|flaw| place_in_document(&flaw.place));
            return Err(flaws);
        }
        let graph = Graph::new(spec.tasks.iter().map(|task| task.code), predecessors);
        Ok(Self { spec, graph })
    }

    /// What the author wrote.
    pub fn spec(&self) -> &WorkflowSpec {
        &self.spec
    }

    /// Its shape.
    pub fn graph(&self) -> &Graph {
        &self.graph
    }
}

/// What the rules of today refuse in a workflow, whatever its shape.
fn rule_flaws(spec: &WorkflowSpec, flaws: &mut Vec<Flaw>) {
    name_flaws("name", &spec.name, flaws);
    name_flaws("project", &spec.project, flaws);
    param_flaws("params", &spec.params, flaws);
    for (index, param) in spec.params.iter().enumerate() {
        if param.direct == Direction::Out {
            flaws.push(flaw(
                format!("params[{index}].direct"),
                "a global parameter is always IN",
            ));
        }
    }
    if spec.tasks.is_empty() {
        flaws.push(flaw(
            "tasks".to_owned(),
            "a workflow needs at least one task",
        ));
    }
    for (index, task) in spec.tasks.iter().enumerate() {
        let place = format!("tasks[{index}]");
        name_flaws(&format!("{place}.name"), &task.name, flaws);
        name_flaws(
            &format!("{place}.worker_group"),
            &task.policy.worker_group,
            flaws,
        );
        param_flaws(&format!("{place}.params"), &task.params, flaws);
        if let TaskKind::Shell { run } = &task.kind
            && run.trim().is_empty()
        {
            flaws.push(flaw(format!("{place}.run"), "a SHELL task needs a script"));
        }
    }
}

/// Which part of the document a place is in, and which item of it.
fn place_in_document(place: &str) -> (usize, usize) {
    let (part, item) = place.split_at(place.find('[').unwrap_or(place.len()));
    let parts = ["name", "project", "params", "tasks"];
    let part = parts.iter().position(|known| *known == part);
    let item = item.trim_start_matches('[').split(']').next();
    (
        part.unwrap_or(parts.len()),
        item.and_then(|number| number.parse().ok()).unwrap_or(0),
    )
}

fn flaw(place: String, problem: impl Into<String>) -> Flaw {
    Flaw {
        place,
        problem: problem.into(),
    }
}

fn name_flaws(place: &str, name: &str, flaws: &mut Vec<Flaw>) {
    if name.trim().is_empty() {
        flaws.push(flaw(place.to_owned(), "must not be empty"));
    } else if name.len() > Workflow::LONGEST_NAME {
        flaws.push(flaw(
            place.to_owned(),
            format!("is longer than {} bytes", Workflow::LONGEST_NAME),
        ));
    } else if name.chars().any(char::is_control) {
        flaws.push(flaw(
            place.to_owned(),
            "must not contain control characters",
        ));
    }
}

fn param_flaws(place: &str, params: &[Param], flaws: &mut Vec<Flaw>) {
    let mut seen = HashMap::new();
    for (index, param) in params.iter().enumerate() {
        name_flaws(&format!("{place}[{index}].name"), &param.name, flaws);
        if !Param::TYPES.contains(&param.type_name.as_str()) {
            let known = Param::TYPES.join(", ");
            flaws.push(flaw(
                format!("{place}[{index}].type"),
                format!(
                    "unknown type \"{}\"; expected one of {known}",
                    param.type_name
                ),
            ));
        }
        // DolphinScheduler lets an IN and an OUT of one name stand side by side.
        if let Some(first) = seen.insert((&param.name, param.direct == Direction::Out), index) {
            flaws.push(flaw(
                format!("{place}[{index}].name"),
                format!(
                    "parameter \"{}\" is already given at {place}[{first}]",
                    param.name
                ),
            ));
        }
    }
}

fn unique_names<'a>(spec: &'a WorkflowSpec, flaws: &mut Vec<Flaw>) -> HashMap<&'a str, Node> {
    let mut by_name = HashMap::new();
    for (index, task) in spec.tasks.iter().enumerate() {
        if let Some(first) = by_name.get(task.name.as_str()) {
            flaws.push(flaw(
                format!("tasks[{index}].name"),
                format!(
                    "task name \"{}\" is already used by tasks[{first}]",
                    task.name
                ),
            ));
        } else {
            by_name.insert(task.name.as_str(), index as Node);
        }
    }
    by_name
}

fn unique_codes(spec: &WorkflowSpec, flaws: &mut Vec<Flaw>) {
    let mut by_code = BTreeMap::new();
    for (index, task) in spec.tasks.iter().enumerate() {
        let first = *by_code.entry(task.code).or_insert(index);
        // Two tasks of one name have one derived code; the name says it better.
        if first != index && spec.tasks[first].name != task.name {
            flaws.push(flaw(
                format!("tasks[{index}].code"),
                format!(
                    "code {} is already used by tasks[{first}]; give one of them another code",
                    task.code
                ),
            ));
        }
    }
}

fn dependencies(
    spec: &WorkflowSpec,
    by_name: &HashMap<&str, Node>,
    flaws: &mut Vec<Flaw>,
) -> Vec<Vec<Node>> {
    let mut predecessors: Vec<Vec<Node>> = Vec::with_capacity(spec.tasks.len());
    for (index, task) in spec.tasks.iter().enumerate() {
        let mut before: Vec<Node> = Vec::with_capacity(task.depends_on.len());
        for (place, name) in task.depends_on.iter().enumerate() {
            match by_name.get(name.as_str()) {
                Some(&earlier) => before.push(earlier),
                None => flaws.push(flaw(
                    format!("tasks[{index}].depends_on[{place}]"),
                    format!(
                        "task \"{}\" depends on \"{name}\", which does not exist",
                        task.name
                    ),
                )),
            }
        }
        predecessors.push(before);
    }
    // The branches of a task that chooses are its successors, whether they say so or not.
    for (index, task) in spec.tasks.iter().enumerate() {
        for (place, name) in task.kind.targets() {
            match by_name.get(name) {
                Some(&target) => predecessors[target as usize].push(index as Node),
                None => flaws.push(flaw(
                    format!("tasks[{index}].{place}"),
                    format!(
                        "task \"{}\" leads to \"{name}\", which does not exist",
                        task.name
                    ),
                )),
            }
        }
    }
    for before in &mut predecessors {
        // Naming a predecessor twice says nothing new.
        before.sort_unstable();
        before.dedup();
    }
    predecessors
}

/// One flaw per knot of tasks that wait for each other, at the first of them.
fn cycles(spec: &WorkflowSpec, predecessors: &[Vec<Node>], flaws: &mut Vec<Flaw>) {
    let edges = predecessors
        .iter()
        .enumerate()
        .flat_map(|(node, before)| before.iter().map(move |&earlier| (earlier, node as Node)));
    let mut graph = DiGraph::<(), (), Node>::from_edges(edges);
    while graph.node_count() < spec.tasks.len() {
        graph.add_node(());
    }
    // Not Tarjan's: petgraph's recurses, and one long chain would take the whole process down with it.
    let mut knots: Vec<Vec<usize>> = kosaraju_scc(&graph)
        .into_iter()
        .map(|knot| knot.into_iter().map(NodeIndex::index).collect::<Vec<_>>())
        .filter(|knot| knot.len() > 1 || predecessors[knot[0]].contains(&(knot[0] as Node)))
        .collect();
    for knot in &mut knots {
        knot.sort_unstable();
    }
    knots.sort_unstable();
    for knot in knots {
        let names: Vec<_> = knot
            .iter()
            .map(|&node| format!("\"{}\"", spec.tasks[node].name))
            .collect();
        let problem = if names.len() == 1 {
            format!("task {} depends on itself", names[0])
        } else {
            format!("tasks {} wait for each other in a cycle", names.join(", "))
        };
        flaws.push(flaw(format!("tasks[{}].depends_on", knot[0]), problem));
    }
}
