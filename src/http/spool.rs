//! A batch's body on its way in: all of it is here before the database is asked for anything, so
//! that a slow client holds no connection.
//!
//! Invariant: a body takes 1 MiB of memory at most while it arrives; the rest goes to a file
//! without a name, of which nothing remains when the client goes away or the process dies.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, Write};
use std::path::Path;
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http_body_util::BodyExt;

use super::error::{Problem, ProblemCode};
use super::idempotency::KeyedRequest;
use crate::services::ingest::IdempotencyKey;

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
/// `dir`; `patience` is for each piece.
///
/// # Errors
/// 408 when the next piece does not come, 413 over the limit that stands on `body`, 503 when there
/// is no room to keep it.
pub(super) async fn spool(
    mut body: Body,
    keyed: Option<KeyedRequest>,
    dir: &Path,
    patience: Duration,
) -> Result<(Spooled, Option<IdempotencyKey>), Problem> {
    let mut spool = Spool { buffer: Vec::new(), file: None, keyed };
    loop {
        let Some(piece) = next_piece(&mut body, patience).await? else { break };
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

/// The next piece of a body, empty where it is no data; none at the end.
///
/// # Errors
/// 408 when none comes for so long, 413 over the limit that stands on `body`.
pub(super) async fn next_piece(
    body: &mut Body,
    patience: Duration,
) -> Result<Option<Bytes>, Problem> {
    let frame = tokio::time::timeout(patience, body.frame()).await.map_err(|_| {
        let detail = format!("no more of the body came for {} s", patience.as_secs());
        Problem::new(ProblemCode::RequestTimeout, detail)
    })?;
    let Some(frame) = frame else { return Ok(None) };
    let frame = frame.map_err(|error| Problem::unread_body(&error))?;
    Ok(Some(frame.into_data().unwrap_or_default()))
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
