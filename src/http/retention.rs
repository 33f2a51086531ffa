//! `/v1/models/{model}/retention`: what its settings would remove.

use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use super::error::Problem;
use super::extract::{ModelPath, Path};
use crate::services::Context;
use crate::services::retention::{self, Expired};

/// What a model holds beyond what its settings keep.
#[derive(Debug, Serialize, ToSchema)]
pub struct RetentionPlan {
    /// Versions.
    versions: usize,
    /// Samples.
    samples: i64,
    /// Updates that have ended.
    updates: usize,
}

impl From<Expired> for RetentionPlan {
    fn from(Expired { versions, samples, updates }: Expired) -> Self {
        Self { versions, samples, updates }
    }
}

/// Tell what a model's retention would remove now.
///
/// Nothing changes: workers remove it, a part each second, within a minute or so.
#[utoipa::path(get, path = "/v1/models/{model}/retention", operation_id = "planRetention",
    tag = "models", params(ModelPath),
    responses((status = 200, description = "How much would go.", body = RetentionPlan)))]
pub async fn plan(
    State(context): State<Context>,
    Path(path): Path<ModelPath>,
) -> Result<axum::Json<RetentionPlan>, Problem> {
    Ok(axum::Json(retention::plan(&context, &path.model).await?.into()))
}
