//! Which held-out samples are asked, and what each network answers to them.
//!
//! Of each label the samples with the lowest content hashes are asked: a random draw that is the
//! same in any order of arrival, and that at the next update differs only by what came in between.
//! There are about [`MOST_HELD_OUT`] in all, whatever the number of updates and of labels.

use std::collections::{BTreeMap, BTreeSet};

use crate::domain::input::Inputs;
use crate::domain::label::Label;
use crate::domain::sample::{ContentHash, Samples};

use super::super::counterfactual::Naive;
use super::super::held_out::HeldOut;
use super::super::predict::{CHUNK, Predictor, largest};
use super::super::subset::Subset;
use super::super::{LearnerState, LearningError, Lesson, Watch};
use super::calibrate::Scores;

/// The most held-out samples that an update is evaluated on: enough to know a share to a point and
/// a half, 19 times in 20.
pub const MOST_HELD_OUT: usize = 5_000;
/// The most logits that are kept for calibration.
const MOST_LOGITS: usize = 1 << 20;
/// Evaluation begins and ends at these shares of the whole update.
const PROGRESS: (f32, f32) = (0.9, 1.0);

/// How many held-out samples of each label are evaluated on when there are `n_labels`; at least 1.
pub fn held_out_per_label(n_labels: usize) -> usize {
    (MOST_HELD_OUT / n_labels.max(1)).max(1)
}

/// What each network answered to the held-out samples, in the order of their content hashes.
#[derive(Debug, Default)]
pub(in crate::learning) struct Answers<'a> {
    /// An answer a sample.
    pub(in crate::learning) answers: Vec<Answer<'a>>,
    /// How sure the new network was.
    pub(super) scores: Scores,
}

/// What each network answered to one held-out sample.
#[derive(Debug, Clone, Copy)]
pub(in crate::learning) struct Answer<'a> {
    /// What it is.
    pub(in crate::learning) label: &'a Label,
    /// What the new network says.
    pub(in crate::learning) given: &'a Label,
    /// What the parent says, if there is one.
    pub(in crate::learning) parent: Option<&'a Label>,
    /// What the parent says after plain fine-tuning, if that was tried.
    pub(in crate::learning) naive: Option<&'a Label>,
    /// Which experience it came with.
    pub(in crate::learning) experience: usize,
    /// Whether it came before the experience that is being learnt.
    pub(in crate::learning) is_earlier: bool,
}

impl Answer<'_> {
    /// Whether the new network is right.
    pub(in crate::learning) fn is_right(&self) -> bool {
        self.given == self.label
    }

    /// Whether the parent is; none without a parent.
    pub(in crate::learning) fn parent_is_right(&self) -> Option<bool> {
        self.parent.map(|given| given == self.label)
    }

    /// Whether that is after plain fine-tuning; none where that was not tried.
    pub(super) fn naive_is_right(&self) -> Option<bool> {
        self.naive.map(|given| given == self.label)
    }
}

/// Lets `state`, the lesson's parent and the `naive` one answer those of the lesson's samples that are held
/// out.
pub(in crate::learning) fn compare<'a>(
    lesson: &'a Lesson<'_>,
    held_out: &HeldOut<'_>,
    (state, naive): (&'a LearnerState, Option<&'a Naive>),
    watch: &mut Watch<'_>,
) -> Result<Answers<'a>, LearningError> {
    let places = choose(&held_out.experiences, MOST_HELD_OUT, |_, _| true);
    let own = Predictor::new(state, lesson.device);
    let others = [lesson.parent, naive.map(|naive| &naive.state)]
        .map(|other| other.map(|other| (Predictor::new(other, lesson.device), other)));
    let mut answers = Answers::default();
    let mut n_scored = MOST_LOGITS / state.labels.len();
    for (index, chunk) in places.chunks(CHUNK).enumerate() {
        let inputs = inputs(lesson, chunk);
        let logits = own.logits_of_checked(&inputs);
        let given = best(&logits, state);
        let [before, naive] = others.each_ref().map(|other| {
            other.as_ref().map(|(asked, state)| best(&asked.logits_of_checked(&inputs), state))
        });
        let rows = logits.chunks_exact(state.labels.len());
        for ((nth, place), row) in chunk.iter().enumerate().zip(rows) {
            let label = &lesson.held_out[place.experience].labels[place.index];
            answers.answers.push(Answer {
                label,
                given: given[nth],
                parent: before.as_ref().map(|before| before[nth]),
                naive: naive.as_ref().map(|naive| naive[nth]),
                experience: place.experience,
                is_earlier: place.experience + 1 < lesson.held_out.len(),
            });
            if n_scored > 0 {
                n_scored -= 1;
                answers.scores.add(place.hash, row, state.labels.iter().position(|l| l == label));
            }
        }
        let done = (index + 1) * CHUNK;
        let (begin, end) = PROGRESS;
        watch.progress(
            begin + (end - begin) * done.min(places.len()) as f32 / places.len() as f32,
        )?;
    }
    Ok(answers)
}

/// Where a held-out sample lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    hash: ContentHash,
    experience: usize,
    index: usize,
}

/// Of each label of `held_out` the samples with the lowest content hashes among those that
/// `is_asked` lets through: `most` in all, in the order of their hashes.
pub(in crate::learning) fn lowest(
    lesson: &Lesson<'_>,
    held_out: &[Subset<'_>],
    most: usize,
    is_asked: impl Fn(&Label, ContentHash) -> bool,
) -> Samples {
    let mut lowest = Samples::empty(&lesson.settings.input);
    for place in choose(held_out, most, is_asked).iter().take(most) {
        lowest.push_from(held_out[place.experience].samples, place.index);
    }
    lowest
}

/// Where they lie, with at least one of each label.
fn choose(
    held_out: &[Subset<'_>],
    most: usize,
    is_asked: impl Fn(&Label, ContentHash) -> bool,
) -> Vec<Place> {
    let mut of_label = BTreeMap::<&Label, BTreeSet<Place>>::new();
    for (experience, subset) in held_out.iter().enumerate() {
        for &index in &subset.indices {
            let (label, hash) = (&subset.samples.labels[index], subset.samples.hashes[index]);
            if is_asked(label, hash) {
                of_label.entry(label).or_default().insert(Place { hash, experience, index });
            }
        }
    }
    let per_label = (most / of_label.len().max(1)).max(1);
    let mut places: Vec<Place> =
        of_label.into_values().flat_map(|places| places.into_iter().take(per_label)).collect();
    places.sort_unstable();
    places
}

fn inputs(lesson: &Lesson<'_>, places: &[Place]) -> Inputs {
    let mut inputs = Inputs::new(&lesson.settings.input);
    for place in places {
        inputs.push_from(&lesson.held_out[place.experience].inputs, place.index);
    }
    inputs
}

/// The likeliest label of each row.
fn best<'a>(logits: &[f32], state: &'a LearnerState) -> Vec<&'a Label> {
    logits.chunks_exact(state.labels.len()).map(|row| &state.labels[largest(row)]).collect()
}
