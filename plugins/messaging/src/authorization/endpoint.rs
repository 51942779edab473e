//! Asks the endpoint, and remembers its answers for a while.

use super::config::{AuthorizationConfig, OnFailure};
use super::question::{Decision, Question};
use crate::http_client::{HttpClient, HttpError, Limits};
use crate::metrics as names;
use axum::http::{HeaderValue, Request, StatusCode, header};
use bytes::Bytes;
use http_body_util::Full;
use metrics::{counter, histogram};
use moka::sync::Cache;
use ring::digest::{SHA256, digest};
use serde_json::{Map, Value};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;
use tokio::time::timeout;

/// Maximum number of remembered answers. Beyond it, those that were used least are forgotten.
const ANSWERS_MAX: u64 = 10_000;
/// Longest answer, in bytes.
const ANSWER_LEN_MAX: usize = 64 << 10;
/// The reason for the client if there is no answer.
const UNAVAILABLE: &str = "authorization unavailable";

/// The endpoint.
pub(crate) struct Authorization {
    config: AuthorizationConfig,
    url: String,
    /// The value of the header `Authorization`.
    token: Option<HeaderValue>,
    client: HttpClient,
    slots: Semaphore,
    /// Answers by the digest of their question. `None` if none are remembered. The digest covers the whole question, and
    /// clients choose parts of it, so it must be one for which nobody finds a second question.
    answers: Option<Cache<[u8; 32], Decision>>,
    /// Whether the last question had no answer. Only changes are logged.
    failing: AtomicBool,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    #[error(transparent)]
    Http(#[from] HttpError),
    #[error("the status is {0}: expected 200")]
    Status(StatusCode),
    #[error("{0}")]
    Answer(String),
}

impl Authorization {
    /// `None` if no URL is configured.
    ///
    /// # Errors
    /// If the file with the token cannot be used.
    pub(crate) fn new(config: &AuthorizationConfig, client: HttpClient) -> Result<Option<Self>, String> {
        let Some(url) = config.url.clone() else { return Ok(None) };
        Ok(Some(Self {
            url,
            token: config.token()?,
            client,
            slots: Semaphore::new(config.concurrency),
            answers: (config.cache > Duration::ZERO).then(|| remembered(config.cache)),
            failing: AtomicBool::new(false),
            config: config.clone(),
        }))
    }

    /// Whether it is asked about each client.
    pub(crate) fn asks_about_clients(&self) -> bool {
        self.config.connect
    }

    /// Whether it is asked about an event.
    pub(crate) fn asks_about(&self, event: &str) -> bool {
        self.config.events.iter().any(|name| name == event)
    }

    /// Those claims of a token that a question may contain.
    pub(crate) fn public(&self, claims: &Map<String, Value>) -> Map<String, Value> {
        let public = |name: &String| Some((name.clone(), claims.get(name)?.clone()));
        self.config.claims.iter().filter_map(public).collect()
    }

    /// Asks, or gives the remembered answer.
    pub(crate) async fn ask(&self, question: &Question<'_>) -> Decision {
        let body = Bytes::from(serde_json::to_vec(question).expect("texts, numbers and JSON are JSON"));
        let cache = self.answers.as_ref().map(|answers| (answers, key(&body)));
        let remembered = cache.as_ref().and_then(|(answers, key)| answers.get(key));
        let answer = match remembered {
            Some(answer) => Ok(answer),
            None => self.asked(body).await.inspect(|answer| {
                if let Some((answers, key)) = cache {
                    answers.insert(key, answer.clone());
                }
            }),
        };
        let (outcome, decision) = match (answer, self.config.on_failure) {
            (Ok(allowed @ Decision::Allowed(_)), _) => ("allowed", allowed),
            (Ok(refused @ Decision::Refused(_)), _) => ("refused", refused),
            (Err(_), OnFailure::Open) => ("failed", Decision::Allowed(Vec::new())),
            (Err(_), OnFailure::Closed) => ("failed", Decision::Refused(UNAVAILABLE.to_owned())),
        };
        counter!(names::AUTHORIZATIONS, "question" => question.name(), "outcome" => outcome).increment(1);
        decision
    }

    /// Asks, and logs when the endpoint begins or ceases to answer.
    async fn asked(&self, body: Bytes) -> Result<Decision, Failure> {
        let answer = self.request(body).await;
        match &answer {
            Ok(_) if self.failing.swap(false, Relaxed) => {
                tracing::info!("the endpoint for authorization answers again");
            }
            Err(why) if !self.failing.swap(true, Relaxed) => {
                tracing::warn!(error = %why, "the endpoint for authorization (plugins.messaging.authorization.url) does not answer");
            }
            _ => {}
        }
        answer
    }

    /// Asks once. The wait for a slot is part of the time.
    pub(super) async fn request(&self, body: Bytes) -> Result<Decision, Failure> {
        let limit = self.config.timeout;
        let begun = Instant::now();
        let mut request = Request::post(&self.url).header(header::CONTENT_TYPE, "application/json");
        if let Some(token) = &self.token {
            request = request.header(header::AUTHORIZATION, token);
        }
        let request = request.body(Full::new(body)).map_err(|e| Failure::Answer(e.to_string()))?;
        let response = async {
            let _slot = self.slots.acquire().await;
            self.client.send(request, Limits { timeout: limit, body: ANSWER_LEN_MAX }).await
        };
        let response = timeout(limit, response).await.unwrap_or(Err(HttpError::Timeout(limit)));
        histogram!(names::AUTHORIZATION_SECONDS).record(begun.elapsed());
        let response = response?;
        match response.status() {
            StatusCode::OK => Decision::read(response.body()).map_err(Failure::Answer),
            other => Err(Failure::Status(other)),
        }
    }
}

fn remembered(duration: Duration) -> Cache<[u8; 32], Decision> {
    Cache::builder().max_capacity(ANSWERS_MAX).time_to_live(duration).build()
}

fn key(body: &[u8]) -> [u8; 32] {
    digest(&SHA256, body).as_ref().try_into().expect("SHA-256 has 32 bytes")
}
