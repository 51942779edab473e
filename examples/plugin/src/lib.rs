//! The plugin `hello`: `POST /v1/hello/greetings` greets somebody, and each greeting is a row of
//! the topic `hello.greeting`.

use async_trait::async_trait;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use axum::{Json, Router};
use greyhound_sdk::config::Problems;
use greyhound_sdk::{Component, Consumer, Context, Drain, Error, Plugin, Publisher};
use greyhound_sdk::{SchemaError, Start, TopicSchema};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// The topic, and its table.
pub const GREETING: &str = "hello.greeting";
/// The metric: how many greetings are durable.
pub const GREETINGS: &str = "hello_greetings_total";

/// How many bytes of rows to read at once.
const READ_BYTES: usize = 1 << 20;

/// The plugin.
#[derive(Debug, Clone, Copy)]
pub struct Hello;

/// The section `[plugins.hello]` of the configuration.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The word that every greeting begins with.
    pub word: String,
}

/// A row of the topic: one field for each field of the schema.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Greeting {
    /// Who was greeted.
    pub name: String,
    /// The greeting.
    pub text: String,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            word: "Welcome".into(),
        }
    }
}

#[async_trait]
impl Plugin for Hello {
    type Config = Config;

    fn name(&self) -> &'static str {
        "hello"
    }

    fn topics(&self) -> Result<Vec<TopicSchema>, SchemaError> {
        Ok(vec![TopicSchema::from_avro(include_str!(
            "../schemas/hello.greeting.avsc"
        ))?])
    }

    fn validate(&self, config: &Config, problems: &mut Problems) {
        if config.word.is_empty() {
            problems.report("word", "must not be empty; leave it out for \"Welcome\"");
        }
    }

    async fn build(&self, config: Config, context: Context) -> Result<Box<dyn Component>, Error> {
        metrics::describe_counter!(GREETINGS, "Greetings that are durable");
        let greeter = Greeter {
            word: config.word,
            greetings: context.bus.publisher(GREETING)?,
        };
        let durable = context
            .bus
            .consumer("hello", GREETING, Start::Earliest)
            .await?;
        Ok(Box::new(Running { greeter, durable }))
    }
}

/// The plugin, built.
struct Running {
    greeter: Greeter,
    durable: Consumer,
}

#[async_trait]
impl Component for Running {
    fn routes(&mut self) -> Router {
        Router::new()
            .route("/greetings", post(greet))
            .with_state(self.greeter.clone())
    }

    /// Counts greetings until the program stops. The next start goes on at the committed position.
    async fn run(mut self: Box<Self>, mut drain: Drain) -> Result<(), Error> {
        loop {
            let batches = tokio::select! {
                _ = drain.requested() => return Ok(()),
                batches = self.durable.next(READ_BYTES) => batches?,
            };
            for batch in batches {
                let greetings: Vec<Greeting> = batch.read()?;
                metrics::counter!(GREETINGS).increment(greetings.len() as u64);
            }
            self.durable.commit(self.durable.position()).await?;
        }
    }
}

/// What the route works with.
#[derive(Clone)]
struct Greeter {
    word: String,
    greetings: Publisher,
}

impl Greeter {
    /// Publishes a greeting, and returns its number as soon as it is on disk.
    async fn greet(&self, greeting: &Greeting) -> Result<u64, Error> {
        let seq = self.greetings.offer(greeting)?;
        self.greetings.durable(seq).await?;
        Ok(seq)
    }
}

/// The body of a request.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Guest {
    name: String,
}

type Answer = (StatusCode, Json<Value>);

async fn greet(State(greeter): State<Greeter>, Json(guest): Json<Guest>) -> Answer {
    let text = format!("{}, {}!", greeter.word, guest.name);
    let greeting = Greeting {
        name: guest.name,
        text,
    };
    match greeter.greet(&greeting).await {
        Ok(seq) => (
            StatusCode::OK,
            Json(json!({ "seq": seq, "text": greeting.text })),
        ),
        Err(e) => (
            StatusCode::SERVICE_UNAVAILABLE,
            Json(json!({ "error": e.to_string() })),
        ),
    }
}
