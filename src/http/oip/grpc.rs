//! The Open Inference Protocol over gRPC (proto/inference.proto), for which there is a port of its own, beside
//! gRPC's own services for health and for reflection.
//!
//! Calls are routes and pass what every request passes. Invariants: a call is answered as the same request is
//! over HTTP, of which only the reading of messages and the writing of answers is told anew here; a model is
//! asked about only by [`named`], which looks at the caller's key.

mod calls;
mod contents;
mod infer;
mod operations;
#[expect(clippy::enum_variant_names, reason = "they are called as the protocol calls its fields")]
mod proto;
mod refusal;
mod stream;

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::Extensions;
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use tonic::codec::CompressionEncoding;

use self::calls::Calls;
use self::proto::grpc_inference_service_server::{GrpcInferenceServiceServer, SERVICE_NAME};
pub(in crate::http) use self::refusal::refuse;
use super::super::HttpState;
use super::super::access::{self, Admitted};
use super::super::error::{Problem, ProblemCode};
use super::super::exchange::live_version;
use super::super::layers::{self, Way};
use super::super::observe::{self, Observer, Wire};
use super::super::slots::{Bounds, Slots};
use super::super::taking;
use crate::domain::name::ModelName;
use crate::services::serving::Target;

/// All that is answered over gRPC.
///
/// # Errors
/// When what clients are told of the calls cannot be read.
pub fn router(state: HttpState) -> Result<Router, tonic_reflection::server::Error> {
    let patience = state.limits.request_timeout * 2;
    let within = |calls: Router, slots: Option<&Arc<Slots>>| {
        let bounds = Bounds { slots: slots.cloned(), most: Some(patience) };
        calls.layer(from_fn_with_state(Arc::new(Way { state: state.clone(), bounds }), admit))
    };
    let service = GrpcInferenceServiceServer::new(Calls(state.clone()))
        .max_decoding_message_size(state.limits.max_body_bytes)
        .accept_compressed(CompressionEncoding::Gzip)
        .accept_compressed(CompressionEncoding::Deflate);
    let calls = |names: &[&str]| {
        let path = |name: &&str| format!("/{SERVICE_NAME}/{name}");
        names
            .iter()
            .map(path)
            .fold(Router::new(), |router, path| router.route_service(&path, service.clone()))
    };
    let operations = calls(&["ServerLive", "ServerReady", "ServerMetadata"]);
    let records = calls(&["ModelReady", "ModelMetadata", "ModelStatistics", "RepositoryIndex"]);
    let predictions = calls(&["ModelInfer"]);
    // Each of its requests takes a slot by itself.
    let streams = calls(&["ModelStreamInfer"])
        .layer(from_fn_with_state(state.limits.idle_timeout, taking::bound));
    let operations = operations.merge(operations::routes(&state)?).fallback(unknown);
    let calls = within(operations, None)
        .merge(within(records, Some(&state.requests)))
        .merge(within(predictions, Some(&state.predictions)))
        .merge(within(streams, None));
    Ok(calls.layer(from_fn_with_state(Observer::new(Wire::Grpc), observe::observe)))
}

async fn admit(State(way): State<Arc<Way>>, request: Request, next: Next) -> Response {
    let bounded = |request| way.bounds.run(None, request, next);
    layers::caught(access::admit(&way.state, request, bounded)).await
}

async fn unknown() -> Problem {
    Problem::new(ProblemCode::MethodNotAllowed, "this service does not know this call")
}

/// The model that a message names, where its caller may ask about it.
fn named(extensions: &Extensions, name: &str) -> Result<ModelName, Problem> {
    let admitted = Admitted::of(extensions)?;
    let model = ModelName::parse(name).map_err(|_| Problem::not_found("model of this name"))?;
    admitted.opens(Some(model.as_str()))?;
    Ok(model)
}

/// The number of the version that a message names; `None` where it names none.
fn number(version: &str) -> Result<Option<i32>, Problem> {
    if version.is_empty() {
        return Ok(None);
    }
    let number = version.parse().map_err(|_| Problem::not_found("version of this number"));
    number.map(Some)
}

/// The version that is to answer.
fn target(version: &str) -> Result<Target, Problem> {
    match number(version)? {
        Some(n) => Ok(Target::Version(n)),
        None => Ok(live_version()?),
    }
}
