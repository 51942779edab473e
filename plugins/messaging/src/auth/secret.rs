//! The secret that tokens are signed with.

use crate::config::AuthConfig;
use greyhound_sdk::place;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Map, Value};
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// The file in the data directory with the secret for development.
const FILE: &str = "secret";

/// The shared secret. Its `Debug` does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Vec<u8>);

/// The secret could not be had.
#[derive(Debug, thiserror::Error)]
#[error("the secret: {why}")]
pub struct SecretError {
    /// What happened, and where.
    pub why: String,
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(hidden)")
    }
}

impl Secret {
    /// The configured secret; where none is, the one for development in `<data_dir>/secret`, which is made
    /// (mode 0600) where there is none yet.
    ///
    /// # Errors
    /// Where a file cannot be read or written, or is empty.
    pub fn find_or_make(config: &AuthConfig, data_dir: &Path) -> Result<Self, SecretError> {
        if let Some(secret) = &config.secret {
            return Ok(Self(secret.clone().into_bytes()));
        }
        if let Some(path) = &config.secret_file {
            return Self::read_configured(path)
                .map_err(|why| SecretError { why: format!("plugins.messaging.auth.secret_file: {why}") });
        }
        let path = data_dir.join(FILE);
        let made = if path.exists() { Err(io::ErrorKind::AlreadyExists.into()) } else { Self::make(&path) };
        match made {
            Ok(()) => tracing::info!(path = %path.display(), "no secret is configured: made one for development"),
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
            Err(e) => return Err(SecretError { why: format!("{} cannot be made: {e}", path.display()) }),
        }
        Self::read(&path).map_err(|why| SecretError { why })
    }

    /// The secret's bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    fn make(path: &Path) -> io::Result<()> {
        let mut random = [0_u8; 32];
        io::Read::read_exact(&mut fs::File::open("/dev/urandom")?, &mut random)?;
        let text: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
        // Under its name only when it is whole: another process may be about to read it.
        let temporary = path.with_extension(std::process::id().to_string());
        let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        let linked = fs::hard_link(&temporary, path);
        fs::remove_file(&temporary)?;
        linked
    }

    /// Looks whether it can be had, without making one.
    ///
    /// # Errors
    /// What is wrong, and where.
    pub(crate) fn look(config: &AuthConfig, data_dir: &Path) -> Result<(), String> {
        let made = data_dir.join(FILE);
        match &config.secret_file {
            _ if config.secret.is_some() => Ok(()),
            Some(path) => Self::read_configured(path).map(drop),
            None if made.exists() => Self::read(&made).map(drop),
            None => Ok(()),
        }
    }

    fn read_configured(path: &Path) -> Result<Self, String> {
        Self::read(path).map_err(|why| format!("{why}: put the secret into it, or name another file"))
    }

    fn read(path: &Path) -> Result<Self, String> {
        place::file(path)?;
        let text = fs::read(path).map_err(|e| format!("{} cannot be read: {e}", place::shown_file(path)))?;
        Ok(Self(text.trim_ascii().to_vec()))
    }
}

/// A token (HS256) with these claims, signed with `secret`.
///
/// # Errors
/// Where the claims cannot be encoded.
pub fn mint(secret: &Secret, claims: &Map<String, Value>) -> Result<String, jsonwebtoken::errors::Error> {
    encode(&Header::new(Algorithm::HS256), claims, &EncodingKey::from_secret(secret.bytes()))
}
