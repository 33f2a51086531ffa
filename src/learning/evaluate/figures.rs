//! Figures by label: precision, recall, F1, and what is taken for what.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};

use crate::domain::evaluation::{Confusion, ConfusionMatrix, LabelFigures};
use crate::domain::label::Label;

use super::{Answer, Answers};

/// The most labels for which every pair is counted.
const MOST_LABELS: usize = 50;
/// The most wrong answers that are listed.
const MOST_CONFUSIONS: usize = 50;

/// The figures of each label that is known or was held out.
pub(super) fn per_label(known: &[Label], answers: &Answers<'_>) -> BTreeMap<String, LabelFigures> {
    #[derive(Default)]
    struct Counts {
        support: usize,
        given: usize,
        right: usize,
    }
    let mut counts: HashMap<&Label, Counts> =
        known.iter().map(|label| (label, Counts::default())).collect();
    for answer in &answers.answers {
        counts.entry(answer.given).or_default().given += 1;
        let own = counts.entry(answer.label).or_default();
        own.support += 1;
        own.right += usize::from(answer.is_right());
    }
    let ratio = |part: usize, whole: usize| (whole > 0).then(|| part as f64 / whole as f64);
    let figures = |counts: Counts| LabelFigures {
        precision: ratio(counts.right, counts.given),
        recall: ratio(counts.right, counts.support),
        // The harmonic mean of right/given and right/support.
        f1: ratio(2 * counts.right, counts.given + counts.support),
        support: counts.support,
    };
    counts.into_iter().map(|(label, counts)| (label.to_string(), figures(counts))).collect()
}

/// Every answer by label while the labels of `per_label` are few, and the most frequent wrong ones.
pub(super) fn confusion(
    answers: &Answers<'_>,
    per_label: &BTreeMap<String, LabelFigures>,
) -> (Option<ConfusionMatrix>, Vec<Confusion>) {
    let mut counts = BTreeMap::<(&str, &str), usize>::new();
    for Answer { label, given, .. } in &answers.answers {
        *counts.entry((label.as_str(), given.as_str())).or_default() += 1;
    }
    let labels = || per_label.keys().map(String::as_str);
    let count = |label, given| counts.get(&(label, given)).copied().unwrap_or_default();
    let matrix = (per_label.len() <= MOST_LABELS).then(|| ConfusionMatrix {
        labels: per_label.keys().cloned().collect(),
        counts: labels().map(|label| labels().map(|given| count(label, given)).collect()).collect(),
    });
    let mut wrong: Vec<_> =
        counts.into_iter().filter(|((label, given), _)| label != given).collect();
    wrong.sort_by_key(|&(pair, count)| (Reverse(count), pair));
    wrong.truncate(MOST_CONFUSIONS);
    let confusion = |((label, answer), count): ((&str, &str), usize)| Confusion {
        label: label.to_owned(),
        answer: answer.to_owned(),
        count,
    };
    (matrix, wrong.into_iter().map(confusion).collect())
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Answers made of pairs of what is and what is said.
    pub(in crate::learning) fn answers<T>(
        pairs: &[(&str, &str)],
        with: impl FnOnce(Answers<'_>) -> T,
    ) -> T {
        let parse = |text: &str| Label::parse(text).unwrap();
        let labels: Vec<(Label, Label)> =
            pairs.iter().map(|(label, given)| (parse(label), parse(given))).collect();
        let answer = |(label, given)| Answer {
            label,
            given,
            parent: None,
            naive: None,
            experience: 0,
            is_earlier: false,
        };
        let answers = labels.iter().map(|(label, given)| answer((label, given))).collect();
        with(Answers { answers, ..Answers::default() })
    }

    fn labels(names: &[&str]) -> Vec<Label> {
        names.iter().map(|name| Label::parse(*name).unwrap()).collect()
    }

    #[test]
    fn figures_by_label_follow_their_definitions() {
        let pairs = [("a", "a"), ("a", "a"), ("a", "b"), ("b", "b"), ("b", "a"), ("z", "a")];
        answers(&pairs, |answers| {
            let figures = per_label(&labels(&["a", "b", "c"]), &answers);
            let of = |label: &str| {
                let LabelFigures { precision, recall, f1, support } = figures[label].clone();
                (precision, recall, f1, support)
            };
            assert_eq!(of("a"), (Some(0.5), Some(2.0 / 3.0), Some(4.0 / 7.0), 3));
            assert_eq!(of("b"), (Some(0.5), Some(0.5), Some(0.5), 2));
            assert_eq!(of("c"), (None, None, None, 0), "known, but neither held out nor answered");
            assert_eq!(of("z"), (None, Some(0.0), Some(0.0), 1), "held out, but not known");
        });
    }

    #[test]
    fn what_is_taken_for_what_is_counted_whole_for_few_labels() {
        let pairs = [("b", "a"), ("a", "a"), ("a", "b"), ("b", "a"), ("z", "b")];
        answers(&pairs, |answers| {
            let figures = per_label(&labels(&["a", "b"]), &answers);
            let (matrix, confusions) = confusion(&answers, &figures);
            let matrix = matrix.unwrap();
            assert_eq!(matrix.labels, ["a", "b", "z"]);
            assert_eq!(matrix.counts, [[1, 1, 0], [2, 0, 0], [0, 1, 0]]);
            let confusions: Vec<_> =
                confusions.iter().map(|c| (&*c.label, &*c.answer, c.count)).collect();
            assert_eq!(confusions, [("b", "a", 2), ("a", "b", 1), ("z", "b", 1)]);
        });
    }

    #[test]
    fn of_many_labels_only_the_most_frequent_confusions_are_listed() {
        let names: Vec<String> = (0..60).map(|n| format!("{n:02}")).collect();
        let mut pairs: Vec<(&str, &str)> = Vec::new();
        for (nth, name) in names.iter().enumerate() {
            pairs.extend(vec![(&**name, &*names[(nth + 1) % 60]); 1 + nth]);
        }
        let fifty: Vec<&str> = names[..50].iter().map(String::as_str).collect();
        answers(&pairs, |answers| {
            let (matrix, confusions) = confusion(&answers, &per_label(&labels(&fifty), &answers));
            assert_eq!((matrix, confusions.len()), (None, 50));
            assert_eq!((&*confusions[0].label, confusions[0].count), ("59", 60));
            assert_eq!((&*confusions[49].label, confusions[49].count), ("10", 11));
        });
        answers(&[("00", "01")], |answers| {
            assert!(confusion(&answers, &per_label(&labels(&fifty), &answers)).0.is_some());
        });
    }
}
