//! Cleaning: drops what cannot be learnt from, and puts the rest into an order of its own.
//!
//! The order is by content hash, so that nothing later depends on the order of arrival. The wire
//! refuses most of this already; what was stored by an older version or under another policy is
//! caught here.

use crate::domain::sample::{ContentHash, Samples};
use crate::domain::settings::Missing;

use super::subset::Subset;

/// A weight that is zero, negative or not finite.
const NO_WEIGHT: &str = "weight is not over 0";
/// A number that is infinite, or missing where missing numbers are refused.
const NOT_FINITE: &str = "a number is missing or not finite";

/// Samples fit to learn from, and the others.
#[derive(Debug)]
pub(super) struct Cleaned<'a> {
    /// The good ones, sorted by content hash.
    pub(super) good: Subset<'a>,
    /// The others with the reason.
    pub(super) dropped: Vec<(ContentHash, &'static str)>,
}

/// Sorts `samples` by content hash and drops those that have no weight or a number that is not
/// finite. NaN is a missing number and stays where `missing` is impute. The same input with
/// contradictory labels stays in.
pub(super) fn clean(samples: &Samples, missing: Missing) -> Cleaned<'_> {
    let mut indices: Vec<usize> = (0..samples.len()).collect();
    indices.sort_by_key(|&index| samples.hashes[index]);
    let mut dropped = Vec::new();
    indices.retain(|&index| match fault(samples, index, missing) {
        Some(reason) => {
            dropped.push((samples.hashes[index], reason));
            false
        }
        None => true,
    });
    Cleaned { good: Subset { samples, indices }, dropped }
}

/// Why sample `index` cannot be learnt from, if so.
fn fault(samples: &Samples, index: usize, missing: Missing) -> Option<&'static str> {
    let weight = samples.weights[index];
    if !weight.is_finite() || weight <= 0.0 {
        return Some(NO_WEIGHT);
    }
    let good = |number: &f32| number.is_finite() || (missing == Missing::Impute && number.is_nan());
    (!samples.inputs.numbers(index).iter().all(good)).then_some(NOT_FINITE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::input::Inputs;
    use crate::domain::label::Label;

    fn samples(rows: &[(f32, f32)]) -> Samples {
        let mut samples = Samples { inputs: Inputs::with_shape(1, 0), ..Samples::default() };
        for &(number, weight) in rows {
            samples.inputs.push(&[number], &[]);
            samples.labels.push(Label::parse("a").unwrap());
            samples.weights.push(weight);
            samples.hashes.push(ContentHash::of_input(&[number], &[]));
        }
        samples
    }

    #[test]
    fn what_cannot_be_learnt_from_is_dropped_with_its_reason() {
        let rows = [(1.0, 1.0), (f32::NAN, 1.0), (f32::INFINITY, 1.0), (2.0, 0.0), (3.0, f32::NAN)];
        let samples = samples(&rows);
        let cleaned = clean(&samples, Missing::Reject);
        assert_eq!(cleaned.good.indices, [0]);
        let count = |reason| cleaned.dropped.iter().filter(|dropped| dropped.1 == reason).count();
        assert_eq!((count(NOT_FINITE), count(NO_WEIGHT)), (2, 2));
    }

    #[test]
    fn a_missing_number_stays_where_it_is_imputed_and_infinity_never() {
        let samples = samples(&[(f32::NAN, 1.0), (f32::INFINITY, 1.0)]);
        let cleaned = clean(&samples, Missing::Impute);
        assert_eq!((cleaned.good.indices, cleaned.dropped.len()), (vec![0], 1));
    }

    #[test]
    fn the_order_of_arrival_is_forgotten() {
        let rows = [(1.0, 1.0), (2.0, 1.0), (3.0, 1.0)];
        let (one, other) = (samples(&rows), samples(&[rows[2], rows[0], rows[1]]));
        let hashes = |samples| {
            let good = clean(samples, Missing::Reject).good;
            (0..good.len()).map(|place| good.hash(place)).collect::<Vec<_>>()
        };
        assert_eq!(hashes(&one), hashes(&other));
    }
}
