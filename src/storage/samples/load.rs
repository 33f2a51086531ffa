//! Samples put together: the inputs of their rows, read from their blocks.

use std::collections::HashMap;

use sqlx::PgConnection;

use super::SampleRow;
use crate::domain::input::Inputs;
use crate::domain::label::Label;
use crate::domain::sample::Samples;
use crate::storage::{StorageError, block};

/// Reads the inputs of `rows` and puts the samples together, in the order in which they arrived, up to the one with
/// which the inputs take `most_bytes`. Of a block only the frames are read that hold one of them.
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
    rows.sort_unstable_by_key(|row| (row.block_id, row.position));
    let mut unpacker = block::unpacker()?;
    let (mut group, mut rest) = split(&rows);
    let mut frames = frames_of(db, group).await?;
    while !group.is_empty() && samples.inputs.size_bytes() < most_bytes {
        let (next, behind) = split(rest);
        let unpack = async {
            for frame in frames {
                let (rows, behind) =
                    group.split_at(group.partition_point(|row| frame.reaches(row)));
                group = behind;
                let inputs = block::decode_by(&mut unpacker, &frame.payload)?;
                frame.take(&inputs, rows, labels, most_bytes, &mut samples)?;
            }
            match group.first() {
                Some(row) => {
                    Err(StorageError::damaged(format!("block {}", row.block_id), "it is gone"))
                }
                None => Ok(()),
            }
        };
        // In this order: the database looks for the next ones while these are unpacked.
        let (read, unpacked) = tokio::join!(biased; frames_of(db, next), unpack);
        unpacked?;
        (frames, group, rest) = (read?, next, behind);
    }
    Ok(samples)
}

/// The first of `rows` to be read at once, and the others: of as many whole blocks as have a few hundred rows, each of
/// which may be in a frame of its own.
fn split(rows: &[SampleRow]) -> (&[SampleRow], &[SampleRow]) {
    const AT_ONCE: usize = 256;
    let mut n_rows = 0;
    for of_block in rows.chunk_by(|a, b| a.block_id == b.block_id) {
        n_rows += of_block.len();
        if n_rows >= AT_ONCE {
            break;
        }
    }
    rows.split_at(n_rows)
}

/// A part of a block.
struct Frame {
    block: i64,
    /// The place in the block of its first input, and the one behind its last.
    first: i32,
    end: i32,
    payload: Vec<u8>,
}

/// The frames that hold `rows`, in their order.
async fn frames_of(db: &mut PgConnection, rows: &[SampleRow]) -> Result<Vec<Frame>, StorageError> {
    if rows.is_empty() {
        return Ok(Vec::new());
    }
    let (blocks, positions): (Vec<i64>, Vec<i16>) =
        rows.iter().map(|row| (row.block_id, row.position)).unzip();
    let frames = sqlx::query_as!(
        Frame,
        r#"SELECT id AS "block!", frame * frame_inputs AS "first!", (frame + 1) * frame_inputs AS "end!",
                  CASE WHEN frame_ends = '{}' THEN payload
                       ELSE coalesce(substring(payload FROM begins + 1 FOR frame_ends[frame + 1] - begins), '')
                  END AS "payload!"
           FROM (SELECT DISTINCT id, position / frame_inputs AS frame
                 FROM unnest($1::bigint[], $2::smallint[]) AS wanted (id, position)
                      JOIN blocks USING (id)) AS wanted
                JOIN blocks USING (id)
                CROSS JOIN LATERAL (SELECT coalesce(frame_ends[frame], 0) AS begins) AS places
           ORDER BY id, frame"#,
        &blocks,
        &positions,
    );
    Ok(frames.fetch_all(db).await?)
}

impl Frame {
    /// Whether a sample is here, or was to be found before.
    fn reaches(&self, row: &SampleRow) -> bool {
        (row.block_id, i32::from(row.position)) < (self.block, self.end)
    }

    /// Adds `rows`, which are among its `inputs`, to `samples`, as long as there is room.
    fn take(
        &self,
        inputs: &Inputs,
        rows: &[SampleRow],
        labels: &HashMap<i32, Label>,
        most_bytes: usize,
        samples: &mut Samples,
    ) -> Result<(), StorageError> {
        let damaged = |why: &str| StorageError::damaged(format!("block {}", self.block), why);
        let shape = |inputs: &Inputs| (inputs.n_numeric(), inputs.n_categorical());
        if shape(inputs) != shape(&samples.inputs) {
            return Err(damaged("its inputs are of another shape"));
        }
        for row in rows {
            if samples.inputs.size_bytes() >= most_bytes {
                break;
            }
            let place = usize::try_from(i32::from(row.position) - self.first).ok();
            let place = place.filter(|&place| row.block_id == self.block && place < inputs.len());
            let (Some(place), Some(label)) = (place, labels.get(&row.label)) else {
                return Err(damaged("a sample, or its label, is not there"));
            };
            samples.inputs.push_from(inputs, place);
            samples.labels.push(label.clone());
            samples.weights.push(row.weight);
            samples.hashes.push(row.hash);
            samples.arrived.push(row.arrived());
        }
        Ok(())
    }
}
