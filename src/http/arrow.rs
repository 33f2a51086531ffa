//! Arrow IPC streams, as data systems speak them: a schema and batches of rows come in, of inputs or of samples;
//! predictions go out as columns.
//!
//! Invariants: whatever the bytes, they are rows of the model's inputs or a refusal. No length is believed
//! before as many bytes are there, and what a stream holds in memory is bounded, however long it is: a
//! message, the dictionaries, and the answers to some rows.

mod answers;
mod decoder;
mod layout;
mod messages;
mod samples;
mod values;

pub(super) use self::answers::Answers;
pub(super) use self::decoder::{Decoder, Rows};
pub(super) use self::layout::Layout;
pub(super) use self::messages::Messages;
pub(super) use self::samples::read_samples;
use super::error::{Problem, ProblemCode};
use super::samples::MAX_SAMPLE_BYTES;
use super::walk;

/// What such a stream is called.
pub(super) const ARROW_STREAM: &str = "application/vnd.apache.arrow.stream";

/// The most bytes of a message, and of all dictionaries together: as many as of a line of JSON.
const MAX_MESSAGE_BYTES: usize = MAX_SAMPLE_BYTES;

/// The bytes are not what the format says.
fn damaged(why: impl std::fmt::Display) -> Problem {
    let detail = format!("the body is no Arrow IPC stream, or is damaged: {why}");
    Problem::new(ProblemCode::MalformedRequest, walk::shortened(&detail))
}

fn too_large(what: &str) -> Problem {
    let detail = format!("{what} over {MAX_MESSAGE_BYTES} bytes long; write fewer rows a batch");
    Problem::new(ProblemCode::PayloadTooLarge, detail)
}
#[cfg(test)]
mod answer_tests;
#[cfg(test)]
mod format_tests;
#[cfg(test)]
mod fuzz_tests;
