//! Which old samples an update draws from the history.

use std::collections::HashMap;

use sqlx::PgConnection;

use crate::domain::sample::ContentHash;
use crate::storage::StorageError;
use crate::storage::models::ModelId;
use crate::storage::samples::{self, SampleRow};

/// Times its even share that a label may have of what is drawn.
const OVERDRAW: usize = 8;

/// Draws `most` learnt samples, evenly of `n_labels` that are known: of each those that follow `from`. What
/// rare labels cannot fill is shared by the others.
pub(in crate::services) async fn draw(
    db: &mut PgConnection,
    model: ModelId,
    (most, n_labels): (usize, usize),
    from: ContentHash,
) -> Result<Vec<SampleRow>, StorageError> {
    let per_label = most.div_ceil(n_labels.max(1));
    let mut drawn = samples::draw(db, model, per_label as i64, from).await?;
    // Mostly every label has its share, and eight times as many rows would be read for nothing.
    if drawn.len() < most {
        drawn = samples::draw(db, model, (OVERDRAW * per_label) as i64, from).await?;
    }
    Ok(evenly(drawn, most))
}

/// The first `most` rows, one of each label in turn: where there are too many, every label gives up
/// its last ones.
fn evenly(rows: Vec<SampleRow>, most: usize) -> Vec<SampleRow> {
    let mut of_label: HashMap<i32, usize> = HashMap::new();
    let mut ranked: Vec<(usize, SampleRow)> = Vec::with_capacity(rows.len());
    for row in rows {
        let rank = of_label.entry(row.label).or_default();
        ranked.push((*rank, row));
        *rank += 1;
    }
    // In whatever order the labels come.
    ranked.sort_by_key(|(rank, row)| (*rank, row.label));
    ranked.truncate(most);
    ranked.into_iter().map(|(_, row)| row).collect()
}

/// Where in the circle of content hashes this update's draw begins.
pub(in crate::services) fn start_of_draw(seed: u64) -> ContentHash {
    ContentHash::of_input(&[], &[Some(format!("replay {seed}").into_boxed_str())])
}
