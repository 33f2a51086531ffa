//! What a model keeps, and for how long.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::domain::Invalid;

/// What is kept, and for how long; what is unset is kept for good. Each limit is at least 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RetentionSettings {
    /// How many versions, the newest. Beside them those that an alias points at or pointed at before it
    /// was moved last, and the one that `live` was trained from.
    pub versions: Option<u32>,
    /// Days after which samples are forgotten, learnt or not, between two updates.
    pub max_age_days: Option<u32>,
    /// How many updates that have ended, the newest, with their decisions and events.
    pub updates: Option<u32>,
    /// Whether exemplars outlive `max_age_days`: so many learnt samples as `learning.memory` says, 2,000 where it is
    /// unset, shared evenly by the labels; a random draw of all that there was, and the samples that are replayed where there is a
    /// memory.
    pub keep_exemplars: bool,
}

impl RetentionSettings {
    /// Checks the limits.
    ///
    /// # Errors
    /// [`Invalid`] with the pointer of the first that is wrong.
    pub(super) fn check(self) -> Result<(), Invalid> {
        /// A date so long ago that PostgreSQL still has it.
        const MOST_DAYS: u32 = 365_000;
        let limits = [
            ("/versions", self.versions, u32::MAX),
            ("/max_age_days", self.max_age_days, MOST_DAYS),
            ("/updates", self.updates, u32::MAX),
        ];
        let is_outside = |limit: Option<u32>, most| limit.is_some_and(|n| n < 1 || n > most);
        match limits.into_iter().find(|&(_, limit, most)| is_outside(limit, most)) {
            Some((pointer, _, most)) => {
                Err(Invalid::at(pointer, format!("a limit is 1 to {most}; null keeps all")))
            }
            None => Ok(()),
        }
    }
}
