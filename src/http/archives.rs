//! Batches as ZIP or tar archives: each file is an image, and the folder that it lies in is its
//! label.
//!
//! Invariant: nothing is unpacked but one file at a time, into memory, whatever an archive says of
//! its size, its names or its number of files.

use std::cell::Cell;
use std::io::{self, Read, Seek, SeekFrom};
use std::rc::Rc;

use tar::EntryType;
use zip::read::{Config, ZipFileEntry};
use zip::result::ZipError;
use zip::unstable::read::ZipIterable;
use zip::{CompressionMethod, ZipReadOptions};

use super::files::{read_file, take_file};
use super::samples::{Gatherer, Unreadable};
use crate::domain::Invalid;

/// Most bytes that the files of an archive unpack to, all together.
pub(super) const MAX_UNPACKED_BYTES: u64 = 4 << 30;
/// Most bytes of a tar archive between two files: names and what else is said of the next one.
const MAX_HEADER_BYTES: u64 = 1 << 20;

/// Reads a ZIP archive whose files unpack to `most_bytes` at most.
///
/// # Errors
/// [`Unreadable`]: no such archive, one that unpacks to too much, or given up.
pub(super) fn read_zip(
    mut archive: impl Read + Seek,
    most_bytes: u64,
    mut gatherer: Gatherer,
) -> Result<(), Unreadable> {
    let n_bytes = archive.seek(SeekFrom::End(0))?;
    let mut archive = ZipIterable::try_new(archive, Config::default()).map_err(broken_zip)?;
    let entries = archive.files().map_err(broken_zip)?;
    let (mut packed_bytes, mut unpacked_bytes) = (0_u64, 0);
    let mut file = Vec::new();
    while let Some(entry) = entries.next() {
        let entry = entry.map_err(broken_zip)?;
        let name = entry.name().map_err(broken_zip)?.replace('\\', "/");
        let label = label_of(&name);
        if let Ok(None) = label {
            continue;
        }
        packed_bytes = packed_bytes.saturating_add(entry.compressed_size());
        if packed_bytes > n_bytes {
            let detail = "the files of the archive lie over one another";
            return Err(Invalid::new(detail).into());
        }
        file.clear();
        let read = match label {
            Ok(_) => unpack(entry, entries.reader_mut(), &mut file)?,
            Err(_) => Ok(()),
        };
        unpacked_bytes += file.len() as u64;
        if unpacked_bytes > most_bytes {
            let detail =
                format!("the archive unpacks to more than {most_bytes} bytes; send it in parts");
            return Err(Invalid::new(detail).into());
        }
        let label = label.map(Option::unwrap_or_default);
        take_file(&mut gatherer, &name, label, read.map(|()| file.as_slice()))?;
    }
    gatherer.finish()
}

/// Unpacks a file into `file`, or says why that cannot be.
fn unpack(
    entry: ZipFileEntry<'_>,
    archive: &mut (impl Read + Seek),
    file: &mut Vec<u8>,
) -> Result<Result<(), Invalid>, Unreadable> {
    let bad = |why: &str| Ok(Err(Invalid::new(why)));
    if entry.is_symlink() {
        return bad("it is a link, not a file");
    }
    if entry.encrypted() {
        return bad("it is encrypted");
    }
    if !matches!(entry.compression(), CompressionMethod::Stored | CompressionMethod::Deflated) {
        return bad("it is packed in a way that is not taken here: deflate it, or only store it");
    }
    let read = entry
        .with_reader(archive, ZipReadOptions::new())
        .and_then(|reader| Ok(read_file(reader, file)?));
    match read {
        Ok(()) => Ok(Ok(())),
        Err(ZipError::Io(error)) if !is_damage(&error) => Err(Unreadable::Spool(error)),
        Err(_) => bad("it is damaged in the archive"),
    }
}

fn broken_zip(error: ZipError) -> Unreadable {
    match error {
        ZipError::Io(error) if !is_damage(&error) => Unreadable::Spool(error),
        ZipError::UnsupportedArchive(_) => {
            Unreadable::Malformed("the ZIP archive is one of several parts".to_owned())
        }
        _ => Unreadable::Malformed(
            "the body is no ZIP archive, or it is cut off or damaged".to_owned(),
        ),
    }
}

/// Reads a tar archive as a stream.
///
/// # Errors
/// [`Unreadable`]: no such archive, or given up.
pub(super) fn read_tar(archive: impl Read, mut gatherer: Gatherer) -> Result<(), Unreadable> {
    let bytes_left = Rc::new(Cell::new(0));
    let archive = HeaderLimit { reader: archive, bytes_left: Rc::clone(&bytes_left) };
    let mut archive = tar::Archive::new(archive);
    let mut entries = archive.entries().map_err(broken_tar)?;
    let mut skipped_bytes = 0;
    let mut file = Vec::new();
    loop {
        bytes_left.set(MAX_HEADER_BYTES.saturating_add(skipped_bytes));
        let Some(entry) = entries.next() else { return gatherer.finish() };
        let mut entry = entry.map_err(broken_tar)?;
        // What is not read of a file is skipped on the way to the next one.
        skipped_bytes = entry.header().entry_size().map_err(broken_tar)?;
        let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let kind = entry.header().entry_type();
        if kind.is_dir() || kind.is_pax_global_extensions() {
            continue;
        }
        let label = label_of(&name);
        if let Ok(None) = label {
            continue;
        }
        let read = match kind {
            EntryType::Regular | EntryType::Continuous => {
                bytes_left.set(u64::MAX);
                read_file(&mut entry, &mut file).map_err(broken_tar)?;
                Ok(file.as_slice())
            }
            EntryType::Link | EntryType::Symlink => Err(Invalid::new("it is a link, not a file")),
            _ => Err(Invalid::new("it is no plain file")),
        };
        take_file(&mut gatherer, &name, label.map(Option::unwrap_or_default), read)?;
    }
}

fn broken_tar(error: io::Error) -> Unreadable {
    let why = match error.kind() {
        io::ErrorKind::FileTooLarge => "the tar archive says too much before a file",
        // What the crate says itself is of kind `Other`.
        kind if kind == io::ErrorKind::Other || is_damage(&error) => {
            "the body is no tar archive, or it is cut off or damaged"
        }
        _ => return Unreadable::Spool(error),
    };
    Unreadable::Malformed(why.to_owned())
}

/// Whether it tells of bytes that are wrong, not of a disk that cannot be read.
fn is_damage(error: &io::Error) -> bool {
    use io::ErrorKind as Kind;
    matches!(error.kind(), Kind::UnexpectedEof | Kind::InvalidData | Kind::InvalidInput)
}

/// Ends a reader that is told too much: what stands before a file is kept in memory.
struct HeaderLimit<R> {
    reader: R,
    bytes_left: Rc<Cell<u64>>,
}

impl<R: Read> Read for HeaderLimit<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.bytes_left.get() == 0 {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        let n_read = self.reader.read(buffer)?;
        self.bytes_left.set(self.bytes_left.get().saturating_sub(n_read as u64));
        Ok(n_read)
    }
}

/// The folder that the file called `path` lies in; none for what is no sample: folders, hidden
/// files, and what macOS adds.
fn label_of(path: &str) -> Result<Option<&str>, Invalid> {
    let names = path.split('/').filter(|name| !matches!(*name, "" | "."));
    let names: Vec<&str> = names.collect();
    let is_folder = path.ends_with('/');
    let Some((file, folders)) = names.split_last().filter(|_| !is_folder) else { return Ok(None) };
    if names.contains(&"..") || path.starts_with('/') {
        return Err(Invalid::new("its path leads out of the archive"));
    }
    if file.starts_with('.') || folders.contains(&"__MACOSX") {
        return Ok(None);
    }
    match folders.last() {
        Some(folder) => Ok(Some(folder)),
        None => Err(Invalid::new("it has no folder that would name its label")),
    }
}
