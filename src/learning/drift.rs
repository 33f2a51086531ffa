//! Whether what inputs mean has moved, so that old samples mislead.
//!
//! The nearest old samples answer the new ones before the network learns them (test-then-train,
//! Gama et al. 2013), in the network's last hidden layer: once the nearest of the newest alone, once
//! the nearest of these and the history together. Where only inputs move, new samples find their like among the newest either
//! way; where meanings stay, more neighbours are better; where the same input has come to mean
//! something else, as in a market, the history misleads. Wins are counted over updates, older ones
//! fading, and meanings are held to move only once that is beyond noise. Only samples whose label
//! both sets have are counted: new labels say nothing here. Nor does an update whose inputs look like none
//! before, as objects in a new style do: the newest know little of them, and then chance decides who wins.
//!
//! Meanings may also turn at once, and then all that was learnt, held-out samples included, speaks against what
//! comes. The gate refuses the first of it, as it would wrong labels, which nothing tells from it. Samples that
//! come after that are other witnesses: what was refused is the newest that they are answered by.

use std::collections::{BTreeMap, BTreeSet};

use ndarray::{Array1, ArrayView1, ArrayView2, Axis, s};

use crate::domain::label::Label;

use super::Lesson;
use super::predict::largest;
use super::product::product;
use super::space::{Points, describe};
use super::state::LearnerState;
use super::subset::Subset;

/// New samples after which half of earlier wins are left: a stream in small pieces is no other stream.
const HALF_LIFE: f64 = 6_000.0;
/// Standard errors that the lead must exceed for meanings to be held to move.
const BEGINS: f64 = 1.5;
/// And to still be held to.
const ENDS: f64 = 0.0;
/// Fewer answers than this prove nothing.
const LEAST_ANSWERED: f64 = 1_000.0;
/// Nearest that are asked.
const NEAREST: usize = 15;
/// Most samples that are looked at for meanings that move, of the new, the newest and the history each.
pub const MAX_LOOKED_AT: usize = 2_000;
/// How often the newest must be right of new samples, to how often they are of each other: where inputs stay
/// what they are it is about as often (on Elec2 0.70 at least), in a new style a tenth to a half as often.
const LEAST_AT_HOME: f64 = 2.0 / 3.0;
/// The newest that are asked of each other.
const ASKED_OF_EACH_OTHER: usize = 100;
/// Fewer samples than this teach a probe nothing.
pub(super) const LEAST_TAUGHT: usize = 100;

/// What was seen so far: samples that only one of the two answered rightly.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(super) struct Evidence {
    /// Only by the newest alone.
    pub(super) recent: f64,
    /// Only by the newest and the history together.
    pub(super) history: f64,
    /// Samples answered.
    pub(super) answered: f64,
    /// Whether meanings are held to move.
    pub(super) moves: bool,
}

impl Evidence {
    /// Whether that is so after `moved` was held before.
    fn judge(&self, moved: bool) -> bool {
        let lead = self.recent - self.history;
        let errors = if moved { ENDS } else { BEGINS };
        self.answered >= LEAST_ANSWERED && lead > errors * (self.recent + self.history).sqrt()
    }

    /// Lets older evidence fade and takes in what the new samples show of `parent`.
    pub(super) fn follow<'a>(
        self,
        lesson: &Lesson<'_>,
        parent: &LearnerState,
        new: &Subset<'a>,
        (recent, history): (&Subset<'a>, &Subset<'a>),
    ) -> Self {
        let left = 0.5_f64.powf(new.len() as f64 / HALF_LIFE);
        let mut next = Self {
            recent: left * self.recent,
            history: left * self.history,
            answered: left * self.answered,
            moves: self.moves,
        };
        let (recent, history) = (recent.up_to(MAX_LOOKED_AT), history.up_to(MAX_LOOKED_AT));
        let labels = common_labels(&recent, &history);
        let new = with_labels(&new.up_to(MAX_LOOKED_AT), &labels);
        let too_few = recent.len() < LEAST_TAUGHT || history.len() < LEAST_TAUGHT;
        if too_few || labels.len() < 2 || new.is_empty() {
            return next;
        }
        let points = |subset: &Subset<'_>| describe(lesson, parent, subset).points;
        let (recent_points, history_points, new_points) =
            (points(&recent), points(&history), points(&new));
        let recent = Taught::of(&recent_points, &recent, &labels);
        let history = Taught::of(&history_points, &history, &labels);
        let truth: Vec<usize> = new.labels().map(|label| labels[label]).collect();
        let Some(wins) = wins(&recent, &history, rows(&new_points), &truth) else { return next };
        next.recent += wins.recent;
        next.history += wins.history;
        next.answered += wins.answered;
        next.moves = next.judge(self.moves);
        next
    }
}

/// What the nearest samples say of `points`, whose labels are `truth`; none where the newest are not at home.
fn wins(
    recent: &Taught<'_>,
    history: &Taught<'_>,
    points: ArrayView2<'_, f32>,
    truth: &[usize],
) -> Option<Evidence> {
    let n_labels = recent.shares.len();
    let of_recent = recent.nearest(points, &vec![1.0; n_labels]);
    let alone: Vec<usize> = of_recent.iter().map(|near| answer(near.clone(), n_labels)).collect();
    let right = alone.iter().zip(truth).filter(|(answer, truth)| answer == truth).count();
    let at_home = LEAST_AT_HOME * recent.right_of_each_other(ASKED_OF_EACH_OTHER);
    if (right as f64) < at_home * truth.len() as f64 {
        return None;
    }
    let of_history = history.nearest(points, &history.votes(recent));
    let together = of_recent.iter().zip(&of_history);
    let together = together.map(|(a, b)| answer([&a[..], b].concat(), n_labels));
    let mut wins = Evidence { answered: truth.len() as f64, ..Evidence::default() };
    for ((truth, alone), together) in truth.iter().zip(&alone).zip(together) {
        match (alone == truth, together == *truth) {
            (true, false) => wins.recent += 1.0,
            (false, true) => wins.history += 1.0,
            _ => {}
        }
    }
    Some(wins)
}

/// Labels that come in both, each with a place.
fn common_labels<'a>(a: &Subset<'a>, b: &Subset<'a>) -> BTreeMap<&'a Label, usize> {
    let b: BTreeSet<&Label> = b.labels().collect();
    let common: BTreeSet<&Label> = a.labels().filter(|label| b.contains(label)).collect();
    common.into_iter().enumerate().map(|(place, label)| (label, place)).collect()
}

/// Those of `subset` that have one of `labels`.
fn with_labels<'a>(subset: &Subset<'a>, labels: &BTreeMap<&Label, usize>) -> Subset<'a> {
    let known = subset.labels().enumerate().filter(|(_, label)| labels.contains_key(label));
    subset.choose(&known.map(|(place, _)| place).collect::<Vec<_>>())
}

/// Old samples as points, and the place of each one's label.
struct Taught<'a> {
    points: ArrayView2<'a, f32>,
    /// None where the other set has no such label.
    labels: Vec<Option<usize>>,
    /// How often each label comes among them.
    shares: Vec<f32>,
}

/// A sample near another: how near, its label's place, and what its vote counts.
type Near = (f32, usize, f32);

impl<'a> Taught<'a> {
    /// Those of `subset` that have one of `labels`.
    fn of(points: &'a Points, subset: &Subset<'_>, labels: &BTreeMap<&Label, usize>) -> Self {
        let places: Vec<Option<usize>> =
            subset.labels().map(|label| labels.get(label).copied()).collect();
        let n = places.iter().flatten().count();
        let mut shares = vec![0.0; labels.len()];
        places.iter().flatten().for_each(|&label| shares[label] += 1.0 / n as f32);
        Self { points: rows(points), labels: places, shares }
    }

    /// What the vote of each label counts, so that labels come as often as among `others`: the
    /// history is drawn evenly over labels, and labels may come unevenly.
    fn votes(&self, others: &Taught<'_>) -> Vec<f32> {
        others.shares.iter().zip(&self.shares).map(|(theirs, own)| theirs / own).collect()
    }

    /// How often the nearest others say what each of the first `most` is, as a share.
    fn right_of_each_other(&self, most: usize) -> f64 {
        let asked = self.points.slice(s![..most.min(self.points.nrows()), ..]);
        let nearest = self.nearest(asked, &vec![1.0; self.shares.len()]);
        let is_right = |(mut near, label): (Vec<Near>, &Option<usize>)| {
            // Itself is the nearest of all.
            let own = (0..near.len()).min_by(|&a, &b| near[a].0.total_cmp(&near[b].0));
            own.map(|own| near.swap_remove(own));
            label.map(|label| answer(near, self.shares.len()) == label)
        };
        let right: Vec<bool> = nearest.into_iter().zip(&self.labels).filter_map(is_right).collect();
        right.iter().filter(|right| **right).count() as f64 / right.len().max(1) as f64
    }

    /// The nearest to each of `points`, where a label's vote counts as `votes` says.
    fn nearest(&self, points: ArrayView2<'_, f32>, votes: &[f32]) -> Vec<Vec<Near>> {
        // |a − b|² less |a|², which is the same for all that are compared: a product of matrices,
        // and not a loop over pairs.
        let squares: Array1<f32> = self.points.map_axis(Axis(1), |point| point.dot(&point));
        let products = product(points, self.points.t());
        let of_point = |products: ArrayView1<'_, f32>| {
            let all = products.into_iter().zip(&squares).zip(&self.labels);
            let known = all.filter_map(|((product, square), label)| {
                label.map(|label| (square - 2.0 * product, label, votes[label]))
            });
            first(known.collect())
        };
        products.outer_iter().map(of_point).collect()
    }
}

fn rows(points: &Points) -> ArrayView2<'_, f32> {
    ArrayView2::from_shape((points.len(), points.dimensions), &points.numbers)
        .expect("whole points")
}

/// The nearest that are asked, of `near`.
fn first(mut near: Vec<Near>) -> Vec<Near> {
    if near.len() > NEAREST {
        near.select_nth_unstable_by(NEAREST - 1, |a, b| a.0.total_cmp(&b.0));
        near.truncate(NEAREST);
    }
    near
}

/// What most of the nearest of `near` say.
fn answer(near: Vec<Near>, n_labels: usize) -> usize {
    let mut counts = vec![0.0; n_labels];
    first(near).into_iter().for_each(|(_, label, vote)| counts[label] += vote);
    largest(&counts)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers on a line from `first` on, in runs of 50 that are of the label `label` says.
    fn line(first: f32, label: impl Fn(usize) -> usize) -> (Points, Vec<Option<usize>>) {
        let numbers = (0..500).map(|at| first + at as f32).collect();
        (Points { numbers, dimensions: 1 }, (0..500).map(|at| Some(label(at / 50))).collect())
    }

    fn taught((points, labels): &(Points, Vec<Option<usize>>)) -> Taught<'_> {
        Taught { points: rows(points), labels: labels.clone(), shares: vec![0.5, 0.5] }
    }

    #[test]
    fn a_history_that_says_otherwise_loses_and_inputs_unlike_all_before_say_nothing() {
        let (now, before) = (line(0.2, |run| run % 2), line(0.0, |run| 1 - run % 2));
        let (recent, history, same) = (taught(&now), taught(&before), taught(&now));
        let ask = |history: &Taught<'_>, numbers: Vec<f32>, label: fn(usize) -> usize| {
            let truth: Vec<usize> = (0..numbers.len()).map(label).collect();
            let points = Points { numbers, dimensions: 1 };
            let wins = wins(&recent, history, rows(&points), &truth);
            wins.map(|wins| (wins.recent, wins.history, wins.answered))
        };
        let among: Vec<f32> = (0..500).map(|at| 0.25 + at as f32).collect();
        let (lead, lag, answered) = ask(&history, among.clone(), |at| at / 50 % 2).unwrap();
        assert!(lead > 100.0 && lag < 10.0 && answered == 500.0, "{lead} {lag}");
        let (lead, lag, _) = ask(&same, among, |at| at / 50 % 2).unwrap();
        assert!(lead < 10.0 && lag < 10.0, "{lead} {lag}");
        let far: Vec<f32> = (0..500).map(|at| 10_000.0 + at as f32).collect();
        assert_eq!(ask(&history, far, |at| at % 2), None);
    }

    #[test]
    fn a_lead_counts_only_beyond_noise() {
        let judge = |recent, history, answered, moved| {
            Evidence { recent, history, answered, moves: false }.judge(moved)
        };
        assert!(!Evidence::default().judge(true));
        assert!(!judge(30.0, 20.0, 1_000.0, false), "1.5 standard errors are 10.6");
        assert!(judge(40.0, 20.0, 1_000.0, false));
        assert!(judge(30.0, 20.0, 1_000.0, true), "once held it takes less");
        assert!(!judge(20.0, 40.0, 1_000.0, true));
        assert!(!judge(40.0, 20.0, 500.0, false), "too few answers");
    }
}
