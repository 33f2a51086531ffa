//! Near duplicates: samples of one label that lie almost on each other.
//!
//! Points at nearly the same place have nearly the same distance to their cluster's centre, so only
//! neighbours in the order of that distance are compared, and of those a bounded number.

use super::cluster::{Member, squared};
use super::space::Points;

/// Two samples of a cluster are near duplicates below this share of the median distance.
const NEAR: f32 = 1e-3;
/// How many kept neighbours a sample is compared with.
const MAX_COMPARED: usize = 32;

/// Of samples that lie almost on each other, the places of all but one, among `members`, which are
/// all of one label.
pub(super) fn find(members: &[(usize, Member)], points: &Points) -> Vec<usize> {
    let mut nearest_first = members.to_vec();
    nearest_first.sort_by(|(_, a), (_, b)| {
        a.cluster.cmp(&b.cluster).then(a.distance.total_cmp(&b.distance))
    });
    let mut distances: Vec<f32> = members.iter().map(|(_, member)| member.distance).collect();
    distances.sort_by(f32::total_cmp);
    let near = distances.get(distances.len() / 2).map_or(0.0, |median| NEAR * median);
    let mut kept: Vec<(usize, Member)> = Vec::with_capacity(members.len());
    let mut duplicates = Vec::new();
    for (place, member) in nearest_first {
        let point = points.get(place);
        let mut neighbours = kept.iter().rev().take(MAX_COMPARED).take_while(|(_, other)| {
            other.cluster == member.cluster && member.distance - other.distance < near
        });
        let is_twin =
            |&(other, _): &(usize, Member)| squared(point, points.get(other)) < near * near;
        match neighbours.any(is_twin) {
            true => duplicates.push(place),
            false => kept.push((place, member)),
        }
    }
    duplicates
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Points on a line, in one cluster around 0.
    fn on_a_line(numbers: &[f32]) -> (Vec<(usize, Member)>, Points) {
        let members = numbers.iter().map(|number| Member { cluster: 0, distance: number.abs() });
        (members.enumerate().collect(), Points { dimensions: 1, numbers: numbers.to_vec() })
    }

    #[test]
    fn of_points_almost_on_each_other_one_is_kept() {
        let (members, points) = on_a_line(&[1.0, 2.0, 1.0 + 1e-5, -1.0, 3.0, 1.0 - 1e-5, 2.0]);
        let mut found = find(&members, &points);
        found.sort_unstable();
        assert_eq!(found.len(), 3, "{found:?}");
        assert!(!found.contains(&3), "at the same distance on the other side");
        assert!(!found.contains(&4));
    }

    #[test]
    fn points_that_are_all_equal_are_no_duplicates_of_anything_else() {
        let (members, points) = on_a_line(&[0.0; 10]);
        assert!(find(&members, &points).is_empty(), "no distance says what is near");
        assert!(find(&[], &points).is_empty());
    }
}
