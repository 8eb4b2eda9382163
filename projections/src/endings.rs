//! Who waits for the end of which run. The runner tells them when the end is in the tables, and hands them the
//! row that it has read in the same transaction; where it has none, whoever waits looks at the tables himself. Of
//! ends that another process has folded nobody here is told.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use domain::{Fact, InstanceId, workflow_instance};
use store::Understood;
use tokio::sync::watch;

use crate::Shared;
use crate::workflow_instances::InstanceRow;

/// What is told of a run that has ended: how the tables show it, if that was read.
type Shown = Option<Arc<InstanceRow>>;

/// Those who wait, by the run.
#[derive(Debug, Default)]
pub(crate) struct Endings(Mutex<HashMap<InstanceId, watch::Sender<Shown>>>);

impl Endings {
    /// The runs that end here and that somebody waits for.
    pub(crate) fn among<'a>(
        &self,
        events: impl Iterator<Item = &'a Understood>,
    ) -> Vec<InstanceId> {
        let waiting = self.waiting();
        if waiting.is_empty() {
            return Vec::new();
        }
        let mut ended: Vec<_> = events
            .filter_map(ended)
            .filter(|id| waiting.contains_key(id))
            .collect();
        ended.sort_unstable();
        ended.dedup();
        ended
    }

    /// Whether a run ends here that somebody waits for.
    pub(crate) fn concern<'a>(&self, events: impl IntoIterator<Item = &'a Understood>) -> bool {
        let waiting = self.waiting();
        if waiting.is_empty() {
            return false;
        }
        events
            .into_iter()
            .filter_map(ended)
            .any(|id| waiting.contains_key(&id))
    }

    /// These events are in the tables now, which show these runs like this.
    pub(crate) fn tell<'a>(
        &self,
        events: impl Iterator<Item = &'a Understood>,
        shown: Vec<InstanceRow>,
    ) {
        // Whoever has begun to wait meanwhile is among them, and has nothing read for him.
        let ended = self.among(events);
        let mut shown: HashMap<_, _> = shown.into_iter().map(|row| (row.id, row)).collect();
        let waiting = self.waiting();
        for id in ended {
            if let Some(teller) = waiting.get(&id) {
                teller.send_replace(shown.remove(&id).map(Arc::new));
            }
        }
    }

    fn waiting(&self) -> MutexGuard<'_, HashMap<InstanceId, watch::Sender<Shown>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The run that ends here.
fn ended(event: &Understood) -> Option<InstanceId> {
    match &event.fact {
        Fact::Workflow(id, workflow_instance::Event::Finished { .. }) => Some(*id),
        Fact::Workflow(..)
        | Fact::Task(..)
        | Fact::Definition(..)
        | Fact::Trigger(..)
        | Fact::TaskGroup(..)
        | Fact::SerialQueue(..)
        | Fact::Environment(..) => None,
    }
}

/// Where the end of a run is heard of.
pub struct Ending {
    shared: Arc<Shared>,
    id: InstanceId,
    told: watch::Receiver<Shown>,
    /// Whoever waits is content with what the tables showed when it was told.
    is_content: bool,
}

impl Ending {
    /// From now on.
    pub(crate) fn of(shared: Arc<Shared>, id: InstanceId, is_content: bool) -> Self {
        let told = {
            let mut waiting = shared.endings.waiting();
            let teller = waiting
                .entry(id)
                .or_insert_with(|| watch::Sender::new(None));
            teller.subscribe()
        };
        // The end may be here already, and rest.
        shared.callers.look();
        Self {
            shared,
            id,
            told,
            is_content,
        }
    }

    /// Waits until this process has folded an end of the run that had not been folded when this was asked for
    /// or last waited for. Answers how the tables showed the run then, if that is known. Dropping the future
    /// loses nothing.
    pub async fn told(&mut self) -> Option<InstanceRow> {
        // The teller lives as long as anybody listens.
        let _ = self.told.changed().await;
        let shown = self.told.borrow_and_update().clone();
        shown.filter(|_| self.is_content).map(Arc::unwrap_or_clone)
    }
}

impl Drop for Ending {
    fn drop(&mut self) {
        let mut waiting = self.shared.endings.waiting();
        if waiting
            .get(&self.id)
            .is_some_and(|teller| teller.receiver_count() == 1)
        {
            waiting.remove(&self.id);
        }
    }
}
