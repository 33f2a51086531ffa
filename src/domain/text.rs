//! Texts as they are stored: one form for what reads the same.

use unicode_normalization::UnicodeNormalization;

use super::Invalid;

/// The longest text, in bytes of UTF-8, as it comes and once it is clean.
pub const MAX_TEXT_BYTES: usize = 64 << 10;

/// What holds characters together or apart, as in emoji of several and in Persian: it is kept, and
/// alone it says nothing.
const JOINERS: [char; 2] = ['\u{200c}', '\u{200d}'];

/// `text` in Unicode's compatibility composition (NFKC), without controls and other characters that
/// nobody sees, and with one space wherever there was white space.
///
/// # Errors
/// [`Invalid`] when it is too long, or when nothing is left of it.
pub fn clean(text: &str) -> Result<Box<str>, Invalid> {
    too_long(text.len())?;
    // Before they are composed: what stood between an e and its accent keeps them apart.
    let seen = text.chars().filter(|&character| !is_unseen(character));
    let clean = match text.is_ascii() {
        true => spaced(seen, text.len()),
        false => spaced(seen.nfkc(), text.len()),
    };
    too_long(clean.len())?;
    match clean.chars().all(|character| character == ' ' || JOINERS.contains(&character)) {
        true => Err(Invalid::new("the text is empty, or holds nothing but white space")),
        false => Ok(clean.into()),
    }
}

/// Controls that are no white space, also those of the direction of writing; soft hyphens; what is as
/// wide as nothing.
fn is_unseen(character: char) -> bool {
    match character {
        '\u{ad}' | '\u{61c}' | '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{feff}' => true,
        '\u{202a}'..='\u{202e}' | '\u{2060}' | '\u{2066}'..='\u{2069}' => true,
        _ => character.is_control() && !character.is_whitespace(),
    }
}

/// The characters with one space wherever there is white space between them.
fn spaced(characters: impl Iterator<Item = char>, n_bytes: usize) -> String {
    let mut spaced = String::with_capacity(n_bytes);
    let mut in_space = false;
    for character in characters {
        if character.is_whitespace() {
            in_space = true;
            continue;
        }
        if in_space && !spaced.is_empty() {
            spaced.push(' ');
        }
        in_space = false;
        spaced.push(character);
    }
    spaced
}

fn too_long(n_bytes: usize) -> Result<(), Invalid> {
    match n_bytes {
        0..=MAX_TEXT_BYTES => Ok(()),
        long => Err(Invalid::new(format!(
            "the text is {long} bytes long, {MAX_TEXT_BYTES} is the most"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_reads_the_same_is_the_same() {
        let is = |text: &str, expected: &str| assert_eq!(&*clean(text).unwrap(), expected);
        is("  a\t\r\n b  ", "a b");
        is("ﬁne ｃａｒｄ №5", "fine card No5");
        is("e\u{301}te\u{301}", "été");
        is("a\u{0}b\u{7}", "ab");
        is("e\0\u{301}te\u{200b}\u{301}", "été");
        is("\u{feff}co\u{ad}operate\u{2060}", "cooperate");
        is("\u{202e}abc\u{202c} \u{2067}d\u{2069}", "abc d");
        is("👩\u{200d}🚀 می\u{200c}خواهم", "👩\u{200d}🚀 می\u{200c}خواهم");
        is("a\u{b}b\u{85}c\u{2028}d", "a b c d");
        is("a \u{0} b", "a b");
        is("\u{a0}日本\u{3000}語", "日本 語");
    }

    #[test]
    fn nothing_and_too_much_are_refused() {
        let unseen = ["\u{200b}", "\u{feff}\u{ad}", "\u{200d}", "\u{200c} \u{200d}", "\u{202e}"];
        for text in ["", " \n\u{3000}", "\u{0}\u{1}"].into_iter().chain(unseen) {
            assert!(clean(text).is_err(), "{text:?}");
        }
        assert!(clean(&"x".repeat(MAX_TEXT_BYTES)).is_ok());
        assert!(clean(&"x".repeat(MAX_TEXT_BYTES + 1)).is_err());
        // One character that becomes eighteen.
        assert!(clean(&"\u{fdfa}".repeat(MAX_TEXT_BYTES / 4)).is_err());
    }
}

#[cfg(test)]
mod fuzz_tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::cases;

    /// Texts of what is composed, decomposed, dropped, collapsed or kept, side by side.
    fn awkward() -> impl Strategy<Value = String> {
        let awkward = "[ea1 \t\0\u{7}\u{85}\u{a0}\u{a8}\u{ad}\u{300}-\u{30f}\u{327}\u{345}\u{1100}-\u{1113}\
                       \u{1161}-\u{1176}\u{11a7}-\u{11c3}\u{200b}-\u{200f}\u{2028}\u{202a}-\u{202e}\u{3000}\u{3099}\
                       \u{ac00}\u{f900}-\u{f920}\u{fb00}-\u{fb06}\u{fdfa}\u{feff}\u{ff21}]{0,12}";
        prop_oneof![awkward, any::<String>()]
    }

    proptest! {
        #![proptest_config(cases::usually(512))]

        #[test]
        fn a_clean_text_stays_as_it_is(text in awkward()) {
            let Ok(cleaned) = clean(&text) else { return Ok(()) };
            prop_assert_eq!(&*clean(&cleaned).unwrap(), &*cleaned, "{:?}", text);
            prop_assert!(!cleaned.chars().any(is_unseen));
            prop_assert!(!cleaned.starts_with(' ') && !cleaned.ends_with(' '));
            prop_assert!(!cleaned.contains("  ") && cleaned.len() <= MAX_TEXT_BYTES);
        }
    }
}
