//! What an update did to earlier experiences: a row of the accuracy matrix, forgetting, backward
//! transfer. Where experiences are many, a column is a span of them (`domain::matrix`).

use crate::domain::evaluation::AccuracyMatrix;
use crate::domain::matrix::mean;

use super::{Answer, Answers, share};

/// The share of answers that are right, on each span of `n_experiences`.
pub(super) fn accuracies<'a>(
    answers: &Answers<'a>,
    n_experiences: usize,
    span: usize,
    is_right: impl Fn(&Answer<'a>) -> bool,
) -> Vec<Option<f64>> {
    let mut right = vec![Vec::new(); n_experiences.div_ceil(span)];
    for answer in &answers.answers {
        right[answer.experience / span].push(is_right(answer));
    }
    right.into_iter().map(|right| share(right.into_iter())).collect()
}

/// Mean over earlier spans of the best accuracy that an earlier row shows, less today's
/// (Chaudhry et al. 2018).
pub(super) fn forgetting(earlier: &AccuracyMatrix, today: &[Option<f64>]) -> Option<f64> {
    let best = |span: usize| {
        let shown = earlier.iter().filter_map(|row| row.get(span).copied().flatten());
        shown.reduce(f64::max)
    };
    mean_over_earlier(today, |span, now| Some(best(span)? - now))
}

/// Mean over earlier spans of today's accuracy less that right after learning each
/// (Lopez-Paz & Ranzato 2017).
pub(super) fn backward_transfer(earlier: &AccuracyMatrix, today: &[Option<f64>]) -> Option<f64> {
    let first = |span: usize| {
        let learnt = earlier.iter().find(|row| row.len() == span + 1)?;
        learnt.last().copied().flatten()
    };
    mean_over_earlier(today, |span, now| Some(now - first(span)?))
}

/// The mean of `figure` over the spans before the last for which there is one.
fn mean_over_earlier(
    today: &[Option<f64>],
    figure: impl Fn(usize, f64) -> Option<f64>,
) -> Option<f64> {
    let earlier = &today[..today.len().saturating_sub(1)];
    let figures: Vec<Option<f64>> =
        earlier.iter().enumerate().map(|(span, now)| figure(span, (*now)?)).collect();
    mean(&figures)
}

#[cfg(test)]
mod tests {
    use super::super::figures::tests::answers;
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
        assert_eq!(accuracies(&Answers::default(), 0, 1, Answer::is_right), []);
        assert_eq!(accuracies(&Answers::default(), 3, 2, Answer::is_right), [None, None]);
    }

    #[test]
    fn rows_may_be_shorter_after_a_roll_back() {
        let earlier = vec![vec![Some(0.9)]];
        let today = [Some(0.8), Some(0.5), Some(1.0)];
        assert!((forgetting(&earlier, &today).unwrap() - 0.1).abs() < 1e-12);
        assert!((backward_transfer(&earlier, &today).unwrap() + 0.1).abs() < 1e-12);
    }

    #[test]
    fn a_span_is_measured_on_the_samples_of_all_its_experiences() {
        let given = [("a", "a", 0), ("a", "b", 1), ("b", "b", 1), ("b", "b", 1), ("b", "a", 2)];
        let labels: Vec<_> = given.iter().map(|&(label, answer, _)| (label, answer)).collect();
        answers(&labels, |mut answers| {
            for (answer, (.., experience)) in answers.answers.iter_mut().zip(given) {
                answer.experience = experience;
            }
            let single = accuracies(&answers, 4, 1, Answer::is_right);
            assert_eq!(single, [Some(1.0), Some(2.0 / 3.0), Some(0.0), None]);
            assert_eq!(accuracies(&answers, 4, 2, Answer::is_right), [Some(0.75), Some(0.0)]);
        });
    }
}
