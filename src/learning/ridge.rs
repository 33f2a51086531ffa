//! Ridge regression in closed form: sums of products in, weights out.
//!
//! `W = (G + λI)⁻¹·C` with `G = Σ w·φφᵀ` and `C = Σ w·φyᵀ` over the samples, y one-hot (Hoerl &
//! Kennard 1970). The sums do not depend on the order of the samples, and a sample is taken out
//! again by subtracting it; where features are small whole numbers, to the last bit. Solved by a
//! Cholesky decomposition in blocks, so that nearly all of the work is matrix products.

use linfa_linalg::cholesky::CholeskyInplace;
use linfa_linalg::triangular::{SolveTriangularInplace, UPLO};
use ndarray::{Array2, ArrayView2, Axis, LinalgScalar, s};

use super::product::{add_product, product};

/// Rows and columns of a block.
const BLOCK: usize = 96;

/// Rows of the Gram matrix computed at once, up to the diagonal.
const STRIPE: usize = 256;

/// Features whose sums by label are added to at once, which the cache holds.
const FEW: usize = 16;

/// Features that are whole numbers up to this are summed in 32 bits, which takes half the time and
/// is exact for up to 1,024 samples at once.
pub(super) const LARGEST_WHOLE: f32 = 127.0;

/// The sums over all samples so far. The last feature is the constant 1.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Sums {
    /// `G`, `[features, features]`; symmetric, and only what is on and below the diagonal counts.
    pub(super) gram: Array2<f64>,
    /// `C`, `[features, labels]`.
    pub(super) targets: Array2<f64>,
}

impl Sums {
    /// Of no sample.
    pub(super) fn none(n_features: usize, n_labels: usize) -> Self {
        let (gram, targets) =
            (Array2::zeros((n_features, n_features)), Array2::zeros((n_features, n_labels)));
        Self { gram, targets }
    }

    /// Makes room for labels up to `n_labels`: no sample had them so far.
    pub(super) fn grow(&mut self, n_labels: usize) {
        let (n_features, n_before) = self.targets.dim();
        let new = Array2::zeros((n_features, n_labels.saturating_sub(n_before)));
        self.targets.append(Axis(1), new.view()).expect("as many rows as before");
    }

    /// Takes in samples: `features`, `[samples, features]`, the label's place and the weight of
    /// each. A negative weight takes a sample out again.
    pub(super) fn add(&mut self, features: ArrayView2<'_, f32>, labels: &[usize], weights: &[f32]) {
        // What is added and taken out again must leave no trace that the solution could blow up.
        if sums_are_exact(features, weights) {
            self.add_products(features, labels, weights);
        } else {
            let weights: Vec<f64> = weights.iter().map(|&weight| weight.into()).collect();
            self.add_products(features.mapv(f64::from).view(), labels, &weights);
        }
    }

    fn add_products<F: LinalgScalar + Into<f64>>(
        &mut self,
        features: ArrayView2<'_, F>,
        labels: &[usize],
        weights: &[F],
    ) {
        let mut weighted = features.to_owned();
        for (mut row, &weight) in weighted.rows_mut().into_iter().zip(weights) {
            row.mapv_inplace(|feature| feature * weight);
        }
        let n_features = features.ncols();
        for start in (0..n_features).step_by(STRIPE) {
            let end = n_features.min(start + STRIPE);
            let rows = weighted.slice(s![.., start..end]);
            let products = product(rows.t(), features.slice(s![.., ..end]));
            let mut sums = self.gram.slice_mut(s![start..end, ..end]);
            sums.zip_mut_with(&products, |sum, &product| *sum += product.into());
        }
        let (rows, sums) = (weighted.axis_chunks_iter(Axis(1), FEW), Axis(0));
        for (rows, mut sums) in rows.zip(self.targets.axis_chunks_iter_mut(sums, FEW)) {
            for (row, &label) in rows.rows().into_iter().zip(labels) {
                let mut column = sums.column_mut(label);
                column.zip_mut_with(&row, |sum, &feature| *sum += feature.into());
            }
        }
    }

    /// Weights `[features, labels]` at this `ridge`, over 0; none where numbers are not finite.
    pub(super) fn solve(&self, ridge: f64) -> Option<Array2<f64>> {
        let mut gram = self.gram.clone();
        gram.diag_mut().iter_mut().for_each(|value| *value += ridge);
        solved(gram, self.targets.clone())
    }
}

/// X of `matrix·X = values`, for a symmetric positive definite matrix of which only what is on and
/// below the diagonal is read; none where numbers are not finite.
pub(super) fn solved(mut matrix: Array2<f64>, mut values: Array2<f64>) -> Option<Array2<f64>> {
    let inverses = decompose(&mut matrix)?;
    substitute(&matrix, &inverses, &mut values);
    values.iter().all(|value| value.is_finite()).then_some(values)
}

/// Whether sums of weighted products lose nothing in 32 bits: whole numbers so small that all of them
/// together stay below 2²⁴, each counted once or taken out.
fn sums_are_exact(features: ArrayView2<'_, f32>, weights: &[f32]) -> bool {
    let largest = LARGEST_WHOLE * LARGEST_WHOLE * features.nrows() as f32;
    let is_whole = |number: &f32| number.abs() <= LARGEST_WHOLE && *number as i32 as f32 == *number;
    largest < 16_777_216.0
        && weights.iter().all(|weight| weight.abs() == 1.0)
        && features.iter().all(is_whole)
}

/// Turns a symmetric positive definite matrix into its lower Cholesky factor, block column by block
/// column; what is above the diagonal is left as it was. Of the factor's blocks on the diagonal the
/// inverses are answered, by which the rest is nothing but products.
fn decompose(matrix: &mut Array2<f64>) -> Option<Vec<Array2<f64>>> {
    let n = matrix.nrows();
    let factor = |start: usize| {
        let end = n.min(start + BLOCK);
        let (done, mut column) = matrix.view_mut().split_at(Axis(1), start);
        let (done, mut column) =
            (done.slice(s![start.., ..]), column.slice_mut(s![start.., ..end - start]));
        add_product(&mut column, -1.0, done, done.slice(s![..end - start, ..]).t());
        let (mut diagonal, mut below) = column.split_at(Axis(0), end - start);
        diagonal.cholesky_inplace_dirty().ok()?;
        let mut inverse = Array2::eye(end - start);
        diagonal.solve_triangular_inplace(&mut inverse, UPLO::Lower).ok()?;
        // X·Lᵀ = B.
        below.assign(&product(below.view(), inverse.t()));
        Some(inverse)
    };
    (0..n).step_by(BLOCK).map(factor).collect()
}

/// Solves `L·Lᵀ·X = B` in place, for the factor and the `inverses` that [`decompose`] leaves.
fn substitute(factor: &Array2<f64>, inverses: &[Array2<f64>], values: &mut Array2<f64>) {
    let starts = (0..factor.nrows()).step_by(BLOCK).zip(inverses);
    for (start, inverse) in starts.clone() {
        let end = start + inverse.nrows();
        let (done, mut rest) = values.view_mut().split_at(Axis(0), start);
        let mut block = rest.slice_mut(s![..end - start, ..]);
        add_product(&mut block, -1.0, factor.slice(s![start..end, ..start]), done.view());
        block.assign(&product(inverse.view(), block.view()));
    }
    for (start, inverse) in starts.rev() {
        let end = start + inverse.nrows();
        let (mut rest, done) = values.view_mut().split_at(Axis(0), end);
        let mut block = rest.slice_mut(s![start.., ..]);
        add_product(&mut block, -1.0, factor.slice(s![end.., start..end]).t(), done.view());
        block.assign(&product(inverse.t(), block.view()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::learning::seed::{Draw, stream};
    use rand::Rng;

    fn random(n: usize, width: usize, seed: u64) -> Array2<f32> {
        let mut draws = stream(seed, Draw::Features);
        Array2::from_shape_simple_fn((n, width), || draws.gen_range(-1.0..1.0))
    }

    #[test]
    fn the_weights_solve_the_equations() {
        for width in [1, 5, BLOCK, 2 * BLOCK + 17] {
            let mut sums = Sums::none(width, 3);
            let labels: Vec<usize> = (0..300).map(|i| i % 3).collect();
            sums.add(random(300, width, 1).view(), &labels, &[0.7; 300]);
            let weights = sums.solve(0.5).unwrap();
            let mut gram = sums.gram.clone();
            for i in 0..width {
                (0..i).for_each(|j| gram[(j, i)] = gram[(i, j)]);
            }
            let mut left = gram.dot(&weights);
            left.scaled_add(0.5, &weights);
            let worst = (left - &sums.targets).iter().fold(0.0_f64, |m, x| m.max(x.abs()));
            assert!(worst < 1e-8, "{width}: {worst}");
        }
    }

    #[test]
    fn the_order_does_not_matter_and_what_is_taken_out_is_gone() {
        let (rows, labels) = (random(90, 20, 2), (0..90).map(|i| i % 4).collect::<Vec<_>>());
        let part = |sums: &mut Sums, from: usize, to: usize, weight: f32| {
            sums.add(rows.slice(s![from..to, ..]), &labels[from..to], &vec![weight; to - from]);
        };
        let (mut one, mut other) = (Sums::none(20, 4), Sums::none(20, 4));
        part(&mut one, 0, 60, 1.0);
        for (from, to, weight) in [(60, 90, 1.0), (0, 30, 1.0), (30, 60, 1.0), (60, 90, -1.0)] {
            part(&mut other, from, to, weight);
        }
        let difference = one.solve(1.0).unwrap() - other.solve(1.0).unwrap();
        assert!(difference.iter().all(|x| x.abs() < 1e-10));
        assert!(one.gram.iter().any(|&x| x != 0.0));
    }

    #[test]
    fn sums_of_whole_numbers_are_the_same_to_the_last_bit() {
        let rows = random(1_024, 40, 4).mapv(|number| ((number + 1.0) * 63.5).round());
        let fractions = &rows / 128.0;
        let labels = vec![0; rows.nrows()];
        let sums = |rows: &Array2<f32>, at_once: usize, extra: usize| {
            let mut sums = Sums::none(40, 1);
            let indices: Vec<usize> = (0..rows.nrows()).rev().chain(0..extra).collect();
            for (place, part) in indices.chunks(at_once).enumerate() {
                let weight = if place * at_once < rows.nrows() { 1.0 } else { -1.0 };
                let rows = rows.select(Axis(0), part);
                sums.add(rows.view(), &labels[..part.len()], &vec![weight; part.len()]);
            }
            sums
        };
        let mut fewer = Sums::none(40, 1);
        fewer.add(rows.slice(s![512.., ..]), &labels[512..], &vec![1.0; 512]);
        assert_eq!(sums(&rows, 1_024, 0), sums(&rows, 64, 0));
        assert_eq!(sums(&rows, 128, 512), fewer);
        let difference = sums(&fractions, 1_024, 0).gram - sums(&fractions, 64, 0).gram;
        assert!(difference.iter().all(|x| x.abs() < 1e-9), "others are summed in 64 bits");
    }

    #[test]
    fn numbers_that_are_not_finite_have_no_solution() {
        let mut sums = Sums::none(4, 2);
        sums.add(random(10, 4, 3).view(), &[0; 10], &[1.0; 10]);
        sums.gram[(2, 1)] = f64::NAN;
        assert!(sums.solve(1.0).is_none());
    }
}
