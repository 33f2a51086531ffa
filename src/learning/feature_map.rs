//! The closed form's features, which never change after the first version: small whole numbers, so that
//! sums of their products are exact.
//!
//! Of numbers and categories: `relu(x·R + b)` with seeded random R and b (Rahimi & Recht 2007), x
//! normalised by the first version's statistics. Each reads a few columns only, which is more accurate
//! than all of them and takes next to no time, and is rounded to a sixteenth, which costs no accuracy.
//! Of texts: the buckets that they are hashed into, folded into fewer. Of images: what a dictionary of
//! patches says of them ([`patches`]).

use std::ops::Range;

use ndarray::Array2;
use rand::Rng;
use rand::seq::index::sample;
use rayon::prelude::*;

use crate::domain::input::{InputSchema, Inputs};
use crate::domain::settings::Strategy;

use super::analytic::Analytic;
use super::categories::Dictionary;
use super::features::Featurizer;
use super::network::packed::Layer;
use super::patches::{self, Grid};
use super::predict::AT_ONCE;
use super::ridge::LARGEST_WHOLE;
use super::rows::SparseRows;
use super::seed::{Draw, stream};

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
/// Features of texts where they answer alone,
const TEXT_WIDTH: usize = 4_096;
/// or beside a network.
const TEXT_WIDTH_BESIDE: usize = 2_048;
/// Inputs whose random features are computed side by side: what they read is looked up once for all of them.
const LANES: usize = 16;
/// Random features are rounded to such parts of 1,
const STEPS: f32 = 16.0;
/// and those of images to such.
const IMAGE_STEPS: f32 = 32.0;

/// How many features there are for `n_columns` of input.
pub(super) fn width(strategy: Strategy, schema: &InputSchema, n_columns: usize) -> usize {
    let is_alone = strategy == Strategy::Analytic;
    match schema {
        InputSchema::Tabular(_) => {
            let most = if is_alone { MOST_WIDTH } else { MOST_WIDTH_BESIDE };
            (WIDTH_PER_COLUMN * n_columns).clamp(LEAST_WIDTH, most)
        }
        InputSchema::Text(_) => {
            n_columns.min(if is_alone { TEXT_WIDTH } else { TEXT_WIDTH_BESIDE })
        }
        InputSchema::Image(image) => Grid::of(image).n_features(),
    }
}

/// The fixed features, ready to compute.
#[derive(Debug)]
pub(super) struct FeatureMap {
    featurizer: Featurizer,
    /// How many there are, without the constant.
    width: usize,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    /// Columns that features read and what each counts, feature after feature; how many of these
    /// are those of each feature, and what it is shifted by.
    Random { reads: Vec<(usize, f32)>, features: Vec<(usize, f32)> },
    /// Buckets of texts, folded.
    Buckets,
    /// What a dictionary says of images.
    Patches(Grid, Layer),
}

/// What random features read, as in [`Kind::Random`].
struct Random<'a> {
    reads: &'a [(usize, f32)],
    features: &'a [(usize, f32)],
}

impl Random<'_> {
    /// The features of the inputs at `indices`, `N` side by side, to `rows`, one an input, of one number more than there
    /// are features. A sum goes over what a feature reads in the same order, however many there are.
    fn fill<const N: usize>(
        &self,
        featurizer: &Featurizer,
        inputs: &Inputs,
        indices: &[usize],
        rows: &mut [f32],
    ) {
        let width = self.features.len() + 1;
        let (mut columns, mut row) = (Vec::new(), Vec::new());
        for (indices, rows) in indices.chunks(N).zip(rows.chunks_mut(N * width)) {
            for (lane, &index) in indices.iter().enumerate() {
                featurizer.read(inputs, index, &mut row);
                columns.resize(row.len(), [0.0_f32; N]);
                columns.iter_mut().zip(&row).for_each(|(column, &number)| column[lane] = number);
            }
            let mut reads = self.reads;
            for (feature, &(n_read, shift)) in self.features.iter().enumerate() {
                let (own, rest) = reads.split_at(n_read);
                let mut sums = [0.0_f32; N];
                for &(at, weight) in own {
                    let read = sums.iter_mut().zip(&columns[at]);
                    read.for_each(|(sum, number)| *sum += weight * number);
                }
                for (row, sum) in rows.chunks_exact_mut(width).zip(sums) {
                    row[feature] = whole((sum + shift) * STEPS);
                }
                reads = rest;
            }
        }
    }
}

impl FeatureMap {
    /// Those of `analytic`.
    pub(super) fn of(analytic: &Analytic, schema: &InputSchema) -> Self {
        let width = analytic.sums.gram.nrows() - 1;
        let kind = match (schema, &analytic.dictionary) {
            (InputSchema::Image(image), Some(dictionary)) => {
                Kind::Patches(Grid::of(image), Layer::of(dictionary))
            }
            (InputSchema::Text(_), _) => Kind::Buckets,
            _ => {
                let sources = sources(analytic.moments.mean.len(), &analytic.dictionaries);
                random(&sources, width, analytic.seed)
            }
        };
        let featurizer = Featurizer::new(schema, &analytic.moments, &analytic.dictionaries);
        Self { featurizer, width, kind }
    }

    /// Whether they are buckets of texts.
    pub(super) fn is_of_texts(&self) -> bool {
        matches!(self.kind, Kind::Buckets)
    }

    /// How many there are, with the constant.
    pub(super) fn n_features(&self) -> usize {
        self.width + 1
    }

    /// What 1 is counted as: the value of the last feature, which is constant.
    pub(super) fn one(&self) -> f32 {
        match self.kind {
            Kind::Random { .. } => STEPS,
            Kind::Buckets => LARGEST_WHOLE,
            Kind::Patches(..) => IMAGE_STEPS,
        }
    }

    /// Features of the inputs at `indices`, `[indices, width + 1]`; the last is constant. Many are shared
    /// among threads.
    pub(super) fn features(
        &self,
        inputs: &Inputs,
        indices: impl ExactSizeIterator<Item = usize>,
    ) -> Array2<f32> {
        let indices: Vec<usize> = indices.collect();
        let width = self.n_features();
        let mut all = vec![0.0; indices.len() * width];
        let fill = |(indices, rows): (&[usize], &mut [f32])| {
            self.fill(inputs, indices, rows);
            rows.chunks_exact_mut(width).for_each(|row| row[self.width] = self.one());
        };
        if indices.len() <= AT_ONCE {
            fill((&indices[..], &mut all[..]));
        } else {
            let rows = all.par_chunks_mut(AT_ONCE * width);
            indices.par_chunks(AT_ONCE).zip(rows).for_each(fill);
        }
        Array2::from_shape_vec((indices.len(), width), all).expect("a row an input")
    }

    /// Makes `rows`, which are 0, the features of the inputs at `indices`, but for the constant.
    fn fill(&self, inputs: &Inputs, indices: &[usize], rows: &mut [f32]) {
        let width = self.n_features();
        match &self.kind {
            Kind::Random { reads, features } => {
                let random = Random { reads, features };
                let (many, few) = indices.split_at(indices.len() - indices.len() % LANES);
                let (rows, rest) = rows.split_at_mut(many.len() * width);
                random.fill::<LANES>(&self.featurizer, inputs, many, rows);
                random.fill::<1>(&self.featurizer, inputs, few, rest);
            }
            Kind::Buckets => {
                let mut buckets = Vec::new();
                for (&index, row) in indices.iter().zip(rows.chunks_exact_mut(width)) {
                    buckets.clear();
                    self.featurizer.append_buckets(inputs, index, &mut buckets);
                    for &(bucket, value) in &buckets {
                        row[self.folded(bucket)] += value * LARGEST_WHOLE;
                    }
                    row.iter_mut().for_each(|feature| *feature = whole(*feature));
                }
            }
            Kind::Patches(grid, dictionary) => {
                let mut image = Vec::new();
                for (&index, row) in indices.iter().zip(rows.chunks_exact_mut(width)) {
                    self.featurizer.read(inputs, index, &mut image);
                    let numbers = patches::features(grid, dictionary, &image);
                    let numbers = numbers.iter().map(|value| whole(value * IMAGE_STEPS));
                    row.iter_mut().zip(numbers).for_each(|(feature, number)| *feature = number);
                }
            }
        }
    }

    /// The feature that a bucket of a text counts for.
    fn folded(&self, bucket: u32) -> usize {
        bucket as usize % self.width
    }

    /// The texts at `indices` as they are read; none where inputs are no texts.
    pub(super) fn texts(
        &self,
        inputs: &Inputs,
        indices: impl ExactSizeIterator<Item = usize>,
    ) -> Option<SparseRows> {
        self.featurizer.texts(inputs, indices)
    }

    /// The features of such texts, without the constant and all that is 0.
    pub(super) fn features_of_texts(&self, texts: &SparseRows) -> SparseRows {
        let mut sums = vec![0.0_f32; self.width];
        let mut features = SparseRows::default();
        for buckets in texts.iter() {
            for &(bucket, value) in buckets {
                sums[self.folded(bucket)] += value * LARGEST_WHOLE;
            }
            // Of several buckets of one feature the first takes all, and leaves 0.
            let taken = buckets.iter().map(|&(bucket, _)| {
                let feature = self.folded(bucket);
                (feature as u32, whole(std::mem::take(&mut sums[feature])))
            });
            features.push(taken.filter(|&(_, value)| value != 0.0));
        }
        features
    }

    /// Multiply-adds of an input, but for what reading a text takes.
    pub(super) fn work(&self) -> usize {
        match &self.kind {
            Kind::Random { reads, .. } => reads.len(),
            Kind::Buckets => 0,
            Kind::Patches(grid, _) => grid.work(),
        }
    }

    /// Numbers that it keeps.
    pub(super) fn n_parameters(&self) -> usize {
        match &self.kind {
            Kind::Random { reads, features } => 2 * (reads.len() + features.len()),
            Kind::Buckets => 0,
            Kind::Patches(grid, _) => (grid.n_read() + 1) * grid.n_directions(),
        }
    }
}

/// The nearest whole number of those that are summed exactly.
fn whole(value: f32) -> f32 {
    f32::from((value + 0.5).clamp(0.0, LARGEST_WHOLE) as u8)
}

fn random(sources: &[Range<usize>], width: usize, seed: u64) -> Kind {
    let n_read = sources.len().min(SOURCES);
    let mut draws = stream(seed, Draw::Features);
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
    let features = (0..width).map(feature).collect();
    Kind::Random { reads, features }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::input::TabularSchema;
    use crate::learning::moments::Moments;

    #[test]
    fn an_input_has_the_same_features_among_many_as_alone() {
        const DIM: usize = 11;
        let schema = InputSchema::Tabular(TabularSchema { dim: Some(DIM), features: None });
        let analytic = Analytic { moments: Moments::none(DIM), ..Analytic::of_nothing(40, 2) };
        let map = FeatureMap::of(&analytic, &schema);
        let mut draws = stream(5, Draw::Layers);
        let mut inputs = Inputs::new(&schema);
        // More than threads share at once, and no whole number of lanes.
        let n = AT_ONCE + 2 * LANES + 3;
        for _ in 0..n {
            let row: Vec<f32> = (0..DIM).map(|_| draws.gen_range(-2.0..2.0)).collect();
            inputs.push(&row, &[]);
        }
        let together = map.features(&inputs, 0..n);
        for index in 0..n {
            let alone = map.features(&inputs, index..index + 1);
            assert_eq!(together.row(index), alone.row(0), "{index}");
        }
        let differ = together.rows().into_iter().skip(1).any(|row| row != together.row(0));
        assert!(differ && together.iter().any(|&number| number != 0.0 && number != map.one()));
    }
}
