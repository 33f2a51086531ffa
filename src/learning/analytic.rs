//! The closed-form learner: ridge regression on fixed features, and of texts the discriminant of what
//! they are hashed into.
//!
//! The features of an input never change after the first version ([`FeatureMap`]). So the sums of
//! ridge.rs hold all that the samples say: no sample is needed again, the order of batches does not
//! matter, and nothing is forgotten but what is taken out. (ACIL, Zhuang et al. 2022, is the same idea
//! behind a trained network.)

use std::ops::Range;

use ndarray::ArrayView2;

use crate::domain::input::{InputSchema, Inputs};
use crate::domain::settings::Strategy;

use super::categories::Dictionary;
use super::discriminant;
use super::feature_map::{self, FeatureMap};
use super::judges::Judges;
use super::minibatch::places;
use super::moments::Moments;
use super::network::Dense;
use super::network::packed::{Packed, Rows};
use super::patches;
use super::product::product;
use super::ridge::Sums;
use super::rows::SparseRows;
use super::state::LearnerState;
use super::subset::Subset;

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
    /// The patches that images are compared with, learnt from its samples.
    pub(super) dictionary: Option<Dense>,
    /// λ, as a share of the mean of the Gram matrix's diagonal.
    pub(super) ridge: f64,
    /// What the logits are multiplied by, so that they count rightly beside the network's.
    pub(super) scale: f32,
    /// What the samples add up to.
    pub(super) sums: Sums,
    /// The solution, whose products with the features are logits: `[features, labels]` row-major.
    pub(super) weights: Vec<f32>,
}

impl Analytic {
    /// Of no sample yet: the features are fixed by the statistics of `state`, which has taken the
    /// first samples in, and of images by patches of these samples.
    pub(super) fn begin(
        state: &LearnerState,
        strategy: Strategy,
        samples: &Subset<'_>,
        seed: u64,
    ) -> Self {
        let featurizer = state.featurizer();
        let width = feature_map::width(strategy, &state.input, featurizer.width());
        let image = state.input.image();
        Self {
            dictionary: image.map(|image| patches::learn(image, &featurizer, samples, seed)),
            seed,
            moments: state.moments.clone(),
            dictionaries: state.dictionaries.clone(),
            ridge: RIDGES_OF_FEW[0],
            scale: 1.0,
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
        self.scale = 1.0;
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

    /// Multiplies the logits by `scale`, which changes nothing of what is likeliest.
    pub(super) fn weigh(&mut self, scale: f32) {
        self.scale *= scale;
        self.weights.iter_mut().for_each(|weight| *weight *= scale);
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

    /// Whether there is a solution. Where there is none, nothing is said of any label: weights of before may
    /// be of fewer.
    fn solve(&mut self, map: &FeatureMap) -> bool {
        let (weights, sharpness) = if map.is_of_texts() {
            (discriminant::solve(&self.sums, f64::from(map.one())), 1.0)
        } else {
            let mean = self.sums.gram.diag().mean().unwrap_or_default();
            (self.sums.solve(self.ridge * mean.max(f64::MIN_POSITIVE)), SHARPNESS)
        };
        let (is_solved, scale) = (weights.is_some(), sharpness * self.scale);
        self.weights = match weights {
            Some(weights) => weights.iter().map(|&weight| weight as f32 * scale).collect(),
            None => vec![0.0; self.sums.targets.len()],
        };
        is_solved
    }

    /// Solves with the ridge that suits so many samples, or where they are few with that which answers
    /// the judges best.
    fn choose_ridge(&mut self, map: &FeatureMap, judges: &Judges) {
        // The last feature is constant, so its square adds up to what all samples weigh.
        let weight = self.sums.gram.diag().last().copied().unwrap_or_default();
        let weight = weight / f64::from(map.one()).powi(2);
        if weight > MANY * self.sums.gram.nrows() as f64 {
            self.ridge = RIDGE_OF_MANY;
            self.solve(map);
            return;
        }
        let inputs = &judges.samples.inputs;
        let features = map.features(inputs, 0..inputs.len());
        let shape = self.sums.targets.dim();
        let mut best: Option<(usize, f64, Vec<f32>)> = None;
        for ridge in RIDGES_OF_FEW {
            self.ridge = ridge;
            if !self.solve(map) {
                continue;
            }
            let weights = ArrayView2::from_shape(shape, &self.weights).expect("a weight a sum");
            let scores = product(features.view(), weights).into_raw_vec_and_offset().0;
            let n_right = judges.verdict(&scores, shape.1).n_right();
            if best.as_ref().is_none_or(|&(most, ..)| n_right > most) {
                best = Some((n_right, ridge, self.weights.clone()));
            }
        }
        if let Some((_, ridge, weights)) = best {
            (self.ridge, self.weights) = (ridge, weights);
        }
    }
}

/// The solution, ready to answer.
#[derive(Debug)]
pub(super) struct ClosedForm {
    map: FeatureMap,
    n_labels: usize,
    weights: Weights,
}

/// `[features, labels]`.
#[derive(Debug)]
enum Weights {
    /// Those of texts, most of whose features are 0: what the constant says is the bias.
    Rows(Dense),
    /// Those of what has all features.
    Packed(Packed),
}

impl ClosedForm {
    /// That of `analytic`.
    pub(super) fn new(analytic: &Analytic, schema: &InputSchema) -> Self {
        let map = FeatureMap::of(analytic, schema);
        let n_labels = analytic.sums.targets.ncols();
        let weights = match map.is_of_texts() {
            true => Weights::Rows(of_texts(&map, &analytic.weights, n_labels)),
            false => Weights::Packed(Packed::of(&analytic.weights, n_labels)),
        };
        Self { map, n_labels, weights }
    }

    /// Numbers that it keeps.
    pub(super) fn n_parameters(&self) -> usize {
        self.map.n_parameters() + self.map.n_features() * self.n_labels
    }

    /// Multiply-adds, about, that `n` inputs take, which fall into `n_buckets` in all where they are texts.
    pub(super) fn work(&self, n: usize, n_buckets: usize) -> usize {
        match self.weights {
            Weights::Rows(_) => (n + n_buckets) * self.n_labels,
            Weights::Packed(_) => n * (self.map.work() + self.map.n_features() * self.n_labels),
        }
    }

    /// Logits of the inputs in `range`, `[range, labels]` row-major.
    pub(super) fn logits(&self, inputs: &Inputs, range: Range<usize>) -> Vec<f32> {
        match &self.weights {
            Weights::Rows(layer) => {
                let texts = self.map.texts(inputs, range).unwrap_or_default();
                self.map.features_of_texts(&texts).through(layer)
            }
            Weights::Packed(weights) => {
                let mut logits = vec![0.0; range.len() * self.n_labels];
                let features = self.map.features(inputs, range).into_raw_vec_and_offset().0;
                weights.add_product(Rows::Whole(&features), &mut logits);
                logits
            }
        }
    }

    /// The same of texts that were read already; none where it knows no texts.
    pub(super) fn logits_of_texts(&self, texts: &SparseRows) -> Option<Vec<f32>> {
        match &self.weights {
            Weights::Rows(layer) => Some(self.map.features_of_texts(texts).through(layer)),
            Weights::Packed(_) => None,
        }
    }
}

/// The layer of texts that `weights`, `[features, labels]` with those of the constant last, are.
fn of_texts(map: &FeatureMap, weights: &[f32], n_labels: usize) -> Dense {
    let n_in = map.n_features() - 1;
    let (weight, of_constant) = weights.split_at(n_in * n_labels);
    let bias = of_constant.iter().map(|weight| weight * map.one()).collect();
    Dense { n_in, n_out: n_labels, weight: weight.to_vec(), bias }
}

#[cfg(test)]
mod tests {
    use rand::Rng;

    use super::*;
    use crate::domain::input::TextSchema;
    use crate::learning::seed::{Draw, stream};

    impl Analytic {
        /// That of no sample yet.
        pub(in crate::learning) fn of_nothing(width: usize, n_labels: usize) -> Self {
            Self {
                seed: 1,
                moments: Moments::none(0),
                dictionaries: Vec::new(),
                dictionary: None,
                ridge: 1.0,
                scale: 1.0,
                sums: Sums::none(width + 1, n_labels),
                weights: Vec::new(),
            }
        }
    }

    #[test]
    fn texts_are_answered_as_all_their_features_say() {
        const N_LABELS: usize = 5;
        let schema = InputSchema::Text(TextSchema { buckets: 1 << 10, ..TextSchema::default() });
        let draws = &mut stream(1, Draw::Layers);
        for width in [64, 300, 1 << 10] {
            let n_weights = (width + 1) * N_LABELS;
            let weights = (0..n_weights).map(|_| draws.gen_range(-0.01..0.01)).collect();
            let analytic = Analytic { weights, ..Analytic::of_nothing(width, N_LABELS) };
            let mut inputs = Inputs::with_shape(0, 1);
            for text in ["lost card", "?!", "Exchange rates abroad, and where they are fair", "a"] {
                // Enough of them that threads share them.
                (0..30).for_each(|_| inputs.push(&[], &[Some(text.into())]));
            }
            let map = FeatureMap::of(&analytic, &schema);
            let weights = ArrayView2::from_shape((width + 1, N_LABELS), &analytic.weights).unwrap();
            let expected = map.features(&inputs, 0..inputs.len()).dot(&weights);
            let closed_form = ClosedForm::new(&analytic, &schema);
            let said = closed_form.logits(&inputs, 0..inputs.len());
            assert_eq!(said.len(), expected.len());
            for (said, expected) in said.iter().zip(&expected) {
                assert!((said - expected).abs() < 1e-4, "{width}: {said} {expected}");
            }
            let texts = map.texts(&inputs, 0..inputs.len()).unwrap();
            assert_eq!(closed_form.logits_of_texts(&texts), Some(said));
        }
    }

    #[test]
    fn what_is_weighed_is_weighed_when_it_is_solved_anew() {
        const WIDTH: usize = 64;
        let schema = InputSchema::Text(TextSchema { buckets: 1 << 10, ..TextSchema::default() });
        let mut analytic = Analytic::of_nothing(WIDTH, 2);
        let map = FeatureMap::of(&analytic, &schema);
        let mut inputs = Inputs::with_shape(0, 1);
        for text in ["lost card", "exchange rate"] {
            inputs.push(&[], &[Some(text.into())]);
        }
        analytic.sums.add(map.features(&inputs, 0..2).view(), &[0, 1], &[1.0; 2]);
        assert!(analytic.solve(&map));
        let before = analytic.weights.clone();
        analytic.weigh(0.25);
        assert!(analytic.solve(&map));
        let quarters: Vec<f32> = before.iter().map(|weight| weight / 4.0).collect();
        assert_eq!(analytic.weights, quarters);
        assert_ne!(analytic.weights, before);
    }
}
