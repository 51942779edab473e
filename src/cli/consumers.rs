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
The log keeps the rows that a required consumer has not read, until the log reaches log.disk_cap. Delete a consumer that will
not come back. An active consumer can be neither reset nor deleted: its next commit would overwrite the change.

Examples:
  greyhound consumers                                      list the consumers of each topic and their positions
  greyhound consumers reset mailer shop.order earliest     start again at the oldest row
  greyhound consumers reset mailer shop.order 4711         ... or at this row
  greyhound consumers delete mailer                        delete the consumer in all topics";

/// The action; `list` by default.
#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(super) struct Consumers {
    #[command(subcommand)]
    action: Option<Action>,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List the consumers of each topic and their positions (the default)
    List,
    /// Move a consumer that is not active to another row
    Reset {
        /// The consumer
        name: String,
        /// The topic
        topic: String,
        /// The next row to read: `earliest`, `latest` or the number of a row
        #[arg(value_parser = position)]
        to: Value,
    },
    /// Delete a consumer that is not active, so that the log no longer keeps rows for it
    Delete {
        /// The consumer
        name: String,
        /// Delete it in this topic only
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
                format!("{name} continues in {topic} at row {}\n", answer["position"])
            }
            Action::Delete { name, topic } => {
                let query = topic.map(|topic| format!("?topic={}", segment(&topic))).unwrap_or_default();
                let answer = client.delete(&format!("/v1/consumers/{}{query}", segment(&name))).await?;
                let topics: Vec<_> =
                    answer["deleted"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
                format!("{name} is deleted in {}\n", topics.join(", "))
            }
        };
        Ok(stdout().write_all(done.as_bytes())?)
    }
}

fn listed(consumers: &[Consumer]) -> String {
    let rows: Vec<_> = consumers.iter().map(Consumer::row).collect();
    text::table(&["CONSUMER", "TOPIC", "POSITION", "LAG", "ACTIVE", "REQUIRED"], &rows)
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
