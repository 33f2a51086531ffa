//! Categories as columns: an append-only dictionary for each categorical feature.
//!
//! A feature of c known categories takes 2 + c one-hot columns: one for a category never seen, one
//! for a missing one, then one each in the order they were learnt. A dictionary is bounded; what
//! comes after it is full shares the column of the unseen.

use std::collections::{BTreeMap, HashMap};

use crate::domain::input::Category;

use super::subset::Subset;

/// The most categories of one feature that get a column of their own.
pub(super) const MAX_CATEGORIES: usize = 1_000;
/// The column of a category that the dictionary lacks.
pub(super) const UNSEEN: usize = 0;
/// The column of a missing category.
const MISSING: usize = 1;
/// Columns before the first known category.
pub(super) const RESERVED: usize = 2;

/// The categories of one feature that have a column, in the order they were learnt.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Dictionary {
    words: Vec<Box<str>>,
    columns: HashMap<Box<str>, usize>,
}

impl Dictionary {
    /// A dictionary of `words` in that order; none where one comes twice or there are too many.
    pub(super) fn of(words: Vec<Box<str>>) -> Option<Self> {
        let columns: HashMap<_, _> =
            words.iter().enumerate().map(|(i, word)| (word.clone(), RESERVED + i)).collect();
        (columns.len() == words.len() && words.len() <= MAX_CATEGORIES)
            .then_some(Self { words, columns })
    }

    /// The known categories in order.
    pub(super) fn words(&self) -> &[Box<str>] {
        &self.words
    }

    /// How many columns the feature takes.
    pub(super) fn n_columns(&self) -> usize {
        RESERVED + self.words.len()
    }

    /// The column of `category`, from 0.
    pub(super) fn column(&self, category: &Category) -> usize {
        match category {
            None => MISSING,
            Some(word) => self.columns.get(word).copied().unwrap_or(UNSEEN),
        }
    }

    /// Appends the categories of `feature` that the samples bring: the frequent first, then by
    /// name, until the dictionary is full.
    pub(super) fn learn(&mut self, subset: &Subset<'_>, feature: usize) {
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        let inputs = &subset.samples.inputs;
        let categories = subset.indices.iter().map(|&index| &inputs.categories(index)[feature]);
        for word in categories.flatten().filter(|word| !self.columns.contains_key(*word)) {
            *counts.entry(word).or_default() += 1;
        }
        let mut new: Vec<(&str, usize)> = counts.into_iter().collect();
        new.sort_by_key(|&(_, count)| std::cmp::Reverse(count));
        new.truncate(MAX_CATEGORIES - self.words.len());
        for (word, _) in new {
            self.columns.insert(word.into(), RESERVED + self.words.len());
            self.words.push(word.into());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::input::Inputs;
    use crate::domain::sample::Samples;

    fn learn(dictionary: &mut Dictionary, words: &[Option<&str>]) {
        let mut inputs = Inputs::with_shape(0, 1);
        words.iter().for_each(|word| inputs.push(&[], &[word.map(Into::into)]));
        let samples = Samples { inputs, ..Samples::default() };
        let indices = (0..words.len()).collect();
        dictionary.learn(&Subset { samples: &samples, indices, weights: vec![] }, 0);
    }

    #[test]
    fn columns_never_move_and_the_frequent_come_first() {
        let mut dictionary = Dictionary::default();
        learn(&mut dictionary, &[Some("b"), Some("a"), Some("b"), None]);
        assert_eq!(dictionary.words(), ["b".into(), "a".into()]);
        learn(&mut dictionary, &[Some("a0"), Some("a")]);
        assert_eq!(dictionary.column(&Some("b".into())), 2);
        assert_eq!(dictionary.column(&Some("a0".into())), 4);
        assert_eq!(dictionary.column(&Some("never".into())), UNSEEN);
        assert_eq!(dictionary.column(&None), MISSING);
    }

    #[test]
    fn a_full_dictionary_stays_full() {
        let words: Vec<String> = (0..MAX_CATEGORIES + 50).map(|i| format!("{i:05}")).collect();
        let all: Vec<Option<&str>> = words.iter().map(|word| Some(word.as_str())).collect();
        let mut dictionary = Dictionary::default();
        learn(&mut dictionary, &all);
        assert_eq!(dictionary.n_columns(), RESERVED + MAX_CATEGORIES);
        assert_eq!(dictionary.column(&Some(words[MAX_CATEGORIES].as_str().into())), UNSEEN);
        assert!(Dictionary::of(vec!["a".into(), "a".into()]).is_none());
    }
}
