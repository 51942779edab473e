//! Readable errors. The client prints most of its errors in Rust's debug format.

use super::RedisError;
use fred::error::{Error, ErrorKind};

impl From<Error> for RedisError {
    fn from(error: Error) -> Self {
        let details = error.details();
        let refused = *error.kind() == ErrorKind::Auth || is_answer(details);
        let why = match error.kind() {
            _ if refused => details.trim_end_matches('.').to_owned(),
            ErrorKind::IO | ErrorKind::Tls | ErrorKind::Url => plain(details),
            ErrorKind::Timeout => "it did not answer in time".to_owned(),
            ErrorKind::Canceled => "the connection ended".to_owned(),
            _ => plain(details),
        };
        let remedy = remedy(&why).map(|remedy| format!("; {remedy}")).unwrap_or_default();
        Self { why: format!("{why}{remedy}").into(), refused }
    }
}

/// Whether Redis itself sent the error. Such errors begin with a code, such as `WRONGPASS`.
fn is_answer(details: &str) -> bool {
    let code = details.trim_start_matches('-').split(' ').next().unwrap_or_default();
    code.len() > 2 && code.bytes().all(|byte| byte.is_ascii_uppercase())
}

fn remedy(why: &str) -> Option<&'static str> {
    let table = [
        ("WRONGPASS", "correct the user and the password in plugins.messaging.redis.url"),
        ("NOAUTH", "add the user and the password to plugins.messaging.redis.url"),
        (
            "NOPERM",
            "the user needs `allchannels +@pubsub +@connection +info`, for revocations `~*-greyhound-revocations +zadd +zrem \
             +zrevrangebyscore +zremrangebyscore`, and in a Redis Cluster `+cluster`",
        ),
        ("unknown command", "use Redis 6 or later, or Redis 7 or later with mode = \"sharded\""),
        ("max number of clients", "raise maxclients in Redis"),
        ("DENIED", "give Redis a password, or let it listen on loopback only"),
        ("cluster support disabled", "write redis:// in plugins.messaging.redis.url"),
        ("refused", "start Redis there, or correct plugins.messaging.redis.url"),
        (
            "certificate",
            "set SSL_CERT_FILE to the certificates to trust, and name a host in the URL that they are valid for",
        ),
        ("corrupt message", "if Redis does not use TLS, write redis:// in plugins.messaging.redis.url"),
        ("lookup", "correct the host in plugins.messaging.redis.url"),
        (
            "did not answer",
            "check that it is Redis and that no firewall is in the way; if Redis uses TLS, write rediss://",
        ),
    ];
    table.into_iter().find(|(part, _)| why.contains(part)).map(|(_, remedy)| remedy)
}

/// Extracts the message from errors like `Os { code: 111, kind: ConnectionRefused, message: "Connection refused" }`.
fn plain(details: &str) -> String {
    if let Some((message, _)) = details.split_once("message: \"").and_then(|(_, rest)| rest.split_once('"')) {
        return message.to_owned();
    }
    let inner = details.rsplit_once("error: ").map_or(details, |(_, inner)| inner);
    let inner = inner.trim_end_matches([' ', '}']);
    if let Some((text, _)) = inner.strip_prefix('"').and_then(|rest| rest.split_once('"')) {
        return text.to_owned();
    }
    // `InvalidCertificate(UnknownIssuer)`, `Kind(UnexpectedEof)`. Details in braces are dropped.
    let name = inner.strip_prefix("Kind(").unwrap_or(inner).split(" {").next().unwrap_or(inner).trim_end_matches(')');
    if name.contains(' ') || name.is_empty() {
        return if name.is_empty() { "it failed".to_owned() } else { name.to_owned() };
    }
    let mut words = String::new();
    for letter in name.replace('(', ": ").chars() {
        match letter.is_uppercase() {
            true if words.is_empty() || words.ends_with(' ') => words.extend(letter.to_lowercase()),
            true => words.extend([' '].into_iter().chain(letter.to_lowercase())),
            false => words.push(letter),
        }
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_readable_and_name_a_remedy() {
        let message = |kind, details: &'static str| RedisError::from(Error::new(kind, details)).to_string();
        for (kind, details, expected) in [
            (
                ErrorKind::IO,
                r#"Os { code: 111, kind: ConnectionRefused, message: "Connection refused" }"#,
                "Connection refused; start Redis",
            ),
            (ErrorKind::IO, "Kind(UnexpectedEof)", "unexpected eof"),
            (
                ErrorKind::IO,
                "Custom { kind: InvalidData, error: InvalidCertificate(UnknownIssuer) }",
                "invalid certificate: unknown issuer; set",
            ),
            (
                ErrorKind::IO,
                r#"Custom { kind: InvalidData, error: InvalidCertificate(NotValidForNameContext { expected: DnsName("a") }) }"#,
                "invalid certificate: not valid for name context; set",
            ),
            (
                ErrorKind::IO,
                r#"Custom { kind: Uncategorized, error: "failed to lookup address information: Name or service not known" }"#,
                "failed to lookup address information: Name or service not known; correct the host",
            ),
            (
                ErrorKind::Auth,
                "WRONGPASS invalid username-password pair or user is disabled.",
                "WRONGPASS invalid username-password pair or user",
            ),
            (
                ErrorKind::Unknown,
                "NOPERM this user has no permissions",
                "NOPERM this user has no permissions; the user needs",
            ),
            (ErrorKind::Timeout, "Request timed out.", "it did not answer in time; check that"),
        ] {
            let message = message(kind, details);
            assert!(message.starts_with(expected), "{message}");
            assert!(!message.contains(['{', '}']), "{message}");
        }
    }

    #[test]
    fn errors_of_redis_itself_are_recognized() {
        let refused = |details: &'static str| RedisError::from(Error::new(ErrorKind::Unknown, details)).refused;
        assert!(
            refused("NOPERM this user")
                && refused("ERR unknown command")
                && refused("-DENIED Redis is running in protected mode")
        );
        assert!(!refused("Connection closed") && !refused("it ended"));
    }
}
