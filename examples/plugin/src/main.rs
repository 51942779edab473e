//! Greyhound with the plugin `hello`.

use greyhound::activity::Activity;
use greyhound::messaging::Messaging;
use greyhound::{Host, cli};
use std::process::ExitCode;

use hello::Hello;

fn main() -> ExitCode {
    // In the order in which rows flow: whoever publishes comes before whoever consumes, the sink comes last.
    cli::main(
        Host::builder()
            .plugin(Hello)
            .plugin(Messaging::default())
            .plugin(Activity),
    )
}
