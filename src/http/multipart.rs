//! Batches as `multipart/form-data` (RFC 7578): each part is an image file, its name is the label.
//!
//! Parts are read as a stream in constant memory.

use std::future::Future;
use std::io::{self, Read};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use futures_util::stream::{self, Stream};
use multer::{Field, Multipart};

use super::files::take_file;
use super::samples::{Gatherer, Unreadable};
use crate::domain::Invalid;
use crate::domain::image::MAX_FILE_BYTES;

/// How much is read at a time.
const PIECE_BYTES: usize = 64 << 10;
/// After so many pieces without anything found, what is looked for is not there: the headers of a
/// part are far shorter.
const MAX_PIECES: usize = 16;

/// Reads parts that `boundary` lies between.
///
/// # Errors
/// [`Unreadable`]: the body is not of this form, or given up.
pub(super) fn read_parts(
    reader: impl Read + Send,
    boundary: &str,
    mut gatherer: Gatherer,
) -> Result<(), Unreadable> {
    let hungry = Hungry::default();
    let mut parts = Multipart::new(pieces(reader, hungry.clone()), boundary);
    let mut file = Vec::new();
    while let Some(mut part) = hungry.feed(parts.next_field())? {
        file.clear();
        while let Some(piece) = hungry.feed(part.chunk())? {
            // One byte more tells that it is too long.
            let room = MAX_FILE_BYTES + 1 - file.len();
            file.extend_from_slice(&piece[..piece.len().min(room)]);
        }
        let label = part.name().ok_or_else(|| {
            Invalid::new(
                "the part has no name in its Content-Disposition, which would be its label",
            )
        });
        take_file(&mut gatherer, called(&part), label, Ok(&file))?;
    }
    gatherer.finish()
}

/// The name of the client's file, where it told it.
fn called<'a>(part: &'a Field<'_>) -> &'a str {
    part.file_name().unwrap_or_default()
}

/// Whether the parser has used up what it was given. It takes in all that it can get, so that it
/// gets one piece, and the next one only when it asks again.
#[derive(Clone, Default)]
struct Hungry(Arc<AtomicBool>);

impl Hungry {
    /// What comes of `step`, which is given pieces until it is done: nothing else is waited for.
    fn feed<T>(
        &self,
        step: impl Future<Output = Result<T, multer::Error>>,
    ) -> Result<T, Unreadable> {
        let mut step = pin!(step);
        let mut context = Context::from_waker(Waker::noop());
        for _ in 0..MAX_PIECES {
            if let Poll::Ready(outcome) = step.as_mut().poll(&mut context) {
                return outcome.map_err(broken);
            }
            self.0.store(true, Ordering::Relaxed);
        }
        Err(Unreadable::Malformed("the headers of a part have no end".to_owned()))
    }
}

/// The body piece by piece, each for one time of hunger.
fn pieces(
    mut reader: impl Read + Send,
    hungry: Hungry,
) -> impl Stream<Item = io::Result<Bytes>> + Send {
    stream::poll_fn(move |_| {
        if !hungry.0.swap(false, Ordering::Relaxed) {
            return Poll::Pending;
        }
        let mut piece = Vec::with_capacity(PIECE_BYTES);
        let read = reader.by_ref().take(PIECE_BYTES as u64).read_to_end(&mut piece);
        Poll::Ready(match read {
            Ok(0) => None,
            Ok(_) => Some(Ok(piece.into())),
            Err(error) => Some(Err(error)),
        })
    })
}

fn broken(error: multer::Error) -> Unreadable {
    let why = match error {
        multer::Error::StreamReadFailed(cause) => match cause.downcast::<io::Error>() {
            Ok(error) => return Unreadable::Spool(*error),
            Err(_) => "cannot be read",
        },
        multer::Error::IncompleteStream | multer::Error::IncompleteFieldData { .. } => {
            "is cut off, or not divided by the boundary that Content-Type names"
        }
        _ => "has a part whose headers cannot be read",
    };
    Unreadable::Malformed(format!("the multipart body {why}"))
}
