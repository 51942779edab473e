//! `[plugins.messaging.auth]`.

use greyhound_sdk::config::{Problems, duration};
use serde::Deserialize;
use std::path::PathBuf;
use std::time::Duration;

/// `[plugins.messaging.auth]`.
#[derive(Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AuthConfig {
    /// The secret that signs tokens.
    pub secret: Option<String>,
    /// A file that contains the secret.
    pub secret_file: Option<PathBuf>,
    /// The accepted signature algorithms: HS256, HS384, HS512.
    pub algorithms: Vec<String>,
    /// The claim that holds the user's id. If a token lacks it, `sub` is used.
    pub user_claim: String,
    /// The claim that holds the site. It takes precedence over the Origin header.
    pub site_claim: String,
    /// Whether a token without the site claim gets its site from the Origin header. Any program can forge that header.
    pub site_from_origin: bool,
    /// The claim that lists the rooms to join.
    pub rooms_claim: String,
    /// The claim that lists the rooms, as names or patterns, that the client may join and leave by itself.
    pub join_claim: String,
    /// Whether unauthenticated clients receive messages to everybody and are listed among the sockets.
    pub guests: bool,
    /// How long a client may take to authenticate.
    #[serde(with = "duration")]
    pub timeout: Duration,
}

impl Default for AuthConfig {
    fn default() -> Self {
        Self {
            secret: None,
            secret_file: None,
            algorithms: ["HS256", "HS384", "HS512"].map(str::to_owned).to_vec(),
            user_claim: "id".into(),
            site_claim: "site".into(),
            site_from_origin: true,
            rooms_claim: "rooms".into(),
            join_claim: "join".into(),
            guests: false,
            timeout: Duration::from_secs(5),
        }
    }
}

impl std::fmt::Debug for AuthConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let secret = self.secret.as_ref().map(|_| "(hidden)");
        f.debug_struct("AuthConfig")
            .field("secret", &secret)
            .field("secret_file", &self.secret_file)
            .finish_non_exhaustive()
    }
}

impl AuthConfig {
    pub(crate) fn check(&self, problems: &mut Problems) {
        if self.secret.is_some() && self.secret_file.is_some() {
            problems.report("auth.secret_file", "auth.secret is set as well: set only one of the two");
        }
        if self.secret.as_ref().is_some_and(String::is_empty) {
            problems.report("auth.secret", "is empty: expected the secret that signs tokens");
        }
        if self.algorithms.is_empty() {
            problems.report("auth.algorithms", "is empty: expected some of \"HS256\", \"HS384\", \"HS512\"");
        }
        for bad in self.algorithms.iter().filter(|a| !["HS256", "HS384", "HS512"].contains(&a.as_str())) {
            problems.report(
                "auth.algorithms",
                format!("`{bad}` is not supported: expected some of \"HS256\", \"HS384\", \"HS512\""),
            );
        }
    }
}
