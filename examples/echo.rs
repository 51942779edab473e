//! A plugin, and a program with it: what a client pushes is sent back to every device of its user.
use greyhound::activity::Activity;
use greyhound::messaging::{Emitter, Message, Messaging, To};
use greyhound::{Host, cli};
use greyhound_sdk::{Component, Consumer, Context, Drain, Error, Plugin, Start};
use serde_json::value::RawValue;
use std::process::ExitCode;

struct Echo(Emitter);
struct Running(Emitter, Consumer);
/// `[plugins.echo]` has no keys of its own.
#[derive(Clone, Default, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Config {}

/// The columns of `messaging.push` that it needs.
#[derive(serde::Deserialize)]
struct Push {
    user_id: String,
    event: String,
    data: Option<String>,
}

#[async_trait::async_trait]
impl Plugin for Echo {
    type Config = Config;
    fn name(&self) -> &'static str {
        "echo"
    }
    async fn build(&self, _: Config, context: Context) -> Result<Box<dyn Component>, Error> {
        Ok(Box::new(Running(self.0.clone(), context.bus.consumer("echo", "messaging.push", Start::Earliest).await?)))
    }
}

#[async_trait::async_trait]
impl Component for Running {
    async fn run(mut self: Box<Self>, mut drain: Drain) -> Result<(), Error> {
        loop {
            let batches = tokio::select! {
                _ = drain.requested() => return Ok(()),
                batches = self.1.next(1 << 20) => batches?,
            };
            for batch in batches {
                for push in batch.read::<Push>()? {
                    // `?` would restart the plugin at the same push, again and again.
                    if let Err(error) = answer(&self.0, &push) {
                        tracing::warn!(%error, user = push.user_id, "cannot answer a push");
                    }
                }
            }
            self.1.commit(self.1.position()).await?;
        }
    }
}

fn answer(emitter: &Emitter, Push { user_id, event, data }: &Push) -> Result<(), Error> {
    let args: Vec<Box<RawValue>> = serde_json::from_str(data.as_deref().unwrap_or("[]"))?;
    let to = To { namespace: "/", rooms: &[format!("user({user_id})")], except: &[] };
    emitter.emit(&Message { event, args: &args, to, volatile: false, source: "plugin", publisher: Some("echo") })?;
    Ok(())
}

fn main() -> ExitCode {
    let messaging = Messaging::default();
    // In the order in which rows flow: the echo publishes through the gateway, the sink comes last.
    cli::main(Host::builder().plugin(Echo(messaging.emitter())).plugin(messaging).plugin(Activity))
}
