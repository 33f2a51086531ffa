//! Rows of features, as the first layer reads them: all columns of each, or of texts only those that
//! are not 0.

use super::network::Dense;

/// Rows of one width.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Rows {
    /// `[n, width]`, row-major.
    Full(Vec<f32>),
    /// What is not 0.
    Sparse(SparseRows),
}

/// The columns of each row that are not 0.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct SparseRows {
    /// Where each row ends among `entries`.
    ends: Vec<usize>,
    /// Columns, ascending within a row, and what is in them.
    entries: Vec<(u32, f32)>,
}

impl Rows {
    /// A place among them that [`Self::after`] takes: where the next row begins.
    pub(super) fn mark(&self) -> usize {
        match self {
            Self::Full(numbers) => numbers.len(),
            Self::Sparse(rows) => rows.ends.len(),
        }
    }

    /// A copy of the rows from `mark` on.
    pub(super) fn after(&self, mark: usize) -> Self {
        match self {
            Self::Full(numbers) => Self::Full(numbers[mark..].to_vec()),
            Self::Sparse(rows) => {
                let mut after = SparseRows::default();
                rows.iter().skip(mark).for_each(|row| after.push(row.iter().copied()));
                Self::Sparse(after)
            }
        }
    }
}

impl SparseRows {
    /// Adds a row.
    pub(super) fn push(&mut self, entries: impl Iterator<Item = (u32, f32)>) {
        self.entries.extend(entries);
        self.ends.push(self.entries.len());
    }

    /// How many rows there are.
    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    /// Row by row.
    pub(super) fn iter(&self) -> impl Iterator<Item = &[(u32, f32)]> {
        let mut start = 0;
        self.ends.iter().map(move |&end| &self.entries[std::mem::replace(&mut start, end)..end])
    }

    /// What `layer` makes of them: `x·weight + bias`, `[rows, n_out]` row-major.
    pub(super) fn through(&self, layer: &Dense) -> Vec<f32> {
        let n_out = layer.n_out;
        let mut outputs = Vec::with_capacity(self.len() * n_out);
        for row in self.iter() {
            let start = outputs.len();
            outputs.extend_from_slice(&layer.bias);
            let sums = &mut outputs[start..];
            for &(column, value) in row {
                let weights = &layer.weight[column as usize * n_out..][..n_out];
                sums.iter_mut().zip(weights).for_each(|(sum, weight)| *sum += value * weight);
            }
        }
        outputs
    }

    /// The gradient of a layer's weights from that of its outputs, `[rows, n_out]` row-major: the
    /// columns that are read, ascending, and the gradient of the weights that read each, `[columns,
    /// n_out]` row-major.
    pub(super) fn gradient(&self, of_outputs: &[f32], n_out: usize) -> (Vec<u32>, Vec<f32>) {
        let mut read: Vec<(u32, u32, f32)> = Vec::with_capacity(self.entries.len());
        for (row, entries) in self.iter().enumerate() {
            read.extend(entries.iter().map(|&(column, value)| (column, row as u32, value)));
        }
        read.sort_unstable_by_key(|&(column, row, _)| (column, row));
        let (mut columns, mut numbers) = (Vec::<u32>::new(), Vec::<f32>::new());
        for (column, row, value) in read {
            if columns.last() != Some(&column) {
                columns.push(column);
                numbers.resize(numbers.len() + n_out, 0.0);
            }
            let start = numbers.len() - n_out;
            let slope = &of_outputs[row as usize * n_out..][..n_out];
            numbers[start..].iter_mut().zip(slope).for_each(|(sum, slope)| *sum += value * slope);
        }
        (columns, numbers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sparse_rows_go_through_a_layer_as_full_ones_would() {
        let layer = Dense {
            n_in: 4,
            n_out: 2,
            weight: vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0],
            bias: vec![0.5, -0.5],
        };
        let mut rows = SparseRows::default();
        rows.push([(0, 1.0), (3, 0.5)].into_iter());
        rows.push([].into_iter());
        rows.push([(3, 2.0)].into_iter());
        assert_eq!(rows.through(&layer), [5.0, 5.5, 0.5, -0.5, 14.5, 15.5]);
        let slope = [1.0, 2.0, 100.0, 200.0, 0.5, 0.25];
        let (columns, numbers) = rows.gradient(&slope, 2);
        assert_eq!(columns, [0, 3]);
        assert_eq!(numbers, [1.0, 2.0, 1.5, 1.5]);
        let Rows::Sparse(after) = Rows::Sparse(rows).after(2) else { panic!("another kind") };
        assert_eq!(after.iter().collect::<Vec<_>>(), [&[(3, 2.0)]]);
    }
}
