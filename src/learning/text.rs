//! What is read of a text: its words, pairs of words and parts of words, hashed into buckets.
//!
//! Words are those of Unicode (UAX 29) in lower case; parts are three to five characters in a row of
//! a word with a space at either end, so that endings, compounds, misspellings and languages without
//! spaces are met half-way. What comes n times counts log(1 + n), and the whole has length 1 (Joachims
//! 1998; hashing: Weinberger et al. 2009). No bucket is weighed by how rare it is: that would move
//! with every batch, and make older weights read something else.

use unicode_segmentation::UnicodeSegmentation;

/// The shortest and the longest part of a word, in characters.
const PART: std::ops::RangeInclusive<usize> = 3..=5;
/// What hashes of words, of pairs and of parts begin with. Weights depend on them: never changed.
const WORD: u64 = 0x9e37_79b9_7f4a_7c15;
const PAIR: u64 = 0xbf58_476d_1ce4_e5b9;
const PARTS: u64 = 0x94d0_49bb_1331_11eb;

/// The buckets that `text` falls into, ascending, of `n_buckets`, and what each counts: together of
/// length 1.
pub(super) fn buckets(text: &str, n_buckets: usize) -> Vec<(u32, f32)> {
    let lower = text.to_lowercase();
    let mut hashes = Vec::with_capacity(4 * lower.len());
    let mut before = None;
    for word in lower.unicode_words() {
        let own = word.chars().fold(WORD, mix);
        hashes.push(own);
        hashes
            .extend(before.replace(own).map(|before| mix_numbers(mix_numbers(PAIR, before), own)));
        push_parts(word, &mut hashes);
    }
    // Signs and symbols alone are no words, and may mean much.
    if hashes.is_empty() {
        push_parts(&lower, &mut hashes);
    }
    let bucket = |hash: u64| (((hash >> 32) * n_buckets as u64) >> 32) as u32;
    let mut fallen: Vec<u32> = hashes.into_iter().map(bucket).collect();
    fallen.sort_unstable();
    let runs = fallen.chunk_by(|a, b| a == b);
    let mut counts: Vec<(u32, f32)> =
        runs.map(|run| (run[0], (1.0 + run.len() as f32).ln())).collect();
    let length = counts.iter().map(|(_, count)| count * count).sum::<f32>().sqrt();
    counts.iter_mut().for_each(|(_, count)| *count /= length);
    counts
}

/// Appends the hashes of all parts of `word`.
fn push_parts(word: &str, hashes: &mut Vec<u64>) {
    let mut latest = [' '; 8];
    let mut n = 1;
    for character in word.chars().chain([' ']) {
        // The parts that end here, read backwards from it.
        latest[n % 8] = character;
        n += 1;
        let mut hash = PARTS;
        for length in 1..=(*PART.end()).min(n) {
            hash = mix(hash, latest[(n - length) % 8]);
            if length >= *PART.start() {
                hashes.push(hash);
            }
        }
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
    use super::*;

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
}
