//! Files of a batch, each an image with its label: what multipart bodies and archives share.

use std::io::{self, Read};

use super::samples::{Gatherer, Tag, Unreadable};
use super::walk;
use crate::domain::Invalid;
use crate::domain::image::{self, MAX_FILE_BYTES};
use crate::domain::label::Label;

/// Reads `from` to its end, or to one byte more than an image file may have, in the place of what
/// `file` held.
pub(super) fn read_file(from: impl Read, file: &mut Vec<u8>) -> io::Result<()> {
    file.clear();
    from.take(MAX_FILE_BYTES as u64 + 1).read_to_end(file)?;
    Ok(())
}

/// Takes the next sample: `file`, which the client calls `name`, with `label`.
///
/// # Errors
/// As [`Gatherer::take`].
pub(super) fn take_file(
    gatherer: &mut Gatherer,
    name: &str,
    label: Result<&str, Invalid>,
    file: Result<&[u8], Invalid>,
) -> Result<(), Unreadable> {
    gatherer.take(name.len(), |expected, inputs| {
        let sample = || {
            let label = Label::parse(label?)?;
            let Some(schema) = expected.schema.image() else {
                return Err(Invalid::new("the model takes no images"));
            };
            Ok((label, image::decode_within(&expected.budget, file?, schema)?))
        };
        let (label, pixels) = sample().map_err(|invalid| named(name, &invalid))?;
        inputs.push(&pixels, &[]);
        Ok(Tag { label, id: None, subject: None, weight: 1.0 })
    })
}

/// An index says little about a file: what is wrong with it is told with its name.
fn named(name: &str, invalid: &Invalid) -> Invalid {
    match name {
        "" => invalid.clone(),
        _ => Invalid::new(format!("{}: {}", walk::shortened(name), invalid.detail)),
    }
}
