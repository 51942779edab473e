//! `[plugins.messaging.authorization]`.

use crate::event_names::RESERVED;
use crate::http_client::check_url;
use axum::http::HeaderValue;
use greyhound_sdk::config::{Problems, duration};
use greyhound_sdk::paths;
use serde::Deserialize;
use std::path::PathBuf;
use std::time::Duration;

/// `[plugins.messaging.authorization]`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AuthorizationConfig {
    /// The URL that is asked. Without one, nothing is asked.
    pub url: Option<String>,
    /// A file with the token that the endpoint expects as `Authorization: Bearer`.
    pub token_file: Option<PathBuf>,
    /// Whether to ask about each client whose token is valid.
    pub connect: bool,
    /// The claims that a question about a client contains.
    pub claims: Vec<String>,
    /// The pushed events to ask about.
    pub events: Vec<String>,
    /// How long a question may take, including the wait for other questions.
    #[serde(with = "duration")]
    pub timeout: Duration,
    /// How many questions may be asked at the same time.
    pub concurrency: usize,
    /// How long an answer is used for the same question.
    #[serde(with = "duration")]
    pub cache: Duration,
    /// What happens if there is no answer.
    pub on_failure: OnFailure,
}

/// What happens if the endpoint gives no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnFailure {
    /// It is allowed.
    Open,
    /// It is refused.
    Closed,
}

impl Default for AuthorizationConfig {
    fn default() -> Self {
        Self {
            url: None,
            token_file: None,
            connect: true,
            claims: Vec::new(),
            events: Vec::new(),
            timeout: Duration::from_secs(2),
            concurrency: 64,
            cache: Duration::ZERO,
            on_failure: OnFailure::Closed,
        }
    }
}

impl AuthorizationConfig {
    /// `auth_timeout` is the time that a client has to authenticate.
    pub(crate) fn check(&self, auth_timeout: Duration, problems: &mut Problems) {
        let Some(url) = &self.url else { return };
        if let Err(why) = check_url(url) {
            problems.report("authorization.url", why.to_string());
        }
        if !self.connect && self.events.is_empty() {
            problems.report(
                "authorization.events",
                "is empty and authorization.connect is false, so nothing is asked: set one of them, or leave out authorization.url",
            );
        }
        for event in self.events.iter().filter(|event| RESERVED.contains(&event.as_str()) || *event == "authenticate") {
            problems.report("authorization.events", format!("`{event}` is not a push: list events that clients emit"));
        }
        if self.timeout < Duration::from_millis(10) || self.timeout >= auth_timeout {
            problems.report("authorization.timeout", "expected at least \"10ms\" and less than auth.timeout");
        }
        if !(1..=10_000).contains(&self.concurrency) {
            problems.report("authorization.concurrency", "expected 1 to 10000 questions");
        }
    }

    /// The value of the header `Authorization`.
    ///
    /// # Errors
    /// If the file cannot be read, or its token cannot be part of a header.
    pub(super) fn token(&self) -> Result<Option<HeaderValue>, String> {
        let Some(path) = &self.token_file else { return Ok(None) };
        let named =
            |why: String| format!("plugins.messaging.authorization.token_file: {}: {why}", paths::redacted(path));
        let text = std::fs::read_to_string(path).map_err(|e| named(e.to_string()))?;
        let mut value = HeaderValue::try_from(format!("Bearer {}", text.trim()))
            .map_err(|_| named("the token has characters that a header cannot have".into()))?;
        value.set_sensitive(true);
        Ok(Some(value))
    }

    /// Checks the configured file.
    pub(crate) fn look(&self, problems: &mut Problems) {
        if let Some(Err(why)) = self.token_file.as_deref().map(paths::check_file) {
            problems.report("authorization.token_file", format!("{why}: put the token into it, or name another file"));
        }
    }
}
