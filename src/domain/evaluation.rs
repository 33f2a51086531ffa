//! What a version shows on held-out samples, and whether that suffices.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A version's figures on held-out samples, none of which was ever trained on. All are shares, 0
/// to 1, and null where there was nothing to measure.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, ToSchema)]
pub struct Evaluation {
    /// Share of held-out samples answered rightly, over all experiences.
    pub accuracy: Option<f64>,
    /// The same for the parent, unchanged, on the same samples.
    pub parent_accuracy: Option<f64>,
    /// Mean of the labels' recalls: every label counts the same, however rare.
    pub balanced_accuracy: Option<f64>,
    /// Mean over experiences of today's accuracy: the mean of the matrix's last row.
    pub average_accuracy: Option<f64>,
    /// Mean over earlier experiences of the best accuracy ever shown less today's.
    pub forgetting: Option<f64>,
    /// Mean over earlier experiences of today's accuracy less that right after learning them.
    pub backward_transfer: Option<f64>,
    /// `matrix[j][i]`: accuracy on experience i after the lineage's j-th update.
    #[schema(value_type = Vec<Vec<Option<f64>>>)]
    pub matrix: AccuracyMatrix,
    /// How many updates in a row one row and one column of `matrix` stand for: 1 for a model's
    /// first 32 updates, then 2, then 4, so that the matrix stays at most 32 by 32. A row is what
    /// the last of its updates showed, a column the samples of all of its.
    pub span: usize,
    /// The figures of each label.
    pub per_label: BTreeMap<String, LabelFigures>,
    /// Every answer by label; null beyond 50 labels.
    pub confusion_matrix: Option<ConfusionMatrix>,
    /// The most frequent wrong answers, 50 at most, the most frequent first.
    pub confusions: Vec<Confusion>,
    /// How far probabilities can be taken at their word; null without held-out samples.
    pub calibration: Option<Calibration>,
    /// What would have been without this update; null for a first version.
    #[serde(default)]
    pub counterfactual: Option<Counterfactual>,
    /// Held-out samples measured on: about 5,000 at most, shared out evenly among the labels.
    pub held_out: usize,
}

/// What else might have been published, on the same held-out samples.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, ToSchema)]
pub struct Counterfactual {
    /// The parent, unchanged.
    pub parent: Alternative,
    /// The parent after plain fine-tuning on the new samples alone. Null where that is what the
    /// update did, where the network is not trained, where the settings do not want it, and where
    /// it diverges.
    pub naive: Option<Alternative>,
    /// Steps of that fine-tuning: a quarter of the update's, which are of twice as many samples. With
    /// more it learns the new labels better and forgets more of the old.
    pub naive_steps: usize,
}

/// Figures of a network that is not published.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, ToSchema)]
pub struct Alternative {
    /// Share of held-out samples answered rightly, over all experiences.
    pub accuracy: Option<f64>,
    /// Mean over earlier experiences of the best accuracy ever shown less this one's.
    pub forgetting: Option<f64>,
}

/// `matrix[j][i]`: accuracy on experience i after the lineage's j-th update; null where that
/// experience has no held-out sample.
pub type AccuracyMatrix = Vec<Vec<Option<f64>>>;

/// One label's figures.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, ToSchema)]
pub struct LabelFigures {
    /// Of the answers that named this label, the share that were right; null if none did.
    pub precision: Option<f64>,
    /// Of the samples of this label, the share answered rightly; null if there is none.
    pub recall: Option<f64>,
    /// Harmonic mean of precision and recall; null if there is neither sample nor answer.
    pub f1: Option<f64>,
    /// Held-out samples of this label.
    pub support: usize,
}

/// How often each label was answered for each label.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
pub struct ConfusionMatrix {
    /// What rows and columns stand for.
    pub labels: Vec<String>,
    /// `counts[i][j]`: samples of label i that were answered with label j.
    pub counts: Vec<Vec<usize>>,
}

/// A wrong answer, and how often it was given.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Confusion {
    /// What the samples are.
    pub label: String,
    /// What was answered.
    pub answer: String,
    /// How many samples.
    pub count: usize,
}

/// How far probabilities can be taken at their word. Of the held-out samples whose label is known,
/// one half chooses the temperature, the other measures the error: the mean distance between
/// confidence and share of right answers over 15 bins of confidence (expected calibration error).
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, ToSchema)]
pub struct Calibration {
    /// What logits are divided by before the softmax; 1 where no other is better beyond noise.
    pub temperature: f32,
    /// The error at that temperature.
    pub error: Option<f64>,
    /// The error at a temperature of 1.
    pub uncalibrated_error: Option<f64>,
    /// Samples that the temperature was fitted on.
    pub fitted_on: usize,
    /// Samples that the errors were measured on.
    pub measured_on: usize,
}

/// The gate's decision.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, ToSchema)]
pub struct GateDecision {
    /// Whether the version may be published.
    pub passed: bool,
    /// Why not, with the figures; empty when it passed.
    pub reasons: Vec<String>,
    /// What each limit that is set was compared with.
    pub checks: Vec<GateCheck>,
}

/// One comparison of a figure with a limit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct GateCheck {
    /// The limit's setting.
    pub rule: GateRule,
    /// The label whose recall is compared, for `max_class_drop`: there is a check for each label
    /// that falls too far, ten at most, or else for the one that comes nearest to it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub label: Option<String>,
    /// What the setting allows.
    pub limit: f64,
    /// The figure; null where there was nothing to measure. What is taken for a new label falls away from a
    /// known one only beyond what the new label's own samples are taken for that.
    pub value: Option<f64>,
    /// How far beyond the limit chance alone may carry the figure, 19 times in 20: Wilson's interval of a
    /// share, a paired test of a fall (Agresti & Min 2005), and of many labels with Holm's correction.
    pub margin: Option<f64>,
    /// Whether the figure is within limit and margin.
    pub passed: bool,
}

words! {
    /// A limit of the gate.
    pub enum GateRule {
        /// Least accuracy.
        MinAccuracy = "min_accuracy",
        /// Most that accuracy may fall below the parent's.
        MaxDrop = "max_drop",
        /// Most that accuracy on what was known may fall below the parent's.
        MaxForgetting = "max_forgetting",
        /// Most that one label's recall may fall below the parent's.
        MaxClassDrop = "max_class_drop",
    }
}
