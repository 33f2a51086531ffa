//! The lines of a stream: an input each, as JSON.

use std::time::Duration;

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::super::error::{Problem, ProblemCode};
use super::super::parse::parse_input;
use super::super::samples::MAX_SAMPLE_BYTES;
use super::super::spool::Pieces;
use super::super::walk;
use crate::domain::image::Budget;
use crate::domain::input::Inputs;
use crate::domain::settings::ModelSettings;

/// The most lines that are answered at once.
const MOST_LINES: usize = 64;

/// The inputs of some lines, up to the first that is none, and why that is none. Blank lines are passed over.
pub(super) fn read(
    lines: &[u8],
    settings: &ModelSettings,
    first_index: usize,
) -> (Inputs, Option<Problem>) {
    let mut inputs = Inputs::new(&settings.input);
    for line in lines.split(|&byte| byte == b'\n').map(<[u8]>::trim_ascii) {
        let bom: &[u8] = if first_index + inputs.len() == 0 { b"\xef\xbb\xbf" } else { b"" };
        let line = line.strip_prefix(bom).unwrap_or(line);
        if line.is_empty() {
            continue;
        }
        if let Err(problem) = read_line(line, settings, first_index, &mut inputs) {
            return (inputs, Some(problem));
        }
    }
    (inputs, None)
}

fn read_line(
    line: &[u8],
    settings: &ModelSettings,
    first_index: usize,
    inputs: &mut Inputs,
) -> Result<(), Problem> {
    let index = first_index + inputs.len();
    let json: &RawValue = serde_json::from_slice(line).map_err(|error| {
        let (column, words) = (error.column(), walk::words(&error));
        let detail = format!("input {index} is not JSON: {words} (column {column})");
        Problem::new(ProblemCode::MalformedJson, detail)
    })?;
    let (input, place) = match wrapped(json, settings) {
        Some(input) => (input, "/input"),
        None => (json, ""),
    };
    // Each some lines are read in their own turn.
    let budget = Budget::default();
    parse_input(input, &settings.input, settings.learning.missing, &budget, inputs)
        .map_err(|error| error.within(&format!("/{index}{place}")).into())
}

/// The input of `{"input": …}`, unless a feature has that name: then the object is the input itself.
fn wrapped<'a>(json: &'a RawValue, settings: &ModelSettings) -> Option<&'a RawValue> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Wrapped<'a> {
        #[serde(borrow)]
        input: &'a RawValue,
    }

    let is_feature = || settings.input.features().iter().any(|feature| feature.name == "input");
    if !json.get().starts_with('{') || is_feature() {
        return None;
    }
    serde_json::from_str::<Wrapped<'_>>(json.get()).ok().map(|wrapped| wrapped.input)
}

/// A body, some whole lines at a time.
pub(super) struct Lines {
    body: Pieces,
    buffer: BytesMut,
    /// So much of the buffer holds no end of a line.
    scanned: usize,
    is_over: bool,
}

impl Lines {
    /// The lines of `body`, whose client may let us wait for so long in all for each.
    pub(super) fn new(body: Body, patience: Duration) -> Self {
        let body = Pieces::new(body, patience);
        Self { body, buffer: BytesMut::new(), scanned: 0, is_over: false }
    }

    /// The next lines that are here, at most [`MOST_LINES`]: who sends one and waits for its answer gets
    /// it. Blank ones are none, and a line has to be whole in time, however it is cut. None at the end.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, Problem> {
        self.body.begin_anew();
        loop {
            if let Some(end) = self.end_of_lines() {
                let lines = self.buffer.split_to(end).freeze();
                match lines.trim_ascii().is_empty() {
                    true => continue,
                    false => return Ok(Some(lines)),
                }
            }
            if self.is_over {
                self.scanned = 0;
                let rest = self.buffer.split().freeze();
                return Ok(Some(rest).filter(|rest| !rest.trim_ascii().is_empty()));
            }
            if self.buffer.len() > MAX_SAMPLE_BYTES {
                let detail = format!("a line is over {MAX_SAMPLE_BYTES} bytes long");
                return Err(Problem::new(ProblemCode::PayloadTooLarge, detail));
            }
            match self.body.next().await? {
                Some(piece) => self.buffer.extend_from_slice(&piece),
                None => self.is_over = true,
            }
        }
    }

    /// Where the last of the next lines ends.
    fn end_of_lines(&mut self) -> Option<usize> {
        let rest = self.buffer[self.scanned..].iter().enumerate();
        let ends = rest.filter(|(_, byte)| **byte == b'\n').map(|(at, _)| self.scanned + at + 1);
        let end = ends.take(MOST_LINES).last();
        self.scanned = if end.is_some() { 0 } else { self.buffer.len() };
        end
    }
}

#[cfg(test)]
mod fuzz_tests;

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use futures_util::stream;

    use super::*;
    use crate::domain::input::{Feature, FeatureKind, InputSchema, TabularSchema};

    fn body(pieces: &[&'static str]) -> Body {
        let pieces: Vec<_> = pieces.iter().map(|piece| Ok::<_, Infallible>(*piece)).collect();
        Body::from_stream(stream::iter(pieces))
    }

    #[tokio::test]
    async fn lines_come_whole_however_a_body_is_cut() {
        for pieces in [
            &["1\n2\n3\n4"][..],
            &["1\n", "2\n3", "\n4"],
            &["", "1", "\n2\n3\n", "4"],
            &["1\n2\n3\n4\n"],
        ] {
            let mut lines = Lines::new(body(pieces), Duration::from_secs(9));
            let mut text = String::new();
            while let Some(some) = lines.next().await.unwrap() {
                let some = std::str::from_utf8(&some).unwrap().to_owned();
                assert!(some.ends_with('\n') || some == "4", "{some}");
                text.push_str(&some);
            }
            assert_eq!(text.trim_end(), "1\n2\n3\n4");
            assert!(lines.next().await.unwrap().is_none());
        }
    }

    #[tokio::test]
    async fn a_few_lines_come_at_a_time_and_one_that_never_ends_is_refused() {
        let many: &'static str = "7\n".repeat(3 * MOST_LINES + 1).leak();
        let mut lines = Lines::new(body(&[many]), Duration::from_secs(9));
        for n in [MOST_LINES, MOST_LINES, MOST_LINES, 1] {
            assert_eq!(lines.next().await.unwrap().unwrap().len(), 2 * n);
        }
        let endless =
            Body::from_stream(stream::repeat_with(|| Ok::<_, Infallible>("x".repeat(99_999))));
        let refused = Lines::new(endless, Duration::from_secs(9)).next().await.unwrap_err();
        assert_eq!(refused.code(), ProblemCode::PayloadTooLarge);
        let never = Body::from_stream(stream::pending::<Result<&str, Infallible>>());
        let refused = Lines::new(never, Duration::from_millis(1)).next().await.unwrap_err();
        assert_eq!(refused.code(), ProblemCode::RequestTimeout);
    }

    #[test]
    fn a_line_is_an_input_bare_or_wrapped() {
        let vector = TabularSchema { dim: Some(2), features: None };
        let settings = ModelSettings::new(InputSchema::Tabular(vector));
        let text = "[1, 2]\n\n  \r\n{\"input\": [3, 4]}\r\n[5, 6]";
        let (inputs, refusal) = read(text.as_bytes(), &settings, 0);
        assert_eq!(inputs.all_numbers(), [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
        assert!(refusal.is_none());
        for (text, n, code, pointer) in [
            ("[1, 2]\n[1]\n[1, 2]", 1, ProblemCode::Invalid, "/11"),
            ("{\"input\": [1, \"x\"]}", 0, ProblemCode::Invalid, "/10/input/1"),
            ("{\"input\": [1, 2], \"more\": 1}", 0, ProblemCode::Invalid, "/10"),
            ("[1, 2]\n[1, 2", 1, ProblemCode::MalformedJson, ""),
        ] {
            let (inputs, refusal) = read(text.as_bytes(), &settings, 10);
            let refusal = refusal.unwrap();
            let at = refusal.errors().first().map_or("", |error| error.pointer.as_str());
            assert_eq!((inputs.len(), refusal.code(), at), (n, code, pointer), "{text}");
        }
        let feature = Feature { name: "input".to_owned(), kind: FeatureKind::Numeric };
        let named = TabularSchema { dim: None, features: Some(vec![feature]) };
        let settings = ModelSettings::new(InputSchema::Tabular(named));
        let (inputs, refusal) = read(b"{\"input\": 3}", &settings, 0);
        assert_eq!((inputs.all_numbers(), refusal.is_none()), (&[3.0][..], true));
    }
}
