//! Running statistics of numbers: count, mean and squared deviations, merged without loss.
//!
//! Statistics cover every sample ever learnt from, once each, never one batch alone; but a number that lies
//! beyond all measure says nothing of the others, and is left out.

use crate::domain::input::Inputs;

/// Numbers that come so many spreads (from the 5th to the 95th percentile) from the median of those that
/// come with them say nothing of the others: a single 1e30 would make all of them alike.
const FAR: f64 = 30.0;
/// Fewer numbers than this have no spread of their own; that of so many before them is theirs.
const LEAST_SPREAD_OF: usize = 20;
const KNOWN_SPREAD_OF: f64 = 50.0;
/// A number that brings a larger share than this of the squared deviations is looked at.
const LARGE_SHARE: f64 = 0.05;
/// Where the newest count most, what was seen before still counts as so many samples at least: fewer have
/// no deviation to go by.
pub(super) const LEAST_REMEMBERED: f64 = 200.0;

/// Count, mean and sum of squared deviations of each numeric feature; missing numbers are skipped, and so
/// are those that lie so far from all others that they would say nothing but how far.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Moments {
    /// Numbers seen.
    pub(super) count: Vec<f64>,
    /// Their mean.
    pub(super) mean: Vec<f64>,
    /// Sum of their squared distances to the mean.
    pub(super) m2: Vec<f64>,
}

impl Moments {
    /// Of no number yet, for `n_features` features.
    pub(super) fn none(n_features: usize) -> Self {
        let zeros = vec![0.0; n_features];
        Self { count: zeros.clone(), mean: zeros.clone(), m2: zeros }
    }

    /// Of the inputs at `indices`, whose numbers are those of `n_features` features again and again
    /// (channels of one pixel after another), in two passes: exact for a feature that never varies.
    pub(super) fn of(inputs: &Inputs, indices: &[usize], n_features: usize) -> Self {
        let mut bounds = vec![(f64::NEG_INFINITY, f64::INFINITY); n_features];
        let (all, largest) = Self::within(inputs, indices, &bounds);
        let is_suspect = |&j: &usize| {
            all.count[j] >= LEAST_SPREAD_OF as f64 && largest[j] > LARGE_SHARE * all.m2[j]
        };
        let suspect: Vec<usize> = (0..n_features).filter(is_suspect).collect();
        if suspect.is_empty() {
            return all;
        }
        for feature in suspect {
            let numbers = numbers_of(inputs, indices, (feature, n_features)).collect();
            bounds[feature] = usual(numbers).unwrap_or(bounds[feature]);
        }
        Self::within(inputs, indices, &bounds).0
    }

    /// The same of those numbers that are within the bounds of their feature, and the largest squared
    /// deviation of each feature.
    fn within(inputs: &Inputs, indices: &[usize], bounds: &[(f64, f64)]) -> (Self, Vec<f64>) {
        let n_features = bounds.len();
        let numbers = || {
            let of_input = |&index: &usize| inputs.numbers(index).chunks_exact(n_features.max(1));
            let all = indices.iter().flat_map(of_input).flat_map(|row| row.iter().enumerate());
            all.filter_map(|(j, &number)| {
                let (least, most) = bounds[j];
                let is_within = number.is_finite() && (least..=most).contains(&f64::from(number));
                is_within.then_some((j, f64::from(number)))
            })
        };
        let mut moments = Self::none(n_features);
        let mut first = vec![None; n_features];
        numbers().for_each(|(j, number)| {
            moments.count[j] += 1.0;
            moments.mean[j] += number - *first[j].get_or_insert(number);
        });
        for ((mean, count), first) in moments.mean.iter_mut().zip(&moments.count).zip(first) {
            *mean = first.unwrap_or_default() + *mean / count.max(1.0);
        }
        let mut largest = vec![0.0_f64; n_features];
        numbers().for_each(|(j, number)| {
            let square = (number - moments.mean[j]).powi(2);
            moments.m2[j] += square;
            largest[j] = largest[j].max(square);
        });
        (moments, largest)
    }

    /// Of the inputs at `indices`, which follow those that these are the moments of: where they are too few
    /// to show how their own numbers are spread, a number counts as no further than is usual.
    pub(super) fn of_next(&self, inputs: &Inputs, indices: &[usize]) -> Self {
        let n_features = self.count.len();
        let mut next = Self::of(inputs, indices, n_features);
        for j in 0..n_features {
            if next.count[j] >= LEAST_SPREAD_OF as f64 || self.count[j] < KNOWN_SPREAD_OF {
                continue;
            }
            let (n, spread) = (next.count[j], FAR * (self.m2[j] / self.count[j]).sqrt());
            if spread > 0.0 {
                let (least, most) = (self.mean[j] - spread, self.mean[j] + spread);
                next.mean[j] = next.mean[j].clamp(least, most);
                next.m2[j] = next.m2[j].min(n * spread * spread);
            }
        }
        next
    }

    /// Takes in `other`, of further samples (Chan, Golub and LeVeque 1979).
    pub(super) fn merge(&mut self, other: &Self) {
        for j in 0..self.count.len() {
            let (n_a, n_b) = (self.count[j], other.count[j]);
            if n_b == 0.0 {
                continue;
            }
            let n = n_a + n_b;
            let delta = other.mean[j] - self.mean[j];
            self.mean[j] = if n_a == 0.0 { other.mean[j] } else { self.mean[j] + delta * n_b / n };
            self.m2[j] += other.m2[j] + delta * delta * (n_a * n_b / n);
            self.count[j] = n;
        }
    }

    /// Lets what was seen count no more than what comes next: an exponential average whose half-life
    /// is one update. What does not vary in that says nothing of how it varied, which stays.
    pub(super) fn fade(&mut self, next: &Self) {
        for j in 0..self.count.len() {
            let most = next.count[j].max(LEAST_REMEMBERED);
            if self.count[j] > most && next.m2[j] > 0.0 {
                self.m2[j] *= most / self.count[j];
                self.count[j] = most;
            }
        }
    }
}

/// The numbers of one feature of `n_features`, in the inputs at `indices`.
fn numbers_of<'a>(
    inputs: &'a Inputs,
    indices: &'a [usize],
    (feature, n_features): (usize, usize),
) -> impl Iterator<Item = f32> + 'a {
    let of_input = move |&index| inputs.numbers(index).iter().skip(feature).step_by(n_features);
    indices.iter().flat_map(of_input).copied().filter(|number| number.is_finite())
}

/// Between what numbers lie that are like most of `numbers`; none where most are the same.
fn usual(mut numbers: Vec<f32>) -> Option<(f64, f64)> {
    numbers.sort_unstable_by(f32::total_cmp);
    let at = |share: f64| f64::from(numbers[((numbers.len() - 1) as f64 * share) as usize]);
    let (middle, spread) = (at(0.5), at(0.95) - at(0.05));
    (spread > 0.0).then_some((middle - FAR * spread, middle + FAR * spread))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::domain::input::{InputSchema, TabularSchema};

    pub(crate) fn plain(dim: usize) -> InputSchema {
        InputSchema::Tabular(TabularSchema { dim: Some(dim), features: None })
    }

    pub(crate) fn of(rows: &[&[f32]]) -> Moments {
        let mut inputs = Inputs::with_shape(rows[0].len(), 0);
        rows.iter().for_each(|row| inputs.push(row, &[]));
        Moments::of(&inputs, &(0..rows.len()).collect::<Vec<_>>(), rows[0].len())
    }

    #[test]
    fn merged_moments_are_those_of_the_whole() {
        let rows: Vec<[f32; 2]> = (0..100)
            .map(|i| [1e6 + i as f32, if i % 7 == 0 { f32::NAN } else { (i * i) as f32 }])
            .collect();
        let rows: Vec<&[f32]> = rows.iter().map(|row| row.as_slice()).collect();
        let whole = of(&rows);
        let mut merged = of(&rows[..13]);
        merged.merge(&of(&rows[13..]));
        assert_eq!(merged.count, whole.count);
        for j in 0..2 {
            assert!((merged.mean[j] / whole.mean[j] - 1.0).abs() < 1e-12);
            assert!((merged.m2[j] / whole.m2[j] - 1.0).abs() < 1e-10);
        }
    }

    #[test]
    fn one_number_far_from_all_others_leaves_them_as_they_are() {
        let number = |i: usize| i as f32 % 7.0;
        let rows: Vec<[f32; 2]> =
            (0..100).map(|i| [if i == 40 { 1e30 } else { number(i) }, number(i)]).collect();
        let rows: Vec<&[f32]> = rows.iter().map(|row| row.as_slice()).collect();
        let moments = of(&rows);
        assert_eq!(moments.count, [99.0, 100.0]);
        assert!((moments.mean[0] - moments.mean[1]).abs() < 0.1);
        // A column that is rarely anything but 0 has no spread that such numbers could be far from,
        // and one that is all like that is as it is.
        let rare: Vec<[f32; 2]> =
            (0..100).map(|i| [if i == 40 { 9.0 } else { 0.0 }, number(i) * 1e30]).collect();
        let rare: Vec<&[f32]> = rare.iter().map(|row| row.as_slice()).collect();
        let rare = of(&rare);
        assert_eq!(rare.count[0], 100.0);
        assert!((rare.mean[0] - 0.09).abs() < 1e-12);
        assert_eq!(rare.count[1], 100.0);
        // Too few to tell: the number counts, but no more than the known spread allows.
        let mut known = moments;
        let before = known.scale(&plain(2));
        let mut inputs = Inputs::with_shape(2, 0);
        inputs.push(&[1e30, 3.0], &[]);
        known.merge(&known.clone().of_next(&inputs, &[0]));
        let after = known.scale(&plain(2));
        assert!(after.deviation[0] < 4.0 * before.deviation[0], "{after:?}");
        assert!(after.deviation[0] > before.deviation[0]);
    }

    #[test]
    fn what_does_not_vary_of_late_still_did() {
        let mut moments =
            of(&(0..400).map(|i| if i % 2 == 0 { &[0.0][..] } else { &[1.0] }).collect::<Vec<_>>());
        let deviation = moments.scale(&plain(1)).deviation[0];
        for _ in 0..100 {
            let next = of(&[&[0.0]]);
            moments.fade(&next);
            moments.merge(&next);
        }
        assert!(moments.scale(&plain(1)).deviation[0] > 0.7 * deviation);
    }
}
