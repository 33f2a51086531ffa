//! Predictions that are remembered, and the labels that came for them.
//!
//! A row is a block: predictions of one version with their inputs. Of a prediction's id all but the last
//! byte is its block's, and that its place in it, so that none needs a row or an index of its own.
//! Invariant: days are dropped whole. An id begins with its time, so a prediction goes with its day,
//! and the label that came for it, too.

pub mod worth;

use sqlx::PgConnection;
use uuid::Uuid;

use super::models::ModelId;
use super::{StorageError, block};
use crate::domain::input::Inputs;
use crate::domain::label::Label;

/// Predictions that a block holds at most: what the last byte of an id tells apart.
pub const MOST_IN_BLOCK: usize = 1 << 8;

/// Predictions of one version, with their inputs.
#[derive(Debug, Clone, PartialEq)]
pub struct NewBlock {
    /// The model that was asked.
    pub model: ModelId,
    /// What the block is called, by [`block_id`].
    pub id: Uuid,
    /// The version that answered.
    pub version: i32,
    /// What it said, input by input.
    pub labels: Vec<String>,
    /// How sure it was.
    pub probabilities: Vec<f32>,
    /// The inputs, packed (`storage/block.rs`).
    pub payload: Vec<u8>,
}

/// The block of the prediction that is called `id`.
pub fn block_id(id: Uuid) -> Uuid {
    Uuid::from_u128(id.as_u128() / MOST_IN_BLOCK as u128 * MOST_IN_BLOCK as u128)
}

/// What the prediction at `place` of a block is called.
pub fn id_at(block: Uuid, place: usize) -> Uuid {
    Uuid::from_u128(block.as_u128() + place as u128)
}

/// The place of the prediction that is called `id` in its block.
pub fn place_of(id: Uuid) -> usize {
    (id.as_u128() % MOST_IN_BLOCK as u128) as usize
}

/// A prediction as it is remembered.
#[derive(Debug, Clone, PartialEq)]
pub struct Remembered {
    /// What it is called.
    pub id: Uuid,
    /// The version that answered.
    pub version: i32,
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

/// Stores a block, unless its model is gone, or a commit whose answer was lost has stored it already.
pub async fn insert(db: &mut PgConnection, new: &NewBlock) -> Result<(), StorageError> {
    sqlx::query!(
        "INSERT INTO prediction_blocks (model_id, id, version, labels, probabilities, payload)
         SELECT $1, $2, $3, $4, $5, $6 WHERE EXISTS (SELECT FROM models WHERE id = $1)
         ON CONFLICT DO NOTHING",
        new.model.0,
        new.id,
        new.version,
        &new.labels,
        &new.probabilities,
        &new.payload,
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
    let blocks: Vec<Uuid> = ids.iter().copied().map(block_id).collect();
    let places: Vec<i32> = ids.iter().map(|id| place_of(*id) as i32).collect();
    Ok(sqlx::query_as!(
        Remembered,
        r#"SELECT asked.id AS "id!", b.version AS "version!", b.labels[asked.place + 1] AS "label!",
                  b.probabilities[asked.place + 1] AS "probability!", f.label AS "given?"
           FROM unnest($2::uuid[], $3::uuid[], $4::int[]) AS asked (id, block, place)
           CROSS JOIN LATERAL (
               SELECT version, labels, probabilities FROM prediction_blocks
               WHERE model_id = $1 AND id = asked.block AND asked.place < cardinality(labels) LIMIT 1
           ) b
           LEFT JOIN LATERAL (
               SELECT label FROM feedback WHERE model_id = $1 AND prediction_id = asked.id LIMIT 1
           ) f ON true"#,
        model.0,
        ids,
        &blocks,
        &places,
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
        "WITH labels AS (DELETE FROM feedback WHERE model_id = $1)
         DELETE FROM prediction_blocks WHERE model_id = $1",
        model.0,
    )
    .execute(db)
    .await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_tells_its_block_and_its_place_there() {
        let block = block_id(Uuid::now_v7());
        for place in [0, 1, 99, MOST_IN_BLOCK - 1] {
            let id = id_at(block, place);
            assert_eq!((block_id(id), place_of(id)), (block, place));
            assert_eq!((id.get_version_num(), id.get_variant()), (7, uuid::Variant::RFC4122));
        }
    }
}
