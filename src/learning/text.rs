//! What is read of a text: its words, pairs of words and parts of words, hashed into buckets.
//!
//! Words are those of Unicode (UAX 29) in lower case; parts are three to five characters in a row of
//! a word with a space at either end, so that endings, compounds, misspellings and languages without
//! spaces are met half-way. What comes n times counts log(1 + n), and the whole has length 1 (Joachims
//! 1998; hashing: Weinberger et al. 2009). Where the model asks for it, a bucket then counts the more
//! the fewer texts have it ([`Documents`]): that moves with every batch, so that weights that read it
//! are changed the other way.

use std::cell::RefCell;
use std::collections::HashSet;
use std::sync::LazyLock;

use unicode_segmentation::UnicodeSegmentation;

use crate::domain::input::{InputSchema, Inputs, TextSchema};
use crate::domain::text;

use super::network::Dense;

/// The shortest and the longest part of a word, in characters.
const SHORTEST: usize = 3;
const LONGEST: usize = 5;
/// What hashes of words, of pairs and of parts begin with. Weights depend on them: never changed.
const WORD: u64 = 0x9e37_79b9_7f4a_7c15;
const PAIR: u64 = 0xbf58_476d_1ce4_e5b9;
const PARTS: u64 = 0x94d0_49bb_1331_11eb;
/// Buckets that are kept room for between texts.
const KEPT: usize = 1 << 16;

/// What comes so many times counts so much.
static LOGARITHMS: LazyLock<[f32; 64]> = LazyLock::new(|| std::array::from_fn(logarithm));

fn logarithm(count: usize) -> f32 {
    (1.0 + count as f32).ln()
}

/// Lent to readings, so that none takes memory of its own.
#[derive(Default)]
struct Scratch {
    /// The text in lower case.
    lower: String,
    /// The buckets that it falls into, again and again.
    fallen: Vec<u32>,
    /// Room to sort them.
    spare: Vec<u32>,
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

/// Reads texts of one model.
#[derive(Debug, Clone)]
pub struct TextReader {
    n_buckets: usize,
    /// Words that are left out.
    stop_words: HashSet<Box<str>>,
}

impl TextReader {
    /// That of such texts.
    pub fn new(schema: &TextSchema) -> Self {
        let lists = schema.stop_words.iter().filter_map(|language| stop_words::lookup(language));
        // In the form that texts have when their words are looked up.
        let as_read = |word: &&str| Some(text::clean(word).ok()?.to_lowercase().into());
        Self {
            n_buckets: schema.buckets,
            stop_words: lists.flatten().filter_map(as_read).collect(),
        }
    }

    /// The buckets that `text` falls into, ascending, and what each counts: together of length 1.
    pub fn buckets(&self, text: &str) -> Vec<(u32, f32)> {
        let mut buckets = Vec::new();
        self.append(text, &mut buckets);
        buckets
    }

    /// The same of the text that input `index` is.
    pub(super) fn buckets_of(&self, inputs: &Inputs, index: usize) -> Vec<(u32, f32)> {
        let mut buckets = Vec::new();
        self.append_of(inputs, index, &mut buckets);
        buckets
    }

    /// Appends them to `entries`.
    pub(super) fn append_of(&self, inputs: &Inputs, index: usize, entries: &mut Vec<(u32, f32)>) {
        self.append(inputs.categories(index)[0].as_deref().unwrap_or_default(), entries);
    }

    fn append(&self, text: &str, entries: &mut Vec<(u32, f32)>) {
        SCRATCH.with_borrow_mut(|scratch| {
            let Scratch { lower, fallen, spare } = scratch;
            lower.clear();
            if text.is_ascii() {
                lower.push_str(text);
                lower.make_ascii_lowercase();
            } else {
                *lower = text.to_lowercase();
            }
            self.read(lower, fallen);
            sort(fallen, spare);
            let start = entries.len();
            entries.reserve(fallen.len());
            let logarithms = &*LOGARITHMS;
            entries.extend(fallen.chunk_by(|a, b| a == b).map(|run| {
                let counts = logarithms.get(run.len()).copied();
                (run[0], counts.unwrap_or_else(|| logarithm(run.len())))
            }));
            let own = &mut entries[start..];
            let length = own.iter().map(|(_, count)| count * count).sum::<f32>().sqrt();
            own.iter_mut().for_each(|(_, count)| *count /= length);
            for kept in [fallen, spare] {
                kept.clear();
                kept.shrink_to(KEPT);
            }
        });
    }

    /// Appends to `fallen` the buckets of the words, pairs of words and parts of words of a text in lower
    /// case, in the order in which they are met.
    fn read(&self, lower: &str, fallen: &mut Vec<u32>) {
        let n_buckets = self.n_buckets as u64;
        let bucket = |hash: u64| (((hash >> 32) * n_buckets) >> 32) as u32;
        let is_read = |word: &&str| self.stop_words.is_empty() || !self.stop_words.contains(*word);
        let mut before = None;
        for word in lower.unicode_words().filter(is_read) {
            let own = word.chars().fold(WORD, mix);
            fallen.push(bucket(own));
            if let Some(before) = before.replace(own) {
                fallen.push(bucket(mix_numbers(mix_numbers(PAIR, before), own)));
            }
            each_part(word, |hash| fallen.push(bucket(hash)));
        }
        // Signs and symbols alone are no words, and may mean much; so may words that all say little.
        if fallen.is_empty() {
            each_part(lower, |hash| fallen.push(bucket(hash)));
        }
    }
}

/// What is done to a text of `schema`, in order, from what a client sends to what the network reads: as each
/// version has it written down. Weights depend on all of it.
pub(super) fn stages(schema: &TextSchema) -> Vec<String> {
    let TextSchema { buckets, stop_words, idf } = schema;
    let mut stages = vec!["nfkc".to_owned(), "lower".to_owned()];
    if !stop_words.is_empty() {
        stages.push(format!("without {}", stop_words.join(" ")));
    }
    stages.push("words 1-2".to_owned());
    stages.push(format!("characters {SHORTEST}-{LONGEST}"));
    stages.push(format!("hash {buckets}"));
    stages.push("log(1+n)".to_owned());
    stages.push("length 1".to_owned());
    stages.extend(idf.then(|| "idf".to_owned()));
    stages
}

/// In how many texts each bucket came, of all so far.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Documents {
    /// How many texts there were.
    pub(super) n: f64,
    /// How many of them had each bucket.
    pub(super) with: Vec<f64>,
}

impl Documents {
    /// Of no text yet, where a model counts them.
    pub(super) fn begun(schema: &InputSchema) -> Option<Self> {
        match schema {
            InputSchema::Text(TextSchema { buckets, idf: true, .. }) => {
                Some(Self { n: 0.0, with: vec![0.0; *buckets] })
            }
            _ => None,
        }
    }

    /// Takes in a text that falls into `buckets`.
    pub(super) fn count(&mut self, buckets: &[(u32, f32)]) {
        self.n += 1.0;
        buckets.iter().for_each(|&(bucket, _)| self.with[bucket as usize] += 1.0);
    }

    /// What each bucket counts: 1 where every text has it, more where few have (the smoothed inverse
    /// document frequency, Spärck Jones 1972).
    pub(super) fn weights(&self) -> Vec<f32> {
        self.with.iter().map(|with| (((1.0 + self.n) / (1.0 + with)).ln() + 1.0) as f32).collect()
    }
}

/// Changes `first`, the layer that reads buckets, so that it says the same of every text when what each
/// bucket counts goes from `before` to `after`. The
/// importance of weights, a square of slopes, goes by the power -2 of the factor of weights.
pub(super) fn compensate(first: &mut Dense, before: &[f32], after: &[f32], power: i32) {
    for (row, (before, after)) in before.iter().zip(after).enumerate() {
        let factor = (before / after).powi(power);
        first.row_mut(row).iter_mut().for_each(|weight| *weight *= factor);
    }
}

/// Tells the hashes of all parts of `word`.
fn each_part(word: &str, mut tell: impl FnMut(u64)) {
    // The characters before, the nearest first; a word begins behind a space.
    let mut before = [' '; LONGEST - 1];
    let mut n_before = 1;
    for character in word.chars().chain([' ']) {
        // The parts that end here, read backwards from it.
        let mut hash = mix(PARTS, character);
        for (length, &character) in (2..).zip(&before[..n_before]) {
            hash = mix(hash, character);
            if length >= SHORTEST {
                tell(hash);
            }
        }
        before.copy_within(..LONGEST - 2, 1);
        before[0] = character;
        n_before = (n_before + 1).min(before.len());
    }
}

/// Sorts buckets, of which there are no more than [`BUCKETS`](crate::domain::input::BUCKETS): where many
/// fell, digit by digit, the lower first.
fn sort(buckets: &mut Vec<u32>, spare: &mut Vec<u32>) {
    /// From so many on it is faster.
    const MANY: usize = 256;
    const BITS: u32 = 10;
    const DIGITS: usize = 1 << BITS;
    if buckets.len() < MANY {
        return buckets.sort_unstable();
    }
    spare.resize(buckets.len(), 0);
    for shift in [0, BITS] {
        let digit = |bucket: u32| (bucket >> shift) as usize % DIGITS;
        let mut places = [0_usize; DIGITS];
        buckets.iter().for_each(|&bucket| places[digit(bucket)] += 1);
        let mut n_before = 0;
        for place in &mut places {
            n_before += std::mem::replace(place, n_before);
        }
        for &bucket in buckets.iter() {
            let place = &mut places[digit(bucket)];
            spare[*place] = bucket;
            *place += 1;
        }
        std::mem::swap(buckets, spare);
    }
}

fn mix(hash: u64, character: char) -> u64 {
    mix_numbers(hash, u64::from(character))
}

/// The next hash: a multiplication and a shift, whose upper half is used.
fn mix_numbers(hash: u64, number: u64) -> u64 {
    let mixed = (hash ^ number).wrapping_mul(0xd6e8_feb8_6659_fd93);
    mixed ^ (mixed >> 32)
}

#[cfg(test)]
mod tests {
    use rand::Rng;

    use super::*;
    use crate::learning::seed::{Draw, stream};

    fn buckets(text: &str, buckets: usize) -> Vec<(u32, f32)> {
        TextReader::new(&TextSchema { buckets, ..TextSchema::default() }).buckets(text)
    }

    #[test]
    fn frequent_words_may_be_left_out() {
        let stop_words = vec!["en".to_owned(), "de".to_owned()];
        let reader = TextReader::new(&TextSchema { stop_words, ..TextSchema::default() });
        assert_eq!(reader.buckets("The card of the und bank"), reader.buckets("card bank"));
        assert_ne!(reader.buckets("the"), reader.buckets("of"), "nothing is said by neither");
        // One of them is a ligature in its list, which no clean text has.
        let stop_words = vec!["hy".to_owned()];
        let reader = TextReader::new(&TextSchema { stop_words, ..TextSchema::default() });
        let text = text::clean("բանկ և քարտ").unwrap();
        assert_eq!(reader.buckets(&text), reader.buckets("բանկ քարտ"));
    }

    #[test]
    fn what_few_texts_have_counts_more_and_weights_make_up_for_it() {
        let mut documents = Documents { n: 0.0, with: vec![0.0; 3] };
        documents.count(&[(0, 1.0), (1, 1.0)]);
        let before = documents.weights();
        documents.count(&[(0, 1.0)]);
        let after = documents.weights();
        assert!(after[0] < after[1] && after[1] < after[2], "{after:?}");
        let mut layer = Dense { n_in: 3, n_out: 1, weight: vec![0.5, -2.0, 1.0], bias: vec![0.0] };
        let says = |layer: &Dense, weights: &[f32]| -> Vec<f32> {
            layer.weight.iter().zip(weights).map(|(weight, counts)| weight * counts).collect()
        };
        let said = says(&layer, &before);
        compensate(&mut layer, &before, &after, 1);
        let now = says(&layer, &after);
        assert!(said.iter().zip(&now).all(|(said, now)| (said - now).abs() < 1e-6));
    }

    fn common(a: &str, b: &str) -> f32 {
        let b = buckets(b, 1 << 20);
        let of_b = |column| b.iter().find(|(other, _)| *other == column).map_or(0.0, |(_, x)| *x);
        buckets(a, 1 << 20).into_iter().map(|(column, x)| x * of_b(column)).sum()
    }

    #[test]
    fn alike_texts_have_much_in_common() {
        let text = "Where is my new card?";
        assert!((common(text, "where IS my: new card") - 1.0).abs() < 1e-5);
        assert!(common(text, "my new cards") > 0.4);
        assert!(common(text, "Exchange rates abroad") < 0.1);
        assert!(common("日本語を学ぶ", "日本語") > 0.3);
        assert!(common("Fußballspiel", "fussballspiele") > 0.4);
    }

    #[test]
    fn every_text_says_something() {
        for text in ["a", "?!", "🦀", "7", "x y"] {
            let buckets = buckets(text, 1 << 10);
            let length: f32 = buckets.iter().map(|(_, x)| x * x).sum();
            assert!((length - 1.0).abs() < 1e-5, "{text}");
            assert!(buckets.is_sorted_by(|a, b| a.0 < b.0));
            assert!(buckets.iter().all(|(bucket, _)| *bucket < 1 << 10));
        }
    }

    #[test]
    fn the_buckets_are_the_same_everywhere() {
        let first: Vec<u32> = buckets("lost card", 1 << 15).into_iter().map(|(b, _)| b).collect();
        assert_eq!(first[..6], [224, 2_383, 3_676, 3_818, 4_259, 6_365]);
    }

    #[test]
    fn buckets_are_sorted_however_many_fell() {
        let (mut spare, draws) = (Vec::new(), &mut stream(1, Draw::Layers));
        for n in [0, 1, 255, 256, 3_000] {
            for most in [1 << 10, 1 << 15, 1 << 20] {
                let mut buckets: Vec<u32> = (0..n).map(|_| draws.gen_range(0..most)).collect();
                let mut sorted = buckets.clone();
                sorted.sort_unstable();
                sort(&mut buckets, &mut spare);
                assert_eq!(buckets, sorted);
            }
        }
    }

    #[test]
    fn a_text_reads_the_same_after_any_other() {
        let reader = TextReader::new(&TextSchema::default());
        let long = "long word ".repeat(900);
        for text in ["Lost CARD", "ÉTÉ", "a a a", &long, "日本語を学ぶ", "?!"] {
            let elsewhere = |reader: &TextReader| {
                std::thread::scope(|scope| scope.spawn(|| reader.buckets(text)).join().unwrap())
            };
            assert_eq!(reader.buckets(text), elsewhere(&reader), "{text}");
        }
        let counts = |n: usize| reader.buckets(&"a ".repeat(n)).len();
        assert_eq!(counts(2), counts(500), "what comes often is counted, not listed");
    }
}

#[cfg(test)]
mod fuzz_tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::{cases, text};

    proptest! {
        #![proptest_config(cases::usually(256))]

        #[test]
        fn whatever_a_text_says_falls_into_buckets(
            text in prop_oneof![
                any::<String>(),
                "[a-zA-Zäß日語 '.,🦀0-9\u{300}\u{200d}-]{1,60}",
                "(the|and|of|der|die| |,){1,9}",
            ],
            n_buckets in prop::sample::select(vec![1_usize << 10, 1 << 15, 1 << 20]),
            leaves_out in any::<bool>(),
        ) {
            let Ok(text) = text::clean(&text) else { return Ok(()) };
            let languages: &[&str] = if leaves_out { &["en", "de"] } else { &[] };
            let stop_words = languages.iter().map(|&language| language.to_owned()).collect();
            let reader = TextReader::new(&TextSchema { buckets: n_buckets, stop_words, idf: false });
            let buckets = reader.buckets(&text);
            prop_assert!(!buckets.is_empty(), "{:?}", text);
            prop_assert!(buckets.is_sorted_by(|a, b| a.0 < b.0));
            prop_assert!(buckets.iter().all(|(bucket, _)| (*bucket as usize) < n_buckets));
            let length: f32 = buckets.iter().map(|(_, count)| count * count).sum();
            prop_assert!((length - 1.0).abs() < 1e-4, "{}", length);
        }
    }
}
