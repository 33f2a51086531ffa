//! Compensation after training: the parent and the trained network are merged, weight by weight, as
//! far as each mattered to what it learnt.
//!
//! `θ = θ_old + α·w⊙(θ_new − θ_old)` with `w = F_new/(F_new + F_old)`, F the diagonal of the Fisher
//! information (as Matena & Raffel 2022). α is searched along a line by balanced accuracy on half
//! of the held-out samples, and a merged network is kept only where it is better there beyond
//! noise. Outputs for new labels stay as they were trained: the parent has nothing to say of them.

use std::collections::BTreeMap;

use crate::domain::label::Label;
use crate::domain::sample::Samples;
use crate::domain::update::CompensationReport;

use super::Lesson;
use super::consolidate::importance;
use super::network::{Dense, parameters, parameters_mut};
use super::predict::{Predictor, largest};
use super::state::LearnerState;
use super::subset::Subset;

/// Steps along the line.
const STEPS: [f32; 5] = [0.3, 0.5, 0.7, 0.85, 1.0];
/// Standard errors by which a merged network must be better.
const BEYOND_NOISE: f64 = 1.645;

/// Merges `state` with `parent`, its network before training and before new labels came, where that
/// helps; `new` and `old` are what the one and the other learnt.
pub(super) fn compensate(
    lesson: &Lesson<'_>,
    state: &mut LearnerState,
    parent: &LearnerState,
    (new, old): (&Subset<'_>, &Subset<'_>),
) -> CompensationReport {
    let judges = lesson.judges();
    let trained = judge(lesson, state, &judges);
    let mut report = CompensationReport::without(trained.balanced_accuracy());
    if judges.is_empty() || old.is_empty() {
        return report;
    }
    let before = grown(&parent.layers, &state.layers);
    let of_new = importance(lesson, state, new);
    let of_old = importance(lesson, &LearnerState { layers: before.clone(), ..state.clone() }, old);
    let weights = shares(&of_new, &of_old);
    for step in STEPS {
        let mut layers = merged(&before, &state.layers, &weights, step);
        keep_new_labels(&mut layers, &state.layers, parent.labels.len());
        let candidate = LearnerState { layers, ..state.clone() };
        let judged = judge(lesson, &candidate, &judges);
        let best = report.merged_accuracy.unwrap_or_default();
        if judged.is_better_than(&trained) && judged.balanced_accuracy() > best {
            report.step = Some(step);
            report.merged_accuracy = Some(judged.balanced_accuracy());
            state.layers = candidate.layers;
        }
    }
    report
}
