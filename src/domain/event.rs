//! What those who follow updates are told, as it happens.

use serde::Serialize;

use super::live::RolledBack;
use super::update::{EpochReport, Outcome, Phase, UpdateStatus};

words! {
    /// What kind of thing happened.
    pub enum EventKind {
        /// The share of the work done has grown by a hundredth at least.
        Progress = "progress",
        /// A phase began.
        Phase = "phase",
        /// A pass over the new samples is done.
        Epoch = "epoch",
        /// The update ended: nothing follows.
        End = "end",
        /// `live` returned by itself to the version before: of no update.
        Rollback = "rollback",
    }
}

/// Something that happened to an update, or to a model. Its JSON is what an event of its kind holds.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Happening {
    /// The share of the work done has grown.
    Progress {
        /// Share of the work done, 0 to 1.
        progress: f64,
    },
    /// A phase began.
    Phase {
        /// Which one.
        phase: Phase,
    },
    /// A pass over the new samples is done.
    Epoch(EpochReport),
    /// The update ended.
    End {
        /// Succeeded, failed or cancelled.
        status: UpdateStatus,
        /// How it came out, when it succeeded.
        outcome: Option<Outcome>,
        /// The version that it made.
        version: Option<i32>,
        /// A problem object, when it failed.
        error: Option<serde_json::Value>,
    },
    /// `live` returned by itself.
    Rollback {
        /// The version that it returned to.
        to: i32,
        /// The one that it left, and why.
        #[serde(flatten)]
        why: RolledBack,
    },
}

impl Happening {
    /// Its kind.
    pub fn kind(&self) -> EventKind {
        match self {
            Self::Progress { .. } => EventKind::Progress,
            Self::Phase { .. } => EventKind::Phase,
            Self::Epoch(_) => EventKind::Epoch,
            Self::End { .. } => EventKind::End,
            Self::Rollback { .. } => EventKind::Rollback,
        }
    }
}
