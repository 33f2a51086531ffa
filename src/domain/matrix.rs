//! Spans: what one row and one column of an accuracy matrix stand for.
//!
//! Up to 32 experiences, each is a span by itself. From then on two in a row make one, later four,
//! then eight: a matrix has at most 32 rows and columns, however many updates a model sees. The
//! numbering depends on nothing but the count of experiences, so a span keeps its samples, and a
//! column its meaning, from one update to the next.

use super::evaluation::AccuracyMatrix;

/// The most rows and columns of an accuracy matrix.
pub const MOST_SPANS: usize = 32;

/// How many experiences in a row make a span when there are `n_experiences`: a power of two.
pub fn span_of(n_experiences: usize) -> usize {
    n_experiences.div_ceil(MOST_SPANS).next_power_of_two()
}

/// A matrix whose spans are `from` experiences long, in spans of `to`: neighbouring columns become
/// their mean, and of the rows within a span the last stays, the state that the span ended with.
pub fn widened(mut matrix: AccuracyMatrix, from: usize, to: usize) -> AccuracyMatrix {
    let mut span = from.max(1);
    while span < to {
        let mut paired = AccuracyMatrix::new();
        for row in &matrix {
            push_row(&mut paired, row.chunks(2).map(mean).collect());
        }
        (matrix, span) = (paired, span * 2);
    }
    matrix
}

/// Adds a row. It replaces the last one where that belongs to the same span: as many columns.
pub fn push_row(matrix: &mut AccuracyMatrix, row: Vec<Option<f64>>) {
    if matrix.last().is_some_and(|last| last.len() == row.len()) {
        matrix.pop();
    }
    matrix.push(row);
}

/// The mean of those that are known; none where none is.
pub fn mean(figures: &[Option<f64>]) -> Option<f64> {
    let known: Vec<f64> = figures.iter().copied().flatten().collect();
    (!known.is_empty()).then(|| known.iter().sum::<f64>() / known.len() as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_double_as_the_experiences_do() {
        let wanted = [(0, 1), (1, 1), (32, 1), (33, 2), (64, 2), (65, 4), (128, 4), (129, 8)];
        for (n, span) in wanted {
            assert_eq!(span_of(n), span, "{n} experiences");
        }
        assert!((1..5_000).all(|n: usize| n.div_ceil(span_of(n)) <= MOST_SPANS));
    }

    #[test]
    fn wider_spans_are_means_of_columns_and_the_last_of_rows() {
        let matrix = vec![
            vec![Some(0.9)],
            vec![Some(0.7), Some(0.8)],
            vec![Some(0.5), None, Some(1.0)],
            vec![Some(0.4), Some(0.6), None, None],
        ];
        let near = |a: &AccuracyMatrix, b: &[&[Option<f64>]]| {
            assert_eq!(
                a.iter().map(Vec::len).collect::<Vec<_>>(),
                b.iter().map(|r| r.len()).collect::<Vec<_>>()
            );
            for (a, b) in a.iter().flatten().zip(b.iter().copied().flatten()) {
                assert!(
                    a.is_some() == b.is_some()
                        && (a.unwrap_or(0.0) - b.unwrap_or(0.0)).abs() < 1e-12,
                    "{a:?} {b:?}"
                );
            }
        };
        near(&widened(matrix.clone(), 1, 2), &[&[Some(0.75)], &[Some(0.5), None]]);
        near(&widened(matrix.clone(), 1, 4), &[&[Some(0.5)]]);
        near(&widened(matrix.clone(), 2, 4), &[&[Some(0.75)], &[Some(0.5), None]]);
        assert_eq!(widened(matrix.clone(), 4, 4), matrix);
        assert_eq!(widened(vec![], 0, 8), AccuracyMatrix::new());
    }

    #[test]
    fn a_matrix_stays_small_over_a_thousand_updates() {
        let mut matrix = AccuracyMatrix::new();
        let mut span = 1;
        for n in 1..=1_000_usize {
            let wider = span_of(n);
            matrix = widened(matrix, span, wider);
            span = wider;
            push_row(&mut matrix, vec![Some(0.5); n.div_ceil(span)]);
            assert!(matrix.len() <= MOST_SPANS);
            assert!(matrix.iter().enumerate().all(|(row, columns)| columns.len() == row + 1));
        }
        assert_eq!((span, matrix.len()), (32, 32));
    }
}
