//! The `greyhound` program: the bus with the plugins that come with it.

use greyhound::activity::Activity;
use greyhound::messaging::Messaging;
use greyhound::{Host, cli};
use std::process::ExitCode;

fn main() -> ExitCode {
    cli::main(Host::builder().plugin(Messaging::default()).plugin(Activity))
}
