//! What an update takes of memory, reckoned before anything is made: one that does not fit is refused
//! in words, where the system would end the whole process.

use std::collections::BTreeSet;

use crate::domain::label::Label;
use crate::domain::sample::Samples;

use super::feature_map;
use super::features;
use super::recipe::Recipe;
use super::shape::Shape;
use super::state::LearnerState;
use super::{LearningError, Lesson};

/// Copies of the weights at the worst time: the parent and the network that is agreed with, the one in
/// training, on the host and on the device, its gradients, the optimiser's two moments, the best epoch,
/// the one for comparison, a snapshot of most of these.
const COPIES: usize = 16;
/// Copies of the sums of a closed form: the parent's, and those that ridges are tried on.
const COPIES_OF_SUMS: usize = 6;
/// Copies of the samples: as they came, and as they are replayed.
const COPIES_OF_SAMPLES: usize = 2;
/// What a sample takes beside its input, about: its label's own text, its hash and the like.
const BESIDE_INPUT_BYTES: usize = 128;

/// Checks that `lesson` can be learnt in the memory that it may take.
pub(super) fn check(lesson: &Lesson<'_>) -> Result<(), LearningError> {
    let needed = bytes(lesson);
    match needed <= lesson.most_bytes {
        true => Ok(()),
        false => Err(LearningError::TooLarge { needed, most: lesson.most_bytes }),
    }
}

fn bytes(lesson: &Lesson<'_>) -> u64 {
    let (settings, schema) = (lesson.settings, &lesson.settings.input);
    let known = lesson.parent.map_or(&[][..], LearnerState::labels).iter();
    let sets = [&lesson.experience, &lesson.history, &lesson.recent];
    let labels: BTreeSet<&Label> = known.chain(&lesson.experience.labels).collect();
    let dictionaries = lesson.parent.map_or(&[][..], |parent| &parent.dictionaries);
    let width = schema.n_categories() + features::width(schema, dictionaries);
    let begun = || Shape::of(&settings.network, schema);
    let shape = lesson.parent.map_or_else(begun, |parent| parent.shape.clone());
    let layers = shape.body(width).into_iter().chain([(shape.n_hidden(), labels.len())]);
    let weights: usize = layers.map(|(n_in, n_out)| (n_in + 1) * n_out).sum();
    let keeps_sums = Recipe::of(settings, false).keeps_sums
        || lesson.parent.is_some_and(LearnerState::keeps_sums);
    let sums = if keeps_sums {
        feature_map::width(settings.learning.strategy, schema, width).pow(2)
    } else {
        0
    };
    let sample_bytes =
        |samples: &Samples| samples.inputs.size_bytes() + samples.len() * BESIDE_INPUT_BYTES;
    let of_samples: usize = sets.into_iter().chain(&lesson.held_out).map(sample_bytes).sum();
    (COPIES * size_of::<f32>() * weights
        + COPIES_OF_SUMS * size_of::<f64>() * sums
        + COPIES_OF_SAMPLES * of_samples) as u64
}
