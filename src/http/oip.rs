//! `/v2`: the Open Inference Protocol, version 2, as KServe, Triton and MLServer speak it, with its
//! extensions for bytes, for classification and for statistics; the same over gRPC is in `grpc`.
//!
//! Invariant: only what is here is advertised. Refusals are `{"error": "…"}` ([`super::foreign`]),
//! words and names are told apart by case, and inputs are read by the rules of `…/predict`.

mod answer;
mod binary;
mod flat;
pub(super) mod grpc;
mod infer;
mod inputs;
mod metadata;
mod repository;
mod request;
mod statistics;
mod tensor;

use axum::routing::get;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::HttpState;
pub(super) use tensor::Meaning;

/// Whether the service is alive and ready: answered whatever else goes on.
pub(super) fn health_routes() -> OpenApiRouter<HttpState> {
    OpenApiRouter::new().routes(routes!(metadata::live)).routes(routes!(metadata::ready))
}

/// What the service and its models are, and what they have answered.
pub(super) fn metadata_routes() -> OpenApiRouter<HttpState> {
    OpenApiRouter::new()
        .routes(routes!(metadata::server))
        .route("/v2/", get(metadata::server))
        .routes(routes!(repository::models))
        .routes(routes!(repository::index))
        .routes(routes!(metadata::model))
        .routes(routes!(metadata::version))
        .routes(routes!(metadata::model_ready))
        .routes(routes!(metadata::version_ready))
        .routes(routes!(statistics::all))
        .routes(routes!(statistics::of_model))
        .routes(routes!(statistics::of_version))
}

/// What versions say about tensors.
pub(super) fn infer_routes() -> OpenApiRouter<HttpState> {
    OpenApiRouter::new().routes(routes!(infer::live)).routes(routes!(infer::version))
}
