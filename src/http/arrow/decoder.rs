//! From messages to rows: the schema comes first and has to suit, then dictionaries and batches.
//!
//! Invariant: what a message says of its lengths is compared with its body before it is decoded, and arrays
//! are validated as they are made. Buffers may not overlap, so that a batch takes no more than its message.
//! What is copied to add to dictionaries is in proportion to what has come.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch};
use arrow_ipc::convert::try_fb_to_schema;
use arrow_ipc::reader::{read_dictionary, read_record_batch};
use arrow_ipc::{DictionaryBatch, Endianness, MessageHeader, MetadataVersion};
use arrow_schema::{Schema, SchemaRef};

use super::super::error::{Problem, ProblemCode};
use super::messages::Message;
use super::{MAX_MESSAGE_BYTES, damaged, too_large};
use crate::domain::Invalid;

/// Bytes of dictionaries that may be copied for each byte that comes, and for each of a message ahead of all:
/// a delta is put behind its dictionary by a copy of both.
const COPIES: usize = 64;

/// Makes a layout of a schema that suits.
type LayOut<L> = dyn Fn(&Schema) -> Result<L, Invalid> + Send;

/// What the messages so far say of those to come; a layout is made of the schema.
pub(in crate::http) struct Decoder<L> {
    lay_out: Box<LayOut<L>>,
    schema: Option<(SchemaRef, Arc<L>)>,
    dictionaries: HashMap<i64, ArrayRef>,
    /// The bytes of the messages that each dictionary came in.
    dictionary_bytes: HashMap<i64, usize>,
    /// How many bytes deltas may still have copied.
    copies_left: usize,
}

/// Some rows of a stream.
pub(in crate::http) struct Rows<L> {
    /// Their columns.
    pub(in crate::http) batch: RecordBatch,
    /// What these are.
    pub(in crate::http) layout: Arc<L>,
}

impl<L> Decoder<L> {
    /// Of a stream that begins; `lay_out` judges its schema.
    pub(in crate::http) fn new(
        lay_out: impl Fn(&Schema) -> Result<L, Invalid> + Send + 'static,
    ) -> Self {
        Self {
            lay_out: Box::new(lay_out),
            schema: None,
            dictionaries: HashMap::new(),
            dictionary_bytes: HashMap::new(),
            copies_left: COPIES * MAX_MESSAGE_BYTES,
        }
    }

    /// Checks that a stream which ends here is one.
    ///
    /// # Errors
    /// [`Invalid`] where no schema has come.
    pub(in crate::http) fn finish(&self) -> Result<(), Invalid> {
        match self.schema {
            Some(_) => Ok(()),
            None => Err(Invalid::new("the body is empty; it is to begin with a schema")),
        }
    }

    /// Takes the next message in; the rows that it brings, where it does.
    ///
    /// # Errors
    /// 400 where it is damaged, 415 where it is compressed, 422 where the schema does not suit, 413 where
    /// dictionaries grow beyond the bound, or by too many small steps.
    pub(in crate::http) fn decode(
        &mut self,
        message: &Message,
    ) -> Result<Option<Rows<L>>, Problem> {
        // Other people's code on anybody's bytes: where it gives up, these are bad, and nothing else.
        catch_unwind(AssertUnwindSafe(|| self.take(message)))
            .unwrap_or_else(|_| Err(damaged("a message cannot be decoded")))
    }

    fn take(&mut self, message: &Message) -> Result<Option<Rows<L>>, Problem> {
        self.copies_left = self.copies_left.saturating_add(COPIES * message.size_bytes());
        let head = message.head()?;
        match (head.header_type(), &self.schema) {
            (MessageHeader::Schema, None) => {
                let schema = head.header_as_schema().ok_or_else(|| damaged("it has no schema"))?;
                if schema.endianness() != Endianness::Little {
                    return Err(unsupported("big-endian"));
                }
                let schema = Arc::new(try_fb_to_schema(schema).map_err(damaged)?);
                let layout = Arc::new((self.lay_out)(&schema)?);
                self.schema = Some((schema, layout));
                Ok(None)
            }
            (MessageHeader::DictionaryBatch, Some((schema, _))) => {
                let schema = Arc::clone(schema);
                let dictionary = head.header_as_dictionary_batch();
                let dictionary = dictionary.ok_or_else(|| damaged("a dictionary is missing"))?;
                self.keep(&schema, dictionary, message, head.version())?;
                Ok(None)
            }
            (MessageHeader::RecordBatch, Some((schema, layout))) => {
                let batch = head.header_as_record_batch();
                let batch = batch.ok_or_else(|| damaged("a batch is missing"))?;
                check_lengths(batch, message.body.len())?;
                let (schema, body) = (Arc::clone(schema), &message.body);
                let known = &self.dictionaries;
                let batch = read_record_batch(body, batch, schema, known, None, &head.version());
                let layout = Arc::clone(layout);
                Ok(Some(Rows { batch: batch.map_err(damaged)?, layout }))
            }
            (MessageHeader::Schema, Some(_)) => Err(damaged("a second schema comes")),
            (_, None) => Err(damaged("it does not begin with a schema")),
            (header, Some(_)) => {
                let header = header.variant_name().unwrap_or("unknown");
                Err(damaged(format_args!("a message of kind {header} comes, which holds no rows")))
            }
        }
    }

    /// Keeps a dictionary, or what is added to one.
    fn keep(
        &mut self,
        schema: &SchemaRef,
        dictionary: DictionaryBatch<'_>,
        message: &Message,
        version: MetadataVersion,
    ) -> Result<(), Problem> {
        let batch = dictionary.data().ok_or_else(|| damaged("a dictionary is missing"))?;
        check_lengths(batch, message.body.len())?;
        let n_bytes = self.dictionary_bytes.entry(dictionary.id()).or_default();
        let copied = if dictionary.isDelta() { *n_bytes } else { 0 };
        self.copies_left = self.copies_left.checked_sub(copied).ok_or_else(too_many_deltas)?;
        *n_bytes = message.size_bytes() + copied;
        if self.dictionary_bytes.values().sum::<usize>() > MAX_MESSAGE_BYTES {
            return Err(too_large("the dictionaries are all together"));
        }
        read_dictionary(&message.body, dictionary, schema, &mut self.dictionaries, &version)
            .map_err(damaged)
    }
}

/// Checks that what `batch` says of its lengths can be, in a body of so many bytes.
fn check_lengths(batch: arrow_ipc::RecordBatch<'_>, body_bytes: usize) -> Result<(), Problem> {
    if batch.compression().is_some() {
        return Err(unsupported("compressed"));
    }
    let mut free_bytes = body_bytes;
    for buffer in batch.buffers().into_iter().flatten() {
        let length = usize::try_from(buffer.length()).ok();
        let end = usize::try_from(buffer.offset()).ok().zip(length);
        let end = end.and_then(|(offset, length)| offset.checked_add(length));
        let is_within = end.is_some_and(|end| end <= body_bytes);
        let left = length.filter(|_| is_within).and_then(|length| free_bytes.checked_sub(length));
        free_bytes = left.ok_or_else(|| damaged("a buffer goes beyond its message"))?;
    }
    // Whatever the type, a row takes a bit.
    let rows = 0..=i64::try_from(body_bytes).unwrap_or(i64::MAX).saturating_mul(8);
    let can_be =
        |length: i64, null_count: i64| rows.contains(&length) && (0..=length).contains(&null_count);
    let mut nodes = batch.nodes().into_iter().flatten();
    match can_be(batch.length(), 0) && nodes.all(|node| can_be(node.length(), node.null_count())) {
        true => Ok(()),
        false => Err(damaged("more rows are announced than its bytes can hold")),
    }
}

fn too_many_deltas() -> Problem {
    let detail = "large dictionaries grow by too many small deltas; add more entries in each, or write more rows a \
                  batch";
    Problem::new(ProblemCode::PayloadTooLarge, detail)
}

fn unsupported(what: &str) -> Problem {
    let detail = format!(
        "the Arrow stream is {what}, which is not taken: write it uncompressed and little-endian; the body as \
         a whole may come as gzip or deflate (Content-Encoding)"
    );
    Problem::new(ProblemCode::UnsupportedMediaType, detail)
}

impl<L> Rows<L> {
    /// How many there are.
    pub(in crate::http) fn len(&self) -> usize {
        self.batch.num_rows()
    }

    /// The first `n` of them, which are taken off; all, where there are fewer.
    pub(in crate::http) fn split_to(&mut self, n: usize) -> Self {
        let n = n.min(self.len());
        let first = self.batch.slice(0, n);
        self.batch = self.batch.slice(n, self.len() - n);
        Self { batch: first, layout: Arc::clone(&self.layout) }
    }
}
