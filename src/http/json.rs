//! Batches in JSON: one document, or a line for each sample (NDJSON).
//!
//! A document that is broken anywhere is refused whole, with line and column. A broken line is one
//! rejected sample, and lines are read as a stream in constant memory.

use std::fmt;
use std::io::{self, BufRead, Read};

use serde::Deserializer;
use serde::de::{DeserializeSeed, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::samples::{Expected, Gatherer, MAX_SAMPLE_BYTES, Members, Tag, Unreadable};
use super::walk::{self, EachElement, EachMember, Name};
use crate::domain::Invalid;
use crate::domain::input::Inputs;

const BOM: &[u8] = b"\xef\xbb\xbf";

/// Reads a document, `{"samples": [{…}, …]}`.
///
/// # Errors
/// [`Unreadable`]: not JSON, not such an object, or given up.
pub(super) fn read_document(json: &[u8], mut gatherer: Gatherer) -> Result<(), Unreadable> {
    let json = json.strip_prefix(BOM).unwrap_or(json);
    let mut reader = serde_json::Deserializer::from_slice(json);
    let mut place = "";
    let document = Document { gatherer: &mut gatherer, place: &mut place };
    let read = document.deserialize(&mut reader);
    match read.and_then(|outcome| reader.end().map(|()| outcome)) {
        Ok(outcome) => outcome?,
        Err(error) if error.is_data() => {
            let detail = format!("the body is not {{\"samples\": […]}}: {}", walk::words(&error));
            return Err(Invalid::at(place, detail).into());
        }
        Err(error) => return Err(malformed(&error, json)),
    }
    gatherer.finish()
}

fn malformed(error: &serde_json::Error, json: &[u8]) -> Unreadable {
    let (line, column) = (error.line(), error.column());
    let text = json.split(|&byte| byte == b'\n').nth(line.saturating_sub(1)).unwrap_or_default();
    let why = why(error, text);
    Unreadable::MalformedJson(format!("the body is not JSON: {why} (line {line}, column {column})"))
}

/// Why JSON is broken in `line`. What Python and JavaScript print for a missing number is common.
fn why(error: &serde_json::Error, line: &[u8]) -> String {
    let rest = line.get(error.column().saturating_sub(1)..).unwrap_or_default();
    match ["NaN", "Infinity"].into_iter().find(|token| rest.starts_with(token.as_bytes())) {
        Some(token) => format!("{token} is no JSON number, a missing one is null"),
        None => walk::words(error),
    }
}

/// The top of a document.
struct Document<'a> {
    gatherer: &'a mut Gatherer,
    /// Pointer to what is being read.
    place: &'a mut &'static str,
}

impl<'de> DeserializeSeed<'de> for Document<'_> {
    type Value = Result<(), Unreadable>;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Self::Value, D::Error> {
        json.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Document<'_> {
    type Value = Result<(), Unreadable>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Self::Value, A::Error> {
        let mut outcome: Result<(), Unreadable> = Ok(());
        let mut has_samples = false;
        while let Some(Name(name)) = members.next_key()? {
            if outcome.is_err() {
                // Only to see whether the rest is JSON.
                members.next_value::<IgnoredAny>()?;
            } else if name == "samples" && !has_samples {
                has_samples = true;
                *self.place = "/samples";
                outcome = members.next_value_seed(EachElement(|sample: &'de RawValue| {
                    let read = |expected: &_, inputs: &mut _| read_sample(sample, expected, inputs);
                    self.gatherer.take(sample.get().len(), read)
                }))?;
            } else {
                members.next_value::<IgnoredAny>()?;
                outcome = Err(unexpected(&name).into());
            }
        }
        if outcome.is_ok() && !has_samples {
            outcome = Err(Invalid::at("/samples", "samples is missing").into());
        }
        Ok(outcome)
    }
}

fn unexpected(name: &str) -> Invalid {
    if name == "samples" {
        return Invalid::at("/samples", "samples is given twice");
    }
    let pointer = format!("/{}", name.replace('~', "~0").replace('/', "~1"));
    let detail = format!("field `{}` is unknown, samples is the only one", walk::shortened(name));
    Invalid::at(walk::shortened(&pointer), detail)
}

fn read_sample(
    sample: &RawValue,
    expected: &Expected,
    inputs: &mut Inputs,
) -> Result<Tag, Invalid> {
    if !sample.get().starts_with('{') {
        return Err(Invalid::new("sample is not an object"));
    }
    let mut members = Members::default();
    walk::each_member(sample.get(), |name, value| members.note(&name, value))?;
    members.read(expected, inputs)
}

/// Reads lines, each a sample; blank ones are none.
///
/// # Errors
/// Those of [`Gatherer::take`], or the reader's own.
pub(super) fn read_lines(
    mut reader: impl BufRead,
    mut gatherer: Gatherer,
) -> Result<(), Unreadable> {
    let mut buffer = Vec::new();
    let mut is_first = true;
    while let Some(line) = next_line(&mut reader, &mut buffer)? {
        let size = line.map_or(MAX_SAMPLE_BYTES, <[u8]>::len);
        let bom: &[u8] = if is_first { BOM } else { b"" };
        is_first = false;
        let line = line.map(|line| line.strip_prefix(bom).unwrap_or(line));
        if line.is_some_and(|line| line.trim_ascii().is_empty()) {
            continue;
        }
        gatherer.take(size, |expected, inputs| read_line(line, expected, inputs))?;
    }
    gatherer.finish()
}

/// The next line without its end, or `Some(None)` for one too long to keep.
fn next_line<'a>(
    reader: &mut impl BufRead,
    buffer: &'a mut Vec<u8>,
) -> io::Result<Option<Option<&'a [u8]>>> {
    buffer.clear();
    let most = MAX_SAMPLE_BYTES + 1;
    if reader.take(most as u64).read_until(b'\n', buffer)? == 0 {
        return Ok(None);
    }
    if let Some(line) = buffer.strip_suffix(b"\n") {
        return Ok(Some(Some(line)));
    }
    if buffer.len() < most {
        return Ok(Some(Some(buffer)));
    }
    reader.skip_until(b'\n')?;
    Ok(Some(None))
}

fn read_line(
    line: Option<&[u8]>,
    expected: &Expected,
    inputs: &mut Inputs,
) -> Result<Tag, Invalid> {
    let Some(line) = line else {
        return Err(Invalid::new(format!("line is over {MAX_SAMPLE_BYTES} bytes long")));
    };
    let mut reader = serde_json::Deserializer::from_slice(line);
    let mut members = Members::default();
    EachMember(|name: std::borrow::Cow<'_, str>, value| members.note(&name, value))
        .deserialize(&mut reader)
        .and_then(|noted| reader.end().map(|()| noted))
        .map_err(|error| match error.is_data() {
            true => Invalid::new("line is not a JSON object"),
            false => {
                let (why, column) = (why(&error, line), error.column());
                Invalid::new(format!("line is not JSON: {why} (column {column})"))
            }
        })??;
    members.read(expected, inputs)
}
