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

    /// One that is not the process's, and what records for it.
    #[cfg(test)]
    pub(crate) fn detached() -> (metrics_exporter_prometheus::PrometheusRecorder, Self) {
        let records = PrometheusBuilder::new().build_recorder();
        let handle = records.handle();
        (records, Self(handle))
    }

    /// Whether the histogram has what was measured. A scrape would fold it.
    #[cfg(test)]
    pub(crate) fn has_folded(&self, histogram: &str) -> bool {
        let inner = format!("{:?}", self.0);
        let (_, folded) = inner.split_once(" distributions: ").expect("the field of the exporter");
        folded.split(" distribution_builder: ").next().is_some_and(|it| it.contains(&format!("{histogram:?}")))
    }

    /// Folds what was measured into the histograms. Without this now and then, it piles up where nobody scrapes.
    pub(super) fn upkeep(&self) {
        self.0.run_upkeep();
    }
}
