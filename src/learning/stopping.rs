//! Early stopping: held-out samples say which epoch's weights are kept, and when to go on is no use.
//!
//! The rate falls to nothing over the epochs, so the last is usually the best, and a loss that rises
//! a little is noise. An epoch therefore counts as worse than the best one only beyond chance: the
//! mean of the paired differences, each label weighing the same, must exceed its standard error by
//! the normal quantile of 5 % over the number of looks. Only then does training stop, after a
//! patience, or end with the best epoch's weights. Losses are taken at the temperature that suits
//! the samples, as predictions are later: what a network is too sure of does not make it worse.
//!
//! Asked are held-out samples that temperatures are fitted on, so that the others remain judges who
//! had no part in it.

use crate::domain::label::Label;
use crate::domain::sample::{ContentHash, Samples};

use super::evaluate::{fitted_losses, lowest};
use super::features::Featurizer;
use super::held_out::HeldOut;
use super::minibatch::{HALF, places};
use super::network::{Dense, Network, numbers};
use super::noise::{LEVEL, quantile};
use super::predict::CHUNK;
use super::recipe::{Recipe, Replay};
use super::schedule::Schedule;
use super::shape::Shape;
use super::state::LearnerState;
use super::{Device, Lesson};

/// The most epochs that are judged: with more, every second one, or every third.
const MOST_LOOKS: usize = 12;
/// The most samples asked,
const MOST_ASKED: usize = 1_000;
/// the most logits of theirs,
const MOST_LOGITS: usize = 1 << 18;
/// and the most rows over all looks, for each row trained on: to answer costs a third of it.
const MOST_ROWS: f64 = 0.1;
/// Fewer samples are no judge.
const FEWEST: usize = 50;
/// How long no epoch may be better before training stops: this share of all epochs,
const PATIENCE: f64 = 0.25;
/// and at least this many looks.
const PATIENT_LOOKS: usize = 3;

/// Judges the epochs of one training.
pub(super) struct Judge {
    device: Device,
    featurizer: Featurizer,
    shape: Shape,
    asked: Samples,
    /// The place in the head of each sample's label.
    columns: Vec<usize>,
    /// What each sample counts, each label the same; all add up to 1.
    shares: Vec<f64>,
    n_epochs: usize,
    /// One epoch in this many is judged, and the last.
    every: usize,
}

/// The best epoch so far.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Best {
    /// Which it was, from 1.
    pub(super) epoch: usize,
    /// Its weights.
    pub(super) layers: Vec<Dense>,
    /// The loss of each sample asked.
    pub(super) losses: Vec<f64>,
    /// Whether the last epoch that was judged is worse, beyond chance.
    pub(super) is_missed: bool,
}

impl Judge {
    /// A judge of what `state` is to learn; none where the settings do not want one, there is
    /// nothing to choose from, or too few samples are held out.
    pub(super) fn new(
        (lesson, held_out): (&Lesson<'_>, &HeldOut<'_>),
        state: &LearnerState,
        recipe: &Recipe,
        schedule: &Schedule,
    ) -> Option<Self> {
        let n_epochs = schedule.epochs;
        if !lesson.settings.learning.early_stopping || n_epochs < 2 {
            return None;
        }
        let every = n_epochs.div_ceil(MOST_LOOKS);
        let n_looks = n_epochs.div_ceil(every);
        let n_trained_on = 2 * HALF * schedule.steps();
        let affordable = (MOST_ROWS * n_trained_on as f64) as usize / n_looks;
        let most = MOST_ASKED.min(MOST_LOGITS / state.labels.len()).min(affordable);
        // Where the history is not replayed, old samples are not meant to be answered as before.
        let experiences = &held_out.experiences;
        let n_old = experiences.len().saturating_sub(1);
        let held_out = match recipe.replay {
            Replay::History => &experiences[..],
            Replay::Nothing | Replay::Recent => &experiences[n_old..],
        };
        let places = places(state);
        let is_asked =
            |label: &Label, hash: ContentHash| hash.chooses() && places.contains_key(label);
        let asked = lowest(lesson, held_out, most, is_asked);
        let columns: Vec<usize> = asked.labels.iter().map(|label| places[label]).collect();
        (columns.len() >= FEWEST).then(|| Self {
            device: lesson.device,
            featurizer: state.featurizer(),
            shape: state.shape.clone(),
            asked,
            shares: even_shares(&columns, state.labels.len()),
            columns,
            n_epochs,
            every,
        })
    }

    /// Judges `layers` as they are after `epoch`, from 1, if that one is judged: takes them for the
    /// best where they are. Answers their loss.
    pub(super) fn look(
        &self,
        epoch: usize,
        layers: &[Dense],
        best: &mut Option<Best>,
    ) -> Option<f64> {
        if epoch != self.n_epochs && !epoch.is_multiple_of(self.every) {
            return None;
        }
        let losses = self.losses(layers);
        let loss = self.mean(&losses);
        match best {
            Some(best) if self.mean(&best.losses) < loss => {
                best.is_missed = self.is_worse(&losses, &best.losses);
            }
            _ => *best = Some(Best { epoch, layers: layers.to_vec(), losses, is_missed: false }),
        }
        Some(loss)
    }

    /// Whether it is no use to go on after `epoch`.
    pub(super) fn gives_up(&self, epoch: usize, best: &Best) -> bool {
        let patience = ((self.n_epochs as f64 * PATIENCE) as usize).max(PATIENT_LOOKS * self.every);
        best.is_missed && epoch >= best.epoch + patience
    }

    /// The loss of each sample.
    fn losses(&self, layers: &[Dense]) -> Vec<f64> {
        let network = Network::new(&self.shape, layers, self.device);
        let n = self.columns.len();
        let mut logits = Vec::new();
        for start in (0..n).step_by(CHUNK) {
            let rows = self.featurizer.rows(&self.asked.inputs, start..n.min(start + CHUNK));
            logits.extend(numbers(network.forward(rows).logits));
        }
        fitted_losses(logits, &self.columns)
    }

    fn mean(&self, losses: &[f64]) -> f64 {
        losses.iter().zip(&self.shares).map(|(loss, share)| share * loss).sum()
    }

    /// Whether `now` is worse than `before` beyond chance, however often it is asked.
    fn is_worse(&self, now: &[f64], before: &[f64]) -> bool {
        let differences: Vec<f64> =
            now.iter().zip(before).map(|(now, before)| now - before).collect();
        let mean = self.mean(&differences);
        let spread = differences.iter().zip(&self.shares);
        let variance: f64 =
            spread.map(|(difference, share)| (share * (difference - mean)).powi(2)).sum();
        let n_looks = self.n_epochs.div_ceil(self.every);
        mean > quantile(LEVEL / n_looks as f64) * variance.sqrt()
    }
}

/// What each sample counts so that each label that comes counts the same.
fn even_shares(columns: &[usize], n_labels: usize) -> Vec<f64> {
    let mut counts = vec![0_usize; n_labels];
    columns.iter().for_each(|&column| counts[column] += 1);
    let n_present = counts.iter().filter(|&&count| count > 0).count();
    columns.iter().map(|&column| 1.0 / (n_present * counts[column]) as f64).collect()
}
