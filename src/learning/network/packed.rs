//! Products of matrices whose second factor is packed once: the layers of a network that answers, and
//! convolutions.
//!
//! A product lays its factors out anew each time it is computed, which pays where both are large: not for
//! the one row of most predictions, nor for the few channels of a convolution. Here the outputs of the
//! second factor lie in panels as wide as a few registers: a number of a row meets all that it is
//! multiplied with in one panel side by side, and behind that what the row's next number meets. A sum goes
//! over a row's numbers in their order, so a row says the same, to the bit, in any company.

use std::ops::Range;

use pulp::{Arch, Simd, WithSimd};

use super::Dense;
use super::weights::Weights;

/// Registers across a panel.
const REGISTERS: usize = 2;
/// Rows that go through one panel together: as many sums as there are registers. Fewer go through several
/// panels side by side, so that no sum waits for another.
const ROWS: usize = 6;

/// The second factor of products.
#[derive(Debug, Default)]
pub(in crate::learning) struct Packed {
    n_in: usize,
    n_out: usize,
    /// Outputs of a panel.
    width: usize,
    /// `[panels, n_in, width]`; outputs beyond `n_out` are 0.
    numbers: Weights,
}

/// The first factor.
#[derive(Debug, Clone, Copy)]
pub(in crate::learning) enum Rows<'a> {
    /// `[n, n_in]` row-major.
    Whole(&'a [f32]),
    /// The transpose of `[n_in, n]` row-major.
    Transposed(&'a [f32]),
}

impl Packed {
    /// `factor`, `[n_in, n_out]` row-major, of a version that answers.
    pub(in crate::learning) fn of(factor: &[f32], n_out: usize) -> Self {
        let mut packed = Self::default();
        packed.lay(factor, n_out, Weights::lasting);
        packed
    }

    /// The transpose of `factor`, `[n_out, n_in]` row-major, for a step.
    pub(in crate::learning) fn transpose_of(factor: &[f32], n_in: usize) -> Self {
        let n_out = factor.len() / n_in;
        let transposed = (0..n_in).flat_map(|input| factor[input..].iter().step_by(n_in));
        let mut packed = Self::default();
        packed.fill(&transposed.copied().collect::<Vec<_>>(), n_out);
        packed
    }

    /// Takes in another factor, `[n_in, n_out]` row-major, in the place of what was there.
    pub(in crate::learning) fn fill(&mut self, factor: &[f32], n_out: usize) {
        self.lay(factor, n_out, Weights::passing);
    }

    fn lay(&mut self, factor: &[f32], n_out: usize, room: impl Fn(usize) -> Weights) {
        let n_in = factor.len() / n_out;
        let width = REGISTERS * Arch::new().dispatch(Lanes);
        let n_panels = n_out.div_ceil(width);
        if (self.n_in, self.n_out) != (n_in, n_out) {
            self.numbers = room(n_panels * n_in * width);
            (self.n_in, self.n_out, self.width) = (n_in, n_out, width);
        }
        let numbers = self.numbers.numbers_mut();
        for (input, row) in factor.chunks_exact(n_out).enumerate() {
            for (panel, outputs) in row.chunks(width).enumerate() {
                let start = (panel * n_in + input) * width;
                numbers[start..start + outputs.len()].copy_from_slice(outputs);
            }
        }
    }

    fn n_panels(&self) -> usize {
        self.n_out.div_ceil(self.width)
    }

    /// Adds the product of `rows` with this to `sums`, `[n, n_out]` row-major.
    pub(in crate::learning) fn add_product(&self, rows: Rows<'_>, sums: &mut [f32]) {
        Arch::new().dispatch(Product { rows, factor: self, sums });
    }
}

/// A dense layer whose weights are packed.
#[derive(Debug)]
pub(in crate::learning) struct Layer {
    weight: Packed,
    bias: Vec<f32>,
}

impl Layer {
    /// That of `layer`.
    pub(in crate::learning) fn of(layer: &Dense) -> Self {
        Self { weight: Packed::of(&layer.weight, layer.n_out), bias: layer.bias.clone() }
    }

    /// Multiply-adds of a row.
    pub(in crate::learning) fn work(&self) -> usize {
        self.weight.n_in * self.bias.len()
    }

    /// What it makes of `rows`, `[n, n_in]` row-major: `[n, n_out]`.
    pub(in crate::learning) fn through(&self, rows: &[f32]) -> Vec<f32> {
        let mut outputs = self.bias.repeat(rows.len() / self.weight.n_in);
        self.weight.add_product(Rows::Whole(rows), &mut outputs);
        outputs
    }
}

/// Asks how many numbers a register holds.
struct Lanes;

impl WithSimd for Lanes {
    type Output = usize;

    fn with_simd<S: Simd>(self, _: S) -> usize {
        S::F32_LANES
    }
}

/// A product to be computed.
struct Product<'a> {
    rows: Rows<'a>,
    factor: &'a Packed,
    sums: &'a mut [f32],
}

impl WithSimd for Product<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { rows, factor, sums } = self;
        let n = sums.len() / factor.n_out;
        let n_together = n / ROWS * ROWS;
        let (of_together, rest) = sums.split_at_mut(n_together * factor.n_out);
        for panel in 0..factor.n_panels() {
            for (group, sums) in of_together.chunks_exact_mut(ROWS * factor.n_out).enumerate() {
                rows.through::<S, ROWS, 1>(simd, group * ROWS..n, factor, panel, sums);
            }
        }
        let rest_of_rows = n_together..n;
        match rest_of_rows.len() {
            0 => {}
            1 => rows.through_all::<S, 1, 4>(simd, rest_of_rows, factor, rest),
            2 => rows.through_all::<S, 2, 2>(simd, rest_of_rows, factor, rest),
            3 => rows.through_all::<S, 3, 2>(simd, rest_of_rows, factor, rest),
            4 => rows.through_all::<S, 4, 1>(simd, rest_of_rows, factor, rest),
            _ => rows.through_all::<S, 5, 1>(simd, rest_of_rows, factor, rest),
        }
    }
}

impl Rows<'_> {
    /// Adds to `sums`, `[R, n_out]`, the products of the `R` rows of `place`, from its start on to the end of
    /// all rows, with all panels of `factor`, `P` side by side.
    #[inline(always)]
    fn through_all<S: Simd, const R: usize, const P: usize>(
        self,
        simd: S,
        place: Range<usize>,
        factor: &Packed,
        sums: &mut [f32],
    ) {
        let n_grouped = factor.n_panels() / P * P;
        for group in (0..n_grouped).step_by(P) {
            self.through::<S, R, P>(simd, place.clone(), factor, group, sums);
        }
        for panel in n_grouped..factor.n_panels() {
            self.through::<S, R, 1>(simd, place.clone(), factor, panel, sums);
        }
    }

    /// The same with `P` panels from `panel` on.
    #[inline(always)]
    fn through<S: Simd, const R: usize, const P: usize>(
        self,
        simd: S,
        place: Range<usize>,
        factor: &Packed,
        panel: usize,
        sums: &mut [f32],
    ) {
        let (first, n, n_in) = (place.start, place.end, factor.n_in);
        match self {
            Self::Whole(rows) => {
                let rows: [&[f32]; R] =
                    std::array::from_fn(|row| &rows[(first + row) * n_in..][..n_in]);
                let at = |input: usize| rows.map(|row| row[input]);
                tile::<S, R, P>(simd, factor, panel, at, sums);
            }
            Self::Transposed(columns) => {
                let at = |input: usize| {
                    let column = &columns[input * n + first..][..R];
                    std::array::from_fn(|row| column[row])
                };
                tile::<S, R, P>(simd, factor, panel, at, sums);
            }
        }
    }
}

/// Adds to `sums`, `[R, n_out]`, the products of `R` rows, whose numbers are `at` each place, with `P`
/// panels from `first` on.
#[inline(always)]
fn tile<S: Simd, const R: usize, const P: usize>(
    simd: S,
    factor: &Packed,
    first: usize,
    at: impl Fn(usize) -> [f32; R],
    sums: &mut [f32],
) {
    let &Packed { n_in, n_out, width, .. } = factor;
    let (numbers, _) =
        S::as_simd_f32s(&factor.numbers.numbers()[first * n_in * width..][..P * n_in * width]);
    let panels: [&[S::f32s]; P] =
        std::array::from_fn(|panel| &numbers[panel * n_in * REGISTERS..][..n_in * REGISTERS]);
    let mut products = [[[simd.splat_f32s(0.0); REGISTERS]; P]; R];
    for input in 0..n_in {
        for (number, products) in at(input).into_iter().zip(&mut products) {
            let number = simd.splat_f32s(number);
            for (panel, products) in panels.iter().zip(products) {
                for (place, product) in products.iter_mut().enumerate() {
                    let other = panel[input * REGISTERS + place];
                    *product = simd.mul_add_f32s(number, other, *product);
                }
            }
        }
    }
    for (products, sums) in products.iter().zip(sums.chunks_exact_mut(n_out)) {
        for (products, sums) in products.iter().zip(sums[first * width..].chunks_mut(width)) {
            let products: &[f32] = pulp::bytemuck::cast_slice(products);
            sums.iter_mut().zip(products).for_each(|(sum, product)| *sum += product);
        }
    }
}

#[cfg(test)]
mod tests {
    use rand::Rng;

    use super::*;
    use crate::learning::seed::{Draw, stream};

    #[test]
    fn a_product_is_the_same_function_of_a_row_in_any_company() {
        let draws = &mut stream(1, Draw::Layers);
        let mut packed = Packed::default();
        let sizes = [(1, 1), (3, 7), (17, 16), (64, 33), (130, 257), (130, 257), (20, 90)];
        for (n, (n_in, n_out)) in (6..).zip(sizes) {
            let mut draw =
                |n: usize| -> Vec<f32> { (0..n).map(|_| draws.gen_range(-1.0..1.0)).collect() };
            let (factor, rows, before) = (draw(n_in * n_out), draw(n * n_in), draw(n * n_out));
            packed.fill(&factor, n_out);
            assert_eq!((packed.n_in, packed.n_out), (n_in, n_out));
            let mut together = before.clone();
            packed.add_product(Rows::Whole(&rows), &mut together);
            for (row, numbers) in rows.chunks_exact(n_in).enumerate() {
                let of_row = row * n_out..(row + 1) * n_out;
                let mut alone = before[of_row.clone()].to_vec();
                packed.add_product(Rows::Whole(numbers), &mut alone);
                assert_eq!(alone, together[of_row.clone()], "{n_in} {n_out}");
                for (output, sum) in alone.iter().enumerate() {
                    let term = |(input, number): (usize, &f32)| {
                        f64::from(*number) * f64::from(factor[input * n_out + output])
                    };
                    let exact = numbers.iter().enumerate().map(term).sum::<f64>()
                        + f64::from(before[row * n_out + output]);
                    assert!((f64::from(*sum) - exact).abs() < 1e-4, "{n_in} {n_out} {output}");
                }
            }
            let columns: Vec<f32> =
                (0..n_in).flat_map(|input| rows[input..].iter().step_by(n_in).copied()).collect();
            let mut transposed = before.clone();
            packed.add_product(Rows::Transposed(&columns), &mut transposed);
            assert_eq!(transposed, together);
            let columns: Vec<f32> = (0..n_out)
                .flat_map(|output| factor[output..].iter().step_by(n_out).copied())
                .collect();
            let mut other = before;
            Packed::transpose_of(&columns, n_in).add_product(Rows::Whole(&rows), &mut other);
            assert_eq!(other, together);
        }
    }
}
