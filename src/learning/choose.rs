//! Choosing: which samples are trained on, by the strategy, within a budget.
//!
//! Labels share the budget as evenly as their sizes allow: where it is scarce, a rare label's samples
//! are worth more than a frequent one's.

use std::collections::{BTreeMap, BTreeSet};

use rand_xoshiro::Xoshiro256PlusPlus;

use crate::domain::settings::SelectionStrategy;

use super::cluster::Member;
use super::draw::{Pick, drawn};

/// The samples of one label, and where each lies.
#[derive(Debug, Clone)]
pub(super) struct Group {
    /// Whether the parent knows the label.
    pub(super) known: bool,
    /// Place and cluster of each, by place.
    pub(super) members: Vec<(usize, Member)>,
}

impl Group {
    /// How many clusters its samples fell into.
    pub(super) fn n_clusters(&self) -> usize {
        self.members.iter().map(|(_, member)| member.cluster).collect::<BTreeSet<_>>().len()
    }
}

/// What is chosen from.
#[derive(Debug)]
pub(super) struct Candidates<'a> {
    /// By label.
    pub(super) groups: Vec<Group>,
    /// How sure the parent is of the sample at each place; only read for known labels.
    pub(super) margins: &'a [f32],
    /// What the sample at each place counts, relative to 1.
    pub(super) weights: &'a [f32],
}

/// Chooses `budget` of `candidates`, or all when there are no more.
pub(super) fn choose(
    candidates: Candidates<'_>,
    strategy: SelectionStrategy,
    budget: usize,
    draws: &mut Xoshiro256PlusPlus,
) -> Vec<Pick> {
    if candidates.len() <= budget {
        return candidates.all();
    }
    match strategy {
        SelectionStrategy::Balanced => candidates.new_labels_and_doubts(budget, 2, draws),
        SelectionStrategy::Uncertain => candidates.new_labels_and_doubts(budget, 1, draws),
        SelectionStrategy::Representative => candidates.representative(budget),
        SelectionStrategy::Diverse => candidates.diverse(budget, draws),
        SelectionStrategy::Random | SelectionStrategy::All => {
            let members = candidates.groups.iter().flat_map(|group| &group.members);
            let together = members.map(|&(place, member)| (place, Member { cluster: 0, ..member }));
            drawn(&together.collect::<Vec<_>>(), candidates.weights, budget, draws)
        }
    }
}

/// Draws `budget` of `candidates` of which nothing is known but the labels, or all when there are no
/// more: new labels first.
pub(super) fn choose_blindly(
    candidates: Candidates<'_>,
    budget: usize,
    draws: &mut Xoshiro256PlusPlus,
) -> Vec<Pick> {
    if candidates.len() <= budget {
        return candidates.all();
    }
    candidates.new_labels_and_doubts(budget, usize::MAX, draws)
}

impl Candidates<'_> {
    fn len(&self) -> usize {
        self.groups.iter().map(|group| group.members.len()).sum()
    }

    fn all(&self) -> Vec<Pick> {
        let members = self.groups.iter().flat_map(|group| &group.members);
        members.map(|&(place, _)| self.pick(place)).collect()
    }

    /// The sample at `place`, at its own weight.
    fn pick(&self, place: usize) -> Pick {
        Pick { place, weight: self.weights[place] }
    }

    /// New labels first, drawn over their clusters. Of known labels the samples that the parent is
    /// least sure of are one in `one_in`, and the others are drawn over the clusters.
    fn new_labels_and_doubts(
        mut self,
        budget: usize,
        one_in: usize,
        draws: &mut Xoshiro256PlusPlus,
    ) -> Vec<Pick> {
        let (mut known, new): (Vec<Group>, Vec<Group>) =
            std::mem::take(&mut self.groups).into_iter().partition(|group| group.known);
        let mut chosen = self.drawn_over_clusters(&new, budget, draws);
        let left = budget - chosen.len();
        let unsure = self.least_sure(&known, left / one_in);
        let taken: BTreeSet<usize> = unsure.iter().copied().collect();
        known
            .iter_mut()
            .for_each(|group| group.members.retain(|(place, _)| !taken.contains(place)));
        chosen.extend(self.drawn_over_clusters(&known, left - unsure.len(), draws));
        chosen.extend(unsure.into_iter().map(|place| self.pick(place)));
        chosen
    }

    /// Places of the `n` samples of `groups` that the parent is least sure of; a heavier one is
    /// worth more doubt.
    fn least_sure(&self, groups: &[Group], n: usize) -> Vec<usize> {
        let doubt = |place: usize| self.weights[place] * (1.0 - self.margins[place]);
        let members = groups.iter().flat_map(|group| &group.members);
        let mut unsure: Vec<usize> = members.map(|&(place, _)| place).collect();
        unsure.sort_by(|&a, &b| doubt(b).total_cmp(&doubt(a)).then(a.cmp(&b)));
        unsure.truncate(n);
        unsure
    }

    /// A seeded draw from each group, each cluster by what its samples count together.
    fn drawn_over_clusters(
        &self,
        groups: &[Group],
        budget: usize,
        draws: &mut Xoshiro256PlusPlus,
    ) -> Vec<Pick> {
        let quotas = quotas(groups.iter().map(|group| group.members.len()), budget);
        let groups = groups.iter().zip(quotas);
        groups
            .flat_map(|(group, quota)| drawn(&group.members, self.weights, quota, draws))
            .collect()
    }

    /// The nearest to each cluster's centre, round robin over the clusters.
    fn representative(&self, budget: usize) -> Vec<Pick> {
        let quotas = quotas(self.groups.iter().map(|group| group.members.len()), budget);
        let mut chosen = Vec::with_capacity(budget);
        for (group, quota) in self.groups.iter().zip(quotas) {
            let mut ranked: Vec<(usize, usize)> = Vec::with_capacity(group.members.len());
            for mut members in by_cluster(&group.members) {
                members.sort_by(|(_, a), (_, b)| a.distance.total_cmp(&b.distance));
                ranked.extend(members.iter().enumerate().map(|(rank, &(place, _))| (rank, place)));
            }
            ranked.sort_by_key(|&(rank, _)| rank);
            chosen.extend(ranked.into_iter().take(quota).map(|(_, place)| self.pick(place)));
        }
        chosen
    }

    /// A seeded draw of equally many from each cluster, as far as their sizes allow.
    fn diverse(&self, budget: usize, draws: &mut Xoshiro256PlusPlus) -> Vec<Pick> {
        let quotas = quotas(self.groups.iter().map(|group| group.members.len()), budget);
        let mut chosen = Vec::with_capacity(budget);
        for (group, quota) in self.groups.iter().zip(quotas) {
            let clusters = by_cluster(&group.members);
            let shares = self::quotas(clusters.iter().map(Vec::len), quota);
            for (members, share) in clusters.iter().zip(shares) {
                chosen.extend(drawn(members, self.weights, share, draws));
            }
        }
        chosen
    }
}

/// `members` cluster by cluster.
fn by_cluster(members: &[(usize, Member)]) -> Vec<Vec<(usize, Member)>> {
    let mut clusters: BTreeMap<u32, Vec<(usize, Member)>> = BTreeMap::new();
    for &(place, member) in members {
        clusters.entry(member.cluster).or_default().push((place, member));
    }
    clusters.into_values().collect()
}

/// Shares `budget` as evenly as `sizes` allow; where it is less than their number, the largest get
/// one each.
fn quotas(sizes: impl Iterator<Item = usize>, budget: usize) -> Vec<usize> {
    let sizes: Vec<usize> = sizes.collect();
    let mut quotas = vec![0; sizes.len()];
    let mut smallest_first: Vec<usize> = (0..sizes.len()).collect();
    smallest_first.sort_by_key(|&index| sizes[index]);
    let mut left = budget;
    for (done, &index) in smallest_first.iter().enumerate() {
        quotas[index] = sizes[index].min(left / (sizes.len() - done));
        left -= quotas[index];
    }
    quotas
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::learning::seed::{Draw, stream};

    /// Groups of these sizes, their places one after another, in four clusters each.
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

    fn chosen(
        sizes: &[(bool, usize)],
        (margins, weights): (&[f32], &[f32]),
        strategy: SelectionStrategy,
        budget: usize,
    ) -> Vec<Pick> {
        let candidates = Candidates { groups: groups(sizes), margins, weights };
        let mut chosen = choose(candidates, strategy, budget, &mut stream(1, Draw::Selection));
        chosen.sort_by_key(|pick| pick.place);
        assert!(chosen.windows(2).all(|pair| pair[0].place < pair[1].place), "none twice");
        chosen
    }

    fn places(chosen: &[Pick]) -> Vec<usize> {
        chosen.iter().map(|pick| pick.place).collect()
    }

    const EACH: [SelectionStrategy; 6] = [
        SelectionStrategy::Balanced,
        SelectionStrategy::Representative,
        SelectionStrategy::Diverse,
        SelectionStrategy::Uncertain,
        SelectionStrategy::Random,
        SelectionStrategy::All,
    ];

    #[test]
    fn every_strategy_spends_the_budget_and_leaves_equal_weights_as_they_are() {
        let (margins, weights) = (vec![0.5; 163], vec![3.0; 163]);
        for strategy in EACH {
            for budget in [1, 2, 3, 40, 162, 163, 1_000] {
                let sizes = [(true, 100), (false, 3), (true, 60)];
                let chosen = chosen(&sizes, (&margins, &weights), strategy, budget);
                assert_eq!(chosen.len(), budget.min(163), "{strategy:?}");
                assert!(chosen.iter().all(|pick| pick.weight == 3.0), "{strategy:?} {chosen:?}");
            }
        }
    }

    #[test]
    fn quotas_are_even_and_spend_the_budget() {
        let quotas = |sizes: &[usize], budget| quotas(sizes.iter().copied(), budget);
        assert_eq!(quotas(&[100, 3, 50], 60), [29, 3, 28]);
        assert_eq!(quotas(&[2, 2], 10), [2, 2]);
        assert_eq!(quotas(&[5, 9, 7], 2), [0, 1, 1], "the largest first");
        assert!(quotas(&[], 10).is_empty());
    }

    #[test]
    fn new_labels_come_first_and_of_known_ones_half_are_the_least_sure() {
        let margins: Vec<f32> = (0..120).map(|place| 1.0 - place as f32 / 120.0).collect();
        let sizes = [(true, 100), (false, 20)];
        let count = |strategy, from| {
            let chosen = chosen(&sizes, (&margins, &[1.0; 120]), strategy, 60);
            places(&chosen).into_iter().filter(|&place| place >= from).count()
        };
        for strategy in [SelectionStrategy::Balanced, SelectionStrategy::Uncertain] {
            assert_eq!(count(strategy, 100), 20, "all of the new label");
        }
        assert!(count(SelectionStrategy::Balanced, 80) == 40, "half are the least sure");
        assert!(count(SelectionStrategy::Balanced, 60) < 60, "and half are not");
        assert_eq!(count(SelectionStrategy::Uncertain, 60), 60);
    }

    #[test]
    fn a_heavier_sample_is_worth_more_doubt() {
        let margins = [0.0, 0.1, 0.2, 0.9];
        let weights = [1.0, 1.0, 1.0, 20.0];
        let chosen = chosen(&[(true, 4)], (&margins, &weights), SelectionStrategy::Uncertain, 2);
        assert_eq!(places(&chosen), [0, 3]);
    }

    #[test]
    fn representatives_are_the_nearest_of_each_cluster() {
        let nothing = (&[][..], &[1.0; 40][..]);
        let chosen = chosen(&[(true, 40)], nothing, SelectionStrategy::Representative, 8);
        assert_eq!(places(&chosen), [0, 1, 2, 3, 4, 5, 6, 7]);
    }

    #[test]
    fn a_rare_kind_gets_an_equal_part_of_what_is_diverse_and_its_share_of_what_is_drawn() {
        let rare = |place: usize| place < 20;
        let of = |place| (place, Member { cluster: u32::from(rare(place)), distance: 1.0 });
        let members: Vec<(usize, Member)> = (0..200).map(of).collect();
        for (strategy, expected) in
            [(SelectionStrategy::Diverse, 20), (SelectionStrategy::Balanced, 4)]
        {
            let groups = vec![Group { known: false, members: members.clone() }];
            let candidates = Candidates { groups, margins: &[], weights: &[1.0; 200] };
            let chosen = choose(candidates, strategy, 40, &mut stream(1, Draw::Selection));
            let n_rare = chosen.iter().filter(|pick| rare(pick.place)).count();
            assert_eq!(n_rare, expected, "{strategy:?}");
        }
    }
}
