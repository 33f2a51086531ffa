//! What answers: the network, the closed form beside it, or both together.
//!
//! Neither is better everywhere: sums forget nothing, however few samples may be kept; a network
//! learns features that no random draw has. Both together answer at first; what answered so far goes on
//! answering unless another does better beyond noise.

use crate::domain::settings::Strategy;
use crate::domain::update::{AnsweredBy, AnsweringReport};

use super::Lesson;
use super::judges::{Judges, Verdict};
use super::predict::added;
use super::recipe::Recipe;
use super::state::LearnerState;

/// Lets `judges` choose what answers for `state`.
pub(super) fn choose(
    lesson: &Lesson<'_>,
    state: &mut LearnerState,
    recipe: &Recipe,
    judges: &Judges,
) -> AnsweringReport {
    let candidates = candidates(recipe, state);
    let verdict =
        |(by, logits): (AnsweredBy, Vec<f32>)| (by, judges.verdict(&logits, state.labels.len()));
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

/// What each of `candidates` says to `judges`; each of the two is asked once where there are both.
fn heard(
    lesson: &Lesson<'_>,
    state: &LearnerState,
    candidates: &[AnsweredBy],
    judges: &Judges,
) -> Vec<(AnsweredBy, Vec<f32>)> {
    let hear = |by| (by, judges.hear(lesson, state, by));
    let alone = candidates.iter().filter(|&&by| by != AnsweredBy::Both);
    let mut heard: Vec<(AnsweredBy, Vec<f32>)> = alone.map(|&by| hear(by)).collect();
    if let ([(_, one), (_, other)], true) = (&heard[..], candidates.contains(&AnsweredBy::Both)) {
        heard.push((AnsweredBy::Both, added(one.clone(), other)));
    }
    heard
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
