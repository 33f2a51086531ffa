//! The messages of a stream: each a length, metadata, and a body whose length the metadata tells.
//!
//! <https://arrow.apache.org/docs/format/Columnar.html#encapsulated-message-format>. Invariant: a length
//! over the bound is refused before a byte behind it is read, and memory grows with the bytes that come.

use std::io::{BufRead, Read};
use std::time::Duration;

use arrow_buffer::{Buffer, MutableBuffer};
use arrow_ipc::root_as_message_with_opts;
use axum::body::Body;
use bytes::{Buf, Bytes};
use flatbuffers::VerifierOptions;

use super::super::error::{Problem, ProblemCode};
use super::super::exchange::compute;
use super::super::samples::Unreadable;
use super::super::spool::Pieces;
use super::{MAX_MESSAGE_BYTES, damaged, too_large};

/// Comes before each length; streams older than Arrow 0.15 do without.
const CONTINUATION: [u8; 4] = [0xff; 4];
/// What a file of Arrow begins with, which is another format than a stream.
const OF_FILES: [u8; 4] = *b"ARRO";
/// Metadata from this size on is checked off the runtime's threads.
const HEAVY_BYTES: usize = 64 << 10;
/// Metadata may refer to one part of itself many times. These are what it comes to when each is counted,
/// with room for a schema of as many features as a model may have.
const APPARENT: VerifierOptions = VerifierOptions {
    max_depth: 16,
    max_tables: 400_000,
    max_apparent_size: 2 * MAX_MESSAGE_BYTES,
    ignore_missing_null_terminator: true,
};

/// A message, as it came.
pub(in crate::http) struct Message {
    metadata: Buffer,
    pub(super) body: Buffer,
}

impl Message {
    /// How many bytes it has.
    pub(super) fn size_bytes(&self) -> usize {
        self.metadata.len() + self.body.len()
    }

    /// What it says of itself.
    pub(super) fn head(&self) -> Result<arrow_ipc::Message<'_>, Problem> {
        head(&self.metadata)
    }
}

fn head(metadata: &[u8]) -> Result<arrow_ipc::Message<'_>, Problem> {
    let unreadable = |_| damaged("the metadata of a message cannot be read");
    root_as_message_with_opts(&APPARENT, metadata).map_err(unreadable)
}

/// How long the metadata behind this length is; nothing at the end.
fn metadata_bytes(length: [u8; 4]) -> Result<usize, Problem> {
    match u32::from_le_bytes(length) as usize {
        _ if length == OF_FILES => {
            let detail = "the body is an Arrow file: send the stream format, which has no footer";
            Err(Problem::new(ProblemCode::MalformedRequest, detail))
        }
        n_bytes @ ..=MAX_MESSAGE_BYTES => Ok(n_bytes),
        n_bytes => Err(damaged(format_args!("metadata of {n_bytes} bytes are announced"))),
    }
}

/// How long the body behind this metadata is.
fn body_bytes(metadata: &[u8]) -> Result<usize, Problem> {
    let said = head(metadata)?.bodyLength();
    let n_bytes = usize::try_from(said).map_err(|_| damaged("a message has a negative length"))?;
    match metadata.len().saturating_add(n_bytes) {
        ..=MAX_MESSAGE_BYTES => Ok(n_bytes),
        _ => Err(too_large("a batch of rows is")),
    }
}

/// A body, message by message.
pub(in crate::http) struct Messages {
    pieces: Pieces,
    /// What has come of the messages ahead.
    ahead: Bytes,
}

impl Messages {
    /// The messages of `body`, whose client may let us wait for so long in all of each.
    pub(in crate::http) fn new(body: Body, patience: Duration) -> Self {
        Self { pieces: Pieces::new(body, patience), ahead: Bytes::new() }
    }

    /// The next message; none at the end.
    ///
    /// # Errors
    /// 400 where the bytes are no message or end within one, 413 where it is too large, and as [`Pieces`].
    pub(in crate::http) async fn next(&mut self) -> Result<Option<Message>, Problem> {
        self.pieces.begin_anew();
        if !self.has_more().await? {
            return Ok(None);
        }
        let mut length = self.word().await?;
        if length == CONTINUATION {
            length = self.word().await?;
        }
        let n_bytes = metadata_bytes(length)?;
        if n_bytes == 0 {
            return if self.has_more().await? { Err(beyond_end()) } else { Ok(None) };
        }
        let metadata = self.exactly(n_bytes).await?;
        let checking = metadata.clone();
        let body = compute(n_bytes >= HEAVY_BYTES, move || body_bytes(&checking)).await??;
        let body = self.exactly(body).await?;
        Ok(Some(Message { metadata, body }))
    }

    /// Whether there is another byte.
    async fn has_more(&mut self) -> Result<bool, Problem> {
        while self.ahead.is_empty() {
            match self.pieces.next().await? {
                Some(piece) => self.ahead = piece,
                None => return Ok(false),
            }
        }
        Ok(true)
    }

    async fn word(&mut self) -> Result<[u8; 4], Problem> {
        Ok(word(&self.exactly(4).await?))
    }

    /// The next `n` bytes, at an address that suits every type.
    async fn exactly(&mut self, n: usize) -> Result<Buffer, Problem> {
        let mut bytes = MutableBuffer::new(0);
        while bytes.len() < n {
            if !self.has_more().await? {
                return Err(cut_off());
            }
            let part = self.ahead.len().min(n - bytes.len());
            bytes.extend_from_slice(&self.ahead[..part]);
            self.ahead.advance(part);
        }
        Ok(bytes.into())
    }
}

/// The next message of a body that has arrived; none at the end.
///
/// # Errors
/// As [`Messages::next`], and where the body cannot be read back.
pub(super) fn next_of(reader: &mut impl BufRead) -> Result<Option<Message>, Unreadable> {
    if reader.fill_buf()?.is_empty() {
        return Ok(None);
    }
    let mut length = exactly(reader, 4)?;
    if length[..] == CONTINUATION {
        length = exactly(reader, 4)?;
    }
    let n_bytes = metadata_bytes(word(&length))?;
    if n_bytes == 0 {
        return if reader.fill_buf()?.is_empty() { Ok(None) } else { Err(beyond_end().into()) };
    }
    let metadata = exactly(reader, n_bytes)?;
    let body = exactly(reader, body_bytes(&metadata)?)?;
    Ok(Some(Message { metadata, body }))
}

fn exactly(reader: &mut impl BufRead, n: usize) -> Result<Buffer, Unreadable> {
    let mut bytes = Vec::new();
    match reader.take(n as u64).read_to_end(&mut bytes)? == n {
        true => Ok(Buffer::from_vec(bytes)),
        false => Err(cut_off().into()),
    }
}

fn word(four: &[u8]) -> [u8; 4] {
    let mut word = [0; 4];
    word.copy_from_slice(four);
    word
}

fn cut_off() -> Problem {
    damaged("it is cut off")
}

fn beyond_end() -> Problem {
    damaged("there are bytes behind its end")
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use futures_util::stream;

    use super::*;

    async fn next_of(bytes: &[u8]) -> Result<Option<Message>, Problem> {
        Messages::new(Body::from(bytes.to_vec()), Duration::from_secs(9)).next().await
    }

    #[tokio::test]
    async fn lengths_that_lie_are_refused_before_what_follows_them_is_awaited() {
        use ProblemCode::{MalformedRequest, RequestTimeout};
        let most = (MAX_MESSAGE_BYTES as u32).to_le_bytes();
        let more = (MAX_MESSAGE_BYTES as u32 + 1).to_le_bytes();
        for (bytes, code) in [
            (&b"ARROW1\0\0"[..], MalformedRequest),
            (b"{\"inputs\": []}", MalformedRequest),
            (&more, MalformedRequest),
            (&[0xff; 8], MalformedRequest),
            (&[&CONTINUATION[..], &more].concat(), MalformedRequest),
            // A length that is allowed is awaited.
            (&[&CONTINUATION[..], &most].concat(), RequestTimeout),
            (&[4, 0, 0, 0, 9, 9, 9, 9], MalformedRequest),
            (&[0, 0, 0, 0, 0], MalformedRequest),
        ] {
            let begins = stream::iter([Ok::<_, Infallible>(Bytes::copy_from_slice(bytes))]);
            let endless =
                Body::from_stream(futures_util::StreamExt::chain(begins, stream::pending()));
            let next = Messages::new(endless, Duration::from_millis(9)).next().await;
            assert_eq!(next.err().map(|problem| problem.code()), Some(code), "{bytes:?}");
        }
    }

    #[tokio::test]
    async fn a_body_ends_between_messages_or_is_cut_off() {
        for whole in [&b""[..], &[0; 4], &[0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0]] {
            assert!(next_of(whole).await.unwrap().is_none(), "{whole:?}");
        }
        for cut in [&[0xff][..], &[0xff; 4], &[0xff, 0xff, 0xff, 0xff, 8, 0, 0, 0, 1]] {
            let problem = next_of(cut).await.err().unwrap();
            assert!(problem.detail().ends_with("it is cut off"), "{problem}");
        }
    }
}
