//! Learning, pure and seeded: samples and a parent in, a new learner state and a report out.
//!
//! Nothing here does input or output, reads a clock or draws unseeded randomness. The same samples
//! in any order, the same parent, settings and seed give the same checkpoint, byte for byte, on
//! any number of threads. [`update`] is the whole of it, a line a stage; [`Predictor`] answers.

mod analytic;
mod answerer;
mod answering;
mod augment;
mod begin;
mod categories;
mod choose;
mod clean;
mod cluster;
mod compensate;
mod consolidate;
mod counterfactual;
mod discriminant;
mod drift;
mod draw;
mod duplicate;
mod evaluate;
mod experts;
mod feature_map;
mod features;
mod footprint;
mod front;
mod gate;
mod given;
mod held_out;
mod import;
mod judges;
mod loss;
mod minibatch;
mod moments;
mod network;
pub mod noise;
mod normalize;
mod optimizer;
mod outlier;
mod patches;
mod predict;
mod product;
mod recipe;
mod report;
mod ridge;
mod rows;
mod schedule;
mod seed;
mod select;
mod shape;
mod snapshot;
mod space;
mod stages;
mod state;
mod stopping;
mod subset;
mod text;
mod train;
mod wanted;
pub mod checkpoint;

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use crate::domain::evaluation::AccuracyMatrix;
use crate::domain::label::{Label, MAX_LABELS};
use crate::domain::sample::{ContentHash, Samples};
use crate::domain::settings::{ModelSettings, Strategy};
use crate::domain::update::{Decision, EpochReport, Phase, Report};
use crate::domain::words;

use given::{Given, pooled};
use judges::Judges;
use recipe::Recipe;
use report::Chosen;
use subset::Subset;
use train::Material;

pub use cluster::{Member, cluster};
pub use drift::MAX_LOOKED_AT;
pub use evaluate::{CALIBRATION_BINS, MOST_HELD_OUT, calibration_error, held_out_per_label};
pub use import::import;
pub use predict::{PredictError, Predictor};
pub use snapshot::Snapshot;
pub use space::Points;
pub use state::LearnerState;
pub use text::TextReader;
pub use wanted::{MIN_REPLAY, Wanted};

words! {
    /// What computes: a setting of the process, not of a model. A checkpoint trained on one device
    /// answers the same on the other, to 1e-4.
    pub enum Device {
        /// burn's pure Rust backend; the default.
        Flex = "flex",
        /// The older one on ndarray, several times slower to train.
        NdArray = "ndarray",
    }
}

/// All that one update learns from.
#[derive(Debug, Clone)]
pub struct Lesson<'a> {
    /// The model's settings.
    pub settings: &'a ModelSettings,
    /// What computes.
    pub device: Device,
    /// The state to go on from; none before version 1.
    pub parent: Option<&'a LearnerState>,
    /// What an update without a parent begins with, but for head and labels: another model's state.
    pub body: Option<&'a LearnerState>,
    /// SHA-256 of the parent's checkpoint, hexadecimal: kept in the new state as its lineage.
    pub parent_digest: Option<&'a str>,
    /// The accuracy matrix of the parent's lineage so far, in spans that go with as many
    /// experiences as there are in `held_out` ([`matrix`](crate::domain::matrix)).
    pub parent_matrix: &'a AccuracyMatrix,
    /// The pending samples that are not held out, in any order.
    pub experience: Samples,
    /// Old samples, class-balanced, as [`Wanted`], in any order.
    pub history: Samples,
    /// The newest old samples, as [`Wanted`], in any order.
    pub recent: Samples,
    /// Whether the experience was learnt before: nothing of it is counted a second time.
    pub relearns: bool,
    /// The last arrival of those of the experience that came before the gate refused some to this parent, if any.
    pub refused_until: Option<u64>,
    /// Held-out samples, a set an experience in order, which may be empty; the last belongs to
    /// this experience. [`held_out_per_label`] of each label are evaluated on, those with the
    /// lowest content hashes.
    pub held_out: Vec<Samples>,
    /// Decides every random draw.
    pub seed: u64,
    /// The most bytes of memory that the update may take.
    pub most_bytes: u64,
    /// What a [`Snapshot`] of the same lesson encoded: training goes on from there, to the same
    /// state. One that does not fit or is damaged changes nothing.
    pub resume: Option<&'a [u8]>,
}

/// What a version without a parent has learnt before.
static NOTHING: AccuracyMatrix = Vec::new();

impl<'a> Lesson<'a> {
    /// The first of a model: nothing comes before it, nothing is held out, and memory is no matter.
    pub fn first(settings: &'a ModelSettings, experience: Samples, seed: u64) -> Self {
        Self {
            settings,
            device: Device::Flex,
            parent: None,
            body: None,
            parent_digest: None,
            parent_matrix: &NOTHING,
            history: experience.empty_like(),
            recent: experience.empty_like(),
            relearns: false,
            refused_until: None,
            experience,
            held_out: Vec::new(),
            seed,
            most_bytes: u64::MAX,
            resume: None,
        }
    }
}

/// What [`update`] tells while it works. The observer answers `Break` to stop it.
#[derive(Debug)]
pub enum Event<'a> {
    /// A phase begins.
    Phase(Phase),
    /// How much of the whole update is done, 0 to 1; at least once a minibatch.
    Progress(f32),
    /// Training goes on after these epochs.
    Resumed(&'a [EpochReport]),
    /// A pass over the new samples is done.
    Epoch(&'a EpochReport, &'a Snapshot<'a>),
}

/// What an update learnt.
#[derive(Debug)]
pub struct Learnt {
    /// The new state; none when there was nothing to learn.
    pub state: Option<LearnerState>,
    /// All but the seconds.
    pub report: Report,
    /// What became of each sample: of the experience, replayed beside it, or held out of it.
    pub decisions: Vec<SampleDecision>,
}

/// What a dry run would do.
#[derive(Debug)]
pub struct Plan {
    /// Counts, new labels and clusters.
    pub report: Report,
    /// As in [`Learnt`], without replayed samples: those are drawn in training.
    pub decisions: Vec<SampleDecision>,
}

/// What became of one sample.
#[derive(Debug, Clone, PartialEq)]
pub struct SampleDecision {
    /// Which sample.
    pub hash: ContentHash,
    /// What became of it.
    pub decision: Decision,
    /// The cluster it fell into, counted over all labels of this update.
    pub cluster: Option<u32>,
    /// Its distance to that cluster's centre.
    pub distance: Option<f32>,
    /// Whether it lies far from all others of its label.
    pub outlier: bool,
}

/// Why an update failed. None of these goes away by trying the same again.
#[derive(Debug, thiserror::Error)]
pub enum LearningError {
    /// The observer said to stop.
    #[error("cancelled")]
    Cancelled,
    /// The loss left the finite numbers, at the rate and at a tenth of it.
    #[error(
        "training diverged: the loss is not finite at step {step}, at a learning rate of {rate}"
    )]
    Diverged {
        /// The step of the second attempt, from 0.
        step: usize,
        /// Its peak rate.
        rate: f32,
    },
    /// The parent or the samples do not have the settings' shape.
    #[error("the {0} does not fit the model's settings")]
    Mismatch(&'static str),
    /// The network and the samples do not fit into the memory that is allowed.
    #[error(
        "the update would take about {} MiB of memory for this network and these samples, and may \
         take {} (update_bytes): allow more, or make a model with fewer units",
        needed >> 20, most >> 20
    )]
    TooLarge {
        /// Bytes that it takes.
        needed: u64,
        /// Bytes that are allowed.
        most: u64,
    },
    /// More labels than a model may have.
    #[error("{0} labels, a model has at most {MAX_LABELS}")]
    TooManyLabels(usize),
}

/// Learns one experience: the new without losing the old.
///
/// It computes on the calling thread and on the rayon pool that this thread belongs to. Give each
/// update a pool of its own (`pool.install(|| update(..))`), which bounds the cores it takes: in a
/// shared pool a thread that waits for a product may begin the whole of another update meanwhile.
///
/// # Errors
/// [`LearningError::Cancelled`] between minibatches once `observe` answers `Break`; the others as
/// they say.
pub fn update(
    lesson: &Lesson<'_>,
    observe: &mut dyn FnMut(Event<'_>) -> ControlFlow<()>,
) -> Result<Learnt, LearningError> {
    let mut watch = Watch { observe };
    check(lesson)?;
    watch.phase(Phase::Preprocess)?;
    let given = Given::of(lesson);
    if given.new.good.is_empty() {
        return Ok(report::nothing_to_learn(lesson, &given));
    }
    let recipe = Recipe::of(lesson.settings, given.drift.moves);
    let mut state = begin::begin(lesson, &given, &recipe);
    watch.progress(0.05)?;

    watch.phase(Phase::Select)?;
    let selection = select::select(lesson, &state, &given.new.good);
    let chosen = selection.chosen(&given.new.good);
    let replay = given.replay(&recipe);
    let replay = Subset::all(&replay);
    watch.progress(0.15)?;

    watch.phase(Phase::Train)?;
    let teacher = state.has_trained().then(|| state.clone());
    let new_labels = new_labels(&state, [&chosen, &replay])?;
    state.grow_head(&new_labels, lesson.seed);
    if teacher.is_some() && !new_labels.is_empty() && lesson.settings.network.grows() {
        state.grow_experts(lesson.seed);
    }
    let pooled = (recipe.strategy == Strategy::Retrain).then(|| pooled(&chosen, &replay));
    let (new, old) = match &pooled {
        Some(pool) => (Subset::all(pool), Subset::none(pool)),
        None => (chosen.clone(), replay.clone()),
    };
    let material = Material::new(lesson, &recipe, &state, (&new, &old), teacher.as_ref());
    let training = train::train(lesson, &mut state, (&material, &given.held_out), &mut watch)?;
    state.count(&given, &recipe);

    watch.phase(Phase::Compensate)?;
    let judges = Judges::of(lesson, &given.held_out, &state);
    let learnt = (&chosen, &replay);
    let compensation =
        compensate::compensate(lesson, &mut state, &recipe, teacher.as_ref(), learnt, &judges);
    let counted = selection.counted(&given.new.good);
    state.keep(lesson, (&given, &counted), &recipe, &judges);
    let answering = answering::choose(lesson, &mut state, &recipe, &judges);

    watch.phase(Phase::Evaluate)?;
    let plainly = (&chosen, &new_labels[..]);
    let naive = counterfactual::fine_tune(lesson, &given, plainly, &training.report, &mut watch)?;
    let answers = evaluate::compare(lesson, &given.held_out, (&state, naive.as_ref()), &mut watch)?;
    let evaluation = evaluate::evaluate(lesson, &state, &answers, naive.as_ref());
    let known = lesson.parent.map_or(&[][..], LearnerState::labels);
    let gate = gate::decide(&lesson.settings.gate, &answers, known, recipe.moves());
    state.temperature =
        evaluation.calibration.as_ref().map_or(1.0, |calibration| calibration.temperature);
    watch.progress(1.0)?;

    let (given, selection) = (&given, &selection);
    let chosen = Chosen { given, selection, replay: &replay, new_labels: &new_labels };
    let corrected = (compensation, answering);
    let learnt = report::learnt(lesson, &chosen, training, corrected, (evaluation, gate));
    Ok(Learnt { state: Some(state), ..learnt })
}

/// What [`update`] would train on, without training.
///
/// # Errors
/// [`LearningError`] where the lesson itself is wrong.
pub fn plan(lesson: &Lesson<'_>) -> Result<Plan, LearningError> {
    check(lesson)?;
    let given = Given::of(lesson);
    if given.new.good.is_empty() {
        let Learnt { report, decisions, .. } = report::nothing_to_learn(lesson, &given);
        return Ok(Plan { report, decisions });
    }
    let recipe = Recipe::of(lesson.settings, given.drift.moves);
    let state = begin::begin(lesson, &given, &recipe);
    let selection = select::select(lesson, &state, &given.new.good);
    let chosen = selection.chosen(&given.new.good);
    let replay = given.replay(&recipe);
    let replay = Subset::all(&replay);
    let new_labels = new_labels(&state, [&chosen, &replay])?;
    let (given, selection) = (&given, &selection);
    let chosen = Chosen { given, selection, replay: &replay, new_labels: &new_labels };
    Ok(report::planned(lesson, &chosen))
}

/// Passes events on, and turns a `Break` into [`LearningError::Cancelled`].
struct Watch<'a> {
    observe: &'a mut dyn FnMut(Event<'_>) -> ControlFlow<()>,
}

impl Watch<'_> {
    fn tell(&mut self, event: Event<'_>) -> Result<(), LearningError> {
        match (self.observe)(event) {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(()) => Err(LearningError::Cancelled),
        }
    }

    fn phase(&mut self, phase: Phase) -> Result<(), LearningError> {
        self.tell(Event::Phase(phase))
    }

    fn progress(&mut self, done: f32) -> Result<(), LearningError> {
        self.tell(Event::Progress(done))
    }
}

/// Checks that `lesson` is of one model, and fits into memory.
fn check(lesson: &Lesson<'_>) -> Result<(), LearningError> {
    let schema = &lesson.settings.input;
    let fits = |samples: &Samples| {
        samples.is_empty()
            || (samples.inputs.n_numeric() == schema.n_numeric()
                && samples.inputs.n_categorical() == schema.n_categorical())
    };
    let mut states = lesson.parent.into_iter().chain(lesson.body);
    if !states.all(|state| state.fits(lesson.settings)) {
        return Err(LearningError::Mismatch("parent"));
    }
    let held_out = lesson.held_out.iter();
    let mut sets = held_out.chain([&lesson.experience, &lesson.history, &lesson.recent]);
    match sets.all(fits) {
        true => footprint::check(lesson),
        false => Err(LearningError::Mismatch("shape of a sample")),
    }
}

/// Labels of `sets` that `state` does not know, sorted.
fn new_labels(state: &LearnerState, sets: [&Subset<'_>; 2]) -> Result<Vec<Label>, LearningError> {
    let known: BTreeSet<&Label> = state.labels().iter().collect();
    let new: BTreeSet<&Label> =
        sets.iter().flat_map(|set| set.labels()).filter(|label| !known.contains(label)).collect();
    match known.len() + new.len() {
        0..=MAX_LABELS => Ok(new.into_iter().cloned().collect()),
        too_many => Err(LearningError::TooManyLabels(too_many)),
    }
}
