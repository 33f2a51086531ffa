//! Evaluation on held-out samples, of the new state and of its parent unchanged.

use std::collections::{BTreeMap, HashMap};

use crate::domain::evaluation::{AccuracyMatrix, Evaluation, LabelFigures};
use crate::domain::label::Label;

use super::predict::{Predictor, largest};
use super::{LearnerState, LearningError, Lesson, Watch};

/// What two networks answered to each held-out sample of each experience.
#[derive(Debug, Default)]
pub(super) struct Answers<'a> {
    /// The samples one after another.
    pub(super) answers: Vec<Answer<'a>>,
    /// Where each experience's samples end in `answers`.
    ends: Vec<usize>,
}

/// What two networks answered to one held-out sample.
#[derive(Debug)]
pub(super) struct Answer<'a> {
    /// What it is.
    pub(super) label: &'a Label,
    /// What the new network says.
    pub(super) given: &'a Label,
    /// What the parent says, if there is one.
    pub(super) parent: Option<&'a Label>,
}

impl Answer<'_> {
    /// Whether the new network is right.
    pub(super) fn is_right(&self) -> bool {
        self.given == self.label
    }

    /// Whether the parent is; none without a parent.
    pub(super) fn parent_is_right(&self) -> Option<bool> {
        self.parent.map(|given| given == self.label)
    }
}

/// Lets `state` and the lesson's parent answer all held-out samples.
pub(super) fn compare<'a>(
    lesson: &'a Lesson<'_>,
    state: &'a LearnerState,
    watch: &mut Watch<'_>,
) -> Result<Answers<'a>, LearningError> {
    let own = Predictor::new(state, lesson.device);
    let parent = lesson.parent.map(|parent| (Predictor::new(parent, lesson.device), parent));
    let mut answers = Answers::default();
    for (index, held_out) in lesson.held_out.iter().enumerate() {
        let given = best(&own, state, &held_out.inputs);
        let before =
            parent.as_ref().map(|(predictor, parent)| best(predictor, parent, &held_out.inputs));
        for (place, (label, given)) in held_out.labels.iter().zip(given).enumerate() {
            let parent = before.as_ref().map(|before| before[place]);
            answers.answers.push(Answer { label, given, parent });
        }
        answers.ends.push(answers.answers.len());
        watch.progress(0.9 + 0.1 * (index + 1) as f32 / lesson.held_out.len() as f32)?;
    }
    Ok(answers)
}

/// The likeliest label of each input.
fn best<'a>(
    predictor: &Predictor,
    state: &'a LearnerState,
    inputs: &crate::domain::input::Inputs,
) -> Vec<&'a Label> {
    // The lesson's shapes were checked, and an empty set has no shape to be wrong in.
    let logits = predictor.logits(inputs).unwrap_or_default();
    logits.chunks_exact(state.labels.len()).map(|row| &state.labels[largest(row)]).collect()
}

/// The figures of `answers`; the lesson's matrix with one more row.
pub(super) fn evaluate(
    lesson: &Lesson<'_>,
    state: &LearnerState,
    answers: &Answers<'_>,
) -> Evaluation {
    let row = accuracies(answers);
    let mut matrix = lesson.parent_matrix.clone();
    let (forgetting, backward_transfer) =
        (forgetting(&matrix, &row), backward_transfer(&matrix, &row));
    matrix.push(row);
    let parent_right = answers.answers.iter().filter_map(Answer::parent_is_right);
    Evaluation {
        accuracy: share(answers.answers.iter().map(Answer::is_right)),
        parent_accuracy: share(parent_right),
        forgetting,
        backward_transfer,
        matrix,
        per_label: per_label(state, answers),
        held_out: answers.answers.len(),
    }
}

/// The share of those that are true; none of nothing.
pub(super) fn share(right: impl Iterator<Item = bool>) -> Option<f64> {
    let (mut n, mut n_right) = (0_usize, 0_usize);
    for right in right {
        (n, n_right) = (n + 1, n_right + usize::from(right));
    }
    (n > 0).then(|| n_right as f64 / n as f64)
}

/// Accuracy on each experience.
fn accuracies(answers: &Answers<'_>) -> Vec<Option<f64>> {
    let begins = std::iter::once(0).chain(answers.ends.iter().copied());
    let ranges = begins.zip(&answers.ends);
    ranges
        .map(|(begin, &end)| share(answers.answers[begin..end].iter().map(Answer::is_right)))
        .collect()
}

/// Mean over earlier experiences of the best accuracy that an earlier row shows, less today's
/// (Chaudhry et al. 2018).
fn forgetting(earlier: &AccuracyMatrix, today: &[Option<f64>]) -> Option<f64> {
    let best = |experience: usize| {
        let shown = earlier.iter().filter_map(|row| row.get(experience).copied().flatten());
        shown.reduce(f64::max)
    };
    mean_over_earlier(today, |experience, now| Some(best(experience)? - now))
}

/// Mean over earlier experiences of today's accuracy less that right after learning each
/// (Lopez-Paz & Ranzato 2017).
fn backward_transfer(earlier: &AccuracyMatrix, today: &[Option<f64>]) -> Option<f64> {
    let first = |experience: usize| {
        let learnt = earlier.iter().find(|row| row.len() == experience + 1)?;
        learnt.last().copied().flatten()
    };
    mean_over_earlier(today, |experience, now| Some(now - first(experience)?))
}

/// The mean of `figure` over the experiences before the last for which there is one.
fn mean_over_earlier(
    today: &[Option<f64>],
    figure: impl Fn(usize, f64) -> Option<f64>,
) -> Option<f64> {
    let earlier = &today[..today.len().saturating_sub(1)];
    let figures: Vec<f64> = earlier
        .iter()
        .enumerate()
        .filter_map(|(experience, now)| figure(experience, (*now)?))
        .collect();
    (!figures.is_empty()).then(|| figures.iter().sum::<f64>() / figures.len() as f64)
}

/// Precision, recall and support of each label that is known or was held out.
fn per_label(state: &LearnerState, answers: &Answers<'_>) -> BTreeMap<String, LabelFigures> {
    #[derive(Default)]
    struct Counts {
        support: usize,
        given: usize,
        right: usize,
    }
    let mut counts: HashMap<&Label, Counts> =
        state.labels.iter().map(|label| (label, Counts::default())).collect();
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
        support: counts.support,
    };
    counts.into_iter().map(|(label, counts)| (label.to_string(), figures(counts))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forgetting_and_backward_transfer_follow_their_definitions() {
        let earlier = vec![vec![Some(0.9)], vec![Some(0.95), Some(0.8)]];
        let today = [Some(0.85), Some(0.9), Some(1.0)];
        let near = |figure: Option<f64>, wanted: f64| (figure.unwrap() - wanted).abs() < 1e-12;
        assert!(near(forgetting(&earlier, &today), (0.10 - 0.10) / 2.0));
        assert!(near(backward_transfer(&earlier, &today), (-0.05 + 0.10) / 2.0));
    }

    #[test]
    fn nothing_measured_is_null_and_no_panic() {
        assert_eq!(forgetting(&vec![], &[]), None);
        assert_eq!(forgetting(&vec![vec![None]], &[None, Some(1.0)]), None);
        assert_eq!(backward_transfer(&vec![], &[Some(1.0)]), None);
        assert_eq!(share([].into_iter()), None);
    }

    #[test]
    fn rows_may_be_shorter_after_a_roll_back() {
        let earlier = vec![vec![Some(0.9)]];
        let today = [Some(0.8), Some(0.5), Some(1.0)];
        assert!((forgetting(&earlier, &today).unwrap() - 0.1).abs() < 1e-12);
        assert!((backward_transfer(&earlier, &today).unwrap() + 0.1).abs() < 1e-12);
    }
}
