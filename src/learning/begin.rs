//! What an update begins with: the parent's state, what another model left, or an empty one, with the
//! new samples' statistics taken in; and the layers of one that has none yet.

use rand_xoshiro::Xoshiro256PlusPlus;

use crate::domain::settings::Strategy;

use super::Lesson;
use super::categories::UNSEEN;
use super::features;
use super::given::Given;
use super::network::Dense;
use super::normalize::Scale;
use super::recipe::Recipe;
use super::seed::{Draw, stream};
use super::state::{LearnerState, n_columns};

/// The state that an update begins with: the parent's, or an empty one, with the new samples'
/// statistics and categories taken in, and the same function of raw inputs as before. One that
/// begins anew takes in the history as well, and keeps the parent's labels in their order.
pub(super) fn begin(lesson: &Lesson<'_>, given: &Given<'_>, recipe: &Recipe) -> LearnerState {
    let begun = || match lesson.body {
        Some(body) => body.body(lesson.settings),
        None => LearnerState::blank(lesson.settings),
    };
    let mut state = match recipe.strategy {
        Strategy::Retrain => begun(),
        _ => lesson.parent.cloned().unwrap_or_else(begun),
    };
    if recipe.strategy == Strategy::Retrain {
        state.normalize(&given.history, false);
        state.learn_categories(&given.history);
        state.count_documents(&given.history);
    }
    if !given.was_learnt {
        state.normalize(&given.new.good, recipe.follows);
        state.learn_categories(&given.new.good);
        state.count_documents(&given.new.good);
    }
    if state.layers.is_empty() {
        state.layers = hidden_layers(&state, &mut stream(lesson.seed, Draw::Layers));
    }
    if let (Strategy::Retrain, Some(parent)) = (recipe.strategy, lesson.parent) {
        state.grow_head(&parent.labels, lesson.seed);
        state.frequencies.clone_from(&parent.frequencies);
    }
    state.drift = given.drift;
    state.lineage.updates = lesson.parent.map_or(0, |parent| parent.lineage.updates) + 1;
    state.lineage.seed = lesson.seed;
    state.lineage.parent = lesson.parent_digest.map(ToOwned::to_owned);
    state
}

/// Drawn layers but for the head, for the features of `state`.
pub(super) fn hidden_layers(state: &LearnerState, draws: &mut Xoshiro256PlusPlus) -> Vec<Dense> {
    let shape = &state.shape;
    let n_active = state.input.n_numeric() + state.dictionaries.len();
    let sizes = shape.body(features::width(&state.input, &state.dictionaries));
    let reading = shape.reading();
    let scale = state.moments.scale(&state.input);
    let layer = |(place, (n_in, n_out))| {
        if shape.is_affine(place) {
            return Dense { n_in, n_out, weight: vec![1.0; n_out], bias: vec![0.0; n_out] };
        }
        if !reading.contains(&place) {
            return Dense::random(n_in, n_out, n_in, draws);
        }
        let mut first = Dense::random(n_in, n_out, n_active.min(n_in), draws);
        silence_unlearnt_inputs(&mut first, state, &scale);
        first
    };
    sizes.into_iter().enumerate().map(layer).collect()
}

/// Zeroes the weights of inputs that no sample so far can train: features that never varied, and
/// unseen categories. Random weights there would be noise as soon as such an input comes.
fn silence_unlearnt_inputs(first: &mut Dense, state: &LearnerState, scale: &Scale) {
    let n_scales = scale.varies.len();
    let mut column = first.n_in - n_columns(&state.dictionaries);
    for j in (0..n_scales).filter(|&j| !scale.varies[j]) {
        (j..column).step_by(n_scales).for_each(|row| first.row_mut(row).fill(0.0));
    }
    for dictionary in &state.dictionaries {
        first.row_mut(column + UNSEEN).fill(0.0);
        column += dictionary.n_columns();
    }
}
