//! Features: what the first layer reads of a raw input.
//!
//! Raw samples are stored and featurised when they are needed, a minibatch at a time, so that one
//! representation never outlives the statistics it was made with. Columns: the numbers in the
//! schema's order, normalised; then each categorical feature's one-hot block.

use crate::domain::input::{InputSchema, Inputs};

use super::categories::Dictionary;
use super::normalize::{Moments, Scale};

/// Turns raw inputs into rows for the network.
#[derive(Debug, Clone)]
pub(super) struct Featurizer {
    scale: Scale,
    dictionaries: Vec<Dictionary>,
    width: usize,
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
            width: width(moments.mean.len(), dictionaries),
        }
    }

    /// Columns of a row.
    pub(super) fn width(&self) -> usize {
        self.width
    }

    /// Whether inputs have the shape that this featuriser was made for.
    pub(super) fn fits(&self, inputs: &Inputs) -> bool {
        inputs.n_numeric() == self.scale.mean.len()
            && inputs.n_categorical() == self.dictionaries.len()
    }

    /// Rows of the inputs at `indices`, `[indices, width]` row-major.
    pub(super) fn rows(
        &self,
        inputs: &Inputs,
        indices: impl ExactSizeIterator<Item = usize>,
    ) -> Vec<f32> {
        let mut rows = Vec::with_capacity(indices.len() * self.width);
        indices.for_each(|index| self.append(inputs, index, &mut rows));
        rows
    }

    /// Appends the row of input `index` to `rows`.
    pub(super) fn append(&self, inputs: &Inputs, index: usize, rows: &mut Vec<f32>) {
        let numbers = inputs.numbers(index).iter().enumerate();
        rows.extend(numbers.map(|(j, &number)| self.scale.apply(j, number)));
        for (dictionary, category) in self.dictionaries.iter().zip(inputs.categories(index)) {
            let hot = rows.len() + dictionary.column(category);
            rows.resize(rows.len() + dictionary.n_columns(), 0.0);
            rows[hot] = 1.0;
        }
    }
}

/// Columns of a row with this many numbers and these dictionaries.
pub(super) fn width(n_numeric: usize, dictionaries: &[Dictionary]) -> usize {
    n_numeric + dictionaries.iter().map(Dictionary::n_columns).sum::<usize>()
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
        let featurizer = Featurizer::new(&schema, &Moments::of(&inputs, &[0, 1, 2]), &[dictionary]);
        let rows = featurizer.rows(&inputs, 0..3);
        assert_eq!(
            rows,
            [
                -1.0, 0.0, 0.0, 0.0, 1.0, //
                1.0, 0.0, 1.0, 0.0, 0.0, //
                0.0, 1.0, 0.0, 0.0, 0.0,
            ]
        );
    }
}
