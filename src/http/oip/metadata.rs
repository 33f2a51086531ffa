//! What the service and its models are, and whether they are ready.

use std::sync::Arc;

use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use super::super::HttpState;
use super::super::error::{Problem, ProblemCode};
use super::super::exchange::live_version;
use super::super::extract::{ModelPath, Path, VersionPath};
use super::super::health::{Liveness, failing_check};
use super::answer::OutputName;
use super::inputs::taken;
use super::tensor::Datatype;
use crate::domain::name::ModelName;
use crate::services::serving::{self, Chosen, Route, Target};
use crate::services::{Context, registry};

/// What the service is.
#[derive(Debug, Serialize, ToSchema)]
pub struct ServerMetadata {
    /// Always `perennial`.
    #[schema(value_type = String)]
    pub(super) name: &'static str,
    /// The release.
    #[schema(value_type = String)]
    pub(super) version: &'static str,
    /// What is understood beyond the protocol itself.
    #[schema(value_type = Vec<String>)]
    pub(super) extensions: [&'static str; 3],
}

/// What this one is.
pub(super) const SERVER: ServerMetadata = ServerMetadata {
    name: "perennial",
    version: env!("CARGO_PKG_VERSION"),
    extensions: ["binary_tensor_data", "classification", "statistics"],
};

/// The service is ready.
#[derive(Debug, Serialize, ToSchema)]
pub struct ServerReady {
    /// Always true: where it is not, the answer is a refusal.
    ready: bool,
}

/// The model, or its version, is ready.
#[derive(Debug, Serialize, ToSchema)]
pub struct ModelReady {
    /// The model's name.
    #[schema(value_type = String, example = "digits")]
    name: ModelName,
    /// Always true: where it is not, the answer is a refusal.
    ready: bool,
}

/// What a model takes and answers with.
#[derive(Debug, Serialize, ToSchema)]
pub struct ModelMetadata {
    /// The model's name.
    #[schema(value_type = String, example = "digits")]
    pub(super) name: ModelName,
    /// Its versions, oldest first.
    #[schema(example = json!(["1", "2"]))]
    pub(super) versions: Vec<String>,
    /// Always `perennial_safetensors`.
    #[schema(value_type = String)]
    pub(super) platform: &'static str,
    /// The tensors that it takes.
    pub(super) inputs: Vec<TensorMetadata>,
    /// The tensors that it answers with.
    pub(super) outputs: Vec<TensorMetadata>,
}

/// What a tensor looks like.
#[derive(Debug, Serialize, ToSchema)]
pub struct TensorMetadata {
    /// Its name.
    pub(super) name: String,
    /// What its elements are.
    pub(super) datatype: Datatype,
    /// Its dimensions; -1 where any number goes, or where it is not known yet.
    #[schema(example = json!([-1, 784]))]
    pub(super) shape: Vec<i64>,
}

/// Tell what this service is, by the Open Inference Protocol.
#[utoipa::path(get, path = "/v2", operation_id = "serverMetadata", tag = "inference",
    responses((status = 200, description = "What it is.", body = ServerMetadata)))]
pub async fn server() -> axum::Json<ServerMetadata> {
    axum::Json(SERVER)
}

/// Tell whether the process is alive, by the Open Inference Protocol.
#[utoipa::path(get, path = "/v2/health/live", operation_id = "serverLive", tag = "inference",
    responses((status = 200, description = "It is.", body = Liveness)))]
pub async fn live() -> axum::Json<Liveness> {
    super::super::health::healthz().await
}

/// Tell whether the service is ready, by the Open Inference Protocol.
///
/// It is when `/readyz` says so.
#[utoipa::path(get, path = "/v2/health/ready", operation_id = "serverReady", tag = "inference",
    responses(
        (status = 200, description = "It is.", body = ServerReady),
        (status = 503, description = "It is not; tells why."),
    ))]
pub async fn ready(State(state): State<HttpState>) -> Result<axum::Json<ServerReady>, Problem> {
    match failing_check(&state).await {
        None => Ok(axum::Json(ServerReady { ready: true })),
        Some(failing) => Err(Problem::new(ProblemCode::Unavailable, failing.to_string())),
    }
}

/// Tell what a model takes and answers with.
#[utoipa::path(get, path = "/v2/models/{model}", operation_id = "modelMetadata", tag = "inference",
    params(ModelPath),
    responses(
        (status = 200, description = "That of its live version.", body = ModelMetadata),
        (status = 503, description = "The version's checkpoint is missing or damaged."),
    ))]
pub async fn model(
    State(context): State<Context>,
    Path(path): Path<ModelPath>,
) -> Result<axum::Json<ModelMetadata>, Problem> {
    describe(&context, &path.model, None).await.map(axum::Json)
}

/// Tell what a version takes and answers with.
#[utoipa::path(get, path = "/v2/models/{model}/versions/{n}", operation_id = "versionMetadata",
    tag = "inference", params(VersionPath),
    responses(
        (status = 200, description = "That of the version.", body = ModelMetadata),
        (status = 503, description = "The version's checkpoint is missing or damaged."),
    ))]
pub async fn version(
    State(context): State<Context>,
    Path(path): Path<VersionPath>,
) -> Result<axum::Json<ModelMetadata>, Problem> {
    describe(&context, &path.model, Some(path.n)).await.map(axum::Json)
}

/// Tell whether a model's live version is loaded.
#[utoipa::path(get, path = "/v2/models/{model}/ready", operation_id = "modelReady",
    tag = "inference", params(ModelPath),
    responses(
        (status = 200, description = "It is.", body = ModelReady),
        (status = 503, description = "It is not: the model has no version yet, or the version's checkpoint is \
                                      missing or damaged."),
    ))]
pub async fn model_ready(
    State(context): State<Context>,
    Path(path): Path<ModelPath>,
) -> Result<axum::Json<ModelReady>, Problem> {
    make_ready(&context, &path.model, &live_version()?).await?;
    Ok(axum::Json(ModelReady { name: path.model, ready: true }))
}

/// Tell whether a version is loaded.
#[utoipa::path(get, path = "/v2/models/{model}/versions/{n}/ready", operation_id = "versionReady",
    tag = "inference", params(VersionPath),
    responses(
        (status = 200, description = "It is.", body = ModelReady),
        (status = 503, description = "It is not: its checkpoint is missing or damaged."),
    ))]
pub async fn version_ready(
    State(context): State<Context>,
    Path(path): Path<VersionPath>,
) -> Result<axum::Json<ModelReady>, Problem> {
    make_ready(&context, &path.model, &Target::Version(path.n)).await?;
    Ok(axum::Json(ModelReady { name: path.model, ready: true }))
}

/// A version that was not in memory is loaded to find out whether it is ready; a refusal where it is not.
pub(super) async fn make_ready(
    context: &Context,
    name: &ModelName,
    target: &Target,
) -> Result<(), Problem> {
    let route = context.serving.route(context, name).await?;
    load(context, &route, target).await.map(drop)
}

/// A version that is to be told of. For one that is damaged the refusal is the same as for a model without a version:
/// nothing failed that was asked for.
async fn load(context: &Context, route: &Arc<Route>, target: &Target) -> Result<Chosen, Problem> {
    let chosen = serving::choose(context, route, target, None).await.map_err(Problem::from);
    chosen.map_err(|problem| match problem.code() {
        ProblemCode::VersionDamaged => {
            let cause = problem.cause().unwrap_or_default();
            Problem::new(ProblemCode::Conflict, problem.detail()).caused_by(cause)
        }
        _ => problem,
    })
}

/// What a version, or else the live one, takes and answers with.
pub(super) async fn describe(
    context: &Context,
    name: &ModelName,
    version: Option<i32>,
) -> Result<ModelMetadata, Problem> {
    let route = context.serving.route(context, name).await?;
    let chosen = match version.or(route.live()) {
        Some(n) => Some(load(context, &route, &Target::Version(n)).await?),
        None => None,
    };
    let versions = registry::version_numbers(context, route.model.id).await?;
    // A network without labels answers nothing: their number is told once there is a version.
    let n_labels = chosen.map_or(-1, |chosen| chosen.labels.len() as i64);
    let inputs = taken(&route.model.settings.input).into_iter().map(|(name, datatype, input)| {
        let shape = std::iter::once(-1).chain(input.into_iter().map(|side| side as i64));
        TensorMetadata { name: name.to_owned(), datatype, shape: shape.collect() }
    });
    let output = |name: OutputName, datatype, shape| TensorMetadata {
        name: name.as_str().to_owned(),
        datatype,
        shape,
    };
    Ok(ModelMetadata {
        name: route.model.name.clone(),
        versions: versions.iter().map(i32::to_string).collect(),
        platform: "perennial_safetensors",
        inputs: inputs.collect(),
        outputs: vec![
            output(OutputName::Probabilities, Datatype::Fp32, vec![-1, n_labels]),
            output(OutputName::Label, Datatype::Bytes, vec![-1]),
        ],
    })
}
