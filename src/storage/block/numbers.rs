//! Numbers as tensors, in the shortest of the forms that are quickly written and read.

use safetensors::tensor::{Dtype, TensorView};

use super::{MAX_INPUTS, words};
use crate::domain::input::MAX_FEATURES;

/// One in so many that is 0 is worth a mask: the compressor would find the zeros in three times the time,
/// and tell them in more bytes.
const SPARSE: usize = 4;

/// Numbers in one of the forms.
#[derive(Debug, PartialEq)]
pub(super) enum Numbers {
    /// A byte each: whole ones of 0 to 255.
    Bytes(Vec<u8>),
    /// Four bytes each, little-endian.
    Words(Vec<u8>),
    /// A bit each, least first, set where it is not 0, and four bytes each of those that are not.
    Sparse { mask: Vec<u8>, words: Vec<u8> },
}

impl Numbers {
    /// `numbers` in the form that suits them.
    pub(super) fn of(numbers: &[f32]) -> Self {
        // The cast saturates and drops fractions, so only what survives it is a byte; minus zero is not.
        let is_byte = |&number: &f32| (number as u8 as f32).to_bits() == number.to_bits();
        if numbers.iter().all(is_byte) {
            return Self::Bytes(numbers.iter().map(|&number| number as u8).collect());
        }
        let n_zeros = numbers.iter().filter(|&&number| !is_told(number)).count();
        match n_zeros * SPARSE >= numbers.len() {
            true => Self::sparse(numbers),
            false => Self::Words(words_of(numbers)),
        }
    }

    fn sparse(numbers: &[f32]) -> Self {
        let bits = |numbers: &[f32]| {
            let bit = |(place, &number): (usize, &f32)| u8::from(is_told(number)) << place;
            numbers.iter().enumerate().map(bit).sum()
        };
        let mask = numbers.chunks(8).map(bits).collect();
        // Without a branch, which nobody could foretell.
        let (mut told, mut n_told) = (vec![0.0; numbers.len()], 0);
        for &number in numbers {
            told[n_told] = number;
            n_told += usize::from(is_told(number));
        }
        Self::Sparse { mask, words: words_of(&told[..n_told]) }
    }

    /// Reads `n` numbers; none where the tensors are not such.
    pub(super) fn read(
        numbers: &TensorView<'_>,
        mask: Option<&TensorView<'_>>,
        n: usize,
    ) -> Option<Vec<f32>> {
        let read: Vec<f32> = match (numbers.dtype(), mask) {
            (Dtype::U8, None) => numbers.data().iter().map(|&byte| f32::from(byte)).collect(),
            (Dtype::F32, None) => words(numbers.data()).map(f32::from_le_bytes).collect(),
            (Dtype::F32, Some(mask)) => unmask(mask.data(), numbers.data(), n)?,
            _ => return None,
        };
        (read.len() == n).then_some(read)
    }
}

/// Whether a mask leaves this number to its words: minus zero, too.
fn is_told(number: f32) -> bool {
    number.to_bits() != 0
}

/// `n` numbers of a mask and the words of those that are not 0.
fn unmask(mask: &[u8], told: &[u8], n: usize) -> Option<Vec<f32>> {
    let n_told: usize = mask.iter().map(|bits| bits.count_ones() as usize).sum();
    let beyond = mask.last().map_or(0, |bits| u32::from(*bits) >> ((n + 7) % 8 + 1));
    let fits = n.div_ceil(8) == mask.len() && n_told * 4 == told.len() && beyond == 0;
    if !fits || n > MAX_INPUTS * MAX_FEATURES {
        return None;
    }
    // One more, for what comes behind the last of them.
    let told: Vec<f32> = words(told).map(f32::from_le_bytes).chain([0.0]).collect();
    let mut place = 0;
    let number = |at: usize| {
        let is_told = u32::from(mask[at / 8] >> (at % 8) & 1);
        let number = f32::from_bits(told[place].to_bits() * is_told);
        place += is_told as usize;
        number
    };
    Some((0..n).map(number).collect())
}

fn words_of(numbers: &[f32]) -> Vec<u8> {
    let mut bytes = vec![0; size_of_val(numbers)];
    for (word, number) in bytes.chunks_exact_mut(4).zip(numbers) {
        word.copy_from_slice(&number.to_le_bytes());
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_form_is_taken_where_it_is_short() {
        assert_eq!(Numbers::of(&[0.0, 255.0, 7.0]), Numbers::Bytes(vec![0, 255, 7]));
        for wide in [-0.0, -1.0, 256.0, 0.5, f32::NAN] {
            let bytes = wide.to_le_bytes().to_vec();
            assert_eq!(Numbers::of(&[wide]), Numbers::Words(bytes.clone()), "{wide}");
            assert_eq!(
                Numbers::of(&[0.0, wide, 0.0]),
                Numbers::Sparse { mask: vec![2], words: bytes },
                "{wide}"
            );
        }
    }

    #[test]
    fn a_mask_that_does_not_fit_is_refused() {
        let two = [0; 8];
        assert_eq!(unmask(&[0b101], &two, 3), Some(vec![0.0; 3]));
        assert_eq!(unmask(&[0b1100_0000], &two, 8), Some(vec![0.0; 8]));
        for (mask, n_words, n) in
            [(&[0b111][..], 2, 3), (&[1], 2, 3), (&[3, 0], 2, 8), (&[], 0, 1), (&[9], 2, 3)]
        {
            assert_eq!(unmask(mask, &two[..n_words * 4], n), None, "{mask:?}");
        }
    }
}
