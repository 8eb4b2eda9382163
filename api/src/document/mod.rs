//! YAML or JSON text as a tree in which every node knows its place.
//!
//! Built from the parser's events without recursion, so that neither deep nesting nor aliases of aliases
//! can exhaust anything: both meet a limit and become flaws. Knows nothing about workflows.

use std::collections::HashMap;

pub(crate) mod duration;
mod fields;
mod flaw;
mod json;
mod suggest;

use saphyr::{Scalar, ScalarStyle};
use saphyr_parser::{Event, Parser, Span, StrInput};

pub(crate) use fields::{Fields, join};
pub(crate) use flaw::{Mark, short};
pub(crate) use suggest::did_you_mean;

pub use flaw::FileFlaw;

/// How deep a file may nest. A workflow needs six.
const DEEPEST: usize = 32;

/// How many nodes a file may have. The largest workflow that is read has some hundred thousand.
const MOST_NODES: usize = 1_000_000;

/// How much all anchors and aliases together may copy, in nodes and bytes of text.
const MOST_COPIED: usize = 8 * 1024 * 1024;

/// One node of the file.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    /// Where it begins.
    pub(crate) mark: Mark,
    pub(crate) data: Data,
}

#[derive(Clone, Debug)]
pub(crate) enum Data {
    /// Plain or quoted text with what YAML makes of it.
    Scalar(Kind, String),
    Sequence(Vec<Node>),
    /// In the order of the file, repeated keys included.
    Mapping(Vec<(Node, Node)>),
}

/// What YAML's core schema makes of a scalar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Null,
    Boolean,
    Integer,
    Float,
    Text,
}

impl Node {
    /// What it is, with its article, for people.
    pub(crate) fn what(&self) -> &'static str {
        match &self.data {
            Data::Scalar(Kind::Null, _) => "nothing",
            Data::Scalar(Kind::Boolean, _) => "a boolean",
            Data::Scalar(Kind::Integer, _) => "an integer",
            Data::Scalar(Kind::Float, _) => "a number",
            Data::Scalar(Kind::Text, _) => "text",
            Data::Sequence(_) => "a list",
            Data::Mapping(_) => "a mapping",
        }
    }

    /// The value of the first entry with this key, and the key itself.
    pub(crate) fn entry(&self, name: &str) -> Option<(&Self, &Self)> {
        let Data::Mapping(entries) = &self.data else {
            return None;
        };
        let is_name = |key: &Self| matches!(&key.data, Data::Scalar(_, text) if text == name);
        entries
            .iter()
            .find(|(key, _)| is_name(key))
            .map(|(key, value)| (key, value))
    }

    /// How much a copy of it costs.
    fn weight(&self) -> usize {
        1 + match &self.data {
            Data::Scalar(_, text) => text.len(),
            Data::Sequence(items) => items.iter().map(Self::weight).sum(),
            Data::Mapping(entries) => entries.iter().map(|(k, v)| k.weight() + v.weight()).sum(),
        }
    }
}

/// Reads the only document of a file. The flaw says why there is no such thing.
pub(crate) fn load(text: &str) -> Result<Node, FileFlaw> {
    let mut builder = Builder::default();
    let mut parser = Parser::new(StrInput::new(text));
    while let Some(next) = parser.next_event() {
        match next {
            Ok((event, span)) => builder.take(event, span)?,
            Err(error) => return load_json(text).ok_or_else(|| not_yaml(&error)),
        }
    }
    builder
        .root
        .ok_or_else(|| FileFlaw::at(Mark::START, "", "the file is empty"))
}

/// What is not YAML to the parser may be JSON all the same.
fn load_json(text: &str) -> Option<Node> {
    text.trim_start()
        .starts_with('{')
        .then(|| serde_json::from_str(text).ok())?
}

fn not_yaml(error: &saphyr::ScanError) -> FileFlaw {
    let problem = format!("this is not YAML: {}", error.info());
    FileFlaw::at(Mark::of(*error.marker()), "", problem)
}

#[derive(Default)]
struct Builder {
    open: Vec<Open>,
    /// What an alias may name, with its weight.
    anchors: HashMap<usize, (Node, usize)>,
    copied: usize,
    nodes: usize,
    root: Option<Node>,
}

/// A sequence or a mapping whose end has not come yet.
struct Open {
    mark: Mark,
    anchor: usize,
    mapping: bool,
    /// A mapping's keys and values alternate.
    nodes: Vec<Node>,
}

impl Builder {
    fn take(&mut self, event: Event<'_>, span: Span) -> Result<(), FileFlaw> {
        let mark = Mark::of(span.start);
        match event {
            Event::DocumentStart(_) if self.root.is_some() => Err(FileFlaw::at(
                mark,
                "",
                "a second document begins here; a file holds one workflow",
            )),
            Event::Nothing
            | Event::StreamStart
            | Event::StreamEnd
            | Event::DocumentStart(_)
            | Event::DocumentEnd => Ok(()),
            Event::Scalar(text, style, anchor, tag) => {
                let kind = kind(&text, style, tag.as_deref(), mark)?;
                let data = Data::Scalar(kind, text.into_owned());
                self.put(Node { mark, data }, anchor)
            }
            Event::SequenceStart(anchor, tag) => self.open(mark, anchor, false, tag.as_deref()),
            Event::MappingStart(anchor, tag) => self.open(mark, anchor, true, tag.as_deref()),
            Event::SequenceEnd | Event::MappingEnd => self.close(),
            Event::Alias(anchor) => self.repeat(anchor, mark),
        }
    }

    fn open(
        &mut self,
        mark: Mark,
        anchor: usize,
        mapping: bool,
        tag: Option<&saphyr::Tag>,
    ) -> Result<(), FileFlaw> {
        if let Some(tag) = tag.filter(|tag| !tag.is_yaml_core_schema()) {
            return Err(unknown_tag(tag, mark));
        }
        if self.open.len() == DEEPEST {
            return Err(FileFlaw::at(
                mark,
                "",
                format!("the file nests deeper than {DEEPEST} levels"),
            ));
        }
        self.open.push(Open {
            mark,
            anchor,
            mapping,
            nodes: Vec::new(),
        });
        Ok(())
    }

    fn close(&mut self) -> Result<(), FileFlaw> {
        let Some(open) = self.open.pop() else {
            return Ok(());
        };
        let data = if open.mapping {
            let mut entries = Vec::with_capacity(open.nodes.len() / 2);
            let mut nodes = open.nodes.into_iter();
            while let (Some(key), Some(value)) = (nodes.next(), nodes.next()) {
                entries.push((key, value));
            }
            Data::Mapping(entries)
        } else {
            Data::Sequence(open.nodes)
        };
        let mark = open.mark;
        self.put(Node { mark, data }, open.anchor)
    }

    fn put(&mut self, node: Node, anchor: usize) -> Result<(), FileFlaw> {
        self.nodes += 1;
        if self.nodes > MOST_NODES {
            let problem = format!("the file has more than {MOST_NODES} values");
            return Err(FileFlaw::at(node.mark, "", problem));
        }
        if anchor != 0 {
            let weight = node.weight();
            self.copied(weight, node.mark)?;
            self.anchors.insert(anchor, (node.clone(), weight));
        }
        match self.open.last_mut() {
            Some(open) => open.nodes.push(node),
            None => self.root = Some(node),
        }
        Ok(())
    }

    fn copied(&mut self, weight: usize, mark: Mark) -> Result<(), FileFlaw> {
        self.copied += weight;
        if self.copied > MOST_COPIED {
            let problem = "the anchors and aliases of this file copy more than 8 MiB in all";
            return Err(FileFlaw::at(mark, "", problem));
        }
        Ok(())
    }

    fn repeat(&mut self, anchor: usize, mark: Mark) -> Result<(), FileFlaw> {
        let Some((node, weight)) = self.anchors.get(&anchor) else {
            let problem = "this alias repeats something that has not ended yet";
            return Err(FileFlaw::at(mark, "", problem));
        };
        let (node, weight) = (node.clone(), *weight);
        self.copied(weight, mark)?;
        self.put(node, 0)
    }
}

fn kind(
    text: &str,
    style: ScalarStyle,
    tag: Option<&saphyr::Tag>,
    mark: Mark,
) -> Result<Kind, FileFlaw> {
    if let Some(tag) = tag.filter(|tag| !tag.is_yaml_core_schema()) {
        return Err(unknown_tag(tag, mark));
    }
    let tag = tag.map(std::borrow::Cow::Borrowed);
    match Scalar::parse_from_cow_and_metadata(text.into(), style, tag.as_ref()) {
        Some(Scalar::Null) => Ok(Kind::Null),
        Some(Scalar::Boolean(_)) => Ok(Kind::Boolean),
        Some(Scalar::Integer(_)) => Ok(Kind::Integer),
        Some(Scalar::FloatingPoint(_)) => Ok(Kind::Float),
        Some(Scalar::String(_)) => Ok(Kind::Text),
        None => Err(FileFlaw::at(
            mark,
            "",
            format!("\"{}\" is not what its tag says", short(text)),
        )),
    }
}

fn unknown_tag(tag: &saphyr::Tag, mark: Mark) -> FileFlaw {
    let problem = format!(
        "the tag {}{} means nothing here",
        short(&tag.handle),
        short(&tag.suffix)
    );
    FileFlaw::at(mark, "", problem)
}
