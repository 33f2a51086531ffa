//! Walks through JSON piece by piece, without building it: each piece is handed on as the text
//! that stands for it, so that whoever knows what belongs there reads it once, straight into place.
//!
//! What is handed on is well formed. The first complaint about a piece ends the calls, but not the
//! walk: JSON that is broken further on is still found to be broken.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use crate::domain::Invalid;

/// Calls `visit` with each member of the object that `json` is.
///
/// # Errors
/// The first complaint of `visit`, or one about `json` itself.
pub(super) fn each_member<'a>(
    json: &'a str,
    visit: impl FnMut(Cow<'a, str>, &'a RawValue) -> Result<(), Invalid>,
) -> Result<(), Invalid> {
    let mut json = serde_json::Deserializer::from_str(json);
    EachMember(visit)
        .deserialize(&mut json)
        .unwrap_or_else(|error| Err(Invalid::new(words(&error))))
}

/// Calls `visit` with each element of the array that `json` is.
///
/// # Errors
/// The first complaint of `visit`, or one about `json` itself.
pub(super) fn each_element<'a>(
    json: &'a str,
    visit: impl FnMut(&'a RawValue) -> Result<(), Invalid>,
) -> Result<(), Invalid> {
    let mut json = serde_json::Deserializer::from_str(json);
    EachElement(visit)
        .deserialize(&mut json)
        .unwrap_or_else(|error| Err(Invalid::new(words(&error))))
}

/// How many elements the array that `json` is holds.
pub(super) fn count_elements(json: &str) -> usize {
    let mut count = 0;
    // It is well formed, so that nothing but the count comes of it.
    let _ = each_element(json, |_| {
        count += 1;
        Ok(())
    });
    count
}

/// Whether the first element of the array that `json` is is an array itself.
pub(super) fn is_nested(json: &str) -> bool {
    json[1..].trim_ascii_start().starts_with('[')
}

/// What stands between commas in the array that `json` is, and the finite number that it is, if it is one.
pub(super) fn numbers(json: &str) -> impl Iterator<Item = (&str, Option<f32>)> {
    let inside = json.strip_prefix('[').and_then(|json| json.strip_suffix(']'));
    let mut rest = inside.unwrap_or_default().trim_ascii();
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let (piece, behind, number) = match leading_number(rest) {
            Some((piece, behind, number)) => (piece, behind, Some(number)),
            None => {
                let (piece, behind) = rest.split_once(',').unwrap_or((rest, ""));
                (piece.trim_ascii_end(), behind, None)
            }
        };
        rest = behind.trim_ascii_start();
        Some((piece, number))
    })
}

/// The finite number that `elements` begin with, as it is written, and what is behind its comma.
fn leading_number(elements: &str) -> Option<(&str, &str, f32)> {
    let (number, length) = fast_float2::parse_partial::<f32, _>(elements).ok()?;
    let (written, behind) = elements.split_at(length);
    let behind = match behind.strip_prefix(',') {
        Some(behind) => behind,
        None if behind.trim_ascii_start().is_empty() => "",
        None => behind.trim_ascii_start().strip_prefix(',')?,
    };
    number.is_finite().then_some((written, behind, number))
}

/// The length of the string that `json` begins with, with its quotes; of all that there is, where it does
/// not end.
pub(super) fn string_length(json: &[u8]) -> usize {
    let mut is_escaped = false;
    let end = json.iter().skip(1).position(|&byte| {
        let ends = byte == b'"' && !is_escaped;
        is_escaped = byte == b'\\' && !is_escaped;
        ends
    });
    end.map_or(json.len(), |end| end + 2)
}

/// Walks through an object as part of a larger walk.
pub(super) struct EachMember<F>(pub(super) F);

impl<'de, F, E> DeserializeSeed<'de> for EachMember<F>
where
    F: FnMut(Cow<'de, str>, &'de RawValue) -> Result<(), E>,
{
    type Value = Result<(), E>;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Self::Value, D::Error> {
        json.deserialize_map(self)
    }
}

impl<'de, F, E> Visitor<'de> for EachMember<F>
where
    F: FnMut(Cow<'de, str>, &'de RawValue) -> Result<(), E>,
{
    type Value = Result<(), E>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut members: A) -> Result<Self::Value, A::Error> {
        while let Some(Name(name)) = members.next_key()? {
            let complaint = (self.0)(name, members.next_value()?);
            if complaint.is_err() {
                while members.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                return Ok(complaint);
            }
        }
        Ok(Ok(()))
    }
}

/// Walks through an array as part of a larger walk.
pub(super) struct EachElement<F>(pub(super) F);

impl<'de, F, E> DeserializeSeed<'de> for EachElement<F>
where
    F: FnMut(&'de RawValue) -> Result<(), E>,
{
    type Value = Result<(), E>;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Self::Value, D::Error> {
        json.deserialize_seq(self)
    }
}

impl<'de, F, E> Visitor<'de> for EachElement<F>
where
    F: FnMut(&'de RawValue) -> Result<(), E>,
{
    type Value = Result<(), E>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut elements: A) -> Result<Self::Value, A::Error> {
        while let Some(element) = elements.next_element()? {
            let complaint = (self.0)(element);
            if complaint.is_err() {
                while elements.next_element::<IgnoredAny>()?.is_some() {}
                return Ok(complaint);
            }
        }
        Ok(Ok(()))
    }
}

/// A member's name, borrowed unless it holds escapes.
#[derive(Deserialize)]
pub(super) struct Name<'a>(#[serde(borrow)] pub(super) Cow<'a, str>);

/// What serde says is wrong, without the place, which is told apart.
pub(super) fn words(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let end = text.rfind(" at line ").unwrap_or(text.len());
    shortened(&text[..end]).into_owned()
}

/// `text` without its end where it is long: a complaint may quote what a client sent.
pub(super) fn shortened(text: &str) -> Cow<'_, str> {
    const MOST: usize = 256;
    match text.len() {
        0..=MOST => Cow::Borrowed(text),
        _ => Cow::Owned(format!("{}…", &text[..text.floor_char_boundary(MOST)])),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn pieces_are_told_from_numbers() {
        let pieces: Vec<_> = numbers("[ -0.5e1 ,\n7, null,\"a,b\", 1e999 , 0]").collect();
        let expected = [
            ("-0.5e1", Some(-5.0)),
            ("7", Some(7.0)),
            ("null", None),
            ("\"a", None),
            ("b\"", None),
            ("1e999", None),
            ("0", Some(0.0)),
        ];
        assert_eq!(pieces, expected);
        assert_eq!(numbers("[ ]").count(), 0);
    }

    proptest! {
        #[test]
        fn numbers_are_rounded_as_the_standard_library_rounds_them(
            written in proptest::collection::vec("-?(0|[1-9][0-9]{0,19})(\\.[0-9]{1,25})?(e-?[0-9]{1,2})?", 1..9),
            space in " {0,2}",
        ) {
            let json = format!("[{space}{}{space}]", written.join(&format!("{space},{space}")));
            for ((piece, number), written) in numbers(&json).zip(&written) {
                let exact: f32 = written.parse().unwrap();
                prop_assert_eq!((piece, number), (&written[..], exact.is_finite().then_some(exact)));
            }
            prop_assert_eq!(numbers(&json).count(), written.len());
        }
    }
}
