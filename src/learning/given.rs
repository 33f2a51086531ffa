//! What an update is given, cleaned: the new samples, the old ones to choose from, and those held out.

use std::collections::BTreeSet;

use crate::domain::label::Label;
use crate::domain::sample::Samples;
use crate::domain::settings::Strategy;

use super::Lesson;
use super::clean::{Cleaned, clean, clean_replay};
use super::drift::{Evidence, LEAST_TAUGHT};
use super::held_out::HeldOut;
use super::recipe::{Recipe, Replay};
use super::subset::Subset;

/// The lesson's samples, cleaned, and what they say of meanings that move.
pub(super) struct Given<'a> {
    /// The new ones.
    pub(super) new: Cleaned<'a>,
    /// Old ones from the whole history.
    pub(super) history: Subset<'a>,
    /// The newest that came before: those that the gate refused, where there are enough, else old ones.
    pub(super) recent: Subset<'a>,
    /// Those that are evaluated on.
    pub(super) held_out: HeldOut<'a>,
    /// Whether meanings move.
    pub(super) drift: Evidence,
    /// Whether the parent has learnt the new ones before: they are in its statistics already.
    pub(super) was_learnt: bool,
}

impl<'a> Given<'a> {
    /// Cleans what `lesson` brings.
    pub(super) fn of(lesson: &'a Lesson<'_>) -> Self {
        let settings = &lesson.settings.learning;
        let new = clean(&lesson.experience, settings);
        let old = |samples| clean_replay(samples, settings.missing, &new.good);
        let history = old(&lesson.history);
        // Once meanings are held to move, the gate asks the newest anyway.
        let still = lesson.parent.is_some_and(|parent| !parent.drift.moves);
        let (refused, fresh) = apart(&new.good, lesson.refused_until.filter(|_| still));
        let recent = if refused.len() < LEAST_TAUGHT { old(&lesson.recent) } else { refused };
        let drift = match lesson.parent {
            Some(parent) => parent.drift.follow(lesson, parent, &fresh, (&recent, &history)),
            None => Evidence::default(),
        };
        let begins = lesson.parent.is_none() || settings.strategy == Strategy::Retrain;
        let (held_out, was_learnt) = (HeldOut::of(lesson), lesson.relearns && !begins);
        Self { new, history, recent, held_out, drift, was_learnt }
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

/// Those of `new` that arrived up to `until`, and those that came after.
fn apart<'a>(new: &Subset<'a>, until: Option<u64>) -> (Subset<'a>, Subset<'a>) {
    let is_refused = |place: &usize| {
        until.is_some_and(|until| new.samples.arrived[new.indices[*place]] <= until)
    };
    let (refused, fresh): (Vec<usize>, Vec<usize>) = (0..new.len()).partition(is_refused);
    (new.choose(&refused), new.choose(&fresh))
}

/// Both as one set, to train on alike.
pub(super) fn pooled(new: &Subset<'_>, old: &Subset<'_>) -> Samples {
    let mut pool = new.to_samples();
    old.indices.iter().for_each(|&index| pool.push_from(old.samples, index));
    pool
}

#[cfg(test)]
mod tests {
    use std::ops::ControlFlow::Continue;

    use super::*;
    use crate::domain::input::{InputSchema, Inputs, TabularSchema};
    use crate::domain::sample::ContentHash;
    use crate::domain::settings::ModelSettings;
    use crate::learning::update;

    #[test]
    fn what_is_learnt_again_is_not_counted_again() {
        let input = InputSchema::Tabular(TabularSchema { dim: Some(2), features: None });
        let mut settings = ModelSettings::new(input);
        // With sums for the closed form.
        settings.learning.memory = Some(100);
        let mut experience = Samples { inputs: Inputs::new(&settings.input), ..Samples::default() };
        for index in 0..80 {
            let row = [index as f32 % 2.0, index as f32 * 0.1];
            experience.inputs.push(&row, &[]);
            experience.labels.push(Label::parse(["a", "b"][index % 2]).unwrap());
            experience.weights.push(1.0);
            experience.hashes.push(ContentHash::of_input(&row, &[]));
            experience.arrived.push(0);
        }
        let mut lesson = Lesson::first(&settings, experience, 1);
        let learn = |lesson: &Lesson<'_>| update(lesson, &mut |_| Continue(())).unwrap();
        let parent = learn(&lesson).state.unwrap();
        (lesson.parent, lesson.relearns) = (Some(&parent), true);
        let again = learn(&lesson).state.unwrap();
        assert_ne!(again.layers, parent.layers);
        assert_eq!(again.moments, parent.moments);
        assert_eq!(again.frequencies, parent.frequencies);
        assert_eq!(again.analytic.unwrap().sums, parent.analytic.as_ref().unwrap().sums);
        lesson.relearns = false;
        let twice = learn(&lesson).state.unwrap();
        assert_eq!(twice.frequencies, [80.0, 80.0]);
    }
}
