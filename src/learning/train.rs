//! Training: from the parent's weights, or random ones, towards the new samples and the replayed.
//!
//! A minibatch is 64 new samples and, where old ones are replayed, 64 of those (experience replay,
//! Chaudhry et al. 2019). How long to train is counted in steps, not epochs: a small update takes
//! as many steps as a large one. Between minibatches the observer may stop it.

use std::f32::consts::PI;

use crate::domain::settings::{LearningSettings, Strategy};
use crate::domain::update::{EpochReport, TrainingReport};

use super::loss::loss;
use super::minibatch::{HALF, Minibatches, new_share, places};
use super::network::{Network, numbers};
use super::optimizer::Adam;
use super::state::LearnerState;
use super::subset::Subset;
use super::{Event, LearningError, Lesson, Watch};

/// Steps to aim at while one pass over the new samples takes fewer.
const STEPS: usize = 300;
/// From this many new samples on, one pass is enough.
const ONE_PASS: usize = 10_000;
/// Peak learning rate where the settings give none.
const RATE: f32 = 1e-3;
/// The share of the peak rate that the cosine ends at.
const FINAL_RATE: f32 = 0.02;
/// Keeps the logarithm of the prior finite for labels that nothing is trained on.
const LEAST_PRIOR: f32 = 1e-6;
/// Training begins and ends at these shares of the whole update.
const PROGRESS: (f32, f32) = (0.15, 0.9);

/// What is trained on.
pub(super) struct Material<'a> {
    /// The selected samples.
    pub(super) new: &'a Subset<'a>,
    /// Old samples to replay.
    pub(super) replay: &'a Subset<'a>,
    /// The network before the update, whose answers on replayed samples are to be kept.
    pub(super) teacher: Option<&'a LearnerState>,
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

/// Trains `state`; when the loss diverges once more at a tenth of the rate.
pub(super) fn train(
    lesson: &Lesson<'_>,
    state: &mut LearnerState,
    material: &Material<'_>,
    watch: &mut Watch<'_>,
) -> Result<Training, LearningError> {
    let schedule = Schedule::of(&lesson.settings.learning, material.new.len());
    let before = state.layers.clone();
    let trained = match run(lesson, state, material, &schedule, watch) {
        Err(LearningError::Diverged { .. }) => {
            state.layers = before;
            let slower = Schedule { rate: schedule.rate / 10.0, ..schedule };
            run(lesson, state, material, &slower, watch)
        }
        outcome => outcome,
    }?;
    state.lineage.steps += trained.report.steps as u64;
    Ok(trained)
}

fn run(
    lesson: &Lesson<'_>,
    state: &mut LearnerState,
    material: &Material<'_>,
    schedule: &Schedule,
    watch: &mut Watch<'_>,
) -> Result<Training, LearningError> {
    let log_prior = log_prior(lesson.settings.learning.strategy, state, material);
    let mut minibatches = Minibatches::new(lesson, state, material);
    let mut layers = std::mem::take(&mut state.layers);
    let mut adam = Adam::new(&layers);
    let mut epochs = Vec::with_capacity(schedule.epochs);
    for epoch in 0..schedule.epochs {
        minibatches.shuffle();
        let (mut sum, mut n_right, mut n_rows) = (0.0, 0, 0);
        for index in 0..schedule.steps_per_epoch {
            let step = epoch * schedule.steps_per_epoch + index;
            let (rows, targets) = minibatches.get(index, schedule.steps_per_epoch);
            let network = Network::tracked(&layers, lesson.device);
            let logits = network.forward(rows).logits;
            let loss = loss(&numbers(logits.clone()), &log_prior, &targets);
            let gradients = network.gradients(logits, loss.slope);
            let rate = schedule.rate_at(step);
            if !loss.value.is_finite() || !adam.step(&mut layers, &gradients, rate) {
                return Err(LearningError::Diverged { step, rate: schedule.rate });
            }
            (sum, n_right) = (sum + loss.value, n_right + loss.n_right);
            n_rows += targets.labels.len();
            let (begin, end) = PROGRESS;
            watch.progress(begin + (end - begin) * (step + 1) as f32 / schedule.steps() as f32)?;
        }
        let report = EpochReport {
            epoch: epoch + 1,
            loss: sum / schedule.steps_per_epoch as f64,
            accuracy: n_right as f64 / n_rows as f64,
        };
        watch.tell(Event::Epoch(&report))?;
        epochs.push(report);
    }
    state.layers = layers;
    let replayed = minibatches.replayed();
    Ok(Training { report: schedule.report(lesson, !replayed.is_empty()), epochs, replayed })
}

/// How long to train and how fast.
#[derive(Debug, Clone, PartialEq)]
struct Schedule {
    epochs: usize,
    steps_per_epoch: usize,
    /// Peak rate.
    rate: f32,
}

impl Schedule {
    fn of(settings: &LearningSettings, n_new: usize) -> Self {
        let steps_per_epoch = n_new.div_ceil(HALF);
        let fitting = match n_new {
            ONE_PASS.. => 1,
            _ => (STEPS as f64 / steps_per_epoch as f64).round() as usize,
        };
        Self {
            epochs: settings.epochs.map_or(fitting, |epochs| epochs as usize),
            steps_per_epoch,
            rate: settings.learning_rate.unwrap_or(RATE),
        }
    }

    fn steps(&self) -> usize {
        self.epochs * self.steps_per_epoch
    }

    /// Half a cosine from the peak rate down to 2 % of it (Loshchilov & Hutter 2017).
    fn rate_at(&self, step: usize) -> f32 {
        let done = step as f32 / self.steps() as f32;
        self.rate * (FINAL_RATE + (1.0 - FINAL_RATE) * 0.5 * (1.0 + (PI * done).cos()))
    }

    fn report(&self, lesson: &Lesson<'_>, replays: bool) -> TrainingReport {
        let strategy = match lesson.settings.learning.strategy {
            Strategy::Auto if replays || lesson.parent.is_none() => Strategy::Replay,
            // Auto with nothing stored to replay is plain fine-tuning: say so.
            Strategy::Auto => Strategy::Naive,
            named => named,
        };
        let (steps, learning_rate) = (self.steps(), self.rate);
        TrainingReport { strategy, steps, learning_rate, seed: lesson.seed }
    }
}

/// How often each label is trained on, as a logarithm, `[n_labels]`; zeros for plain fine-tuning.
fn log_prior(strategy: Strategy, state: &LearnerState, material: &Material<'_>) -> Vec<f32> {
    let mut prior = vec![0.0; state.labels.len()];
    if strategy == Strategy::Naive {
        return prior;
    }
    let places = places(state);
    let new_share = new_share(material.replay);
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
    use crate::domain::settings::{
        GateSettings, MlpSettings, ModelSettings, NetworkSettings, RetentionSettings,
        ScheduleSettings, SelectionSettings,
    };
    use crate::domain::update::Phase;
    use crate::learning::{Device, update};

    #[test]
    fn small_updates_take_as_many_steps_as_larger_ones() {
        for (n_new, steps) in [(1, 300), (64, 300), (1_000, 304), (6_000, 282), (9_999, 314)] {
            assert_eq!(Schedule::of(&LearningSettings::default(), n_new).steps(), steps, "{n_new}");
        }
        assert_eq!(Schedule::of(&LearningSettings::default(), 20_000).epochs, 1);
        let settings = LearningSettings { epochs: Some(3), ..LearningSettings::default() };
        assert_eq!(Schedule::of(&settings, 640).steps(), 30);
    }

    #[test]
    fn weights_beyond_the_finite_numbers_fail_after_a_second_attempt() {
        let input = InputSchema::Tabular(TabularSchema { dim: Some(2), features: None });
        let network = NetworkSettings::Mlp(MlpSettings { hidden: vec![4] });
        let settings = ModelSettings {
            input,
            network,
            learning: LearningSettings::default(),
            selection: SelectionSettings::default(),
            schedule: ScheduleSettings::default(),
            gate: GateSettings::default(),
            retention: RetentionSettings::default(),
        };
        let mut experience = Samples { inputs: Inputs::new(&settings.input), ..Samples::default() };
        for (number, label) in [(1.0, "a"), (2.0, "b")] {
            experience.inputs.push(&[number, -number], &[]);
            experience.labels.push(Label::parse(label).unwrap());
            experience.weights.push(1.0);
            experience.hashes.push(ContentHash::of_input(&[number], &[]));
            experience.arrived.push(0);
        }
        let mut lesson = Lesson {
            settings: &settings,
            device: Device::Flex,
            parent: None,
            parent_digest: None,
            parent_matrix: &vec![],
            replay: experience.empty_like(),
            experience,
            held_out: vec![],
            seed: 1,
        };
        let mut parent = update(&lesson, &mut |_| Continue(())).unwrap().state.unwrap();
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
        assert!(
            matches!(failed, Err(LearningError::Diverged { step: 0, rate }) if rate == RATE / 10.0)
        );
    }

    #[test]
    fn the_rate_falls_from_the_peak_to_a_fiftieth() {
        let schedule = Schedule { epochs: 10, steps_per_epoch: 100, rate: 0.5 };
        assert_eq!(schedule.rate_at(0), 0.5);
        assert!((schedule.rate_at(1_000) - 0.01).abs() < 1e-6);
    }
}
