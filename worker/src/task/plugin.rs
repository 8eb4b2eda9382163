//! PLUGIN: runs a program of the worker's folder of plug-ins, which reads what it has to do from its
//! standard input as one JSON document. The protocol is in `docs/task-types.md`.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::BufReader;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::process::{self, Program};
use super::{BoxFuture, End, Job, Order, TaskType};
use crate::outputs;
use crate::settings::Settings;

/// Where a plug-in finds what it has to do.
const DOCUMENT: &str = "assignment.json";

#[derive(Debug)]
pub(crate) struct Plugin {
    folder: Option<PathBuf>,
}

#[derive(Debug, Deserialize)]
struct Options {
    plugin: String,
    #[serde(default)]
    config: serde_json::Value,
}

/// What the program reads.
#[derive(Debug, Serialize)]
struct Assignment<'a> {
    task: &'a str,
    workflow: &'a str,
    instance_id: u64,
    attempt: u32,
    fencing_token: u64,
    params: BTreeMap<&'a str, &'a str>,
    config: &'a serde_json::Value,
}

impl Plugin {
    pub(crate) fn new(settings: &Settings) -> Self {
        // Tasks run in other directories.
        let absolute = |folder: &PathBuf| std::path::absolute(folder).unwrap_or(folder.clone());
        Plugin {
            folder: settings.plugins.as_ref().map(absolute),
        }
    }

    async fn attempt(&self, job: &mut Job) -> Result<End, End> {
        let options: Options = job.options()?;
        let folder = self.folder.clone().ok_or_else(|| {
            End::failure("this worker has no folder of plug-ins; name one in its configuration")
        })?;
        let program = job.on_disk(move |order| {
            let program = find(&folder, &options.plugin)?;
            let document = document(order, &options.config)?;
            let path = order.world.dir.work(order.key).join(DOCUMENT);
            let (plugin, path) = (
                process::quoted_path(&program)?,
                process::quoted_path(&path)?,
            );
            let mut program = Program::script(order, &format!("exec {plugin} <{path}"));
            program.files.push((DOCUMENT.to_owned(), document));
            Ok(program)
        });
        let program = program.await?;
        let mut end = process::run(job, program).await?;
        let log = job.order.world.dir.log(job.order.key);
        let said = tokio::task::spawn_blocking(move || {
            outputs::reason(BufReader::new(File::open(log).ok()?)).ok()?
        });
        let said = said.await.ok().flatten();
        process::explain(&mut end, || said);
        Ok(end)
    }
}

impl TaskType for Plugin {
    fn run<'a>(&'a self, job: &'a mut Job) -> BoxFuture<'a, Result<End, End>> {
        Box::pin(self.attempt(job))
    }
}

fn find(folder: &Path, name: &str) -> Result<PathBuf, String> {
    if name.is_empty() || name.starts_with('.') || name.contains(['/', '\0']) {
        return Err(format!(
            "{name:?} is not the name of a plug-in: it must be a plain file name that does not begin with a dot"
        ));
    }
    let program = folder.join(name);
    if is_program(&program) {
        return Ok(program);
    }
    let there = list(folder)?;
    let folder = folder.display();
    Err(if there.is_empty() {
        format!("there is no plug-in {name:?}: {folder} holds no executable file")
    } else {
        let there = there.join(", ");
        format!("there is no plug-in {name:?}; {folder} holds {there}")
    })
}

fn list(folder: &Path) -> Result<Vec<String>, String> {
    let entries = fs::read_dir(folder).map_err(|e| {
        format!(
            "cannot read the folder of plug-ins {}: {e}",
            folder.display()
        )
    })?;
    let mut names: Vec<String> = entries
        .flatten()
        .filter(|entry| is_program(&entry.path()))
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|name| !name.starts_with('.'))
        .collect();
    names.sort();
    Ok(names)
}

fn is_program(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|it| it.is_file() && it.permissions().mode() & 0o111 != 0)
}

fn document(order: &Order, config: &serde_json::Value) -> Result<String, String> {
    let dispatch = &order.dispatch;
    let params = dispatch.params.iter();
    let assignment = Assignment {
        task: &dispatch.task,
        workflow: &dispatch.workflow,
        instance_id: order.key.instance(),
        attempt: order.key.2,
        fencing_token: dispatch.fencing_token,
        params: params
            .map(|p| (p.name.as_str(), p.value.as_str()))
            .collect(),
        config,
    };
    serde_json::to_string(&assignment).map_err(|e| format!("its assignment cannot be written: {e}"))
}
