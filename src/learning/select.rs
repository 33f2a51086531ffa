//! Selection: which samples of an update are trained on when the budget does not cover all.
//!
//! Whatever the budget, samples are clustered label by label, so that every decision can be
//! explained by where a sample lies; when nothing needs choosing only a part of them is.

use std::collections::{BTreeMap, BTreeSet};

use rand::Rng;
use rand::seq::SliceRandom;
use rand_xoshiro::Xoshiro256PlusPlus;

use crate::domain::label::Label;
use crate::domain::settings::{Budget, SelectionSettings, SelectionStrategy};
use crate::domain::update::{Decision, SelectionReport};

use super::cluster::{Member, cluster, squared};
use super::seed::{Draw, stream};
use super::space::{Described, describe};
use super::state::LearnerState;
use super::subset::Subset;
use super::{Lesson, SampleDecision};

/// Samples that an update takes whole; of more it takes less than linearly more.
pub(super) const FULL_BUDGET: usize = 20_000;
/// Samples clustered for the report alone, when nothing depends on it.
const MAX_DESCRIBED: usize = 2_000;
/// Two samples of a cluster are near duplicates below this share of the median distance.
const DUPLICATE_SHARE: f32 = 1e-3;
/// How many kept neighbours a sample is compared with in search of near duplicates.
const MAX_COMPARED: usize = 32;

/// What became of each sample of an update, by its place in the cleaned samples.
#[derive(Debug)]
pub(super) struct Selection {
    /// Places of the selected, ascending.
    pub(super) selected: Vec<usize>,
    /// For the report.
    pub(super) report: SelectionReport,
    decisions: Vec<Decision>,
    members: Vec<Option<Member>>,
}

impl Selection {
    /// Why each sample that was not selected was not.
    pub(super) fn drop_reasons(&self) -> impl Iterator<Item = &'static str> {
        self.decisions.iter().filter_map(|decision| match decision {
            Decision::Duplicate => Some("near duplicate"),
            Decision::Skipped => Some("over the budget"),
            _ => None,
        })
    }

    /// The decisions on `subset`, which was selected from.
    pub(super) fn decisions(&self, subset: &Subset<'_>) -> impl Iterator<Item = SampleDecision> {
        let decisions = self.decisions.iter().zip(&self.members).enumerate();
        decisions.map(|(place, (&decision, member))| SampleDecision {
            hash: subset.hash(place),
            decision,
            cluster: member.map(|member| member.cluster),
            distance: member.map(|member| member.distance),
        })
    }
}

/// Chooses from `subset` by the model's settings; `state` is the parent's function.
pub(super) fn select(lesson: &Lesson<'_>, state: &LearnerState, subset: &Subset<'_>) -> Selection {
    let settings = &lesson.settings.selection;
    let budget = budget(settings, subset.len());
    let strategy = settings.strategy;
    let by_cluster =
        matches!(strategy, SelectionStrategy::Balanced | SelectionStrategy::Representative);
    let n_described = match budget < subset.len() && by_cluster {
        true => subset.len(),
        false => subset.len().min(MAX_DESCRIBED),
    };
    // In the order of the content hash any stretch is a fair draw.
    let places: Vec<usize> = (0..n_described).collect();
    let described = describe(lesson, state, &subset.choose(&places));
    let mut groups = group(&described, subset, state, lesson.seed);
    let report = SelectionReport { strategy, clusters: groups.iter().map(Group::n_clusters).sum() };
    let mut members = vec![None; subset.len()];
    for (place, member) in groups.iter().flat_map(|group| &group.members) {
        members[*place] = Some(*member);
    }
    let mut decisions = vec![Decision::Selected; subset.len()];
    if budget < subset.len() {
        decisions.fill(Decision::Skipped);
        let mut draws = stream(lesson.seed, Draw::Selection);
        if by_cluster {
            drop_near_duplicates(&mut groups, &described, &mut decisions);
        }
        let chosen = match strategy {
            SelectionStrategy::Balanced => balanced(groups, &described.margins, budget, &mut draws),
            SelectionStrategy::Representative => representative(&groups, budget),
            SelectionStrategy::Random | SelectionStrategy::All => {
                rand::seq::index::sample(&mut draws, subset.len(), budget).into_vec()
            }
        };
        chosen.into_iter().for_each(|place| decisions[place] = Decision::Selected);
    }
    let selected = (0..subset.len()).filter(|&place| decisions[place] == Decision::Selected);
    Selection { selected: selected.collect(), report, decisions, members }
}

/// How many of `n` samples to train on.
fn budget(settings: &SelectionSettings, n: usize) -> usize {
    if settings.strategy == SelectionStrategy::All {
        return n;
    }
    let full = FULL_BUDGET as f64;
    match settings.budget {
        Some(Budget::Share(share)) => ((n as f64 * share).ceil() as usize).clamp(1, n),
        Some(Budget::Count(count)) => n.min(count as usize),
        None if n <= FULL_BUDGET => n,
        None => (full * (n as f64 / full).sqrt()) as usize,
    }
}

/// The samples of one label.
struct Group {
    /// Whether the parent knows the label.
    known: bool,
    /// Place and cluster of each, by place.
    members: Vec<(usize, Member)>,
}

impl Group {
    fn n_clusters(&self) -> usize {
        self.members.iter().map(|(_, member)| member.cluster).collect::<BTreeSet<_>>().len()
    }
}

/// Clusters the described samples label by label; clusters are numbered over all labels.
fn group(
    described: &Described,
    subset: &Subset<'_>,
    state: &LearnerState,
    seed: u64,
) -> Vec<Group> {
    let known: BTreeSet<&Label> = state.labels().iter().collect();
    let mut by_label: BTreeMap<&Label, Vec<usize>> = BTreeMap::new();
    for (place, label) in subset.labels().enumerate().take(described.margins.len()) {
        by_label.entry(label).or_default().push(place);
    }
    let draws = stream(seed, Draw::Clusters);
    let mut first = 0;
    let mut groups = Vec::with_capacity(by_label.len());
    for (label, places) in by_label {
        let (members, n_clusters) = cluster(&described.points, &places, &draws);
        let numbered = |member: Member| Member { cluster: first + member.cluster, ..member };
        let members = places.into_iter().zip(members.into_iter().map(numbered)).collect();
        groups.push(Group { known: known.contains(label), members });
        first += n_clusters;
    }
    groups
}

/// Takes all but one of samples that lie almost on each other out of their group. Points at nearly
/// the same place have nearly the same distance to the centre, so only neighbours in the order of
/// that distance are compared.
fn drop_near_duplicates(groups: &mut [Group], described: &Described, decisions: &mut [Decision]) {
    for group in groups {
        group.members.sort_by(|(_, a), (_, b)| {
            (a.cluster, a.distance)
                .partial_cmp(&(b.cluster, b.distance))
                .unwrap_or(std::cmp::Ordering::Equal)
        });
        let mut distances: Vec<f32> = group.members.iter().map(|(_, m)| m.distance).collect();
        distances.sort_by(f32::total_cmp);
        let near = DUPLICATE_SHARE * distances[distances.len() / 2];
        let mut kept: Vec<(usize, Member)> = Vec::with_capacity(group.members.len());
        for &(place, member) in &group.members {
            let point = described.points.get(place);
            let mut neighbours = kept.iter().rev().take(MAX_COMPARED).take_while(|(_, other)| {
                other.cluster == member.cluster && member.distance - other.distance < near
            });
            let twin = |&(other, _): &(usize, Member)| {
                squared(point, described.points.get(other)) < near * near
            };
            match neighbours.any(twin) {
                true => decisions[place] = Decision::Duplicate,
                false => kept.push((place, member)),
            }
        }
        group.members = kept;
    }
}

/// New labels first, drawn over their clusters; of known labels half the samples that the parent
/// is least sure of, and half drawn over the clusters.
fn balanced(
    groups: Vec<Group>,
    margins: &[f32],
    budget: usize,
    draws: &mut Xoshiro256PlusPlus,
) -> Vec<usize> {
    let (mut known, new): (Vec<Group>, Vec<Group>) = groups.into_iter().partition(|g| g.known);
    let mut chosen = drawn_over_clusters(&new, budget, draws);
    let left = budget - chosen.len();
    let mut unsure: Vec<usize> =
        known.iter().flat_map(|group| &group.members).map(|&(place, _)| place).collect();
    unsure.sort_by(|&a, &b| margins[a].total_cmp(&margins[b]).then(a.cmp(&b)));
    unsure.truncate(left / 2);
    let taken: BTreeSet<usize> = unsure.iter().copied().collect();
    known.iter_mut().for_each(|group| group.members.retain(|(place, _)| !taken.contains(place)));
    chosen.extend(drawn_over_clusters(&known, left - unsure.len(), draws));
    chosen.extend(unsure);
    chosen
}

/// A seeded draw from each group, each cluster by its size.
fn drawn_over_clusters(
    groups: &[Group],
    budget: usize,
    draws: &mut Xoshiro256PlusPlus,
) -> Vec<usize> {
    let mut chosen = Vec::with_capacity(budget);
    for (group, quota) in groups.iter().zip(quotas(groups, budget)) {
        let mut members = group.members.clone();
        members.shuffle(draws);
        members.sort_by_key(|(_, member)| member.cluster);
        // Evenly spaced over the clusters laid end to end: each gets its share, to within one.
        let start: f64 = draws.r#gen();
        let spacing = members.len() as f64 / quota.max(1) as f64;
        let positions = (0..quota).map(|i| ((i as f64 + start) * spacing) as usize);
        chosen.extend(positions.map(|at| members[at.min(members.len() - 1)].0));
    }
    chosen
}

/// The nearest to each cluster's centre, round robin over the clusters.
fn representative(groups: &[Group], budget: usize) -> Vec<usize> {
    let mut chosen = Vec::with_capacity(budget);
    for (group, quota) in groups.iter().zip(quotas(groups, budget)) {
        let mut clusters: BTreeMap<u32, Vec<(usize, Member)>> = BTreeMap::new();
        for &(place, member) in &group.members {
            clusters.entry(member.cluster).or_default().push((place, member));
        }
        let mut ranked: Vec<(usize, usize)> = Vec::with_capacity(group.members.len());
        for members in clusters.values_mut() {
            members.sort_by(|(_, a), (_, b)| a.distance.total_cmp(&b.distance));
            ranked.extend(members.iter().enumerate().map(|(rank, &(place, _))| (rank, place)));
        }
        ranked.sort_by_key(|&(rank, _)| rank);
        chosen.extend(ranked.into_iter().take(quota).map(|(_, place)| place));
    }
    chosen
}

/// Shares `budget` among groups as evenly as their sizes allow.
fn quotas(groups: &[Group], budget: usize) -> Vec<usize> {
    let mut quotas = vec![0; groups.len()];
    let mut smallest_first: Vec<usize> = (0..groups.len()).collect();
    smallest_first.sort_by_key(|&index| groups[index].members.len());
    let mut left = budget;
    for (done, &index) in smallest_first.iter().enumerate() {
        let share = left.div_ceil(groups.len() - done);
        quotas[index] = groups[index].members.len().min(share);
        left -= quotas[index];
    }
    quotas
}

#[cfg(test)]
mod tests {
    use super::*;

    fn groups(sizes: &[(bool, usize)]) -> Vec<Group> {
        let mut place = 0;
        let mut one = |&(known, size): &(bool, usize)| {
            let members = (0..size).map(|i| {
                place += 1;
                let member = Member { cluster: (i % 4) as u32, distance: i as f32 };
                (place - 1, member)
            });
            Group { known, members: members.collect() }
        };
        sizes.iter().map(&mut one).collect()
    }

    fn distinct(chosen: &[usize]) -> usize {
        chosen.iter().collect::<BTreeSet<_>>().len()
    }

    #[test]
    fn the_budget_covers_all_until_it_grows_less_than_linearly() {
        let settings = SelectionSettings::default();
        assert_eq!(budget(&settings, 20_000), 20_000);
        assert_eq!(budget(&settings, 80_000), 40_000);
        let share = SelectionSettings { budget: Some(Budget::Share(0.25)), ..settings.clone() };
        assert_eq!((budget(&share, 10), budget(&share, 1)), (3, 1));
        let all = SelectionSettings { strategy: SelectionStrategy::All, ..share };
        assert_eq!(budget(&all, 100_000), 100_000);
    }

    #[test]
    fn quotas_are_even_and_spend_the_budget() {
        assert_eq!(quotas(&groups(&[(true, 100), (true, 3), (true, 50)]), 60), [28, 3, 29]);
        assert_eq!(quotas(&groups(&[(true, 2), (true, 2)]), 10), [2, 2]);
        assert_eq!(quotas(&groups(&[(true, 5), (true, 5), (true, 5)]), 1).iter().sum::<usize>(), 1);
    }

    #[test]
    fn new_labels_come_first_and_of_known_ones_half_are_the_least_sure() {
        let margins: Vec<f32> = (0..120).map(|place| (120 - place) as f32).collect();
        let mut draws = stream(1, Draw::Selection);
        let chosen = balanced(groups(&[(true, 100), (false, 20)]), &margins, 60, &mut draws);
        assert_eq!((chosen.len(), distinct(&chosen)), (60, 60));
        assert_eq!(chosen.iter().filter(|&&place| place >= 100).count(), 20);
        assert!((80..100).all(|place| chosen.contains(&place)), "the least sure are in");
    }

    #[test]
    fn representatives_are_the_nearest_of_each_cluster() {
        let mut chosen = representative(&groups(&[(true, 40)]), 8);
        chosen.sort_unstable();
        assert_eq!(chosen, [0, 1, 2, 3, 4, 5, 6, 7]);
    }
}
