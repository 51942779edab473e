//! What a start would stumble over, found before it.

use crate::bus::look_at_cursors;
use crate::config::Settings;
use crate::log::journal::Journal;
use greyhound_sdk::config::Problem;
use greyhound_sdk::fs::OsFileSystem;
use greyhound_sdk::place;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use tokio::net::TcpSocket;

/// Directories and files of the program's own.
pub(super) fn own<'a>(settings: &Settings, plugins: impl Iterator<Item = &'a str>) -> Vec<Problem> {
    let dir = &settings.node.data_dir;
    let below = ["journal", "cursors"]
        .map(|name| dir.join(name))
        .into_iter()
        .chain(plugins.map(|name| settings.plugin_dir(name)));
    let directories = [dir.clone()].into_iter().chain(below).map(|path| place::directory(&path));
    let mut problems: Vec<_> = directories.filter_map(Result::err).map(|why| problem("node.data_dir", why)).collect();
    let journal = Journal::look(&OsFileSystem, &dir.join("journal")).map_err(|e| e.to_string());
    let cursors = look_at_cursors(&OsFileSystem, &dir.join("cursors")).map_err(|e| e.to_string());
    if problems.is_empty() {
        problems
            .extend([journal, cursors].into_iter().filter_map(Result::err).map(|why| problem("node.data_dir", why)));
    }
    // What is wrong with a directory is wrong with those in it.
    problems.dedup();
    if let Err(e) = settings.admin.bearer() {
        problems.push(problem("admin.token_file", e.why));
    }
    problems
}

/// Listeners that would take each other's port.
pub(super) fn clashes(listens: &[(String, SocketAddr)]) -> Vec<Problem> {
    let clash = |at: usize| {
        let (key, address) = &listens[at];
        let (other, taken) = listens[..at].iter().find(|(_, other)| overlap(*other, *address))?;
        Some(problem(
            key,
            format!("is {address}, and {other} is {taken}: two listeners need two ports; give one of them another"),
        ))
    };
    (1..listens.len()).filter_map(clash).collect()
}

/// Addresses on which this program could not listen.
pub(super) fn listeners(settings: &Settings, listens: &[(String, SocketAddr)]) -> Vec<Problem> {
    let running = is_running(&settings.node.data_dir);
    let wrong = |(key, address): &(String, SocketAddr)| {
        let (why, remedy) = match bind(*address).err()? {
            // By the program whose configuration this is.
            e if e.kind() == ErrorKind::AddrInUse && running => return None,
            e if e.kind() == ErrorKind::AddrInUse => {
                (e, "another program listens there: stop it, or set an address that is free")
            }
            e if e.kind() == ErrorKind::AddrNotAvailable => {
                (e, "set an address of this machine, such as 127.0.0.1, or 0.0.0.0 for all")
            }
            e if e.kind() == ErrorKind::PermissionDenied => {
                (e, "set a port from 1024 on, or give the program CAP_NET_BIND_SERVICE")
            }
            e => (e, "set another address"),
        };
        Some(problem(key, format!("cannot listen on {address}: {why}; {remedy}")))
    };
    listens.iter().filter_map(wrong).collect()
}

fn problem(key: &str, message: String) -> Problem {
    Problem { key: key.to_owned(), message }
}

fn overlap(a: SocketAddr, b: SocketAddr) -> bool {
    let everywhere = |ip: IpAddr| ip.is_unspecified();
    a.port() == b.port() && a.port() != 0 && (a.ip() == b.ip() || everywhere(a.ip()) || everywhere(b.ip()))
}

/// Takes the address for a moment, without listening there.
fn bind(address: SocketAddr) -> io::Result<()> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)
}

/// Whether a process runs on this data directory.
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
        let told =
            |a: &str, b: &str| clashes(&[("a".into(), a.parse().unwrap()), ("b".into(), b.parse().unwrap())]).len();
        assert_eq!(
            (told("127.0.0.1:1", "127.0.0.1:1"), told("0.0.0.0:1", "127.0.0.1:1"), told("[::]:1", "127.0.0.1:1")),
            (1, 1, 1)
        );
        assert_eq!(
            (told("127.0.0.1:0", "127.0.0.1:0"), told("127.0.0.1:1", "127.0.0.2:1"), told("0.0.0.0:1", "0.0.0.0:2")),
            (0, 0, 0)
        );
    }
}
