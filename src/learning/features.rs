//! Features: what the first layer reads of a raw input.
//!
//! Raw samples are stored and featurised when they are needed, a minibatch at a time, so that one
//! representation never outlives the statistics it was made with. Columns: the numbers in the
//! schema's order, normalised; then each categorical feature's one-hot block. Of a text, the buckets
//! that it falls into.

use crate::domain::input::{InputSchema, Inputs, TextSchema};

use super::categories::Dictionary;
use super::moments::Moments;
use super::normalize::Scale;
use super::rows::{Rows, SparseRows};
use super::text::{Documents, TextReader};

/// Buckets that a byte of a text falls into, about: of each character three parts of words, and now and
/// then a word and a pair of words.
const BUCKETS_OF_A_BYTE: usize = 4;

/// Turns raw inputs into rows for the network.
#[derive(Debug, Clone)]
pub(super) struct Featurizer {
    scale: Scale,
    dictionaries: Vec<Dictionary>,
    width: usize,
    n_numeric: usize,
    /// Where it reads texts.
    reader: Option<TextReader>,
    /// What each bucket of them counts, where that is not the same.
    weights: Option<Vec<f32>>,
}

impl Featurizer {
    /// The featuriser of these statistics and dictionaries.
    pub(super) fn new(
        schema: &InputSchema,
        moments: &Moments,
        dictionaries: &[Dictionary],
    ) -> Self {
        Self {
            scale: moments.scale(schema),
            dictionaries: dictionaries.to_vec(),
            width: width(schema, dictionaries),
            n_numeric: schema.n_numeric(),
            reader: match schema {
                InputSchema::Text(text) => Some(TextReader::new(text)),
                _ => None,
            },
            weights: None,
        }
    }

    /// The same, where what each bucket counts goes by how many of the texts so far have it.
    pub(super) fn weighing(self, documents: Option<&Documents>) -> Self {
        Self { weights: documents.map(Documents::weights), ..self }
    }

    /// Columns of a row.
    pub(super) fn width(&self) -> usize {
        self.width
    }

    /// Whether inputs have the shape that this featuriser was made for.
    pub(super) fn fits(&self, inputs: &Inputs) -> bool {
        inputs.n_numeric() == self.n_numeric
            && inputs.n_categorical()
                == self.dictionaries.len() + usize::from(self.reader.is_some())
    }

    /// Buckets that `inputs` fall into, about and in all; none where it reads no texts.
    pub(super) fn n_buckets(&self, inputs: &Inputs) -> usize {
        let texts = self.reader.as_ref().map_or(&[][..], |_| inputs.all_categories());
        texts.iter().flatten().map(|text| BUCKETS_OF_A_BYTE * text.len()).sum()
    }

    /// No rows yet.
    pub(super) fn no_rows(&self) -> Rows {
        match self.reader {
            Some(_) => Rows::Sparse(SparseRows::default()),
            None => Rows::Full(Vec::new()),
        }
    }

    /// Rows of the inputs at `indices`.
    pub(super) fn rows(
        &self,
        inputs: &Inputs,
        indices: impl ExactSizeIterator<Item = usize>,
    ) -> Rows {
        let mut rows = self.no_rows();
        if let Rows::Full(numbers) = &mut rows {
            numbers.reserve(indices.len() * self.width);
        }
        indices.for_each(|index| self.append(inputs, index, &mut rows));
        rows
    }

    /// Appends the row of input `index` to `rows`, which are of this featuriser.
    pub(super) fn append(&self, inputs: &Inputs, index: usize, rows: &mut Rows) {
        match rows {
            Rows::Full(numbers) => self.append_full(inputs, index, numbers),
            Rows::Sparse(rows) => rows.push_by(|entries| {
                let start = entries.len();
                self.append_buckets(inputs, index, entries);
                self.weigh_buckets(&mut entries[start..]);
            }),
        }
    }

    /// Rows of the texts at `indices` before buckets are weighed by how rare they are; none where it reads
    /// no texts.
    pub(super) fn texts(
        &self,
        inputs: &Inputs,
        indices: impl ExactSizeIterator<Item = usize>,
    ) -> Option<SparseRows> {
        let reader = self.reader.as_ref()?;
        let mut rows = SparseRows::default();
        for index in indices {
            rows.push_by(|entries| reader.append_of(inputs, index, entries));
        }
        Some(rows)
    }

    /// These rows as the network reads them.
    pub(super) fn weighed(&self, mut texts: SparseRows) -> Rows {
        self.weigh_buckets(texts.entries_mut());
        Rows::Sparse(texts)
    }

    /// Appends the buckets of text `index`, and what each counts by itself.
    pub(super) fn append_buckets(
        &self,
        inputs: &Inputs,
        index: usize,
        entries: &mut Vec<(u32, f32)>,
    ) {
        if let Some(reader) = &self.reader {
            reader.append_of(inputs, index, entries);
        }
    }

    fn weigh_buckets(&self, entries: &mut [(u32, f32)]) {
        if let Some(weights) = &self.weights {
            entries.iter_mut().for_each(|(bucket, value)| *value *= weights[*bucket as usize]);
        }
    }

    /// Makes `row` the row of input `index`, which is no text.
    pub(super) fn read(&self, inputs: &Inputs, index: usize, row: &mut Vec<f32>) {
        row.clear();
        self.append_full(inputs, index, row);
    }

    /// Appends the row of input `index`, which is no text, to `rows`, `[rows, width]` row-major.
    fn append_full(&self, inputs: &Inputs, index: usize, rows: &mut Vec<f32>) {
        self.scale.append(inputs.numbers(index), rows);
        for (dictionary, category) in self.dictionaries.iter().zip(inputs.categories(index)) {
            let hot = rows.len() + dictionary.column(category);
            rows.resize(rows.len() + dictionary.n_columns(), 0.0);
            rows[hot] = 1.0;
        }
    }
}

/// Columns of a row of such input, with these dictionaries.
pub(super) fn width(schema: &InputSchema, dictionaries: &[Dictionary]) -> usize {
    match schema {
        InputSchema::Tabular(_) | InputSchema::Image(_) => {
            schema.n_numeric() + dictionaries.iter().map(Dictionary::n_columns).sum::<usize>()
        }
        InputSchema::Text(TextSchema { buckets, .. }) => *buckets,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::input::{Feature, FeatureKind, TabularSchema};

    #[test]
    fn numbers_come_first_and_then_a_block_for_each_category() {
        let feature = |name: &str, kind| Feature { name: name.into(), kind };
        let schema = InputSchema::Tabular(TabularSchema {
            dim: None,
            features: Some(vec![
                feature("colour", FeatureKind::Categorical),
                feature("size", FeatureKind::Numeric),
            ]),
        });
        let mut inputs = Inputs::new(&schema);
        inputs.push(&[1.0], &[Some("red".into())]);
        inputs.push(&[3.0], &[None]);
        inputs.push(&[f32::NAN], &[Some("never".into())]);
        let dictionary = Dictionary::of(vec!["blue".into(), "red".into()]).unwrap();
        let featurizer =
            Featurizer::new(&schema, &Moments::of(&inputs, &[0, 1, 2], 1), &[dictionary]);
        let rows = featurizer.rows(&inputs, 0..3);
        assert_eq!(
            rows,
            Rows::Full(vec![
                -1.0, 0.0, 0.0, 0.0, 1.0, //
                1.0, 0.0, 1.0, 0.0, 0.0, //
                0.0, 1.0, 0.0, 0.0, 0.0,
            ])
        );
    }
}
