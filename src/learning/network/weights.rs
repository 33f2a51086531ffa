//! Where the numbers of a packed factor lie.
//!
//! Those of a version lie in pages of their own for as long as it answers: an allocator rounds a megabyte
//! up, and lays it between what is soon given back and then belongs to nobody. Those of one step of a
//! training come from the allocator, which has them at hand again for the next one.

use memmap2::MmapMut;
use pulp::bytemuck::{cast_slice, cast_slice_mut};

/// Bytes from which on pages are worth it: they are whole, and the kernel counts each piece of memory.
const LEAST_BYTES: usize = 128 << 10;

/// Numbers, all 0 at first.
#[derive(Debug)]
pub(super) enum Weights {
    /// In the allocator's memory.
    Allocated(Vec<f32>),
    /// In pages of their own.
    Mapped(MmapMut),
}

impl Weights {
    /// `n` for a short while.
    pub(super) fn passing(n: usize) -> Self {
        Self::Allocated(vec![0.0; n])
    }

    /// `n` that stay.
    pub(super) fn lasting(n: usize) -> Self {
        let n_bytes = n * size_of::<f32>();
        if n_bytes < LEAST_BYTES {
            return Self::passing(n);
        }
        // A process may have only so many pieces of memory; beyond them the allocator has room.
        MmapMut::map_anon(n_bytes).map_or_else(|_| Self::passing(n), Self::Mapped)
    }

    pub(super) fn numbers(&self) -> &[f32] {
        match self {
            Self::Allocated(numbers) => numbers,
            Self::Mapped(bytes) => cast_slice(bytes),
        }
    }

    pub(super) fn numbers_mut(&mut self) -> &mut [f32] {
        match self {
            Self::Allocated(numbers) => numbers,
            Self::Mapped(bytes) => cast_slice_mut(bytes),
        }
    }
}

impl Default for Weights {
    fn default() -> Self {
        Self::passing(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_that_stay_lie_in_pages_of_their_own() {
        let most_allocated = LEAST_BYTES / size_of::<f32>() - 1;
        assert!(matches!(Weights::lasting(most_allocated), Weights::Allocated(_)));
        assert!(matches!(Weights::passing(most_allocated + 1), Weights::Allocated(_)));
        let mut weights = Weights::lasting(most_allocated + 1);
        assert!(matches!(weights, Weights::Mapped(_)));
        assert_eq!(weights.numbers(), vec![0.0; most_allocated + 1]);
        weights.numbers_mut()[most_allocated] = 1.5;
        assert_eq!(weights.numbers()[most_allocated], 1.5);
    }
}
