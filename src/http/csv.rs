//! Batches in CSV: a header row, then a row for each sample.
//!
//! One column is the label, `id`, `subject` and `weight` are themselves unless the model has features
//! of these names, and the rest are the input: by name where the model's features have names, else in
//! their order, as are the pixels of an image. Rows are read as a stream in constant memory.

use std::borrow::Cow;
use std::io::{self, Read};

use ::csv::{ErrorKind, Reader, ReaderBuilder, StringRecord};

use super::columns::{TagColumns, place_by_name, twice};
use super::images::push_pixels;
use super::parse::{Cell, Row, push_text};
use super::samples::{
    Expected, Gatherer, MAX_SAMPLE_BYTES, Tag, Unreadable, parse_name, parse_weight,
};
use super::walk;
use crate::domain::Invalid;
use crate::domain::input::{Feature, FeatureKind, InputSchema, Inputs};
use crate::domain::label::Label;

/// Reads rows whose label is in the column called `label`.
///
/// # Errors
/// [`Unreadable`]: the header does not fit the model, a row is endless, or given up.
pub(super) fn read_rows(
    reader: impl Read,
    label: &str,
    mut gatherer: Gatherer,
) -> Result<(), Unreadable> {
    let reader = RowLimit { reader, bytes_left: MAX_SAMPLE_BYTES };
    let mut rows = ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .buffer_capacity(READ_BYTES)
        .from_reader(reader);
    let mut row = StringRecord::new();
    match next_row(&mut rows, &mut row)? {
        NextRow::Text => {}
        NextRow::NotText => return Err(Invalid::new("the header row is not UTF-8").into()),
        NextRow::End => {
            let detail = "the body is empty; its first row is to name the columns";
            return Err(Invalid::new(detail).into());
        }
    }
    let layout = Layout::parse(&row, label, &gatherer.expected().schema)?;
    loop {
        let next = next_row(&mut rows, &mut row)?;
        if let NextRow::End = next {
            return gatherer.finish();
        }
        gatherer.take(row.as_slice().len(), |expected, inputs| match next {
            NextRow::Text => layout.read(&row, expected, inputs),
            _ => Err(Invalid::new("row is not UTF-8")),
        })?;
    }
}

/// The column of a text.
const TEXT: &str = "text";
/// How much is read at a time.
const READ_BYTES: usize = 256 << 10;

/// What the next row turned out to be.
enum NextRow {
    Text,
    NotText,
    End,
}

fn next_row(
    rows: &mut Reader<RowLimit<impl Read>>,
    row: &mut StringRecord,
) -> Result<NextRow, Unreadable> {
    rows.get_mut().bytes_left = MAX_SAMPLE_BYTES;
    let line = rows.position().line();
    match rows.read_record(row).map_err(::csv::Error::into_kind) {
        Ok(true) => Ok(NextRow::Text),
        Ok(false) => Ok(NextRow::End),
        Err(ErrorKind::Utf8 { .. }) => Ok(NextRow::NotText),
        Err(ErrorKind::Io(error)) if error.kind() == io::ErrorKind::FileTooLarge => {
            let most = MAX_SAMPLE_BYTES;
            let detail = format!("row at line {line} is over {most} bytes long: a quote is open");
            Err(Unreadable::Malformed(detail))
        }
        Err(ErrorKind::Io(error)) => Err(Unreadable::Spool(error)),
        Err(_) => Err(Unreadable::Malformed(format!("row at line {line} is not CSV"))),
    }
}

/// Ends a reader whose row does not: a quote left open would swallow the rest of the body.
struct RowLimit<R> {
    reader: R,
    bytes_left: usize,
}

impl<R: Read> Read for RowLimit<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.bytes_left == 0 {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        let n_read = self.reader.read(buffer)?;
        self.bytes_left = self.bytes_left.saturating_sub(n_read);
        Ok(n_read)
    }
}

/// What each column is.
#[derive(Debug)]
struct Layout {
    n_columns: usize,
    tag: TagColumns,
    /// The column of each feature, or of each number of a plain vector, in the model's order.
    inputs: Vec<usize>,
}

impl Layout {
    fn parse(header: &StringRecord, label: &str, schema: &InputSchema) -> Result<Self, Invalid> {
        let names: Vec<&str> = header.iter().collect();
        let tag = TagColumns::find(&names, label, schema)?;
        let inputs = Self::place(tag.others(names.len()), &names, schema)?;
        Ok(Self { n_columns: names.len(), tag, inputs })
    }

    /// The columns of the input.
    fn place(
        columns: Vec<usize>,
        names: &[&str],
        schema: &InputSchema,
    ) -> Result<Vec<usize>, Invalid> {
        if schema.is_text() {
            return place_text(columns, names);
        }
        match schema.features() {
            [] => {
                let (given, takes) = (columns.len(), schema.n_numeric());
                if given != takes {
                    let detail = format!("input has {given} columns, the model takes {takes}");
                    return Err(Invalid::new(detail));
                }
                Ok(columns)
            }
            features => place_by_name(columns, names, features),
        }
    }

    fn read(
        &self,
        row: &StringRecord,
        expected: &Expected,
        inputs: &mut Inputs,
    ) -> Result<Tag, Invalid> {
        if row.len() != self.n_columns {
            let (given, takes) = (row.len(), self.n_columns);
            return Err(Invalid::new(format!("row has {given} fields, the header has {takes}")));
        }
        let cell = |column: usize| row.get(column).unwrap_or_default();
        let label = match cell(self.tag.label) {
            "" => return Err(Invalid::new("label is missing")),
            label => Label::parse(label)?,
        };
        let given = |column: Option<usize>| column.map(cell).filter(|text| !text.is_empty());
        let id = given(self.tag.id).map(|text| parse_name("id", text)).transpose()?;
        let subject =
            given(self.tag.subject).map(|text| parse_name("subject", text)).transpose()?;
        let weight =
            given(self.tag.weight).map_or(Ok(1.0), |text| parse_weight(text.trim_ascii()))?;
        if expected.schema.is_text() {
            push_text(Cell::Text(Cow::Borrowed(cell(self.inputs[0]))), inputs)?;
            return Ok(Tag { label, id, subject, weight });
        }
        if expected.schema.image().is_some() {
            push_pixels(self.inputs.iter().map(|&column| numeric_cell(cell(column))), inputs)?;
            return Ok(Tag { label, id, subject, weight });
        }
        let mut input = Row::new(&expected.schema, expected.missing);
        match expected.schema.features() {
            [] => {
                for &column in &self.inputs {
                    input.push_number(&numeric_cell(cell(column)))?;
                }
            }
            features => {
                for (feature, &column) in features.iter().zip(&self.inputs) {
                    input.push(feature, feature_cell(feature, cell(column)))?;
                }
            }
        }
        input.finish(inputs);
        Ok(Tag { label, id, subject, weight })
    }
}

/// The column of the text, which is the only one beside the label, the names and the weight.
fn place_text(columns: Vec<usize>, names: &[&str]) -> Result<Vec<usize>, Invalid> {
    match columns.iter().find(|&&column| names[column] != TEXT) {
        Some(&column) => {
            let name = walk::shortened(names[column]);
            let others = format!("{TEXT}, the label, id, subject, weight");
            Err(Invalid::new(format!("column `{name}` is none of {others}")))
        }
        None if columns.is_empty() => Err(Invalid::new(format!("there is no column `{TEXT}`"))),
        None if columns.len() > 1 => Err(twice(TEXT)),
        None => Ok(columns),
    }
}

fn numeric_cell(text: &str) -> Cell<'_> {
    match text.trim_ascii() {
        "" => Cell::Missing("empty"),
        number => Cell::Number(number),
    }
}

fn feature_cell<'a>(feature: &Feature, text: &'a str) -> Cell<'a> {
    match (feature.kind, text) {
        (FeatureKind::Numeric, _) => numeric_cell(text),
        (FeatureKind::Categorical, "") => Cell::Missing("empty"),
        (FeatureKind::Categorical, text) => Cell::Text(Cow::Borrowed(text)),
    }
}
