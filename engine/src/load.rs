//! Folding the log: a shard when it is taken over, one run when somebody asks for one that has
//! left the memory, a definition when a run names it.

mod definitions;
mod holder;
mod standing;

use std::collections::BTreeSet;

use domain::run::Run;
use domain::workflow_definition::WorkflowDefinition;
use domain::{
    Aggregate, AggregateType, Corrupt, Fact, InstanceId, ShardId, StreamId, workflow_instance,
};
use store::{Log, LogError, Recorded, Standing};

use crate::contained::contained;
use crate::core::{Image, Kept};
pub use definitions::Definitions;
pub use holder::holder;
pub(crate) use standing::is_worth_it;

/// How many events are read at once.
const PAGE: usize = 5_000;

/// A shard that is being folded, as far as it has been read: it can be taken up again when the log has grown.
#[derive(Debug)]
pub struct Folding {
    shard: ShardId,
    image: Image,
    /// Runs that had left the memory and were begun again: they are read whole when the end is known.
    revived: BTreeSet<InstanceId>,
    resting: Option<InstanceId>,
}

impl Folding {
    /// Nothing has been read yet.
    fn new(shard: ShardId) -> Self {
        Self {
            shard,
            image: Image::empty(),
            revived: BTreeSet::new(),
            resting: None,
        }
    }

    /// The last event that was read; 0 when there was none.
    pub fn head(&self) -> u64 {
        self.image.chain.head
    }

    /// Folds, page by page, what the log holds beyond what was read. Runs that have ended are dropped on the
    /// way. After an error the fold is of no more use.
    pub async fn advance(
        &mut self,
        log: &dyn Log,
        definitions: &Definitions,
    ) -> Result<(), LogError> {
        loop {
            let page = log.read(self.shard, self.image.chain.head, PAGE).await?;
            for recorded in &page {
                let image = &mut self.image;
                image.chain.check(recorded)?;
                absorb(image, &mut self.revived, log, definitions, recorded).await?;
                drop_resting(image, &mut self.resting, instance_of(&recorded.stream));
            }
            if page.len() < PAGE {
                return Ok(());
            }
        }
    }

    /// The shard as far as it was read.
    pub async fn finish(
        mut self,
        log: &dyn Log,
        definitions: &Definitions,
    ) -> Result<Image, LogError> {
        drop_resting(&mut self.image, &mut self.resting, None);
        for instance in std::mem::take(&mut self.revived) {
            let events = log.read_instance(instance, 0).await;
            self.take_alone(log, definitions, instance, events).await?;
        }
        Ok(self.image)
    }

    /// Folds the events of one run as far as the shard has been read, and drops it if it is at rest then. What
    /// is wrong with it is wrong with nothing else.
    async fn take_alone(
        &mut self,
        log: &dyn Log,
        definitions: &Definitions,
        instance: InstanceId,
        events: Result<Vec<Recorded>, LogError>,
    ) -> Result<(), LogError> {
        match events {
            Ok(events) => self.take(log, definitions, events).await?,
            Err(LogError::Corrupt(event)) => {
                let state = "unread".to_owned();
                let corrupt = Corrupt { state, event };
                self.image.corrupt.insert(instance, corrupt);
            }
            Err(error @ (LogError::Unavailable(_) | LogError::Unusable(_))) => return Err(error),
        }
        if self
            .image
            .runs
            .get(&instance)
            .is_some_and(|run| run.is_at_rest())
        {
            self.image.runs.remove(&instance);
        }
        Ok(())
    }

    /// Folds those of these events that lie behind us.
    async fn take(
        &mut self,
        log: &dyn Log,
        definitions: &Definitions,
        events: Vec<Recorded>,
    ) -> Result<(), LogError> {
        let head = self.image.chain.head;
        for recorded in events.iter().filter(|event| event.seq <= head) {
            let (image, revived) = (&mut self.image, &mut self.revived);
            absorb(image, revived, log, definitions, recorded).await?;
        }
        Ok(())
    }
}

/// Folds a shard: from where it stood, if that is known and worth it, else from its beginning.
pub async fn shard(
    log: &dyn Log,
    definitions: &Definitions,
    shard: ShardId,
) -> Result<Image, LogError> {
    let folding = Folding::begin(log, definitions, shard).await?;
    whole(log, definitions, folding).await
}

/// Folds a shard from its beginning.
pub async fn from_the_beginning(
    log: &dyn Log,
    definitions: &Definitions,
    shard: ShardId,
) -> Result<Image, LogError> {
    whole(log, definitions, Folding::new(shard)).await
}

/// Folds a shard from where it stood; nothing when it did not in this log.
pub async fn from_a_standing(
    log: &dyn Log,
    definitions: &Definitions,
    standing: &Standing,
) -> Result<Option<Image>, LogError> {
    match Folding::resume(log, definitions, standing).await? {
        Some(folding) => whole(log, definitions, folding).await.map(Some),
        None => Ok(None),
    }
}

async fn whole(
    log: &dyn Log,
    definitions: &Definitions,
    mut folding: Folding,
) -> Result<Image, LogError> {
    folding.advance(log, definitions).await?;
    folding.finish(log, definitions).await
}

/// Drops the run that came to rest, once an event of something else follows: its end may not have been the
/// last event of the decision, and an alert about it is owed.
fn drop_resting(image: &mut Image, resting: &mut Option<InstanceId>, touched: Option<InstanceId>) {
    if let Some(before) = resting.take_if(|before| Some(*before) != touched)
        && image.runs.get(&before).is_some_and(|run| run.is_at_rest())
    {
        image.runs.remove(&before);
    }
    *resting = touched.or(*resting);
}

async fn absorb(
    image: &mut Image,
    revived: &mut BTreeSet<InstanceId>,
    log: &dyn Log,
    definitions: &Definitions,
    recorded: &Recorded,
) -> Result<(), LogError> {
    let fact = match recorded.fact() {
        Ok(fact) => fact,
        // One run that cannot be read stops alone. What cannot be attributed to a run stops the shard.
        Err(error) => {
            let instance = instance_of(&recorded.stream).ok_or(error.clone())?;
            image.runs.remove(&instance);
            image.corrupt.insert(
                instance,
                Corrupt {
                    state: "unread".to_owned(),
                    event: error.to_string(),
                },
            );
            return Ok(());
        }
    };
    match &fact {
        Fact::Definition(code, event) => {
            let definition = image.definitions.remove(code).unwrap_or_default();
            let definition: WorkflowDefinition = definition
                .evolve(event)
                .map_err(|corrupt| LogError::Corrupt(format!("definition {code}: {corrupt}")))?;
            image.definitions.insert(*code, definition);
        }
        Fact::Workflow(instance, workflow_instance::Event::Submitted(submission)) => {
            image.instances = image.instances.max(instance.number());
            let version = definitions.version(log, submission.definition, submission.version);
            match version.await {
                Ok(workflow) => {
                    let run = Box::new(Run::new(*instance, workflow));
                    image.runs.insert(*instance, run);
                    let submission = definitions.share(submission.clone());
                    let event = workflow_instance::Event::Submitted(submission);
                    let fact = Fact::Workflow(*instance, event);
                    fold(image, *instance, &fact, recorded.sequence);
                }
                // A definition that this program cannot read stops its own runs, not the whole shard.
                Err(LogError::Corrupt(event)) => {
                    let state = format!("run {instance}");
                    image.corrupt.insert(*instance, Corrupt { state, event });
                }
                Err(error @ (LogError::Unavailable(_) | LogError::Unusable(_))) => {
                    return Err(error);
                }
            }
        }
        Fact::Workflow(instance, workflow_instance::Event::Restarted { .. })
            if !image.runs.contains_key(instance) && !image.corrupt.contains_key(instance) =>
        {
            revived.insert(*instance);
        }
        Fact::Workflow(instance, _) => fold(image, *instance, &fact, recorded.sequence),
        Fact::Task(task, _) => fold(image, task.instance, &fact, recorded.sequence),
        Fact::Trigger(..) => {}
        Fact::TaskGroup(name, event) => {
            let kept = image.groups.entry(name.clone()).or_default();
            keep_shared(kept, event, recorded)?;
        }
        Fact::SerialQueue(code, event) => {
            let kept = image.queues.entry(*code).or_default();
            keep_shared(kept, event, recorded)?;
        }
        Fact::Environment(name, event) => {
            let kept = image.environments.entry(name.clone()).or_default();
            keep_shared(kept, event, recorded)?;
        }
    }
    Ok(())
}

/// Folds one event of something that runs share.
fn keep_shared<A: Aggregate + Default>(
    kept: &mut Kept<A>,
    event: &A::Event,
    recorded: &Recorded,
) -> Result<(), LogError> {
    kept.state = std::mem::take(&mut kept.state)
        .evolve(event)
        .map_err(|corrupt| LogError::Corrupt(format!("{}: {corrupt}", recorded.stream)))?;
    kept.sequence = recorded.sequence;
    Ok(())
}

/// Folds one fact into its run. A run that is not there was at rest before: what came later is of no
/// consequence for what is to be done next, unless it was begun again, and then it is read whole.
fn fold(image: &mut Image, instance: InstanceId, fact: &Fact, sequence: u64) {
    let Some(run) = image.runs.get_mut(&instance) else {
        return;
    };
    match contained(instance, || run.evolve(fact, sequence)).flatten() {
        Ok(()) => {}
        Err(corrupt) => {
            tracing::error!(%instance, %corrupt, "a run's events cannot be folded; it stands still, others go on");
            image.runs.remove(&instance);
            image.corrupt.insert(instance, corrupt);
        }
    }
}

fn instance_of(stream: &StreamId) -> Option<InstanceId> {
    match stream.kind {
        AggregateType::WorkflowInstance => stream.id.parse().ok().map(InstanceId),
        AggregateType::TaskInstance => stream.id.split('/').next()?.parse().ok().map(InstanceId),
        AggregateType::WorkflowDefinition
        | AggregateType::Trigger
        | AggregateType::TaskGroup
        | AggregateType::SerialQueue
        | AggregateType::Environment => None,
    }
}

/// Folds one run; nothing when there is none of this id.
pub async fn run(
    log: &dyn Log,
    definitions: &Definitions,
    instance: InstanceId,
) -> Result<Option<Run>, LogError> {
    let events = log.read_instance(instance, 0).await?;
    let mut run: Option<Run> = None;
    for recorded in &events {
        let fact = recorded.fact()?;
        if let Fact::Workflow(_, workflow_instance::Event::Submitted(submission)) = &fact {
            let workflow = definitions
                .version(log, submission.definition, submission.version)
                .await?;
            run = Some(Run::new(instance, workflow));
        }
        let Some(run) = &mut run else {
            return Err(LogError::Corrupt(format!(
                "the events of run {instance} do not begin with its submission"
            )));
        };
        contained(instance, || run.evolve(&fact, recorded.sequence))
            .flatten()
            .map_err(|corrupt| LogError::Corrupt(corrupt.to_string()))?;
    }
    Ok(run)
}
