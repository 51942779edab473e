//! `greyhound token`

use super::failure::Failure;
use super::program::{MESSAGING, Program};
use crate::host::init_logging;
use clap::Args;
use greyhound_messaging::Config;
use greyhound_messaging::auth::{Minter, normal_site};
use greyhound_sdk::fs::{FileSystem, OsFileSystem};
use serde_json::{Map, Value};
use std::io::{Write, stdout};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const HELP: &str = "\
Signs the token with the first configured secret. If no keys are configured, uses the development secret in the data directory, and
creates it if there is none yet. If only public keys are configured, no token can be made: only the issuer can sign.

Examples:
  greyhound token --user 1
  greyhound token --user 1 --site example.com --expires 30d
  greyhound token --user ann --claim role=admin --claim 'limits={\"rooms\": 5}'";

/// The claims of the token.
#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(super) struct Token {
    /// The user that the client authenticates as
    #[arg(long, value_parser = clap::builder::NonEmptyStringValueParser::new())]
    user: String,
    /// The base domain of the site whose room the client joins, instead of that of its Origin header
    #[arg(long, value_parser = site)]
    site: Option<String>,
    /// How long the token is valid
    #[arg(long, default_value = "1h", value_parser = humantime::parse_duration)]
    expires: Duration,
    /// Another claim, whose value is JSON or otherwise text; may be repeated
    #[arg(long = "claim", value_name = "KEY=VALUE", value_parser = claim)]
    claims: Vec<(String, Value)>,
}

impl Token {
    pub(super) fn run(self, program: &Program) -> Result<(), Failure> {
        let settings = program.settings()?;
        init_logging(settings.host.log_format);
        let messaging: Config = program.plugin(MESSAGING)?;
        let dir = settings.plugin_dir(MESSAGING);
        if messaging.auth.is_for_development() {
            OsFileSystem.create_dir_all(&dir).map_err(|e| {
                Failure::failed(format!("cannot create the directory {} (below node.data_dir): {e}", dir.display()))
            })?;
        }
        let minter = Minter::new(&messaging.auth, &dir).map_err(|e| Failure::failed(e.to_string()))?;
        self.check(&minter)?;
        let claims = self.claims(&minter, SystemTime::now());
        let token = minter.mint(claims).map_err(|e| Failure::failed(format!("{e}: --claim sets claims")))?;
        Ok(writeln!(stdout(), "{token}")?)
    }

    /// Refuses two values for one claim.
    fn check(&self, minter: &Minter) -> Result<(), Failure> {
        let (user, site) = (minter.user_claim(), minter.site_claim());
        for (at, (key, _)) in self.claims.iter().enumerate() {
            let option = if key == user { "--user" } else { "--site" };
            if key == user || (key == site && self.site.is_some()) {
                return Err(Failure::usage(format!(
                    "--claim {key}: {option} already sets the claim `{key}`; leave one of them out"
                )));
            }
            if self.claims[..at].iter().any(|(before, _)| before == key) {
                return Err(Failure::usage(format!("--claim {key} is given twice; leave one of them out")));
            }
        }
        Ok(())
    }

    fn claims(self, minter: &Minter, now: SystemTime) -> Map<String, Value> {
        let now = now.duration_since(UNIX_EPOCH).unwrap_or_default();
        let mut claims = Map::new();
        claims.insert(minter.user_claim().to_owned(), self.user.into());
        claims.extend(self.site.map(|site| (minter.site_claim().to_owned(), site.into())));
        claims.insert("iat".into(), now.as_secs().into());
        claims.insert("exp".into(), now.saturating_add(self.expires).as_secs().into());
        claims.extend(self.claims);
        claims
    }
}

fn site(text: &str) -> Result<String, String> {
    normal_site(text).map_err(|why| format!("not a base domain: {why}"))
}

fn claim(text: &str) -> Result<(String, Value), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => {
            Ok((key.to_owned(), serde_json::from_str(value).unwrap_or_else(|_| value.into())))
        }
        _ => Err("expected KEY=VALUE".to_owned()),
    }
}
