//! Which old samples an update draws from the history.

use std::collections::HashMap;

use crate::domain::sample::ContentHash;
use crate::storage::samples::SampleRow;

/// The first `most` rows, one of each label in turn: where there are too many, every label gives up
/// its last ones.
pub(super) fn evenly(rows: Vec<SampleRow>, most: usize) -> Vec<SampleRow> {
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
