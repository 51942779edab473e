//! Keeps the revocations in a file, for the next start.

use super::subject::Revocation;
use super::table::Revocations;
use greyhound_sdk::fs::{self, OsFileSystem, SharedFs};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::sleep;

/// The file in the plugin's directory.
const FILE: &str = "revocations.json";
/// Pause after a failed attempt to write the file.
const RETRY_PAUSE: Duration = Duration::from_secs(1);

/// Writes the revocations to a file whenever they change.
pub(crate) struct Kept {
    pub(crate) revocations: Arc<Revocations>,
    files: SharedFs,
    path: PathBuf,
    written: watch::Sender<Written>,
}

/// The last attempt to write the file.
#[derive(Debug, Clone)]
struct Written {
    /// The number of the last change that the attempt included.
    change: u64,
    result: Result<(), Arc<str>>,
}

impl Kept {
    /// Restores the revocations in `dir`.
    ///
    /// # Errors
    /// If the file cannot be read: without it, revoked tokens would be accepted.
    pub(crate) fn restore(revocations: Arc<Revocations>, dir: &Path) -> Result<Self, String> {
        let path = dir.join(FILE);
        revocations.restore(read(&path)?);
        let written = watch::Sender::new(Written { change: 0, result: Ok(()) });
        Ok(Self { revocations, files: Arc::new(OsFileSystem), path, written })
    }

    /// Writes the file after each change, until dropped. Changes that are made while it is written are written together.
    pub(crate) async fn run(&self) {
        let mut changes = self.revocations.changes();
        while changes.wait_for(|change| *change > self.change_written()).await.is_ok() {
            self.write_changes().await;
            if self.written.borrow().result.is_err() {
                sleep(RETRY_PAUSE).await;
            }
        }
    }

    /// Writes the last changes.
    pub(crate) async fn finish(&self) {
        if *self.revocations.changes().borrow() > self.change_written() {
            self.write_changes().await;
        }
    }

    async fn write_changes(&self) {
        let change = *self.revocations.changes().borrow();
        let failed_before = self.written.borrow().result.is_err();
        let result = self.write().await;
        match &result {
            Err(why) if !failed_before => tracing::error!(
                path = %self.path.display(), error = %why,
                "revocations cannot be written: after a restart, this node may accept revoked tokens; retrying"
            ),
            Ok(()) if failed_before => tracing::info!(path = %self.path.display(), "revocations are written again"),
            _ => {}
        }
        self.written.send_replace(Written { change, result });
    }

    /// The number of the last change that is durable.
    fn change_written(&self) -> u64 {
        let Written { change, result } = &*self.written.borrow();
        if result.is_ok() { *change } else { 0 }
    }

    async fn write(&self) -> Result<(), Arc<str>> {
        let (revocations, files, path) = (self.revocations.clone(), self.files.clone(), self.path.clone());
        let write = move || {
            let bytes = serde_json::to_vec(&revocations.all())?;
            fs::replace(&*files, &path, &bytes)
        };
        let written = tokio::task::spawn_blocking(write).await.map_err(io::Error::other).flatten();
        written.map_err(|e| e.to_string().into())
    }

    /// Waits until the change with this number is durable.
    ///
    /// # Errors
    /// Why the attempt to write it failed.
    pub(crate) async fn durable(&self, change: u64) -> Result<(), String> {
        match self.written.subscribe().wait_for(|written| written.change >= change).await.map(|written| written.clone())
        {
            Ok(Written { result, .. }) => result.map_err(|why| format!("{}: {why}", self.path.display())),
            Err(_) => Err("the gateway is closing".into()),
        }
    }
}

/// Checks that the revocations in `dir` can be read.
///
/// # Errors
/// What is wrong with the file.
pub(crate) fn look(dir: &Path) -> Result<(), String> {
    read(&dir.join(FILE)).map(drop)
}

fn read(path: &Path) -> Result<Vec<Revocation>, String> {
    let remedy = "restore the file, or remove it: then revoked tokens are accepted unless another node of the cluster knows that they are revoked";
    let bytes = match fs::read(&OsFileSystem, path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.map_err(|e| format!("{} cannot be read: {e}; {remedy}", path.display()))?,
    };
    serde_json::from_slice(&bytes).map_err(|e| format!("{} is damaged: {e}; {remedy}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::super::Subject;
    use super::*;
    use crate::rows::Topics;

    fn revocations() -> Arc<Revocations> {
        Arc::new(Revocations::new(None, Arc::new(Topics::for_tests())))
    }

    #[tokio::test]
    async fn revocations_survive_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let kept = Kept::restore(revocations(), dir.path()).unwrap();
        let change = kept.revocations.revoke(Subject::User("7".into()), 100, "http").unwrap();
        tokio::select! {
            () = kept.run() => {}
            durable = kept.durable(change.number) => durable.unwrap(),
        }
        kept.revocations.revoke(Subject::Jti("j".into()), 100, "http").unwrap();
        kept.finish().await;
        let restored = Kept::restore(revocations(), dir.path()).unwrap().revocations;
        assert_eq!(restored.difference(&kept.revocations.all()), (Vec::new(), Vec::new()));
        assert_eq!(restored.all().len(), 2);
    }

    #[tokio::test]
    async fn a_change_that_cannot_be_written_is_reported_and_written_later() {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("data");
        let kept = Kept::restore(revocations(), &data).unwrap();
        let change = kept.revocations.revoke(Subject::User("7".into()), 100, "http").unwrap();
        let durable = async {
            assert!(kept.durable(change.number).await.unwrap_err().contains(FILE));
            std::fs::create_dir(&data).unwrap();
            while kept.durable(change.number).await.is_err() {
                tokio::task::yield_now().await;
            }
        };
        tokio::select! {
            () = kept.run() => {}
            () = durable => {}
        }
        assert!(read(&data.join(FILE)).unwrap().len() == 1);
    }

    #[test]
    fn a_damaged_file_is_not_taken_for_an_empty_one() {
        let dir = tempfile::tempdir().unwrap();
        for text in ["", "[", "{}", r#"[{"subject": "nobody", "at": 1, "issued_before": 1}]"#] {
            std::fs::write(dir.path().join(FILE), text).unwrap();
            let why = look(dir.path()).unwrap_err();
            assert!(why.contains("is damaged") && why.contains(FILE), "{why}");
            assert!(Kept::restore(revocations(), dir.path()).is_err());
        }
    }
}
