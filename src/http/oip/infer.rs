//! `…/infer`: what a version says about tensors.

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;

use super::super::batches::RawFile;
use super::super::error::Problem;
use super::super::exchange::{Bulk, client_of, exchange, live_version};
use super::super::extract::{Body, ModelPath, Path, VersionPath};
use super::answer::{self, InferAnswer, Plan};
use super::binary::HEADER_LENGTH;
use super::request::{self, InferRequest};
use crate::domain::name::ModelName;
use crate::domain::settings::ModelSettings;
use crate::services::Context;
use crate::services::serving::{Answered, Chosen, Target};

/// Predict with the live version, by the Open Inference Protocol.
///
/// Tensors may come as bytes behind the JSON: `Inference-Header-Content-Length` says how many bytes
/// are JSON, and `binary_data_size` of each tensor how many are its own. Where the header is 0, the
/// body is one input: a text, an image file, or numbers as FP32; all outputs then come as bytes.
#[utoipa::path(post, path = "/v2/models/{model}/infer", operation_id = "infer", tag = "inference",
    params(ModelPath, ("Inference-Header-Content-Length" = Option<u64>, Header,
        description = "Bytes of JSON, where tensors follow as bytes.")),
    request_body(content((InferRequest<'_> = "application/json"), (RawFile = "application/octet-stream"))),
    responses(
        (status = 200, description = "What it says; with tensors as bytes behind the JSON where they were \
                                      asked for so.",
         content((InferAnswer<'_> = "application/json"), (RawFile = "application/octet-stream")),
         headers(("Inference-Header-Content-Length" = u64,
                  description = "Bytes of JSON, where tensors follow as bytes."))),
    ))]
pub async fn live(
    State(context): State<Context>,
    Path(path): Path<ModelPath>,
    headers: HeaderMap,
    Body(body): Body,
) -> Result<Response, Problem> {
    answer(&context, &path.model, &live_version()?, headers, body).await
}

/// Predict with a given version, by the Open Inference Protocol.
#[utoipa::path(post, path = "/v2/models/{model}/versions/{n}/infer",
    operation_id = "inferByVersion", tag = "inference",
    params(VersionPath, ("Inference-Header-Content-Length" = Option<u64>, Header,
        description = "Bytes of JSON, where tensors follow as bytes.")),
    request_body(content((InferRequest<'_> = "application/json"), (RawFile = "application/octet-stream"))),
    responses(
        (status = 200, description = "What it says; with tensors as bytes behind the JSON where they were \
                                      asked for so.",
         content((InferAnswer<'_> = "application/json"), (RawFile = "application/octet-stream")),
         headers(("Inference-Header-Content-Length" = u64,
                  description = "Bytes of JSON, where tensors follow as bytes."))),
    ))]
pub async fn version(
    State(context): State<Context>,
    Path(path): Path<VersionPath>,
    headers: HeaderMap,
    Body(body): Body,
) -> Result<Response, Problem> {
    answer(&context, &path.model, &Target::Version(path.n), headers, body).await
}

async fn answer(
    context: &Context,
    model: &ModelName,
    target: &Target,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    request::expect_content_type(&headers)?;
    let (name, client) = (model.clone(), client_of(&headers));
    let bulk = match headers.contains_key(HEADER_LENGTH) {
        true => Bulk::Files(body.len()),
        false => Bulk::Json(body.clone()),
    };
    let read = move |settings: &ModelSettings, chosen: &Chosen| {
        request::read(&headers, &body, settings, chosen.labels.len())
    };
    let write = move |answered: &Answered, plan: Plan| answer::write(&name, answered, &plan);
    let told = exchange(context, model, target, client, bulk, read, write).await?;
    Ok(told.into_response())
}
