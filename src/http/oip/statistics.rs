//! What versions have answered, in the form of Triton's statistics.

use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use super::super::error::Problem;
use super::super::extract::{ModelPath, Path, VersionPath};
use super::metadata::make_ready;
use crate::domain::name::ModelName;
use crate::services::Context;
use crate::services::serving::{Figures, Route, Tally, Target};

/// What versions have answered.
#[derive(Debug, Serialize, ToSchema)]
pub struct Statistics {
    /// One for each version.
    model_stats: Vec<VersionStatistics>,
}

/// What a version has answered in this process since it began, by the Open Inference Protocol, as
/// `…/predict` and as `…:predict`.
#[derive(Debug, Serialize, ToSchema)]
pub struct VersionStatistics {
    /// The model's name.
    #[schema(value_type = String, example = "digits")]
    pub(super) name: ModelName,
    /// The version's number.
    #[schema(example = "3")]
    pub(super) version: String,
    /// When the last answer was given, in milliseconds since 1970; 0 when there was none.
    pub(super) last_inference: u64,
    /// Inputs answered.
    pub(super) inference_count: u64,
    /// Requests computed.
    pub(super) execution_count: u64,
    /// What they took.
    pub(super) inference_stats: InferenceStatistics,
    /// Always empty: a request is computed as it comes.
    #[schema(value_type = Vec<Object>)]
    batch_stats: [(); 0],
}

/// What requests took.
#[derive(Debug, Serialize, ToSchema)]
pub struct InferenceStatistics {
    /// Requests answered.
    pub(super) success: Took,
    /// Requests refused or given up once the version was found.
    pub(super) fail: Took,
    /// Waiting for a turn.
    pub(super) queue: Took,
    /// Reading inputs.
    pub(super) compute_input: Took,
    /// Computing probabilities.
    pub(super) compute_infer: Took,
    /// Writing answers.
    pub(super) compute_output: Took,
}

/// How often, and how long in all.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = InferenceDuration)]
pub struct Took {
    /// How often.
    pub(super) count: u64,
    /// Nanoseconds in all.
    pub(super) ns: u64,
}

impl From<Tally> for Took {
    fn from(Tally { count, ns }: Tally) -> Self {
        Self { count, ns }
    }
}

fn render(name: &ModelName, version: i32, figures: Figures) -> VersionStatistics {
    VersionStatistics {
        name: name.clone(),
        version: version.to_string(),
        last_inference: figures.last_at_ms,
        inference_count: figures.inferences,
        execution_count: figures.executions,
        inference_stats: InferenceStatistics {
            success: figures.success.into(),
            fail: figures.fail.into(),
            queue: figures.queue.into(),
            compute_input: figures.input.into(),
            compute_infer: figures.infer.into(),
            compute_output: figures.output.into(),
        },
        batch_stats: [],
    }
}

/// What all versions in use have answered.
pub(super) fn of_all(context: &Context) -> Vec<VersionStatistics> {
    context.serving.routes().iter().flat_map(|route| of_route(context, route)).collect()
}

fn of_route(context: &Context, route: &Route) -> Vec<VersionStatistics> {
    let figures = context.serving.figures(route).into_iter();
    figures.map(|(version, figures)| render(&route.model.name, version, figures)).collect()
}

/// What a version of a model has answered, or all of its versions in use.
pub(super) async fn of(
    context: &Context,
    model: &ModelName,
    version: Option<i32>,
) -> Result<Vec<VersionStatistics>, Problem> {
    let route = context.serving.route(context, model).await?;
    let Some(n) = version else { return Ok(of_route(context, &route)) };
    make_ready(context, model, &Target::Version(n)).await?;
    Ok(vec![render(model, n, context.serving.figures_of(&route, n))])
}

/// Tell what all versions in use have answered.
///
/// This path is also that of a model named `stats`, which is described by its versions' paths alone.
#[utoipa::path(get, path = "/v2/models/stats", operation_id = "statistics", tag = "inference",
    responses((status = 200, description = "Live versions, and those that were asked.", body = Statistics)))]
pub async fn all(State(context): State<Context>) -> axum::Json<Statistics> {
    axum::Json(Statistics { model_stats: of_all(&context) })
}

/// Tell what a model's versions have answered.
#[utoipa::path(get, path = "/v2/models/{model}/stats", operation_id = "modelStatistics",
    tag = "inference", params(ModelPath),
    responses((status = 200, description = "The live version, and those that were asked.", body = Statistics)))]
pub async fn of_model(
    State(context): State<Context>,
    Path(ModelPath { model }): Path<ModelPath>,
) -> Result<axum::Json<Statistics>, Problem> {
    Ok(axum::Json(Statistics { model_stats: of(&context, &model, None).await? }))
}

/// Tell what a version has answered.
#[utoipa::path(get, path = "/v2/models/{model}/versions/{n}/stats",
    operation_id = "versionStatistics", tag = "inference", params(VersionPath),
    responses((status = 200, description = "That version.", body = Statistics)))]
pub async fn of_version(
    State(context): State<Context>,
    Path(VersionPath { model, n }): Path<VersionPath>,
) -> Result<axum::Json<Statistics>, Problem> {
    Ok(axum::Json(Statistics { model_stats: of(&context, &model, Some(n)).await? }))
}
