//! The closed-form learner: ridge regression on fixed random features.
//!
//! The features of an input never change after the first version: `relu(x·R + b)` with seeded
//! random R and b (Rahimi & Recht 2007), x normalised by that version's statistics. So the sums of
//! ridge.rs hold all that the samples say: no sample is needed again, the order of batches does not
//! matter, and nothing is forgotten but what is taken out. (ACIL, Zhuang et al. 2022, is the same
//! idea behind a trained network.)

use std::ops::Range;

use burn::tensor::Tensor;
use burn::tensor::activation::relu;
use ndarray::{Array2, ArrayView2, Axis, concatenate};
use rand::Rng;

use crate::domain::input::{InputSchema, Inputs};

use super::categories::Dictionary;
use super::features::Featurizer;
use super::judges::Judges;
use super::minibatch::places;
use super::network::{matrix, numbers};
use super::normalize::Moments;
use super::ridge::Sums;
use super::seed::{Draw, stream};
use super::state::LearnerState;
use super::subset::Subset;
use super::{Device, Lesson};

/// Random features for each column of an input, within bounds.
const WIDTH_PER_COLUMN: usize = 16;
const LEAST_WIDTH: usize = 500;
const MOST_WIDTH: usize = 2_000;
/// Rows computed at once.
const CHUNK: usize = 1_024;
/// Ridges tried, as shares of the mean of the Gram matrix's diagonal; the first without judges.
const RIDGES: [f64; 4] = [1e-3, 1e-4, 1e-2, 1e-1];
/// What scores, which are about 0 to 1, are multiplied by to be logits.
const SHARPNESS: f32 = 10.0;

/// What was learnt in closed form.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Analytic {
    /// Where the random features come from.
    pub(super) seed: u64,
    /// The statistics of the first version, by which its features are fixed.
    pub(super) moments: Moments,
    /// Its categories; later ones count as unseen.
    pub(super) dictionaries: Vec<Dictionary>,
    /// λ, as a share of the mean of the Gram matrix's diagonal.
    pub(super) ridge: f64,
    /// What the samples add up to.
    pub(super) sums: Sums,
    /// The solution, `[features, labels]` row-major.
    pub(super) weights: Vec<f32>,
}

impl Analytic {
    /// Of no sample yet: the features are fixed by the statistics of `state`, which has taken the
    /// first samples in.
    pub(super) fn begin(state: &LearnerState, seed: u64) -> Self {
        let n_columns = state.featurizer().width();
        let width = (WIDTH_PER_COLUMN * n_columns).clamp(LEAST_WIDTH, MOST_WIDTH);
        Self {
            seed,
            moments: state.moments.clone(),
            dictionaries: state.dictionaries.clone(),
            ridge: RIDGES[0],
            sums: Sums::none(width + 1, state.labels.len()),
            weights: Vec::new(),
        }
    }

    /// With the samples of `sets` taken in, each once, and solved anew. `state` has their labels.
    pub(super) fn learnt(
        mut self,
        lesson: &Lesson<'_>,
        state: &LearnerState,
        sets: &[&Subset<'_>],
    ) -> Self {
        let map = FeatureMap::of(&self, &state.input, lesson.device);
        self.sums.grow(state.labels.len());
        sets.iter().for_each(|samples| self.add(&map, state, samples, 1.0));
        self.choose_ridge(&map, &Judges::of(lesson, state));
        self
    }

    /// With `samples` taken out again, as if they had never been learnt.
    pub(super) fn unlearnt(
        mut self,
        device: Device,
        state: &LearnerState,
        samples: &Subset<'_>,
    ) -> Self {
        let map = FeatureMap::of(&self, &state.input, device);
        self.add(&map, state, samples, -1.0);
        self.solve();
        self
    }

    fn add(&mut self, map: &FeatureMap, state: &LearnerState, samples: &Subset<'_>, sign: f32) {
        let places = places(state);
        let labels: Vec<usize> = samples.labels().map(|label| places[label]).collect();
        let weights: Vec<f32> = samples.weights().map(|weight| sign * weight).collect();
        let chunks = samples.indices.chunks(CHUNK);
        for ((chunk, labels), weights) in
            chunks.zip(labels.chunks(CHUNK)).zip(weights.chunks(CHUNK))
        {
            let features = map.features(&samples.samples.inputs, chunk.iter().copied());
            self.sums.add(features.view(), labels, weights);
        }
    }

    fn solve(&mut self) {
        let mean = self.sums.gram.diag().mean().unwrap_or_default();
        if let Some(weights) = self.sums.solve(self.ridge * mean.max(f64::MIN_POSITIVE)) {
            self.weights = weights.iter().map(|&weight| weight as f32).collect();
        }
    }

    /// Solves with each ridge and keeps the one that answers the judges best.
    fn choose_ridge(&mut self, map: &FeatureMap, judges: &Judges) {
        let inputs = &judges.samples.inputs;
        let features = map.features(inputs, 0..inputs.len());
        let mut best: Option<(usize, Self)> = None;
        for ridge in RIDGES {
            let mut trial = Self { ridge, weights: Vec::new(), ..self.clone() };
            trial.solve();
            let shape = trial.sums.targets.dim();
            let Ok(weights) = ArrayView2::from_shape(shape, &trial.weights) else { continue };
            let scores: Vec<f32> = features.dot(&weights).into_iter().collect();
            let n_right = judges.verdict(&scores, shape.1).n_right();
            if best.as_ref().is_none_or(|&(most, _)| n_right > most) {
                best = Some((n_right, trial));
            }
        }
        if let Some((_, best)) = best {
            (self.ridge, self.weights) = (best.ridge, best.weights);
        }
    }
}

/// The fixed features, ready to compute.
#[derive(Debug, Clone)]
pub(super) struct FeatureMap {
    featurizer: Featurizer,
    projection: Tensor<2>,
    shift: Tensor<2>,
}

impl FeatureMap {
    /// Those of `analytic` on `device`.
    pub(super) fn of(analytic: &Analytic, schema: &InputSchema, device: Device) -> Self {
        let featurizer = Featurizer::new(schema, &analytic.moments, &analytic.dictionaries);
        let (n_in, width) = (featurizer.width(), analytic.sums.gram.nrows() - 1);
        let n_active = (analytic.moments.mean.len() + analytic.dictionaries.len()).max(1);
        let mut draws = stream(analytic.seed, Draw::Features);
        // Uniform of the variance that keeps an input's size: 1/n for n inputs that are not 0.
        let bound = (3.0 / n_active as f32).sqrt();
        let mut uniform = |n: usize, bound: f32| -> Vec<f32> {
            (0..n).map(|_| draws.gen_range(-bound..=bound)).collect()
        };
        let (projection, shift) = (uniform(n_in * width, bound), uniform(width, 1.0));
        let device = device.burn();
        Self {
            featurizer,
            projection: matrix(projection, width, &device),
            shift: matrix(shift, width, &device),
        }
    }

    /// Features of the inputs at `indices`, `[indices, width + 1]`; the last is 1.
    fn features(
        &self,
        inputs: &Inputs,
        indices: impl ExactSizeIterator<Item = usize>,
    ) -> Array2<f32> {
        let (width, n) = (self.shift.dims()[1], indices.len());
        let rows = self.featurizer.rows(inputs, indices);
        let rows = matrix(rows, self.featurizer.width(), &self.shift.device());
        let features = numbers(relu(rows.matmul(self.projection.clone()) + self.shift.clone()));
        let features = ArrayView2::from_shape((n, width), &features).expect("whole rows");
        let ones = Array2::ones((n, 1));
        concatenate(Axis(1), &[features, ones.view()]).expect("as many ones as rows")
    }
}

/// The solution, ready to answer.
#[derive(Debug, Clone)]
pub(super) struct ClosedForm {
    map: FeatureMap,
    /// `[features, labels]`, times the sharpness.
    weights: Array2<f32>,
}

impl ClosedForm {
    /// That of `analytic` on `device`.
    pub(super) fn new(analytic: &Analytic, schema: &InputSchema, device: Device) -> Self {
        let sharp = analytic.weights.iter().map(|weight| weight * SHARPNESS).collect();
        let weights = Array2::from_shape_vec(analytic.sums.targets.dim(), sharp);
        let weights = weights.expect("as many weights as sums");
        Self { map: FeatureMap::of(analytic, schema, device), weights }
    }

    /// Numbers that it keeps.
    pub(super) fn n_parameters(&self) -> usize {
        self.map.projection.shape().num_elements() + self.weights.len()
    }

    /// Logits of the inputs in `range`, `[range, labels]` row-major.
    pub(super) fn logits(&self, inputs: &Inputs, range: Range<usize>) -> Vec<f32> {
        self.map.features(inputs, range).dot(&self.weights).into_iter().collect()
    }
}
