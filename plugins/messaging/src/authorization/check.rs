//! Tries the endpoint, for `greyhound validate --connect`.

use super::config::AuthorizationConfig;
use super::endpoint::Authorization;
use super::question::Question;
use crate::http_client::HttpClient;
use bytes::Bytes;
use greyhound_sdk::{Check, Verdict};
use serde_json::Map;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Instant;

/// The user in the question.
const USER: &str = "greyhound validate";

/// Asks whether a user that does not exist may connect. Either answer shows that the endpoint works.
pub(crate) async fn check(config: &AuthorizationConfig) -> Option<Check> {
    let verdict = match Authorization::new(config, HttpClient::new()) {
        Ok(None) => return None,
        Ok(Some(endpoint)) => asked(&endpoint).await,
        Err(why) => Verdict::Fails(why),
    };
    Some(Check { name: "authorization", verdict })
}

async fn asked(endpoint: &Authorization) -> Verdict {
    let address = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let question = Question::Connect { user: USER, site: None, namespace: "/", address, claims: Map::new() };
    let body = serde_json::to_vec(&question).expect("texts are JSON");
    let begun = Instant::now();
    match endpoint.request(Bytes::from(body)).await {
        Ok(_) => Verdict::Works(format!("it answers, after {} ms", begun.elapsed().as_millis())),
        Err(why) => Verdict::Fails(format!("plugins.messaging.authorization.url: {why}")),
    }
}
