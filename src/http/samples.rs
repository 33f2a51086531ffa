//! Labelled samples: one from its JSON object, and many gathered into chunks on their way to the
//! service.
//!
//! Invariants: memory stays bounded, however long a batch is. A chunk ends at 1,000 samples, at
//! 8 MiB of inputs or at 16 MiB of text, and waits here until there is room for it. So does time: what
//! all images decode to is bounded, however few bytes they come in.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::sync::mpsc;

use super::error::{Problem, ProblemCode};
use super::parse::parse_input;
use super::walk;
use crate::domain::Invalid;
use crate::domain::batch::Rejection;
use crate::domain::image::Budget;
use crate::domain::input::{InputSchema, Inputs};
use crate::domain::label::Label;
use crate::domain::settings::Missing;
use crate::services::ingest::{Chunk, Part};

/// Most samples of a chunk, good and bad.
const CHUNK_SAMPLES: usize = 1000;
/// A chunk whose inputs take this much is full.
const CHUNK_INPUT_BYTES: usize = 8 << 20;
/// So is one that took this much text: it bounds categories, ids and reasons.
const CHUNK_TEXT_BYTES: usize = 16 << 20;
/// Longest text of one sample, whatever the format but JSON, where the document is the bound.
pub(super) const MAX_SAMPLE_BYTES: usize = 16 << 20;
/// Longest name that a client may give a sample, or whom it is about.
const MAX_NAME_BYTES: usize = 256;
/// Most that a sample may count.
const MAX_WEIGHT: f32 = 1e6;

/// Why reading a batch ended before its end.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unreadable {
    /// It is not of the format that it says.
    #[error("{0}")]
    Malformed(String),
    /// The same, for JSON.
    #[error("{0}")]
    MalformedJson(String),
    /// It is refused in words of its own.
    #[error(transparent)]
    Refused(#[from] Problem),
    /// It is of the format, and cannot be right.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// Nobody takes the samples any more.
    #[error("the batch is given up")]
    GivenUp,
    /// What was spooled cannot be read back.
    #[error("spooled body: {0}")]
    Spool(#[from] std::io::Error),
}

impl From<Unreadable> for Problem {
    fn from(error: Unreadable) -> Self {
        match error {
            Unreadable::Malformed(detail) => Self::new(ProblemCode::MalformedRequest, detail),
            Unreadable::MalformedJson(detail) => Self::new(ProblemCode::MalformedJson, detail),
            Unreadable::Refused(problem) => problem,
            Unreadable::Invalid(invalid) => invalid.into(),
            Unreadable::GivenUp | Unreadable::Spool(_) => Self::internal(error),
        }
    }
}

/// What a model takes.
#[derive(Debug, Clone)]
pub(super) struct Expected {
    /// One input.
    pub(super) schema: InputSchema,
    /// What becomes of missing numbers.
    pub(super) missing: Missing,
    /// What all image files of the batch may decode to.
    pub(super) budget: Budget,
}

impl Expected {
    /// Of a batch for a model that takes these.
    pub(super) fn new(schema: InputSchema, missing: Missing) -> Self {
        Self { schema, missing, budget: Budget::default() }
    }
}

/// All of a sample but its input.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Tag {
    /// What it is.
    pub(super) label: Label,
    /// What the client calls it.
    pub(super) id: Option<String>,
    /// Whom it is about.
    pub(super) subject: Option<String>,
    /// How much it counts.
    pub(super) weight: f32,
}

/// Gathers samples into chunks, and sends each when it is full.
pub(super) struct Gatherer {
    expected: Expected,
    parts: mpsc::Sender<Part>,
    chunk: Chunk,
    text_bytes: usize,
    n_received: u64,
}

impl Gatherer {
    /// Begins a batch of samples as `expected`, to be sent as `parts`.
    pub(super) fn new(expected: Expected, parts: mpsc::Sender<Part>) -> Self {
        let chunk = Chunk::new(&expected.schema);
        Self { expected, parts, chunk, text_bytes: 0, n_received: 0 }
    }

    /// What the samples are to be.
    pub(super) fn expected(&self) -> &Expected {
        &self.expected
    }

    /// Takes the next sample, of `text_bytes` of text: `read` adds its input to the inputs given,
    /// or complains and adds nothing.
    ///
    /// # Errors
    /// [`Unreadable::GivenUp`], or too much to decode in one batch.
    pub(super) fn take(
        &mut self,
        text_bytes: usize,
        read: impl FnOnce(&Expected, &mut Inputs) -> Result<Tag, Invalid>,
    ) -> Result<(), Unreadable> {
        let index = self.n_received;
        self.n_received += 1;
        // Of an image's text nothing is kept but what is short.
        if self.expected.schema.image().is_none() {
            self.text_bytes += text_bytes;
        }
        let chunk = &mut self.chunk;
        match read(&self.expected, &mut chunk.samples.inputs) {
            Ok(Tag { label, id, subject, weight }) => {
                chunk.tag_last(label, id, subject, weight, index);
            }
            Err(Invalid { detail: reason, .. }) => {
                chunk.rejections.push(Rejection { index, reason });
            }
        }
        self.expected.budget.check()?;
        let is_full = chunk.samples.len() + chunk.rejections.len() >= CHUNK_SAMPLES
            || chunk.samples.inputs.size_bytes() >= CHUNK_INPUT_BYTES
            || self.text_bytes >= CHUNK_TEXT_BYTES;
        if is_full { self.send() } else { Ok(()) }
    }

    /// Ends the batch: everything has been read.
    ///
    /// # Errors
    /// [`Unreadable::GivenUp`].
    pub(super) fn finish(mut self) -> Result<(), Unreadable> {
        self.send()?;
        self.parts.blocking_send(Part::End).map_err(|_| Unreadable::GivenUp)
    }

    fn send(&mut self) -> Result<(), Unreadable> {
        let full = std::mem::replace(&mut self.chunk, Chunk::new(&self.expected.schema));
        self.text_bytes = 0;
        if full.samples.is_empty() && full.rejections.is_empty() {
            return Ok(());
        }
        self.parts.blocking_send(Part::Chunk(full)).map_err(|_| Unreadable::GivenUp)
    }
}

/// The members of a sample's JSON object, as they come.
#[derive(Debug, Default)]
pub(super) struct Members<'a> {
    input: Option<&'a RawValue>,
    label: Option<&'a RawValue>,
    id: Option<&'a RawValue>,
    subject: Option<&'a RawValue>,
    weight: Option<&'a RawValue>,
}

impl<'a> Members<'a> {
    /// Notes the member called `name`.
    ///
    /// # Errors
    /// [`Invalid`] when a sample has no such member, or this one already.
    pub(super) fn note(&mut self, name: &str, value: &'a RawValue) -> Result<(), Invalid> {
        let member = match name {
            "input" => &mut self.input,
            "label" => &mut self.label,
            "id" => &mut self.id,
            "subject" => &mut self.subject,
            "weight" => &mut self.weight,
            _ => {
                let name = walk::shortened(name);
                let detail = format!("field `{name}` is none of input, label, id, subject, weight");
                return Err(Invalid::new(detail));
            }
        };
        match member.replace(value) {
            None => Ok(()),
            Some(_) => Err(Invalid::new(format!("field `{name}` is given twice"))),
        }
    }

    /// Checks them; the input goes into `inputs`.
    ///
    /// # Errors
    /// [`Invalid`] about the first that is missing or wrong; `inputs` is as it was then.
    pub(super) fn read(self, expected: &Expected, inputs: &mut Inputs) -> Result<Tag, Invalid> {
        let given = |member: Option<&'a RawValue>| member.filter(|json| json.get() != "null");
        let label = match given(self.label) {
            Some(label) => Label::parse(string("label", label)?)?,
            None => return Err(Invalid::new("label is missing")),
        };
        let name = |field, json| given(json).map(|json| parse_name(field, string(field, json)?));
        let id = name("id", self.id).transpose()?;
        let subject = name("subject", self.subject).transpose()?;
        let weight = given(self.weight).map_or(Ok(1.0), |weight| parse_weight(weight.get()))?;
        let input = given(self.input).ok_or_else(|| Invalid::new("input is missing"))?;
        let Expected { schema, missing, budget } = expected;
        parse_input(input, schema, *missing, budget, inputs)?;
        Ok(Tag { label, id, subject, weight })
    }
}

fn string<'a>(name: &str, json: &'a RawValue) -> Result<Cow<'a, str>, Invalid> {
    #[derive(Deserialize)]
    struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

    match serde_json::from_str::<Text<'_>>(json.get()) {
        Ok(Text(text)) => Ok(text),
        Err(error) if error.is_data() => Err(Invalid::new(format!("{name} is not a string"))),
        Err(_) => Err(Invalid::new(format!("{name} is not valid Unicode"))),
    }
}

/// A client's name for a sample or for whom it is about, which is its `field`: 1 to 256 bytes of UTF-8,
/// no NUL (PostgreSQL's text has none).
pub(super) fn parse_name(field: &str, name: impl Into<String>) -> Result<String, Invalid> {
    let name = name.into();
    let complaint = match name.len() {
        0 => format!("{field} is empty; leave it out instead"),
        1..=MAX_NAME_BYTES if !name.contains('\0') => return Ok(name),
        1..=MAX_NAME_BYTES => format!("{field} holds a NUL character"),
        long => format!("{field} is {long} bytes long, {MAX_NAME_BYTES} is the most"),
    };
    Err(Invalid::new(complaint))
}

/// A sample's weight: over 0 and at most 1,000,000.
pub(super) fn parse_weight(text: &str) -> Result<f32, Invalid> {
    match text.parse::<f32>() {
        Ok(weight) if weight > 0.0 && weight <= MAX_WEIGHT => Ok(weight),
        Ok(_) => Err(Invalid::new("weight is not over 0 and at most 1000000")),
        Err(_) => Err(Invalid::new("weight is not a number")),
    }
}

#[cfg(test)]
mod arrow_tests;
#[cfg(test)]
mod csv_tests;
#[cfg(test)]
mod file_damage_tests;
#[cfg(test)]
mod file_tests;
#[cfg(test)]
mod format_tests;
#[cfg(test)]
mod fuzz_tests;
#[cfg(test)]
mod json_tests;
