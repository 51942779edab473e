//! The secret that signs tokens.

use super::AuthConfig;
use greyhound_sdk::paths;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Map, Value};
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// The development secret's file in the data directory.
const DEVELOPMENT_SECRET_FILE: &str = "secret";

/// The shared secret. Its `Debug` output hides it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Vec<u8>);

/// The secret could not be read or created.
#[derive(Debug, thiserror::Error)]
#[error("the secret: {why}")]
pub struct SecretError {
    why: String,
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(hidden)")
    }
}

impl Secret {
    /// The configured secret. If none is configured, the development secret in `<data_dir>/secret`, which is created
    /// (mode 0600) if it does not exist.
    ///
    /// # Errors
    /// If a file cannot be read or written, or is empty.
    pub fn find_or_make(config: &AuthConfig, data_dir: &Path) -> Result<Self, SecretError> {
        if let Some(secret) = &config.secret {
            return Ok(Self(secret.clone().into_bytes()));
        }
        if let Some(path) = &config.secret_file {
            return Self::read_configured(path)
                .map_err(|why| SecretError { why: format!("plugins.messaging.auth.secret_file: {why}") });
        }
        let path = data_dir.join(DEVELOPMENT_SECRET_FILE);
        let created = if path.exists() { Err(io::ErrorKind::AlreadyExists.into()) } else { Self::create(&path) };
        match created {
            Ok(()) => tracing::info!(path = %path.display(), "no secret is configured: created one for development"),
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
            Err(e) => return Err(SecretError { why: format!("{} cannot be created: {e}", path.display()) }),
        }
        Self::read(&path).map_err(|why| SecretError { why })
    }

    /// The secret's bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    fn create(path: &Path) -> io::Result<()> {
        let mut random = [0_u8; 32];
        io::Read::read_exact(&mut fs::File::open("/dev/urandom")?, &mut random)?;
        let text: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
        // Linked to its name only when it is complete: another process may be about to read it.
        let temporary = path.with_extension(std::process::id().to_string());
        let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        let linked = fs::hard_link(&temporary, path);
        fs::remove_file(&temporary)?;
        linked
    }

    /// Checks that the secret can be read, without creating one.
    ///
    /// # Errors
    /// What is wrong with which file.
    pub(crate) fn look(config: &AuthConfig, data_dir: &Path) -> Result<(), String> {
        let development = data_dir.join(DEVELOPMENT_SECRET_FILE);
        match &config.secret_file {
            _ if config.secret.is_some() => Ok(()),
            Some(path) => Self::read_configured(path).map(drop),
            None if development.exists() => Self::read(&development).map(drop),
            None => Ok(()),
        }
    }

    fn read_configured(path: &Path) -> Result<Self, String> {
        Self::read(path).map_err(|why| format!("{why}: put the secret into it, or name another file"))
    }

    fn read(path: &Path) -> Result<Self, String> {
        paths::check_file(path)?;
        let text = fs::read(path).map_err(|e| format!("{} cannot be read: {e}", paths::redacted(path)))?;
        Ok(Self(text.trim_ascii().to_vec()))
    }
}

/// Makes a token with these claims, signed with `secret` (HS256).
///
/// # Errors
/// If the claims cannot be encoded.
pub fn mint(secret: &Secret, claims: &Map<String, Value>) -> Result<String, jsonwebtoken::errors::Error> {
    encode(&Header::new(Algorithm::HS256), claims, &EncodingKey::from_secret(secret.bytes()))
}
