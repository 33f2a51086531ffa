//! Some of a set of samples, in an order of their own, without a copy of them.

use crate::domain::label::Label;
use crate::domain::sample::{ContentHash, Samples};

/// The samples at `indices` of `samples`, in that order.
#[derive(Debug, Clone)]
pub(super) struct Subset<'a> {
    /// What is chosen from.
    pub(super) samples: &'a Samples,
    /// Which are chosen.
    pub(super) indices: Vec<usize>,
}

impl<'a> Subset<'a> {
    /// All of `samples`.
    pub(super) fn all(samples: &'a Samples) -> Self {
        Self { samples, indices: (0..samples.len()).collect() }
    }

    /// None of `samples`.
    pub(super) fn none(samples: &'a Samples) -> Self {
        Self { samples, indices: Vec::new() }
    }

    /// Those at `places` of this subset, in that order.
    pub(super) fn choose(&self, places: &[usize]) -> Self {
        let indices = places.iter().map(|&place| self.indices[place]).collect();
        Self { samples: self.samples, indices }
    }

    /// A copy of the chosen ones.
    pub(super) fn to_samples(&self) -> Samples {
        self.samples.select(&self.indices)
    }

    /// How many are chosen.
    pub(super) fn len(&self) -> usize {
        self.indices.len()
    }

    /// Whether none is.
    pub(super) fn is_empty(&self) -> bool {
        self.indices.is_empty()
    }

    /// Their labels in order.
    pub(super) fn labels(&self) -> impl Iterator<Item = &'a Label> {
        self.indices.iter().map(|&index| &self.samples.labels[index])
    }

    /// Their weights in order.
    pub(super) fn weights(&self) -> impl Iterator<Item = f32> {
        self.indices.iter().map(|&index| self.samples.weights[index])
    }

    /// What names the one at `place`.
    pub(super) fn hash(&self, place: usize) -> ContentHash {
        self.samples.hashes[self.indices[place]]
    }
}
