//! Cleaning: drops what cannot be learnt from, and puts the rest into an order of its own.
//!
//! The order is by content hash, so that nothing later depends on the order of the samples. The
//! wire refuses most of this already; what was stored by an older version or under another policy
//! is caught here. Contradictions, the same input with several labels, are only seen here: they lie
//! together in the order of hashes.

use crate::domain::sample::{ContentHash, Samples};
use crate::domain::settings::{Contradictory, LearningSettings, Missing};
use crate::domain::update::Decision;

use super::subset::Subset;

/// Why a sample is not learnt from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// A weight that is zero, negative or not finite.
    NoWeight,
    /// A number that is infinite, or missing where missing numbers are refused.
    NotFinite,
    /// The same input and label a second time.
    Repeated,
    /// The same input with another label, which counts instead.
    Contradictory,
}

impl Fault {
    /// The reason in words, as the report counts it.
    pub(super) fn reason(self) -> &'static str {
        match self {
            Self::NoWeight => "weight is not over 0",
            Self::NotFinite => "a number is missing or not finite",
            Self::Repeated => "exact duplicate",
            Self::Contradictory => "contradictory label",
        }
    }

    /// What became of the sample.
    pub(super) fn decision(self) -> Decision {
        match self {
            Self::NoWeight | Self::NotFinite => Decision::Malformed,
            Self::Repeated => Decision::Duplicate,
            Self::Contradictory => Decision::Contradictory,
        }
    }
}

/// Samples fit to learn from, and the others.
#[derive(Debug)]
pub(super) struct Cleaned<'a> {
    /// The good ones, sorted by content hash.
    pub(super) good: Subset<'a>,
    /// The others with what is wrong.
    pub(super) dropped: Vec<(ContentHash, Fault)>,
}

/// Sorts new `samples` by content hash and drops what cannot be learnt from. NaN is a missing
/// number and stays where the settings impute. Of each input one label stays, or none.
pub(super) fn clean<'a>(samples: &'a Samples, settings: &LearningSettings) -> Cleaned<'a> {
    let (indices, mut dropped) = well_formed(samples, settings.missing);
    let good = resolve(samples, indices, settings.contradictory, &mut dropped);
    Cleaned { good: Subset::of(samples, good), dropped }
}

/// Old samples to replay beside the `new` ones, sorted by content hash: well-formed, of each input
/// the label that came last, and none whose input is among the new ones with another label.
pub(super) fn clean_replay<'a>(
    samples: &'a Samples,
    missing: Missing,
    new: &Subset<'_>,
) -> Subset<'a> {
    let (indices, mut dropped) = well_formed(samples, missing);
    let mut good = resolve(samples, indices, Contradictory::Newest, &mut dropped);
    let mut places = (0..new.len()).peekable();
    good.retain(|&index| {
        let old = samples.hashes[index];
        let (least, greatest) = old.range_of_input();
        while places.next_if(|&place| new.hash(place) < least).is_some() {}
        // Of one input the new samples hold one label.
        let same = places.peek().map(|&place| new.hash(place)).filter(|&hash| hash <= greatest);
        same.is_none_or(|hash| hash == old)
    });
    Subset::of(samples, good)
}

/// Places of the samples that are well-formed, sorted by content hash, and the others.
fn well_formed(samples: &Samples, missing: Missing) -> (Vec<usize>, Vec<(ContentHash, Fault)>) {
    let mut indices: Vec<usize> = (0..samples.len()).collect();
    indices.sort_by_key(|&index| (samples.hashes[index], samples.arrived[index]));
    let mut dropped = Vec::new();
    indices.retain(|&index| match fault(samples, index, missing) {
        Some(fault) => {
            dropped.push((samples.hashes[index], fault));
            false
        }
        None => true,
    });
    (indices, dropped)
}

/// What is wrong with sample `index` by itself, if anything.
fn fault(samples: &Samples, index: usize, missing: Missing) -> Option<Fault> {
    let weight = samples.weights[index];
    if !weight.is_finite() || weight <= 0.0 {
        return Some(Fault::NoWeight);
    }
    let good = |number: &f32| number.is_finite() || (missing == Missing::Impute && number.is_nan());
    (!samples.inputs.numbers(index).iter().all(good)).then_some(Fault::NotFinite)
}

/// Keeps of each input the samples of one label, and of those the first; or none. `indices` are
/// sorted by content hash.
fn resolve(
    samples: &Samples,
    indices: Vec<usize>,
    policy: Contradictory,
    dropped: &mut Vec<(ContentHash, Fault)>,
) -> Vec<usize> {
    let hash = |index: usize| samples.hashes[index];
    let mut kept = Vec::with_capacity(indices.len());
    for of_input in indices.chunk_by(|&a, &b| hash(a).is_of_same_input(hash(b))) {
        let winner = label_that_counts(samples, of_input, policy);
        for (place, &index) in of_input.iter().enumerate() {
            let is_repeated = place > 0 && hash(of_input[place - 1]) == hash(index);
            match winner {
                Some(winner) if hash(index) == winner && !is_repeated => kept.push(index),
                Some(winner) if hash(index) == winner => {
                    dropped.push((hash(index), Fault::Repeated));
                }
                _ => dropped.push((hash(index), Fault::Contradictory)),
            }
        }
    }
    kept
}

/// The hash of the samples whose label counts, of `indices`, which are of one input and sorted by
/// hash; none where all are to be refused.
fn label_that_counts(
    samples: &Samples,
    indices: &[usize],
    policy: Contradictory,
) -> Option<ContentHash> {
    let of_labels: Vec<&[usize]> =
        indices.chunk_by(|&a, &b| samples.hashes[a] == samples.hashes[b]).collect();
    let newest = |of_label: &[usize]| of_label.iter().map(|&i| samples.arrived[i]).max();
    let weight = |of_label: &[usize]| -> f64 {
        of_label.iter().map(|&i| f64::from(samples.weights[i])).sum()
    };
    let counts = match policy {
        _ if of_labels.len() == 1 => of_labels.first(),
        Contradictory::Reject => None,
        Contradictory::Newest => of_labels.iter().max_by_key(|of_label| newest(of_label)),
        Contradictory::Majority => of_labels
            .iter()
            .max_by(|a, b| weight(a).total_cmp(&weight(b)).then_with(|| newest(a).cmp(&newest(b)))),
    };
    counts.map(|of_label| samples.hashes[of_label[0]])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::input::Inputs;
    use crate::domain::label::Label;

    /// Samples of one number, a label and a weight each, in order of arrival.
    fn samples(rows: &[(f32, &str, f32)]) -> Samples {
        let mut samples = Samples { inputs: Inputs::with_shape(1, 0), ..Samples::default() };
        for &(number, label, weight) in rows {
            let label = Label::parse(label).unwrap();
            samples.inputs.push(&[number], &[]);
            samples.hashes.push(ContentHash::of_input(&[number], &[]).with_label(&label));
            samples.labels.push(label);
            samples.weights.push(weight);
            samples.arrived.push(samples.arrived.len() as u64);
        }
        samples
    }

    fn policy(missing: Missing, contradictory: Contradictory) -> LearningSettings {
        LearningSettings { missing, contradictory, ..LearningSettings::default() }
    }

    /// The good ones as they are written in a test, sorted.
    fn kept(subset: &Subset<'_>) -> Vec<String> {
        let number = |index: usize| subset.samples.inputs.numbers(index)[0];
        let rows = subset.indices.iter().zip(subset.labels());
        let mut kept: Vec<String> =
            rows.map(|(&index, label)| format!("{}{label}", number(index))).collect();
        kept.sort();
        kept
    }

    fn count(cleaned: &Cleaned<'_>, fault: Fault) -> usize {
        cleaned.dropped.iter().filter(|dropped| dropped.1 == fault).count()
    }

    #[test]
    fn what_cannot_be_learnt_from_is_dropped_with_its_reason() {
        let rows = [(1.0, 1.0), (f32::NAN, 1.0), (f32::INFINITY, 1.0), (2.0, 0.0), (3.0, f32::NAN)];
        let samples = samples(&rows.map(|(number, weight)| (number, "a", weight)));
        let cleaned = clean(&samples, &policy(Missing::Reject, Contradictory::Majority));
        assert_eq!(cleaned.good.indices, [0]);
        assert_eq!((count(&cleaned, Fault::NotFinite), count(&cleaned, Fault::NoWeight)), (2, 2));
        assert!(cleaned.dropped.iter().all(|(_, fault)| fault.decision() == Decision::Malformed));
    }

    #[test]
    fn a_missing_number_stays_where_it_is_imputed_and_infinity_never() {
        let samples = samples(&[(f32::NAN, "a", 1.0), (f32::INFINITY, "a", 1.0)]);
        let cleaned = clean(&samples, &policy(Missing::Impute, Contradictory::Majority));
        assert_eq!((cleaned.good.indices, cleaned.dropped.len()), (vec![0], 1));
    }

    #[test]
    fn of_contradictory_labels_the_policy_keeps_one_or_none() {
        let rows = [
            (1.0, "a", 1.0),
            (1.0, "b", 1.0),
            (2.0, "a", 3.0),
            (2.0, "b", 1.0),
            (2.0, "c", 1.0),
            (3.0, "a", 1.0),
        ];
        let samples = samples(&rows);
        for (contradictory, expected, n_dropped) in [
            (Contradictory::Majority, vec!["1b", "2a", "3a"], 3),
            (Contradictory::Newest, vec!["1b", "2c", "3a"], 3),
            (Contradictory::Reject, vec!["3a"], 5),
        ] {
            let cleaned = clean(&samples, &policy(Missing::Reject, contradictory));
            assert_eq!(kept(&cleaned.good), expected, "{contradictory:?}");
            assert_eq!(count(&cleaned, Fault::Contradictory), n_dropped, "{contradictory:?}");
            assert_eq!(cleaned.dropped.len(), n_dropped);
        }
    }

    #[test]
    fn a_sample_that_cannot_be_learnt_from_contradicts_nothing() {
        let samples = samples(&[(1.0, "a", 1.0), (1.0, "b", 0.0)]);
        let cleaned = clean(&samples, &policy(Missing::Reject, Contradictory::Reject));
        assert_eq!(kept(&cleaned.good), ["1a"]);
    }

    #[test]
    fn a_repeated_sample_is_learnt_once_and_its_weights_vote_together() {
        let samples = samples(&[(1.0, "a", 1.0), (1.0, "a", 1.0), (1.0, "b", 1.5)]);
        let cleaned = clean(&samples, &LearningSettings::default());
        assert_eq!(kept(&cleaned.good), ["1a"]);
        let counts = (count(&cleaned, Fault::Repeated), count(&cleaned, Fault::Contradictory));
        assert_eq!(counts, (1, 1));
    }

    #[test]
    fn arrival_decides_and_the_order_of_the_samples_does_not() {
        let rows: Vec<(f32, &str, f32)> =
            (0..20).map(|i| ((i / 2) as f32, ["a", "b"][i % 2], 1.0)).collect();
        let samples = samples(&rows);
        let turned = samples.select(&(0..20).rev().collect::<Vec<_>>());
        for contradictory in [Contradictory::Majority, Contradictory::Newest] {
            let settings = policy(Missing::Reject, contradictory);
            let (one, other) = (clean(&samples, &settings), clean(&turned, &settings));
            let hashes = |subset: &Subset<'_>| -> Vec<ContentHash> {
                (0..subset.len()).map(|place| subset.hash(place)).collect()
            };
            assert_eq!(hashes(&one.good), hashes(&other.good));
            assert_eq!(one.dropped, other.dropped);
            assert!(one.good.labels().all(|label| label.as_str() == "b"), "the later half");
        }
    }

    #[test]
    fn an_old_sample_gives_way_to_a_new_label_of_its_input() {
        let old = samples(&[
            (1.0, "a", 1.0),
            (2.0, "a", 1.0),
            (3.0, "a", 1.0),
            (4.0, "a", 9.0),
            (4.0, "b", 1.0),
        ]);
        let new = samples(&[(0.5, "a", 1.0), (1.0, "b", 1.0), (2.0, "a", 1.0)]);
        let new = clean(&new, &LearningSettings::default()).good;
        let replay = clean_replay(&old, Missing::Reject, &new);
        assert_eq!(kept(&replay), ["2a", "3a", "4b"]);
        let alone = clean_replay(&old, Missing::Reject, &Subset::none(&old));
        assert_eq!(kept(&alone), ["1a", "2a", "3a", "4b"]);
    }
}
