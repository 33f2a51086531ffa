//! What a version turned out to be worth: its predictions beside the labels that came for them.

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use utoipa::ToSchema;

/// How many of a version's labelled predictions count at most.
pub const WINDOW: i64 = 1_000;
/// And for how long, in days.
pub const WINDOW_DAYS: i64 = 7;

/// A version's figures on its newest predictions whose labels came: 1,000 at most, of the last seven
/// days.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct LiveFigures {
    /// Predictions whose labels came.
    pub labelled: usize,
    /// The share of them that was right.
    #[schema(minimum = 0, maximum = 1)]
    pub accuracy: f64,
    /// Mean distance between confidence and share of right answers over 15 bins of confidence
    /// (expected calibration error).
    #[schema(minimum = 0, maximum = 1)]
    pub calibration_error: f64,
    /// When the oldest of them was made.
    #[serde(with = "time::serde::rfc3339")]
    pub since: OffsetDateTime,
}

/// Why `live` returned by itself to the version before.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct RolledBack {
    /// The version that it left.
    pub from: i32,
    /// The share of that version's predictions that was right, of the first ones since `live` pointed at it.
    pub accuracy: f64,
    /// On so many labelled predictions.
    pub labelled: i64,
    /// The same of the version that it returned to, of the last ones until then.
    pub previous_accuracy: f64,
    /// On so many labelled predictions.
    pub previous_labelled: i64,
}
