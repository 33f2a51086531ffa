//! What an update is given, cleaned: the new samples, and the old ones to choose from.

use std::collections::BTreeSet;

use crate::domain::label::Label;
use crate::domain::sample::Samples;

use super::Lesson;
use super::clean::{Cleaned, clean, clean_replay};
use super::drift::Evidence;
use super::recipe::{Recipe, Replay};
use super::subset::Subset;

/// The lesson's samples, cleaned, and what they say of meanings that move.
pub(super) struct Given<'a> {
    /// The new ones.
    pub(super) new: Cleaned<'a>,
    /// Old ones from the whole history.
    pub(super) history: Subset<'a>,
    /// The newest old ones.
    pub(super) recent: Subset<'a>,
    /// Whether meanings move.
    pub(super) drift: Evidence,
}

impl<'a> Given<'a> {
    /// Cleans what `lesson` brings.
    pub(super) fn of(lesson: &'a Lesson<'_>) -> Self {
        let settings = &lesson.settings.learning;
        let new = clean(&lesson.experience, settings);
        let old = |samples| clean_replay(samples, settings.missing, &new.good);
        let (history, recent) = (old(&lesson.history), old(&lesson.recent));
        let drift = match lesson.parent {
            Some(parent) => parent.drift.follow(lesson, parent, &new.good, (&recent, &history)),
            None => Evidence::default(),
        };
        Self { new, history, recent, drift }
    }

    /// The old samples that are replayed.
    pub(super) fn replay(&self, recipe: &Recipe) -> Samples {
        match recipe.replay {
            Replay::Nothing => self.history.samples.empty_like(),
            Replay::History => self.history.to_samples(),
            Replay::Recent => {
                let mut replay = self.recent.to_samples();
                let recent: BTreeSet<&Label> = self.recent.labels().collect();
                // Labels that have not come of late are not to be forgotten either.
                let missing = self.history.indices.iter().copied();
                let labels = &self.history.samples.labels;
                missing
                    .filter(|&index| !recent.contains(&labels[index]))
                    .for_each(|index| replay.push_from(self.history.samples, index));
                replay
            }
        }
    }
}

/// Both as one set, to train on alike.
pub(super) fn pooled(new: &Subset<'_>, old: &Subset<'_>) -> Samples {
    let mut pool = new.to_samples();
    old.indices.iter().for_each(|&index| pool.push_from(old.samples, index));
    pool
}
