//! What HDFS needs on this machine: Hadoop's files, and a keytab or ticket. If they are missing, the client does not
//! report it, or only once it has reached a NameNode.

use super::super::{Failure, HdfsLocation, Refusal};
use super::Settings;
use std::env;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

const HOME: &str = "HADOOP_HOME";

/// Where the client looks for Hadoop's files, and the variable that says so.
fn hadoop_files() -> Option<(&'static str, PathBuf)> {
    let of = |name| env::var_os(name).filter(|it| !it.is_empty()).map(|it| (name, PathBuf::from(it)));
    of("HADOOP_CONF_DIR").or_else(|| of(HOME).map(|(name, home)| (name, home.join("etc/hadoop"))))
}

/// Checks that the client finds Hadoop's files if it needs them: if `HADOOP_CONF_DIR` names them, or to resolve a
/// nameservice.
///
/// # Errors
/// If they are missing or cannot be read.
pub(super) fn check_hadoop_files(location: &HdfsLocation) -> Result<(), Failure> {
    let Some((name, directory)) = hadoop_files() else { return Ok(()) };
    if name == HOME && location.nameservice().is_none() {
        return Ok(());
    }
    let refused =
        |why: String| Err(Failure::refused(Refusal::Settings, format!("{} (from {name}) {why}", directory.display())));
    let mut found = false;
    for file in ["core-site.xml", "hdfs-site.xml"] {
        match read(&directory.join(file)) {
            Ok(()) => found = true,
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(e) => return refused(format!("has a {file} that cannot be read: {e}")),
        }
    }
    match found {
        true => Ok(()),
        false if directory.is_dir() => refused("has neither core-site.xml nor hdfs-site.xml".to_owned()),
        false => refused("is no directory".to_owned()),
    }
}

/// Where Hadoop's files are looked for, as shown to people.
pub(super) fn shown() -> String {
    match hadoop_files() {
        Some((name, directory)) => format!("Hadoop's files are in {} (from {name})", directory.display()),
        None => "neither HADOOP_CONF_DIR nor HADOOP_HOME is set".to_owned(),
    }
}

/// Checks that the principal's keytab, or else its ticket cache, can be read.
///
/// # Errors
/// If it cannot be read.
pub(super) fn check_login(settings: &Settings) -> Result<(), Failure> {
    let (what, path) = match (&settings.keytab, &settings.principal) {
        (Some(keytab), _) => ("plugins.activity.hdfs.keytab", file(keytab)),
        // Kerberos fills the cache itself if it has a keytab of its own.
        (None, Some(_)) if env::var_os("KRB5_CLIENT_KTNAME").is_none() => {
            ("KRB5CCNAME", env::var("KRB5CCNAME").ok().and_then(|it| file(&it)))
        }
        _ => return Ok(()),
    };
    let Some(path) = path else { return Ok(()) };
    read(&path).map_err(|e| {
        Failure::refused(Refusal::Identity, format!("{} (from {what}) cannot be read: {e}", path.display()))
    })
}

/// The file that Kerberos's name of a keytab or cache refers to; `None` if it is not a file.
fn file(name: &str) -> Option<PathBuf> {
    match name.split_once(':') {
        Some(("FILE", path)) => Some(path.into()),
        Some((_, _)) => None,
        None => Some(name.into()),
    }
}

fn read(path: &Path) -> io::Result<()> {
    match File::open(path)?.metadata()?.is_dir() {
        true => Err(io::ErrorKind::IsADirectory.into()),
        false => Ok(()),
    }
}
