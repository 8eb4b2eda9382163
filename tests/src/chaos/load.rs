//! Somebody who starts runs all the time, at any engine, and does not give up.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::Duration;

use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, sleep_until};

use super::shape::Shape;
use crate::dice::Dice;
use crate::fleet::{Asker, Client, Unanswered};

/// A run that somebody was promised.
#[derive(Clone, Debug)]
pub struct Started {
    /// Its id.
    pub id: u64,
    /// What it must become.
    pub shape: Arc<Shape>,
    /// The key it was asked for with.
    pub key: String,
}

/// Runs being started.
pub struct Load {
    stop: Arc<AtomicBool>,
    starting: JoinHandle<Result<Vec<Started>, Unanswered>>,
}

impl Load {
    /// Stores the workflows, and starts so many tasks per second.
    ///
    /// # Panics
    /// When a workflow is refused.
    pub fn begin(
        client: &Client,
        mixture: Vec<(Shape, usize)>,
        side: &Path,
        rate: f64,
        dice: Dice,
    ) -> Self {
        for (shape, _) in &mixture {
            client.define(shape.name, &shape.document(side));
        }
        let often = |(shape, often): (Shape, usize)| {
            let shape = Arc::new(shape);
            vec![shape; often]
        };
        let shapes: Vec<_> = mixture.into_iter().flat_map(often).collect();
        let stop = Arc::new(AtomicBool::new(false));
        let asker = client.asker().clone();
        let starting = start_all(asker, shapes, rate, dice, stop.clone());
        Self {
            stop,
            starting: client.runtime().spawn(starting),
        }
    }

    /// Starts nothing new, waits until everything has been promised, and answers it.
    ///
    /// # Panics
    /// When nobody answers for minutes, or a run is refused.
    pub fn end(self, client: &Client) -> Vec<Started> {
        self.stop.store(true, SeqCst);
        let started = client.runtime().block_on(self.starting);
        let started = started.expect("the load does not panic");
        started.unwrap_or_else(|problem| panic!("a run cannot be started: {problem}"))
    }
}

async fn start_all(
    asker: Asker,
    shapes: Vec<Arc<Shape>>,
    rate: f64,
    mut dice: Dice,
    stop: Arc<AtomicBool>,
) -> Result<Vec<Started>, Unanswered> {
    let mut asking = JoinSet::new();
    let mut due = Instant::now();
    for number in 0_u32.. {
        if stop.load(SeqCst) {
            break;
        }
        let shape = shapes[dice.below(shapes.len())].clone();
        let tasks = u32::try_from(shape.size()).unwrap_or(u32::MAX);
        due += Duration::from_secs_f64(f64::from(tasks) / rate);
        let asker = asker.clone();
        asking.spawn(async move {
            let key = format!("load-{number}");
            let id = asker.start(shape.name, &key).await?;
            Ok(Started { id, shape, key })
        });
        // However long the answers take: clients do not wait for each other.
        sleep_until(due).await;
    }
    asking.join_all().await.into_iter().collect()
}
