//! `POST /v1/activity/repair`: operators have the running tables write lost rows again.

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

/// The repair of one table.
#[derive(Debug, Serialize)]
pub struct Repaired {
    /// The table.
    pub topic: String,
    /// The number of rows that were written again.
    pub rows: u64,
    /// The files that have them.
    pub files: Vec<String>,
}

/// A request to a table, with the channel for its answer.
pub type RepairRequest = oneshot::Sender<Repaired>;

/// The running tables, by topic. A plugin's routes outlive a rebuild of the plugin, and so does this.
#[derive(Debug, Clone, Default)]
pub struct RunningTables(Arc<Mutex<BTreeMap<String, mpsc::Sender<RepairRequest>>>>);

impl RunningTables {
    /// Those of this process.
    pub(crate) fn of_process() -> Self {
        static TABLES: LazyLock<RunningTables> = LazyLock::new(RunningTables::default);
        TABLES.clone()
    }

    /// Registers `topic`'s table, which from now on gets the requests.
    pub(crate) fn register(&self, topic: &str) -> mpsc::Receiver<RepairRequest> {
        let (sender, receiver) = mpsc::channel(1);
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(topic.to_owned(), sender);
        receiver
    }

    /// Has the tables write lost rows again, one table after the other.
    ///
    /// # Errors
    /// If a table does not answer.
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
                        "the table {topic} has stopped, and /readyz says why: repeat the repair when it is ready"
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

async fn repair(State(tables): State<RunningTables>) -> Response {
    match tables.repair().await {
        Ok(repaired) => Json(json!({ "tables": repaired })).into_response(),
        Err(error) => (StatusCode::SERVICE_UNAVAILABLE, Json(json!({ "error": error }))).into_response(),
    }
}
