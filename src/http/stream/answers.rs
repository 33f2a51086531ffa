//! How a stream is answered: predictions in pieces, in the form in which the inputs came.

use axum::http::HeaderValue;
use bytes::Bytes;
use serde::Serialize;

use super::super::arrow::{self, ARROW_STREAM};
use super::super::error::{Problem, ProblemBody};
use super::super::ranking::Prediction;
use super::Form;
use crate::domain::Invalid;

/// Answers of one form.
#[derive(Clone)]
pub(super) enum Answers {
    Lines,
    Rows(arrow::Answers),
}

/// Why an answer breaks off, and how many inputs were answered. Of lines it is the last one.
#[derive(Serialize)]
pub(super) struct BrokenOff<'a> {
    pub(super) error: ProblemBody<'a>,
    pub(super) index: usize,
}

impl Answers {
    /// Answers of this form, to inputs that are remembered or not.
    pub(super) fn new(form: Form, remember: bool) -> Self {
        match form {
            Form::Lines => Self::Lines,
            Form::Rows => Self::Rows(arrow::Answers::new(remember)),
        }
    }

    /// What they are called.
    pub(super) fn content_type(&self) -> HeaderValue {
        HeaderValue::from_static(match self {
            Self::Lines => "application/x-ndjson",
            Self::Rows(_) => ARROW_STREAM,
        })
    }

    /// The whole answer to a stream without inputs: rows may be none, where there is a schema.
    pub(super) fn to_nothing(&self) -> Result<Bytes, Problem> {
        match self {
            Self::Lines => Err(Invalid::new("the body is empty; send at least one input").into()),
            Self::Rows(_) => Ok([self.begin()?, self.end()].concat().into()),
        }
    }

    /// What comes before the first predictions.
    pub(super) fn begin(&self) -> Result<Bytes, Problem> {
        match self {
            Self::Lines => Ok(Bytes::new()),
            Self::Rows(rows) => Ok(rows.begin().map_err(Problem::internal)?.into()),
        }
    }

    /// Some predictions.
    pub(super) fn rows(&self, predictions: &[Prediction<'_>]) -> Result<Bytes, Problem> {
        match self {
            Self::Lines => {
                let lines: Result<Vec<_>, _> = predictions.iter().map(line).collect();
                Ok(lines.map_err(Problem::internal)?.concat().into())
            }
            Self::Rows(rows) => Ok(rows.rows(predictions).map_err(Problem::internal)?.into()),
        }
    }

    /// What comes last, where nothing is wrong.
    pub(super) fn end(&self) -> Bytes {
        match self {
            Self::Lines => Bytes::new(),
            Self::Rows(rows) => rows.end().unwrap_or_default().into(),
        }
    }

    /// What comes last, where something is.
    pub(super) fn break_off(&self, why: &BrokenOff<'_>) -> Bytes {
        let last = match self {
            Self::Lines => line(why).ok(),
            Self::Rows(rows) => {
                let problem = serde_json::to_string(&why.error).ok();
                problem.and_then(|problem| rows.refusal(&problem).ok())
            }
        };
        last.unwrap_or_default().into()
    }
}

fn line(value: &impl Serialize) -> Result<Vec<u8>, serde_json::Error> {
    let mut line = serde_json::to_vec(value)?;
    line.push(b'\n');
    Ok(line)
}
