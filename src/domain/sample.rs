//! Labelled samples and the hashes that name them.

use std::fmt;

use sha2::{Digest, Sha256};

use super::input::{Category, InputSchema, Inputs};
use super::label::Label;

/// 128 bits of SHA-256: names a sample within its model, by what it says. The first 96 are of the
/// input alone, so that samples of one input lie together in the order of their hashes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ContentHash(pub [u8; 16]);

/// One input in this many is held out of training, for evaluation.
pub const HELD_OUT_ONE_IN: u64 = 10;

/// Bytes of a hash that are of the input alone; the others are of input and label.
const INPUT_BYTES: usize = 12;

impl ContentHash {
    /// The hash of an input alone. Minus zero counts as zero, every NaN (missing) as the same.
    pub fn of_input(numbers: &[f32], categories: &[Category]) -> Self {
        let mut hasher = Sha256::new();
        let mut bytes = [0u8; 1024];
        for chunk in numbers.chunks(bytes.len() / 4) {
            for (slot, &number) in bytes.chunks_exact_mut(4).zip(chunk) {
                let canonical = if number.is_nan() { f32::NAN } else { number + 0.0 };
                slot.copy_from_slice(&canonical.to_le_bytes());
            }
            hasher.update(&bytes[..chunk.len() * 4]);
        }
        for category in categories {
            let text = category.as_deref();
            // Length first, so that no two lists of categories run together; missing is -1.
            hasher.update(text.map_or(-1, |text| text.len() as i64).to_le_bytes());
            hasher.update(text.unwrap_or_default());
        }
        Self::first_128_bits(hasher)
    }

    /// The hash of an input with its label, from the input's own.
    pub fn with_label(self, label: &Label) -> Self {
        let mut hasher = Sha256::new();
        hasher.update(self.0);
        hasher.update(label.as_str());
        let mut bits = self.0;
        bits[INPUT_BYTES..].copy_from_slice(&Self::first_128_bits(hasher).0[INPUT_BYTES..]);
        Self(bits)
    }

    /// Whether both are of the same input, whatever their labels.
    pub fn is_of_same_input(self, other: Self) -> bool {
        self.0[..INPUT_BYTES] == other.0[..INPUT_BYTES]
    }

    /// The least and the greatest hash that a sample of the same input may have.
    pub fn range_of_input(self) -> (Self, Self) {
        let (mut least, mut greatest) = (self.0, self.0);
        least[INPUT_BYTES..].fill(0);
        greatest[INPUT_BYTES..].fill(u8::MAX);
        (Self(least), Self(greatest))
    }

    /// Whether an input of this hash is held out of training: one in ten, by content alone, so
    /// that it never depends on the order of arrival or on the label.
    pub fn is_held_out(self) -> bool {
        u64::from_le_bytes([
            self.0[0], self.0[1], self.0[2], self.0[3], self.0[4], self.0[5], self.0[6], self.0[7],
        ])
        .is_multiple_of(HELD_OUT_ONE_IN)
    }

    /// Whether a held-out sample of this hash helps to choose, as between temperatures; the others
    /// judge what was chosen.
    pub fn chooses(self) -> bool {
        // The other end than that which decides what is held out.
        self.0[15] & 1 == 0
    }

    fn first_128_bits(hasher: Sha256) -> Self {
        let digest = hasher.finalize();
        let mut bits = [0; 16];
        bits.copy_from_slice(&digest[..16]);
        Self(bits)
    }
}

impl fmt::Display for ContentHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for ContentHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Labelled samples of one model: five columns of the same length.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Samples {
    /// The inputs.
    pub inputs: Inputs,
    /// What each is.
    pub labels: Vec<Label>,
    /// How much each counts in training, relative to 1.
    pub weights: Vec<f32>,
    /// What names each within the model (input and label).
    pub hashes: Vec<ContentHash>,
    /// When each came, as a number that grows: means something only beside those of the same model.
    pub arrived: Vec<u64>,
}

impl Samples {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// No samples, of a schema.
    pub fn empty(schema: &InputSchema) -> Self {
        Self { inputs: Inputs::new(schema), ..Self::default() }
    }

    /// No samples, of the same shape.
    pub fn empty_like(&self) -> Self {
        let inputs = Inputs::with_shape(self.inputs.n_numeric(), self.inputs.n_categorical());
        Self { inputs, ..Self::default() }
    }

    /// Adds sample `index` of `other`, which has the same shape.
    pub fn push_from(&mut self, other: &Self, index: usize) {
        self.inputs.push_from(&other.inputs, index);
        self.labels.push(other.labels[index].clone());
        self.weights.push(other.weights[index]);
        self.hashes.push(other.hashes[index]);
        self.arrived.push(other.arrived[index]);
    }

    /// The samples at `indices`, in that order.
    pub fn select(&self, indices: &[usize]) -> Self {
        let mut selected = self.empty_like();
        indices.iter().for_each(|&index| selected.push_from(self, index));
        selected
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_tells_contents_apart_and_nothing_else() {
        let hash = |numbers: &[f32]| ContentHash::of_input(numbers, &[]);
        assert_eq!(hash(&[0.0, 1.0]), hash(&[-0.0, 1.0]));
        assert_eq!(hash(&[f32::NAN]), hash(&[-f32::NAN]));
        assert_ne!(hash(&[1.0, 2.0]), hash(&[2.0, 1.0]));
        let of = |parts: &[&str]| {
            let categories: Vec<Category> = parts.iter().map(|part| Some((*part).into())).collect();
            ContentHash::of_input(&[], &categories)
        };
        assert_ne!(of(&["ab", "c"]), of(&["a", "bc"]));
        assert_ne!(of(&[""]), ContentHash::of_input(&[], &[None]));
    }

    #[test]
    fn labels_of_one_input_share_its_range_of_hashes() {
        let input = ContentHash::of_input(&[1.0], &[]);
        let label = |text: &str| input.with_label(&Label::parse(text).unwrap());
        let (cat, dog) = (label("cat"), label("dog"));
        assert_ne!(cat, dog);
        assert!(cat.is_of_same_input(dog));
        let (least, greatest) = cat.range_of_input();
        assert!((least..=greatest).contains(&dog));
        let other = ContentHash::of_input(&[2.0], &[]).with_label(&Label::parse("cat").unwrap());
        assert!(!cat.is_of_same_input(other));
        assert!(!(least..=greatest).contains(&other));
    }

    #[test]
    fn about_one_input_in_ten_is_held_out() {
        let held_out =
            (0..10_000).filter(|&i| ContentHash::of_input(&[i as f32], &[]).is_held_out()).count();
        assert!((900..1100).contains(&held_out), "{held_out}");
    }
}
