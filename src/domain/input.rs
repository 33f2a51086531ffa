//! What a model takes in: the schema of one input, and many inputs column-packed in memory.
//!
//! The input kind decides the featuriser and nothing else: whoever stores, selects or replays
//! samples handles [`Inputs`] without looking inside.

use std::collections::HashSet;
use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Invalid;

/// The most numbers and categories in one input.
pub const MAX_FEATURES: usize = 65_536;
/// The longest category, in bytes of UTF-8.
pub const MAX_CATEGORY_BYTES: usize = 256;
/// What a text takes in memory: news of a few paragraphs.
const TYPICAL_TEXT_BYTES: usize = 2_048;

/// What one input of a model looks like.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum InputSchema {
    /// A row of numbers, or of named numbers and categories.
    Tabular(TabularSchema),
    /// A text in any language ([`text`](super::text)).
    Text(TextSchema),
    /// A picture ([`image`](super::image)).
    Image(ImageSchema),
}

/// The fewest and the most buckets of a text model.
pub const BUCKETS: RangeInclusive<usize> = 1 << 10..=1 << 20;

/// The most languages whose frequent words a model leaves out.
pub const MAX_STOP_WORDS: usize = 64;

/// What is read of a text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TextSchema {
    /// Buckets that words, pairs of words and parts of words are hashed into, 1,024 to 1,048,576.
    pub buckets: usize,
    /// Languages whose most frequent words are not read, by their two letters (ISO 639-1); by default
    /// none: many of them say what is meant.
    pub stop_words: Vec<String>,
    /// Whether the network counts a bucket the more the fewer texts have it (inverse document
    /// frequency), by all texts so far; by default not. When the counts move, weights are changed so
    /// that what was learnt answers as before.
    pub idf: bool,
}

impl Default for TextSchema {
    fn default() -> Self {
        Self { buckets: 1 << 15, stop_words: Vec::new(), idf: false }
    }
}

/// Images as the model sees them: whatever comes is brought to this size and these channels. Pixels
/// are whole numbers of 0 to 255, row by row, the channels of a pixel side by side.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ImageSchema {
    /// Pixels in a row.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// 1 for grey, 3 for red, green and blue.
    pub channels: usize,
    /// How an image of another size is brought to this one.
    #[serde(default)]
    pub resize: Resize,
}

/// The shortest and the longest side of an image as a model sees it, in pixels.
pub const SIDE: RangeInclusive<usize> = 8..=256;

/// How an image of another size is brought to the model's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Resize {
    /// Width and height each by itself.
    #[default]
    Stretch,
    /// Whole, its proportions kept, in the middle of black.
    Fit,
    /// Its proportions kept, what stands over cut off on both sides.
    Crop,
}

/// Either `dim` (plain vectors) or `features` (named columns); exactly one of the two is set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TabularSchema {
    /// Length of a plain numeric vector, 1 to 65,536.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dim: Option<usize>,
    /// Named columns, 1 to 65,536 of them, in the order that array inputs follow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub features: Option<Vec<Feature>>,
}

/// One named column.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Feature {
    /// The column's name, unique in the model, 1 to 256 bytes.
    pub name: String,
    /// What the column holds.
    #[serde(rename = "type")]
    pub kind: FeatureKind,
}

/// What a column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum FeatureKind {
    /// A finite number that fits 32-bit floating point.
    Numeric,
    /// A string of up to 256 bytes; one never seen before is a category of its own.
    Categorical,
}

impl InputSchema {
    /// Checks what types alone do not say.
    ///
    /// # Errors
    /// [`Invalid`] with the pointer of the first part that is wrong.
    pub fn check(&self) -> Result<(), Invalid> {
        match self {
            Self::Tabular(tabular) => tabular.check(),
            Self::Text(text) => text.check(),
            Self::Image(image) => image.check(),
        }
    }

    /// How many numbers one input holds.
    pub fn n_numeric(&self) -> usize {
        match self {
            Self::Tabular(tabular) => {
                tabular.dim.unwrap_or_else(|| tabular.count(FeatureKind::Numeric))
            }
            Self::Text(_) => 0,
            Self::Image(image) => image.n_numbers(),
        }
    }

    /// How many statistics its numbers are normalised by, in turn: those of a channel, whichever the
    /// pixel, belong together.
    pub fn n_scales(&self) -> usize {
        self.image().map_or_else(|| self.n_numeric(), |image| image.channels)
    }

    /// How many strings one input holds: its categories, or its text.
    pub fn n_categorical(&self) -> usize {
        match self {
            Self::Tabular(tabular) => tabular.count(FeatureKind::Categorical),
            Self::Text(_) => 1,
            Self::Image(_) => 0,
        }
    }

    /// How many of its strings are categories.
    pub fn n_categories(&self) -> usize {
        if self.is_text() { 0 } else { self.n_categorical() }
    }

    /// Whether inputs are plain vectors of numbers.
    pub fn is_vector(&self) -> bool {
        matches!(self, Self::Tabular(TabularSchema { features: None, .. }))
    }

    /// Whether inputs are texts.
    pub fn is_text(&self) -> bool {
        matches!(self, Self::Text(_))
    }

    /// What images look like, where inputs are images.
    pub fn image(&self) -> Option<&ImageSchema> {
        match self {
            Self::Image(image) => Some(image),
            _ => None,
        }
    }

    /// About how many bytes a sample takes in memory, as a rule; texts may be far longer.
    pub fn sample_bytes(&self) -> usize {
        let of_string = if self.is_text() { TYPICAL_TEXT_BYTES } else { 32 };
        64 + self.n_numeric() * 4 + self.n_categorical() * of_string
    }

    /// The named columns; empty for plain vectors.
    pub fn features(&self) -> &[Feature] {
        match self {
            Self::Tabular(tabular) => tabular.features.as_deref().unwrap_or_default(),
            Self::Text(_) | Self::Image(_) => &[],
        }
    }
}

impl TextSchema {
    fn check(&self) -> Result<(), Invalid> {
        if !BUCKETS.contains(&self.buckets) {
            let (least, most) = BUCKETS.into_inner();
            return Err(Invalid::at("/buckets", format!("buckets is {least} to {most}")));
        }
        if self.stop_words.len() > MAX_STOP_WORDS {
            let detail = format!("stop_words has at most {MAX_STOP_WORDS} languages");
            return Err(Invalid::at("/stop_words", detail));
        }
        for (index, code) in self.stop_words.iter().enumerate() {
            let at = |detail| Err(Invalid::at(format!("/stop_words/{index}"), detail));
            if code.len() != 2 || stop_words::lookup(code).is_none() {
                return at(
                    "a language is told by the two letters of ISO 639-1, as `en`, and this \
                           one's frequent words are not known",
                );
            }
            if self.stop_words[..index].contains(code) {
                return at("the language is given twice");
            }
        }
        Ok(())
    }
}

impl ImageSchema {
    /// Numbers of one image.
    pub fn n_numbers(&self) -> usize {
        self.width * self.height * self.channels
    }

    fn check(&self) -> Result<(), Invalid> {
        let (least, most) = SIDE.into_inner();
        for (pointer, side) in [("/width", self.width), ("/height", self.height)] {
            if !SIDE.contains(&side) {
                return Err(Invalid::at(pointer, format!("a side is {least} to {most} pixels")));
            }
        }
        match self.channels {
            1 | 3 if self.n_numbers() <= MAX_FEATURES => Ok(()),
            1 | 3 => {
                let detail = format!("width × height × channels is at most {MAX_FEATURES}");
                Err(Invalid::new(detail))
            }
            _ => Err(Invalid::at("/channels", "channels is 1 (grey) or 3 (red, green, blue)")),
        }
    }
}

impl TabularSchema {
    fn check(&self) -> Result<(), Invalid> {
        match (&self.dim, &self.features) {
            (Some(dim), None) if (1..=MAX_FEATURES).contains(dim) => Ok(()),
            (Some(_), None) => Err(Invalid::at("/dim", format!("dim is 1 to {MAX_FEATURES}"))),
            (None, Some(features)) => check_features(features),
            _ => Err(Invalid::new("give either `dim` or `features`")),
        }
    }

    fn count(&self, kind: FeatureKind) -> usize {
        self.features.iter().flatten().filter(|feature| feature.kind == kind).count()
    }
}

fn check_features(features: &[Feature]) -> Result<(), Invalid> {
    if !(1..=MAX_FEATURES).contains(&features.len()) {
        return Err(Invalid::at("/features", format!("a model has 1 to {MAX_FEATURES} features")));
    }
    let mut names = HashSet::new();
    for (index, feature) in features.iter().enumerate() {
        let pointer = format!("/features/{index}/name");
        if !(1..=256).contains(&feature.name.len()) || feature.name.contains('\0') {
            return Err(Invalid::at(pointer, "a feature's name is 1 to 256 bytes without NUL"));
        }
        if !names.insert(feature.name.as_str()) {
            return Err(Invalid::at(pointer, "two features have this name"));
        }
    }
    Ok(())
}

/// A category as it came, or a text as it was cleaned; `None` where it is missing.
pub type Category = Option<Box<str>>;

/// Many inputs of one schema, packed: numbers as `[n, n_numeric]`, row-major, NaN where missing;
/// categories, or the text, as `[n, n_categorical]`, row-major.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Inputs {
    n_numeric: usize,
    n_categorical: usize,
    n: usize,
    numbers: Vec<f32>,
    categories: Vec<Category>,
    /// What all categories, or texts, have in bytes.
    text_bytes: usize,
}

impl Inputs {
    /// No inputs yet, of `schema`.
    pub fn new(schema: &InputSchema) -> Self {
        Self::with_shape(schema.n_numeric(), schema.n_categorical())
    }

    /// No inputs yet, of `n_numeric` numbers and `n_categorical` categories each.
    pub fn with_shape(n_numeric: usize, n_categorical: usize) -> Self {
        Self { n_numeric, n_categorical, ..Self::default() }
    }

    /// How many inputs there are.
    pub fn len(&self) -> usize {
        self.n
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.n == 0
    }

    /// How many numbers one input holds.
    pub fn n_numeric(&self) -> usize {
        self.n_numeric
    }

    /// How many categories one input holds.
    pub fn n_categorical(&self) -> usize {
        self.n_categorical
    }

    /// The numbers of input `index`, NaN where missing.
    pub fn numbers(&self, index: usize) -> &[f32] {
        &self.numbers[index * self.n_numeric..(index + 1) * self.n_numeric]
    }

    /// The categories of input `index`.
    pub fn categories(&self, index: usize) -> &[Category] {
        &self.categories[index * self.n_categorical..(index + 1) * self.n_categorical]
    }

    /// All numbers, `[n, n_numeric]` row-major.
    pub fn all_numbers(&self) -> &[f32] {
        &self.numbers
    }

    /// All categories, `[n, n_categorical]` row-major.
    pub fn all_categories(&self) -> &[Category] {
        &self.categories
    }

    /// Adds one input.
    ///
    /// # Panics
    /// When the shapes differ: the caller has checked them against the schema.
    pub fn push(&mut self, numbers: &[f32], categories: &[Category]) {
        assert_eq!((numbers.len(), categories.len()), (self.n_numeric, self.n_categorical));
        self.numbers.extend_from_slice(numbers);
        self.categories.extend_from_slice(categories);
        self.text_bytes += categories.iter().flatten().map(|text| text.len()).sum::<usize>();
        self.n += 1;
    }

    /// Adds one input that is a text.
    ///
    /// # Panics
    /// When the inputs are no texts: the caller has looked at the schema.
    pub fn push_text(&mut self, text: Box<str>) {
        assert_eq!((self.n_numeric, self.n_categorical), (0, 1));
        self.text_bytes += text.len();
        self.categories.push(Some(text));
        self.n += 1;
    }

    /// Adds input `index` of `other`, which has the same shape.
    pub fn push_from(&mut self, other: &Self, index: usize) {
        self.push(other.numbers(index), other.categories(index));
    }

    /// Removes all inputs and keeps the memory.
    pub fn clear(&mut self) {
        self.n = 0;
        self.numbers.clear();
        self.categories.clear();
        self.text_bytes = 0;
    }

    /// Bytes that they take in memory.
    pub fn size_bytes(&self) -> usize {
        self.numbers.len() * size_of::<f32>()
            + self.categories.len() * size_of::<Category>()
            + self.text_bytes
    }
}

#[cfg(test)]
mod size_tests;
