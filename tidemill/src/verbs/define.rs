//! `apply`: workflow files become definitions. All of them are read before the first one is sent, so a
//! flaw in one means that nothing is stored.

use std::path::Path;

use api::workflow_file;
use domain::workflow_definition::Workflow;
use serde_json::{Value, json};

use crate::args::Apply;
use crate::failure::Failure;
use crate::output;
use crate::session::{self, Need, Request, Session};

/// A workflow file that makes sense.
pub(crate) struct Document {
    /// As its author wrote it.
    pub(crate) text: Vec<u8>,
    /// What it says.
    pub(crate) workflow: Workflow,
}

/// A definition as it is stored now.
pub(crate) struct Stored {
    /// The service's answer.
    pub(crate) answer: Value,
    /// The newest version.
    pub(crate) version: u64,
    /// It is new.
    pub(crate) changed: bool,
}

pub(super) async fn apply(args: Apply) -> Result<(), Failure> {
    let documents = read_all(&args.files)?;
    let stored = session::with(&args.place, Need::Define, async |session| {
        let mut stored = Vec::new();
        for document in &documents {
            stored.push(store(session, document).await?);
        }
        Ok(stored)
    })
    .await?;
    let mut answers = Vec::new();
    for (document, mut stored) in documents.iter().zip(stored) {
        let spec = document.workflow.spec();
        if args.form.json {
            stored.answer["project"] = json!(spec.project);
            stored.answer["name"] = json!(spec.name);
            answers.push(stored.answer);
        } else {
            let what = if stored.changed {
                "stored"
            } else {
                "unchanged"
            };
            output::say(format_args!(
                "{}/{} version {} {what}",
                spec.project, spec.name, stored.version
            ));
        }
    }
    if args.form.json {
        output::document(&json!({"items": answers}));
    }
    Ok(())
}

/// Reads workflow files, or lists every flaw of every one of them.
pub(crate) fn read_all(files: &[impl AsRef<Path>]) -> Result<Vec<Document>, Failure> {
    let mut documents = Vec::new();
    let mut flaws = Vec::new();
    for file in files {
        match read(file.as_ref()) {
            Ok(document) => documents.push(document),
            Err(found) => flaws.extend(found),
        }
    }
    if flaws.is_empty() {
        Ok(documents)
    } else {
        Err(Failure::flaws(flaws))
    }
}

fn read(file: &Path) -> Result<Document, Vec<String>> {
    let name = file.display();
    let text = std::fs::read(file).map_err(|error| vec![format!("{name}: {error}")])?;
    match workflow_file::read(&text) {
        Ok(workflow) => Ok(Document { text, workflow }),
        Err(flaws) => Err(flaws.iter().map(|flaw| format!("{name}: {flaw}")).collect()),
    }
}

/// Makes this the newest version, unless it is already.
pub(crate) async fn store(session: &mut Session, document: &Document) -> Result<Stored, Failure> {
    let spec = document.workflow.spec();
    let path = ["projects", &spec.project, "workflows", &spec.name];
    let answer = session
        .call(&Request::put(&path, document.text.clone()))
        .await?;
    let version = answer.get("version").and_then(Value::as_u64);
    Ok(Stored {
        version: version
            .ok_or_else(|| Failure::service("the service did not say which version it stored"))?,
        changed: answer
            .get("changed")
            .and_then(Value::as_bool)
            .unwrap_or(true),
        answer,
    })
}
