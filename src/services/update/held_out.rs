//! The held-out samples of earlier updates that an update is evaluated on.
//!
//! They are drawn per label from the whole history, then told apart by the experience that each
//! came with: memory and time are bounded by the number of samples, not of updates or labels.

use std::collections::HashMap;

use sqlx::PgConnection;

use crate::domain::label::Label;
use crate::domain::sample::{ContentHash, Samples};
use crate::learning::held_out_per_label;
use crate::storage::StorageError;
use crate::storage::models::Model;
use crate::storage::samples;

/// The most bytes of held-out inputs that an update reads.
const MOST_BYTES: usize = 64 << 20;

/// The held-out samples of each of `experiences`, which are versions in order; evenly of `n_labels`
/// labels, and as many as fit where one takes `sample_bytes` of `most_bytes`.
pub(super) async fn of_experiences(
    db: &mut PgConnection,
    model: &Model,
    experiences: &[i32],
    (labels, n_labels): (&HashMap<i32, Label>, usize),
    (sample_bytes, most_bytes): (usize, usize),
) -> Result<Vec<Samples>, StorageError> {
    let input = &model.settings.input;
    let per_label = held_out_per_label(n_labels);
    let mut drawn = samples::held_out(db, model.id, per_label as i64).await?;
    // Wide inputs and long texts: again those with the lowest hashes, in whatever order they came.
    drawn.sort_unstable_by_key(|(_, row)| row.hash);
    let most_bytes = most_bytes.min(MOST_BYTES);
    drawn.truncate(most_bytes / sample_bytes);
    let places: HashMap<i32, usize> =
        experiences.iter().enumerate().map(|(place, &version)| (version, place)).collect();
    let place_of: HashMap<ContentHash, usize> =
        drawn.iter().filter_map(|(version, row)| Some((row.hash, *places.get(version)?))).collect();
    let rows = drawn.into_iter().map(|(_, row)| row).collect();
    let together = samples::load(db, rows, labels, Samples::empty(input), most_bytes).await?;
    let mut apart = vec![Samples::empty(input); experiences.len()];
    for (index, hash) in together.hashes.iter().enumerate() {
        if let Some(&place) = place_of.get(hash) {
            apart[place].push_from(&together, index);
        }
    }
    Ok(apart)
}
