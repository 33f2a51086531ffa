//! The wire: everything that axum, serde and the OpenAPI document know of this service.
//!
//! This file is the map: every route, and what every request passes on its way in. A handler
//! parses, makes one call into the services, and renders.

pub mod access;
mod archives;
mod arrow;
pub mod audit;
pub mod batches;
mod columns;
mod csv;
pub mod error;
mod etag;
pub mod events;
pub mod extract;
pub mod feedback;
mod exchange;
mod files;
mod foreign;
pub mod forgetting;
mod format;
pub mod health;
pub mod idempotency;
mod images;
mod instances;
mod json;
pub mod layers;
pub mod models;
mod multipart;
pub mod observe;
mod oip;
pub mod openapi;
pub mod page;
mod pages;
pub mod parse;
pub mod predictions;
mod ranking;
mod samples;
pub mod retention;
pub mod settings;
pub mod slots;
mod spool;
mod stream;
pub mod taking;
pub mod updates;
mod vectors;
pub mod versions;
mod walk;

use std::ops::Deref;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::FromRef;
use axum::http::StatusCode;
use axum::middleware::from_fn_with_state;
use metrics_exporter_prometheus::PrometheusHandle;
use tokio_util::sync::CancellationToken;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use self::access::origins::Origins;
use self::access::rates::Rates;
use self::health::LastLook;
use self::layers::Way;
use self::observe::{Observer, Wire};
use self::slots::{Bounds, Slots};
use crate::services::Context;

/// What the handlers work with; a clone is a reference count.
#[derive(Clone)]
pub struct HttpState(Arc<Parts>);

impl Deref for HttpState {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}

impl From<Parts> for HttpState {
    fn from(parts: Parts) -> Self {
        Self(Arc::new(parts))
    }
}

/// What [`HttpState`] is made of.
pub struct Parts {
    /// What the use cases work with.
    pub context: Context,
    /// What one client may cost.
    pub limits: Limits,
    /// Requests that are answered at once, predictions apart; more are refused with 503.
    pub requests: Arc<Slots>,
    /// Predictions that are answered at once, whatever the protocol; more are refused with 503.
    pub predictions: Arc<Slots>,
    /// Which web pages may ask.
    pub origins: Arc<Origins>,
    /// How often one may ask.
    pub rates: Arc<Rates>,
    /// Streams of predictions that are answered at once: each holds a line or a few, or a batch of rows.
    pub streams: Arc<Slots>,
    /// Whether the service is ready, as it was last found.
    pub readiness: Arc<LastLook>,
    /// What has been counted so far.
    pub metrics: PrometheusHandle,
    /// Cancelled when the service begins to stop: it is no longer ready from then on.
    pub shutdown: CancellationToken,
    /// Where bodies too large for memory wait while they are checked.
    pub spool_dir: Arc<Path>,
}

impl FromRef<HttpState> for Context {
    fn from_ref(state: &HttpState) -> Self {
        state.context.clone()
    }
}

/// What one client may cost.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Most bytes of a body, counted after decompression.
    pub max_body_bytes: usize,
    /// A request's body has this long to arrive, and its answer as long again; batches excepted.
    pub request_timeout: Duration,
    /// How long a client may let the service wait: for a batch or the next line of a stream, beyond what
    /// comes at a least rate (`spool.rs`), and until it takes a piece of an answer (`taking.rs`).
    pub idle_timeout: Duration,
    /// Streams of predictions that are answered at once.
    pub max_streams: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_body_bytes: 64 << 20,
            request_timeout: Duration::from_secs(30),
            idle_timeout: Duration::from_secs(30),
            max_streams: 64,
        }
    }
}

/// The whole service on the wire.
pub fn router(state: HttpState) -> Router {
    // From the inside out: a request passes these from the last to the first.
    let within = |routes: OpenApiRouter<HttpState>, bounds: Bounds| {
        let way = Way { state: state.clone(), bounds };
        routes.layer(from_fn_with_state(Arc::new(way), layers::enter))
    };
    let router = Router::from(api(&state.limits, [&state.requests, &state.predictions], within));
    let router = match state.origins.layer() {
        // A browser asks without a key what its page may ask.
        Some(cors) => router.layer(cors),
        None => router,
    };
    router.layer(from_fn_with_state(Observer::new(Wire::Http), observe::observe)).with_state(state)
}

pub use self::oip::grpc::router as grpc_router;

/// The document that `openapi.yaml` holds and the service serves.
pub fn openapi() -> utoipa::openapi::OpenApi {
    let nobody = Slots::new(0, Duration::ZERO);
    openapi::finish(api(&Limits::default(), [&nobody; 2], |routes, _| routes).into_openapi())
}

/// All routes, each `within` what bounds it.
fn api(
    limits: &Limits,
    [requests, predictions]: [&Arc<Slots>; 2],
    within: impl Fn(OpenApiRouter<HttpState>, Bounds) -> OpenApiRouter<HttpState>,
) -> OpenApiRouter<HttpState> {
    let patience = limits.request_timeout * 2;
    let bounds = |slots: Option<&Arc<Slots>>, most| Bounds { slots: slots.cloned(), most };

    let operations = OpenApiRouter::new()
        .routes(routes!(health::healthz))
        .routes(routes!(health::readyz))
        .routes(routes!(health::metrics))
        .merge(oip::health_routes())
        .routes(routes!(openapi::yaml))
        .routes(routes!(openapi::json))
        .merge(pages::routes().into())
        .fallback(async || StatusCode::NOT_FOUND);
    let records = OpenApiRouter::new()
        .routes(routes!(models::create, models::list))
        .routes(routes!(models::get, models::patch, models::delete))
        .routes(routes!(retention::plan))
        .routes(routes!(batches::list))
        .routes(routes!(batches::get, forgetting::batch))
        .routes(routes!(forgetting::samples))
        .routes(routes!(feedback::give))
        .routes(routes!(updates::list_all))
        .routes(routes!(updates::request, updates::list))
        .routes(routes!(updates::selection))
        .routes(routes!(updates::cancel))
        .routes(routes!(updates::retry))
        .routes(routes!(versions::list))
        .routes(routes!(versions::import))
        .routes(routes!(versions::get))
        .routes(routes!(versions::checkpoint))
        .routes(routes!(versions::list_aliases))
        .routes(routes!(versions::put_alias, versions::delete_alias))
        .merge(oip::metadata_routes())
        .routes(routes!(audit::list));
    let waiting = OpenApiRouter::new().routes(routes!(updates::get));
    // A batch takes as long as its client sends, no slower than at a least rate, by the handler itself.
    let uploads = OpenApiRouter::new().routes(routes!(batches::create));
    // Apart from the rest, so that whatever else goes on leaves room for them.
    let predicting = OpenApiRouter::new()
        .routes(routes!(predictions::live))
        .routes(routes!(predictions::version))
        .routes(routes!(predictions::alias))
        .merge(oip::infer_routes())
        .merge(instances::routes());
    // Open for as long as their clients listen, and bounded apart from all that is answered: only the
    // beginning of a stream has to come in time.
    let streams =
        OpenApiRouter::new().routes(routes!(events::of_update)).routes(routes!(events::of_all));

    within(operations, Bounds::default())
        .merge(within(records, bounds(Some(requests), Some(patience))))
        .merge(within(waiting, bounds(Some(requests), Some(patience + updates::MAX_WAIT))))
        .merge(within(uploads, bounds(Some(requests), None)))
        .merge(within(predicting, bounds(Some(predictions), Some(patience))))
        .merge(within(streams, bounds(None, Some(patience))))
}
