//! The workflow file: YAML (of which JSON is a part) read into a checked workflow, or refused with every
//! flaw and its place. `docs/workflow-format.md` says what may be written.
//!
//! Not here: what makes sense in a workflow. That is the domain's check, whose findings are only given
//! their line and column here.

mod defaults;
mod locate;
#[cfg(test)]
mod properties;
mod read;
mod schema;
#[cfg(test)]
mod tests;
mod write;

use domain::workflow_definition::Workflow;

use crate::document::{self, Fields, Mark};

pub use crate::document::FileFlaw;
pub use schema::SCHEMA;
pub use write::write;

pub(crate) use read::PRIORITIES;

/// The longest file, in bytes: 8 MiB.
pub const LONGEST: usize = 8 * 1024 * 1024;

/// Reads a workflow file. The error lists every flaw, in the order of the file.
pub fn read(file: &[u8]) -> Result<Workflow, Vec<FileFlaw>> {
    read_at(file, None)
}

/// As [`read`], for a file that somebody sent to the address of a workflow: its project, if it names
/// one, and its name must be those of the address.
pub fn read_for(file: &[u8], project: &str, name: &str) -> Result<Workflow, Vec<FileFlaw>> {
    read_at(file, Some((project, name)))
}

fn read_at(file: &[u8], address: Option<(&str, &str)>) -> Result<Workflow, Vec<FileFlaw>> {
    let root = text(file)
        .and_then(document::load)
        .map_err(|flaw| vec![flaw])?;
    let mut fields = Fields::default();
    let Some(spec) = read::workflow(&root, address, &mut fields) else {
        return Err(fields.into_flaws());
    };
    match Workflow::check(spec) {
        Ok(workflow) if fields.are_fine() => return Ok(workflow),
        Ok(_) => {}
        Err(found) => {
            let found: Vec<_> = found
                .into_iter()
                .map(|flaw| (locate::locate(&root, &flaw.place), flaw.problem))
                // What could not be read was replaced; what the check says of the replacement is no news.
                .filter(|((_, path), _)| !fields.cover(path))
                .collect();
            for ((mark, path), problem) in found {
                fields.flaw(mark, &path, problem);
            }
        }
    }
    Err(fields.into_flaws())
}

fn text(file: &[u8]) -> Result<&str, FileFlaw> {
    if file.len() > LONGEST {
        let problem = format!("the file is longer than {} MiB", LONGEST / 1024 / 1024);
        return Err(FileFlaw::at(Mark::START, "", problem));
    }
    let text = std::str::from_utf8(file).map_err(|error| {
        let before = String::from_utf8_lossy(&file[..error.valid_up_to()]);
        let mark = Mark {
            line: before.matches('\n').count() + 1,
            column: before
                .rsplit('\n')
                .next()
                .unwrap_or_default()
                .chars()
                .count()
                + 1,
        };
        FileFlaw::at(mark, "", "this is not text in UTF-8")
    })?;
    Ok(text.strip_prefix('\u{feff}').unwrap_or(text))
}
