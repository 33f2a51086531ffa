//! Which held-out samples count: of one input one label does, as among those that are trained on.
//!
//! Of contradictions one is answered wrongly whatever is learnt. And what an earlier sample of an input said that
//! comes again with another label is no longer so: asked for it, the gate would refuse every correction.

use crate::domain::sample::ContentHash;

use super::Lesson;
use super::clean::{Cleaned, Fault, clean, clean_replay};
use super::subset::Subset;

/// The lesson's held-out samples, cleaned.
pub(super) struct HeldOut<'a> {
    /// Those that count, a set an experience in order, each sorted by content hash; the last belongs to this
    /// experience.
    pub(super) experiences: Vec<Subset<'a>>,
    /// Those of this experience that do not, with what is wrong.
    pub(super) dropped: Vec<(ContentHash, Fault)>,
}

impl<'a> HeldOut<'a> {
    /// Those of `lesson`.
    pub(super) fn of(lesson: &'a Lesson<'_>) -> Self {
        let settings = &lesson.settings.learning;
        let Some((own, earlier)) = lesson.held_out.split_last() else {
            return Self { experiences: Vec::new(), dropped: Vec::new() };
        };
        let Cleaned { good, dropped } = clean(own, settings);
        let mut experiences: Vec<Subset<'a>> =
            earlier.iter().map(|samples| clean_replay(samples, settings.missing, &good)).collect();
        experiences.push(good);
        Self { experiences, dropped }
    }

    /// Those of this experience that count.
    pub(super) fn own(&self) -> Option<&Subset<'a>> {
        self.experiences.last()
    }
}
