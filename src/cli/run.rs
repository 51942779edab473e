//! `greyhound run`

use super::failure::Failure;
use super::program::{MESSAGING, Program, program_name};
use crate::config::Layers;
use crate::host::{HostBuilder, signals};
use greyhound_messaging::Config;
use std::borrow::Cow;
use std::path::Path;

/// Variables that the command which mints a token needs as well, because the file does not have their values.
const VARIABLES: [&str; 2] = ["GREYHOUND__NODE__DATA_DIR", "GREYHOUND__PLUGINS__MESSAGING__AUTH__SECRET_FILE"];

/// The secret itself: never shown.
const SECRET: &str = "GREYHOUND__PLUGINS__MESSAGING__AUTH__SECRET";

pub(super) async fn run(plugins: HostBuilder, layers: &Layers) -> Result<(), Failure> {
    start(plugins, layers).await.map_err(|failure| failure.logged(layers.log_format()))
}

async fn start(plugins: HostBuilder, layers: &Layers) -> Result<(), Failure> {
    let program = Program::load(plugins, layers)?;
    let can_sign = program.plugin::<Config>(MESSAGING).is_ok_and(|messaging| messaging.auth.can_sign());
    let mut host = program.host()?;
    if host.has(MESSAGING) && !can_sign {
        host.announce("a token", "only the issuer can sign one");
    } else if host.has(MESSAGING) && std::env::var_os(SECRET).is_some() {
        host.announce("a token", format!("{} token --user 1, with {SECRET} set as here", program_name()));
    } else if host.has(MESSAGING) {
        let program = std::env::args().next().unwrap_or_else(|| "greyhound".into());
        let set = VARIABLES.into_iter().filter_map(|name| Some((name, std::env::var(name).ok()?)));
        host.announce("a token", token_line(&program, layers.file.as_deref(), set));
    }
    Ok(host.run(signals()).await?)
}

/// The shell command that mints a token for the program that starts.
pub(super) fn token_line(
    program: &str,
    file: Option<&Path>,
    set: impl IntoIterator<Item = (&'static str, String)>,
) -> String {
    let set: String = set.into_iter().map(|(name, value)| format!("{name}={} ", quoted(&value))).collect();
    let file = file.map(|path| format!(" --config {}", quoted(&path.to_string_lossy()))).unwrap_or_default();
    format!("{set}{} token --user 1{file}", quoted(program))
}

/// Quotes `text` as one word of the shell.
fn quoted(text: &str) -> Cow<'_, str> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+:,@%".contains(c);
    match !text.is_empty() && text.chars().all(plain) {
        true => text.into(),
        false => format!("'{}'", text.replace('\'', r"'\''")).into(),
    }
}
