//! What operators see: structured logs, and metrics for `/metrics`.

use std::io::IsTerminal;
use std::time::Duration;

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use metrics_util::MetricKindMask;
use tracing_subscriber::EnvFilter;

use crate::config::LogFormat;

/// Starts logging to standard error. A second call changes nothing.
///
/// # Errors
/// When `filter` is no filter in tracing's syntax.
pub fn start_logging(filter: &str, format: LogFormat) -> Result<(), String> {
    let filter = EnvFilter::builder().parse(filter).map_err(|error| format!("--log: {error}"))?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    // Only the first subscriber counts; tests start several services in one process.
    let _ = match format {
        LogFormat::Text => builder.try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
    Ok(())
}

/// Upper bounds of the histograms' buckets, in seconds: from a prediction to a long update.
const BUCKETS_S: [f64; 14] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0, 300.0];

/// Gauges that were not set for so long are no longer told: of what they are about, there is no more.
const GAUGES_END_AFTER: Duration = Duration::from_secs(600);

/// Starts recording metrics; a second call gives a recorder of its own that nothing writes to.
///
/// # Errors
/// When the exporter cannot be set up.
pub fn start_metrics() -> Result<PrometheusHandle, String> {
    let builder = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &BUCKETS_S)
        .map_err(|error| error.to_string())?;
    let builder = builder.idle_timeout(MetricKindMask::GAUGE, Some(GAUGES_END_AFTER));
    let recorder = builder.build_recorder();
    let handle = recorder.handle();
    let _ = metrics::set_global_recorder(recorder);
    Ok(handle)
}
