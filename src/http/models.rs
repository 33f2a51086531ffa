//! `/v1/models`: create, list, read, change and delete models.

use axum::extract::State;
use axum::http::{HeaderName, StatusCode, header};
use serde::Serialize;
use time::OffsetDateTime;
use utoipa::ToSchema;

use super::error::Problem;
use super::extract::{Json, ModelPath, Path, Query};
use super::page::{Page, PageQuery, PageRequest};
use super::settings::{InputView, ModelPatch, NetworkView, NewModel, Task};
use crate::domain::name::ModelName;
use crate::domain::settings::{
    GateSettings, LearningSettings, RetentionSettings, ScheduleSettings, SelectionSettings,
};
use crate::services::registry::{self, ModelView};
use crate::services::{Context, import};

/// A model, with its settings as applied.
#[derive(Debug, Serialize, ToSchema)]
pub struct Model {
    /// The model's name.
    #[schema(value_type = String, example = "digits")]
    name: ModelName,
    /// What it learns to do.
    task: Task,
    /// What one input looks like.
    input: InputView,
    /// The network's shape.
    network: NetworkView,
    /// How an update trains.
    learning: LearningSettings,
    /// Which samples of an update are worth training on.
    selection: SelectionSettings,
    /// When an update is queued by itself.
    schedule: ScheduleSettings,
    /// What a version must show to be published.
    gate: GateSettings,
    /// What is kept.
    retention: RetentionSettings,
    /// The version that predictions use; null before the first one.
    #[schema(required = true)]
    live_version: Option<i32>,
    /// The labels that its samples have, in order of arrival.
    labels: Vec<String>,
    /// Samples stored.
    samples: i64,
    /// Samples that no version has learnt.
    pending_samples: i64,
    /// When it was created.
    #[serde(with = "time::serde::rfc3339")]
    created_at: OffsetDateTime,
}

impl From<ModelView> for Model {
    fn from(view: ModelView) -> Self {
        let settings = view.model.settings;
        Self {
            name: view.model.name,
            task: Task::Classification,
            input: settings.input.into(),
            network: settings.network.into(),
            learning: settings.learning,
            selection: settings.selection,
            schedule: settings.schedule,
            gate: settings.gate,
            retention: settings.retention,
            live_version: view.live_version,
            labels: view.labels,
            samples: view.samples,
            pending_samples: view.pending_samples,
            created_at: view.model.created_at,
        }
    }
}

/// Create a model.
///
/// It answers predictions as soon as its first version is published; at once where it has a `base`.
#[utoipa::path(post, path = "/v1/models", operation_id = "createModel", tag = "models",
    request_body = NewModel,
    responses(
        (status = 201, description = "The model.", body = Model,
         headers(("Location" = String, description = "Where the model is."))),
        (status = 409, description = "There is a model of this name already."),
    ))]
pub async fn create(
    State(context): State<Context>,
    Json(new): Json<NewModel>,
) -> Result<(StatusCode, [(HeaderName, String); 1], axum::Json<Model>), Problem> {
    let base = match new.base() {
        Some(base) => Some(import::find(&context, &base).await?),
        None => None,
    };
    let (name, settings) = new.into_settings(base.as_ref().map(|base| &base.model.settings))?;
    let view = registry::create(&context, &name, &settings, base).await?;
    let location = [(header::LOCATION, format!("/v1/models/{name}"))];
    Ok((StatusCode::CREATED, location, axum::Json(view.into())))
}

/// List models, newest first.
#[utoipa::path(get, path = "/v1/models", operation_id = "listModels", tag = "models",
    params(PageQuery),
    responses((status = 200, description = "A page of models.", body = Page<Model>)))]
pub async fn list(
    State(context): State<Context>,
    Query(query): Query<PageQuery>,
) -> Result<axum::Json<Page<Model>>, Problem> {
    let request = PageRequest::<i64>::try_from(&query)?;
    let views = registry::list(&context, request.after, request.n_rows()).await?;
    Ok(axum::Json(request.page(views, |view| view.model.id.0, Model::from)))
}

/// Read a model.
#[utoipa::path(get, path = "/v1/models/{model}", operation_id = "getModel", tag = "models",
    params(ModelPath),
    responses((status = 200, description = "The model.", body = Model)))]
pub async fn get(
    State(context): State<Context>,
    Path(path): Path<ModelPath>,
) -> Result<axum::Json<Model>, Problem> {
    Ok(axum::Json(registry::get(&context, &path.model).await?.into()))
}

/// Change a model's settings.
///
/// They hold from the next update on; a running one keeps those that it began with. A strategy by which
/// the next one would lose labels that the model began with, and has no samples of, is refused.
#[utoipa::path(patch, path = "/v1/models/{model}", operation_id = "patchModel", tag = "models",
    params(ModelPath), request_body = ModelPatch,
    responses((status = 200, description = "The model as it is now.", body = Model)))]
pub async fn patch(
    State(context): State<Context>,
    Path(path): Path<ModelPath>,
    Json(patch): Json<ModelPatch>,
) -> Result<axum::Json<Model>, Problem> {
    let view = registry::patch(&context, &path.model, |settings| patch.apply(settings)).await?;
    Ok(axum::Json(view.into()))
}

/// Delete a model.
///
/// Its samples, updates, versions and checkpoints go with it.
#[utoipa::path(delete, path = "/v1/models/{model}", operation_id = "deleteModel", tag = "models",
    params(ModelPath),
    responses((status = 204, description = "It is gone.")))]
pub async fn delete(
    State(context): State<Context>,
    Path(path): Path<ModelPath>,
) -> Result<StatusCode, Problem> {
    registry::delete(&context, &path.model).await?;
    Ok(StatusCode::NO_CONTENT)
}
