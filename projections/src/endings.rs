//! Who waits for the end of which run. The runner tells them when the end is in the tables; it is a hint, and
//! whoever waits looks at the tables himself. Of ends that another process has folded nobody here is told.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use domain::{Fact, InstanceId, workflow_instance};
use tokio::sync::watch;

use crate::Shared;
use crate::batch::Understood;

/// Those who wait, by the run.
#[derive(Debug, Default)]
pub(crate) struct Endings(Mutex<HashMap<InstanceId, watch::Sender<()>>>);

impl Endings {
    /// These events are in the tables now.
    pub(crate) fn tell(&self, events: &[Understood]) {
        let waiting = self.waiting();
        if waiting.is_empty() {
            return;
        }
        for event in events {
            if let Fact::Workflow(id, workflow_instance::Event::Finished { .. }) = &event.fact
                && let Some(waiting) = waiting.get(id)
            {
                waiting.send_replace(());
            }
        }
    }

    fn waiting(&self) -> MutexGuard<'_, HashMap<InstanceId, watch::Sender<()>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where the end of a run is heard of.
pub struct Ending {
    shared: Arc<Shared>,
    id: InstanceId,
    told: watch::Receiver<()>,
}

impl Ending {
    /// From now on.
    pub(crate) fn of(shared: Arc<Shared>, id: InstanceId) -> Self {
        let told = {
            let mut waiting = shared.endings.waiting();
            let teller = waiting.entry(id).or_insert_with(|| watch::Sender::new(()));
            teller.subscribe()
        };
        Self { shared, id, told }
    }

    /// Waits until this process has folded an end of the run that had not been folded when this was asked for
    /// or last waited for. Dropping the future loses nothing.
    pub async fn told(&mut self) {
        // The teller lives as long as anybody listens.
        let _ = self.told.changed().await;
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
