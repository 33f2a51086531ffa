//! What versions have answered, in the form of Triton's statistics.

use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use super::super::error::Problem;
use super::super::extract::{ModelPath, Path, VersionPath};
use crate::domain::name::ModelName;
use crate::services::Context;
use crate::services::serving::{self, Figures, Tally, Target};

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
    name: ModelName,
    /// The version's number.
    #[schema(example = "3")]
    version: String,
    /// When the last answer was given, in milliseconds since 1970; 0 when there was none.
    last_inference: u64,
    /// Inputs answered.
    inference_count: u64,
    /// Requests computed.
    execution_count: u64,
    /// What they took.
    inference_stats: InferenceStatistics,
    /// Always empty: a request is computed as it comes.
    #[schema(value_type = Vec<Object>)]
    batch_stats: [(); 0],
}

/// What requests took.
#[derive(Debug, Serialize, ToSchema)]
pub struct InferenceStatistics {
    /// Requests answered.
    success: Took,
    /// Requests refused or given up once the version was found.
    fail: Took,
    /// Waiting for a turn.
    queue: Took,
    /// Reading inputs.
    compute_input: Took,
    /// Computing probabilities.
    compute_infer: Took,
    /// Writing answers.
    compute_output: Took,
}

/// How often, and how long in all.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = InferenceDuration)]
pub struct Took {
    /// How often.
    count: u64,
    /// Nanoseconds in all.
    ns: u64,
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

/// Tell what all versions in use have answered.
#[utoipa::path(get, path = "/v2/models/stats", operation_id = "statistics", tag = "inference",
    responses((status = 200, description = "Live versions, and those that were asked.", body = Statistics)))]
pub async fn all(State(context): State<Context>) -> axum::Json<Statistics> {
    let routes = context.serving.routes();
    let of_route = |route| {
        let figures = context.serving.figures(route);
        figures.into_iter().map(|(version, figures)| render(&route.model.name, version, figures))
    };
    axum::Json(Statistics {
        model_stats: routes.iter().map(|route| &**route).flat_map(of_route).collect(),
    })
}

/// Tell what a model's versions have answered.
#[utoipa::path(get, path = "/v2/models/{model}/stats", operation_id = "modelStatistics",
    tag = "inference", params(ModelPath),
    responses((status = 200, description = "The live version, and those that were asked.", body = Statistics)))]
pub async fn of_model(
    State(context): State<Context>,
    Path(ModelPath { model }): Path<ModelPath>,
) -> Result<axum::Json<Statistics>, Problem> {
    let route = context.serving.route(&context, &model).await?;
    let figures = context.serving.figures(&route).into_iter();
    let model_stats = figures.map(|(version, figures)| render(&model, version, figures)).collect();
    Ok(axum::Json(Statistics { model_stats }))
}

/// Tell what a version has answered.
#[utoipa::path(get, path = "/v2/models/{model}/versions/{n}/stats",
    operation_id = "versionStatistics", tag = "inference", params(VersionPath),
    responses((status = 200, description = "That version.", body = Statistics)))]
pub async fn of_version(
    State(context): State<Context>,
    Path(VersionPath { model, n }): Path<VersionPath>,
) -> Result<axum::Json<Statistics>, Problem> {
    let route = context.serving.route(&context, &model).await?;
    serving::choose(&context, &route, &Target::Version(n), None).await?;
    let figures = context.serving.figures_of(&route, n);
    Ok(axum::Json(Statistics { model_stats: vec![render(&model, n, figures)] }))
}
