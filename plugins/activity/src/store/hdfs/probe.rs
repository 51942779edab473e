//! What HDFS reports about the tables' directory.

use super::super::probe::{Probe, Room, Status};
use super::super::{Failure, Store, StoreError};
use super::HdfsStore;
use super::session::Session;
use async_trait::async_trait;
use hdfs_native::client::{ContentSummary, FileStatus};
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

#[async_trait]
impl Probe for HdfsStore {
    fn shown(&self) -> String {
        match self.location.nameservice() {
            Some(name) => format!("the nameservice {name}"),
            None => format!("the NameNode of {}", self.location.url()),
        }
    }

    async fn status(&self, path: &str) -> Result<Option<Status>, StoreError> {
        self.ask("look at", path, |session, at| async move { Ok(session.info(&at).await?.map(Status::from)) }).await
    }

    async fn remove_directory(&self, path: &str) -> Result<(), StoreError> {
        // HDFS removes a directory with content only if asked to.
        self.remove(path).await
    }

    async fn room(&self, size: u64, sample: &str) -> Result<Room, StoreError> {
        let root = self.location.root().to_owned();
        let sample = self.at(sample);
        self.ask("measure the room below", "", |session, _| async move { room(&session, &root, size, &sample).await })
            .await
    }

    fn differences(&self, file: &Status, directory: &Status) -> Option<Vec<String>> {
        let wanted = &self.settings;
        let mut differences = Vec::new();
        let mut compare = |what: &str, found: String, wanted: String| {
            if found != wanted {
                differences.push(format!("{what} is {found} instead of {wanted}"));
            }
        };
        let bits = |status: &Status| format!("{:03o}", status.permission);
        compare("a file's permission", bits(file), wanted.file_permission.to_string());
        compare("a directory's permission", bits(directory), wanted.directory_permission.to_string());
        if let Some(group) = &wanted.group {
            compare("the group", file.group.clone(), group.clone());
        }
        if let Some(replication) = wanted.replication {
            compare("the replication", file.replication.to_string(), replication.to_string());
        }
        Some(differences)
    }
}

/// The tightest quota of `root` and the directories above it.
async fn room(session: &Arc<Session>, root: &str, size: u64, sample: &str) -> Result<Room, Failure> {
    let replication = session.info(sample).await?.and_then(|it| it.replication).unwrap_or(1);
    let needed = session.block_of(size) * u64::from(replication);
    let mut room = Room { limit: "HDFS".into(), free: None, needed, names: None };
    for at in upwards(root) {
        // Greyhound may lack permission to read directories above the tables' directory.
        let summary = match session.summary(at).await {
            Err(Failure::Refused { .. }) if at != root => continue,
            other => other?,
        };
        let free = left(summary.space_quota, summary.space_consumed);
        if free.is_some_and(|it| room.free.is_none_or(|least| it < least)) {
            room.free = free;
            room.limit = format!("the quota of {at}");
        }
        room.names = [room.names, left(summary.quota, names(&summary))].into_iter().flatten().min();
    }
    Ok(room)
}

/// A directory and those above it, without the root of the file system, whose content the NameNode takes long to count.
fn upwards(path: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(Some(path), |at| at.rsplit_once('/').map(|(parent, _)| parent))
        .take_while(|at| !at.is_empty())
}

fn names(summary: &ContentSummary) -> u64 {
    summary.file_count + summary.directory_count
}

/// What a quota leaves; -1 means no quota.
fn left(quota: u64, used: u64) -> Option<u64> {
    (quota as i64 >= 0).then(|| quota.saturating_sub(used))
}

impl From<FileStatus> for Status {
    fn from(status: FileStatus) -> Self {
        Self {
            modified: UNIX_EPOCH + Duration::from_millis(status.modification_time),
            owner: status.owner,
            group: status.group,
            permission: u32::from(status.permission) & 0o777,
            replication: status.replication.unwrap_or(1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotas_are_looked_for_upwards() {
        assert_eq!(upwards("/a/b/c").collect::<Vec<_>>(), ["/a/b/c", "/a/b", "/a"]);
        assert_eq!(left(u64::MAX, 5), None);
        assert_eq!(left(10, 4), Some(6));
        assert_eq!(left(4, 10), Some(0));
    }
}
