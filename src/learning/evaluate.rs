//! Evaluation on held-out samples, of the new state, of its parent unchanged, and of the parent after
//! plain fine-tuning.
//!
//! `answers` asks the networks; everything else counts what they said: `figures` by label,
//! `transfer` by experience, `calibrate` how sure they were.

mod answers;
mod calibrate;
mod figures;
mod transfer;

use crate::domain::evaluation::{Alternative, Counterfactual, Evaluation};
use crate::domain::matrix::{mean, push_row, span_of};

use super::counterfactual::Naive;
use super::{LearnerState, Lesson};

pub(super) use answers::{Answer, Answers, compare, lowest};
pub(super) use calibrate::fitted_losses;

pub use answers::{MOST_HELD_OUT, held_out_per_label};
pub use calibrate::{CALIBRATION_BINS, calibration_error};

/// The figures of `answers`, which `naive` gave too, if it was tried; the lesson's matrix with one more
/// row.
pub(super) fn evaluate<'a>(
    lesson: &Lesson<'_>,
    state: &LearnerState,
    answers: &Answers<'a>,
    naive: Option<&Naive>,
) -> Evaluation {
    let n_experiences = lesson.held_out.len();
    let span = span_of(n_experiences);
    let row = transfer::accuracies(answers, n_experiences, span, Answer::is_right);
    let per_label = figures::per_label(state.labels(), answers);
    let recalls: Vec<Option<f64>> = per_label.values().map(|figures| figures.recall).collect();
    let (confusion_matrix, confusions) = figures::confusion(answers, &per_label);
    let mut matrix = lesson.parent_matrix.clone();
    let alternative = |is_right: fn(&Answer<'a>) -> Option<bool>| {
        let right = |answer: &Answer<'a>| is_right(answer) == Some(true);
        let row = transfer::accuracies(answers, n_experiences, span, right);
        Alternative {
            accuracy: share(answers.answers.iter().filter_map(is_right)),
            forgetting: transfer::forgetting(&matrix, &row),
        }
    };
    let counterfactual = lesson.parent.map(|_| Counterfactual {
        parent: alternative(Answer::parent_is_right),
        naive: naive.map(|_| alternative(Answer::naive_is_right)),
        naive_steps: naive.map_or(0, |naive| naive.steps),
    });
    let mut evaluation = Evaluation {
        accuracy: share(answers.answers.iter().map(Answer::is_right)),
        parent_accuracy: counterfactual.as_ref().and_then(|other| other.parent.accuracy),
        balanced_accuracy: mean(&recalls),
        average_accuracy: mean(&row),
        forgetting: transfer::forgetting(&matrix, &row),
        backward_transfer: transfer::backward_transfer(&matrix, &row),
        span,
        per_label,
        confusion_matrix,
        confusions,
        calibration: calibrate::calibrate(&answers.scores),
        counterfactual,
        held_out: answers.answers.len(),
        ..Evaluation::default()
    };
    push_row(&mut matrix, row);
    evaluation.matrix = matrix;
    evaluation
}

/// The share of those that are true; none of nothing.
fn share(right: impl Iterator<Item = bool>) -> Option<f64> {
    let (mut n, mut n_right) = (0_usize, 0_usize);
    for right in right {
        (n, n_right) = (n + 1, n_right + usize::from(right));
    }
    (n > 0).then(|| n_right as f64 / n as f64)
}
