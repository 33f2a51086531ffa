//! The form in which inputs are stored: up to 1,000 of them in one zstd-compressed safetensors file.
//!
//! Tensors: `numbers` `[n, n_numeric]`, U8 where every number is a whole one of 0 to 255 and F32
//! (NaN: missing) elsewhere. Where many are 0, it is F32 of those alone that are not, and `mask` U8 has a
//! bit for each of all, least first; the metadata's `width` is then `n_numeric`. `categories` U32
//! `[n, n_categorical]`, 0 for a missing one, else one more than the place in the metadata's `dictionary`,
//! a JSON list of strings.

use std::collections::HashMap;

use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use zstd::bulk::{Compressor, Decompressor};

use super::StorageError;
use crate::domain::input::{Category, Inputs};

mod numbers;

use numbers::Numbers;

/// The most inputs in one block.
pub const MAX_INPUTS: usize = 1_000;

/// What the inputs of one frame take in memory, about, where a block is read in parts: a sample out of many
/// costs no more than this, and what is alike still lies together. Half as much takes 5 to 16 % more room.
const FRAME_BYTES: usize = 8 << 10;
/// The fastest level that still halves sparse data.
const COMPRESSION_LEVEL: i32 = 1;
/// More than any block of ours expands to: 1,000 inputs of 65,536 features.
const MAX_EXPANDED_BYTES: usize = MAX_INPUTS * crate::domain::input::MAX_FEATURES * 4 + (64 << 20);

/// A block in frames, each of them a block of fewer inputs, so that one can be read without the others.
#[derive(Debug)]
pub struct Frames {
    /// The frames, one behind another.
    pub payload: Vec<u8>,
    /// Inputs in a frame; fewer in the last.
    pub frame_inputs: i32,
    /// Where each frame ends in the payload.
    pub frame_ends: Vec<i32>,
}

impl Frames {
    /// Packs inputs.
    ///
    /// # Errors
    /// When the compressor has no memory, or what is packed takes over 2 GiB.
    pub fn of(inputs: &Inputs) -> Result<Self, StorageError> {
        let fit = FRAME_BYTES * inputs.len() / inputs.size_bytes().max(1);
        let n = fit.clamp(1, MAX_INPUTS);
        let mut frames =
            Self { payload: Vec::new(), frame_inputs: n as i32, frame_ends: Vec::new() };
        let mut packer = Compressor::new(COMPRESSION_LEVEL).map_err(failed)?;
        for first in (0..inputs.len()).step_by(n) {
            let mut part = Inputs::with_shape(inputs.n_numeric(), inputs.n_categorical());
            (first..inputs.len().min(first + n)).for_each(|index| part.push_from(inputs, index));
            frames.payload.extend(encode_by(&mut packer, &part)?);
            let end = i32::try_from(frames.payload.len());
            frames.frame_ends.push(end.map_err(failed)?);
        }
        Ok(frames)
    }

    /// All inputs.
    ///
    /// # Errors
    /// [`StorageError::Damaged`] when the bytes are no frames that end there.
    pub fn decode(&self) -> Result<Inputs, StorageError> {
        let mut unpacker = unpacker()?;
        let mut start = 0;
        let mut parts = self.frame_ends.iter().map(|&end| {
            let frame = self.payload.get(start..end as usize);
            start = end as usize;
            let frame = frame.ok_or_else(|| StorageError::damaged("block", "it is cut"))?;
            decode_by(&mut unpacker, frame)
        });
        // A payload of older releases is one piece.
        let Some(first) = parts.next() else { return decode(&self.payload) };
        let mut all = first?;
        for part in parts {
            let part = part?;
            (0..part.len()).for_each(|index| all.push_from(&part, index));
        }
        Ok(all)
    }
}

/// Packs inputs into a block.
///
/// # Errors
/// When the compressor has no memory.
pub fn encode(inputs: &Inputs) -> Result<Vec<u8>, StorageError> {
    encode_by(&mut Compressor::new(COMPRESSION_LEVEL).map_err(failed)?, inputs)
}

fn encode_by(packer: &mut Compressor<'_>, inputs: &Inputs) -> Result<Vec<u8>, StorageError> {
    let numbers = Numbers::of(inputs.all_numbers());
    let (codes, dictionary) = encode_categories(inputs.all_categories());
    let (n, width) = (inputs.len(), inputs.n_numeric());
    let view = |dtype, shape, data| TensorView::new(dtype, shape, data).map_err(failed);
    let mut metadata = HashMap::from([("dictionary".to_owned(), dictionary)]);
    let mut tensors =
        vec![("categories", view(Dtype::U32, vec![n, inputs.n_categorical()], &codes)?)];
    let (dtype, shape, data) = match &numbers {
        Numbers::Bytes(bytes) => (Dtype::U8, vec![n, width], bytes),
        Numbers::Words(words) => (Dtype::F32, vec![n, width], words),
        Numbers::Sparse { mask, words } => {
            metadata.insert("width".to_owned(), width.to_string());
            tensors.push(("mask", view(Dtype::U8, vec![mask.len()], mask)?));
            (Dtype::F32, vec![words.len() / 4], words)
        }
    };
    tensors.push(("numbers", view(dtype, shape, data)?));
    let file = safetensors::serialize(tensors, Some(metadata)).map_err(failed)?;
    packer.compress(&file).map_err(failed)
}

fn failed(error: impl std::fmt::Display) -> StorageError {
    StorageError::damaged("block to write", error)
}

/// What unpacks blocks: making it takes longer than a small block does.
///
/// # Errors
/// When there is no memory.
pub fn unpacker() -> Result<Decompressor<'static>, StorageError> {
    Decompressor::new().map_err(|error| StorageError::damaged("block", error))
}

/// Unpacks a block.
///
/// # Errors
/// [`StorageError::Damaged`] when the bytes are no block.
pub fn decode(block: &[u8]) -> Result<Inputs, StorageError> {
    decode_by(&mut unpacker()?, block)
}

/// Unpacks a block, as one of many.
///
/// # Errors
/// [`StorageError::Damaged`] when the bytes are no block.
pub fn decode_by(unpacker: &mut Decompressor<'_>, block: &[u8]) -> Result<Inputs, StorageError> {
    let damaged = |why: &dyn std::fmt::Display| StorageError::damaged("block", why);
    let expanded = zstd::zstd_safe::get_frame_content_size(block).ok().flatten().unwrap_or(0);
    let capacity = usize::try_from(expanded).unwrap_or(usize::MAX).min(MAX_EXPANDED_BYTES);
    let file = unpacker.decompress(block, capacity).map_err(|e| damaged(&e))?;
    let (_, header) = SafeTensors::read_metadata(&file).map_err(|e| damaged(&e))?;
    let entry = |name| header.metadata().as_ref().and_then(|metadata| metadata.get(name));
    let dictionary: Vec<Box<str>> = match entry("dictionary") {
        Some(json) => serde_json::from_str(json).map_err(|e| damaged(&e))?,
        None => return Err(damaged(&"it has no dictionary")),
    };
    let tensors = SafeTensors::deserialize(&file).map_err(|e| damaged(&e))?;
    let numbers = tensors.tensor("numbers").map_err(|e| damaged(&e))?;
    let mask =
        entry("width").map(|_| tensors.tensor("mask")).transpose().map_err(|e| damaged(&e))?;
    let categories = tensors.tensor("categories").map_err(|e| damaged(&e))?;
    let &[n, n_categorical] = categories.shape() else {
        return Err(damaged(&"its categories are no matrix"));
    };
    let n_numeric = match (entry("width"), numbers.shape()) {
        (Some(width), [_]) => width.parse().map_err(|e| damaged(&e))?,
        (None, &[rows, width]) if rows == n => width,
        _ => return Err(damaged(&"its tensors are of different lengths")),
    };
    let numbers = usize::checked_mul(n, n_numeric)
        .and_then(|n_numbers| Numbers::read(&numbers, mask.as_ref(), n_numbers))
        .ok_or_else(|| damaged(&"its numbers are of no known form"))?;
    let categories = decode_categories(categories.data(), &dictionary)
        .ok_or_else(|| damaged(&"a category is not in its dictionary"))?;
    let mut inputs = Inputs::with_shape(n_numeric, n_categorical);
    for i in 0..n {
        inputs.push(
            &numbers[i * n_numeric..(i + 1) * n_numeric],
            &categories[i * n_categorical..(i + 1) * n_categorical],
        );
    }
    Ok(inputs)
}

fn encode_categories(categories: &[Category]) -> (Vec<u8>, String) {
    let mut dictionary: Vec<&str> = Vec::new();
    let mut codes: HashMap<&str, u32> = HashMap::new();
    let mut bytes = Vec::with_capacity(categories.len() * 4);
    for category in categories {
        let code = category.as_deref().map_or(0, |text| {
            *codes.entry(text).or_insert_with(|| {
                dictionary.push(text);
                dictionary.len() as u32
            })
        });
        bytes.extend_from_slice(&code.to_le_bytes());
    }
    (bytes, serde_json::Value::from(dictionary).to_string())
}

fn decode_categories(data: &[u8], dictionary: &[Box<str>]) -> Option<Vec<Category>> {
    words(data)
        .map(|word| match u32::from_le_bytes(word) {
            0 => Some(None),
            code => dictionary.get(code as usize - 1).map(|text| Some(text.clone())),
        })
        .collect()
}

/// The four-byte words of `data`; a rest is left out.
fn words(data: &[u8]) -> impl Iterator<Item = [u8; 4]> + '_ {
    data.chunks_exact(4).map(|word| [word[0], word[1], word[2], word[3]])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn inputs(rows: &[(Vec<f32>, Vec<Category>)]) -> Inputs {
        let mut inputs = Inputs::with_shape(3, 2);
        rows.iter().for_each(|(numbers, categories)| inputs.push(numbers, categories));
        inputs
    }

    fn bits(inputs: &Inputs) -> Vec<u32> {
        inputs.all_numbers().iter().map(|number| number.to_bits()).collect()
    }

    proptest! {
        #[test]
        fn a_block_gives_back_what_was_put_in(rows in prop::collection::vec(
            (prop::collection::vec(prop_oneof![any::<f32>(), Just(0.0), Just(-0.0)], 3),
             prop::collection::vec(prop::option::of(".{0,5}".prop_map(String::into_boxed_str)), 2)),
            0..20,
        )) {
            let inputs = inputs(&rows);
            let back = decode(&encode(&inputs).unwrap()).unwrap();
            prop_assert_eq!(bits(&back), bits(&inputs));
            prop_assert_eq!(back.all_categories(), inputs.all_categories());
            prop_assert_eq!(back.len(), inputs.len());
        }

        #[test]
        fn frames_are_blocks_that_make_up_the_whole(lengths in prop::collection::vec(0usize..40_000, 1..12)) {
            let mut all = Inputs::with_shape(1, 1);
            for (index, length) in lengths.iter().enumerate() {
                all.push(&[index as f32], &[Some("x".repeat(*length).into())]);
            }
            let frames = Frames::of(&all).unwrap();
            let whole = frames.decode().unwrap();
            prop_assert_eq!((bits(&whole), whole.all_categories()), (bits(&all), all.all_categories()));
            let n = frames.frame_inputs as usize;
            let mut start = 0;
            for (frame, end) in frames.frame_ends.iter().enumerate() {
                let part = decode(&frames.payload[start..*end as usize]).unwrap();
                prop_assert_eq!(bits(&part)[0], bits(&all)[frame * n]);
                prop_assert!(part.len() == n || frame + 1 == frames.frame_ends.len());
                start = *end as usize;
            }
        }

        #[test]
        fn damage_is_an_error_and_never_a_panic(at in 0usize..200, bit in 0u8..8, cut in 0usize..200) {
            let block = encode(&inputs(&[(vec![1.5, f32::NAN, 3.0], vec![Some("a".into()), None])])).unwrap();
            let mut flipped = block.clone();
            let at = at % block.len();
            flipped[at] ^= 1 << bit;
            let _ = decode(&flipped);
            prop_assert!(decode(&block[..cut % block.len()]).is_err());
        }
    }
}
