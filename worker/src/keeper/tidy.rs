//! The janitor: removes work directories behind everybody's back.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::sync::mpsc;

use crate::spares::Spares;

/// Removes work directories nobody needs any more, one after the other, in no hurry; or makes them spare.
pub(super) async fn tidy(mut rubbish: mpsc::UnboundedReceiver<PathBuf>, spares: Arc<Spares>) {
    let mut paths = Vec::new();
    while rubbish.recv_many(&mut paths, 256).await > 0 {
        let (batch, spares) = (std::mem::take(&mut paths), spares.clone());
        let removing = tokio::task::spawn_blocking(move || {
            for path in batch {
                if !spares.keep(&path) {
                    remove(&path);
                }
            }
        });
        let _ = removing.await;
    }
}

fn remove(path: &Path) {
    if let Err(error) = std::fs::remove_dir_all(path)
        && error.kind() != std::io::ErrorKind::NotFound
    {
        tracing::warn!(path = %path.display(), %error, "a work directory cannot be removed");
    }
}
