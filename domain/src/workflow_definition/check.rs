//! The door to a DAG. Looks for every flaw instead of stopping at the first, because an author mends a
//! file once. The shape is seen to here; what else the rules of today ask is in [`super::rules`].

use std::collections::{BTreeMap, HashMap};
use std::fmt;

use petgraph::algo::kosaraju_scc;
use petgraph::graph::{DiGraph, NodeIndex};

use super::graph::{Graph, Node};
use super::rules;
use super::spec::WorkflowSpec;

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
        let shape = Shape::of(&spec, &mut flaws);
        rules::look(&spec, &shape, &mut flaws);
        let predecessors = shape.predecessors;
        Self::new(spec, predecessors, flaws)
    }

    /// A workflow that was checked when it was recorded. The rules may have become stricter since then,
    /// and it stands; but it must have a shape.
    pub fn recorded(spec: WorkflowSpec) -> Result<Self, Vec<Flaw>> {
        let mut flaws = Vec::new();
        let predecessors = Shape::of(&spec, &mut flaws).predecessors;
        Self::new(spec, predecessors, flaws)
    }

    fn new(
        spec: WorkflowSpec,
        predecessors: Vec<Vec<Node>>,
        mut flaws: Vec<Flaw>,
    ) -> Result<Self, Vec<Flaw>> {
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

/// Who is who, and who comes before whom, as far as the author's names lead somewhere.
pub(super) struct Shape<'a> {
    by_name: HashMap<&'a str, Node>,
    /// By node, in order, each once.
    predecessors: Vec<Vec<Node>>,
    /// Every name leads somewhere.
    whole: bool,
}

impl<'a> Shape<'a> {
    fn of(spec: &'a WorkflowSpec, flaws: &mut Vec<Flaw>) -> Self {
        let by_name = unique_names(spec, flaws);
        unique_codes(spec, flaws);
        let so_far = flaws.len();
        let mut predecessors = dependencies(spec, &by_name, flaws);
        branches(spec, &by_name, &mut predecessors, flaws);
        let whole = flaws.len() == so_far;
        for before in &mut predecessors {
            // Naming a predecessor twice says nothing new.
            before.sort_unstable();
            before.dedup();
        }
        cycles(spec, &predecessors, flaws);
        Self {
            by_name,
            predecessors,
            whole,
        }
    }

    /// The task of this name.
    pub(super) fn node(&self, name: &str) -> Option<Node> {
        self.by_name.get(name).copied()
    }

    /// Every name in it leads somewhere, so it can be said who does not come before whom.
    pub(super) const fn is_whole(&self) -> bool {
        self.whole
    }

    /// This node comes right before that one.
    pub(super) fn is_predecessor(&self, node: Node, of: Node) -> bool {
        self.predecessors[of as usize].binary_search(&node).is_ok()
    }

    /// Which nodes come before this one, however far.
    pub(super) fn all_before(&self, node: Node) -> Vec<bool> {
        let mut before = vec![false; self.predecessors.len()];
        let mut open = self.predecessors[node as usize].clone();
        while let Some(node) = open.pop() {
            if !std::mem::replace(&mut before[node as usize], true) {
                open.extend_from_slice(&self.predecessors[node as usize]);
            }
        }
        before
    }
}

/// Which part of the document a place is in, and which item of it.
fn place_in_document(place: &str) -> (usize, usize) {
    let (part, item) = place.split_at(place.find('[').unwrap_or(place.len()));
    let parts = ["name", "project", "params", "timeout", "tasks"];
    let part = parts.iter().position(|known| *known == part);
    let item = item.trim_start_matches('[').split(']').next();
    (
        part.unwrap_or(parts.len()),
        item.and_then(|number| number.parse().ok()).unwrap_or(0),
    )
}

pub(super) fn flaw(place: String, problem: impl Into<String>) -> Flaw {
    Flaw {
        place,
        problem: problem.into(),
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

/// Who comes before whom by `depends_on`.
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
    predecessors
}

/// The branches of a task that chooses are its successors, whether they say so or not.
fn branches(
    spec: &WorkflowSpec,
    by_name: &HashMap<&str, Node>,
    predecessors: &mut [Vec<Node>],
    flaws: &mut Vec<Flaw>,
) {
    for (index, task) in spec.tasks.iter().enumerate() {
        for (place, name) in task.kind.targets() {
            let place = format!("tasks[{index}].{place}");
            let name_of_task = &task.name;
            match by_name.get(name) {
                Some(&target) if target as usize == index => flaws.push(flaw(
                    place,
                    format!("task \"{name_of_task}\" leads to itself"),
                )),
                Some(&target) => predecessors[target as usize].push(index as Node),
                None => flaws.push(flaw(
                    place,
                    format!("task \"{name_of_task}\" leads to \"{name}\", which does not exist"),
                )),
            }
        }
    }
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
