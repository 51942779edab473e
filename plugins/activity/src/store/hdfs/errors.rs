//! What the client's errors mean to the sink.

use super::super::{Failure, Refusal, Transient};
use hdfs_native::HdfsError;
use std::io;

impl From<HdfsError> for Failure {
    fn from(error: HdfsError) -> Self {
        match error {
            HdfsError::RPCError(class, text) | HdfsError::FatalRPCError(class, text) => of_class(&class, &text),
            HdfsError::IOError(e) if e.kind() == io::ErrorKind::TimedOut => Self::transient(Transient::Timeout, e),
            HdfsError::IOError(e) if e.kind() == io::ErrorKind::ConnectionAborted => {
                // The client does not report what the NameNode said before.
                Self::transient(Transient::HungUp, "the NameNode closed the connection without an answer")
            }
            HdfsError::IOError(e) => Self::transient(Transient::Unreachable, e),
            // Its text goes on with a dump of the DataNodes.
            HdfsError::DataTransferError(text) if text.starts_with(NOBODY_READS) => {
                Self::transient(Transient::Unreachable, NO_COPY)
            }
            e @ (HdfsError::DataTransferError(_) | HdfsError::BlocksNotFound(_)) => {
                Self::transient(Transient::Unreachable, e)
            }
            HdfsError::GSSAPIError(_, _, text) if text.contains(NO_KDC) => {
                Self::transient(Transient::Unreachable, format!("Kerberos: {text}"))
            }
            HdfsError::GSSAPIError(_, _, text) => Self::refused(Refusal::Identity, format!("Kerberos: {text}")),
            e @ (HdfsError::SASLError(_) | HdfsError::NoSASLMechanism) => Self::refused(Refusal::Identity, e),
            e @ HdfsError::IsADirectoryError(_) => Self::refused(Refusal::Obstacle, e),
            e @ (HdfsError::InvalidArgument(_)
            | HdfsError::UrlParseError(_)
            | HdfsError::XmlParseError(_)
            | HdfsError::UnsupportedFeature(_)
            | HdfsError::UnsupportedErasureCodingPolicy(_)) => Self::refused(Refusal::Settings, e),
            e => Self::transient(Transient::Other, first_line(&e.to_string())),
        }
    }
}

/// The client's error for a file whose copies are all corrupt or on dead DataNodes.
const NOBODY_READS: &str = "All DataNodes failed";
const NO_COPY: &str = "no DataNode can read its copy: all copies are corrupt, or their DataNodes are dead (`hdfs fsck <path> -files -blocks -locations` tells)";
/// The NameNode's error if it finds no DataNode for a new block although none was excluded: all are full, or too busy.
const NO_ROOM: [&str; 2] = ["could only be written to", "no node(s) are excluded"];
/// ... unless there are none.
const NO_DATANODE: &str = "There are 0 datanode(s)";
/// The error of a NameNode with Kerberos to a client without it.
const WRONG_METHOD: &str = "SIMPLE authentication is not enabled";
/// The NameNode's error for a path through a file.
const NOT_A_DIRECTORY: &str = "(is not a directory)";
/// Kerberos's error if it reaches no KDC. Its error numbers differ between processes.
const NO_KDC: &str = "Cannot contact any KDC";

/// The NameNode's error, by the class of its exception.
fn of_class(class: &str, text: &str) -> Failure {
    let name = class.rsplit(['.', '$']).next().unwrap_or(class);
    let why = format!("{name}: {}", first_line(text));
    match name {
        "SafeModeException" | "RetriableException" => Failure::transient(Transient::SafeMode, why),
        "StandbyException" => Failure::transient(Transient::Unreachable, why),
        "DSQuotaExceededException" | "NSQuotaExceededException" | "QuotaByStorageTypeExceededException" => {
            Failure::refused(Refusal::Quota, why)
        }
        "AccessControlException" if text.starts_with(WRONG_METHOD) => Failure::refused(Refusal::Identity, why),
        // Users other than the superuser get this for a path through a file.
        "AccessControlException" if text.contains(NOT_A_DIRECTORY) => Failure::refused(Refusal::Obstacle, why),
        "AccessControlException" => Failure::refused(Refusal::Permission, why),
        "IOException" if NO_ROOM.iter().all(|part| text.contains(part)) && !text.contains(NO_DATANODE) => {
            Failure::refused(Refusal::Full, why)
        }
        "AuthorizationException" | "SaslException" | "GSSException" | "InvalidToken" => {
            Failure::refused(Refusal::Identity, why)
        }
        "ParentNotDirectoryException" | "PathIsNotEmptyDirectoryException" => Failure::refused(Refusal::Obstacle, why),
        _ => Failure::transient(Transient::Other, why),
    }
}

/// Whether the error means that there is no such file or directory. Some calls report only the class of the exception.
pub(super) fn is_missing(error: &HdfsError) -> bool {
    match error {
        HdfsError::FileNotFound(_) => true,
        HdfsError::RPCError(class, _) => class == "java.io.FileNotFoundException",
        _ => false,
    }
}

/// The text without the NameNode's stack trace.
fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rpc(class: &str, text: &str) -> Failure {
        HdfsError::RPCError(class.into(), text.into()).into()
    }

    #[test]
    fn what_ends_by_itself_is_told_from_what_an_operator_ends() {
        let safe = rpc(
            "org.apache.hadoop.hdfs.server.namenode.SafeModeException",
            "Cannot create file/x.\n\tat org.apache...",
        );
        assert_eq!(safe, Failure::transient(Transient::SafeMode, "SafeModeException: Cannot create file/x."));
        let quota =
            rpc("org.apache.hadoop.hdfs.protocol.DSQuotaExceededException", "The DiskSpace quota of /t is exceeded");
        assert!(matches!(quota, Failure::Refused { cause: Refusal::Quota, .. }));
        assert!(quota.to_string().ends_with("raise the quota, or make room below it"), "{quota}");
        let denied = rpc("org.apache.hadoop.security.AccessControlException", "Permission denied: user=x");
        assert!(matches!(denied, Failure::Refused { cause: Refusal::Permission, .. }));
        let obstacle = rpc("org.apache.hadoop.security.AccessControlException", "/t/_staging/x (is not a directory)");
        assert!(matches!(obstacle, Failure::Refused { cause: Refusal::Obstacle, .. }));
        let file = |running: u32| {
            let text = format!(
                "File /t/x could only be written to 0 of the 1 minReplication nodes. There are {running} datanode(s) running and no node(s) are \
                 excluded in this operation."
            );
            rpc("java.io.IOException", &text)
        };
        assert!(
            matches!(file(3), Failure::Refused { cause: Refusal::Full, .. })
                && file(3).to_string().ends_with("make room")
        );
        assert!(matches!(file(0), Failure::Transient { .. }));
        let corrupt: Failure =
            HdfsError::DataTransferError("All DataNodes failed: [DatanodeInfoProto { id: ..".into()).into();
        assert!(corrupt.to_string().contains("hdfs fsck") && !corrupt.to_string().contains("Proto"), "{corrupt}");
        let away: Failure = HdfsError::IOError(io::ErrorKind::ConnectionRefused.into()).into();
        assert!(matches!(away, Failure::Transient { cause: Transient::Unreachable, .. }));
    }
}
