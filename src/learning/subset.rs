//! Some of a set of samples, in an order of their own, without a copy of them, and what each counts.

use crate::domain::label::Label;
use crate::domain::sample::{ContentHash, Samples};

/// The samples at `indices` of `samples`, in that order.
#[derive(Debug, Clone)]
pub(super) struct Subset<'a> {
    /// What is chosen from.
    pub(super) samples: &'a Samples,
    /// Which are chosen.
    pub(super) indices: Vec<usize>,
    /// What each counts in training, relative to 1.
    pub(super) weights: Vec<f32>,
}

impl<'a> Subset<'a> {
    /// All of `samples`.
    pub(super) fn all(samples: &'a Samples) -> Self {
        Self::of(samples, (0..samples.len()).collect())
    }

    /// None of `samples`.
    pub(super) fn none(samples: &'a Samples) -> Self {
        Self::of(samples, Vec::new())
    }

    /// Those at `indices`, at their own weights.
    pub(super) fn of(samples: &'a Samples, indices: Vec<usize>) -> Self {
        let weights = indices.iter().map(|&index| samples.weights[index]).collect();
        Self { samples, indices, weights }
    }

    /// Those at `places` of this subset, in that order.
    pub(super) fn choose(&self, places: &[usize]) -> Self {
        let indices = places.iter().map(|&place| self.indices[place]).collect();
        let weights = places.iter().map(|&place| self.weights[place]).collect();
        Self { samples: self.samples, indices, weights }
    }

    /// `most` of them at most: in the order of the content hash any stretch is a fair draw.
    pub(super) fn up_to(&self, most: usize) -> Self {
        self.choose(&(0..self.len().min(most)).collect::<Vec<_>>())
    }

    /// The same at other weights.
    pub(super) fn with_weights(self, weights: Vec<f32>) -> Self {
        Self { weights, ..self }
    }

    /// A copy of the chosen ones.
    pub(super) fn to_samples(&self) -> Samples {
        Samples { weights: self.weights.clone(), ..self.samples.select(&self.indices) }
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
        self.weights.iter().copied()
    }

    /// What names the one at `place`.
    pub(super) fn hash(&self, place: usize) -> ContentHash {
        self.samples.hashes[self.indices[place]]
    }
}
