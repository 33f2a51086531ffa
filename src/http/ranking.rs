//! The most probable labels of an input, best first: what every form of an answer names.

use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::error::Problem;
use crate::services::serving::Answered;

/// What a version says about one input.
#[derive(Debug, PartialEq, Serialize, ToSchema)]
pub struct Prediction<'a> {
    /// What to call it when its true label comes; where it is remembered. It is written within a second:
    /// one that a crash of the service takes before that is unknown then.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub(super) id: Option<Uuid>,
    /// The most probable label.
    #[schema(example = "7")]
    pub(super) label: &'a str,
    /// Its probability.
    #[schema(example = 0.98, minimum = 0, maximum = 1)]
    pub(super) probability: f32,
    /// The `top_k` most probable labels, best first.
    pub(super) top: Vec<Scored<'a>>,
}

/// A label with its probability.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, ToSchema)]
pub struct Scored<'a> {
    /// The label.
    #[schema(example = "7")]
    pub(super) label: &'a str,
    /// Its probability.
    #[schema(example = 0.98, minimum = 0, maximum = 1)]
    pub(super) probability: f32,
}

/// The most probable labels of each input; of equals, the one that the version knew first.
pub(super) fn rank(answered: &Answered, top_k: usize) -> Result<Vec<Prediction<'_>>, Problem> {
    let labels = &answered.labels;
    let rows = answered.probabilities.chunks_exact(labels.len().max(1));
    let prediction = |(index, row): (usize, &[f32])| {
        let top: Vec<Scored<'_>> = best(row, top_k)
            .into_iter()
            .map(|i| Scored { label: &labels[i], probability: row[i] })
            .collect();
        top.first().copied().map(|first| Prediction {
            id: answered.ids.get(index).copied(),
            label: first.label,
            probability: first.probability,
            top,
        })
    };
    rows.enumerate()
        .map(prediction)
        .collect::<Option<_>>()
        .ok_or_else(|| Problem::internal("a version without labels"))
}

/// The places of the `k` largest values, largest first; of equals, the first.
pub(super) fn best(row: &[f32], k: usize) -> Vec<usize> {
    let better = |a: &usize, b: &usize| row[*b].total_cmp(&row[*a]).then(a.cmp(b));
    if k == 1 {
        return (0..row.len()).min_by(better).into_iter().collect();
    }
    let mut places: Vec<usize> = (0..row.len()).collect();
    if k < places.len() {
        places.select_nth_unstable_by(k, better);
        places.truncate(k);
    }
    places.sort_unstable_by(better);
    places
}
