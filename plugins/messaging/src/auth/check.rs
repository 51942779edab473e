//! Checks of the configuration of issuers, for `greyhound validate`.

use super::config::{AuthConfig, DEFAULT_ISSUER, IssuerConfig};
use super::crypto::secret_bytes;
use super::secret::development_secret;
use super::source::Source;
use crate::http_client::{HttpClient, check_url};
use futures_util::future::join_all;
use greyhound_sdk::config::Problems;
use greyhound_sdk::{Check, Verdict};
use std::path::Path;
use std::time::Duration;

const REFRESH_MIN: Duration = Duration::from_secs(1);
const SOURCES: &str = "secret, secret_file, public_key_file, jwks_file or jwks_url";

impl AuthConfig {
    pub(crate) fn check(&self, problems: &mut Problems) {
        for (name, issuer) in self.sections() {
            issuer.check(&name, problems);
        }
        let mut known = Vec::new();
        for (key, value) in [("auth.expiry_warning", self.expiry_warning), ("auth.max_token_age", self.max_token_age)] {
            if value.is_some_and(|value| value < Duration::from_secs(1)) {
                problems.report(key, "is too short: expected at least \"1s\"");
            }
        }
        for (section, issuer) in self.sections() {
            match issuer.issuer {
                Some(name) if known.contains(&name) => {
                    problems.report(&format!("{section}.issuer"), "another issuer has the same: each needs its own");
                }
                Some(name) => known.push(name),
                None => {}
            }
        }
        let own = self.default_issuer();
        if !self.issuers.is_empty() && own.sources().is_empty() && own != IssuerConfig::default() {
            problems.report("auth", format!("describes an issuer without keys: set one of {SOURCES}, or leave it out"));
        }
        for (name, issuer) in &self.issuers {
            let section = format!("auth.issuers.{name}");
            if issuer.issuer.is_none() {
                problems.report(&format!("{section}.issuer"), "is missing: expected the claim `iss` of its tokens");
            }
            if issuer.sources().is_empty() {
                problems.report(&section, format!("has no keys: set one of {SOURCES}"));
            }
            if name == DEFAULT_ISSUER {
                problems.report(&section, "is the name of the issuer in [plugins.messaging.auth]: choose another one");
            }
        }
    }

    /// Each issuer with the section that describes it.
    fn sections(&self) -> impl Iterator<Item = (String, IssuerConfig)> {
        let further = self.issuers.iter().map(|(name, issuer)| (format!("auth.issuers.{name}"), issuer.clone()));
        [("auth".to_owned(), self.default_issuer())].into_iter().chain(further)
    }

    /// Reads the files.
    pub(crate) fn look(&self, data_dir: &Path, problems: &mut Problems) {
        let is_made_at_start = self.is_for_development() && !development_secret(data_dir).exists();
        let has_keys = |issuer: &IssuerConfig| !issuer.sources().is_empty() || self.is_for_development();
        for (section, issuer) in self.sections().filter(|(_, issuer)| has_keys(issuer) && !is_made_at_start) {
            issuer.look(data_dir, &issuer.key_of_source(&section), problems);
        }
    }

    /// Whether a server is asked over TLS.
    pub(crate) fn is_over_tls(&self) -> bool {
        self.sections().any(|(_, issuer)| issuer.jwks_url.is_some_and(|url| url.starts_with("https:")))
    }

    /// Fetches the keys at URLs.
    pub(crate) async fn connect(&self) -> Vec<Check> {
        let http = HttpClient::new();
        let remote = self.sections().filter(|(_, issuer)| issuer.jwks_url.is_some());
        join_all(remote.map(|(section, issuer)| {
            let http = http.clone();
            async move {
                let verdict = match Source::new(&issuer, Path::new("")).load(&http).await {
                    Ok(keys) => Verdict::Works(format!("{} keys at plugins.messaging.{section}.jwks_url", keys.len())),
                    Err(why) => Verdict::Fails(format!("plugins.messaging.{section}.jwks_url: {why}")),
                };
                Check { name: "keys of tokens", verdict }
            }
        }))
        .await
    }
}

impl IssuerConfig {
    fn check(&self, section: &str, problems: &mut Problems) {
        let mut report = |key: &str, message: String| problems.report(&format!("{section}.{key}"), message);
        if let [first, others @ ..] = &self.sources()[..] {
            for other in others {
                report(other, format!("{section}.{first} is set as well: set only one of the two"));
            }
        }
        if self.secret.iter().any(String::is_empty) {
            report("secret", "is empty: expected the secret that signs tokens".into());
        }
        if let Some(Err(why)) = self.jwks_url.as_deref().map(check_url) {
            report("jwks_url", why.to_string());
        }
        if self.jwks_refresh < REFRESH_MIN {
            report("jwks_refresh", "is too short: expected at least \"1s\"".into());
        }
        let fitting = self.fitting_algorithms();
        let names = fitting.iter().map(|it| format!("\"{it:?}\"")).collect::<Vec<_>>().join(", ");
        for bad in self.algorithms.iter().flatten().filter(|it| !fitting.contains(it)) {
            let keys = if self.is_symmetric() { "shared secrets" } else { "public keys" };
            report(
                "algorithms",
                format!("\"{bad:?}\" does not fit the keys, which are {keys}: expected some of {names}"),
            );
        }
        if self.algorithms.as_ref().is_some_and(Vec::is_empty) {
            report("algorithms", format!("is empty: expected some of {names}"));
        }
    }

    fn look(&self, data_dir: &Path, key: &str, problems: &mut Problems) {
        match Source::new(self, data_dir).read() {
            Err(why) => problems.report(key, why),
            Ok(keys) => {
                let expected = self.accepted_algorithms().into_iter().filter_map(secret_bytes).min();
                let Some((shortest, expected)) = keys.shortest_secret().zip(expected) else { return };
                if shortest < expected {
                    let message =
                        format!("has {shortest} bytes, which can be guessed: use at least {expected} random bytes");
                    problems.warn(key, message);
                }
            }
        }
    }
}
