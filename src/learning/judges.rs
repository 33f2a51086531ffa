//! Held-out samples that choose between candidates: ridges, what answers, merged weights.
//!
//! They are of the half that temperature is fitted on; the other half is left to judge what was
//! chosen. Of each label those with the lowest content hashes judge, which are the same in whatever
//! order the batches came.

use std::collections::{BTreeMap, BTreeSet};

use crate::domain::label::Label;
use crate::domain::sample::{ContentHash, Samples};
use crate::domain::update::AnsweredBy;

use super::Lesson;
use super::evaluate::fitted_losses;
use super::held_out::HeldOut;
use super::minibatch::places;
use super::noise::{Drop, LEVEL, quantile};
use super::predict::{Predictor, largest};
use super::state::LearnerState;

/// The most of them.
const MAX_JUDGES: usize = 2_000;

/// The samples, and each one's label as its place in the head.
pub(super) struct Judges {
    /// The samples.
    pub(super) samples: Samples,
    labels: Vec<usize>,
}

impl Judges {
    /// Those held out whose labels `state` knows.
    pub(super) fn of(lesson: &Lesson<'_>, held_out: &HeldOut<'_>, state: &LearnerState) -> Self {
        let places = places(state);
        let mut of_label = BTreeMap::<&Label, BTreeSet<(ContentHash, usize, usize)>>::new();
        for (experience, set) in held_out.experiences.iter().enumerate() {
            for &index in &set.indices {
                let (label, hash) = (&set.samples.labels[index], set.samples.hashes[index]);
                if hash.chooses() && places.contains_key(label) {
                    of_label.entry(label).or_default().insert((hash, experience, index));
                }
            }
        }
        let per_label = (MAX_JUDGES / of_label.len().max(1)).max(1);
        let mut samples = lesson.experience.empty_like();
        for (_, experience, index) in
            of_label.into_values().flat_map(|all| all.into_iter().take(per_label))
        {
            samples.push_from(held_out.experiences[experience].samples, index);
        }
        let labels = samples.labels.iter().map(|label| places[label]).collect();
        Self { samples, labels }
    }

    /// What `by` says to them for `state`, `[judges, labels]` row-major.
    pub(super) fn hear(
        &self,
        lesson: &Lesson<'_>,
        state: &LearnerState,
        by: AnsweredBy,
    ) -> Vec<f32> {
        Predictor::answered_by(state, by, lesson.device).logits_of_checked(&self.samples.inputs)
    }

    /// What `logits`, `[judges, labels]` row-major, lose on them in all, at the temperature that suits them.
    pub(super) fn loss(&self, logits: Vec<f32>) -> f64 {
        fitted_losses(logits, &self.labels).into_iter().sum()
    }

    /// Which of them `logits`, `[judges, n_labels]` row-major, answer rightly.
    pub(super) fn verdict(&self, logits: &[f32], n_labels: usize) -> Verdict {
        let rows = logits.chunks_exact(n_labels).zip(&self.labels);
        Verdict(rows.map(|(row, &label)| largest(row) == label).collect())
    }
}

/// Which judges a candidate answers rightly.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Verdict(Vec<bool>);

impl Verdict {
    /// How many.
    pub(super) fn n_right(&self) -> usize {
        self.0.iter().filter(|&&right| right).count()
    }

    /// The share of right answers; none without judges.
    pub(super) fn accuracy(&self) -> Option<f64> {
        (!self.0.is_empty()).then(|| self.n_right() as f64 / self.0.len() as f64)
    }

    /// Whether it is better than `other` beyond noise.
    pub(super) fn beats(&self, other: &Self) -> bool {
        let mut gain = Drop::default();
        self.0.iter().zip(&other.0).for_each(|(&own, &other)| gain.add(own, other));
        gain.excess(0.0) > quantile(LEVEL)
    }
}
