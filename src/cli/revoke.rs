//! `greyhound revoke`

use super::admin::segment;
use super::failure::Failure;
use super::program::Program;
use clap::Args;
use serde::Serialize;
use std::io::{Write, stdout};
use std::time::{SystemTime, UNIX_EPOCH};

const HELP: &str = "\
Clients that authenticated with such a token are disconnected, on every node of the cluster.

Examples:
  greyhound revoke --user 7                                          all tokens of user 7 that were issued until now
  greyhound revoke --jti b5a1c0e2                                    one token, by its claim `jti`
  greyhound revoke --sid 08a5019c                                    the tokens of a session of OpenID Connect
  greyhound revoke --issued-before '2026-01-01T00:00:00Z'            all older tokens, whoever they are for
  greyhound revoke --withdraw --user 7                               accept them again

Exit status 3: the tokens are revoked on this node only, because the cluster cannot be reached.";

/// The tokens.
#[derive(Debug, Args, Serialize)]
#[command(after_help = HELP)]
pub(super) struct Revoke {
    #[command(flatten)]
    #[serde(flatten)]
    subject: Subject,
    /// Only tokens issued before this time: 2026-01-01T00:00:00Z, or seconds since 1970 [default: now]
    #[arg(long, value_name = "TIME", value_parser = time, conflicts_with_all = ["jti", "sid", "withdraw"])]
    #[serde(skip_serializing_if = "Option::is_none")]
    issued_before: Option<u64>,
    /// Withdraw the revocation. Without --user, --jti and --sid, that of all tokens
    #[arg(long)]
    #[serde(skip)]
    withdraw: bool,
}

/// Whose tokens.
#[derive(Debug, Args, Serialize)]
#[group(multiple = false)]
struct Subject {
    /// The tokens of this user
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<String>,
    /// The token with this claim `jti`
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    jti: Option<String>,
    /// The tokens with this claim `sid`
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    sid: Option<String>,
}

impl Revoke {
    pub(super) async fn run(self, program: &Program) -> Result<(), Failure> {
        let client = program.admin()?;
        let answer = if self.withdraw {
            client.delete(&format!("/v1/messaging/revocations{}", self.subject.query())).await?
        } else {
            let body = serde_json::to_vec(&self).map_err(|e| Failure::failed(e.to_string()))?;
            client.post("/v1/messaging/revocations", body).await?
        };
        match answer["local_sockets"].as_u64() {
            Some(1) => writeln!(stdout(), "revoked; 1 socket of this node is disconnected")?,
            Some(sockets) => writeln!(stdout(), "revoked; {sockets} sockets of this node are disconnected")?,
            None => writeln!(stdout(), "withdrawn")?,
        }
        match answer["cluster"]["reached"].as_bool() {
            Some(false) => Err(Failure::in_part(format!(
                "the other nodes were not told: {}; they will be, once the cluster can be reached",
                answer["cluster"]["why"].as_str().unwrap_or("the cluster cannot be reached")
            ))),
            _ => Ok(()),
        }
    }
}

impl Subject {
    fn query(&self) -> String {
        let pairs = [("user", &self.user), ("jti", &self.jti), ("sid", &self.sid)];
        let given = pairs.into_iter().find_map(|(key, value)| Some((key, value.as_ref()?)));
        given.map(|(key, value)| format!("?{key}={}", segment(value))).unwrap_or_default()
    }
}

fn time(text: &str) -> Result<u64, String> {
    let seconds = text.parse().ok().or_else(|| {
        let time: SystemTime = humantime::parse_rfc3339(text).ok()?;
        Some(time.duration_since(UNIX_EPOCH).ok()?.as_secs())
    });
    seconds.ok_or_else(|| "expected a time such as 2026-01-01T00:00:00Z, or seconds since 1970".to_owned())
}
