//! What became of a batch: counts, and why samples were refused.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The most rejections that a batch lists; all are counted.
pub const MAX_LISTED_REJECTIONS: usize = 100;

/// Why one sample of a batch was refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Rejection {
    /// The sample's place in the batch, from 0.
    pub index: u64,
    /// What is wrong with it.
    pub reason: String,
}

/// Verdicts on a batch's samples, added up.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Verdicts {
    /// Samples read.
    pub received: u64,
    /// Samples stored.
    pub accepted: u64,
    /// Samples that the model has already, by content or by client id.
    pub duplicates: u64,
    /// Samples refused.
    pub rejected: u64,
    /// The first [`MAX_LISTED_REJECTIONS`] refusals.
    pub rejections: Vec<Rejection>,
}

impl Verdicts {
    /// Counts a refused sample, and lists it while there is room.
    pub fn reject(&mut self, index: u64, reason: String) {
        self.rejected += 1;
        if self.rejections.len() < MAX_LISTED_REJECTIONS {
            // A reason may quote what was sent, and PostgreSQL keeps no NUL.
            let reason = reason.replace('\0', "\u{fffd}");
            self.rejections.push(Rejection { index, reason });
        }
    }
}
