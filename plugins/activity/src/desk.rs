//! Where requests of operators reach the tables of the running sink: `POST /v1/activity/repair`.

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Json, Response};
use axum::routing::post;
use serde::Serialize;
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use tokio::sync::{mpsc, oneshot};

/// What became of a table that was asked.
#[derive(Debug, Serialize)]
pub struct Repaired {
    /// The table.
    pub topic: String,
    /// How many rows were written again.
    pub rows: u64,
    /// The files that have them.
    pub files: Vec<String>,
}

/// A request, to be answered.
pub type Request = oneshot::Sender<Repaired>;

/// The tables that run, by topic. The routes of a plugin stay when it is built again: so does this.
#[derive(Debug, Clone, Default)]
pub struct Desk(Arc<Mutex<BTreeMap<String, mpsc::Sender<Request>>>>);

impl Desk {
    /// The one of this process.
    pub(crate) fn of_process() -> Self {
        static DESK: LazyLock<Desk> = LazyLock::new(Desk::default);
        DESK.clone()
    }

    /// What reaches `topic`'s table from now on.
    pub(crate) fn register(&self, topic: &str) -> mpsc::Receiver<Request> {
        let (sender, receiver) = mpsc::channel(1);
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(topic.to_owned(), sender);
        receiver
    }

    /// Has the tables write again what they have lost, one after the other.
    ///
    /// # Errors
    /// The first table that does not answer.
    pub async fn repair(&self) -> Result<Vec<Repaired>, String> {
        let tables: Vec<_> = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone().into_iter().collect();
        let mut repaired = Vec::new();
        for (topic, table) in tables {
            let (answer, answered) = oneshot::channel();
            let asked = table.send(answer).await.is_ok();
            match answered.await {
                Ok(done) if asked => repaired.push(done),
                _ => {
                    return Err(format!(
                        "the table {topic} has stopped, and /readyz says why: repair again when it is ready"
                    ));
                }
            }
        }
        Ok(repaired)
    }

    /// The routes, below `/v1/activity/`.
    pub(crate) fn routes(&self) -> Router {
        Router::new().route("/repair", post(repair)).with_state(self.clone())
    }
}

async fn repair(State(desk): State<Desk>) -> Response {
    match desk.repair().await {
        Ok(tables) => Json(json!({ "tables": tables })).into_response(),
        Err(error) => (StatusCode::SERVICE_UNAVAILABLE, Json(json!({ "error": error }))).into_response(),
    }
}
