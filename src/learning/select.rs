//! Selection: which samples of an update are trained on, and at what weight.
//!
//! Whatever the budget, samples are clustered label by label and searched for near duplicates and
//! outliers, so that every decision can be explained by where a sample lies. Looking at a sample
//! costs about a fifth of training on it, so only so many are looked at as is worth the time: of the
//! others as many are drawn as are chosen of those, blindly.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use crate::domain::label::Label;
use crate::domain::settings::{Budget, Outliers, SelectionSettings, SelectionStrategy};
use crate::domain::update::{Decision, SelectionReport};

use super::choose::{Candidates, Group, choose, choose_blindly};
use super::cluster::{Member, cluster};
use super::seed::{Draw, stream};
use super::space::{Described, describe};
use super::state::LearnerState;
use super::subset::Subset;
use super::{Lesson, SampleDecision, duplicate, outlier};

/// Samples that an update takes whole; of more it takes less than linearly more.
pub(super) const FULL_BUDGET: usize = 20_000;
/// Samples looked at for the report alone, when nothing depends on it.
const MAX_REPORTED: usize = 5_000;
/// Samples looked at in order to choose, where the budget is small: training takes as many steps
/// for few samples as for so many.
const LOOKED_AT: usize = 12_000;
/// Samples looked at in order to choose, as a share of a larger budget.
const LOOKED_AT_SHARE: f64 = 0.5;
/// Of each label at least so many are looked at, so that none is missed for being rare.
const LOOKED_AT_PER_LABEL: usize = 16;

/// What became of each sample of an update, by its place in the cleaned samples.
#[derive(Debug)]
pub(super) struct Selection {
    /// Places of the selected, ascending.
    pub(super) selected: Vec<usize>,
    /// For the report.
    pub(super) report: SelectionReport,
    /// What each of the selected counts in training.
    weights: Vec<f32>,
    /// What each sample counts where all are taken in.
    counts: Vec<f32>,
    decisions: Vec<Decision>,
    members: Vec<Option<Member>>,
    outliers: BTreeSet<usize>,
}

impl Selection {
    /// The selected of `subset`, which was selected from, at the weights that they are trained at.
    pub(super) fn chosen<'a>(&self, subset: &Subset<'a>) -> Subset<'a> {
        subset.choose(&self.selected).with_weights(self.weights.clone())
    }

    /// All of `subset` but outliers that are held back, whatever the budget: what goes into sums.
    pub(super) fn counted<'a>(&self, subset: &Subset<'a>) -> Subset<'a> {
        let is_held_back = |place: &usize| self.decisions[*place] == Decision::Outlier;
        let places: Vec<usize> = (0..subset.len()).filter(|place| !is_held_back(place)).collect();
        let counts = places.iter().map(|&place| self.counts[place]).collect();
        subset.choose(&places).with_weights(counts)
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
    let labels = Labels::of(subset, state);
    let (looked_at, others) = divide(settings, budget, &labels);
    let seen = look(lesson, state, subset, (&looked_at, &labels));
    let unseen = labels.group(&others);
    let mut decisions = left_out(settings, budget, &seen, subset.len());
    let mut groups = seen.groups.clone();
    let is_left = |place: usize| decisions[place] == Decision::Skipped;
    groups.iter_mut().for_each(|group| group.members.retain(|&(place, _)| is_left(place)));

    let counts = weights(settings.outliers, &seen, subset);
    let candidates = |groups| Candidates { groups, margins: &seen.margins, weights: &counts };
    let draws = &mut stream(lesson.seed, Draw::Selection);
    let mut picks = if is_by_place(settings.strategy) {
        let of_seen = budget_of_seen(budget, looked_at.len(), others.len());
        let mut picks = choose(candidates(groups), settings.strategy, of_seen, draws);
        picks.extend(choose_blindly(candidates(unseen), budget - picks.len(), draws));
        picks
    } else {
        groups.extend(unseen);
        choose(candidates(groups), settings.strategy, budget, draws)
    };
    picks.sort_by_key(|pick| pick.place);
    picks.iter().for_each(|pick| decisions[pick.place] = Decision::Selected);
    let selected: Vec<usize> = picks.iter().map(|pick| pick.place).collect();

    let report = SelectionReport {
        strategy: settings.strategy,
        budget,
        described: looked_at.len(),
        clusters: seen.groups.iter().map(Group::n_clusters).sum(),
        near_duplicates: seen.duplicates.len(),
        outliers: seen.outliers.len(),
        labels_left_out: labels.n_missing(&selected),
    };
    let mut members = vec![None; subset.len()];
    for (place, member) in seen.groups.iter().flat_map(|group| &group.members) {
        members[*place] = Some(*member);
    }
    let weights = picks.iter().map(|pick| pick.weight).collect();
    let outliers = seen.outliers.into_keys().collect();
    Selection { selected, report, weights, counts, decisions, members, outliers }
}

/// Decides on the outliers that are held back and, where not all can be chosen, on near duplicates;
/// all others of the `n` samples are skipped so far.
fn left_out(settings: &SelectionSettings, budget: usize, seen: &Seen, n: usize) -> Vec<Decision> {
    let mut decisions = vec![Decision::Skipped; n];
    let mut n_left = n;
    if settings.outliers == Outliers::HoldBack {
        seen.outliers.keys().for_each(|&place| decisions[place] = Decision::Outlier);
        n_left -= seen.outliers.len();
    }
    if budget < n_left && is_by_place(settings.strategy) {
        let others = seen.duplicates.iter().filter(|place| !seen.outliers.contains_key(place));
        others.for_each(|&place| decisions[place] = Decision::Duplicate);
    }
    decisions
}

/// What each sample counts, outliers less if they are to.
fn weights(outliers: Outliers, seen: &Seen, subset: &Subset<'_>) -> Vec<f32> {
    let mut weights = subset.weights.clone();
    if outliers == Outliers::DownWeight {
        seen.outliers.iter().for_each(|(&place, share)| weights[place] *= share);
    }
    weights
}

/// What a look at some samples shows, all by place in the subset.
struct Seen {
    /// By label and cluster; clusters are numbered over all labels.
    groups: Vec<Group>,
    /// How sure the parent is of each; 1 for those not looked at.
    margins: Vec<f32>,
    /// Samples far from all others of their label, and what is left of their weight if they are to
    /// count less.
    outliers: BTreeMap<usize, f32>,
    /// Of samples that lie almost on each other all but one.
    duplicates: BTreeSet<usize>,
}

/// Clusters the samples at `places` of `subset` label by label, and searches them.
fn look(
    lesson: &Lesson<'_>,
    state: &LearnerState,
    subset: &Subset<'_>,
    (places, labels): (&[usize], &Labels),
) -> Seen {
    let Described { points, margins: sure } = describe(lesson, state, &subset.choose(places));
    let (mut margins, mut rows) = (vec![1.0; subset.len()], vec![0; subset.len()]);
    for (row, (&place, margin)) in places.iter().zip(sure).enumerate() {
        (margins[place], rows[place]) = (margin, row);
    }
    let draws = stream(lesson.seed, Draw::Clusters);
    let mut groups = labels.group(places);
    let (mut outliers, mut duplicates) = (BTreeMap::new(), BTreeSet::new());
    let mut first = 0;
    for group in &mut groups {
        let of_group: Vec<usize> = group.members.iter().map(|(place, _)| rows[*place]).collect();
        let (members, n_clusters) = cluster(&points, &of_group, &draws);
        let clustered: Vec<(usize, Member)> = of_group.iter().copied().zip(members).collect();
        let far = outlier::find(&clustered).into_iter();
        outliers.extend(far.map(|(row, share)| (places[row], share)));
        duplicates.extend(duplicate::find(&clustered, &points).into_iter().map(|row| places[row]));
        let numbered = |member: Member| Member { cluster: first + member.cluster, ..member };
        group.members =
            clustered.into_iter().map(|(row, member)| (places[row], numbered(member))).collect();
        first += n_clusters;
    }
    Seen { groups, margins, outliers, duplicates }
}

/// The labels of a subset by number, in their order, so that they are compared as text only once.
struct Labels {
    /// The number of the label at each place.
    of_place: Vec<usize>,
    /// Whether the parent knows the label of each number.
    known: Vec<bool>,
}

impl Labels {
    fn of(subset: &Subset<'_>, state: &LearnerState) -> Self {
        let known: BTreeSet<&Label> = state.labels().iter().collect();
        let hashed: HashSet<&Label> = subset.labels().collect();
        let mut sorted: Vec<&Label> = hashed.into_iter().collect();
        sorted.sort();
        let numbers: HashMap<&Label, usize> =
            sorted.iter().enumerate().map(|(number, &label)| (label, number)).collect();
        Self {
            of_place: subset.labels().map(|label| numbers[label]).collect(),
            known: sorted.iter().map(|label| known.contains(label)).collect(),
        }
    }

    /// The samples at `places` label by label, in one cluster; labels without one are left out.
    fn group(&self, places: &[usize]) -> Vec<Group> {
        let empty = |&known: &bool| Group { known, members: Vec::new() };
        let mut groups: Vec<Group> = self.known.iter().map(empty).collect();
        let nowhere = Member { cluster: 0, distance: 0.0 };
        for &place in places {
            groups[self.of_place[place]].members.push((place, nowhere));
        }
        groups.retain(|group| !group.members.is_empty());
        groups
    }

    /// How many labels none of `places` has.
    fn n_missing(&self, places: &[usize]) -> usize {
        let mut missing = vec![true; self.known.len()];
        places.iter().for_each(|&place| missing[self.of_place[place]] = false);
        missing.into_iter().filter(|&missing| missing).count()
    }
}

/// Places of the samples to look at, and of the others. In the order of the content hash any
/// stretch is a fair draw.
fn divide(
    settings: &SelectionSettings,
    budget: usize,
    labels: &Labels,
) -> (Vec<usize>, Vec<usize>) {
    let n = n_to_look_at(settings, budget, labels.of_place.len());
    let must_choose = budget < labels.of_place.len() && is_by_place(settings.strategy);
    let mut n_of_label = vec![0; labels.known.len()];
    (0..labels.of_place.len()).partition(|&place| {
        let n_before = &mut n_of_label[labels.of_place[place]];
        *n_before += 1;
        place < n || (must_choose && *n_before <= LOOKED_AT_PER_LABEL)
    })
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

/// How many of `n` samples to look at: all where an outlier's fate depends on it.
fn n_to_look_at(settings: &SelectionSettings, budget: usize, n: usize) -> usize {
    let most = match budget < n && is_by_place(settings.strategy) {
        _ if settings.outliers != Outliers::Keep => n,
        true => LOOKED_AT.max((LOOKED_AT_SHARE * budget as f64) as usize),
        false => MAX_REPORTED,
    };
    n.min(most)
}

/// How much of the budget is spent on samples that were looked at: all of it where they leave
/// enough of a choice, else their share.
fn budget_of_seen(budget: usize, n_seen: usize, n_unseen: usize) -> usize {
    match n_seen >= 2 * budget {
        true => budget,
        false => (budget as f64 * n_seen as f64 / (n_seen + n_unseen) as f64).round() as usize,
    }
}

/// Whether a strategy asks where samples lie.
fn is_by_place(strategy: SelectionStrategy) -> bool {
    !matches!(strategy, SelectionStrategy::Random | SelectionStrategy::All)
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
    fn as_many_are_looked_at_as_is_worth_the_time() {
        let mut settings = SelectionSettings::default();
        assert_eq!(n_to_look_at(&settings, 20_000, 20_000), MAX_REPORTED);
        assert_eq!(n_to_look_at(&settings, 100, 1_000), 1_000);
        assert_eq!(n_to_look_at(&settings, 100, 100_000), LOOKED_AT);
        assert_eq!(n_to_look_at(&settings, 40_000, 100_000), 20_000);
        settings.strategy = SelectionStrategy::Random;
        assert_eq!(n_to_look_at(&settings, 100, 20_000), MAX_REPORTED);
        settings.outliers = Outliers::HoldBack;
        assert_eq!(n_to_look_at(&settings, 20_000, 20_000), 20_000);
    }

    #[test]
    fn a_rare_label_is_looked_at_however_many_samples_there_are() {
        let settings = SelectionSettings::default();
        let of_place: Vec<usize> = (0..50_000).map(|place| usize::from(place >= 49_900)).collect();
        let labels = Labels { of_place, known: vec![true, false] };
        let (looked_at, others) = divide(&settings, 100, &labels);
        assert_eq!((looked_at.len(), others.len()), (LOOKED_AT + 16, 50_000 - LOOKED_AT - 16));
        assert!(looked_at[LOOKED_AT..].iter().all(|&place| place >= 49_900));
        let (looked_at, _) = divide(&settings, 50_000, &labels);
        assert_eq!(looked_at.len(), MAX_REPORTED, "where all are taken none is missed");
    }

    #[test]
    fn the_budget_goes_to_what_was_looked_at_while_that_leaves_a_choice() {
        assert_eq!(budget_of_seen(100, 1_000, 0), 100);
        assert_eq!(budget_of_seen(100, 200, 10_000), 100);
        assert_eq!(budget_of_seen(100, 150, 50), 75);
        assert_eq!(budget_of_seen(200, 150, 50), 150);
        assert_eq!(budget_of_seen(200, 200, 0), 200);
    }
}
