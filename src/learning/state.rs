//! The learner state: all that is needed to go on learning, and to answer.

use rand_xoshiro::Xoshiro256PlusPlus;

use crate::domain::input::InputSchema;
use crate::domain::label::Label;
use crate::domain::settings::ModelSettings;

use super::Lesson;
use super::categories::{Dictionary, UNSEEN};
use super::features::{self, Featurizer};
use super::network::Dense;
use super::normalize::{Moments, Scale, compensate};
use super::seed::{Draw, stream};
use super::subset::Subset;

/// Everything that a version has learnt: statistics of its inputs, labels, and weights.
#[derive(Debug, Clone, PartialEq)]
pub struct LearnerState {
    /// What one input looks like.
    pub(super) input: InputSchema,
    /// Units of each hidden layer.
    pub(super) hidden: Vec<usize>,
    /// Known labels; only ever appended to. The head's outputs in this order.
    pub(super) labels: Vec<Label>,
    /// Statistics of the numeric features.
    pub(super) moments: Moments,
    /// One for each categorical feature.
    pub(super) dictionaries: Vec<Dictionary>,
    /// The hidden layers, then the head, which is missing as long as there is no label.
    pub(super) layers: Vec<Dense>,
    /// What logits are divided by before the softmax, in predictions only: training, distillation
    /// and selection read the logits as they are.
    pub(super) temperature: f32,
    /// How it came to be.
    pub(super) lineage: Lineage,
}

/// How a state came to be.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Lineage {
    /// Updates since the first version, that one included.
    pub(super) updates: u64,
    /// Optimiser steps over all updates.
    pub(super) steps: u64,
    /// The last update's seed.
    pub(super) seed: u64,
    /// SHA-256 of the parent's checkpoint, hexadecimal.
    pub(super) parent: Option<String>,
}

impl LearnerState {
    /// Known labels, in the order of a prediction's probabilities.
    pub fn labels(&self) -> &[Label] {
        &self.labels
    }

    /// Whether this state is of the model that has `settings`.
    pub(super) fn fits(&self, settings: &ModelSettings) -> bool {
        self.input == settings.input && self.hidden == settings.network.hidden()
    }

    /// Whether there is anything to forget.
    pub(super) fn has_learnt(&self) -> bool {
        !self.labels.is_empty()
    }

    /// Turns raw inputs into rows for the first layer.
    pub(super) fn featurizer(&self) -> Featurizer {
        Featurizer::new(&self.input, &self.moments, &self.dictionaries)
    }

    /// Appends `new_labels` and outputs for them: random ones for the first labels of all, else of
    /// zero weights, so that what the head says of old labels stays.
    pub(super) fn grow_head(&mut self, new_labels: &[Label], seed: u64) {
        if self.labels.is_empty() {
            let n_in = self.hidden.last().copied().unwrap_or_default();
            let draws = &mut stream(seed, Draw::Head);
            self.layers.push(Dense::random(n_in, new_labels.len(), n_in, draws));
        } else if let Some(head) = self.layers.last_mut() {
            head.grow_outputs(new_labels.len());
        }
        self.labels.extend_from_slice(new_labels);
    }

    /// Takes the categories of `samples` into the dictionaries and gives each a row of the first
    /// layer. A new category's row is that of the unseen, as which it was read until now: the
    /// function stays as it is.
    fn learn_categories(&mut self, samples: &Subset<'_>) {
        let before = self.dictionaries.clone();
        for (feature, dictionary) in self.dictionaries.iter_mut().enumerate() {
            dictionary.learn(samples, feature);
        }
        let Some(first) = self.layers.first_mut() else { return };
        let n_out = first.n_out;
        let (numeric, mut blocks) = first.weight.split_at(self.moments.mean.len() * n_out);
        let mut weight = numeric.to_vec();
        for (old, new) in before.iter().zip(&self.dictionaries) {
            let (block, rest) = blocks.split_at(old.n_columns() * n_out);
            weight.extend_from_slice(block);
            let unseen = &block[UNSEEN * n_out..(UNSEEN + 1) * n_out];
            (old.n_columns()..new.n_columns()).for_each(|_| weight.extend_from_slice(unseen));
            blocks = rest;
        }
        first.n_in = weight.len() / n_out;
        first.weight = weight;
    }

    /// Takes `samples` into the running statistics and compensates the first layer.
    fn normalize(&mut self, samples: &Subset<'_>) {
        let before = self.moments.scale(&self.input);
        self.moments.merge(&Moments::of(&samples.samples.inputs, &samples.indices));
        if let Some(first) = self.layers.first_mut() {
            compensate(first, &before, &self.moments.scale(&self.input));
        }
    }
}

/// The state that an update of `samples` begins with: the parent's, or an empty one, with the
/// samples' statistics and categories taken in, and the same function of raw inputs as before.
pub(super) fn begin(lesson: &Lesson<'_>, samples: &Subset<'_>) -> LearnerState {
    let mut state = lesson.parent.cloned().unwrap_or_else(|| blank(lesson.settings));
    state.normalize(samples);
    state.learn_categories(samples);
    if state.layers.is_empty() {
        state.layers = hidden_layers(&state, &mut stream(lesson.seed, Draw::Layers));
    }
    state.lineage.updates += 1;
    state.lineage.seed = lesson.seed;
    state.lineage.parent = lesson.parent_digest.map(ToOwned::to_owned);
    state
}

fn blank(settings: &ModelSettings) -> LearnerState {
    LearnerState {
        input: settings.input.clone(),
        hidden: settings.network.hidden().to_vec(),
        labels: Vec::new(),
        moments: Moments::none(settings.input.n_numeric()),
        dictionaries: vec![Dictionary::default(); settings.input.n_categorical()],
        layers: Vec::new(),
        temperature: 1.0,
        lineage: Lineage::default(),
    }
}

fn hidden_layers(state: &LearnerState, draws: &mut Xoshiro256PlusPlus) -> Vec<Dense> {
    let n_numeric = state.moments.mean.len();
    let mut n_in = features::width(n_numeric, &state.dictionaries);
    let mut n_active = n_numeric + state.dictionaries.len();
    let mut layers = Vec::with_capacity(state.hidden.len() + 1);
    for &units in &state.hidden {
        layers.push(Dense::random(n_in, units, n_active, draws));
        (n_in, n_active) = (units, units);
    }
    if let Some(first) = layers.first_mut() {
        silence_unlearnt_inputs(first, state, &state.moments.scale(&state.input));
    }
    layers
}

/// Zeroes the weights of inputs that no sample so far can train: features that never varied, and
/// unseen categories. Random weights there would be noise as soon as such an input comes.
fn silence_unlearnt_inputs(first: &mut Dense, state: &LearnerState, scale: &Scale) {
    let constant = (0..scale.varies.len()).filter(|&j| !scale.varies[j]);
    constant.for_each(|j| first.row_mut(j).fill(0.0));
    let mut column = scale.varies.len();
    for dictionary in &state.dictionaries {
        first.row_mut(column + UNSEEN).fill(0.0);
        column += dictionary.n_columns();
    }
}
