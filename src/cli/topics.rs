//! `greyhound topics`

use super::admin::segment;
use super::failure::Failure;
use super::program::Program;
use super::text;
use bytesize::ByteSize;
use clap::Args;
use serde::Deserialize;
use serde_json::Value;
use std::io::{Write, stdout};

const HELP: &str = "\
Examples:
  greyhound topics                         list all topics, their rows and the lag of each consumer
  greyhound topics messaging.delivery      list the columns of one";

/// What to list.
#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(super) struct Topics {
    /// List the columns of this topic
    topic: Option<String>,
}

#[derive(Deserialize)]
struct Listing {
    shard: String,
    bytes: u64,
    topics: Vec<Topic>,
}

#[derive(Deserialize)]
struct Topic {
    name: String,
    earliest: u64,
    end: u64,
    bytes: u64,
    consumers: Vec<Consumer>,
}

#[derive(Deserialize)]
struct Consumer {
    name: String,
    lag: u64,
}

impl Topics {
    pub(super) async fn run(self, program: &Program) -> Result<(), Failure> {
        let client = program.admin()?;
        let text = match self.topic {
            Some(topic) => columns(&client.get(&format!("/v1/topics/{}", segment(&topic))).await?),
            None => {
                let listing = client.get("/v1/topics").await?;
                listed(&serde_json::from_value(listing).map_err(|e| client.lost(&e.to_string()))?)
            }
        };
        Ok(stdout().write_all(text.as_bytes())?)
    }
}

fn listed(listing: &Listing) -> String {
    let rows: Vec<_> = listing.topics.iter().map(Topic::row).collect();
    let table = text::table(&["TOPIC", "ROWS", "BYTES", "FIRST", "LAST", "LAG"], &rows);
    format!("{table}\nshard {}, {} in the log\n", listing.shard, ByteSize(listing.bytes))
}

impl Topic {
    fn row(&self) -> Vec<String> {
        let number = |seq: Option<u64>| seq.map_or_else(|| "-".to_owned(), |seq| seq.to_string());
        let rows = self.end.saturating_sub(self.earliest);
        let (first, last) = ((rows > 0).then_some(self.earliest), (rows > 0).then(|| self.end - 1));
        let behind: Vec<_> = self.consumers.iter().map(|c| format!("{} {}", c.name, c.lag)).collect();
        vec![
            self.name.clone(),
            rows.to_string(),
            ByteSize(self.bytes).to_string(),
            number(first),
            number(last),
            behind.join(", "),
        ]
    }
}

/// The columns of a topic: the two that each table has, then those of its schema.
fn columns(schema: &Value) -> String {
    let own = schema["fields"].as_array().into_iter().flatten().map(|field| {
        let text = |key: &str| field[key].as_str().unwrap_or_default().to_owned();
        format!("{}  {}\n    {}\n", text("name"), type_name(&field["type"]), text("doc"))
    });
    let head = format!("{}\n\n", schema["doc"].as_str().unwrap_or_default());
    let common = [
        "seq  long\n    The number of the row in its shard.\n".to_owned(),
        "time  timestamp-micros\n    When the row was appended.\n".to_owned(),
    ];
    [head].into_iter().chain(common).chain(own).collect()
}

/// A short name for an Avro type.
fn type_name(avro: &Value) -> String {
    match avro {
        Value::Array(union) => {
            let names: Vec<_> = union.iter().filter(|it| *it != "null").map(type_name).collect();
            format!("{} or null", names.join(" or "))
        }
        Value::Object(it) if it.contains_key("symbols") => {
            it["symbols"].as_array().into_iter().flatten().filter_map(Value::as_str).collect::<Vec<_>>().join(" | ")
        }
        Value::Object(it) if it.contains_key("items") => format!("list of {}", type_name(&it["items"])),
        Value::Object(it) => it.get("logicalType").or(it.get("type")).map(type_name).unwrap_or_default(),
        name => name.as_str().unwrap_or_default().to_owned(),
    }
}
