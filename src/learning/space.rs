//! The space that samples are compared in, and how sure the network is of each.
//!
//! Once there is a network it is its last hidden layer, where samples lie together that the network
//! treats alike; before version 1 it is the features themselves. More than 64 dimensions are
//! projected to 64 by a seeded matrix of random signs, which keeps distances to within about an
//! eighth (Achlioptas 2003) and bounds the cost of clustering.

use rand::Rng;

use super::Lesson;
use super::network::{Dense, Network, matrix, numbers};
use super::predict::softmax;
use super::rows::Rows;
use super::seed::{Draw, stream};
use super::state::LearnerState;
use super::subset::Subset;

/// The most dimensions that distances are measured in.
const MAX_DIMENSIONS: usize = 64;
/// Rows computed at once.
const CHUNK: usize = 512;

/// Points, `[n, dimensions]` row-major.
#[derive(Debug, Clone, PartialEq)]
pub struct Points {
    /// Numbers in a point, over 0.
    pub dimensions: usize,
    /// The points one after another.
    pub numbers: Vec<f32>,
}

impl Points {
    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.numbers.len() / self.dimensions
    }

    /// The points at `rows`.
    pub(super) fn at(&self, rows: &[usize]) -> Self {
        let numbers = rows.iter().flat_map(|&row| self.get(row)).copied().collect();
        Self { dimensions: self.dimensions, numbers }
    }

    /// The first `most` points.
    pub(super) fn first(&self, most: usize) -> Self {
        let n = self.len().min(most) * self.dimensions;
        Self { dimensions: self.dimensions, numbers: self.numbers[..n].to_vec() }
    }

    /// The point at `index`.
    pub(super) fn get(&self, index: usize) -> &[f32] {
        &self.numbers[index * self.dimensions..(index + 1) * self.dimensions]
    }
}

/// What is known of samples before they are chosen from, in their order.
#[derive(Debug)]
pub(super) struct Described {
    /// Where each lies.
    pub(super) points: Points,
    /// The largest probability less the second largest: small where the network is in doubt, and
    /// 1 for all before version 1.
    pub(super) margins: Vec<f32>,
}

/// Describes `subset` by `state`, which is the parent's function, or has learnt nothing yet.
pub(super) fn describe(
    lesson: &Lesson<'_>,
    state: &LearnerState,
    subset: &Subset<'_>,
) -> Described {
    let featurizer = state.featurizer();
    let network = Network::new(&state.shape, &state.layers, lesson.device);
    let n_raw = match state.has_learnt() {
        true => state.shape.n_hidden(),
        false => featurizer.width(),
    };
    let projection = (n_raw > MAX_DIMENSIONS).then(|| signs(n_raw, lesson.seed));
    let on_device = projection
        .as_ref()
        .map(|signs| matrix(signs.weight.clone(), MAX_DIMENSIONS, network.device()));
    let mut described = Described {
        points: Points { dimensions: n_raw.min(MAX_DIMENSIONS), numbers: Vec::new() },
        margins: Vec::with_capacity(subset.len()),
    };
    for chunk in subset.indices.chunks(CHUNK) {
        let rows = featurizer.rows(&subset.samples.inputs, chunk.iter().copied());
        let raw: Vec<f32> = if state.has_learnt() {
            let outputs = network.forward(rows);
            let n_labels = state.labels.len();
            let mut logits = numbers(outputs.logits);
            described.margins.extend(logits.chunks_exact_mut(n_labels).map(margin));
            numbers(outputs.hidden)
        } else {
            described.margins.resize(described.margins.len() + chunk.len(), 1.0);
            match (rows, &projection) {
                (Rows::Sparse(rows), Some(projection)) => {
                    described.points.numbers.extend(rows.through(projection));
                    continue;
                }
                (Rows::Full(rows), _) => rows,
                (Rows::Sparse(_), None) => unreachable!("texts have more buckets than that"),
            }
        };
        described.points.numbers.extend(match &on_device {
            Some(signs) => numbers(matrix(raw, n_raw, network.device()).matmul(signs.clone())),
            None => raw,
        });
    }
    described
}

/// A projection to [`MAX_DIMENSIONS`] that keeps lengths in the mean.
fn signs(n_in: usize, seed: u64) -> Dense {
    let mut draws = stream(seed, Draw::Projection);
    let (n_out, size) = (MAX_DIMENSIONS, 1.0 / (MAX_DIMENSIONS as f32).sqrt());
    let mut sign = || if draws.r#gen::<bool>() { size } else { -size };
    let weight = (0..n_in * n_out).map(|_| sign()).collect();
    Dense { n_in, n_out, weight, bias: vec![0.0; n_out] }
}

/// The largest probability less the second largest.
fn margin(logits: &mut [f32]) -> f32 {
    softmax(logits);
    let (mut first, mut second) = (0.0_f32, 0.0_f32);
    for &probability in logits.iter() {
        if probability > first {
            (first, second) = (probability, first);
        } else {
            second = second.max(probability);
        }
    }
    first - second
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_margin_is_between_the_two_likeliest_labels() {
        let mut sure = [10.0, -10.0, -10.0];
        assert!(margin(&mut sure) > 0.99);
        let mut torn = [1.0, 1.0, -10.0];
        assert!(margin(&mut torn) < 1e-6);
        assert_eq!(margin(&mut [3.0]), 1.0);
    }

    #[test]
    fn the_projection_keeps_lengths() {
        let n = 1_000;
        let signs = signs(n, 7).weight;
        let vector: Vec<f32> = (0..n).map(|i| ((i * 37 % 101) as f32) - 50.0).collect();
        let length = |vector: &[f32]| vector.iter().map(|x| x * x).sum::<f32>().sqrt();
        let projected: Vec<f32> = (0..MAX_DIMENSIONS)
            .map(|d| {
                vector.iter().enumerate().map(|(i, x)| x * signs[i * MAX_DIMENSIONS + d]).sum()
            })
            .collect();
        let ratio = length(&projected) / length(&vector);
        assert!((0.75..1.25).contains(&ratio), "{ratio}");
    }
}
