//! What a version must show to be published, and to stay.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::domain::Invalid;
use crate::domain::live::WINDOW;

/// What a version must show on held-out samples to be published. Each limit is a share, 0 to 1;
/// null switches it off. A figure counts against a version only where it is beyond the noise of
/// the held-out set. While what inputs mean is seen to move, about the 100 newest of these samples
/// count and the older ones do not: by `auto` also where an update was refused, and a thousand samples
/// that came after it agree with it against the history.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct GateSettings {
    /// Least accuracy over all labels.
    pub min_accuracy: Option<f64>,
    /// Most that accuracy may fall below the parent's.
    pub max_drop: Option<f64>,
    /// Most that accuracy on held-out samples of earlier updates may fall below the parent's:
    /// what this update brings has no say in it, so wrong labels cannot vouch for themselves.
    pub max_forgetting: Option<f64>,
    /// Most that one label's recall on held-out samples of earlier updates may fall below the
    /// parent's.
    pub max_class_drop: Option<f64>,
    /// Whether `live` returns by itself to the version before where predictions turn out worse; null:
    /// it stays.
    pub rollback: Option<RollbackSettings>,
}

/// When `live` returns by itself to the version that it pointed at before, an older one: when the labels
/// that came for predictions (`…/feedback`) say that this one is right less often, beyond chance. Compared
/// are its first 1,000 labelled predictions since `live` points at it, and the last 1,000 of the version before,
/// of the seven days until then. It is looked again and again while labels come, and the test, one-sided, of two
/// proportions (Agresti & Caffo 2000), is of all looks together (Miller & Siegmund 1982): where both are equally
/// good, the chance that `live` returns is about 1 − `confidence` at most, however many labels come. Whoever
/// points `live` somewhere, be it where it is, lets this begin anew.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RollbackSettings {
    /// Labelled predictions of either version below which nothing is done, 20 to 1,000: more are not counted.
    #[schema(minimum = 20, maximum = 1000, default = 200)]
    pub min_labelled: u32,
    /// How sure one is to be, over all looks together, 0.5 to 0.99999.
    #[schema(minimum = 0.5, maximum = 0.99999, default = 0.99)]
    pub confidence: f64,
}

impl Default for RollbackSettings {
    fn default() -> Self {
        Self { min_labelled: 200, confidence: 0.99 }
    }
}

impl RollbackSettings {
    fn check(&self) -> Result<(), Invalid> {
        if !(20..=WINDOW).contains(&self.min_labelled.into()) {
            let detail = format!("min_labelled is 20 to {WINDOW}: more are not counted");
            return Err(Invalid::at("/min_labelled", detail));
        }
        match (0.5..=0.99999).contains(&self.confidence) {
            true => Ok(()),
            false => Err(Invalid::at("/confidence", "confidence is 0.5 to 0.99999")),
        }
    }
}

impl Default for GateSettings {
    fn default() -> Self {
        Self {
            min_accuracy: None,
            max_drop: Some(0.02),
            // New labels that resemble old ones cost those some accuracy even where everything is
            // trained again from scratch; wrong labels in earnest cost more than this.
            max_forgetting: Some(0.1),
            max_class_drop: Some(0.2),
            rollback: None,
        }
    }
}

impl GateSettings {
    pub(super) fn check(&self) -> Result<(), Invalid> {
        let limits = [
            ("/min_accuracy", self.min_accuracy),
            ("/max_drop", self.max_drop),
            ("/max_forgetting", self.max_forgetting),
            ("/max_class_drop", self.max_class_drop),
        ];
        let outside = |limit: Option<f64>| limit.is_some_and(|limit| !(0.0..=1.0).contains(&limit));
        match limits.into_iter().find(|&(_, limit)| outside(limit)) {
            Some((pointer, _)) => Err(Invalid::at(pointer, "a limit is a share, 0 to 1")),
            None => self.rollback.iter().try_for_each(|rollback| {
                rollback.check().map_err(|error| error.within("/rollback"))
            }),
        }
    }
}
