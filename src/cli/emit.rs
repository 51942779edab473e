//! `greyhound emit`

use super::admin::{Client, segment};
use super::failure::Failure;
use super::program::Program;
use clap::Args;
use serde::Serialize;
use serde_json::Value;
use serde_json::value::RawValue;
use std::io::{Write, stdout};

const HELP: &str = "\
Examples:
  greyhound emit --room 'user(1)' message '\"hello\"'
  greyhound emit --room 'site(example.com)' --except 'user(2)' order '{\"item\": 7}' 42
  greyhound emit --namespace /chat message '\"to everybody\"'

Exit status 3: the message reached only the clients of this node, because the cluster cannot be reached.";

/// The message.
#[derive(Debug, Args, Serialize)]
#[command(after_help = HELP)]
pub(super) struct Emit {
    /// Send to this room, such as 'user(1)'; may be repeated [default: everybody in the namespace]
    #[arg(long = "room", value_name = "ROOM", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    rooms: Vec<String>,
    /// Exclude the members of this room; may be repeated
    #[arg(long, value_name = "ROOM")]
    except: Vec<String>,
    /// The namespace
    #[arg(long, default_value = "/")]
    namespace: String,
    /// Do not wait until the row of the message is durable
    #[arg(long = "no-wait", action = clap::ArgAction::SetFalse)]
    durable: bool,
    /// The name of the event
    #[arg(value_parser = clap::builder::NonEmptyStringValueParser::new())]
    event: String,
    /// The arguments of the event, each as JSON: '"text"', 42, '{"a": 1}'
    #[arg(value_parser = json, allow_negative_numbers = true)]
    args: Vec<Box<RawValue>>,
}

impl Emit {
    pub(super) async fn run(self, program: &Program) -> Result<(), Failure> {
        let client = program.admin()?;
        let body = serde_json::to_vec(&self).map_err(|e| Failure::failed(e.to_string()))?;
        let answer = client.post("/v1/messaging/emit", body).await?;
        let id = answer["message"].as_str().unwrap_or("(not recorded)");
        let recipients = counted(answer["recipients"].as_u64().unwrap_or_default(), "recipient");
        let Some(reached) = answer["cluster"]["reached"].as_bool() else {
            return Ok(writeln!(stdout(), "message {id}: {recipients}")?);
        };
        let others = if reached { others(&client, &self.namespace).await } else { String::new() };
        writeln!(stdout(), "message {id}: {recipients} on this node{others}")?;
        match reached {
            true => Ok(()),
            false => Err(Failure::in_part(format!(
                "the cluster did not confirm the message: {}; do not send it again: the clients of this node have it",
                answer["cluster"]["why"].as_str().unwrap_or("the cluster cannot be reached")
            ))),
        }
    }
}

/// What to report about the other nodes: their number. Each counts its own recipients, in its row of the message.
async fn others(client: &Client, namespace: &str) -> String {
    match client.get(&format!("/v1/messaging/nodes?namespace={}", segment(namespace))).await {
        Ok(answer) => match answer["nodes"].as_u64().unwrap_or(1).saturating_sub(1) {
            0 => ", which is the only one in the cluster".to_owned(),
            nodes => format!("; published to {}, whose recipients are not counted here", counted(nodes, "other node")),
        },
        Err(_) => "; published to the other nodes, whose number is unknown".to_owned(),
    }
}

fn counted(number: u64, of: &str) -> String {
    if number == 1 { format!("1 {of}") } else { format!("{number} {of}s") }
}

fn json(text: &str) -> Result<Box<RawValue>, String> {
    RawValue::from_string(text.to_owned()).map_err(|e| {
        let as_text = Value::from(text);
        format!("not JSON ({e}); write a text as '{as_text}'")
    })
}
