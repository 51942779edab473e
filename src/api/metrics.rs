//! The metrics of the process in Prometheus format.

use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use std::sync::OnceLock;

/// Renders the metrics.
#[derive(Clone)]
pub(crate) struct Recorder(PrometheusHandle);

/// Installs the recorder. All hosts of a process share it.
///
/// # Panics
/// If the process has another recorder already.
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

    /// Returns a recorder that is not installed, and its handle.
    #[cfg(test)]
    pub(crate) fn detached() -> (metrics_exporter_prometheus::PrometheusRecorder, Self) {
        let records = PrometheusBuilder::new().build_recorder();
        let handle = records.handle();
        (records, Self(handle))
    }

    /// Whether the histogram has samples. Rendering would fold them.
    #[cfg(test)]
    pub(crate) fn has_folded(&self, histogram: &str) -> bool {
        let inner = format!("{:?}", self.0);
        let (_, folded) = inner.split_once(" distributions: ").expect("the field of the exporter");
        folded.split(" distribution_builder: ").next().is_some_and(|it| it.contains(&format!("{histogram:?}")))
    }

    /// Folds samples into the histograms. They would accumulate if this were not called and nothing scraped the
    /// metrics.
    pub(super) fn upkeep(&self) {
        self.0.run_upkeep();
    }
}
