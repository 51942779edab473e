//! `greyhound emit`

use super::admin::Client;
use super::failure::Failure;
use super::program;
use clap::Args;
use serde::Serialize;
use serde_json::Value;
use serde_json::value::RawValue;
use std::io::{Write, stdout};
use std::path::PathBuf;

const HELP: &str = "\
Examples:
  greyhound emit --room 'user(1)' message '\"hello\"'
  greyhound emit --room 'site(example.com)' --except 'user(2)' order '{\"item\": 7}' 42
  greyhound emit --namespace /chat message '\"to everybody\"'";

/// The message.
#[derive(Debug, Args, Serialize)]
#[command(after_help = HELP)]
pub(super) struct Emit {
    /// A room that it is for, such as 'user(1)'; can be given several times. None: everybody in the namespace
    #[arg(long = "room", value_name = "ROOM", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    rooms: Vec<String>,
    /// A room whose members are left out; can be given several times
    #[arg(long, value_name = "ROOM")]
    except: Vec<String>,
    /// The namespace
    #[arg(long, default_value = "/")]
    namespace: String,
    /// Do not wait until the message's row is durable
    #[arg(long = "no-wait", action = clap::ArgAction::SetFalse)]
    durable: bool,
    /// The event's name
    #[arg(value_parser = clap::builder::NonEmptyStringValueParser::new())]
    event: String,
    /// The event's arguments, each JSON: '"text"', 42, '{"a": 1}'
    #[arg(value_parser = json, allow_negative_numbers = true)]
    args: Vec<Box<RawValue>>,
}

impl Emit {
    pub(super) async fn run(self, file: Option<PathBuf>) -> Result<(), Failure> {
        let client = Client::new(&program::load(file)?.host.settings().admin)?;
        let body = serde_json::to_vec(&self).map_err(|e| Failure::failed(e.to_string()))?;
        let answer = client.post("/v1/messaging/emit", body).await?;
        let id = answer["message"].as_str().unwrap_or("(not recorded)");
        let recipients = match &answer["recipients"] {
            Value::Number(one) if one.as_u64() == Some(1) => "1 recipient".to_owned(),
            many => format!("{many} recipients"),
        };
        Ok(writeln!(stdout(), "message {id}: {recipients}")?)
    }
}

fn json(text: &str) -> Result<Box<RawValue>, String> {
    RawValue::from_string(text.to_owned()).map_err(|e| {
        let as_text = Value::from(text);
        format!("it is not JSON ({e}); a text is written '{as_text}'")
    })
}
