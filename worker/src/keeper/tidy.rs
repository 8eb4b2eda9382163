//! The janitor: removes work directories behind everybody's back.

use std::path::PathBuf;

use tokio::sync::mpsc;

/// Removes work directories nobody needs any more, one after the other, in no hurry.
pub(super) async fn tidy(mut rubbish: mpsc::UnboundedReceiver<PathBuf>) {
    let mut paths = Vec::new();
    while rubbish.recv_many(&mut paths, 256).await > 0 {
        let batch = std::mem::take(&mut paths);
        let removing = tokio::task::spawn_blocking(move || {
            for path in batch {
                // Most are empty.
                if std::fs::remove_dir(&path).is_err()
                    && let Err(error) = std::fs::remove_dir_all(&path)
                    && error.kind() != std::io::ErrorKind::NotFound
                {
                    tracing::warn!(path = %path.display(), %error, "a work directory cannot be removed");
                }
                // The folder of the instance goes with its last attempt, and stays while there is another.
                let _ = path.parent().map(std::fs::remove_dir);
            }
        });
        let _ = removing.await;
    }
}
