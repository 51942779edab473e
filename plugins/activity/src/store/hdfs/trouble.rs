//! What the client's errors mean for the sink.

use super::super::{Passing, Refusal, Trouble};
use hdfs_native::HdfsError;
use std::io;

impl From<HdfsError> for Trouble {
    fn from(error: HdfsError) -> Self {
        match error {
            HdfsError::RPCError(class, text) | HdfsError::FatalRPCError(class, text) => of_class(&class, &text),
            HdfsError::IOError(e) if e.kind() == io::ErrorKind::TimedOut => Self::passing(Passing::Timeout, e),
            HdfsError::IOError(e) if e.kind() == io::ErrorKind::ConnectionAborted => {
                // The client does not tell what the NameNode said before.
                Self::passing(Passing::HungUp, "the NameNode closed the connection without an answer")
            }
            HdfsError::IOError(e) => Self::passing(Passing::Unreachable, e),
            // What follows in its text is the list of DataNodes, as a dump.
            HdfsError::DataTransferError(text) if text.starts_with(NOBODY_READS) => {
                Self::passing(Passing::Unreachable, NO_COPY)
            }
            e @ (HdfsError::DataTransferError(_) | HdfsError::BlocksNotFound(_)) => {
                Self::passing(Passing::Unreachable, e)
            }
            HdfsError::GSSAPIError(_, _, text) if text.contains(NO_KDC) => {
                Self::passing(Passing::Unreachable, format!("Kerberos: {text}"))
            }
            HdfsError::GSSAPIError(_, _, text) => Self::refused(Refusal::Identity, format!("Kerberos: {text}")),
            e @ (HdfsError::SASLError(_) | HdfsError::NoSASLMechanism) => Self::refused(Refusal::Identity, e),
            e @ HdfsError::IsADirectoryError(_) => Self::refused(Refusal::Obstacle, e),
            e @ (HdfsError::InvalidArgument(_)
            | HdfsError::UrlParseError(_)
            | HdfsError::XmlParseError(_)
            | HdfsError::UnsupportedFeature(_)
            | HdfsError::UnsupportedErasureCodingPolicy(_)) => Self::refused(Refusal::Settings, e),
            e => Self::passing(Passing::Other, first_line(&e.to_string())),
        }
    }
}

/// What the client says of a file whose copies are all corrupt, or on DataNodes that are dead.
const NOBODY_READS: &str = "All DataNodes failed";
const NO_COPY: &str = "no DataNode can read its copy: all copies are corrupt, or their DataNodes are dead (`hdfs fsck <path> -files -blocks -locations` tells)";
/// What a NameNode says that finds no DataNode for a new block, although none was left out: all are full, or too busy.
const NO_ROOM: [&str; 2] = ["could only be written to", "no node(s) are excluded"];
/// ... or there are none.
const NO_DATANODE: &str = "There are 0 datanode(s)";
/// What a NameNode with Kerberos says to a client without it.
const WRONG_METHOD: &str = "SIMPLE authentication is not enabled";
/// What a NameNode says of a file on the way to another one.
const NOT_A_DIRECTORY: &str = "(is not a directory)";
/// What Kerberos says where it reaches no KDC: its numbers for faults differ from process to process.
const NO_KDC: &str = "Cannot contact any KDC";

/// What the NameNode says, by the class of its exception.
fn of_class(class: &str, text: &str) -> Trouble {
    let name = class.rsplit(['.', '$']).next().unwrap_or(class);
    let why = format!("{name}: {}", first_line(text));
    match name {
        "SafeModeException" | "RetriableException" => Trouble::passing(Passing::SafeMode, why),
        "StandbyException" => Trouble::passing(Passing::Unreachable, why),
        "DSQuotaExceededException" | "NSQuotaExceededException" | "QuotaByStorageTypeExceededException" => {
            Trouble::refused(Refusal::Quota, why)
        }
        "AccessControlException" if text.starts_with(WRONG_METHOD) => Trouble::refused(Refusal::Identity, why),
        // On the way down, whoever is not the superuser is told so.
        "AccessControlException" if text.contains(NOT_A_DIRECTORY) => Trouble::refused(Refusal::Obstacle, why),
        "AccessControlException" => Trouble::refused(Refusal::Permission, why),
        "IOException" if NO_ROOM.iter().all(|part| text.contains(part)) && !text.contains(NO_DATANODE) => {
            Trouble::refused(Refusal::Full, why)
        }
        "AuthorizationException" | "SaslException" | "GSSException" | "InvalidToken" => {
            Trouble::refused(Refusal::Identity, why)
        }
        "ParentNotDirectoryException" | "PathIsNotEmptyDirectoryException" => Trouble::refused(Refusal::Obstacle, why),
        _ => Trouble::passing(Passing::Other, why),
    }
}

/// Whether the client says that there is no such file or directory. Some calls tell by the class of the exception
/// alone.
pub(super) fn is_missing(error: &HdfsError) -> bool {
    match error {
        HdfsError::FileNotFound(_) => true,
        HdfsError::RPCError(class, _) => class == "java.io.FileNotFoundException",
        _ => false,
    }
}

/// The NameNode sends its stack along.
fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rpc(class: &str, text: &str) -> Trouble {
        HdfsError::RPCError(class.into(), text.into()).into()
    }

    #[test]
    fn what_ends_by_itself_is_told_from_what_an_operator_ends() {
        let safe = rpc(
            "org.apache.hadoop.hdfs.server.namenode.SafeModeException",
            "Cannot create file/x.\n\tat org.apache...",
        );
        assert_eq!(safe, Trouble::passing(Passing::SafeMode, "SafeModeException: Cannot create file/x."));
        let quota =
            rpc("org.apache.hadoop.hdfs.protocol.DSQuotaExceededException", "The DiskSpace quota of /t is exceeded");
        assert!(matches!(quota, Trouble::Refused { cause: Refusal::Quota, .. }));
        assert!(quota.to_string().ends_with("raise the quota, or make room below it"), "{quota}");
        let denied = rpc("org.apache.hadoop.security.AccessControlException", "Permission denied: user=x");
        assert!(matches!(denied, Trouble::Refused { cause: Refusal::Permission, .. }));
        let obstacle = rpc("org.apache.hadoop.security.AccessControlException", "/t/_staging/x (is not a directory)");
        assert!(matches!(obstacle, Trouble::Refused { cause: Refusal::Obstacle, .. }));
        let file = |running: u32| {
            let text = format!(
                "File /t/x could only be written to 0 of the 1 minReplication nodes. There are {running} datanode(s) running and no node(s) are \
                 excluded in this operation."
            );
            rpc("java.io.IOException", &text)
        };
        assert!(
            matches!(file(3), Trouble::Refused { cause: Refusal::Full, .. })
                && file(3).to_string().ends_with("make room")
        );
        assert!(matches!(file(0), Trouble::Passing { .. }));
        let corrupt: Trouble =
            HdfsError::DataTransferError("All DataNodes failed: [DatanodeInfoProto { id: ..".into()).into();
        assert!(corrupt.to_string().contains("hdfs fsck") && !corrupt.to_string().contains("Proto"), "{corrupt}");
        let away: Trouble = HdfsError::IOError(io::ErrorKind::ConnectionRefused.into()).into();
        assert!(matches!(away, Trouble::Passing { cause: Passing::Unreachable, .. }));
    }
}
