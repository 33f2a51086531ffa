//! Linear discriminant analysis from the sums of a closed form: for texts, three to four points
//! better than ridge regression on one-hot labels.
//!
//! Labels have one covariance S in common, shrunk towards a sphere: `S' = (1 − s)·S + s·(tr S/d)·I`
//! (Ledoit & Wolf 2004; Friedman 1989), `W = S'⁻¹·M` of the labels' means M, and each label's bias
//! is `−½·mᵀ·S'⁻¹·m`: labels count as equally likely.

use ndarray::{Array2, Axis, s};

use super::product::add_product;
use super::ridge::{Sums, solved};

/// How far the covariance is shrunk.
const SHRINKAGE: f64 = 0.2;
/// The least variance in the mean, of the mean square of a feature: where each label has one text, all of
/// them vary by nothing.
const LEAST_VARIANCE: f64 = 1e-3;
/// What a label that no sample has says less than one that has some: it is not answered.
const NEVER: f64 = -50.0;

/// Weights `[features, labels]` from `sums`, whose last feature is constant at `constant`; none where
/// nothing was learnt, or numbers are not finite.
pub(super) fn solve(sums: &Sums, constant: f64) -> Option<Array2<f64>> {
    let n = sums.gram.nrows() - 1;
    let counts = sums.targets.row(n).mapv(|sum| sum / constant);
    let total = counts.sum();
    if n == 0 || total <= 0.0 {
        return None;
    }
    let mut means = sums.targets.slice(s![..n, ..]).to_owned();
    let mut weighted = means.clone();
    for (label, &count) in counts.iter().enumerate() {
        let divisor = if count > 0.0 { count } else { f64::INFINITY };
        means.column_mut(label).mapv_inplace(|sum| sum / divisor);
        weighted.column_mut(label).mapv_inplace(|sum| sum / total);
    }
    let mut covariance = sums.gram.slice(s![..n, ..n]).mapv(|sum| sum / total);
    add_product(&mut covariance.view_mut(), -1.0, weighted.view(), means.t());
    let least = LEAST_VARIANCE * sums.gram.diag().slice(s![..n]).mean().unwrap_or_default() / total;
    let mean = covariance.diag().mean().unwrap_or_default().max(least).max(f64::MIN_POSITIVE);
    covariance *= 1.0 - SHRINKAGE;
    covariance.diag_mut().iter_mut().for_each(|variance| *variance += SHRINKAGE * mean);
    let directions = solved(covariance, means.clone())?;
    let mut weights = Array2::zeros((n + 1, counts.len()));
    weights.slice_mut(s![..n, ..]).assign(&directions);
    let halves = (&means * &directions).sum_axis(Axis(0)) / -2.0;
    weights.row_mut(n).assign(&(halves / constant));
    let known = counts.iter().position(|&count| count > 0.0)?;
    for label in (0..counts.len()).filter(|&label| counts[label] <= 0.0) {
        let says = weights.column(known).to_owned();
        weights.column_mut(label).assign(&says);
        weights[(n, label)] += NEVER / constant;
    }
    Some(weights)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two labels around (1, 0) and (0, 1), and one that never comes.
    fn sums() -> Sums {
        let mut sums = Sums::none(3, 3);
        for (x, y, label) in [(3.0, 0.0, 0), (1.0, 0.0, 0), (0.0, 1.0, 1), (0.0, 3.0, 1)] {
            let row = Array2::from_shape_vec((1, 3), vec![x, y, 1.0]).unwrap();
            sums.add(row.view(), &[label], &[1.0]);
        }
        sums
    }

    #[test]
    fn the_nearer_mean_is_answered_and_a_label_without_samples_is_not() {
        let weights = solve(&sums(), 1.0).unwrap();
        let scores = |x: f64, y: f64| ndarray::array![x, y, 1.0].dot(&weights).to_vec();
        let (near, far) = (scores(2.0, 0.1), scores(0.1, 2.0));
        assert!(near[0] > near[1] && far[1] > far[0], "{near:?} {far:?}");
        assert!((scores(1.0, 1.0)[0] - scores(1.0, 1.0)[1]).abs() < 1e-9);
        assert!(near[2] < near[1] - 10.0);
        assert!(solve(&Sums::none(3, 2), 1.0).is_none());
    }

    #[test]
    fn a_sample_of_each_label_is_enough() {
        let mut sums = Sums::none(4, 3);
        for (label, row) in [[100.0, 0.0, 30.0, 1.0], [0.0, 90.0, 0.0, 1.0]].into_iter().enumerate()
        {
            let row = Array2::from_shape_vec((1, 4), row.to_vec()).unwrap();
            sums.add(row.view(), &[label], &[1.0]);
            let weights = solve(&sums, 1.0).unwrap();
            assert!(weights.iter().all(|weight| (*weight as f32).is_finite()), "{weights}");
            let scores = row.mapv(f64::from).dot(&weights);
            // Whatever else is not answered, a label without samples is not, either.
            let others = (0..3).filter(|&other| other != label);
            others.for_each(|other| assert!(scores[(0, label)] > scores[(0, other)], "{scores}"));
        }
    }
}
