//! What an update takes of memory, reckoned before anything is made: one that does not fit is refused
//! in words, where the system would end the whole process.

use std::collections::BTreeSet;

use crate::domain::label::Label;
use crate::domain::sample::Samples;

use super::feature_map;
use super::features;
use super::minibatch::HALF;
use super::predict::CHUNK;
use super::recipe::Recipe;
use super::shape::Shape;
use super::stages::Stages;
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
    // Rows that are looked at together, but of texts, whose rows are sparse; and a minibatch on its way back.
    let rows = if shape.sparse { 0 } else { CHUNK * size_of::<f32>() * width };
    let left_behind = 2 * HALF * shape.stages.as_ref().map_or(0, Stages::kept_bytes);
    let sample_bytes =
        |samples: &Samples| samples.inputs.size_bytes() + samples.len() * BESIDE_INPUT_BYTES;
    let of_samples: usize = sets.into_iter().chain(&lesson.held_out).map(sample_bytes).sum();
    (COPIES * size_of::<f32>() * weights
        + COPIES_OF_SUMS * size_of::<f64>() * sums
        + rows
        + left_behind
        + COPIES_OF_SAMPLES * of_samples) as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::input::{ImageSchema, InputSchema, Resize};
    use crate::domain::settings::{CnnSettings, ModelSettings, NetworkSettings};

    #[test]
    fn what_images_leave_behind_counts_and_the_largest_are_learnt_in_the_default_memory() {
        let image = ImageSchema { width: 256, height: 256, channels: 3, resize: Resize::Stretch };
        let by_default = ModelSettings::new(InputSchema::Image(image));
        let needed = |settings: &ModelSettings| {
            bytes(&Lesson::first(settings, Samples::empty(&settings.input), 1))
        };
        assert!((1 << 30..4 << 30).contains(&needed(&by_default)), "{}", needed(&by_default));
        // 128 images of 65,536 pixels, of 256 channels each: 8 GiB of numbers.
        let network = NetworkSettings::Cnn(CnnSettings { channels: vec![256], hidden: vec![1] });
        assert!(needed(&ModelSettings { network, ..by_default }) > 8 << 30);
    }
}
