//! Checks of the paths that a configuration names. They change nothing; an error names the path and the remedy.

use rustix::fs::{Access, access};
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// Checks that `path` is a writable directory, or can be created as one.
///
/// # Errors
/// The obstacle, its path and the remedy.
pub fn check_directory(path: &Path) -> Result<(), String> {
    let absolute = std::path::absolute(path).map_err(|e| format!("`{}` is not a path: {e}", path.display()))?;
    let shown = absolute.display();
    for at in absolute.ancestors() {
        let here = at.display();
        match fs::metadata(at) {
            Ok(found) if !found.is_dir() => {
                return Err(format!("{here} is not a directory: move it away, or set another directory"));
            }
            Ok(_) if access(at, Access::WRITE_OK | Access::EXEC_OK).is_err() => {
                let who = rustix::process::geteuid().as_raw();
                let what = if at == absolute {
                    format!("{here} is not writable")
                } else {
                    format!("{shown} cannot be created in {here}")
                };
                return Err(format!(
                    "{what} for the user {who}: give this user write access, or set another directory"
                ));
            }
            Ok(_) => return Ok(()),
            Err(e) if e.kind() == ErrorKind::NotFound && fs::symlink_metadata(at).is_err() => {}
            Err(e) => return Err(format!("{here} cannot be used: {e}: repair it, or set another directory")),
        }
    }
    Ok(())
}

/// Checks that `path` is a readable file that is not blank.
///
/// # Errors
/// The fault, and the path unless it may be a secret (see [`redacted`]).
pub fn check_file(path: &Path) -> Result<(), String> {
    let shown = redacted(path);
    match fs::read(path) {
        Ok(bytes) if bytes.trim_ascii().is_empty() => Err(format!("{shown} is empty")),
        Ok(_) => Ok(()),
        Err(e) => Err(format!("{shown} cannot be read: {e}")),
    }
}

/// Returns the path as text if it looks like a path. Someone may have set the secret itself in place of the path of its
/// file, so any other text is not shown.
#[must_use]
pub fn redacted(path: &Path) -> String {
    let directory = path.parent().map(PathBuf::from).unwrap_or_default();
    let is_path =
        path.exists() || (directory.components().count() > 1 || directory.is_relative()) && directory.is_dir();
    match is_path {
        true => path.display().to_string(),
        false => "the file (its name is not shown, because it may be the secret itself)".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_exists_or_can_be_created() {
        let home = tempfile::tempdir().unwrap();
        let at = |name: &str| home.path().join(name);
        fs::write(at("file"), "x").unwrap();
        std::os::unix::fs::symlink("nowhere", at("link")).unwrap();
        assert_eq!(check_directory(home.path()), Ok(()));
        assert_eq!(check_directory(&at("a/b/c")), Ok(()));
        let error = |name: &str| check_directory(&at(name)).unwrap_err();
        assert!(error("file").contains("file is not a directory"));
        assert!(error("file/a/b").contains("file is not a directory") || error("file/a/b").contains("Not a directory"));
        assert!(error("link").contains("link cannot be used"));
    }

    #[test]
    fn a_file_is_readable_and_not_blank() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("token");
        assert!(check_file(&path).unwrap_err().contains(&*path.to_string_lossy()));
        fs::write(&path, " \n").unwrap();
        assert!(check_file(&path).unwrap_err().ends_with("is empty"));
        fs::write(&path, "x").unwrap();
        assert_eq!(check_file(&path), Ok(()));
        assert!(check_file(home.path()).unwrap_err().contains("cannot be read"));
    }

    #[test]
    fn a_secret_in_place_of_its_path_is_not_shown() {
        for secret in ["hunter2", "/hunter2", "hunter/hunter2", "hunter2/"] {
            assert!(!check_file(Path::new(secret)).unwrap_err().contains("hunter2"), "{secret}");
        }
    }
}
