//! A batch's body on its way in: all of it is here before the database is asked for anything, so
//! that a slow client holds no connection.
//!
//! Invariants: a body takes 1 MiB of memory at most while it arrives; the rest goes to a file
//! without a name, of which nothing remains when the client goes away or the process dies. One that
//! comes more slowly than a bound is not waited for.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use axum::body::Body;
use bytes::Bytes;
use http_body_util::BodyExt;

use super::error::{Problem, ProblemCode};
use super::idempotency::KeyedRequest;
use crate::services::ingest::IdempotencyKey;

/// What a body has to bring, once its client has paused for as long as it may in all.
const LEAST_BYTES_PER_S: u64 = 1 << 10;
/// What a body may take of memory while it arrives, and what is written to its file at a time.
const BUFFER_BYTES: usize = 1 << 20;
/// How much is read back at a time.
const READ_BYTES: usize = 256 << 10;

/// A body that has arrived.
#[derive(Debug)]
pub(super) enum Spooled {
    /// A small one.
    Memory(Vec<u8>),
    /// A large one.
    File(File),
}

impl Spooled {
    /// The body from its beginning.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub(super) fn reader(&mut self) -> io::Result<BufReader<Box<dyn Read + Send + '_>>> {
        let reader: Box<dyn Read + Send + '_> = match self {
            Self::Memory(bytes) => Box::new(bytes.as_slice()),
            Self::File(file) => {
                file.rewind()?;
                Box::new(file)
            }
        };
        Ok(BufReader::with_capacity(READ_BYTES, reader))
    }

    /// The whole body in memory.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub(super) fn into_bytes(self) -> io::Result<Vec<u8>> {
        match self {
            Self::Memory(bytes) => Ok(bytes),
            Self::File(mut file) => {
                let mut bytes = Vec::new();
                file.rewind()?;
                file.read_to_end(&mut bytes)?;
                Ok(bytes)
            }
        }
    }
}

/// Takes `body` in, and with it the key of the request where it has one. Large bodies wait in
/// `dir`; `patience` is as [`Pieces`] has it.
///
/// # Errors
/// 408 when it comes too slowly, 413 over the limit that stands on `body`, 503 when there
/// is no room to keep it.
pub(super) async fn spool(
    body: Body,
    keyed: Option<KeyedRequest>,
    dir: &Path,
    patience: Duration,
) -> Result<(Spooled, Option<IdempotencyKey>), Problem> {
    let mut pieces = Pieces::new(body, patience);
    let mut spool = Spool { buffer: Vec::new(), file: None, keyed };
    while let Some(piece) = pieces.next().await? {
        if spool.buffer.len() + piece.len() > BUFFER_BYTES {
            spool = spool.write_out(dir).await?;
        }
        spool.buffer.extend_from_slice(&piece);
    }
    if spool.file.is_some() {
        spool = spool.write_out(dir).await?;
    }
    spool.hash();
    let Spool { buffer, file, keyed } = spool;
    Ok((file.map_or(Spooled::Memory(buffer), Spooled::File), keyed.map(KeyedRequest::finish)))
}

/// A body, piece by piece. Its client may let us wait for so long in all, and a second more for every
/// KiB that has come; what the service itself does between two pieces does not count.
pub(super) struct Pieces {
    body: Body,
    patience: Duration,
    waited: Duration,
    n_bytes: u64,
}

impl Pieces {
    /// The pieces of `body`, with this patience.
    pub(super) fn new(body: Body, patience: Duration) -> Self {
        Self { body, patience, waited: Duration::ZERO, n_bytes: 0 }
    }

    /// What comes next may take as long as if nothing had come before.
    pub(super) fn begin_anew(&mut self) {
        (self.waited, self.n_bytes) = (Duration::ZERO, 0);
    }

    /// The next piece, empty where it is no data; none at the end.
    ///
    /// # Errors
    /// 408 when it does not come in time, 413 over the limit that stands on the body.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, Problem> {
        let asked_at = Instant::now();
        let frame = tokio::time::timeout(self.left(), self.body.frame()).await;
        self.waited += asked_at.elapsed();
        let Ok(frame) = frame else { return Err(self.too_slow()) };
        let Some(frame) = frame else { return Ok(None) };
        let frame = frame.map_err(|error| Problem::unread_body(&error))?;
        let piece = frame.into_data().unwrap_or_default();
        self.n_bytes += piece.len() as u64;
        Ok(Some(piece))
    }

    /// How long it may still be waited for the next piece.
    fn left(&self) -> Duration {
        let earned = Duration::from_millis(self.n_bytes.saturating_mul(1_000) / LEAST_BYTES_PER_S);
        (self.patience + earned).saturating_sub(self.waited).min(self.patience)
    }

    fn too_slow(&self) -> Problem {
        let detail = format!(
            "the body comes too slowly: it may pause for {} s in all, and one more for every KiB",
            self.patience.as_secs(),
        );
        Problem::new(ProblemCode::RequestTimeout, detail)
    }
}

/// A body on its way in: what is in the buffer comes after what is in the file.
struct Spool {
    buffer: Vec<u8>,
    file: Option<File>,
    keyed: Option<KeyedRequest>,
}

impl Spool {
    /// Empties the buffer into the file, on a thread that may wait for the disk.
    async fn write_out(mut self, dir: &Path) -> Result<Self, Problem> {
        let dir = dir.to_owned();
        let written = tokio::task::spawn_blocking(move || {
            self.hash();
            let file = match &mut self.file {
                Some(file) => file,
                None => self.file.insert(tempfile::tempfile_in(dir)?),
            };
            file.write_all(&self.buffer)?;
            self.buffer.clear();
            Ok(self)
        });
        written.await.map_err(Problem::internal)?.map_err(|error: io::Error| {
            let detail = "the service has no room to keep the body; try again later";
            Problem::new(ProblemCode::Unavailable, detail).caused_by(error)
        })
    }

    fn hash(&mut self) {
        if let Some(keyed) = &mut self.keyed {
            keyed.update(&self.buffer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_come_earns_patience_and_no_pause_is_longer_than_it() {
        let patience = Duration::from_secs(30);
        let mut pieces = Pieces::new(Body::empty(), patience);
        let after = |pieces: &mut Pieces, waited_s, n_bytes| {
            pieces.waited = Duration::from_secs(waited_s);
            pieces.n_bytes = n_bytes;
            pieces.left().as_secs()
        };
        assert_eq!(after(&mut pieces, 0, 0), 30);
        // A byte every 29 s.
        assert_eq!(after(&mut pieces, 29, 1), 1);
        assert_eq!(after(&mut pieces, 58, 2), 0);
        assert_eq!(after(&mut pieces, 40, 20 << 10), 10);
        assert_eq!(after(&mut pieces, 40, 1 << 30), 30);
        pieces.begin_anew();
        assert_eq!(pieces.left(), patience);
    }
}
