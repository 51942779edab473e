//! `greyhound tail`

use super::admin::{Client, segment};
use super::failure::Failure;
use super::program::Program;
use super::text::Columns;
use clap::Args;
use http_body_util::BodyExt;
use hyper::body::Bytes;
use serde_json::{Map, Value};
use std::io::{IsTerminal, Write, stdout};

const HELP: &str = "\
Prints a table to a terminal, and otherwise one JSON object per line.

Examples:
  greyhound tail messaging.delivery
  greyhound tail messaging.auth --from earliest --where outcome=refused --no-follow
  greyhound tail messaging.push --json | jq .event";

/// The rows to show.
#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(super) struct Tail {
    /// The topic
    topic: String,
    /// The first row: `latest` (new rows only), `earliest` or the number of a row
    #[arg(long, default_value = "latest", value_parser = from)]
    from: String,
    /// Stop after this many rows
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    /// Stop at the last row instead of waiting for more
    #[arg(long)]
    no_follow: bool,
    /// Show only rows with this value in this column; may be repeated
    #[arg(long = "where", value_name = "COLUMN=VALUE", value_parser = condition)]
    conditions: Vec<(String, String)>,
    /// Print one JSON object per line, even to a terminal
    #[arg(long)]
    json: bool,
}

type Row = Map<String, Value>;

/// How to print rows.
enum Shape {
    Json,
    Table { columns: Columns, names: Vec<String>, headed: bool },
}

impl Tail {
    pub(super) async fn run(self, program: &Program) -> Result<(), Failure> {
        let client = program.admin()?;
        let names = self.columns(&client).await?;
        let as_json = self.json || !stdout().is_terminal();
        let shape = if as_json {
            Shape::Json
        } else {
            Shape::Table { columns: Columns::new(names.clone()), names, headed: false }
        };
        self.follow(&client, shape).await
    }

    /// The columns of the topic. Every condition must name one of them.
    async fn columns(&self, client: &Client) -> Result<Vec<String>, Failure> {
        let schema = client.get(&format!("/v1/topics/{}", segment(&self.topic))).await?;
        let fields = schema["fields"].as_array().into_iter().flatten().filter_map(|field| field["name"].as_str());
        let names: Vec<String> = ["seq", "time"].into_iter().chain(fields).map(str::to_owned).collect();
        match self.conditions.iter().find(|(column, _)| column != "shard" && !names.contains(column)) {
            Some((column, _)) => Err(Failure::usage(format!(
                "--where: {} has no column `{column}`; it has {}",
                self.topic,
                names.join(", ")
            ))),
            None => Ok(names),
        }
    }

    async fn follow(self, client: &Client, mut shape: Shape) -> Result<(), Failure> {
        let path = format!("/v1/topics/{}/tail?from={}&follow={}", segment(&self.topic), self.from, !self.no_follow);
        let mut body = client.stream(&path).await?.into_body();
        let (mut text, mut left) = (Vec::new(), self.limit.unwrap_or(usize::MAX));
        while left > 0 {
            let Some(frame) = body.frame().await else { break };
            text.extend(frame.map_err(|e| client.lost(&e.to_string()))?.into_data().unwrap_or_default());
            let rows = self.rows(whole_lines(&mut text), left)?;
            left -= rows.len();
            shape.show(&rows)?;
        }
        match left > 0 && !self.no_follow {
            true => Err(client.lost("the program has stopped")),
            false => Ok(()),
        }
    }

    /// The first `limit` rows of these lines that fit, each with its line.
    fn rows(&self, lines: Bytes, limit: usize) -> Result<Vec<(String, Row)>, Failure> {
        let text = String::from_utf8_lossy(&lines);
        let parsed = text.lines().map(|line| Ok((line.to_owned(), serde_json::from_str(line)?)));
        let fit = parsed.filter(|row: &Result<(String, Row), serde_json::Error>| {
            row.as_ref().map_or(true, |(_, row)| self.fits(row))
        });
        fit.take(limit).collect::<Result<_, _>>().map_err(|e| Failure::failed(format!("a row is not JSON: {e}")))
    }

    fn fits(&self, row: &Row) -> bool {
        self.conditions.iter().all(|(column, value)| row.get(column).is_some_and(|it| cell(it) == *value))
    }
}

impl Shape {
    fn show(&mut self, rows: &[(String, Row)]) -> std::io::Result<()> {
        let mut out = stdout().lock();
        match self {
            Self::Json => rows.iter().try_for_each(|(line, _)| writeln!(out, "{line}"))?,
            Self::Table { columns, names, headed } if !rows.is_empty() => {
                let cells = |row: &Row| names.iter().map(|name| row.get(name).map(cell).unwrap_or_default()).collect();
                let rows: Vec<Vec<String>> = rows.iter().map(|(_, row)| cells(row)).collect();
                columns.widen(&rows);
                if !std::mem::replace(headed, true) {
                    writeln!(out, "{}", columns.head())?;
                }
                rows.iter().try_for_each(|row| writeln!(out, "{}", columns.line(row)))?;
            }
            Self::Table { .. } => {}
        }
        out.flush()
    }
}

/// Takes the complete lines out of `text`.
fn whole_lines(text: &mut Vec<u8>) -> Bytes {
    let end = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    text.drain(..end).collect()
}

/// A value as a cell of a table.
fn cell(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn from(text: &str) -> Result<String, String> {
    match ["latest", "earliest"].contains(&text) || text.parse::<u64>().is_ok() {
        true => Ok(text.to_owned()),
        false => Err("expected `latest`, `earliest` or the number of a row".to_owned()),
    }
}

fn condition(text: &str) -> Result<(String, String), String> {
    let (column, value) = text.split_once('=').ok_or("expected COLUMN=VALUE")?;
    Ok((column.to_owned(), value.to_owned()))
}
