//! Starts runs and sees their ends, as so many clients at once would.

use std::cell::Cell;
use std::time::Instant;

use futures_util::future::try_join_all;

use crate::client::{Client, Started};
use crate::error::Error;
use crate::workload::Pace;

/// What one run of a workload took.
pub(crate) struct Driven {
    /// From the first request to the last end that was seen, in seconds.
    pub(crate) wall: f64,
    /// Of each workflow, in milliseconds: from sending the start to the answer that shows its end. Of a burst: to
    /// the answer to the start.
    pub(crate) latencies: Vec<f64>,
}

/// Runs so many workflows to their ends over these connections.
pub(crate) async fn drive(
    clients: &mut [Client],
    name: &str,
    instances: usize,
    pace: Pace,
) -> Result<Driven, Error> {
    let begun = Instant::now();
    let latencies = match pace {
        Pace::InFlight(_) => in_flight(clients, name, instances).await?,
        Pace::Burst(_) => burst(clients, name, instances).await?,
    };
    Ok(Driven {
        wall: begun.elapsed().as_secs_f64(),
        latencies,
    })
}

async fn in_flight(
    clients: &mut [Client],
    name: &str,
    instances: usize,
) -> Result<Vec<f64>, Error> {
    let left = Cell::new(instances);
    let each = clients.iter_mut().map(async |client| {
        let mut latencies = Vec::new();
        while take(&left) {
            let sent = Instant::now();
            client.run(name).await?;
            latencies.push(milliseconds(sent));
        }
        Ok::<_, Error>(latencies)
    });
    Ok(try_join_all(each).await?.concat())
}

async fn burst(clients: &mut [Client], name: &str, instances: usize) -> Result<Vec<f64>, Error> {
    let started = start_all(clients, name, instances).await?;
    let each = clients.iter_mut().zip(&started).map(async |(client, own)| {
        // The last one first: when it has ended, most of the others have, and waiting for them costs little.
        for (run, _) in own.iter().rev() {
            client.end(run).await?;
        }
        Ok::<_, Error>(())
    });
    try_join_all(each).await?;
    Ok(started
        .into_iter()
        .flatten()
        .map(|(_, took)| took)
        .collect())
}

/// Starts so many workflows as fast as that goes; the runs of each connection, and how long their starts took
/// in milliseconds.
pub(crate) async fn start_all(
    clients: &mut [Client],
    name: &str,
    instances: usize,
) -> Result<Vec<Vec<(Started, f64)>>, Error> {
    let left = Cell::new(instances);
    let each = clients.iter_mut().map(async |client| {
        let mut runs = Vec::new();
        while take(&left) {
            let sent = Instant::now();
            let run = client.start(name).await?;
            runs.push((run, milliseconds(sent)));
        }
        Ok::<_, Error>(runs)
    });
    try_join_all(each).await
}

/// Whether there is another one to start.
fn take(left: &Cell<usize>) -> bool {
    let some = left.get() > 0;
    left.set(left.get().saturating_sub(1));
    some
}

fn milliseconds(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1_000.0
}
