//! Rows of features, as the first layer reads them: all columns of each, or of texts only those that
//! are not 0.

use pulp::Arch;
use rayon::prelude::*;

use super::network::Dense;

mod weighted;

use weighted::Weighted;

/// Rows that one thread sums.
const AT_ONCE: usize = 64;

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
    /// Columns, each at most once in a row, and what is in them.
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
                (mark..rows.len()).for_each(|row| after.push(rows.row(row).iter().copied()));
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

    /// Adds a row of what `read` appends to the entries.
    pub(super) fn push_by(&mut self, read: impl FnOnce(&mut Vec<(u32, f32)>)) {
        read(&mut self.entries);
        self.ends.push(self.entries.len());
    }

    /// How many rows there are.
    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    /// Row `index`.
    pub(super) fn row(&self, index: usize) -> &[(u32, f32)] {
        let start = index.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.entries[start..self.ends[index]]
    }

    /// Row by row.
    pub(super) fn iter(&self) -> impl Iterator<Item = &[(u32, f32)]> {
        (0..self.len()).map(|index| self.row(index))
    }

    /// What is in their columns, to be changed.
    pub(super) fn entries_mut(&mut self) -> &mut [(u32, f32)] {
        &mut self.entries
    }

    /// What `layer` makes of them: `x·weight + bias`, `[rows, n_out]` row-major.
    pub(super) fn through(&self, layer: &Dense) -> Vec<f32> {
        let mut outputs = layer.bias.repeat(self.len());
        self.add_weighted(&layer.weight, layer.n_out, &mut outputs);
        outputs
    }

    /// The gradient of a layer's weights from that of its outputs, `[rows, n_out]` row-major: the
    /// columns that are read, ascending, and the gradient of the weights that read each, `[columns,
    /// n_out]` row-major.
    pub(super) fn gradient(&self, of_outputs: &[f32], n_out: usize) -> (Vec<u32>, Vec<f32>) {
        let (columns, readers) = self.by_column();
        let mut numbers = vec![0.0; columns.len() * n_out];
        readers.add_weighted(of_outputs, n_out, &mut numbers);
        (columns, numbers)
    }

    /// The columns that are read, ascending; and a row for each, whose columns are the rows that read it,
    /// ascending.
    fn by_column(&self) -> (Vec<u32>, Self) {
        let mut read: Vec<(u64, f32)> = Vec::with_capacity(self.entries.len());
        for (row, entries) in self.iter().enumerate() {
            let place = |column: u32| (u64::from(column) << 32) | row as u64;
            read.extend(entries.iter().map(|&(column, value)| (place(column), value)));
        }
        read.sort_unstable_by_key(|&(place, _)| place);
        let (mut columns, mut readers) = (Vec::new(), Self::default());
        for readings in read.chunk_by(|(one, _), (next, _)| one >> 32 == next >> 32) {
            columns.push((readings[0].0 >> 32) as u32);
            readers.push(readings.iter().map(|&(place, value)| (place as u32, value)));
        }
        (columns, readers)
    }

    /// Adds to each row of `sums`, `[n, n_out]` row-major, the rows of `matrix` that are this row's
    /// columns, each times what is in it. Many are shared among threads.
    fn add_weighted(&self, matrix: &[f32], n_out: usize, sums: &mut [f32]) {
        let add = |(chunk, sums): (usize, &mut [f32])| {
            let first = chunk * AT_ONCE;
            Arch::new().dispatch(Weighted { rows: self, first, matrix, n_out, sums });
        };
        if sums.len() <= AT_ONCE * n_out {
            return add((0, sums));
        }
        sums.par_chunks_mut(AT_ONCE * n_out).enumerate().for_each(add);
    }
}

#[cfg(test)]
mod tests {
    use rand::Rng;

    use super::*;
    use crate::learning::seed::{Draw, stream};

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

    #[test]
    fn a_sum_is_the_same_of_any_width_and_in_any_company() {
        const N_IN: usize = 40;
        let draws = &mut stream(1, Draw::Layers);
        let mut rows = SparseRows::default();
        for row in 0..150_u32 {
            let entry = |at: u32| ((at * 11 + row) % N_IN as u32, draws.gen_range(-1.0..1.0));
            rows.push((0..row % 9).map(entry).collect::<Vec<_>>().into_iter());
        }
        for n_out in [1, 3, 8, 13, 16, 31, 64, 77, 130] {
            let layer = Dense::random(N_IN, n_out, 1, draws);
            let outputs = rows.through(&layer);
            assert_eq!(outputs.len(), 150 * n_out);
            let slope: Vec<f32> = (0..150 * n_out).map(|_| draws.gen_range(-1.0..1.0)).collect();
            let mut gradient = vec![0.0_f64; N_IN * n_out];
            for (row, entries) in rows.iter().enumerate() {
                let mut alone = SparseRows::default();
                alone.push(entries.iter().copied());
                assert_eq!(alone.through(&layer), outputs[row * n_out..][..n_out]);
                for (output, &bias) in layer.bias.iter().enumerate() {
                    let mut exact = f64::from(bias);
                    for &(column, value) in entries {
                        let at = column as usize * n_out + output;
                        exact += f64::from(value) * f64::from(layer.weight[at]);
                        let slope = slope[row * n_out + output];
                        gradient[at] += f64::from(value) * f64::from(slope);
                    }
                    let said = f64::from(outputs[row * n_out + output]);
                    assert!((said - exact).abs() < 1e-5, "{n_out}: {said} {exact}");
                }
            }
            let (columns, numbers) = rows.gradient(&slope, n_out);
            assert_eq!(columns, (0..N_IN as u32).collect::<Vec<_>>());
            let pairs = numbers.iter().zip(&gradient);
            pairs.for_each(|(said, exact)| assert!((f64::from(*said) - exact).abs() < 1e-4));
        }
    }
}
