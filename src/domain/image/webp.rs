//! What a WebP file says of its sizes (RFC 9649): on the canvas, for a frame, and in a picture itself.
//!
//! Invariant: whatever passes is decoded in the memory that its canvas takes. The decoder makes room for
//! the size that a picture has in itself, and only then compares it with that of the canvas.

use super::Invalid;

/// Width and height in pixels.
type Size = (u32, u32);

/// Checks a file that begins as one of WebP does: its pictures are as large as is said of them, and none
/// of its parts goes beyond its end. A file of one picture and nothing else is passed over: there is one
/// size in it.
///
/// # Errors
/// [`Invalid`].
pub(super) fn check(file: &[u8]) -> Result<(), Invalid> {
    let mut chunks = Chunks(file.get(12..).unwrap_or_default());
    let canvas = match chunks.next() {
        Some(Ok((b"VP8X", extended))) => size_at(extended, 4).ok_or_else(cut_off)?,
        _ => return Ok(()),
    };
    for chunk in chunks {
        match chunk? {
            (b"ANMF", frame) => check_frame(frame, canvas)?,
            (name, picture) => check_picture(name, picture, canvas)?,
        }
    }
    Ok(())
}

fn check_frame(frame: &[u8], canvas: Size) -> Result<(), Invalid> {
    let size = size_at(frame, 6).ok_or_else(cut_off)?;
    if size.0 > canvas.0 || size.1 > canvas.1 {
        return Err(Invalid::new("the WebP has a frame that is larger than its canvas"));
    }
    for chunk in Chunks(frame.get(16..).unwrap_or_default()) {
        let (name, picture) = chunk?;
        check_picture(name, picture, size)?;
    }
    Ok(())
}

/// Checks that a chunk is no picture, or one of the size that was said.
fn check_picture(name: &[u8; 4], chunk: &[u8], said: Size) -> Result<(), Invalid> {
    let size = match (name, chunk) {
        // Behind a tag and a mark: 14 bits each, and a scale that nobody uses.
        (b"VP8 ", [_, _, _, 0x9d, 0x01, 0x2a, w0, w1, h0, h1, ..]) => {
            let side = |low, high| u32::from(u16::from_le_bytes([low, high]) & 0x3fff);
            (side(*w0, *w1), side(*h0, *h1))
        }
        // Behind a mark: 14 bits each, one less than the side.
        (b"VP8L", [0x2f, a, b, c, d, ..]) => {
            let sides = u32::from_le_bytes([*a, *b, *c, *d]);
            ((sides & 0x3fff) + 1, ((sides >> 14) & 0x3fff) + 1)
        }
        (b"VP8 " | b"VP8L", _) => return Err(cut_off()),
        _ => return Ok(()),
    };
    match size == said {
        true => Ok(()),
        false => Err(Invalid::new(format!(
            "the WebP has a picture of {} × {} pixels where it says {} × {}",
            size.0, size.1, said.0, said.1
        ))),
    }
}

/// Width and height in 24 bits each, one less than the side.
fn size_at(chunk: &[u8], at: usize) -> Option<Size> {
    match chunk.get(at..at + 6)? {
        [a, b, c, d, e, f] => {
            let side = |bytes| u32::from_le_bytes(bytes) + 1;
            Some((side([*a, *b, *c, 0]), side([*d, *e, *f, 0])))
        }
        _ => None,
    }
}

fn cut_off() -> Invalid {
    Invalid::new("the WebP is cut off or damaged")
}

/// Named chunks, one after another: a name, a length, as many bytes, and one more where these are odd.
struct Chunks<'a>(&'a [u8]);

impl<'a> Iterator for Chunks<'a> {
    type Item = Result<(&'a [u8; 4], &'a [u8]), Invalid>;

    fn next(&mut self) -> Option<Self::Item> {
        // A few bytes behind the last chunk are no chunk.
        let (name, rest) = self.0.split_first_chunk::<4>()?;
        let (length, rest) = rest.split_first_chunk::<4>()?;
        let length = usize::try_from(u32::from_le_bytes(*length)).unwrap_or(usize::MAX);
        let Some((chunk, behind)) = rest.split_at_checked(length) else {
            self.0 = &[];
            return Some(Err(cut_off()));
        };
        self.0 = behind.get(length % 2..).unwrap_or_default();
        Some(Ok((name, chunk)))
    }
}
