//! Samples: one narrow row each, and the blocks that hold their inputs.

mod forget;
mod fresh;
mod load;

use std::ops::RangeInclusive;

use sqlx::PgConnection;
use uuid::Uuid;

use super::StorageError;
use super::block::{Frames, MAX_INPUTS};
use super::models::ModelId;
use crate::domain::input::Inputs;
use crate::domain::label::MAX_LABELS;
use crate::domain::sample::ContentHash;

pub use forget::{Deleted, Which, blank, blocks_of, delete_empty_blocks, delete_rows, unlearn};
pub use fresh::{count_fresh, fresh_by_model, mark_offered, offer_again, pass_over};
pub use load::load;

/// A sample's row, without its input.
#[derive(Debug, Clone, PartialEq)]
pub struct SampleRow {
    /// The block that holds its input.
    pub block_id: i64,
    /// The input's place in that block.
    pub position: i16,
    /// Its label's number.
    pub label: i32,
    /// How much it counts in training.
    pub weight: f32,
    /// Kept for evaluation, never trained on.
    pub held_out: bool,
    /// What names it.
    pub hash: ContentHash,
    /// What the client calls it.
    pub client_id: Option<String>,
}

impl SampleRow {
    /// When it came, as a number that grows: blocks are numbered in the order in which a model's batches were
    /// stored. It is no other sample's, ever.
    pub fn arrived(&self) -> u64 {
        self.block_id as u64 * MAX_INPUTS as u64 + self.position as u64
    }
}

/// The rows of up to a block's worth of new samples, as columns.
#[derive(Debug, Default)]
pub struct NewRows {
    /// Label numbers.
    pub labels: Vec<i32>,
    /// Weights.
    pub weights: Vec<f32>,
    /// Whether each is held out.
    pub held_out: Vec<bool>,
    /// Content hashes, 16 bytes each.
    pub hashes: Vec<Vec<u8>>,
    /// Client ids.
    pub client_ids: Vec<Option<String>>,
    /// Whom they are about.
    pub subjects: Vec<Option<String>>,
}

macro_rules! sample {
    ($row:expr) => {
        SampleRow {
            block_id: $row.block_id,
            position: $row.position,
            label: $row.label,
            weight: $row.weight,
            held_out: $row.held_out,
            hash: to_hash(&$row.hash)?,
            client_id: $row.client_id,
        }
    };
}

fn to_hash(bytes: &[u8]) -> Result<ContentHash, StorageError> {
    let bits =
        bytes.try_into().map_err(|_| StorageError::damaged("content hash", "not 16 bytes"))?;
    Ok(ContentHash(bits))
}

/// Stores the inputs of a block.
pub async fn insert_block(
    db: &mut PgConnection,
    model: ModelId,
    batch: Uuid,
    inputs: &Inputs,
) -> Result<i64, StorageError> {
    let Frames { payload, frame_inputs, frame_ends } = Frames::of(inputs)?;
    Ok(sqlx::query_scalar!(
        "INSERT INTO blocks (model_id, batch_id, payload, frame_inputs, frame_ends)
         VALUES ($1, $2, $3, $4, $5) RETURNING id",
        model.0,
        batch,
        payload,
        frame_inputs,
        &frame_ends,
    )
    .fetch_one(db)
    .await?)
}

/// The block that was stored last.
pub async fn last_block(
    db: &mut PgConnection,
    model: ModelId,
) -> Result<Option<i64>, StorageError> {
    let last = sqlx::query_scalar!("SELECT max(id) FROM blocks WHERE model_id = $1", model.0);
    Ok(last.fetch_one(db).await?)
}

/// Stores the rows of a block's samples, in the order of its inputs.
pub async fn insert_rows(
    db: &mut PgConnection,
    model: ModelId,
    block: i64,
    rows: &NewRows,
) -> Result<(), StorageError> {
    sqlx::query!(
        "INSERT INTO samples
                (model_id, block_id, position, label, weight, held_out, hash, client_id, subject)
         SELECT $1, $2, position - 1, label, weight, held_out, hash, client_id, subject
         FROM unnest($3::int[], $4::real[], $5::bool[], $6::bytea[], $7::text[], $8::text[])
              WITH ORDINALITY AS new (label, weight, held_out, hash, client_id, subject, position)",
        model.0,
        block,
        &rows.labels,
        &rows.weights,
        &rows.held_out,
        &rows.hashes,
        &rows.client_ids as &[Option<String>],
        &rows.subjects as &[Option<String>],
    )
    .execute(db)
    .await?;
    Ok(())
}

/// Which of these content hashes the model has already.
///
/// One look into the index for each, written so that no other plan is possible: while a long batch
/// is stored the planner knows nothing of the rows that it has written, and would compare each of
/// them with each hash.
pub async fn known_hashes(
    db: &mut PgConnection,
    model: ModelId,
    hashes: &[Vec<u8>],
) -> Result<Vec<ContentHash>, StorageError> {
    let known = sqlx::query_scalar!(
        "SELECT known.hash FROM unnest($2::bytea[]) AS new (hash) CROSS JOIN LATERAL (
             SELECT hash FROM samples WHERE model_id = $1 AND hash = new.hash LIMIT 1
         ) known",
        model.0,
        hashes,
    )
    .fetch_all(db)
    .await?;
    known.iter().map(|hash| to_hash(hash)).collect()
}

/// Which of these client ids the model has already; looked up as content hashes are.
pub async fn known_client_ids(
    db: &mut PgConnection,
    model: ModelId,
    client_ids: &[String],
) -> Result<Vec<String>, StorageError> {
    let known = sqlx::query_scalar!(
        r#"SELECT known.client_id AS "client_id!"
           FROM unnest($2::text[]) AS new (client_id) CROSS JOIN LATERAL (
               SELECT client_id FROM samples WHERE model_id = $1 AND client_id = new.client_id LIMIT 1
           ) known"#,
        model.0,
        client_ids,
    )
    .fetch_all(db)
    .await?;
    Ok(known)
}

/// How many samples no version has learnt.
pub async fn count_pending(db: &mut PgConnection, model: ModelId) -> Result<i64, StorageError> {
    Ok(sqlx::query_scalar!(
        r#"SELECT count(*) AS "count!" FROM samples WHERE model_id = $1 AND version IS NULL"#,
        model.0,
    )
    .fetch_one(db)
    .await?)
}

/// Samples of `blocks` that no version has learnt, oldest first.
pub async fn pending(
    db: &mut PgConnection,
    model: ModelId,
    blocks: RangeInclusive<i64>,
    limit: usize,
) -> Result<Vec<SampleRow>, StorageError> {
    let rows = sqlx::query!(
        "SELECT block_id, position, label, weight, held_out, hash, client_id FROM samples
         WHERE model_id = $1 AND version IS NULL AND block_id BETWEEN $2 AND $3
         ORDER BY block_id, position LIMIT $4",
        model.0,
        blocks.start(),
        blocks.end(),
        limit as i64,
    )
    .fetch_all(db)
    .await?;
    rows.into_iter().map(|row| Ok(sample!(row))).collect()
}

/// Draws up to `per_label` learnt samples of each label: those that follow `from` in the order of
/// their content hashes, and then, round the end, the first. Hashes are uniform, so this is a
/// random draw whose randomness is `from`, and an index scan whatever the history's length.
pub async fn draw(
    db: &mut PgConnection,
    model: ModelId,
    per_label: i64,
    from: ContentHash,
) -> Result<Vec<SampleRow>, StorageError> {
    let rows = sqlx::query!(
        r#"SELECT s.block_id AS "block_id!", s.position AS "position!", s.label AS "label!",
                  s.weight AS "weight!", s.held_out AS "held_out!", s.hash AS "hash!", s.client_id
           FROM labels l CROSS JOIN LATERAL (
               (SELECT 0 AS turn, * FROM samples
                WHERE model_id = $1 AND label = l.label AND version IS NOT NULL AND NOT held_out
                      AND NOT withheld AND hash >= $3 ORDER BY hash LIMIT $2)
               UNION ALL
               (SELECT 1 AS turn, * FROM samples
                WHERE model_id = $1 AND label = l.label AND version IS NOT NULL AND NOT held_out
                      AND NOT withheld AND hash < $3 ORDER BY hash LIMIT $2)
               ORDER BY turn, hash LIMIT $2
           ) s
           WHERE l.model_id = $1"#,
        model.0,
        per_label,
        &from.0[..],
    )
    .fetch_all(db)
    .await?;
    rows.into_iter().map(|row| Ok(sample!(row))).collect()
}

/// The newest learnt samples that are not held out, newest first.
///
/// Looked for in ever more blocks: of a join the planner may believe that it is as cheap to put a whole
/// history in order, and what it believes lags behind.
pub async fn newest(
    db: &mut PgConnection,
    model: ModelId,
    limit: usize,
) -> Result<Vec<SampleRow>, StorageError> {
    let (mut newest, mut before, mut n_blocks) = (Vec::new(), i64::MAX, 8);
    while newest.len() < limit {
        let blocks = sqlx::query_scalar!(
            "SELECT id FROM blocks WHERE model_id = $1 AND id < $2 ORDER BY id DESC LIMIT $3",
            model.0,
            before,
            n_blocks,
        );
        let blocks = blocks.fetch_all(&mut *db).await?;
        let Some(&last) = blocks.last() else { break };
        let rows = sqlx::query!(
            "SELECT block_id, position, label, weight, held_out, hash, client_id FROM samples
             WHERE block_id = ANY($1) AND version IS NOT NULL AND NOT held_out AND NOT withheld
             ORDER BY block_id DESC, position DESC LIMIT $2",
            &blocks,
            (limit - newest.len()) as i64,
        );
        for row in rows.fetch_all(&mut *db).await? {
            newest.push(sample!(row));
        }
        (before, n_blocks) = (last, 4 * n_blocks);
    }
    Ok(newest)
}

/// Up to `per_label` learnt held-out samples of each label, each with the version that it came
/// with: those with the lowest content hashes, a random draw that stays the same but for what comes
/// in, and an index scan whatever the history's length.
pub async fn held_out(
    db: &mut PgConnection,
    model: ModelId,
    per_label: i64,
) -> Result<Vec<(i32, SampleRow)>, StorageError> {
    let rows = sqlx::query!(
        r#"SELECT s.version AS "version!", s.block_id, s.position, s.label, s.weight, s.held_out,
                  s.hash, s.client_id
           FROM labels l CROSS JOIN LATERAL (
               SELECT * FROM samples
               WHERE model_id = $1 AND label = l.label AND version IS NOT NULL AND held_out
                     AND NOT withheld
               ORDER BY hash LIMIT $2
           ) s
           WHERE l.model_id = $1"#,
        model.0,
        per_label,
    )
    .fetch_all(db)
    .await?;
    rows.into_iter().map(|row| Ok((row.version, sample!(row)))).collect()
}

/// Records the version that learnt these samples, or was first evaluated on them.
pub async fn mark_learnt(
    db: &mut PgConnection,
    model: ModelId,
    version: i32,
    hashes: &[Vec<u8>],
) -> Result<(), StorageError> {
    sqlx::query!(
        "UPDATE samples SET version = $2, fresh = false FROM unnest($3::bytea[]) AS learnt (hash)
         WHERE samples.model_id = $1 AND samples.hash = learnt.hash",
        model.0,
        version,
        hashes,
    )
    .execute(db)
    .await?;
    Ok(())
}

/// Records that these samples are neither to be replayed nor to be evaluated on.
pub async fn withhold(
    db: &mut PgConnection,
    model: ModelId,
    hashes: &[Vec<u8>],
) -> Result<(), StorageError> {
    sqlx::query!(
        "UPDATE samples SET withheld = true WHERE model_id = $1 AND hash = ANY($2)",
        model.0,
        hashes,
    )
    .execute(db)
    .await?;
    Ok(())
}

/// Withholds the samples of other versions than `version` whose input is that of one of `learnt`,
/// but not their label. Answers how many.
pub async fn supersede(
    db: &mut PgConnection,
    model: ModelId,
    version: i32,
    learnt: &[ContentHash],
) -> Result<u64, StorageError> {
    let column = |of: fn(&ContentHash) -> ContentHash| -> Vec<Vec<u8>> {
        learnt.iter().map(|hash| of(hash).0.to_vec()).collect()
    };
    let superseded = sqlx::query!(
        // In order and limited, so that whatever the planner believes of the table, it walks an
        // index from each hash: a join would compare every new sample with every old one.
        "UPDATE samples SET withheld = true
         WHERE model_id = $1 AND hash = ANY (ARRAY(
             SELECT old.hash
             FROM unnest($3::bytea[], $4::bytea[], $5::bytea[]) AS new (hash, least, greatest)
             CROSS JOIN LATERAL (
                 SELECT hash, version, withheld FROM samples
                 WHERE model_id = $1 AND hash BETWEEN new.least AND new.greatest
                 ORDER BY hash LIMIT $6
             ) old
             WHERE old.hash <> new.hash AND old.version <> $2 AND NOT old.withheld
         ))",
        model.0,
        version,
        &column(|hash| *hash),
        &column(|hash| hash.range_of_input().0),
        &column(|hash| hash.range_of_input().1),
        // An input comes once with each label.
        MAX_LABELS as i64,
    )
    .execute(db)
    .await?;
    Ok(superseded.rows_affected())
}
