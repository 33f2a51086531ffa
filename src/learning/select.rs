//! Selection: which samples of an update are trained on, and at what weight.
//!
//! Whatever the budget, samples are clustered label by label and searched for near duplicates and
//! outliers, so that every decision can be explained by where a sample lies; when nothing depends
//! on it only a part of them is, which bounds the cost.

use std::collections::{BTreeMap, BTreeSet};

use crate::domain::label::Label;
use crate::domain::settings::{Budget, Outliers, SelectionSettings, SelectionStrategy};
use crate::domain::update::{Decision, SelectionReport};

use super::choose::{Candidates, Group, choose};
use super::cluster::{Member, cluster};
use super::seed::{Draw, stream};
use super::space::{Described, describe};
use super::state::LearnerState;
use super::subset::Subset;
use super::{Lesson, SampleDecision, duplicate, outlier};

/// Samples that an update takes whole; of more it takes less than linearly more.
pub(super) const FULL_BUDGET: usize = 20_000;
/// Samples described for the report alone, when nothing depends on it.
const MAX_DESCRIBED: usize = 5_000;

/// What became of each sample of an update, by its place in the cleaned samples.
#[derive(Debug)]
pub(super) struct Selection {
    /// Places of the selected, ascending.
    pub(super) selected: Vec<usize>,
    /// For the report.
    pub(super) report: SelectionReport,
    /// What each of the selected counts in training.
    weights: Vec<f32>,
    decisions: Vec<Decision>,
    members: Vec<Option<Member>>,
    outliers: BTreeSet<usize>,
}

impl Selection {
    /// The selected of `subset`, which was selected from, at the weights that they are trained at.
    pub(super) fn chosen<'a>(&self, subset: &Subset<'a>) -> Subset<'a> {
        subset.choose(&self.selected).with_weights(self.weights.clone())
    }

    /// Why each sample that was not selected was not.
    pub(super) fn drop_reasons(&self) -> impl Iterator<Item = &'static str> {
        self.decisions.iter().filter_map(|decision| match decision {
            Decision::Duplicate => Some("near duplicate"),
            Decision::Outlier => Some("outlier"),
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
            outlier: self.outliers.contains(&place),
        })
    }
}

/// Chooses from `subset` by the model's settings; `state` is the parent's function.
pub(super) fn select(lesson: &Lesson<'_>, state: &LearnerState, subset: &Subset<'_>) -> Selection {
    let settings = &lesson.settings.selection;
    let budget = budget(settings, subset.len());
    // In the order of the content hash any stretch is a fair draw.
    let places: Vec<usize> = (0..n_to_describe(settings, budget, subset.len())).collect();
    let described = describe(lesson, state, &subset.choose(&places));
    let groups = group(&described, subset, state, lesson.seed);

    let outliers: BTreeMap<usize, f32> =
        groups.iter().flat_map(|group| outlier::find(&group.members)).collect();
    let twins = groups.iter().flat_map(|group| duplicate::find(&group.members, &described.points));
    let duplicates: BTreeSet<usize> = twins.collect();
    let mut decisions = vec![Decision::Skipped; subset.len()];
    let mut weights = subset.weights.clone();
    match settings.outliers {
        Outliers::Keep => {}
        Outliers::DownWeight => outliers.iter().for_each(|(&place, share)| weights[place] *= share),
        Outliers::HoldBack => {
            outliers.keys().for_each(|&place| decisions[place] = Decision::Outlier);
        }
    }
    let n_left = decisions.iter().filter(|&&decision| decision == Decision::Skipped).count();
    if budget < n_left && is_by_place(settings.strategy) {
        duplicates.iter().for_each(|&place| decisions[place] = Decision::Duplicate);
    }

    let candidates = Candidates {
        groups: undecided(&groups, &decisions),
        margins: &described.margins,
        weights: &weights,
    };
    let draws = &mut stream(lesson.seed, Draw::Selection);
    let mut picks = choose(candidates, settings.strategy, budget, draws);
    picks.sort_by_key(|pick| pick.place);
    picks.iter().for_each(|pick| decisions[pick.place] = Decision::Selected);
    let selected: Vec<usize> = picks.iter().map(|pick| pick.place).collect();

    let labels = |subset: &Subset<'_>| subset.labels().collect::<BTreeSet<_>>().len();
    let report = SelectionReport {
        strategy: settings.strategy,
        budget,
        described: places.len(),
        clusters: groups.iter().map(|group| group.n_clusters()).sum(),
        near_duplicates: duplicates.len(),
        outliers: outliers.len(),
        labels_left_out: labels(subset) - labels(&subset.choose(&selected)),
    };
    let mut members = vec![None; subset.len()];
    for (place, member) in groups.iter().flat_map(|group| &group.members) {
        members[*place] = Some(*member);
    }
    let weights = picks.iter().map(|pick| pick.weight).collect();
    let outliers = outliers.into_keys().collect();
    Selection { selected, report, weights, decisions, members, outliers }
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

/// How many of `n` samples to look at. All, where what becomes of them depends on it.
fn n_to_describe(settings: &SelectionSettings, budget: usize, n: usize) -> usize {
    let must_choose = budget < n && is_by_place(settings.strategy);
    match must_choose || settings.outliers != Outliers::Keep {
        true => n,
        false => n.min(MAX_DESCRIBED),
    }
}

/// Whether a strategy asks where samples lie.
fn is_by_place(strategy: SelectionStrategy) -> bool {
    !matches!(strategy, SelectionStrategy::Random | SelectionStrategy::All)
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

/// Of the samples that nothing is decided on yet, those of `groups`, and in a last group those that
/// were not described.
fn undecided(groups: &[Group], decisions: &[Decision]) -> Vec<Group> {
    let is_undecided = |place: usize| decisions[place] == Decision::Skipped;
    let mut undecided = groups.to_vec();
    undecided.iter_mut().for_each(|group| group.members.retain(|&(place, _)| is_undecided(place)));
    let n_described: usize = groups.iter().map(|group| group.members.len()).sum();
    let others = (n_described..decisions.len()).filter(|&place| is_undecided(place));
    let nowhere = Member { cluster: 0, distance: 0.0 };
    let members = others.map(|place| (place, nowhere)).collect();
    undecided.push(Group { known: false, members });
    undecided
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn only_what_something_depends_on_is_described_whole() {
        let mut settings = SelectionSettings::default();
        assert_eq!(n_to_describe(&settings, 20_000, 20_000), MAX_DESCRIBED);
        assert_eq!(n_to_describe(&settings, 100, 20_000), 20_000);
        settings.strategy = SelectionStrategy::Random;
        assert_eq!(n_to_describe(&settings, 100, 20_000), MAX_DESCRIBED);
        settings.outliers = Outliers::HoldBack;
        assert_eq!(n_to_describe(&settings, 20_000, 20_000), 20_000);
    }
}
