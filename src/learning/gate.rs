//! The gate: whether a version may be published, by its figures on held-out samples.
//!
//! A limit is broken only where the figures say so beyond noise, at 95 %, one-sided. A drop against
//! the parent is a difference of two shares of the same samples, so its test is paired: with b
//! samples only the parent answers rightly, c only the new version, of n, half a sample is added to
//! each cell of the table (Agresti & Min 2005), and the limit is broken when
//! `(b − c)/(n + 2)` exceeds it by more than 1.645 standard errors
//! `√(b' + c' − (b' − c')²/(n + 2))/(n + 2)`, b' = b + ½, c' = c + ½. The least accuracy is
//! compared with the upper end of Wilson's interval (1927).

use crate::domain::evaluation::{Evaluation, GateDecision};
use crate::domain::label::Label;
use crate::domain::settings::GateSettings;

use super::LearnerState;
use super::evaluate::{Answer, Answers, share};

/// The standard normal quantile of a one-sided test at 95 %.
const Z: f64 = 1.645;

/// Decides on a version by its `evaluation` and the `answers` it comes from. Without held-out
/// samples it passes: there is nothing against it.
pub(super) fn decide(
    settings: &GateSettings,
    evaluation: &Evaluation,
    answers: &Answers<'_>,
    parent: Option<&LearnerState>,
) -> GateDecision {
    let mut reasons = Vec::new();
    let least = settings.min_accuracy.zip(evaluation.accuracy);
    reasons
        .extend(least.and_then(|(least, accuracy)| too_low(least, accuracy, evaluation.held_out)));
    if let Some(allowed) = settings.max_drop {
        reasons.extend(too_far_below("accuracy", allowed, answers.answers.iter()));
    }
    if let (Some(allowed), Some(parent)) = (settings.max_class_drop, parent) {
        reasons.extend(parent.labels().iter().filter_map(|label| {
            let of_label = |answer: &&Answer<'_>| answer.label == label;
            let what = recall_of(label);
            too_far_below(&what, allowed, answers.answers.iter().filter(of_label))
        }));
    }
    GateDecision { passed: reasons.is_empty(), reasons }
}

fn recall_of(label: &Label) -> String {
    format!("recall of \"{label}\"")
}

/// Why `accuracy` on `n` samples is below `least`, if it is beyond noise.
fn too_low(least: f64, accuracy: f64, n: usize) -> Option<String> {
    let n = n as f64;
    let centre = accuracy + Z * Z / (2.0 * n);
    let spread = Z * (accuracy * (1.0 - accuracy) / n + Z * Z / (4.0 * n * n)).sqrt();
    let margin = (centre + spread) / (1.0 + Z * Z / n) - accuracy;
    (accuracy + margin < least)
        .then(|| format!("accuracy {accuracy:.4} is below {least:.4} (noise margin {margin:.4})"))
}

/// Why the new version's share of right answers is further below the parent's than `allowed`, if
/// it is beyond noise; none without a parent or without answers.
fn too_far_below<'a>(
    what: &str,
    allowed: f64,
    answers: impl Iterator<Item = &'a Answer<'a>> + Clone,
) -> Option<String> {
    let now = share(answers.clone().map(Answer::is_right))?;
    let before = share(answers.clone().filter_map(Answer::parent_is_right))?;
    let (mut lost, mut won, mut n) = (0.5, 0.5, 2.0);
    for answer in answers {
        n += 1.0;
        match (answer.parent_is_right()?, answer.is_right()) {
            (true, false) => lost += 1.0,
            (false, true) => won += 1.0,
            _ => {}
        }
    }
    let drop: f64 = (lost - won) / n;
    let margin = Z * (lost + won - (lost - won) * (lost - won) / n).sqrt() / n;
    (drop - margin > allowed).then(|| {
        format!(
            "{what} {now:.4} is {:.4} below the parent's {before:.4}, {allowed:.4} is allowed \
             (noise margin {margin:.4})",
            before - now
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Answers of which `lost` only the parent has right, `won` only the new version, and `both`
    /// both.
    fn drop_of(lost: usize, won: usize, both: usize) -> Option<String> {
        let (right, wrong) = (Label::parse("a").unwrap(), Label::parse("b").unwrap());
        let answer = |given, parent| Answer { label: &right, given, parent: Some(parent) };
        let mut answers = Vec::new();
        answers.extend((0..lost).map(|_| answer(&wrong, &right)));
        answers.extend((0..won).map(|_| answer(&right, &wrong)));
        answers.extend((0..both).map(|_| answer(&right, &right)));
        too_far_below("accuracy", 0.02, answers.iter())
    }

    #[test]
    fn a_drop_counts_only_beyond_noise() {
        assert_eq!(drop_of(0, 0, 0), None);
        assert_eq!(drop_of(1, 0, 0), None, "one sample proves nothing");
        assert_eq!(drop_of(3, 2, 95), None);
        assert_eq!(drop_of(12, 1, 287), None);
        assert_eq!(drop_of(40, 40, 20), None);
        assert_eq!(
            drop_of(30, 1, 269).unwrap(),
            "accuracy 0.9000 is 0.0967 below the parent's 0.9967, 0.0200 is allowed (noise margin 0.0294)"
        );
    }

    #[test]
    fn least_accuracy_has_a_margin_that_shrinks_with_the_samples() {
        assert_eq!(too_low(0.9, 0.85, 20), None);
        let reason = too_low(0.9, 0.85, 1_000).unwrap();
        assert!(
            reason.starts_with("accuracy 0.8500 is below 0.9000 (noise margin 0.01"),
            "{reason}"
        );
        assert_eq!(too_low(0.9, 0.95, 1_000), None);
    }
}
