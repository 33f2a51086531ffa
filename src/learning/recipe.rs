//! What a strategy comes to for one update: which old samples are replayed, and the parts of the
//! loss. `auto` is decided here, and says why.

use crate::domain::settings::{ModelSettings, Normalize, Strategy};

use super::schedule::Schedule;

/// λ, what agreement with the parent counts.
const DISTILLATION: f32 = 1.0;
/// The same where exemplars are passed over many times.
const MANY_PASSES_DISTILLATION: f32 = 3.0;

/// Which old samples are trained on beside the new ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Replay {
    /// None.
    Nothing,
    /// A class-balanced draw from the history, or the exemplars.
    History,
    /// The newest, and of labels that have not come of late some from the history.
    Recent,
}

/// How one update trains.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Recipe {
    /// The strategy applied; never `auto`.
    pub(super) strategy: Strategy,
    /// Old samples beside the new ones.
    pub(super) replay: Replay,
    /// Whether old numbers count no more than new ones in the normaliser.
    pub(super) follows: bool,
    /// What the new samples count where old ones are replayed; unset: by how many they are.
    pub(super) new_share: Option<f32>,
    /// λ; unset: by the schedule.
    distillation: Option<f32>,
    /// Whether the closed form learns beside the network, or alone.
    pub(super) keeps_sums: bool,
    /// Why, for the report.
    pub(super) reason: &'static str,
}

impl Recipe {
    /// The recipe where `drifts` says whether meanings were seen to move.
    pub(super) fn of(model: &ModelSettings, drifts: bool) -> Self {
        let settings = &model.learning;
        let (strategy, replay, reason) = match settings.strategy {
            Strategy::Auto if drifts => {
                let reason = "the newest samples alone predict new ones better than the history \
                              does: what inputs mean is moving, so the newest are replayed";
                (Strategy::Replay, Replay::Recent, reason)
            }
            Strategy::Auto => {
                let reason = "the history predicts new samples as well as the newest alone: it is \
                              replayed, and the parent's answers to it are kept";
                (Strategy::Distill, Replay::History, reason)
            }
            named @ (Strategy::Replay | Strategy::Distill | Strategy::Retrain) => {
                (named, Replay::History, ASKED_FOR)
            }
            named @ (Strategy::Naive | Strategy::Ewc | Strategy::Analytic) => {
                (named, Replay::Nothing, ASKED_FOR)
            }
        };
        let follows = match settings.normalize {
            Normalize::Auto => drifts && settings.strategy == Strategy::Auto,
            Normalize::Running => false,
            Normalize::Recent => true,
        };
        let keeps_sums = match settings.strategy {
            Strategy::Analytic => true,
            // What may not be kept as samples is kept as sums, which forget nothing; of images they
            // know what the network does not, and take little time beside it.
            Strategy::Auto => settings.memory.is_some() || model.input.image().is_some(),
            _ => false,
        };
        let (new_share, distillation) = (settings.new_share, settings.distillation);
        Self { strategy, replay, follows, new_share, distillation, keeps_sums, reason }
    }

    /// Whether it is made for meanings that move.
    pub(super) fn moves(&self) -> bool {
        self.replay == Replay::Recent
    }

    /// Whether the loss makes up for labels being unequally frequent in what is trained on.
    pub(super) fn levels(&self) -> bool {
        !matches!(self.strategy, Strategy::Naive | Strategy::Ewc)
    }

    /// λ; 0 where the parent is not to be agreed with. By itself the less, the less the parent is worth to
    /// be trusted: 0 to 1.
    pub(super) fn distillation(&self, schedule: &Schedule, trust: f32) -> f32 {
        let fitting = if schedule.many { MANY_PASSES_DISTILLATION } else { DISTILLATION };
        match self.strategy {
            Strategy::Distill => self.distillation.unwrap_or(trust * fitting),
            _ => 0.0,
        }
    }
}

const ASKED_FOR: &str = "the settings ask for it";
