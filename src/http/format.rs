//! What a batch comes as: its Content-Type says so, and each format has a reader of its own.

use std::io::{BufReader, Cursor};

use axum::http::{HeaderMap, header};
use tokio::sync::mpsc;

use super::archives::MAX_UNPACKED_BYTES;
use super::arrow::ARROW_STREAM;
use super::error::{Problem, ProblemCode};
use super::samples::{Expected, Gatherer, Unreadable};
use super::spool::Spooled;
use super::{archives, arrow, csv, json, multipart};
use crate::domain::input::InputSchema;
use crate::services::ingest::Part;

/// What lines of JSON are called.
pub(super) const JSON_LINES: [&str; 3] =
    ["application/x-ndjson", "application/ndjson", "application/jsonl"];

/// What a batch comes as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Format {
    /// One document.
    Json,
    /// A sample a line.
    JsonLines,
    /// A sample a row.
    Csv,
    /// A sample a row.
    Arrow,
    /// An image a part.
    Multipart {
        /// What lies between two parts.
        boundary: String,
    },
    /// An image a file.
    Zip,
    /// The same.
    Tar,
}

impl Format {
    /// What the request says.
    ///
    /// # Errors
    /// 415 when it is none of these, 400 when it is multipart without a boundary.
    pub(super) fn of(headers: &HeaderMap) -> Result<Self, Problem> {
        let said = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let said = said.unwrap_or_default();
        let lower = said.to_ascii_lowercase();
        let mut parts = lower.split(';').map(str::trim);
        let format = match parts.next() {
            Some("application/json") => Self::Json,
            Some(essence) if JSON_LINES.contains(&essence) => Self::JsonLines,
            Some("text/csv") => Self::Csv,
            Some(ARROW_STREAM) => Self::Arrow,
            Some("multipart/form-data") => Self::Multipart { boundary: boundary(said)? },
            Some("application/zip" | "application/x-zip-compressed") => Self::Zip,
            Some("application/x-tar") => Self::Tar,
            _ => return Err(unsupported()),
        };
        let is_readable = |charset: &str| {
            matches!(charset.trim_matches('"'), "utf-8" | "utf8" | "us-ascii" | "ascii")
        };
        let charsets = parts.filter_map(|part| part.strip_prefix("charset="));
        match format.holds_files() || charsets.into_iter().all(is_readable) {
            true => Ok(format),
            false => Err(unsupported()),
        }
    }

    fn holds_files(&self) -> bool {
        matches!(self, Self::Multipart { .. } | Self::Zip | Self::Tar)
    }

    /// Refuses files for a model whose inputs are none.
    ///
    /// # Errors
    /// 415.
    pub(super) fn check_suits(&self, schema: &InputSchema) -> Result<(), Problem> {
        if !self.holds_files() || schema.image().is_some() {
            return Ok(());
        }
        let detail = "the model takes no images: send its samples as application/json, \
                      application/x-ndjson or text/csv, or as \
                      application/vnd.apache.arrow.stream";
        Err(Problem::new(ProblemCode::UnsupportedMediaType, detail))
    }

    /// Reads a batch that has arrived.
    pub(super) fn read(
        &self,
        mut body: Spooled,
        label: &str,
        expected: Expected,
        parts: mpsc::Sender<Part>,
    ) -> Result<(), Unreadable> {
        let gatherer = Gatherer::new(expected, parts);
        match self {
            Self::Json => json::read_document(&body.into_bytes()?, gatherer),
            Self::JsonLines => json::read_lines(body.reader()?, gatherer),
            Self::Csv => csv::read_rows(body.reader()?, label, gatherer),
            Self::Arrow => arrow::read_samples(body.reader()?, label, gatherer),
            Self::Multipart { boundary } => {
                multipart::read_parts(body.reader()?, boundary, gatherer)
            }
            Self::Tar => archives::read_tar(body.reader()?, gatherer),
            Self::Zip => match body {
                Spooled::Memory(bytes) => {
                    archives::read_zip(Cursor::new(bytes), MAX_UNPACKED_BYTES, gatherer)
                }
                Spooled::File(file) => {
                    archives::read_zip(BufReader::new(file), MAX_UNPACKED_BYTES, gatherer)
                }
            },
        }
    }
}

fn boundary(content_type: &str) -> Result<String, Problem> {
    let boundary = multer::parse_boundary(content_type).ok();
    boundary.filter(|boundary| !boundary.is_empty()).ok_or_else(|| {
        let detail = "the Content-Type of a multipart body names its boundary: \
                      multipart/form-data; boundary=…";
        Problem::new(ProblemCode::MalformedRequest, detail)
    })
}

fn unsupported() -> Problem {
    let detail = "a batch comes as application/json, application/x-ndjson or text/csv, in UTF-8, \
                  as application/vnd.apache.arrow.stream, or, of images, as multipart/form-data, application/zip or application/x-tar; \
                  say which in Content-Type";
    Problem::new(ProblemCode::UnsupportedMediaType, detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_is_what_its_content_type_says() {
        let format = |said: &'static str| {
            let headers = HeaderMap::from_iter([(header::CONTENT_TYPE, said.parse().unwrap())]);
            Format::of(&headers).map_err(|problem| problem.code().status().as_u16())
        };
        let multipart = |boundary: &str| Ok(Format::Multipart { boundary: boundary.to_owned() });
        for (said, expected) in [
            ("application/json", Ok(Format::Json)),
            ("Application/JSON; charset=\"UTF-8\"", Ok(Format::Json)),
            ("application/json; charset=utf-16", Err(415)),
            ("application/x-ndjson", Ok(Format::JsonLines)),
            ("text/csv;charset=us-ascii", Ok(Format::Csv)),
            ("application/vnd.apache.arrow.stream", Ok(Format::Arrow)),
            ("application/vnd.apache.arrow.file", Err(415)),
            ("multipart/form-data; boundary=aB-c", multipart("aB-c")),
            ("Multipart/Form-Data; charset=x; boundary=\"a b\"", multipart("a b")),
            ("multipart/form-data", Err(400)),
            ("multipart/form-data; boundary=", Err(400)),
            ("multipart/mixed; boundary=a", Err(415)),
            ("application/zip", Ok(Format::Zip)),
            ("application/x-zip-compressed", Ok(Format::Zip)),
            ("application/x-tar", Ok(Format::Tar)),
            ("application/gzip", Err(415)),
            ("image/png", Err(415)),
            ("", Err(415)),
        ] {
            assert_eq!(format(said), expected, "{said}");
        }
        assert!(Format::of(&HeaderMap::new()).is_err());
    }
}
