//! The held-out samples of earlier updates that an update is evaluated on.
//!
//! They are drawn per label from the whole history, then told apart by the experience that each
//! came with: memory and time are bounded by the number of samples, not of updates or labels. Nearly all of them
//! the update before was evaluated on, too: those are kept in memory, and only the others are read.

use std::collections::HashMap;
use std::sync::Arc;

use quick_cache::sync::{Cache, DefaultLifecycle};
use quick_cache::{DefaultHashBuilder, OptionsBuilder, Weighter};
use sqlx::PgConnection;

use crate::domain::label::Label;
use crate::domain::sample::{ContentHash, Samples};
use crate::learning::held_out_per_label;
use crate::storage::StorageError;
use crate::storage::models::{self, Model, ModelId};
use crate::storage::samples::{self, SampleRow};

/// The most bytes of held-out inputs that an update reads.
const MOST_BYTES: usize = 64 << 20;

/// The held-out samples that the last updates of some models were evaluated on, in the order in which they
/// arrived. Those of a model are dropped once a sample of it was deleted: by its next update, and within a minute.
pub struct HeldOut(Cache<ModelId, Kept, BySize>);

#[derive(Clone)]
struct Kept {
    samples: Arc<Samples>,
    /// The model's deletions by then.
    deletions: i64,
}

#[derive(Clone)]
struct BySize;

impl Weighter<ModelId, Kept> for BySize {
    fn weight(&self, _model: &ModelId, kept: &Kept) -> u64 {
        kept.samples.inputs.size_bytes() as u64
    }
}

impl Default for HeldOut {
    /// Of no model yet; of all together as much as two may take.
    fn default() -> Self {
        /// Only sizes the cache's tables.
        const EXPECTED_MODELS: usize = 64;
        // In one piece: each of several would be too small for much.
        let options = OptionsBuilder::new()
            .shards(1)
            .estimated_items_capacity(EXPECTED_MODELS)
            .weight_capacity(2 * MOST_BYTES as u64)
            .build()
            .expect("both capacities are given");
        let (hasher, lifecycle) = (DefaultHashBuilder::default(), DefaultLifecycle::default());
        Self(Cache::with_options(options, BySize, hasher, lifecycle))
    }
}

impl HeldOut {
    /// The held-out samples of each of `experiences`, which are versions in order; evenly of `n_labels`
    /// labels, and as many as fit where one takes `sample_bytes` of `most_bytes`.
    pub(super) async fn of_experiences(
        &self,
        db: &mut PgConnection,
        model: &Model,
        experiences: &[i32],
        (labels, n_labels): (&HashMap<i32, Label>, usize),
        (sample_bytes, most_bytes): (usize, usize),
    ) -> Result<Vec<Samples>, StorageError> {
        let per_label = held_out_per_label(n_labels);
        let mut drawn = samples::held_out(db, model.id, per_label as i64).await?;
        // Wide inputs and long texts: again those with the lowest hashes, in whatever order they came.
        drawn.sort_unstable_by_key(|(_, row)| row.hash);
        let most_bytes = most_bytes.min(MOST_BYTES);
        drawn.truncate(most_bytes / sample_bytes);
        let places: HashMap<i32, usize> =
            experiences.iter().enumerate().map(|(place, &version)| (version, place)).collect();
        let place_of: HashMap<ContentHash, usize> = drawn
            .iter()
            .filter_map(|(version, row)| Some((row.hash, *places.get(version)?)))
            .collect();
        let rows = drawn.into_iter().map(|(_, row)| row).collect();
        let together = self.read(db, model, rows, labels, most_bytes).await?;
        let mut apart = vec![Samples::empty(&model.settings.input); experiences.len()];
        for (index, hash) in together.hashes.iter().enumerate() {
            if let Some(&place) = place_of.get(hash) {
                apart[place].push_from(&together, index);
            }
        }
        Ok(apart)
    }

    /// Drops those of models that are gone, or of which a sample was deleted since; how many models these are.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn drop_deleted(&self, db: &mut PgConnection) -> Result<usize, StorageError> {
        let kept: Vec<ModelId> = self.0.iter().map(|(model, _)| model).collect();
        Ok(self.drop_all_but(&models::deletions(db, &kept).await?))
    }

    /// Keeps those of models with as many deletions as they have by now.
    fn drop_all_but(&self, deletions: &HashMap<ModelId, i64>) -> usize {
        let is_old =
            |(model, kept): &(ModelId, Kept)| deletions.get(model) != Some(&kept.deletions);
        let old: Vec<(ModelId, Kept)> = self.0.iter().filter(is_old).collect();
        old.iter().for_each(|(model, _)| drop(self.0.remove(model)));
        old.len()
    }

    /// What [`samples::load`] reads of `rows`; those that are kept are not read again.
    async fn read(
        &self,
        db: &mut PgConnection,
        model: &Model,
        rows: Vec<SampleRow>,
        labels: &HashMap<i32, Label>,
        most_bytes: usize,
    ) -> Result<Arc<Samples>, StorageError> {
        let mut together = Samples::empty(&model.settings.input);
        let kept = self.0.get(&model.id).filter(|kept| kept.deletions == model.deletions);
        let kept = kept.map_or_else(|| Arc::new(together.clone()), |kept| kept.samples);
        let place = |samples: &Samples, arrived: u64| samples.arrived.binary_search(&arrived).ok();
        let mut order: Vec<u64> = rows.iter().map(SampleRow::arrived).collect();
        order.sort_unstable();
        let unknown = rows.into_iter().filter(|row| place(&kept, row.arrived()).is_none());
        let read =
            samples::load(db, unknown.collect(), labels, together.clone(), most_bytes).await?;
        // In the order of arrival up to where they are enough, as if all had been read.
        for arrived in order {
            if together.inputs.size_bytes() >= most_bytes {
                break;
            }
            for part in [&*kept, &read] {
                place(part, arrived).into_iter().for_each(|place| together.push_from(part, place));
            }
        }
        let samples = Arc::new(together);
        let kept = Kept { samples: Arc::clone(&samples), deletions: model.deletions };
        self.0.insert(model.id, kept);
        Ok(samples)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::input::{InputSchema, TextSchema};

    #[test]
    fn of_models_that_are_gone_or_whose_samples_were_deleted_nothing_is_kept() {
        let held_out = HeldOut::default();
        let mut samples = Samples::empty(&InputSchema::Text(TextSchema::default()));
        samples.inputs.push_text("secret".into());
        let samples = Arc::new(samples);
        for (model, deletions) in [(1, 0), (2, 5), (3, 0)] {
            let kept = Kept { samples: Arc::clone(&samples), deletions };
            held_out.0.insert(ModelId(model), kept);
        }
        let deletions = HashMap::from([(ModelId(1), 0), (ModelId(2), 6)]);
        assert_eq!(held_out.drop_all_but(&deletions), 2);
        let left: Vec<ModelId> = held_out.0.iter().map(|(model, _)| model).collect();
        assert_eq!(left, [ModelId(1)]);
        assert_eq!(Arc::strong_count(&samples), 2);
    }
}
