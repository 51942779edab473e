//! What the client's errors mean, in words: it tells most of them as Rust prints them for programmers.

use super::RedisError;
use fred::error::{Error, ErrorKind};

impl From<Error> for RedisError {
    fn from(error: Error) -> Self {
        let details = error.details();
        let refused = *error.kind() == ErrorKind::Auth || is_answer(details);
        let why = match error.kind() {
            _ if refused => details.trim_end_matches('.').to_owned(),
            ErrorKind::IO | ErrorKind::Tls | ErrorKind::Url => plain(details),
            ErrorKind::Timeout => "it does not answer in time".to_owned(),
            ErrorKind::Canceled => "the connection ended".to_owned(),
            _ => plain(details),
        };
        let remedy = remedy(&why).map(|remedy| format!("; {remedy}")).unwrap_or_default();
        Self { why: format!("{why}{remedy}").into(), refused }
    }
}

/// Whether Redis said it: its errors begin with a code, such as `WRONGPASS`.
fn is_answer(details: &str) -> bool {
    let code = details.trim_start_matches('-').split(' ').next().unwrap_or_default();
    code.len() > 2 && code.bytes().all(|byte| byte.is_ascii_uppercase())
}

fn remedy(why: &str) -> Option<&'static str> {
    let table = [
        ("WRONGPASS", "mend the user and the password in plugins.messaging.redis.url"),
        ("NOAUTH", "put the user and the password into plugins.messaging.redis.url"),
        ("NOPERM", "the user needs `allchannels +@pubsub +@connection +info`, and in a Redis Cluster `+cluster`"),
        ("unknown command", "Redis 6 or later is needed, and Redis 7 for mode = \"sharded\""),
        ("max number of clients", "raise Redis' maxclients"),
        ("DENIED", "give Redis a password, or let it listen on loopback only"),
        ("cluster support disabled", "write redis:// in plugins.messaging.redis.url"),
        ("refused", "start Redis there, or mend plugins.messaging.redis.url"),
        ("certificate", "let SSL_CERT_FILE name the certificates to trust, and the URL a host that they are for"),
        ("corrupt message", "does it speak TLS? Write redis:// in plugins.messaging.redis.url if not"),
        ("lookup", "mend the host in plugins.messaging.redis.url"),
        ("does not answer", "is it Redis, and does a firewall let this node through? With TLS, write rediss://"),
    ];
    table.into_iter().find(|(sign, _)| why.contains(sign)).map(|(_, remedy)| remedy)
}

/// What an error says that is printed as `Os { code: 111, kind: ConnectionRefused, message: "Connection refused" }` and
/// the like.
fn plain(details: &str) -> String {
    if let Some((message, _)) = details.split_once("message: \"").and_then(|(_, rest)| rest.split_once('"')) {
        return message.to_owned();
    }
    let inner = details.rsplit_once("error: ").map_or(details, |(_, inner)| inner);
    let inner = inner.trim_end_matches([' ', '}']);
    if let Some((text, _)) = inner.strip_prefix('"').and_then(|rest| rest.split_once('"')) {
        return text.to_owned();
    }
    // `InvalidCertificate(UnknownIssuer)`, `Kind(UnexpectedEof)`; what is in braces is for programmers.
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
    fn errors_are_words_with_what_to_do() {
        let said = |kind, details: &'static str| RedisError::from(Error::new(kind, details)).to_string();
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
                "invalid certificate: unknown issuer; let",
            ),
            (
                ErrorKind::IO,
                r#"Custom { kind: InvalidData, error: InvalidCertificate(NotValidForNameContext { expected: DnsName("a") }) }"#,
                "invalid certificate: not valid for name context; let",
            ),
            (
                ErrorKind::IO,
                r#"Custom { kind: Uncategorized, error: "failed to lookup address information: Name or service not known" }"#,
                "failed to lookup address information: Name or service not known; mend the host",
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
            (ErrorKind::Timeout, "Request timed out.", "it does not answer in time; is it"),
        ] {
            let said = said(kind, details);
            assert!(said.starts_with(expected), "{said}");
            assert!(!said.contains(['{', '}']), "{said}");
        }
    }

    #[test]
    fn it_is_known_whether_redis_said_it() {
        let refused = |details: &'static str| RedisError::from(Error::new(ErrorKind::Unknown, details)).refused;
        assert!(
            refused("NOPERM this user")
                && refused("ERR unknown command")
                && refused("-DENIED Redis is running in protected mode")
        );
        assert!(!refused("Connection closed") && !refused("it ended"));
    }
}
