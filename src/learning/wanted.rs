//! Which old samples an update wants beside the new ones.

use crate::domain::settings::{ModelSettings, Strategy};

use super::select;
use super::state::LearnerState;

/// The fewest old samples that an update replays where there are so many: a step costs the same
/// whatever it draws from, and a small update must not rest on a handful of old samples.
pub const MIN_REPLAY: usize = 2_000;

/// Old samples that an update wants beside the new ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Wanted {
    /// How many from the whole history, the same number of each label.
    pub history: usize,
    /// Whether these are exemplars, the same ones each time, or drawn anew.
    pub exemplars: bool,
    /// How many of the newest.
    pub recent: usize,
}

impl Wanted {
    /// By an update of `n_new` new samples that goes on from `parent`.
    pub fn by(settings: &ModelSettings, parent: Option<&LearnerState>, n_new: usize) -> Self {
        let as_many = n_new.clamp(MIN_REPLAY, select::FULL_BUDGET.max(MIN_REPLAY));
        let memory = settings.learning.memory.map(|memory| memory as usize);
        let (history, recent) = match settings.learning.strategy {
            // Sums that were not kept are made up for once.
            Strategy::Analytic if parent.is_some_and(|parent| !parent.keeps_sums()) => {
                (usize::MAX, 0)
            }
            Strategy::Naive | Strategy::Ewc | Strategy::Analytic => (0, 0),
            Strategy::Replay | Strategy::Distill => (as_many, 0),
            Strategy::Retrain => (usize::MAX, 0),
            // What is not kept cannot tell whether meanings move either.
            Strategy::Auto if memory.is_some() => (as_many, 0),
            Strategy::Auto => (as_many, as_many),
        };
        let history = history.min(memory.unwrap_or(usize::MAX));
        Self { history, exemplars: memory.is_some(), recent }
    }
}
