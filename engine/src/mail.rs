//! Letters from other engines: taken out of the log's letter box. A letter that is lost on the way is
//! written again by whoever still owes it, so nothing here need be careful.

use std::sync::Arc;
use std::time::Duration;

use domain::ShardId;
use store::Log;
use tokio::sync::{mpsc, watch};

use crate::core::{Input, Letter};
use crate::driver::Message;

/// How often the letter box is looked into, while there is another engine that may write.
const LOOK: Duration = Duration::from_millis(200);
/// How often to look whether there is one.
const ALONE: Duration = Duration::from_secs(1);

/// Takes letters in until the engine is gone. An engine that has every shard gets no letters.
pub(crate) async fn collect(
    log: Arc<dyn Log>,
    inbox: mpsc::UnboundedSender<Message>,
    ready: watch::Receiver<Vec<ShardId>>,
) {
    while !inbox.is_closed() {
        let shards = ready.borrow().clone();
        if shards.is_empty() || shards.len() == usize::from(log.shards()) {
            tokio::time::sleep(ALONE).await;
            continue;
        }
        match log.collect(&shards).await {
            Ok(letters) => {
                for body in letters {
                    match serde_json::from_str::<Letter>(&body) {
                        Ok(letter) => {
                            let _ = inbox.send(Message::Input(Input::Letter(letter)));
                        }
                        Err(error) => tracing::warn!(%error, "a letter that cannot be read"),
                    }
                }
            }
            Err(error) => tracing::debug!(%error, "the letter box cannot be read now"),
        }
        tokio::time::sleep(LOOK).await;
    }
}
