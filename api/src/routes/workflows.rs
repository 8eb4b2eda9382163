//! Workflow definitions: defining them and looking at them. Single definitions are read from the log, so
//! that whoever has just defined one sees it.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use domain::DefinitionCode;
use serde::Serialize;
use serde_json::value::RawValue;

use crate::documents::Page;
use crate::engine::Caller;
use crate::extract::{At, Content, number, text};
use crate::problem::Problem;
use crate::state::{Api, Version};
use crate::times::Iso;
use crate::workflow_file;

#[derive(Serialize)]
pub(super) struct DefinedDocument {
    code: u64,
    version: u32,
    changed: bool,
    position: String,
}

/// A version of a definition. `workflow` can be sent back as it is.
#[derive(Serialize)]
pub(super) struct VersionDocument {
    code: u64,
    project: String,
    name: String,
    version: u32,
    defined_at: Iso,
    workflow: Box<RawValue>,
}

pub(super) async fn define(
    State(api): State<Api>,
    At((project, name)): At<(String, String)>,
    caller: Caller,
    file: Content,
) -> Result<Json<DefinedDocument>, Problem> {
    // Megabytes take a while to read; the other requests of this thread do not wait for it.
    let read = move || workflow_file::read_for(&file.0, &project, &name);
    let read = tokio::task::spawn_blocking(read).await;
    let read = read.map_err(|error| Problem::corrupt(format!("reading the file: {error}")))?;
    let workflow = read.map_err(Problem::invalid_file)?;
    let defined = api.engine.define(Arc::new(workflow), caller).await?;
    Ok(Json(DefinedDocument {
        code: defined.code.0,
        version: defined.version,
        changed: defined.changed,
        position: defined.position.to_string(),
    }))
}

pub(super) async fn newest(
    State(api): State<Api>,
    At((project, name)): At<(String, String)>,
) -> Result<Json<VersionDocument>, Problem> {
    let code = DefinitionCode::new(&project, &name);
    match api.definitions.newest(api.log.as_ref(), code).await? {
        Some(version) => Ok(Json(document(code, &version))),
        None => Err(no_workflow(&project, &name)),
    }
}

pub(super) async fn versions(
    State(api): State<Api>,
    At((project, name)): At<(String, String)>,
) -> Result<Json<Page<VersionDocument>>, Problem> {
    let code = DefinitionCode::new(&project, &name);
    let versions = api.definitions.all(api.log.as_ref(), code).await?;
    if versions.is_empty() {
        return Err(no_workflow(&project, &name));
    }
    let documents = versions.iter().map(|version| document(code, version));
    Ok(Json(Page::whole(documents.collect())))
}

pub(super) async fn version(
    State(api): State<Api>,
    At((project, name, version)): At<(String, String, String)>,
) -> Result<Json<VersionDocument>, Problem> {
    let code = DefinitionCode::new(&project, &name);
    let versions = api.definitions.all(api.log.as_ref(), code).await?;
    let wanted = number::<u32>(&version).ok();
    let found = versions.iter().find(|known| Some(known.number) == wanted);
    match found {
        Some(version) => Ok(Json(document(code, version))),
        None if versions.is_empty() => Err(no_workflow(&project, &name)),
        None => Err(Problem::not_found(format!(
            "workflow \"{name}\" of project \"{project}\" has no version {version}; its newest is {}",
            versions.len()
        ))),
    }
}

pub(super) async fn list(
    State(api): State<Api>,
    At(project): At<String>,
) -> Result<Json<Page<VersionDocument>>, Problem> {
    let project = text(&project).map_err(Problem::bad_request)?;
    let rows = api.reader.definitions(Some(&project)).await?;
    let documents = rows.into_iter().map(|row| VersionDocument {
        code: row.code.0,
        workflow: workflow_file::write(&row.spec),
        project: row.project,
        name: row.name,
        version: row.version,
        defined_at: Iso(row.defined_at),
    });
    Ok(Json(Page::whole(documents.collect())))
}

fn document(code: DefinitionCode, version: &Version) -> VersionDocument {
    let spec = version.workflow.spec();
    VersionDocument {
        code: code.0,
        project: spec.project.clone(),
        name: spec.name.clone(),
        version: version.number,
        defined_at: Iso(version.defined_at),
        workflow: workflow_file::write(spec),
    }
}

pub(super) fn no_workflow(project: &str, name: &str) -> Problem {
    Problem::not_found(format!("project \"{project}\" has no workflow \"{name}\""))
}
