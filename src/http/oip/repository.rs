//! Which models there are.

use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::super::error::Problem;
use super::super::extract::{Body, parse_object};
use crate::domain::name::ModelName;
use crate::services::{Context, registry};
use crate::storage::models::LiveModel;

/// Models by their names.
#[derive(Debug, Serialize, ToSchema)]
pub struct ModelNames {
    /// All of them.
    #[schema(value_type = Vec<String>, example = json!(["digits"]))]
    models: Vec<ModelName>,
}

/// Which models to list.
#[derive(Debug, Default, Deserialize, ToSchema)]
pub struct IndexRequest {
    /// Only those that are ready.
    #[schema(default = false)]
    ready: Option<bool>,
}

/// A model in the list.
#[derive(Debug, Serialize, ToSchema)]
pub struct IndexEntry {
    /// Its name.
    #[schema(value_type = String, example = "digits")]
    pub(super) name: ModelName,
    /// Its live version.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, example = "3")]
    pub(super) version: Option<String>,
    /// `READY`, or `UNAVAILABLE` before it has a version, and where that was found damaged.
    #[schema(value_type = String)]
    pub(super) state: &'static str,
    /// Why it is not ready; empty where it is.
    #[schema(value_type = String)]
    pub(super) reason: &'static str,
}

/// The state of a model that answers.
const READY: &str = "READY";

impl IndexEntry {
    fn of(context: &Context, LiveModel { name, live_version }: LiveModel) -> Self {
        let (state, reason) = match live_version {
            Some(version) if context.serving.is_damaged(&name, version) => {
                ("UNAVAILABLE", "the version's checkpoint is missing or damaged")
            }
            Some(_) => (READY, ""),
            None => ("UNAVAILABLE", "the model has no version yet"),
        };
        Self { name, version: live_version.map(|version| version.to_string()), state, reason }
    }
}

/// List all models' names.
#[utoipa::path(get, path = "/v2/models", operation_id = "modelNames", tag = "inference",
    responses((status = 200, description = "All of them, in order.", body = ModelNames)))]
pub async fn models(State(context): State<Context>) -> Result<axum::Json<ModelNames>, Problem> {
    let models = registry::list_live(&context).await?.into_iter();
    Ok(axum::Json(ModelNames { models: models.map(|model| model.name).collect() }))
}

/// List all models, with their live versions.
///
/// The body may be empty. Nothing is loaded to find out what is ready: a version is taken for sound until it
/// was found damaged.
#[utoipa::path(post, path = "/v2/repository/index", operation_id = "repositoryIndex",
    tag = "inference", request_body = IndexRequest,
    responses((status = 200, description = "All of them, in order.", body = Vec<IndexEntry>)))]
pub async fn index(
    State(context): State<Context>,
    Body(body): Body,
) -> Result<axum::Json<Vec<IndexEntry>>, Problem> {
    let IndexRequest { ready } = match body.is_empty() {
        true => IndexRequest::default(),
        false => parse_object(&body)?,
    };
    entries(&context, ready.unwrap_or_default()).await.map(axum::Json)
}

/// All models, or those that are ready.
pub(super) async fn entries(context: &Context, ready: bool) -> Result<Vec<IndexEntry>, Problem> {
    let models = registry::list_live(context).await?.into_iter();
    let entries = models.map(|model| IndexEntry::of(context, model));
    Ok(entries.filter(|entry| !ready || entry.state == READY).collect())
}
