//! Checks on this machine that find, before a start, what would prevent it.

use crate::bus::check_cursors;
use crate::config::Settings;
use crate::log::journal::Journal;
use greyhound_sdk::config::Problem;
use greyhound_sdk::fs::OsFileSystem;
use greyhound_sdk::paths;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use tokio::net::TcpSocket;

/// Checks the program's own directories and files.
pub(super) fn files<'a>(settings: &Settings, plugins: impl Iterator<Item = &'a str>) -> Vec<Problem> {
    let dir = &settings.node.data_dir;
    let own = ["journal", "cursors"].map(|name| dir.join(name));
    let directories = [dir.clone()].into_iter().chain(own).chain(plugins.map(|name| settings.plugin_dir(name)));
    let checked = directories.map(|path| paths::check_directory(&path));
    let mut problems: Vec<_> = checked.filter_map(Result::err).map(|why| problem("node.data_dir", why)).collect();
    let journal = Journal::check(&OsFileSystem, &dir.join("journal")).map_err(|e| e.to_string());
    let cursors = check_cursors(&OsFileSystem, &dir.join("cursors")).map_err(|e| e.to_string());
    if problems.is_empty() {
        problems
            .extend([journal, cursors].into_iter().filter_map(Result::err).map(|why| problem("node.data_dir", why)));
    }
    // A fault of a directory is reported again for the directories in it.
    problems.dedup();
    if let Err(e) = settings.admin.bearer() {
        problems.push(problem("admin.token_file", e.why));
    }
    if let Some(Err(errors)) = settings.admin.tls.files().map(|files| files.check()) {
        problems.extend(errors.into_iter().map(|e| problem(&format!("admin.tls.{}", e.key), e.why)));
    }
    problems
}

/// Returns a problem for each listener whose address another listener uses.
pub(super) fn clashes(listens: &[(String, SocketAddr)]) -> Vec<Problem> {
    let clash = |at: usize| {
        let (key, address) = &listens[at];
        let (other, taken) = listens[..at].iter().find(|(_, other)| overlap(*other, *address))?;
        Some(problem(
            key,
            format!("is {address}, but {other} is {taken}: two listeners cannot share a port; change one of them"),
        ))
    };
    (1..listens.len()).filter_map(clash).collect()
}

/// Checks that this program can listen on each address.
pub(super) fn listeners(settings: &Settings, listens: &[(String, SocketAddr)]) -> Vec<Problem> {
    let running = is_running(&settings.node.data_dir);
    let unusable = |(key, address): &(String, SocketAddr)| {
        let (why, remedy) = match bind(*address).err()? {
            // The running program with this configuration uses it.
            e if e.kind() == ErrorKind::AddrInUse && running => return None,
            e if e.kind() == ErrorKind::AddrInUse => {
                (e, "another program uses it: stop that program, or set a free address")
            }
            e if e.kind() == ErrorKind::AddrNotAvailable => {
                (e, "set an address of this machine, such as 127.0.0.1, or 0.0.0.0 for all of them")
            }
            e if e.kind() == ErrorKind::PermissionDenied => {
                (e, "set a port of 1024 or higher, or grant the program CAP_NET_BIND_SERVICE")
            }
            e => (e, "set another address"),
        };
        Some(problem(key, format!("cannot listen on {address}: {why}; {remedy}")))
    };
    listens.iter().filter_map(unusable).collect()
}

fn problem(key: &str, message: String) -> Problem {
    Problem { key: key.to_owned(), message }
}

fn overlap(a: SocketAddr, b: SocketAddr) -> bool {
    let everywhere = |ip: IpAddr| ip.is_unspecified();
    a.port() == b.port() && a.port() != 0 && (a.ip() == b.ip() || everywhere(a.ip()) || everywhere(b.ip()))
}

/// Binds the address briefly, without listening.
fn bind(address: SocketAddr) -> io::Result<()> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)
}

/// Whether a running process uses this data directory.
fn is_running(data_dir: &Path) -> bool {
    let holder = std::fs::read_to_string(data_dir.join("journal/lock")).unwrap_or_default();
    let process = holder.strip_prefix("process ").and_then(|id| id.parse::<u32>().ok());
    process.is_some_and(|id| Path::new("/proc").join(id.to_string()).exists())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listeners_clash_on_one_port_of_one_address() {
        let count =
            |a: &str, b: &str| clashes(&[("a".into(), a.parse().unwrap()), ("b".into(), b.parse().unwrap())]).len();
        assert_eq!(
            (count("127.0.0.1:1", "127.0.0.1:1"), count("0.0.0.0:1", "127.0.0.1:1"), count("[::]:1", "127.0.0.1:1")),
            (1, 1, 1)
        );
        assert_eq!(
            (count("127.0.0.1:0", "127.0.0.1:0"), count("127.0.0.1:1", "127.0.0.2:1"), count("0.0.0.0:1", "0.0.0.0:2")),
            (0, 0, 0)
        );
    }
}
