//! Samples forgotten: their rows, and their inputs within blocks that they share with others.
//!
//! A sample's place in its block never changes: where others stay, its input is blanked and the block
//! packed anew, so that nothing of it is left.

use std::collections::HashSet;

use sqlx::PgConnection;
use uuid::Uuid;

use super::to_hash;
use crate::domain::input::{Category, Inputs};
use crate::storage::StorageError;
use crate::storage::block::Frames;
use crate::storage::models::ModelId;

/// Which samples of a model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Which {
    /// Those of a batch.
    Batch(Uuid),
    /// The one that the client calls so.
    Id(String),
    /// Those about this subject.
    Subject(String),
}

/// A sample that was deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deleted {
    /// Its block.
    pub block_id: i64,
    /// Its place there.
    pub position: i16,
    /// What updates called it: the client's id, else its content hash.
    pub name: String,
}

/// The blocks that hold such samples, in order of arrival.
pub async fn blocks_of(
    db: &mut PgConnection,
    model: ModelId,
    which: &Which,
) -> Result<Vec<i64>, StorageError> {
    match which {
        Which::Batch(batch) => blocks_of_batch(db, model, *batch).await,
        Which::Id(id) => block_of_id(db, model, id).await,
        Which::Subject(subject) => blocks_of_subject(db, model, subject).await,
    }
}

async fn blocks_of_batch(
    db: &mut PgConnection,
    model: ModelId,
    batch: Uuid,
) -> Result<Vec<i64>, StorageError> {
    let blocks = sqlx::query_scalar!(
        "SELECT id FROM blocks WHERE model_id = $1 AND batch_id = $2 ORDER BY id",
        model.0,
        batch,
    );
    Ok(blocks.fetch_all(db).await?)
}

async fn block_of_id(
    db: &mut PgConnection,
    model: ModelId,
    id: &str,
) -> Result<Vec<i64>, StorageError> {
    let block = sqlx::query_scalar!(
        "SELECT block_id FROM samples WHERE model_id = $1 AND client_id = $2",
        model.0,
        id,
    );
    Ok(block.fetch_all(db).await?)
}

async fn blocks_of_subject(
    db: &mut PgConnection,
    model: ModelId,
    subject: &str,
) -> Result<Vec<i64>, StorageError> {
    let blocks = sqlx::query_scalar!(
        "SELECT DISTINCT block_id FROM samples WHERE model_id = $1 AND subject = $2 ORDER BY block_id",
        model.0,
        subject,
    );
    Ok(blocks.fetch_all(db).await?)
}

/// Deletes the rows of such samples in `blocks`, or of all in them, but for those that `kept` names. Their inputs are for [`delete_empty_blocks`] and
/// [`blank`] to remove.
pub async fn delete_rows(
    db: &mut PgConnection,
    blocks: &[i64],
    which: Option<&Which>,
    kept: &[Vec<u8>],
) -> Result<Vec<Deleted>, StorageError> {
    let (id, subject) = match which {
        None | Some(Which::Batch(_)) => (None, None),
        Some(Which::Id(id)) => (Some(id.as_str()), None),
        Some(Which::Subject(subject)) => (None, Some(subject.as_str())),
    };
    let rows = sqlx::query!(
        "DELETE FROM samples
         WHERE block_id = ANY($1) AND ($2::text IS NULL OR client_id = $2)
               AND ($3::text IS NULL OR subject = $3)
               AND hash NOT IN (SELECT unnest($4::bytea[]))
         RETURNING block_id, position, hash, client_id",
        blocks,
        id,
        subject,
        kept,
    )
    .fetch_all(db)
    .await?;
    rows.into_iter()
        .map(|row| {
            let hash = to_hash(&row.hash)?;
            let name = row.client_id.unwrap_or_else(|| hash.to_string());
            Ok(Deleted { block_id: row.block_id, position: row.position, name })
        })
        .collect()
}

/// Deletes those of `blocks` that hold no sample any more. Answers which.
pub async fn delete_empty_blocks(
    db: &mut PgConnection,
    blocks: &[i64],
) -> Result<Vec<i64>, StorageError> {
    let deleted = sqlx::query_scalar!(
        "DELETE FROM blocks WHERE id = ANY($1)
                AND NOT EXISTS (SELECT FROM samples WHERE block_id = blocks.id) RETURNING id",
        blocks,
    );
    Ok(deleted.fetch_all(db).await?)
}

/// Packs a block anew with nothing in these places.
pub async fn blank(
    db: &mut PgConnection,
    block: i64,
    positions: &HashSet<usize>,
) -> Result<(), StorageError> {
    let packed = sqlx::query_as!(
        Frames,
        "SELECT payload, frame_inputs, frame_ends FROM blocks WHERE id = $1",
        block,
    );
    let inputs = packed.fetch_one(&mut *db).await?.decode()?;
    let Frames { payload, frame_inputs, frame_ends } = Frames::of(&without(&inputs, positions))?;
    sqlx::query!(
        "UPDATE blocks SET payload = $2, frame_inputs = $3, frame_ends = $4 WHERE id = $1",
        block,
        payload,
        frame_inputs,
        &frame_ends,
    )
    .execute(db)
    .await?;
    Ok(())
}

/// The same inputs in the same places, with zeros and missing categories in those of `positions`.
fn without(inputs: &Inputs, positions: &HashSet<usize>) -> Inputs {
    let numbers = vec![0.0; inputs.n_numeric()];
    let categories: Vec<Category> = vec![None; inputs.n_categorical()];
    let mut rest = Inputs::with_shape(inputs.n_numeric(), inputs.n_categorical());
    for index in 0..inputs.len() {
        match positions.contains(&index) {
            true => rest.push(&numbers, &categories),
            false => rest.push_from(inputs, index),
        }
    }
    rest
}

/// Makes pending again what versions after `version` learnt; all that was learnt, where it is 0.
/// Answers how many.
pub async fn unlearn(
    db: &mut PgConnection,
    model: ModelId,
    version: i32,
) -> Result<u64, StorageError> {
    let done = sqlx::query!(
        "UPDATE samples SET version = NULL, withheld = false WHERE model_id = $1 AND version > $2",
        model.0,
        version,
    )
    .execute(db)
    .await?;
    Ok(done.rows_affected())
}
