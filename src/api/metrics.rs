//! The process's metrics, as Prometheus reads them.

use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use std::sync::OnceLock;

/// Renders the metrics.
#[derive(Clone)]
pub(crate) struct Recorder(PrometheusHandle);

/// Installs the recorder; a process has one, however many hosts it runs.
///
/// # Panics
/// Where the process has another recorder already.
pub(crate) fn install() -> Recorder {
    static INSTALLED: OnceLock<PrometheusHandle> = OnceLock::new();
    Recorder(
        INSTALLED
            .get_or_init(|| PrometheusBuilder::new().install_recorder().expect("no other metrics recorder"))
            .clone(),
    )
}

impl Recorder {
    pub(super) fn render(&self) -> String {
        self.upkeep();
        self.0.render()
    }

    /// Folds what was measured into the histograms. Without this now and then, it piles up where nobody scrapes.
    pub(super) fn upkeep(&self) {
        self.0.run_upkeep();
    }
}
