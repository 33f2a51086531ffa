//! What those who run the service ask it: is it alive, is it ready, what has it counted.
//!
//! Invariant: however often anyone asks whether the service is ready, the database is asked by one at a time,
//! and no more than once a second.

use std::fmt;
use std::time::{Duration, Instant};

use axum::extract::State;
use axum::http::{HeaderName, StatusCode, header};
use serde::Serialize;
use tokio::sync::Mutex;
use utoipa::ToSchema;

use super::HttpState;
use crate::services::{Context, ServiceError, feedback};
use crate::storage::predictions::worth::PointedAt;
use crate::storage::{StorageError, database, jobs};

/// Probes give up after a few seconds themselves.
const PATIENCE: Duration = Duration::from_secs(2);

/// How long what was found holds.
const HOLDS: Duration = Duration::from_secs(1);

/// The process is alive.
#[derive(Debug, Serialize, ToSchema)]
pub struct Liveness {
    /// Always true: a dead process does not answer.
    live: bool,
}

/// Whether requests may be sent here.
#[derive(Debug, Serialize, ToSchema)]
pub struct Readiness {
    /// Whether they may.
    ready: bool,
    /// What stands against it.
    failing: Vec<FailingCheck>,
}

/// A check that failed.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct FailingCheck {
    /// Which: `shutdown`, `database`, `migrations` or `models`.
    #[schema(value_type = String)]
    name: &'static str,
    /// In words.
    detail: String,
}

impl fmt::Display for FailingCheck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.name, self.detail)
    }
}

/// Tell whether the process is alive.
///
/// Touches neither database nor models.
#[utoipa::path(get, path = "/healthz", operation_id = "healthz", tag = "operations",
    responses((status = 200, description = "It is.", body = Liveness)))]
pub async fn healthz() -> axum::Json<Liveness> {
    axum::Json(Liveness { live: true })
}

/// Tell whether the service is ready.
///
/// It is when the database can be reached, its migrations are applied and the live versions are
/// loaded, and no longer is once it is shutting down.
#[utoipa::path(get, path = "/readyz", operation_id = "readyz", tag = "operations",
    responses(
        (status = 200, description = "It is.", body = Readiness),
        (status = 503, description = "It is not; tells what fails.", body = Readiness),
    ))]
pub async fn readyz(State(state): State<HttpState>) -> (StatusCode, axum::Json<Readiness>) {
    let failing = failing_check(&state).await;
    let status = match failing {
        None => StatusCode::OK,
        Some(_) => StatusCode::SERVICE_UNAVAILABLE,
    };
    let failing: Vec<_> = failing.into_iter().collect();
    (status, axum::Json(Readiness { ready: failing.is_empty(), failing }))
}

/// What was found when it was last looked, and when that was.
#[derive(Debug, Default)]
pub struct LastLook(Mutex<Option<(Instant, Option<FailingCheck>)>>);

impl LastLook {
    /// What stands against sending requests here, found by `look` where that is not known from a moment ago.
    /// Who comes meanwhile waits for it.
    async fn failing(
        &self,
        look: impl Future<Output = Option<FailingCheck>>,
    ) -> Option<FailingCheck> {
        let mut last = self.0.lock().await;
        if let Some((found_at, failing)) = &*last
            && found_at.elapsed() < HOLDS
        {
            return failing.clone();
        }
        let failing = look.await;
        *last = Some((Instant::now(), failing.clone()));
        failing
    }
}

/// What stands against sending requests here.
pub(super) async fn failing_check(state: &HttpState) -> Option<FailingCheck> {
    let looking = state.readiness.failing(first_failing(&state.context));
    match state.shutdown.run_until_cancelled(looking).await {
        Some(failing) => failing,
        None => Some(failing("shutdown", "the service is shutting down")),
    }
}

/// Each check needs what the one before found in order, so the first that fails tells all.
async fn first_failing(context: &Context) -> Option<FailingCheck> {
    let checks = async {
        if let Err(error) = database::ping(&context.pool).await {
            return Some(because("database", "the database cannot be reached", &error));
        }
        match database::pending_migrations(&context.pool).await {
            Ok(0) => {}
            Ok(n) => return Some(failing("migrations", format!("{n} are not applied"))),
            Err(error) => return Some(because("migrations", "they cannot be checked", &error)),
        }
        context
            .serving
            .ready()
            .err()
            .map(|error| because("models", "live versions are not loaded", &error))
    };
    tokio::time::timeout(PATIENCE, checks)
        .await
        .unwrap_or_else(|_| Some(failing("database", "the database does not answer in time")))
}

fn failing(name: &'static str, detail: impl Into<String>) -> FailingCheck {
    FailingCheck { name, detail: detail.into() }
}

/// The same, with the cause for the log alone.
fn because(name: &'static str, detail: &str, cause: &dyn std::fmt::Display) -> FailingCheck {
    tracing::warn!(%cause, "not ready: {detail}");
    failing(name, detail)
}

/// Tell what has been counted and measured, in Prometheus's text format.
#[utoipa::path(get, path = "/metrics", operation_id = "metrics", tag = "operations",
    responses((status = 200, description = "The metrics.", body = String,
               content_type = "text/plain; version=0.0.4")))]
pub async fn metrics(State(state): State<HttpState>) -> ([(HeaderName, &'static str); 1], String) {
    let gauges = tokio::time::timeout(PATIENCE, count_updates(&state.context));
    if let Ok(Err(error)) = gauges.await {
        tracing::debug!(%error, "updates could not be counted");
    }
    let figures = tokio::time::timeout(PATIENCE, tell_live_figures(&state.context));
    if let Ok(Err(error)) = figures.await {
        tracing::debug!(%error, "live figures could not be read");
    }
    let pool = &state.context.pool;
    let idle = pool.num_idle() as f64;
    metrics::gauge!("perennial_database_connections", "state" => "idle").set(idle);
    metrics::gauge!("perennial_database_connections", "state" => "busy")
        .set(f64::from(pool.size()) - idle);
    let text = [(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")];
    (text, state.metrics.render())
}

/// Sets the gauges of live figures. Those of versions that no alias points at any more end after a while
/// (telemetry.rs).
async fn tell_live_figures(context: &Context) -> Result<(), ServiceError> {
    for figures in feedback::of_all_pointed_at(context).await? {
        let PointedAt { model, version, labelled, accuracy, calibration_error } = figures;
        let labels = [("model", model), ("version", version.to_string())];
        metrics::gauge!("perennial_live_labelled", &labels).set(labelled as f64);
        metrics::gauge!("perennial_live_accuracy_ratio", &labels).set(accuracy);
        metrics::gauge!("perennial_live_calibration_error", &labels).set(calibration_error);
    }
    Ok(())
}

/// Sets the gauges of updates that wait or run, of all processes, to what the database says.
async fn count_updates(context: &Context) -> Result<(), StorageError> {
    let mut db = context.pool.acquire().await?;
    let counts = jobs::count_by_status(&mut db).await?;
    for status in ["queued", "running"] {
        let count = counts.iter().find(|(word, _)| word == status).map_or(0, |&(_, n)| n);
        metrics::gauge!("perennial_updates", "status" => status).set(count as f64);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[tokio::test]
    async fn many_who_ask_at_once_are_answered_by_one_look() {
        let (last, n_looks) = (LastLook::default(), AtomicUsize::new(0));
        let (last, n_looks) = (&last, &n_looks);
        let ask = || {
            last.failing(async move {
                n_looks.fetch_add(1, Ordering::Relaxed);
                tokio::time::sleep(Duration::from_millis(10)).await;
                Some(failing("database", "away"))
            })
        };
        for failing in futures_util::future::join_all((0..50).map(|_| ask())).await {
            assert_eq!(failing.unwrap().name, "database");
        }
        assert_eq!(n_looks.load(Ordering::Relaxed), 1);
        // What is old no longer holds.
        *last.0.lock().await = Instant::now().checked_sub(HOLDS).map(|found_at| (found_at, None));
        assert!(ask().await.is_some());
        assert_eq!(n_looks.load(Ordering::Relaxed), 2);
    }
}
