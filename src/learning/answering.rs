//! What answers: the network, the closed form beside it, or both together.
//!
//! Neither is better everywhere: sums forget nothing, however few samples may be kept; a network
//! learns features that no random draw has. Both together answer at first, each heard as loudly as
//! held-out samples bear out; what answered so far goes on answering unless another does better beyond
//! noise.

use std::ops::RangeInclusive;

use crate::domain::settings::Strategy;
use crate::domain::update::{AnsweredBy, AnsweringReport};

use super::Lesson;
use super::judges::{Judges, Verdict};
use super::predict::added;
use super::recipe::Recipe;
use super::state::LearnerState;

/// What the closed form's logits may be multiplied by.
const SCALES: RangeInclusive<f32> = 0.015625..=8.0;

/// Lets `judges` choose what answers for `state`.
pub(super) fn choose(
    lesson: &Lesson<'_>,
    state: &mut LearnerState,
    recipe: &Recipe,
    judges: &Judges,
) -> AnsweringReport {
    let candidates = candidates(recipe, state);
    let n_labels = state.labels.len();
    let verdict = |(by, logits): (AnsweredBy, Vec<f32>)| (by, judges.verdict(&logits, n_labels));
    let verdicts: Vec<(AnsweredBy, Verdict)> =
        heard(lesson, state, candidates, judges).into_iter().map(verdict).collect();
    let of = |by| verdicts.iter().find(|(of, _)| *of == by).map(|(_, verdict)| verdict);
    let goes_on = candidates.contains(&state.answered_by);
    let so_far = if goes_on { state.answered_by } else { candidates[0] };
    let incumbent = of(so_far);
    let better = verdicts
        .iter()
        .filter(|(_, verdict)| incumbent.is_some_and(|so_far| verdict.beats(so_far)));
    let best = better.max_by_key(|(_, verdict)| verdict.n_right()).map(|&(by, _)| by);
    let share = |by| of(by).and_then(Verdict::accuracy);
    state.answered_by = best.unwrap_or(so_far);
    AnsweringReport {
        by: state.answered_by,
        network: share(AnsweredBy::Network),
        analytic: share(AnsweredBy::Analytic),
        both: share(AnsweredBy::Both),
        judges: judges.samples.len(),
    }
}

/// What each of `candidates` says to `judges`; each of the two is asked once where there are both,
/// and the closed form is [`weighed`] then.
fn heard(
    lesson: &Lesson<'_>,
    state: &mut LearnerState,
    candidates: &[AnsweredBy],
    judges: &Judges,
) -> Vec<(AnsweredBy, Vec<f32>)> {
    let hear = |state: &LearnerState, by| judges.hear(lesson, state, by);
    if !candidates.contains(&AnsweredBy::Both) {
        return candidates.iter().map(|&by| (by, hear(state, by))).collect();
    }
    let network = hear(state, AnsweredBy::Network);
    let mut analytic = hear(state, AnsweredBy::Analytic);
    if let Some(closed_form) = state.analytic.as_mut() {
        let scale = weighed(&network, &analytic, |logits| judges.loss(logits));
        closed_form.weigh(scale);
        analytic.iter_mut().for_each(|logit| *logit *= scale);
    }
    let both = added(network.clone(), &analytic);
    vec![(AnsweredBy::Network, network), (AnsweredBy::Analytic, analytic), (AnsweredBy::Both, both)]
}

/// What the closed form's logits are to be multiplied by, so that those of both together lose least:
/// an opinion that is held too surely drowns the other (stacking, Wolpert 1992, of one weight). Few judges say little: the square of its logarithm is added.
fn weighed(network: &[f32], analytic: &[f32], loss: impl Fn(Vec<f32>) -> f64) -> f32 {
    let cost = |scale: f32| {
        let scaled: Vec<f32> = analytic.iter().map(|logit| logit * scale).collect();
        loss(added(scaled, network)) + f64::from(scale.ln().powi(2)) / 2.0
    };
    let as_it_is = (1.0, cost(1.0));
    // The loss has one valley: down from where it is, as long as that goes down.
    let descent = |factor: f32| {
        let mut best = as_it_is;
        let ahead = |scale: f32| SCALES.contains(&scale).then(|| (scale, cost(scale)));
        while let Some(next) = ahead(best.0 * factor).filter(|next| next.1 < best.1) {
            best = next;
        }
        best.0
    };
    let down = descent(0.5);
    if down < 1.0 { down } else { descent(2.0) }
}

/// What may answer, first what does at first. While meanings move, held-out samples of the whole
/// history would speak for the sums of the whole history, so they are not asked; nor are sums that are
/// not kept, or not yet.
fn candidates(recipe: &Recipe, state: &LearnerState) -> &'static [AnsweredBy] {
    match recipe.strategy {
        Strategy::Analytic => &[AnsweredBy::Analytic],
        _ if state.keeps_sums() && !recipe.moves() => {
            &[AnsweredBy::Both, AnsweredBy::Network, AnsweredBy::Analytic]
        }
        _ => &[AnsweredBy::Network],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::learning::evaluate::fitted_losses;

    /// Logits of two labels for so many samples of the first, of which every `n`th is answered wrongly.
    fn logits(sure: f32, wrong_every: usize, n: usize) -> Vec<f32> {
        let row =
            |at: usize| if at.is_multiple_of(wrong_every) { [0.0, sure] } else { [sure, 0.0] };
        (0..n).flat_map(row).collect()
    }

    #[test]
    fn an_opinion_too_sure_is_turned_down_and_a_timid_one_up() {
        const N: usize = 120;
        let columns = [0; N];
        let loss = |logits: Vec<f32>| fitted_losses(logits, &columns).into_iter().sum();
        let network = logits(2.0, 10, N);
        let scale = |sure, wrong| weighed(&network, &logits(sure, wrong, N), loss);
        // As often right as the network, and as sure; then no more often than not.
        assert_eq!(scale(2.0, 10), 1.0);
        assert!(scale(60.0, 3) <= 0.0625, "{}", scale(60.0, 3));
        assert!(scale(0.5, 7) >= 2.0, "{}", scale(0.5, 7));
        // Nobody to ask: as it is.
        assert_eq!(weighed(&network, &logits(60.0, 3, N), |_| 0.0), 1.0);
    }
}
