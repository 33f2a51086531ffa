//! What handlers work with, as the settings have it.

use std::sync::Arc;
use std::time::Duration;

use metrics_exporter_prometheus::PrometheusHandle;
use tokio_util::sync::CancellationToken;

use super::AppError;
use crate::config::Settings;
use crate::http::access::origins::Origins;
use crate::http::access::rates::Rates;
use crate::http::slots::Slots;
use crate::http::{HttpState, Limits, Parts};
use crate::services::Context;

/// Makes it, and the directory in which large bodies wait.
///
/// # Errors
/// [`AppError::Io`] when the directory cannot be made.
pub(super) fn http_state(
    settings: &Settings,
    context: &Context,
    metrics: PrometheusHandle,
    shutdown: &CancellationToken,
) -> Result<HttpState, AppError> {
    let spool_dir = settings.data_dir().join("spool");
    let what = format!("spool directory {}", spool_dir.display());
    std::fs::create_dir_all(&spool_dir).map_err(AppError::io(what))?;
    let limits = Limits {
        max_body_bytes: usize::try_from(settings.max_body_bytes).unwrap_or(usize::MAX),
        idle_timeout: Duration::from_secs(u64::from(settings.client_timeout_s)),
        ..Limits::default()
    };
    let slots = |n| Slots::new(n, limits.idle_timeout);
    Ok(HttpState::from(Parts {
        context: context.clone(),
        limits,
        origins: Arc::new(Origins::new(&settings.cors_origin, settings.allow_open_access)),
        requests: slots(settings.max_requests as usize),
        predictions: slots(settings.max_requests as usize),
        rates: Arc::new(Rates::new(settings.requests_per_minute)),
        streams: slots(limits.max_streams),
        readiness: Arc::default(),
        metrics,
        shutdown: shutdown.clone(),
        spool_dir: spool_dir.into(),
    }))
}
