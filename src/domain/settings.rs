//! A model's settings: everything but its name and its input, all with defaults that work well.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Invalid;
use super::input::InputSchema;

mod augmentation;
mod gate;
mod network;
mod retention;

pub use augmentation::Augmentation;
pub use gate::{GateSettings, RollbackSettings};
pub use network::{
    CnnSettings, MAX_EXPERTS, MlpSettings, MoeSettings, NetworkSettings, TextNetworkSettings,
};
pub use retention::RetentionSettings;

/// All that decides how a model learns and when.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ModelSettings {
    /// What one input looks like; fixed for the model's life.
    pub input: InputSchema,
    /// The network's shape; fixed for the model's life.
    pub network: NetworkSettings,
    /// How an update trains.
    pub learning: LearningSettings,
    /// Which samples of an update are worth training on.
    pub selection: SelectionSettings,
    /// When an update is queued by itself.
    pub schedule: ScheduleSettings,
    /// What a version must show to be published.
    pub gate: GateSettings,
    /// What is kept, and for how long.
    pub retention: RetentionSettings,
}

impl ModelSettings {
    /// Those of a model of such input, all else at its default.
    pub fn new(input: InputSchema) -> Self {
        Self {
            network: NetworkSettings::default_for(&input),
            input,
            learning: LearningSettings::default(),
            selection: SelectionSettings::default(),
            schedule: ScheduleSettings::default(),
            gate: GateSettings::default(),
            retention: RetentionSettings::default(),
        }
    }

    /// Checks every range that types alone do not say.
    ///
    /// # Errors
    /// [`Invalid`] with the pointer of the first part that is wrong.
    pub fn check(&self) -> Result<(), Invalid> {
        self.input.check().map_err(|error| error.within("/input"))?;
        self.network.check(&self.input).map_err(|error| error.within("/network"))?;
        self.learning.check().map_err(|error| error.within("/learning"))?;
        self.check_learning_of_input().map_err(|error| error.within("/learning"))?;
        self.selection.check().map_err(|error| error.within("/selection"))?;
        self.schedule.check().map_err(|error| error.within("/schedule"))?;
        self.gate.check().map_err(|error| error.within("/gate"))?;
        self.retention.check().map_err(|error| error.within("/retention"))
    }

    /// Checks what suits some inputs and networks only.
    fn check_learning_of_input(&self) -> Result<(), Invalid> {
        let LearningSettings { frozen_layers, augmentation, .. } = &self.learning;
        let n_layers = self.network.n_freezable();
        if *frozen_layers as usize > n_layers {
            let detail = format!("of this network 0 to {n_layers} layers may be frozen");
            return Err(Invalid::at("/frozen_layers", detail));
        }
        match self.input.image() {
            Some(image) => augmentation.check(image).map_err(|error| error.within("/augmentation")),
            None if *augmentation == Augmentation::default() => Ok(()),
            None => Err(Invalid::at("/augmentation", "only images are changed at random")),
        }
    }
}

/// How an update trains.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LearningSettings {
    /// How old knowledge is kept.
    pub strategy: Strategy,
    /// What happens to an input with a missing number.
    pub missing: Missing,
    /// Which label counts where one update holds the same input with several, held out or not: that
    /// of the most weight, and of equal ones the newest (`majority`), the newest (`newest`), or none
    /// (`reject`). An input that comes again in a later update takes its new label whatever this says:
    /// its old samples are neither replayed nor evaluated on from that update on, so that no gate
    /// refuses a correction for them.
    pub contradictory: Contradictory,
    /// What numbers are normalised by.
    pub normalize: Normalize,
    /// Decides every random draw: same samples, parent, settings and seed, same checkpoint.
    pub seed: u32,
    /// Passes over the new samples, 1 to 1,000; unset: chosen from their number.
    pub epochs: Option<u32>,
    /// Peak learning rate, over 0 and at most 1; unset: 0.001, less in long updates.
    pub learning_rate: Option<f32>,
    /// Share of the steps in which the rate rises to its peak, 0 to 0.5; unset: none.
    pub warm_up: Option<f32>,
    /// Exemplars: when set, only this many old samples are ever replayed, the same ones from update
    /// to update, the same number of each label. Unset: drawn anew from the whole history.
    pub memory: Option<u32>,
    /// What the new samples count in the loss beside the replayed ones, over 0 and below 1; unset:
    /// half.
    pub new_share: Option<f32>,
    /// What agreement with the parent on replayed samples counts, 0 to 100; unset: 1, and 3 in long
    /// updates.
    pub distillation: Option<f32>,
    /// Whether held-out samples may stop training before its last epoch, and bring back the weights
    /// of an earlier one, where the later ones are worse beyond chance. Takes 50 of them, of those
    /// that temperatures are fitted on.
    pub early_stopping: bool,
    /// Whether the trained network may be merged with its parent, weight by weight as far as each
    /// mattered to what was known, where held-out samples are answered better beyond noise. For
    /// `ewc`, which forgets: beside replay there was nothing to gain in any of our benchmarks, at a
    /// twentieth of an update's time.
    pub compensation: bool,
    /// Whether the report tells what plain fine-tuning would have come to on the same held-out
    /// samples. Takes about an eighth of an update, of a short one up to a sixth.
    pub counterfactual: bool,
    /// How many of the first hidden layers stay as the first version has them, as where a model begins
    /// with weights that know more than its samples tell. A stage of convolutions is one; of `moe`,
    /// none may.
    pub frozen_layers: u32,
    /// How images are changed at random each time that they are trained on; by default not.
    pub augmentation: Augmentation,
}

impl Default for LearningSettings {
    fn default() -> Self {
        Self {
            strategy: Strategy::default(),
            missing: Missing::default(),
            contradictory: Contradictory::default(),
            normalize: Normalize::default(),
            seed: 0,
            epochs: None,
            learning_rate: None,
            warm_up: None,
            memory: None,
            new_share: None,
            distillation: None,
            early_stopping: true,
            compensation: false,
            counterfactual: true,
            frozen_layers: 0,
            augmentation: Augmentation::default(),
        }
    }
}

/// How old knowledge is kept while new samples are learnt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Strategy {
    /// The best that is known for the case at hand; the report says what that was, and why.
    #[default]
    Auto,
    /// Plain fine-tuning on the new samples: forgets, the control in comparisons.
    Naive,
    /// Old samples are trained on beside the new ones.
    Replay,
    /// As `replay`, and on the replayed samples the network is to agree with its parent. Where
    /// nothing is stored to replay, on the new ones.
    Distill,
    /// No old sample is used: weights that mattered to the old ones are held (elastic weight
    /// consolidation). For labels that stay while inputs move; new labels it forgets.
    Ewc,
    /// A new network from the whole history each time: the upper bound, and its cost.
    Retrain,
    /// Ridge regression on fixed random features, in closed form: forgets nothing, replays nothing,
    /// and the order of batches does not matter.
    Analytic,
}

/// What numbers are normalised by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Normalize {
    /// `recent` where what inputs mean was seen to move, else `running`.
    #[default]
    Auto,
    /// Mean and variance of all samples ever learnt from.
    Running,
    /// The same, the old ones counting no more than the new: follows a stream that drifts.
    Recent,
}

/// What happens to an input with a missing number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Missing {
    /// The sample or the prediction is refused.
    #[default]
    Reject,
    /// The version's mean of that number stands in.
    Impute,
}

/// Which label counts where one update holds the same input with several.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Contradictory {
    /// The label of the most weight; of equal ones, the one that came last.
    #[default]
    Majority,
    /// The label that came last.
    Newest,
    /// None: no sample of that input is learnt.
    Reject,
}

impl LearningSettings {
    fn check(&self) -> Result<(), Invalid> {
        if self.epochs.is_some_and(|epochs| !(1..=1000).contains(&epochs)) {
            return Err(Invalid::at("/epochs", "epochs is 1 to 1000"));
        }
        if self.learning_rate.is_some_and(|rate| !(rate > 0.0 && rate <= 1.0)) {
            return Err(Invalid::at("/learning_rate", "learning_rate is over 0 and at most 1"));
        }
        if self.warm_up.is_some_and(|share| !(0.0..=0.5).contains(&share)) {
            return Err(Invalid::at("/warm_up", "warm_up is 0 to 0.5"));
        }
        if self.new_share.is_some_and(|share| !(share > 0.0 && share < 1.0)) {
            return Err(Invalid::at("/new_share", "new_share is over 0 and below 1"));
        }
        if self.distillation.is_some_and(|weight| !(0.0..=100.0).contains(&weight)) {
            return Err(Invalid::at("/distillation", "distillation is 0 to 100"));
        }
        Ok(())
    }
}

/// Which samples of an update are worth training on.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SelectionSettings {
    /// How samples are chosen when the budget does not cover all. Labels share it evenly but by
    /// `random`. `balanced`: of labels that the parent knows half are the samples that it is least
    /// sure of, and half are drawn over the clusters; labels new to it come first, drawn over the
    /// clusters. `uncertain`: the same, but of known labels the least sure only. `representative`:
    /// the nearest to each cluster's centre. `diverse`: equally many drawn from each cluster.
    /// `random`: a draw. `all`: every sample, whatever the budget.
    pub strategy: SelectionStrategy,
    /// How many to choose; unset: all up to 20,000, and less than linearly more beyond.
    pub budget: Option<Budget>,
    /// What happens to a sample that lies far from all others of its label: it is trained on as any
    /// other (`keep`), or at less weight, the less the further it lies (`down_weight`), or neither
    /// now nor in replay (`hold_back`; it stays stored). It is counted and marked in any case. The
    /// latter two look at every sample, which costs about a fifth of training on it.
    pub outliers: Outliers,
}

/// How samples are chosen. Of near duplicates all but one are left out first, but by `random`. A
/// draw prefers heavier samples, and what a drawn one counts makes up for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum SelectionStrategy {
    /// Known labels: half the most uncertain, half drawn over the clusters; new labels: drawn over
    /// the clusters, and first.
    #[default]
    Balanced,
    /// The nearest to each cluster's centre, round robin over the clusters.
    Representative,
    /// A draw of equally many from each cluster: rare kinds count as much as frequent ones.
    Diverse,
    /// The samples that the parent is least sure of, all labels together; samples of new labels,
    /// of which it knows nothing, are drawn over the clusters, and first.
    Uncertain,
    /// A seeded draw.
    Random,
    /// Every sample, whatever the budget.
    All,
}

/// What happens to a sample that lies far from all others of its label: further from the nearest
/// of the label's clusters than the median by six times the spread (the median absolute deviation,
/// scaled to a normal distribution), and among the farthest twentieth of a label of 20 samples or
/// more. Whatever happens, they are counted and marked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Outliers {
    /// It is trained on as any other.
    #[default]
    Keep,
    /// It is trained on at less weight, the less the further it lies.
    DownWeight,
    /// It is not trained on, neither now nor in replay; it stays stored.
    HoldBack,
}

/// How many samples to choose.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Budget {
    /// This share of the update's samples, over 0 and at most 1.
    Share(f64),
    /// This many samples, at least 1.
    Count(u32),
}

impl SelectionSettings {
    fn check(&self) -> Result<(), Invalid> {
        match self.budget {
            Some(Budget::Share(share)) if !(share > 0.0 && share <= 1.0) => {
                Err(Invalid::at("/budget/share", "a share is over 0 and at most 1"))
            }
            Some(Budget::Count(0)) => Err(Invalid::at("/budget/count", "a count is at least 1")),
            _ => Ok(()),
        }
    }
}

/// When an update is queued by itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ScheduleSettings {
    /// As soon as this many samples are pending; at least 1.
    pub min_samples: u32,
    /// Or once the oldest pending one has waited this long.
    pub max_delay_s: u32,
    /// Nothing is queued by itself.
    pub paused: bool,
}

impl Default for ScheduleSettings {
    fn default() -> Self {
        Self { min_samples: 500, max_delay_s: 60, paused: false }
    }
}

impl ScheduleSettings {
    fn check(&self) -> Result<(), Invalid> {
        match self.min_samples {
            0 => Err(Invalid::at("/min_samples", "min_samples is at least 1")),
            _ => Ok(()),
        }
    }
}
