//! A topic of your own without code for it: the Avro file that `TOPIC_SCHEMA` names in the environment declares its rows,
//! `POST /v1/topics/<topic>` appends them, and the sink writes its table.
use greyhound::activity::Activity;
use greyhound::{Host, cli};
use greyhound_sdk::{Component, Context, Drain, Error, Plugin, SchemaError, TopicSchema};
use std::process::ExitCode;

struct Topic(String);
struct Declared;
/// `[plugins.topic]` has no keys of its own.
#[derive(Clone, Default, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Config {}

#[async_trait::async_trait]
impl Plugin for Topic {
    type Config = Config;
    fn name(&self) -> &'static str {
        "topic"
    }
    fn topics(&self) -> Result<Vec<TopicSchema>, SchemaError> {
        Ok(vec![TopicSchema::from_avro(&self.0)?.open()])
    }
    async fn build(&self, _: Config, _: Context) -> Result<Box<dyn Component>, Error> {
        Ok(Box::new(Declared))
    }
}

#[async_trait::async_trait]
impl Component for Declared {
    async fn run(self: Box<Self>, mut drain: Drain) -> Result<(), Error> {
        drain.requested().await;
        Ok(())
    }
}

fn main() -> ExitCode {
    let schema = std::env::var("TOPIC_SCHEMA").map_err(Error::from).and_then(|file| Ok(std::fs::read_to_string(file)?));
    match schema {
        Ok(schema) => cli::main(Host::builder().plugin(Topic(schema)).plugin(Activity)),
        Err(error) => {
            eprintln!("error: TOPIC_SCHEMA in the environment must name an Avro schema: {error}");
            ExitCode::from(2)
        }
    }
}
