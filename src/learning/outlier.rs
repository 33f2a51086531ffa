//! Outliers: samples far from all clusters of their own label.
//!
//! How far is far is measured by the median and the median absolute deviation, which nothing that
//! less than half of a label's samples do can move (Hampel 1974). A distribution whose tail is
//! heavy, or a label half of which is mislabelled, has many samples out there that are no accident:
//! so of a label never more than the farthest twentieth are outliers.

use super::cluster::Member;

/// A label of fewer samples has no distances to speak of.
const MIN_SAMPLES: usize = 20;
/// At most one sample in so many of a label.
const MOST_ONE_IN: usize = 20;
/// Deviations beyond the median.
const DEVIATIONS: f32 = 6.0;
/// Turns a median absolute deviation into the standard deviation of a normal distribution.
const NORMAL: f32 = 1.4826;
/// The least deviation, as a share of the median: where most distances are nearly equal, a small
/// difference is no sign of anything.
const LEAST_SPREAD: f32 = 0.1;
/// The least share that is left of an outlier's weight.
const LEAST_SHARE: f32 = 0.01;

/// The outliers among `members`, which are all of one label: the place of each, and the share of
/// its weight that is left when outliers are to count less: as in Huber's estimator (1964), the
/// distance at which it would have been none over its own.
pub(super) fn find(members: &[(usize, Member)]) -> Vec<(usize, f32)> {
    if members.len() < MIN_SAMPLES {
        return Vec::new();
    }
    let mut distances: Vec<f32> = members.iter().map(|(_, member)| member.distance).collect();
    let median = median(&mut distances);
    let mut deviations: Vec<f32> =
        distances.iter().map(|distance| (distance - median).abs()).collect();
    let spread = (NORMAL * self::median(&mut deviations)).max(LEAST_SPREAD * median);
    let limit = median + DEVIATIONS * spread;
    if !limit.is_finite() || limit <= 0.0 {
        return Vec::new();
    }
    let mut far: Vec<&(usize, Member)> =
        members.iter().filter(|(_, member)| member.distance > limit).collect();
    far.sort_by(|(a, one), (b, other)| other.distance.total_cmp(&one.distance).then(a.cmp(b)));
    far.truncate(members.len() / MOST_ONE_IN);
    far.into_iter()
        .map(|&(place, member)| (place, (limit / member.distance).max(LEAST_SHARE)))
        .collect()
}

/// The middle one of `numbers`, of which there is at least one; sorts them.
fn median(numbers: &mut [f32]) -> f32 {
    numbers.sort_by(f32::total_cmp);
    numbers[numbers.len() / 2]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::learning::seed::{Draw, stream};
    use rand::Rng;

    fn at(distances: impl IntoIterator<Item = f32>) -> Vec<(usize, Member)> {
        let member = |distance| Member { cluster: 0, distance };
        distances.into_iter().map(member).enumerate().collect()
    }

    fn even(n: usize) -> impl Iterator<Item = f32> {
        (0..n).map(move |i| 1.0 + i as f32 / n as f32)
    }

    #[test]
    fn what_lies_far_beyond_the_others_is_an_outlier() {
        let found = find(&at(even(100).chain([40.0, 20.0])));
        let places: Vec<usize> = found.iter().map(|&(place, _)| place).collect();
        assert_eq!(places, [100, 101]);
        assert!(found[0].1 < found[1].1 && found[1].1 < 0.5, "the further the less: {found:?}");
        assert!(find(&at(even(100).chain([3.0]))).is_empty(), "not far enough");
    }

    #[test]
    fn a_heavy_tail_loses_at_most_a_twentieth() {
        let mut draws = stream(1, Draw::Clusters);
        // The absolute value of a Cauchy variable: a tenth lies beyond six times the median.
        let cauchy = (0..1_000).map(|_| (draws.r#gen::<f32>() * std::f32::consts::FRAC_PI_2).tan());
        let found = find(&at(cauchy));
        assert_eq!(found.len(), 50);
    }

    #[test]
    fn few_or_equal_or_infinite_distances_have_none() {
        assert!(find(&at(even(18).chain([1e9]))).is_empty());
        assert!(find(&at([0.0; 100].into_iter().chain([1.0]))).is_empty());
        assert!(find(&at([f32::INFINITY; 100])).is_empty());
        assert_eq!(find(&at([1.0; 100].into_iter().chain([f32::INFINITY]))), [(100, LEAST_SHARE)]);
    }
}
