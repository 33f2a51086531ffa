//! Predictions that are remembered, and the labels that came for them.
//!
//! Invariant: days are dropped whole. An id begins with its time, so whatever belongs to a
//! prediction goes on the same day as it, its input at the earliest.

pub mod worth;

use sqlx::PgConnection;
use uuid::Uuid;

use super::models::ModelId;
use super::{StorageError, block};
use crate::domain::input::Inputs;
use crate::domain::label::Label;

/// Rows of predictions, as columns.
#[derive(Debug, Default)]
pub struct NewPredictions {
    /// The models that were asked.
    pub models: Vec<i64>,
    /// What each prediction is called.
    pub ids: Vec<Uuid>,
    /// The versions that answered.
    pub versions: Vec<i32>,
    /// The blocks that hold the inputs.
    pub blocks: Vec<Uuid>,
    /// The inputs' places in them.
    pub positions: Vec<i16>,
    /// What was said.
    pub labels: Vec<String>,
    /// How sure the version was of it.
    pub probabilities: Vec<f32>,
}

/// Blocks of inputs, as columns.
#[derive(Debug, Default)]
pub struct NewBlocks {
    /// The models whose inputs they hold.
    pub models: Vec<i64>,
    /// What each block is called.
    pub ids: Vec<Uuid>,
    /// The packed inputs.
    pub payloads: Vec<Vec<u8>>,
}

impl NewBlocks {
    /// Packs one more.
    ///
    /// # Errors
    /// When the compressor has no memory.
    pub fn add(&mut self, model: ModelId, id: Uuid, inputs: &Inputs) -> Result<(), StorageError> {
        self.payloads.push(block::encode(inputs)?);
        self.models.push(model.0);
        self.ids.push(id);
        Ok(())
    }
}

/// A prediction as it is remembered.
#[derive(Debug, Clone, PartialEq)]
pub struct Remembered {
    /// What it is called.
    pub id: Uuid,
    /// The version that answered.
    pub version: i32,
    /// The block that holds its input.
    pub block_id: Uuid,
    /// The input's place in that block.
    pub position: i16,
    /// What was said.
    pub label: String,
    /// How sure the version was of it.
    pub probability: f32,
    /// The true label, where it has come.
    pub given: Option<String>,
}

/// A label that came for a prediction.
#[derive(Debug, Clone, PartialEq)]
pub struct NewFeedback {
    /// The prediction.
    pub prediction: Uuid,
    /// The version that answered.
    pub version: i32,
    /// How sure it was.
    pub probability: f32,
    /// The true label.
    pub label: Label,
    /// Whether the version had said so.
    pub is_right: bool,
}

/// Makes the partitions of the days around today, so that clocks may differ and a round be missed.
pub async fn open_days(db: &mut PgConnection) -> Result<(), StorageError> {
    sqlx::query_scalar!(
        "SELECT open_prediction_days(today - 1, today + 3)::text
         FROM (SELECT (now() AT TIME ZONE 'UTC')::date) AS clock (today)"
    )
    .fetch_one(db)
    .await?;
    Ok(())
}

/// Drops what is older than `days` whole days.
pub async fn drop_days(db: &mut PgConnection, days: i32) -> Result<(), StorageError> {
    sqlx::query_scalar!(
        "SELECT drop_prediction_days((now() AT TIME ZONE 'UTC')::date - $1::int)::text",
        days,
    )
    .fetch_one(db)
    .await?;
    Ok(())
}

/// Lets the transaction commit without waiting for the disk: what it writes may be lost in a crash.
pub async fn write_behind(db: &mut PgConnection) -> Result<(), StorageError> {
    sqlx::query_scalar!("SELECT set_config('synchronous_commit', 'off', true)")
        .fetch_one(db)
        .await?;
    Ok(())
}

/// Stores blocks of inputs; those of models that are gone are left out.
pub async fn insert_blocks(db: &mut PgConnection, blocks: &NewBlocks) -> Result<(), StorageError> {
    sqlx::query!(
        "INSERT INTO prediction_blocks (model_id, id, payload)
         SELECT new.* FROM unnest($1::bigint[], $2::uuid[], $3::bytea[]) AS new (model_id, id, payload)
         WHERE EXISTS (SELECT FROM models WHERE models.id = new.model_id)",
        &blocks.models,
        &blocks.ids,
        &blocks.payloads,
    )
    .execute(db)
    .await?;
    Ok(())
}

/// Stores predictions; those of models that are gone are left out, and so are those that a commit
/// whose answer was lost has stored already.
pub async fn insert(db: &mut PgConnection, new: &NewPredictions) -> Result<(), StorageError> {
    sqlx::query!(
        "INSERT INTO predictions (model_id, id, version, block_id, position, label, probability)
         SELECT new.* FROM unnest($1::bigint[], $2::uuid[], $3::int[], $4::uuid[], $5::smallint[],
                                  $6::text[], $7::real[])
             AS new (model_id, id, version, block_id, position, label, probability)
         WHERE EXISTS (SELECT FROM models WHERE models.id = new.model_id)
         ON CONFLICT DO NOTHING",
        &new.models,
        &new.ids,
        &new.versions,
        &new.blocks,
        &new.positions,
        &new.labels,
        &new.probabilities,
    )
    .execute(db)
    .await?;
    Ok(())
}

/// Those of these predictions that the model remembers, each with the label that came for it.
pub async fn find(
    db: &mut PgConnection,
    model: ModelId,
    ids: &[Uuid],
) -> Result<Vec<Remembered>, StorageError> {
    Ok(sqlx::query_as!(
        Remembered,
        r#"SELECT p.id AS "id!", p.version AS "version!", p.block_id AS "block_id!",
                  p.position AS "position!", p.label AS "label!", p.probability AS "probability!",
                  f.label AS "given?"
           FROM unnest($2::uuid[]) AS asked (id)
           CROSS JOIN LATERAL (
               SELECT * FROM predictions WHERE model_id = $1 AND id = asked.id LIMIT 1
           ) p
           LEFT JOIN LATERAL (
               SELECT label FROM feedback WHERE model_id = $1 AND prediction_id = asked.id LIMIT 1
           ) f ON true"#,
        model.0,
        ids,
    )
    .fetch_all(db)
    .await?)
}

/// The inputs of a block, unless its day is over.
pub async fn block(
    db: &mut PgConnection,
    model: ModelId,
    id: Uuid,
) -> Result<Option<Inputs>, StorageError> {
    let payload = sqlx::query_scalar!(
        "SELECT payload FROM prediction_blocks WHERE model_id = $1 AND id = $2",
        model.0,
        id,
    )
    .fetch_optional(db)
    .await?;
    payload.map(|payload| block::decode(&payload)).transpose()
}

/// Keeps the labels that came.
pub async fn insert_feedback(
    db: &mut PgConnection,
    model: ModelId,
    feedback: &[NewFeedback],
) -> Result<(), StorageError> {
    fn column<T>(feedback: &[NewFeedback], of: impl Fn(&NewFeedback) -> T) -> Vec<T> {
        feedback.iter().map(of).collect()
    }
    sqlx::query!(
        "INSERT INTO feedback (model_id, prediction_id, version, probability, label, is_right)
         SELECT $1, * FROM unnest($2::uuid[], $3::int[], $4::real[], $5::text[], $6::bool[])",
        model.0,
        &column(feedback, |one| one.prediction),
        &column(feedback, |one| one.version),
        &column(feedback, |one| one.probability),
        &column(feedback, |one| one.label.as_str().to_owned()),
        &column(feedback, |one| one.is_right),
    )
    .execute(db)
    .await?;
    Ok(())
}

/// Forgets all predictions of a model.
pub async fn delete_of_model(db: &mut PgConnection, model: ModelId) -> Result<(), StorageError> {
    sqlx::query!(
        "WITH inputs AS (DELETE FROM prediction_blocks WHERE model_id = $1),
              labels AS (DELETE FROM feedback WHERE model_id = $1)
         DELETE FROM predictions WHERE model_id = $1",
        model.0,
    )
    .execute(db)
    .await?;
    Ok(())
}
