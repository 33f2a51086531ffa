//! What an update decided about its samples, as it is kept and as it binds later updates.

use std::collections::HashMap;

use crate::domain::sample::ContentHash;
use crate::domain::update::Decision;
use crate::learning::SampleDecision;
use crate::storage::decisions::DecisionRow;

/// The decisions in order, each sample under the id that clients know: their own for those of
/// `client_ids`, else the content hash.
pub(super) fn rows(
    decided: &[SampleDecision],
    client_ids: &HashMap<ContentHash, String>,
) -> Vec<DecisionRow> {
    let row = |(position, sample): (usize, &SampleDecision)| DecisionRow {
        position: position as i32,
        sample_id: client_ids.get(&sample.hash).cloned().unwrap_or_else(|| sample.hash.to_string()),
        decision: sample.decision.as_str().to_owned(),
        cluster: sample.cluster.map(|cluster| cluster as i32),
        distance: sample.distance,
        outlier: sample.outlier,
    };
    decided.iter().enumerate().map(row).collect()
}

/// Samples that no later update may learn either.
pub(super) fn held_back(decided: &[SampleDecision]) -> Vec<Vec<u8>> {
    let held_back = decided.iter().filter(|sample| is_held_back(sample.decision));
    held_back.map(|sample| sample.hash.0.to_vec()).collect()
}

/// New samples whose label is the one that counts for their input from now on, whether there was
/// room for them or not.
pub(super) fn that_count(decided: &[SampleDecision]) -> Vec<ContentHash> {
    let counts = |decision| !is_held_back(decision) && decision != Decision::Replayed;
    decided.iter().filter(|sample| counts(sample.decision)).map(|sample| sample.hash).collect()
}

fn is_held_back(decision: Decision) -> bool {
    matches!(decision, Decision::Outlier | Decision::Contradictory | Decision::Malformed)
}
