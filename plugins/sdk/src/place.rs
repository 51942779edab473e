//! Looking, without changing anything, at what a configuration names on this machine; each returns what is wrong, with
//! a remedy.

use rustix::fs::{Access, access};
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// Why `path` can be no directory that is written to; one that is not there yet can be made.
///
/// # Errors
/// What is in the way, and where.
pub fn directory(path: &Path) -> Result<(), String> {
    let absolute = std::path::absolute(path).map_err(|e| format!("`{}` is no path: {e}", path.display()))?;
    let shown = absolute.display();
    for at in absolute.ancestors() {
        let here = at.display();
        match fs::metadata(at) {
            Ok(found) if !found.is_dir() => {
                return Err(format!("{here} is no directory: move it away, or name another one"));
            }
            Ok(_) if access(at, Access::WRITE_OK | Access::EXEC_OK).is_err() => {
                let who = rustix::process::geteuid().as_raw();
                let what = if at == absolute {
                    format!("{here} cannot be written to")
                } else {
                    format!("{shown} cannot be made in {here}")
                };
                return Err(format!("{what} by the user {who}: let this user write there, or name another one"));
            }
            Ok(_) => return Ok(()),
            Err(e) if e.kind() == ErrorKind::NotFound && fs::symlink_metadata(at).is_err() => {}
            Err(e) => return Err(format!("{here} cannot be used: {e}: mend it, or name another one")),
        }
    }
    Ok(())
}

/// Why `path` is no file with something in it that can be read.
///
/// # Errors
/// What is wrong with it.
pub fn file(path: &Path) -> Result<(), String> {
    let shown = shown_file(path);
    match fs::read(path) {
        Ok(bytes) if bytes.trim_ascii().is_empty() => Err(format!("{shown} is empty")),
        Ok(_) => Ok(()),
        Err(e) => Err(format!("{shown} cannot be read: {e}")),
    }
}

/// A file's path, if it looks like one: where the name of a file with a secret is expected, somebody may have put the
/// secret.
#[must_use]
pub fn shown_file(path: &Path) -> String {
    let directory = path.parent().map(PathBuf::from).unwrap_or_default();
    let is_path =
        path.exists() || (directory.components().count() > 1 || directory.is_relative()) && directory.is_dir();
    match is_path {
        true => path.display().to_string(),
        false => "the file that it names (not shown: it may be the secret itself)".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_there_or_can_be_made() {
        let home = tempfile::tempdir().unwrap();
        let at = |name: &str| home.path().join(name);
        fs::write(at("file"), "x").unwrap();
        std::os::unix::fs::symlink("nowhere", at("link")).unwrap();
        assert_eq!(directory(home.path()), Ok(()));
        assert_eq!(directory(&at("a/b/c")), Ok(()));
        let told = |name: &str| directory(&at(name)).unwrap_err();
        assert!(told("file").contains("file is no directory"));
        assert!(told("file/a/b").contains("file is no directory") || told("file/a/b").contains("Not a directory"));
        assert!(told("link").contains("link cannot be used"));
    }

    #[test]
    fn a_file_has_something_in_it() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("token");
        assert!(file(&path).unwrap_err().contains(&*path.to_string_lossy()));
        fs::write(&path, " \n").unwrap();
        assert!(file(&path).unwrap_err().ends_with("is empty"));
        fs::write(&path, "x").unwrap();
        assert_eq!(file(&path), Ok(()));
        assert!(file(home.path()).unwrap_err().contains("cannot be read"));
    }

    #[test]
    fn a_secret_in_the_place_of_its_file_is_not_shown() {
        for secret in ["hunter2", "/hunter2", "hunter/hunter2", "hunter2/"] {
            assert!(!file(Path::new(secret)).unwrap_err().contains("hunter2"), "{secret}");
        }
    }
}
