//! `greyhound consumers`

use super::admin::segment;
use super::failure::Failure;
use super::program::Program;
use super::text;
use clap::{Args, Subcommand};
use serde::Deserialize;
use serde_json::{Value, json};
use std::io::{Write, stdout};

const HELP: &str = "\
A consumer that retention waits for keeps its rows until it has read them, or until log.disk_cap is reached: delete one that
will not come back. One that reads now is neither reset nor deleted: it would overwrite that with its next commit.

Examples:
  greyhound consumers                                      who reads which topic, and how far it is
  greyhound consumers reset mailer shop.order earliest     let it begin again at the oldest row
  greyhound consumers reset mailer shop.order 4711         ... or at this row
  greyhound consumers delete mailer                        it will not come back";

/// What to do with them.
#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(super) struct Consumers {
    #[command(subcommand)]
    action: Option<Action>,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Show who reads which topic, and how far it is: the default
    List,
    /// Let a consumer that does not read now go on elsewhere
    Reset {
        /// The consumer
        name: String,
        /// The topic
        topic: String,
        /// Where: `earliest`, `latest` or the number of a row
        #[arg(value_parser = position)]
        to: Value,
    },
    /// Forget a consumer that does not read now: its rows are no longer kept for it
    Delete {
        /// The consumer
        name: String,
        /// Only in this topic
        topic: Option<String>,
    },
}

#[derive(Deserialize)]
struct Listing {
    consumers: Vec<Consumer>,
}

#[derive(Deserialize)]
struct Consumer {
    name: String,
    topic: String,
    position: u64,
    lag: u64,
    required: bool,
    active: bool,
}

impl Consumers {
    pub(super) async fn run(self, program: &Program) -> Result<(), Failure> {
        let client = program.admin()?;
        let done = match self.action.unwrap_or(Action::List) {
            Action::List => {
                let listing = client.get("/v1/consumers").await?;
                let Listing { consumers } = serde_json::from_value(listing).map_err(|e| client.lost(&e.to_string()))?;
                listed(&consumers)
            }
            Action::Reset { name, topic, to } => {
                let body = json!({ "topic": topic, "to": to }).to_string().into_bytes();
                let answer = client.post(&format!("/v1/consumers/{}/reset", segment(&name)), body).await?;
                format!("{name} goes on in {topic} at row {}\n", answer["position"])
            }
            Action::Delete { name, topic } => {
                let query = topic.map(|topic| format!("?topic={}", segment(&topic))).unwrap_or_default();
                let answer = client.delete(&format!("/v1/consumers/{}{query}", segment(&name))).await?;
                let topics: Vec<_> =
                    answer["deleted"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
                format!("{name} is forgotten in {}\n", topics.join(", "))
            }
        };
        Ok(stdout().write_all(done.as_bytes())?)
    }
}

fn listed(consumers: &[Consumer]) -> String {
    let rows: Vec<_> = consumers.iter().map(Consumer::row).collect();
    text::table(&["CONSUMER", "TOPIC", "AT", "BEHIND", "READS NOW", "ROWS ARE KEPT FOR IT"], &rows)
}

impl Consumer {
    fn row(&self) -> Vec<String> {
        let yes = |it: bool| if it { "yes" } else { "no" }.to_owned();
        vec![
            self.name.clone(),
            self.topic.clone(),
            self.position.to_string(),
            self.lag.to_string(),
            yes(self.active),
            yes(self.required),
        ]
    }
}

fn position(text: &str) -> Result<Value, String> {
    match text {
        "earliest" | "latest" => Ok(text.into()),
        number => number
            .parse::<u64>()
            .map(Value::from)
            .map_err(|_| "expected `earliest`, `latest` or the number of a row".to_owned()),
    }
}
