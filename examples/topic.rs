//! A topic of one's own, without a line of code for it: an Avro file says what its rows are, `POST /v1/topics/<topic>`
//! appends them, and the sink makes a table of it.
use greyhound::{config::Layers, host};
use greyhound_activity::Activity;
use greyhound_sdk::{Component, Context, Drain, Error, Plugin, SchemaError, TopicSchema};

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

#[tokio::main]
async fn main() -> Result<(), Error> {
    let file = std::env::args().nth(1).ok_or("which schema? topic FILE.avsc")?;
    let program = host::Host::builder().plugin(Topic(std::fs::read_to_string(file)?)).plugin(Activity);
    Ok(program.run(Layers::of_process(None).load()?, host::signals()).await?)
}
