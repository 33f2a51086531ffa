//! An update job: where it is in its life, and what it reported.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::evaluation::{Evaluation, GateDecision};
use super::settings::{SelectionStrategy, Strategy};

words! {
    /// Where a job is in its life.
    pub enum UpdateStatus {
        /// Waiting for a worker, for the first time or again.
        Queued = "queued",
        /// A worker holds it.
        Running = "running",
        /// Done; the outcome says how it came out.
        Succeeded = "succeeded",
        /// Given up; the error says why.
        Failed = "failed",
        /// Stopped on request.
        Cancelled = "cancelled",
    }
}

words! {
    /// How a job that worked came out.
    pub enum Outcome {
        /// A new version is live.
        Published = "published",
        /// The gate refused the new version; it is kept, and `live` stays where it was.
        Rejected = "rejected",
        /// Nothing was left to train on.
        NothingToLearn = "nothing_to_learn",
    }
}

words! {
    /// What a running job is at.
    pub enum Phase {
        /// Samples are loaded, cleaned and normalised.
        Preprocess = "preprocess",
        /// Samples are clustered and chosen.
        Select = "select",
        /// The network trains.
        Train = "train",
        /// Parameters are corrected after training.
        Compensate = "compensate",
        /// The network answers the held-out samples.
        Evaluate = "evaluate",
        /// The checkpoint is written and the version made known.
        Publish = "publish",
    }
}

words! {
    /// Why a job was queued.
    pub enum Trigger {
        /// The model's schedule.
        Schedule = "schedule",
        /// A batch posted with `update=now`.
        Batch = "batch",
        /// A request of its own, or a retry.
        Manual = "manual",
    }
}

words! {
    /// What became of one sample in an update.
    pub enum Decision {
        /// Trained on as new.
        Selected = "selected",
        /// An old sample, trained on again.
        Replayed = "replayed",
        /// Kept for evaluation, never trained on.
        HeldOut = "held_out",
        /// So close to another one that it teaches nothing more.
        Duplicate = "duplicate",
        /// Held back: far from all others of its label.
        Outlier = "outlier",
        /// The same input came with another label, which counts instead.
        Contradictory = "contradictory",
        /// It has no weight, or a number that is missing or infinite.
        Malformed = "malformed",
        /// Over the budget.
        Skipped = "skipped",
    }
}

words! {
    /// What answers for a version.
    pub enum AnsweredBy {
        /// The network.
        Network = "network",
        /// The closed form.
        Analytic = "analytic",
        /// Both: their log-probabilities are added up.
        Both = "both",
    }
}

impl UpdateStatus {
    /// Whether nothing will change any more.
    pub fn has_ended(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed | Self::Cancelled)
    }
}

/// What an update did, or a dry run would do; grows phase by phase.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct Report {
    /// What became of the samples.
    pub samples: SampleCounts,
    /// Labels that the parent did not know.
    pub new_labels: Vec<String>,
    /// How samples were chosen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub selection: Option<SelectionReport>,
    /// How the network was trained.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub training: Option<TrainingReport>,
    /// Whether training went too far from the parent, where that was to be seen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub compensation: Option<CompensationReport>,
    /// What answers from now on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub answering: Option<AnsweringReport>,
    /// Each pass over the new samples.
    pub epochs: Vec<EpochReport>,
    /// Figures on held-out samples.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub evaluation: Option<Evaluation>,
    /// The gate's decision.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gate: Option<GateDecision>,
    /// Seconds spent in each phase, by phase.
    pub seconds: std::collections::BTreeMap<String, f64>,
}

/// What became of an update's samples.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct SampleCounts {
    /// Samples that no version had learnt when the update began.
    pub pending: usize,
    /// Of these, trained on.
    pub used: usize,
    /// Old samples trained on again.
    pub replayed: usize,
    /// Of the pending ones, held out for evaluation.
    pub held_out: usize,
    /// Of the pending ones, neither trained on nor held out.
    pub dropped: usize,
    /// The dropped ones by reason.
    pub dropped_by_reason: std::collections::BTreeMap<String, usize>,
    /// Samples of earlier updates whose input came again with another label: they are not
    /// replayed and not evaluated on any more.
    pub superseded: usize,
}

/// How samples were chosen.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct SelectionReport {
    /// The strategy applied.
    pub strategy: SelectionStrategy,
    /// The most samples that were to be chosen.
    pub budget: usize,
    /// Samples that were clustered and searched for near duplicates and outliers: all of them, or
    /// as many as is worth the time.
    pub described: usize,
    /// Clusters found, over all labels.
    pub clusters: usize,
    /// Samples found so close to another one that they teach nothing more. They are left out where
    /// the budget does not cover all.
    pub near_duplicates: usize,
    /// Samples found far from all others of their label.
    pub outliers: usize,
    /// Labels of which no sample was chosen, as when the budget is smaller than their number.
    pub labels_left_out: usize,
}

/// How the network was trained.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct TrainingReport {
    /// The strategy applied; what `auto` came to.
    pub strategy: Strategy,
    /// Why this one.
    pub reason: String,
    /// Optimiser steps made.
    pub steps: usize,
    /// Passes over the new samples that were planned; fewer where training stopped early.
    #[serde(default)]
    pub epochs_planned: usize,
    /// Whether training stopped early, since held-out samples showed that it was no use to go on.
    #[serde(default)]
    pub stopped_early: bool,
    /// The epoch whose weights were kept: the last one unless it was worse on held-out samples than
    /// this one, beyond chance. 0 without epochs.
    #[serde(default)]
    pub kept_epoch: usize,
    /// Where a run went on that an earlier run of the same update had begun: after this epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resumed_from_epoch: Option<usize>,
    /// Peak learning rate.
    pub learning_rate: f32,
    /// The seed of every random draw.
    pub seed: u64,
}

/// The network merged with its parent, as far as each weight mattered to what was known: shares of
/// right answers among the held-out samples that choose.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct CompensationReport {
    /// Whether the merged network is kept: only where it is better beyond noise.
    pub kept: bool,
    /// How far the best merged network went from the parent towards the trained one, up to 1.
    pub step: f32,
    /// The share of the network as it was trained.
    pub trained: Option<f64>,
    /// The share of the best merged one.
    pub merged: Option<f64>,
    /// How many samples chose.
    pub judges: usize,
}

/// What answers from now on, and how it compared: shares of right answers among the held-out
/// samples that choose. Null where there was nothing to compare.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct AnsweringReport {
    /// What answers. It takes turns only where another is better beyond noise.
    pub by: AnsweredBy,
    /// The network's share.
    pub network: Option<f64>,
    /// The closed form's.
    pub analytic: Option<f64>,
    /// That of both together.
    pub both: Option<f64>,
    /// How many samples chose.
    pub judges: usize,
}

/// One pass over the new samples.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct EpochReport {
    /// Counted from 1.
    pub epoch: usize,
    /// Mean training loss.
    pub loss: f64,
    /// Share of training samples answered rightly while they were trained on.
    pub accuracy: f64,
    /// Mean loss on held-out samples, each label counting the same, at the temperature that suits
    /// them; where the epoch was judged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held_out_loss: Option<f64>,
}
