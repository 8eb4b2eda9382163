//! Definitions as runs name them: by version, read when the first run asks.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use domain::workflow_definition::{self, Workflow};
use domain::workflow_instance::Submission;
use domain::{AggregateType, DefinitionCode, Fact, StreamId};
use store::{Log, LogError, Recorded};

/// Checked definitions by version. A version never changes, so nothing here is ever stale.
#[derive(Debug, Default)]
pub struct Definitions {
    known: Mutex<HashMap<(DefinitionCode, u32), Known>>,
}

#[derive(Debug)]
struct Known {
    workflow: Arc<Workflow>,
    /// What the last run of it was asked for.
    asked: Option<Arc<Submission>>,
}

impl Definitions {
    /// The newest version of a definition, if there is one.
    pub async fn newest(
        &self,
        log: &dyn Log,
        code: DefinitionCode,
    ) -> Result<Option<(u32, Arc<Workflow>)>, LogError> {
        match log.length(&stream(code)).await? as u32 {
            0 => Ok(None),
            version => Ok(Some((version, self.version(log, code, version).await?))),
        }
    }

    /// One version of a definition.
    pub async fn version(
        &self,
        log: &dyn Log,
        code: DefinitionCode,
        version: u32,
    ) -> Result<Arc<Workflow>, LogError> {
        if let Some(workflow) = self.get(code, version) {
            return Ok(workflow);
        }
        let missing = || {
            LogError::Corrupt(format!(
                "version {version} of definition {code} is not in the log"
            ))
        };
        let before = u64::from(version.checked_sub(1).ok_or_else(missing)?);
        let events = log.read_stream(&stream(code), before).await?;
        let recorded = events
            .first()
            .filter(|event| event.sequence == u64::from(version))
            .ok_or_else(missing)?;
        self.keep(code, recorded)
    }

    /// A submission, in one piece with the last one of its version if that was in the same words: of many runs that
    /// wait, most were asked for alike.
    pub fn share(&self, submission: Arc<Submission>) -> Arc<Submission> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(known) = known.get_mut(&(submission.definition, submission.version)) else {
            return submission;
        };
        if let Some(asked) = &known.asked
            && *asked == submission
        {
            return asked.clone();
        }
        known.asked = Some(submission.clone());
        submission
    }

    fn get(&self, code: DefinitionCode, version: u32) -> Option<Arc<Workflow>> {
        self.known
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&(code, version))
            .map(|known| known.workflow.clone())
    }

    fn keep(&self, code: DefinitionCode, recorded: &Recorded) -> Result<Arc<Workflow>, LogError> {
        let Fact::Definition(_, workflow_definition::Event::Defined { version, workflow }) =
            recorded.fact()?
        else {
            return Err(LogError::Corrupt(format!(
                "definition {code} holds an event of something else"
            )));
        };
        let checked = Workflow::recorded(workflow).map_err(|flaws| {
            LogError::Corrupt(format!(
                "version {version} of definition {code}: {}",
                flaws[0]
            ))
        })?;
        let checked = Arc::new(checked);
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let fresh = Known {
            workflow: checked.clone(),
            asked: None,
        };
        known.insert((code, version), fresh);
        Ok(checked)
    }
}

fn stream(code: DefinitionCode) -> StreamId {
    StreamId {
        kind: AggregateType::WorkflowDefinition,
        id: code.to_string(),
    }
}
