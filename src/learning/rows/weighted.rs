//! Sums of weighted rows of a matrix: what a layer makes of sparse rows, and the way back.
//!
//! The sums of one row stay in registers, some outputs after others, while all its entries go by: nothing
//! is written but what they come to. A sum goes over the entries in their order, so a row says the same, to
//! the bit, in any company.

use pulp::{Simd, WithSimd};

use super::SparseRows;

/// Sums to be computed.
pub(super) struct Weighted<'a> {
    /// Which rows of the matrix each sum is of, and what each counts.
    pub(super) rows: &'a SparseRows,
    /// The place of the first of them that is summed.
    pub(super) first: usize,
    /// `[_, n_out]` row-major.
    pub(super) matrix: &'a [f32],
    /// Numbers of a row of the matrix.
    pub(super) n_out: usize,
    /// What is added to, `[n, n_out]` row-major.
    pub(super) sums: &'a mut [f32],
}

impl WithSimd for Weighted<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { rows, first, matrix, n_out, sums } = self;
        for (place, sums) in sums.chunks_exact_mut(n_out).enumerate() {
            let entries = rows.row(first + place);
            let done = tiles::<S, 8>(simd, entries, matrix, sums, 0);
            let done = tiles::<S, 4>(simd, entries, matrix, sums, done);
            let done = tiles::<S, 2>(simd, entries, matrix, sums, done);
            let done = tiles::<S, 1>(simd, entries, matrix, sums, done);
            rest(simd, entries, matrix, sums, done);
        }
    }
}

/// Adds to `sums` from `done` on, as many registers at once as `REGISTERS` says, for as long as so many
/// numbers are left; answers how many are done then.
#[inline(always)]
fn tiles<S: Simd, const REGISTERS: usize>(
    simd: S,
    entries: &[(u32, f32)],
    matrix: &[f32],
    sums: &mut [f32],
    mut done: usize,
) -> usize {
    let (n_out, width) = (sums.len(), REGISTERS * S::F32_LANES);
    while done + width <= n_out {
        let (own, _) = S::as_mut_simd_f32s(&mut sums[done..][..width]);
        let mut totals: [S::f32s; REGISTERS] = std::array::from_fn(|place| own[place]);
        for &(row, weight) in entries {
            let (numbers, _) = S::as_simd_f32s(&matrix[row as usize * n_out + done..][..width]);
            let weight = simd.splat_f32s(weight);
            for (place, total) in totals.iter_mut().enumerate() {
                *total = simd.mul_add_f32s(weight, numbers[place], *total);
            }
        }
        own.copy_from_slice(&totals);
        done += width;
    }
    done
}

/// Adds to what is left of `sums` from `done` on, less than a register.
#[inline(always)]
fn rest<S: Simd>(simd: S, entries: &[(u32, f32)], matrix: &[f32], sums: &mut [f32], done: usize) {
    let (n_out, left) = (sums.len(), sums.len() - done);
    if left == 0 {
        return;
    }
    let mut total = simd.partial_load_f32s(&sums[done..]);
    for &(row, weight) in entries {
        let numbers = simd.partial_load_f32s(&matrix[row as usize * n_out + done..][..left]);
        total = simd.mul_add_f32s(simd.splat_f32s(weight), numbers, total);
    }
    simd.partial_store_f32s(&mut sums[done..], total);
}
