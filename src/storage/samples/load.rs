//! Samples put together: the inputs of their rows, read from their blocks.

use std::collections::HashMap;

use sqlx::PgConnection;

use super::SampleRow;
use crate::domain::input::Inputs;
use crate::domain::label::Label;
use crate::domain::sample::Samples;
use crate::storage::{StorageError, block};

/// Reads the inputs of `rows` and puts the samples together, block by block, up to the one with which
/// the inputs take `most_bytes`.
///
/// # Errors
/// When a block is gone or damaged.
pub async fn load(
    db: &mut PgConnection,
    mut rows: Vec<SampleRow>,
    labels: &HashMap<i32, Label>,
    mut samples: Samples,
    most_bytes: usize,
) -> Result<Samples, StorageError> {
    /// Blocks in memory at a time.
    const AT_ONCE: usize = 8;
    rows.sort_unstable_by_key(|row| (row.block_id, row.position));
    let of_blocks: Vec<&[SampleRow]> = rows.chunk_by(|a, b| a.block_id == b.block_id).collect();
    for group in of_blocks.chunks(AT_ONCE) {
        if samples.inputs.size_bytes() >= most_bytes {
            break;
        }
        let ids: Vec<i64> = group.iter().map(|rows| rows[0].block_id).collect();
        let blocks = sqlx::query!("SELECT id, payload FROM blocks WHERE id = ANY($1)", &ids)
            .fetch_all(&mut *db)
            .await?;
        let blocks: HashMap<i64, Vec<u8>> =
            blocks.into_iter().map(|block| (block.id, block.payload)).collect();
        for rows in group {
            let id = rows[0].block_id;
            let payload = blocks
                .get(&id)
                .ok_or_else(|| StorageError::damaged(format!("block {id}"), "it is gone"))?;
            take(&block::decode(payload)?, rows, labels, most_bytes, &mut samples).ok_or_else(
                || StorageError::damaged(format!("block {id}"), "a sample is not in it"),
            )?;
        }
    }
    Ok(samples)
}

/// Adds the samples of one block, as long as there is room.
fn take(
    inputs: &Inputs,
    rows: &[SampleRow],
    labels: &HashMap<i32, Label>,
    most_bytes: usize,
    samples: &mut Samples,
) -> Option<()> {
    let shape = |inputs: &Inputs| (inputs.n_numeric(), inputs.n_categorical());
    if shape(inputs) != shape(&samples.inputs) {
        return None;
    }
    for row in rows {
        if samples.inputs.size_bytes() >= most_bytes {
            break;
        }
        let position = usize::try_from(row.position).ok().filter(|&p| p < inputs.len())?;
        samples.inputs.push_from(inputs, position);
        samples.labels.push(labels.get(&row.label)?.clone());
        samples.weights.push(row.weight);
        samples.hashes.push(row.hash);
        // Blocks are numbered in the order in which a model's batches were stored.
        samples.arrived.push(row.block_id as u64 * block::MAX_INPUTS as u64 + row.position as u64);
    }
    Some(())
}
