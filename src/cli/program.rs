//! What this program is made of: the plugins that come with it, and its configuration.

use greyhound::config::{ConfigError, Layers, Tree};
use greyhound::host::Host;
use greyhound_activity::Activity;
use greyhound_messaging::Messaging;
use greyhound_sdk::config::Problem;
use std::net::SocketAddr;
use std::path::PathBuf;

/// The plugins' names.
pub(super) const MESSAGING: &str = "messaging";
pub(super) const ACTIVITY: &str = "activity";
const LISTEN: &str = "plugins.messaging.listen";

/// The program, configured.
pub(super) struct Program {
    pub(super) config: Tree,
    pub(super) host: Host,
}

/// Reads the configuration, from `file` and the process's environment.
pub(super) fn load(file: Option<PathBuf>) -> Result<Program, ConfigError> {
    build(Layers::of_process(file).load()?, std::env::var("PORT").ok())
}

/// The program with this configuration; `port` overrides the port that clients connect to.
pub(super) fn build(mut config: Tree, port: Option<String>) -> Result<Program, ConfigError> {
    let wrong_port = port.filter(|text| !text.is_empty()).and_then(|text| override_port(&mut config, &text).err());
    let host = Host::builder().plugin(Messaging::default()).plugin(Activity).configure(config.clone());
    match (host, wrong_port) {
        (Ok(host), None) => Ok(Program { config, host }),
        (Ok(_), Some(problem)) => {
            Err(ConfigError { source_name: config.source_name().to_owned(), problems: vec![problem] })
        }
        (Err(mut error), wrong_port) => {
            error.problems.extend(wrong_port);
            Err(error)
        }
    }
}

fn override_port(config: &mut Tree, text: &str) -> Result<(), Problem> {
    let port: u16 = text.parse().map_err(|_| Problem {
        key: "PORT".into(),
        message: format!("`{text}` is not a port: expected a number up to 65535"),
    })?;
    let listen = match config.text(LISTEN) {
        // What is no address is reported where the plugin reads it.
        Some(text) => text.parse().ok(),
        None => Some(greyhound_messaging::Config::default().listen),
    };
    if let Some(listen) = listen {
        config.set(LISTEN, SocketAddr::new(listen.ip(), port).to_string());
    }
    Ok(())
}
