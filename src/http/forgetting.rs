//! Forgetting on request: a batch, a sample by its client's id, or all samples about somebody.

use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::batches::{BatchPath, QueuedUpdate};
use super::error::Problem;
use super::extract::{ModelPath, Path, Query};
use super::samples::parse_name;
use crate::domain::Invalid;
use crate::services::Context;
use crate::services::forget::{self, Forgotten as Done};
use crate::storage::samples::Which;

/// What was forgotten.
#[derive(Debug, Serialize, ToSchema)]
pub struct Forgotten {
    /// How many samples.
    samples: usize,
    /// The versions whose updates had any of them at hand, oldest first: these learnt from them, unless
    /// they chose not to.
    versions: Vec<i32>,
    /// With `relearn`: the update that learns the rest again; null where the live version had learnt
    /// none of them.
    #[schema(required = true)]
    update: Option<QueuedUpdate>,
}

impl From<Done> for Forgotten {
    fn from(Done { samples, versions, update }: Done) -> Self {
        Self { samples, versions, update: update.map(QueuedUpdate::from) }
    }
}

/// What is to become of versions that learnt what is forgotten.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct RelearnQuery {
    /// Where the live version learnt any of it: take `live` back to the last version before that did
    /// not, and queue an update that learns the rest again. Where there is no such version, predictions
    /// are refused with 409 until that update has published one.
    #[serde(default)]
    pub relearn: bool,
}

/// Which samples to forget, by one of `id` and `subject`.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct SamplesQuery {
    /// The sample that the client calls so.
    #[param(min_length = 1, max_length = 256)]
    pub id: Option<String>,
    /// All samples that came with this subject.
    #[param(min_length = 1, max_length = 256)]
    pub subject: Option<String>,
    /// Where the live version learnt any of them: take `live` back to the last version before that did
    /// not, and queue an update that learns the rest again. Where there is no such version, predictions
    /// are refused with 409 until that update has published one.
    #[serde(default)]
    pub relearn: bool,
}

/// Forget a batch with its samples.
///
/// They are gone from storage and from replay, and an update that has read them already starts over.
/// Versions that learnt from them stay and are told; other models that began with one are not.
#[utoipa::path(delete, path = "/v1/models/{model}/batches/{id}", operation_id = "deleteBatch",
    tag = "batches", params(BatchPath, RelearnQuery),
    responses((status = 200, description = "The batch is gone.", body = Forgotten)))]
pub async fn batch(
    State(context): State<Context>,
    Path(path): Path<BatchPath>,
    Query(query): Query<RelearnQuery>,
) -> Result<axum::Json<Forgotten>, Problem> {
    let which = Which::Batch(path.id);
    let done = forget::forget(&context, &path.model, &which, query.relearn).await?;
    Ok(axum::Json(done.into()))
}

/// Forget a sample, or all samples about somebody.
///
/// As with a batch. Where there are none, none are forgotten.
#[utoipa::path(delete, path = "/v1/models/{model}/samples", operation_id = "deleteSamples",
    tag = "batches", params(ModelPath, SamplesQuery),
    responses((status = 200, description = "The samples are gone.", body = Forgotten)))]
pub async fn samples(
    State(context): State<Context>,
    Path(path): Path<ModelPath>,
    Query(query): Query<SamplesQuery>,
) -> Result<axum::Json<Forgotten>, Problem> {
    let relearn = query.relearn;
    let done = forget::forget(&context, &path.model, &query.which()?, relearn).await?;
    Ok(axum::Json(done.into()))
}

impl SamplesQuery {
    fn which(self) -> Result<Which, Invalid> {
        let name = |field: &str, text| {
            parse_name(field, text).map_err(|error| error.within(&format!("/query/{field}")))
        };
        match (self.id, self.subject) {
            (Some(id), None) => Ok(Which::Id(name("id", id)?)),
            (None, Some(subject)) => Ok(Which::Subject(name("subject", subject)?)),
            _ => Err(Invalid::at("/query", "say which samples, by one of id and subject")),
        }
    }
}
