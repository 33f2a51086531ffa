//! "You said this was a 7; it was a 1."
//!
//! A label that comes for a remembered prediction counts towards its version's live figures, and makes
//! a sample of its input. Invariant: each prediction takes one label; labels, samples and the update that
//! they queue are one transaction, under the model's lock, so that feedback sent twice changes nothing.

use std::collections::HashMap;

use sqlx::PgConnection;
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

use super::ingest::{self, Chunk, UpdatePolicy, Writer};
use super::requests::UpdateRef;
use super::{Context, ServiceError, registry};
use crate::domain::batch::{MAX_LISTED_REJECTIONS, Rejection};
use crate::domain::label::Label;
use crate::domain::live::{LiveFigures, WINDOW, WINDOW_DAYS};
use crate::domain::name::ModelName;
use crate::learning::{CALIBRATION_BINS, calibration_error};
use crate::storage::models::{Model, ModelId};
use crate::storage::predictions::worth::{self, PointedAt};
use crate::storage::predictions::{self, NewFeedback, Remembered};
use crate::storage::{StorageError, batches, block};

/// A label for a prediction.
#[derive(Debug, Clone)]
pub struct Given {
    /// Its place in the request, from 0.
    pub index: u64,
    /// The prediction.
    pub prediction: Uuid,
    /// The true label.
    pub label: Label,
}

/// What became of feedback.
#[derive(Debug, Default)]
pub struct Verdicts {
    /// Labels kept.
    pub accepted: usize,
    /// Labels for predictions that are not remembered.
    pub unknown: usize,
    /// Labels for predictions that had one.
    pub repeated: usize,
    /// Why items were not kept, or became no sample.
    pub rejections: Vec<Rejection>,
    /// The batch that the samples came in, where there are any.
    pub batch: Option<Uuid>,
    /// The update that it waits for.
    pub update: Option<UpdateRef>,
}

impl Verdicts {
    fn reject(&mut self, index: u64, reason: impl Into<String>) {
        self.rejections.push(Rejection { index, reason: reason.into() });
    }

    fn miss(&mut self, index: u64) {
        self.unknown += 1;
        self.reject(index, "there is no such prediction; it may be too old");
    }
}

/// Keeps the labels that came for predictions of a model.
///
/// # Errors
/// [`ServiceError::NotFound`] when there is no such model, [`ServiceError::Busy`] when too many batches wait.
pub async fn give(
    context: &Context,
    name: &ModelName,
    items: Vec<Given>,
) -> Result<Verdicts, ServiceError> {
    // Who has just been answered is known.
    context.remembered.flush().await;
    let _slot = context.queues.batches.take(name).await?;
    let mut tx = context.pool.begin().await?;
    let model = registry::find_in(&mut tx, name).await?;
    let model = ingest::lock(&mut tx, &model).await?;
    let mut verdicts = Verdicts::default();
    let new = choose(&mut tx, model.id, items, &mut verdicts).await?;
    let (feedback, samples) = store(&mut tx, &model, new, &mut verdicts).await?;
    predictions::insert_feedback(&mut tx, model.id, &feedback).await?;
    verdicts.update = ingest::queue_update(&mut tx, &model, UpdatePolicy::Auto).await?;
    tx.commit().await?;
    ingest::count(&samples);
    verdicts.accepted = feedback.len();
    verdicts.rejections.sort_by_key(|rejection| rejection.index);
    verdicts.rejections.truncate(MAX_LISTED_REJECTIONS);
    Ok(verdicts)
}

/// The items whose predictions are remembered and have no label yet.
async fn choose(
    db: &mut PgConnection,
    model: ModelId,
    items: Vec<Given>,
    verdicts: &mut Verdicts,
) -> Result<Vec<(Given, Remembered)>, StorageError> {
    let ids: Vec<Uuid> = items.iter().map(|item| item.prediction).collect();
    let found = predictions::find(db, model, &ids).await?;
    let mut found: HashMap<Uuid, Remembered> =
        found.into_iter().map(|prediction| (prediction.id, prediction)).collect();
    let mut new = Vec::new();
    for item in items {
        match found.get_mut(&item.prediction) {
            None => verdicts.miss(item.index),
            Some(prediction) => match &prediction.given {
                None => {
                    prediction.given = Some(item.label.as_str().to_owned());
                    new.push((item, prediction.clone()));
                }
                Some(given) => {
                    verdicts.repeated += 1;
                    if given != item.label.as_str() {
                        let reason = format!("the prediction has a label already, `{given}`");
                        verdicts.reject(item.index, reason);
                    }
                }
            },
        }
    }
    Ok(new)
}

/// Makes samples of the predictions' inputs and their labels, as one batch.
async fn store(
    db: &mut PgConnection,
    model: &Model,
    mut new: Vec<(Given, Remembered)>,
    verdicts: &mut Verdicts,
) -> Result<(Vec<NewFeedback>, crate::domain::batch::Verdicts), ServiceError> {
    /// A chunk whose inputs take this much is written.
    const CHUNK_BYTES: usize = 8 << 20;
    if new.is_empty() {
        return Ok(Default::default());
    }
    let batch = Uuid::now_v7();
    batches::open(db, batch, model.id).await?;
    let mut writer = Writer::new(db, model, batch).await?;
    let mut feedback = Vec::with_capacity(new.len());
    let mut chunk = Chunk::new(&model.settings.input);
    new.sort_by_key(|(_, prediction)| prediction.id);
    let block_of = |(_, prediction): &(Given, Remembered)| predictions::block_id(prediction.id);
    for of_block in new.chunk_by(|a, b| block_of(a) == block_of(b)) {
        let id = block_of(&of_block[0]);
        let Some(inputs) = predictions::block(writer.db, model.id, id).await? else {
            of_block.iter().for_each(|(item, _)| verdicts.miss(item.index));
            continue;
        };
        for (item, prediction) in of_block {
            let place = predictions::place_of(prediction.id);
            if place >= inputs.len() {
                let why = "a prediction's input is not in it";
                return Err(StorageError::damaged(format!("block {id}"), why).into());
            }
            chunk.samples.inputs.push_from(&inputs, place);
            chunk.tag_last(item.label.clone(), None, None, 1.0, item.index);
            feedback.push(labelled(item, prediction));
            let is_full = chunk.samples.len() >= block::MAX_INPUTS
                || chunk.samples.inputs.size_bytes() >= CHUNK_BYTES;
            if is_full {
                let next = Chunk::new(&model.settings.input);
                writer.write(std::mem::replace(&mut chunk, next)).await?;
            }
        }
    }
    writer.write(chunk).await?;
    let samples = writer.verdicts;
    if feedback.is_empty() {
        batches::delete(db, model.id, batch).await?;
        return Ok(Default::default());
    }
    batches::close(db, batch, &samples).await?;
    verdicts.batch = Some(batch);
    verdicts.rejections.extend(samples.rejections.iter().cloned());
    Ok((feedback, samples))
}

fn labelled(item: &Given, prediction: &Remembered) -> NewFeedback {
    NewFeedback {
        prediction: prediction.id,
        version: prediction.version,
        probability: prediction.probability,
        is_right: prediction.label == item.label.as_str(),
        label: item.label.clone(),
    }
}

/// A version's live figures; none while no label came.
pub(super) async fn live_figures(
    db: &mut PgConnection,
    model: ModelId,
    version: i32,
) -> Result<Option<LiveFigures>, StorageError> {
    let newest = worth::newest_labelled(db, model, version, window_begins_at(), WINDOW).await?;
    let answers = newest.iter().map(|one| (f64::from(one.probability), one.is_right));
    let (Some(oldest), Some(calibration_error)) = (newest.last(), calibration_error(answers))
    else {
        return Ok(None);
    };
    let right = newest.iter().filter(|one| one.is_right).count();
    let accuracy = right as f64 / newest.len() as f64;
    Ok(Some(LiveFigures { labelled: newest.len(), accuracy, calibration_error, since: oldest.at }))
}

/// The live figures of the versions that aliases point at, as far as labels came.
///
/// # Errors
/// When the database fails.
pub async fn of_all_pointed_at(context: &Context) -> Result<Vec<PointedAt>, ServiceError> {
    let mut db = context.pool.acquire().await?;
    Ok(worth::of_all_pointed_at(&mut db, window_begins_at(), WINDOW, CALIBRATION_BINS as i32)
        .await?)
}

/// Since when predictions count.
fn window_begins_at() -> OffsetDateTime {
    OffsetDateTime::now_utc() - Duration::days(WINDOW_DAYS)
}
