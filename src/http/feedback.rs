//! `/v1/models/{model}/feedback`: what predictions should have said.

use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::batches::QueuedUpdate;
use super::error::Problem;
use super::extract::{Json, ModelPath, Path};
use crate::domain::Invalid;
use crate::domain::batch::{MAX_LISTED_REJECTIONS, Rejection};
use crate::domain::label::Label;
use crate::services::Context;
use crate::services::feedback::{self, Given, Verdicts};

/// The most items of one request.
const MAX_ITEMS: usize = 10_000;

/// Labels for predictions.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewFeedback {
    /// 1 to 10,000 of them.
    #[schema(min_items = 1, max_items = 10_000)]
    items: Vec<FeedbackItem>,
}

/// A label for a prediction.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct FeedbackItem {
    /// The prediction's `id`.
    #[schema(value_type = Uuid)]
    prediction_id: String,
    /// What it should have said; a label that the model does not know yet becomes known to it.
    #[schema(min_length = 1, max_length = 256, example = "7")]
    label: String,
}

/// What became of the labels.
#[derive(Debug, Serialize, ToSchema)]
pub struct FeedbackAnswer {
    /// Labels kept: they count towards the live figures of the versions that answered.
    #[schema(example = 98)]
    accepted: usize,
    /// Labels for predictions that are not remembered: never, not any more, or not written before a
    /// crash.
    #[schema(example = 1)]
    unknown: usize,
    /// Labels for predictions that had one already, which stays: of those that say another one the reason
    /// is listed.
    #[schema(example = 1)]
    repeated: usize,
    /// Items that are not of the right form.
    #[schema(example = 0)]
    rejected: usize,
    /// The first 100 items that were not kept, and of those that were kept the ones whose label is new and
    /// one too many, so that they became no sample.
    #[schema(max_items = 100)]
    rejections: Vec<Rejection>,
    /// The batch in which inputs and labels became samples; null when nothing was kept.
    #[schema(required = true)]
    batch: Option<Uuid>,
    /// The update that they wait for; null when none is queued.
    #[schema(required = true)]
    update: Option<QueuedUpdate>,
}

/// Tell what remembered predictions should have said.
///
/// Each label counts towards the live figures of the version that answered, and makes a sample of the
/// prediction's input, as if both had been sent in a batch. Predictions are remembered for some days
/// (`--prediction-days`). The same again changes nothing.
#[utoipa::path(post, path = "/v1/models/{model}/feedback", operation_id = "giveFeedback",
    tag = "predictions", params(ModelPath), request_body = NewFeedback,
    responses((status = 200, description = "What became of the labels.", body = FeedbackAnswer)))]
pub async fn give(
    State(context): State<Context>,
    Path(path): Path<ModelPath>,
    Json(new): Json<NewFeedback>,
) -> Result<axum::Json<FeedbackAnswer>, Problem> {
    let (items, rejections) = read(new)?;
    let verdicts = feedback::give(&context, &path.model, items).await?;
    Ok(axum::Json(render(verdicts, rejections)))
}

fn read(new: NewFeedback) -> Result<(Vec<Given>, Vec<Rejection>), Invalid> {
    if !(1..=MAX_ITEMS).contains(&new.items.len()) {
        let detail = format!("give 1 to {MAX_ITEMS} items, not {}", new.items.len());
        return Err(Invalid::at("/items", detail));
    }
    let (mut items, mut rejections) = (Vec::with_capacity(new.items.len()), Vec::new());
    for (index, FeedbackItem { prediction_id, label }) in (0..).zip(new.items) {
        match (Uuid::parse_str(&prediction_id), Label::parse(label)) {
            (Ok(prediction), Ok(label)) => items.push(Given { index, prediction, label }),
            (Err(_), _) => {
                let reason = "prediction_id is no UUID".to_owned();
                rejections.push(Rejection { index, reason });
            }
            (_, Err(Invalid { detail: reason, .. })) => {
                rejections.push(Rejection { index, reason });
            }
        }
    }
    Ok((items, rejections))
}

fn render(verdicts: Verdicts, mut rejections: Vec<Rejection>) -> FeedbackAnswer {
    let Verdicts { accepted, unknown, repeated, batch, update, .. } = verdicts;
    let rejected = rejections.len();
    rejections.extend(verdicts.rejections);
    rejections.sort_by_key(|rejection| rejection.index);
    rejections.truncate(MAX_LISTED_REJECTIONS);
    let update = update.map(QueuedUpdate::from);
    FeedbackAnswer { accepted, unknown, repeated, rejected, rejections, batch, update }
}
