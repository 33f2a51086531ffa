//! Training: from the parent's weights, or random ones, towards the new samples and the replayed.
//!
//! A minibatch is 64 new samples and, where old ones are replayed, 64 of those (experience replay,
//! Chaudhry et al. 2019). Between minibatches the observer may stop it; between epochs it may take
//! a snapshot, from which another run goes on.

use std::cell::OnceCell;

use crate::domain::settings::Strategy;
use crate::domain::update::{EpochReport, TrainingReport};

use super::consolidate::Anchor;
use super::held_out::HeldOut;
use super::loss::loss;
use super::minibatch::{Minibatches, places};
use super::network::{Dense, Network, numbers};
use super::optimizer::Adam;
use super::recipe::Recipe;
use super::schedule::{Reads, Schedule, Task};
use super::snapshot::{self, Snapshot};
use super::state::LearnerState;
use super::stopping::{Best, Judge};
use super::subset::Subset;
use super::{Event, LearningError, Lesson, Watch};

/// Keeps the logarithm of the prior finite for labels that nothing is trained on.
const LEAST_PRIOR: f32 = 1e-6;
/// Training begins and ends at these shares of the whole update.
const PROGRESS: (f32, f32) = (0.15, 0.9);

/// What is trained on, and how.
pub(super) struct Material<'a> {
    /// The selected samples.
    pub(super) new: &'a Subset<'a>,
    /// Old samples to replay.
    pub(super) replay: &'a Subset<'a>,
    /// The network before the update, whose answers are to be kept.
    pub(super) teacher: Option<&'a LearnerState>,
    /// λ: what agreement with it counts.
    pub(super) distillation: f32,
    /// Weights to hold on to.
    anchor: Option<Anchor>,
    /// What the new samples count where old ones are replayed.
    new_share: f32,
    /// How many of the first layers stay as they are.
    n_frozen: usize,
    recipe: &'a Recipe,
    schedule: Schedule,
}

impl<'a> Material<'a> {
    /// What `recipe` makes of the selected samples and those to replay, for `state`, which has grown
    /// a head for them; `teacher` is what it was before, if its network was ever trained.
    pub(super) fn new(
        lesson: &Lesson<'_>,
        recipe: &'a Recipe,
        state: &LearnerState,
        (new, replay): (&'a Subset<'a>, &'a Subset<'a>),
        teacher: Option<&'a LearnerState>,
    ) -> Self {
        let settings = &lesson.settings.learning;
        let n_known = teacher.map_or(0, |teacher| teacher.labels.len());
        let new_labels = state.labels.len() > n_known;
        let task = Task {
            n_new: new.len(),
            n_replayed: replay.len(),
            exemplars: settings.memory.is_some() && !replay.is_empty(),
            new_labels,
            first: lesson.parent.is_none(),
            n_learnt: teacher.map(LearnerState::n_learnt),
            reads: Reads::of(&lesson.settings.input, &state.shape),
            moves: recipe.moves(),
            mixture: state.shape.experts.is_some(),
        };
        let schedule = Schedule::of(settings, task);
        let trust = task.trust() as f32;
        let distillation = teacher.map_or(0.0, |_| recipe.distillation(&schedule, trust));
        let new_share = recipe.new_share.unwrap_or_else(|| task.new_share());
        let anchor = match (&state.importance, recipe.strategy) {
            (Some(importance), Strategy::Ewc) => Some(Anchor::new(&state.layers, importance)),
            _ => None,
        };
        // What the first version has learnt stays; that learns all of it, but what it began with.
        let n_frozen = teacher.or(lesson.body).map_or(0, |_| n_frozen(lesson, state));
        Self { new, replay, teacher, distillation, anchor, new_share, n_frozen, recipe, schedule }
    }

    /// Only samples to be trained on, by a schedule that is given; so many of the first layers stay.
    pub(super) fn plain(
        (new, replay): (&'a Subset<'a>, &'a Subset<'a>),
        recipe: &'a Recipe,
        schedule: Schedule,
        n_frozen: usize,
    ) -> Self {
        let (teacher, distillation, anchor, new_share) = (None, 0.0, None, 1.0);
        Self { new, replay, teacher, distillation, anchor, new_share, n_frozen, recipe, schedule }
    }

    /// How long to train and how fast, at the first attempt or the second.
    fn schedule(&self, slower: bool) -> Schedule {
        if slower { self.schedule.slower() } else { self.schedule.clone() }
    }

    /// Steps that are planned.
    pub(super) fn n_steps(&self) -> usize {
        self.schedule.steps()
    }

    /// What the new samples count.
    pub(super) fn new_share(&self) -> f32 {
        if self.replay.is_empty() { 1.0 } else { self.new_share }
    }
}

/// How training went.
pub(super) struct Training {
    /// For the report.
    pub(super) report: TrainingReport,
    /// A report a pass.
    pub(super) epochs: Vec<EpochReport>,
    /// Places of the samples in `replay` that were trained on, ascending.
    pub(super) replayed: Vec<usize>,
}

/// One attempt at training, as it is between two epochs.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Course {
    /// Whether it goes at a tenth of the rate, since the first attempt diverged.
    pub(super) slower: bool,
    pub(super) layers: Vec<Dense>,
    pub(super) adam: Adam,
    /// A report for each epoch that is done.
    pub(super) epochs: Vec<EpochReport>,
    /// The best epoch so far, where epochs are judged.
    pub(super) best: Option<Best>,
}

impl Course {
    /// From `layers` on.
    fn begin(layers: &[Dense], slower: bool) -> Self {
        let adam = Adam::new(layers);
        Self { slower, layers: layers.to_vec(), adam, epochs: Vec::new(), best: None }
    }

    /// The epoch that is kept, from 1, and its weights.
    fn kept(self) -> (usize, Vec<Dense>) {
        match self.best.filter(|best| best.is_missed) {
            Some(best) => (best.epoch, best.layers),
            None => (self.epochs.len(), self.layers),
        }
    }
}

/// Trains `state`, of whose epochs those held out are judges; when the loss diverges once more at a tenth of
/// the rate.
pub(super) fn train(
    lesson: &Lesson<'_>,
    state: &mut LearnerState,
    (material, held_out): (&Material<'_>, &HeldOut<'_>),
    watch: &mut Watch<'_>,
) -> Result<Training, LearningError> {
    let mut report = TrainingReport {
        strategy: material.recipe.strategy,
        reason: material.recipe.reason.to_owned(),
        steps: 0,
        epochs_planned: 0,
        stopped_early: false,
        kept_epoch: 0,
        resumed_from_epoch: None,
        learning_rate: material.schedule.rate,
        seed: lesson.seed,
    };
    if material.recipe.strategy == Strategy::Analytic {
        return Ok(Training { report, epochs: Vec::new(), replayed: Vec::new() });
    }
    let judge = Judge::new((lesson, held_out), state, material.recipe, &material.schedule);
    let trainer = Trainer::new(lesson, state, material, judge);
    let resumed = snapshot::resumed(lesson, &trainer.digest, &state.layers);
    if let Some(course) = &resumed {
        report.resumed_from_epoch = Some(course.epochs.len());
        watch.tell(Event::Resumed(&course.epochs))?;
    }
    let course = resumed.unwrap_or_else(|| Course::begin(&state.layers, false));
    let is_last = course.slower;
    let (course, replayed) = match trainer.run(course, watch) {
        Err(LearningError::Diverged { .. }) if !is_last => {
            trainer.run(Course::begin(&state.layers, true), watch)
        }
        outcome => outcome,
    }?;
    let (schedule, epochs) = (material.schedule(course.slower), course.epochs.clone());
    report.steps = epochs.len() * schedule.steps_per_epoch;
    report.epochs_planned = schedule.epochs;
    report.stopped_early = epochs.len() < schedule.epochs;
    report.learning_rate = schedule.rate;
    state.lineage.steps += report.steps as u64;
    (report.kept_epoch, state.layers) = course.kept();
    Ok(Training { report, epochs, replayed })
}

/// Trains `state` to the end of the schedule, at one attempt.
pub(super) fn fine_tune(
    lesson: &Lesson<'_>,
    state: &mut LearnerState,
    material: &Material<'_>,
    watch: &mut Watch<'_>,
) -> Result<(), LearningError> {
    let trainer = Trainer::new(lesson, state, material, None);
    let (course, _) = trainer.run(Course::begin(&state.layers, false), watch)?;
    state.layers = course.layers;
    Ok(())
}

/// What stays the same through all attempts.
struct Trainer<'a> {
    lesson: &'a Lesson<'a>,
    state: &'a LearnerState,
    material: &'a Material<'a>,
    log_prior: Vec<f32>,
    judge: Option<Judge>,
    /// The lesson's digest, once a snapshot has asked for it.
    digest: OnceCell<String>,
}

impl<'a> Trainer<'a> {
    fn new(
        lesson: &'a Lesson<'a>,
        state: &'a LearnerState,
        material: &'a Material<'a>,
        judge: Option<Judge>,
    ) -> Self {
        let log_prior = log_prior(state, material);
        Self { lesson, state, material, log_prior, judge, digest: OnceCell::new() }
    }

    /// Takes `course` to its end; answers the places of the replayed samples, too.
    fn run(
        &self,
        mut course: Course,
        watch: &mut Watch<'_>,
    ) -> Result<(Course, Vec<usize>), LearningError> {
        let schedule = self.material.schedule(course.slower);
        let mut minibatches = Minibatches::new(self.lesson, self.state, self.material);
        minibatches.skip(course.epochs.len(), schedule.steps_per_epoch);
        while !self.has_ended(&course, &schedule) {
            let mut report = self.pass(&mut course, &schedule, &mut minibatches, watch)?;
            if let Some(judge) = &self.judge {
                report.held_out_loss = judge.look(report.epoch, &course.layers, &mut course.best);
            }
            course.epochs.push(report.clone());
            let (lesson, digest, course) = (self.lesson, &self.digest, &course);
            watch.tell(Event::Epoch(&report, &Snapshot { lesson, digest, course }))?;
        }
        Ok((course, minibatches.replayed()))
    }

    fn has_ended(&self, course: &Course, schedule: &Schedule) -> bool {
        let n_done = course.epochs.len();
        let gives_up = match (&self.judge, &course.best) {
            (Some(judge), Some(best)) => judge.gives_up(n_done, best),
            _ => false,
        };
        gives_up || n_done == schedule.epochs
    }

    /// One pass over the new samples.
    fn pass(
        &self,
        course: &mut Course,
        schedule: &Schedule,
        minibatches: &mut Minibatches<'_>,
        watch: &mut Watch<'_>,
    ) -> Result<EpochReport, LearningError> {
        let (shape, n_frozen) = (&self.state.shape, self.material.n_frozen);
        minibatches.shuffle();
        let epoch = course.epochs.len();
        let (mut sum, mut n_right, mut n_rows) = (0.0, 0, 0);
        for index in 0..schedule.steps_per_epoch {
            let step = epoch * schedule.steps_per_epoch + index;
            let (rows, targets) = minibatches.get(index, schedule.steps_per_epoch);
            let network = Network::tracked(shape, &course.layers, n_frozen, self.lesson.device);
            let outputs = network.forward(rows);
            let loss = loss(&numbers(outputs.logits.clone()), &self.log_prior, &targets);
            let mut gradients = network.gradients(outputs, loss.slope);
            if let Some(anchor) = &self.material.anchor {
                anchor.pull(&course.layers, &mut gradients);
            }
            let rate = schedule.rate_at(step);
            if !loss.value.is_finite() || !course.adam.step(&mut course.layers, &gradients, rate) {
                return Err(LearningError::Diverged { step, rate: schedule.rate });
            }
            (sum, n_right) = (sum + loss.value, n_right + loss.n_right);
            n_rows += targets.labels.len();
            let (begin, end) = PROGRESS;
            watch.progress(begin + (end - begin) * (step + 1) as f32 / schedule.steps() as f32)?;
        }
        Ok(EpochReport {
            epoch: epoch + 1,
            loss: sum / schedule.steps_per_epoch as f64,
            accuracy: n_right as f64 / n_rows as f64,
            held_out_loss: None,
        })
    }
}

/// How many of the first layers of `state` are not to move once they have learnt.
pub(super) fn n_frozen(lesson: &Lesson<'_>, state: &LearnerState) -> usize {
    state.shape.n_layers_of(lesson.settings.learning.frozen_layers as usize)
}

/// How often each label is trained on, as a logarithm, `[n_labels]`; zeros where the recipe makes
/// nothing up for it.
fn log_prior(state: &LearnerState, material: &Material<'_>) -> Vec<f32> {
    let mut prior = vec![0.0; state.labels.len()];
    if !material.recipe.levels() {
        return prior;
    }
    let places = places(state);
    let new_share = material.new_share();
    for (subset, share) in [(material.new, new_share), (material.replay, 1.0 - new_share)] {
        let total: f32 = subset.weights().sum();
        for (label, weight) in subset.labels().zip(subset.weights()) {
            prior[places[label]] += share * weight / total;
        }
    }
    prior.iter().map(|share| (share + LEAST_PRIOR).ln()).collect()
}

#[cfg(test)]
mod tests {
    use std::ops::ControlFlow::Continue;

    use super::*;
    use crate::domain::input::{InputSchema, Inputs, TabularSchema};
    use crate::domain::label::Label;
    use crate::domain::sample::{ContentHash, Samples};
    use crate::domain::settings::{MlpSettings, ModelSettings, NetworkSettings};
    use crate::domain::update::Phase;
    use crate::learning::update;

    #[test]
    fn weights_beyond_the_finite_numbers_fail_after_a_second_attempt() {
        let input = InputSchema::Tabular(TabularSchema { dim: Some(2), features: None });
        let network = NetworkSettings::Mlp(MlpSettings { hidden: vec![4] });
        let settings = ModelSettings { network, ..ModelSettings::new(input) };
        let mut experience = Samples { inputs: Inputs::new(&settings.input), ..Samples::default() };
        for (number, label) in [(1.0, "a"), (2.0, "b")] {
            experience.inputs.push(&[number, -number], &[]);
            experience.labels.push(Label::parse(label).unwrap());
            experience.weights.push(1.0);
            experience.hashes.push(ContentHash::of_input(&[number], &[]));
            experience.arrived.push(0);
        }
        let mut lesson = Lesson::first(&settings, experience, 1);
        let learnt = update(&lesson, &mut |_| Continue(())).unwrap();
        let parent_rate = learnt.report.training.unwrap().learning_rate;
        let mut parent = learnt.state.unwrap();
        parent.layers[0].row_mut(0).fill(1e38);
        parent.layers[0].row_mut(1).fill(-1e38);
        parent.layers[1].weight.fill(-1e38);
        lesson.parent = Some(&parent);
        let mut n_begun = 0;
        let failed = update(&lesson, &mut |event| {
            n_begun += usize::from(matches!(event, Event::Phase(Phase::Train)));
            Continue(())
        });
        assert_eq!(n_begun, 1);
        let rate = parent_rate / 10.0;
        assert!(matches!(failed, Err(LearningError::Diverged { step: 0, rate: at }) if at == rate));
    }
}
