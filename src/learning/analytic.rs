//! The closed-form learner: ridge regression on fixed random features, and of texts the discriminant
//! of what they are hashed into.
//!
//! The features of an input never change after the first version: `relu(x·R + b)` with seeded
//! random R and b (Rahimi & Recht 2007), x normalised by that version's statistics. Each reads a few
//! columns only, which is more accurate than all of them and takes next to no time, and is rounded
//! to a sixteenth, which costs no accuracy and makes sums of products exact. So the sums of ridge.rs
//! hold all that the samples say: no sample is needed again, the order of batches does not matter,
//! and nothing is forgotten but what is taken out. (ACIL, Zhuang et al. 2022, is the same idea
//! behind a trained network.)

use std::ops::Range;

use ndarray::{Array2, ArrayView2};
use rand::Rng;
use rand::seq::index::sample;

use crate::domain::input::{InputSchema, Inputs};
use crate::domain::settings::Strategy;

use super::categories::Dictionary;
use super::discriminant;
use super::features::Featurizer;
use super::judges::Judges;
use super::minibatch::places;
use super::normalize::Moments;
use super::ridge::{LARGEST_WHOLE, Sums};
use super::seed::{Draw, stream};
use super::state::LearnerState;
use super::subset::Subset;

/// Numbers or categories that a random feature reads.
const SOURCES: usize = 8;
/// Random features for each column of an input,
const WIDTH_PER_COLUMN: usize = 16;
/// but at least so many,
const LEAST_WIDTH: usize = 500;
/// and at most so many where they answer alone,
const MOST_WIDTH: usize = 3_000;
/// or beside a network: time goes by the square.
const MOST_WIDTH_BESIDE: usize = 1_200;
/// Features are rounded to such parts of 1, counted in whole numbers: their sums are exact.
const STEPS: f32 = 16.0;
/// Features of texts where they answer alone,
const TEXT_WIDTH: usize = 4_096;
/// or beside a network.
const TEXT_WIDTH_BESIDE: usize = 2_048;
/// Rows computed at once.
const CHUNK: usize = 1_024;
/// The ridge where samples are many, as a share of the mean of the Gram matrix's diagonal,
const RIDGE_OF_MANY: f64 = 1e-4;
/// that is, so many a feature,
const MANY: f64 = 4.0;
/// and what is tried where they are few.
const RIDGES_OF_FEW: [f64; 2] = [1e-3, 1e-1];
/// What scores of a ridge, which are about 0 to 1, are multiplied by to be logits.
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
    /// The solution, whose products with the features are logits: `[features, labels]` row-major.
    pub(super) weights: Vec<f32>,
}

impl Analytic {
    /// Of no sample yet: the features are fixed by the statistics of `state`, which has taken the
    /// first samples in.
    pub(super) fn begin(state: &LearnerState, strategy: Strategy, seed: u64) -> Self {
        let width = width(strategy, &state.input, state.featurizer().width());
        Self {
            seed,
            moments: state.moments.clone(),
            dictionaries: state.dictionaries.clone(),
            ridge: RIDGES_OF_FEW[0],
            sums: Sums::none(width + 1, state.labels.len()),
            weights: Vec::new(),
        }
    }

    /// With the samples of `sets` taken in, each once, and solved anew as suits `judges`. `state` has
    /// the labels of all.
    pub(super) fn learnt(
        mut self,
        state: &LearnerState,
        sets: &[&Subset<'_>],
        judges: &Judges,
    ) -> Self {
        let map = FeatureMap::of(&self, &state.input);
        self.sums.grow(state.labels.len());
        sets.iter().for_each(|samples| self.add(&map, state, samples, 1.0));
        if map.is_of_texts() {
            self.solve(&map);
        } else {
            self.choose_ridge(&map, judges);
        }
        self
    }

    /// With `samples` taken out again, as if they had never been learnt.
    pub(super) fn unlearnt(mut self, state: &LearnerState, samples: &Subset<'_>) -> Self {
        let map = FeatureMap::of(&self, &state.input);
        self.add(&map, state, samples, -1.0);
        self.solve(&map);
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

    fn solve(&mut self, map: &FeatureMap) {
        let (weights, sharpness) = if map.is_of_texts() {
            (discriminant::solve(&self.sums, f64::from(LARGEST_WHOLE)), 1.0)
        } else {
            let mean = self.sums.gram.diag().mean().unwrap_or_default();
            (self.sums.solve(self.ridge * mean.max(f64::MIN_POSITIVE)), SHARPNESS)
        };
        if let Some(weights) = weights {
            self.weights = weights.iter().map(|&weight| weight as f32 * sharpness).collect();
        }
    }

    /// Solves with the ridge that suits so many samples, or where they are few with that which answers
    /// the judges best.
    fn choose_ridge(&mut self, map: &FeatureMap, judges: &Judges) {
        // The last feature is constant, so its square adds up to what all samples weigh.
        let weight = self.sums.gram.diag().last().copied().unwrap_or_default();
        let weight = weight / f64::from(STEPS * STEPS);
        if weight > MANY * self.sums.gram.nrows() as f64 {
            self.ridge = RIDGE_OF_MANY;
            return self.solve(map);
        }
        let inputs = &judges.samples.inputs;
        let features = map.features(inputs, 0..inputs.len());
        let mut best: Option<(usize, Self)> = None;
        for ridge in RIDGES_OF_FEW {
            let mut trial = Self { ridge, weights: Vec::new(), ..self.clone() };
            trial.solve(map);
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

/// How many features there are for `n_columns` of input.
pub(super) fn width(strategy: Strategy, schema: &InputSchema, n_columns: usize) -> usize {
    if schema.is_text() {
        let most = if strategy == Strategy::Analytic { TEXT_WIDTH } else { TEXT_WIDTH_BESIDE };
        return n_columns.min(most);
    }
    let most = if strategy == Strategy::Analytic { MOST_WIDTH } else { MOST_WIDTH_BESIDE };
    (WIDTH_PER_COLUMN * n_columns).clamp(LEAST_WIDTH, most)
}

/// The fixed features, ready to compute.
#[derive(Debug, Clone)]
pub(super) struct FeatureMap {
    featurizer: Featurizer,
    /// Columns that features read and what each counts, feature after feature.
    reads: Vec<(usize, f32)>,
    /// How many of `reads` are those of each feature, and what it is shifted by.
    features: Vec<(usize, f32)>,
}

impl FeatureMap {
    /// Those of `analytic`.
    pub(super) fn of(analytic: &Analytic, schema: &InputSchema) -> Self {
        let featurizer = Featurizer::new(schema, &analytic.moments, &analytic.dictionaries);
        let sources = sources(analytic.moments.mean.len(), &analytic.dictionaries);
        let n_read = sources.len().min(SOURCES);
        let mut draws = stream(analytic.seed, Draw::Features);
        // Uniform of the variance that keeps an input's size: 1/n for n sources.
        let bound = (3.0 / n_read.max(1) as f32).sqrt();
        let mut reads = Vec::new();
        let feature = |_| {
            let n_before = reads.len();
            for source in sample(&mut draws, sources.len(), n_read) {
                let columns = sources[source].clone();
                reads.extend(columns.map(|column| (column, draws.gen_range(-bound..=bound))));
            }
            (reads.len() - n_before, draws.gen_range(-1.0..=1.0))
        };
        let features = (1..analytic.sums.gram.nrows()).map(feature).collect();
        Self { featurizer, reads, features }
    }

    fn is_of_texts(&self) -> bool {
        self.featurizer.is_text()
    }

    /// Features of the inputs at `indices`, `[indices, width + 1]`; the last is constant.
    fn features(
        &self,
        inputs: &Inputs,
        indices: impl ExactSizeIterator<Item = usize>,
    ) -> Array2<f32> {
        let shape = (indices.len(), self.features.len() + 1);
        if self.is_of_texts() {
            return self.features_of_texts(inputs, indices);
        }
        let mut features = Vec::with_capacity(shape.0 * shape.1);
        let mut row = Vec::with_capacity(self.featurizer.width());
        for index in indices {
            row.clear();
            self.featurizer.append_full(inputs, index, &mut row);
            let mut reads = &self.reads[..];
            for &(n_read, shift) in &self.features {
                let (own, rest) = reads.split_at(n_read);
                let sum: f32 = own.iter().map(|&(column, weight)| weight * row[column]).sum();
                let steps = ((sum + shift) * STEPS + 0.5).clamp(0.0, LARGEST_WHOLE);
                features.push(f32::from(steps as u8));
                reads = rest;
            }
            features.push(STEPS);
        }
        Array2::from_shape_vec(shape, features).expect("a row an input")
    }

    /// The same of texts: their buckets, folded into as many as there are features.
    fn features_of_texts(
        &self,
        inputs: &Inputs,
        indices: impl ExactSizeIterator<Item = usize>,
    ) -> Array2<f32> {
        let n = self.features.len();
        let mut features = Array2::zeros((indices.len(), n + 1));
        for (mut row, index) in features.rows_mut().into_iter().zip(indices) {
            for (bucket, value) in self.featurizer.buckets(inputs, index) {
                row[bucket as usize % n] += value * LARGEST_WHOLE;
            }
            row.mapv_inplace(|value: f32| f32::from((value + 0.5).min(LARGEST_WHOLE) as u8));
            row[n] = LARGEST_WHOLE;
        }
        features
    }

    /// Numbers that it keeps.
    fn n_parameters(&self) -> usize {
        2 * (self.reads.len() + self.features.len())
    }
}

/// What features choose from: each number's column, and all columns of each category.
fn sources(n_numeric: usize, dictionaries: &[Dictionary]) -> Vec<Range<usize>> {
    let mut end = n_numeric;
    let numbers = (0..n_numeric).map(|column| column..column + 1);
    let categories = dictionaries.iter().map(|dictionary| {
        let begin = end;
        end += dictionary.n_columns();
        begin..end
    });
    numbers.chain(categories).collect()
}

/// The solution, ready to answer.
#[derive(Debug, Clone)]
pub(super) struct ClosedForm {
    map: FeatureMap,
    /// `[features, labels]`.
    weights: Array2<f32>,
}

impl ClosedForm {
    /// That of `analytic`.
    pub(super) fn new(analytic: &Analytic, schema: &InputSchema) -> Self {
        let shape = analytic.sums.targets.dim();
        let weights = Array2::from_shape_vec(shape, analytic.weights.clone());
        let weights = weights.expect("as many weights as sums");
        Self { map: FeatureMap::of(analytic, schema), weights }
    }

    /// Numbers that it keeps.
    pub(super) fn n_parameters(&self) -> usize {
        self.map.n_parameters() + self.weights.len()
    }

    /// Logits of the inputs in `range`, `[range, labels]` row-major.
    pub(super) fn logits(&self, inputs: &Inputs, range: Range<usize>) -> Vec<f32> {
        self.map.features(inputs, range).dot(&self.weights).into_iter().collect()
    }
}
