//! Shared secrets, and the one that is made for development.

use greyhound_sdk::paths;
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// The development secret's file in the data directory.
const DEVELOPMENT_SECRET_FILE: &str = "secret";

/// The secret in a file, without the white space around it.
pub(super) fn of_file(contents: &[u8]) -> Result<&[u8], String> {
    match contents.trim_ascii() {
        [] => Err("is empty".into()),
        secret => Ok(secret),
    }
}

/// The path of the development secret.
pub(super) fn development_secret(data_dir: &Path) -> PathBuf {
    data_dir.join(DEVELOPMENT_SECRET_FILE)
}

/// Creates the development secret (mode 0600) if it does not exist.
///
/// # Errors
/// The path, and why the file cannot be written.
pub(super) fn make_development_secret(data_dir: &Path) -> Result<(), String> {
    let path = development_secret(data_dir);
    let created = if path.exists() { Err(io::ErrorKind::AlreadyExists.into()) } else { create(&path) };
    match created {
        Ok(()) => tracing::info!(path = %path.display(), "no key is configured: created a secret for development"),
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
        Err(e) => return Err(format!("{} cannot be created: {e}", path.display())),
    }
    Ok(())
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

/// Reads a file. The error does not show a path that may be the secret itself.
pub(super) fn read_file(path: &Path) -> Result<Vec<u8>, String> {
    fs::read(path).map_err(|e| format!("{} cannot be read: {e}", paths::redacted(path)))
}
