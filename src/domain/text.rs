//! Texts as they are stored: one form for what reads the same.

use unicode_normalization::UnicodeNormalization;

use super::Invalid;

/// The longest text, in bytes of UTF-8, as it comes and once it is clean.
pub const MAX_TEXT_BYTES: usize = 64 << 10;

/// `text` in Unicode's compatibility composition (NFKC), without control characters, and with one
/// space wherever there was white space.
///
/// # Errors
/// [`Invalid`] when it is too long, or when nothing is left of it.
pub fn clean(text: &str) -> Result<Box<str>, Invalid> {
    too_long(text.len())?;
    let mut clean = String::with_capacity(text.len());
    let mut in_space = true;
    for character in text.nfkc() {
        if character.is_whitespace() {
            in_space = true;
        } else if !character.is_control() {
            if in_space && !clean.is_empty() {
                clean.push(' ');
            }
            in_space = false;
            clean.push(character);
        }
    }
    too_long(clean.len())?;
    match clean.is_empty() {
        true => Err(Invalid::new("the text is empty, or holds nothing but white space")),
        false => Ok(clean.into()),
    }
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
        is("\u{a0}日本\u{3000}語", "日本 語");
    }

    #[test]
    fn nothing_and_too_much_are_refused() {
        for text in ["", " \n\u{3000}", "\u{0}\u{1}"] {
            assert!(clean(text).is_err(), "{text:?}");
        }
        assert!(clean(&"x".repeat(MAX_TEXT_BYTES)).is_ok());
        assert!(clean(&"x".repeat(MAX_TEXT_BYTES + 1)).is_err());
        // One character that becomes eighteen.
        assert!(clean(&"\u{fdfa}".repeat(MAX_TEXT_BYTES / 4)).is_err());
    }
}
