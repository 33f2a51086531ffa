//! The counterfactual: what plain fine-tuning would have come to, had the update been that.
//!
//! It takes the same new samples, or as many as it has time for, and nothing else: no replay, no
//! agreement with the parent. It takes a share of the update's steps: enough to show how forgetting
//! sets in, though not where it ends.

use crate::domain::label::Label;
use crate::domain::settings::{LearningSettings, ModelSettings, Strategy};
use crate::domain::update::TrainingReport;

use super::given::Given;
use super::minibatch::HALF;
use super::recipe::Recipe;
use super::schedule::{Reads, Schedule};
use super::state::LearnerState;
use super::subset::Subset;
use super::train::{self, Material};
use super::{Event, LearningError, Lesson, Watch, begin};

/// One of its steps for so many of the update's, which are of twice as many samples: about a twelfth
/// of the update's time;
const SHARE: usize = 6;
/// but as many as this: what is forgotten is forgotten step by step;
const FEWEST_STEPS: usize = 70;
/// and one for so many at most.
const LEAST_SHARE: usize = 4;
/// How much of the update is done meanwhile.
const PROGRESS: f32 = 0.9;

/// The parent after plain fine-tuning.
pub(super) struct Naive {
    pub(super) state: LearnerState,
    /// Steps that it was trained.
    pub(super) steps: usize,
}

/// Fine-tunes the lesson's parent on `chosen`, which bring `new_labels`; `training` is what the update
/// did. None where there is nothing to compare, it is not asked for, or it diverges.
pub(super) fn fine_tune(
    lesson: &Lesson<'_>,
    given: &Given<'_>,
    (chosen, new_labels): (&Subset<'_>, &[Label]),
    training: &TrainingReport,
    watch: &mut Watch<'_>,
) -> Result<Option<Naive>, LearningError> {
    let settings = &lesson.settings.learning;
    let n_steps = (training.steps / SHARE).max(FEWEST_STEPS.min(training.steps / LEAST_SHARE));
    let is_wanted = settings.counterfactual && training.strategy != Strategy::Naive && n_steps > 0;
    if !is_wanted || !lesson.parent.is_some_and(LearnerState::has_trained) {
        return Ok(None);
    }
    let learning = LearningSettings { strategy: Strategy::Naive, ..settings.clone() };
    let plain = ModelSettings { learning, ..lesson.settings.clone() };
    let recipe = Recipe::of(&plain, false);
    let mut state = begin::begin(lesson, given, &recipe);
    state.grow_head(new_labels, lesson.seed);
    state.count(given, &recipe);
    let (new, nothing) = (chosen.up_to(n_steps * HALF), Subset::none(chosen.samples));
    let reads = Reads::of(&lesson.settings.input, &state.shape);
    let schedule = Schedule::within(settings, new.len(), n_steps, reads);
    let steps = schedule.steps();
    let material =
        Material::plain((&new, &nothing), &recipe, schedule, train::n_frozen(lesson, &state));
    let observe = &mut |_: Event<'_>| (watch.observe)(Event::Progress(PROGRESS));
    match train::fine_tune(lesson, &mut state, &material, &mut Watch { observe }) {
        Ok(()) => Ok(Some(Naive { state: state.answered_by_network(), steps })),
        Err(LearningError::Diverged { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}
