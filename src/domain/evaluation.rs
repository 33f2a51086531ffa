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
    /// Mean over earlier experiences of the best accuracy ever shown less today's.
    pub forgetting: Option<f64>,
    /// Mean over earlier experiences of today's accuracy less that right after learning them.
    pub backward_transfer: Option<f64>,
    /// `matrix[j][i]`: accuracy on experience i after the lineage's j-th update.
    #[schema(value_type = Vec<Vec<Option<f64>>>)]
    pub matrix: AccuracyMatrix,
    /// The figures of each label.
    pub per_label: BTreeMap<String, LabelFigures>,
    /// Held-out samples measured on.
    pub held_out: usize,
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
    /// Held-out samples of this label.
    pub support: usize,
}

/// The gate's decision.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, ToSchema)]
pub struct GateDecision {
    /// Whether the version may be published.
    pub passed: bool,
    /// Why not, with the figures; empty when it passed.
    pub reasons: Vec<String>,
}
