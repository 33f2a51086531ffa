//! Compensation after training: the trained network is drawn back towards its parent, weight by
//! weight, as far as each mattered to what was known before.
//!
//! `θ = θ_old + α·w⊙(θ_new − θ_old)` with `w = F_new/(F_new + F_old)`, F the diagonal of the Fisher
//! information on the new samples and on the replayed ones (Matena & Raffel 2022). α is searched
//! along a line by held-out samples, and a merged network is kept only where it answers more of them
//! than the trained one beyond noise. Outputs for new labels stay as they were trained: the parent
//! has nothing to say of them.

use crate::domain::settings::Strategy;
use crate::domain::update::{AnsweredBy, CompensationReport};

use super::Lesson;
use super::consolidate::importance;
use super::judges::{Judges, Verdict};
use super::network::{Dense, parameters, parameters_mut};
use super::recipe::Recipe;
use super::state::LearnerState;
use super::subset::Subset;

/// Steps along the line.
const STEPS: [f32; 5] = [0.3, 0.5, 0.7, 0.85, 1.0];
/// The most samples that importance is measured on, of the new and of the old each.
const MAX_MEASURED: usize = 256;

/// Merges `state` with `parent`, its network before training and before new labels came, where that
/// helps; `new` and `old` are what the one and the other learnt. None where it is not asked for, or
/// where there is nothing to keep or to judge by: while meanings move, held-out samples of the whole
/// history would speak for the parent.
pub(super) fn compensate(
    lesson: &Lesson<'_>,
    state: &mut LearnerState,
    recipe: &Recipe,
    parent: Option<&LearnerState>,
    (new, old): (&Subset<'_>, &Subset<'_>),
    judges: &Judges,
) -> Option<CompensationReport> {
    let is_asked = lesson.settings.learning.compensation
        && !matches!(recipe.strategy, Strategy::Naive | Strategy::Analytic)
        && !recipe.moves();
    let is_like = |parent: &&LearnerState| parent.shape == state.shape;
    let parent = parent.filter(is_like).filter(|_| is_asked && !judges.samples.is_empty())?;
    let before = with_outputs_of(&state.layers, &parent.layers);
    let measured = |state: &LearnerState, set: &Subset<'_>| {
        importance(lesson, state, &set.up_to(MAX_MEASURED))
    };
    let of_new = measured(state, new);
    let of_old = match &parent.importance {
        Some(importance) if old.is_empty() => with_outputs_of(&of_new, importance),
        _ => {
            let parent = LearnerState { layers: before.clone(), ..state.clone() };
            measured(&parent, old)
        }
    };
    let shares = shares(&of_new, &of_old);
    let verdict = |state: &LearnerState| {
        let logits = judges.hear(lesson, state, AnsweredBy::Network);
        judges.verdict(&logits, state.labels.len())
    };
    let trained = verdict(state);
    let mut best: Option<(f32, Verdict, Vec<Dense>)> = None;
    for step in STEPS {
        let layers = merged(&before, &state.layers, &shares, step);
        let merged = verdict(&LearnerState { layers: layers.clone(), ..state.clone() });
        let so_far = best.as_ref().map_or(0, |(_, verdict, _)| verdict.n_right());
        if merged.n_right() > so_far {
            best = Some((step, merged, layers));
        }
    }
    let (step, merged, layers) = best?;
    let is_kept = merged.beats(&trained);
    if is_kept {
        state.layers = layers;
    }
    Some(CompensationReport {
        kept: is_kept,
        step,
        trained: trained.accuracy(),
        merged: merged.accuracy(),
        judges: judges.samples.len(),
    })
}

/// `layers` with the outputs that only `grown` has.
fn with_outputs_of(grown: &[Dense], layers: &[Dense]) -> Vec<Dense> {
    let mut all = grown.to_vec();
    for (all, layer) in all.iter_mut().zip(layers) {
        let n_out = all.n_out;
        let rows = all.weight.chunks_exact_mut(n_out).chain([&mut all.bias[..]]);
        let known = layer.weight.chunks_exact(layer.n_out).chain([&layer.bias[..]]);
        rows.zip(known).for_each(|(row, known)| row[..layer.n_out].copy_from_slice(known));
    }
    all
}

/// How much of what each weight learnt is kept, laid out as layers: all of it where it mattered to
/// neither.
fn shares(of_new: &[Dense], of_old: &[Dense]) -> Vec<Dense> {
    let mut shares = of_new.to_vec();
    for (share, old) in parameters_mut(&mut shares).zip(parameters(of_old)) {
        for (share, &old) in share.iter_mut().zip(old) {
            *share = if *share + old > 0.0 { *share / (*share + old) } else { 1.0 };
        }
    }
    shares
}

/// The point at `step` along the line from `before` to where `shares` of what was `trained` are
/// kept.
fn merged(before: &[Dense], trained: &[Dense], shares: &[Dense], step: f32) -> Vec<Dense> {
    let mut merged = trained.to_vec();
    let others = parameters(before).zip(parameters(shares));
    for (merged, (before, shares)) in parameters_mut(&mut merged).zip(others) {
        for (trained, (&before, &share)) in merged.iter_mut().zip(before.iter().zip(shares)) {
            *trained = before + step * share * (*trained - before);
        }
    }
    merged
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layer(weight: &[f32]) -> Vec<Dense> {
        let n_out = weight.len();
        vec![Dense { n_in: 1, n_out, weight: weight.to_vec(), bias: vec![0.0; n_out] }]
    }

    #[test]
    fn what_mattered_before_is_drawn_back_and_new_outputs_stay() {
        let (of_new, of_old) = (layer(&[1.0, 3.0, 1.0]), layer(&[3.0, 1.0, 9.0]));
        let trained = layer(&[1.0, 1.0, 1.0]);
        let before = with_outputs_of(&trained, &layer(&[0.0, 0.0]));
        assert_eq!(before, layer(&[0.0, 0.0, 1.0]));
        let shares = shares(&of_new, &of_old);
        assert_eq!(merged(&before, &trained, &shares, 1.0)[0].weight, [0.25, 0.75, 1.0]);
        assert_eq!(merged(&before, &trained, &shares, 0.5)[0].weight, [0.125, 0.375, 1.0]);
    }

    #[test]
    fn what_mattered_to_neither_goes_all_the_way() {
        let nothing = layer(&[0.0; 3]);
        let trained = layer(&[1.0, 2.0, 3.0]);
        assert_eq!(merged(&nothing, &trained, &shares(&nothing, &nothing), 1.0), trained);
    }
}
