//! New labels that look like known ones: what they take of these is no forgetting.
//!
//! It is seen from both sides: what the new labels' samples are taken for may be taken for them in turn.

use std::collections::{BTreeMap, BTreeSet};

use super::Answer;
use crate::domain::label::Label;

/// A new label may take so many times the share of a known one that its own samples give to that: where
/// two labels overlap, one may lose more than the other.
const ALIKE: f64 = 2.0;

/// Those to samples of earlier updates, where what is now taken for a new label counts as right as far as
/// that label's samples are taken for the known one: whoever learnt all at once would confuse them, too.
/// What a new label only swallows stays wrong.
pub(super) fn earlier<'a>(answers: &[Answer<'a>], known: &[Label]) -> Vec<Answer<'a>> {
    let known: BTreeSet<&Label> = known.iter().collect();
    let (mut n_all, mut n_earlier) = (BTreeMap::new(), BTreeMap::new());
    for answer in answers {
        *n_all.entry(answer.label).or_insert(0.0) += 1.0;
        *n_earlier.entry(answer.label).or_insert(0.0) += f64::from(u8::from(answer.is_earlier));
    }
    let mut excused: BTreeMap<&Label, f64> = BTreeMap::new();
    for answer in answers.iter().filter(|answer| !known.contains(answer.label)) {
        let n_known = n_earlier.get(answer.given).copied().unwrap_or_default();
        *excused.entry(answer.given).or_default() += ALIKE * n_known / n_all[answer.label];
    }
    let judged = |answer: &Answer<'a>| {
        let is_taken = answer.parent_is_right() == Some(true) && !known.contains(answer.given);
        match excused.get_mut(answer.label).filter(|left| is_taken && **left >= 1.0) {
            Some(left) => {
                *left -= 1.0;
                Answer { given: answer.label, ..*answer }
            }
            None => *answer,
        }
    };
    answers.iter().filter(|answer| answer.is_earlier).map(judged).collect()
}

#[cfg(test)]
mod tests {
    use super::super::{Answers, decide};
    use super::*;
    use crate::domain::settings::GateSettings;

    #[test]
    fn what_new_labels_look_like_they_may_be_taken_for_and_what_they_swallow_they_may_not() {
        let [a, b, new] = ["a", "b", "new"].map(|label| Label::parse(label).unwrap());
        let known = [a.clone(), b.clone()];
        let passes = |taken: usize, given_back: usize| {
            let mut answers = Answers::default();
            let mut push = |n: usize, label, given, parent: Option<_>| {
                let is_earlier = parent.is_some();
                let parent = parent.or(Some(&a));
                let answer =
                    Answer { label, given, parent, naive: None, experience: 0, is_earlier };
                answers.answers.extend(vec![answer; n]);
            };
            push(taken, &a, &new, Some(&a));
            push(100 - taken, &a, &a, Some(&a));
            push(100, &b, &b, Some(&b));
            push(given_back, &new, &a, None);
            push(50 - given_back, &new, &new, None);
            decide(&GateSettings::default(), &answers, &known, false).passed
        };
        assert!(passes(10, 0), "a little is no matter");
        assert!(!passes(45, 0) && !passes(100, 0), "swallowed");
        assert!(passes(45, 10), "as many of the new are taken for it");
        assert!(!passes(100, 10), "and as many more are not");
    }
}
