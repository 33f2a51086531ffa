//! A draw of weighted samples.
//!
//! A sample is taken with a probability that grows with its weight, and what it then counts makes up
//! for that (Horvitz & Thompson 1952): what was drawn from counts as much as without a draw.

use std::collections::BTreeSet;

use rand::Rng;
use rand::seq::SliceRandom;
use rand_xoshiro::Xoshiro256PlusPlus;

use super::cluster::Member;

/// A sample that is to be trained on.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Pick {
    /// Its place.
    pub(super) place: usize,
    /// What it counts in training, relative to 1.
    pub(super) weight: f32,
}

/// A seeded draw of `quota` of `members`, spread evenly over the clusters laid end to end, in
/// which each sample is as long as its weight. One that is longer than the way between two
/// picks is taken for certain.
pub(super) fn drawn(
    members: &[(usize, Member)],
    weights: &[f32],
    quota: usize,
    draws: &mut Xoshiro256PlusPlus,
) -> Vec<Pick> {
    let weight = |place: usize| f64::from(weights[place]);
    if quota >= members.len() {
        let own = |place| Pick { place, weight: weights[place] };
        return members.iter().map(|&(place, _)| own(place)).collect();
    }
    // What all count together is shared among fewer: of equal ones each counts what it did.
    let scale = quota as f64 / members.len() as f64;
    let mut laid_out = members.to_vec();
    laid_out.shuffle(draws);
    laid_out.sort_by_key(|(_, member)| member.cluster);
    let (certain, spacing) = too_heavy_to_miss(members, weights, quota);
    let mut chosen: Vec<Pick> = certain
        .iter()
        .map(|&place| Pick { place, weight: (weight(place) * scale) as f32 })
        .collect();
    laid_out.retain(|(place, _)| !certain.contains(place));
    let mut next = draws.r#gen::<f64>() * spacing;
    let mut end = 0.0;
    for (index, &(place, _)) in laid_out.iter().enumerate() {
        end += weight(place);
        // Rounding must not lose the last pick.
        let all_needed = laid_out.len() - index == quota - chosen.len();
        if chosen.len() < quota && (next < end || all_needed) {
            chosen.push(Pick { place, weight: (spacing * scale) as f32 });
            next += spacing;
        }
    }
    chosen
}

/// Places of the samples that weigh more than the way between two of `quota` picks over the
/// others, and that way.
fn too_heavy_to_miss(
    members: &[(usize, Member)],
    weights: &[f32],
    quota: usize,
) -> (BTreeSet<usize>, f64) {
    let weight = |place: usize| f64::from(weights[place]);
    let mut lightest_first: Vec<usize> = members.iter().map(|&(place, _)| place).collect();
    lightest_first.sort_by(|&a, &b| weight(a).total_cmp(&weight(b)).then(b.cmp(&a)));
    let mut totals: Vec<f64> = Vec::with_capacity(members.len());
    for &place in &lightest_first {
        totals.push(totals.last().unwrap_or(&0.0) + weight(place));
    }
    let mut certain = BTreeSet::new();
    while let (Some(&place), Some(&total)) = (lightest_first.last(), totals.last()) {
        let left = quota - certain.len();
        if left == 0 || weight(place) * (left as f64) < total {
            return (certain, total / left.max(1) as f64);
        }
        certain.insert(place);
        lightest_first.pop();
        totals.pop();
    }
    (certain, 0.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::learning::seed::{Draw, stream};

    fn members(n: usize) -> Vec<(usize, Member)> {
        (0..n).map(|i| (i, Member { cluster: (i % 4) as u32, distance: 1.0 })).collect()
    }

    #[test]
    fn each_cluster_gets_its_share_to_within_one() {
        let weights = [1.0; 400];
        for seed in 0..10 {
            let draws = &mut stream(seed, Draw::Selection);
            let chosen = drawn(&members(400), &weights, 42, draws);
            for cluster in 0..4 {
                let n = chosen.iter().filter(|pick| pick.place % 4 == cluster).count();
                assert!((10..=11).contains(&n), "{n}");
            }
        }
    }

    #[test]
    fn every_sample_may_be_drawn() {
        let mut missing: BTreeSet<usize> = (0..40).collect();
        for seed in 0..60 {
            let draws = &mut stream(seed, Draw::Selection);
            drawn(&members(40), &[1.0; 40], 8, draws).iter().for_each(|pick| {
                missing.remove(&pick.place);
            });
        }
        assert!(missing.is_empty(), "{missing:?}");
    }

    #[test]
    fn what_a_draw_takes_counts_for_what_it_leaves() {
        // One sample in ten counts as much as the nine others together.
        let weights: Vec<f32> = (0..1_000).map(|i| if i % 10 == 0 { 9.0 } else { 1.0 }).collect();
        let heavy = |pick: &&Pick| pick.place.is_multiple_of(10);
        for seed in 0..3 {
            let chosen = drawn(&members(1_000), &weights, 100, &mut stream(seed, Draw::Selection));
            let (n_heavy, n) = (chosen.iter().filter(heavy).count(), chosen.len());
            assert!((35..=65).contains(&n_heavy), "half of {n}: {n_heavy}");
            let total: f32 = chosen.iter().map(|pick| pick.weight).sum();
            let of_heavy: f32 = chosen.iter().filter(heavy).map(|pick| pick.weight).sum();
            assert!((0.35..0.65).contains(&(of_heavy / total)), "{seed}");
            assert!((total / 180.0 - 1.0).abs() < 1e-3, "the mean weight stays: {total}");
        }
    }

    #[test]
    fn a_sample_too_heavy_to_miss_is_taken_once_at_its_weight() {
        for heavy in [1e3, 1e30, f32::MAX] {
            let mut weights = vec![1.0; 100];
            weights[42] = heavy;
            let chosen = drawn(&members(100), &weights, 10, &mut stream(1, Draw::Selection));
            assert_eq!(chosen.len(), 10);
            let others = chosen.iter().filter(|pick| pick.place != 42).map(|pick| pick.weight);
            let others: f32 = others.sum();
            assert!((others - 9.9).abs() < 1e-3, "a tenth of all the others: {others}");
            let pick = chosen.iter().find(|pick| pick.place == 42).unwrap();
            assert!((pick.weight / (heavy / 10.0) - 1.0).abs() < 1e-6);
        }
    }
}
