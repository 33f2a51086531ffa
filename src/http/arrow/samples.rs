//! Batches of samples as rows of an Arrow stream: a column is the label, `id`, `subject` and `weight` are
//! themselves unless the model has features of these names, and the rest are the input.

use std::io::BufRead;

use arrow_array::RecordBatch;
use arrow_schema::Schema;

use super::super::columns::TagColumns;
use super::super::oip::Meaning;
use super::super::samples::{Expected, Gatherer, Tag, Unreadable, parse_name, parse_weight};
use super::damaged;
use super::decoder::Decoder;
use super::layout::{Layout, expect};
use super::messages::next_of;
use super::values::{Numbers, Texts, is_number, is_text};
use crate::domain::Invalid;
use crate::domain::input::InputSchema;
use crate::domain::label::Label;
use crate::domain::settings::Missing;

/// Rows that are read at once.
const ROWS_AT_ONCE: usize = 64;

/// Reads rows whose label is in the column called `label`.
///
/// # Errors
/// [`Unreadable`]: no Arrow stream, its schema does not suit the model, or given up.
pub(in crate::http) fn read_samples(
    mut reader: impl BufRead,
    label: &str,
    mut gatherer: Gatherer,
) -> Result<(), Unreadable> {
    let (label, input) = (label.to_owned(), gatherer.expected().schema.clone());
    let mut decoder = Decoder::new(move |schema| Columns::find(schema, &label, &input));
    while let Some(message) = next_of(&mut reader)? {
        let Some(mut rows) = decoder.decode(&message)? else { continue };
        while rows.len() > 0 {
            let some = rows.split_to(ROWS_AT_ONCE);
            some.layout.gather(&some.batch, &mut gatherer)?;
        }
    }
    decoder.finish()?;
    gatherer.finish()
}

/// What each column is.
struct Columns {
    tag: TagColumns,
    /// Those of the input, and how they hold it.
    others: Vec<usize>,
    layout: Layout,
}

impl Columns {
    fn find(schema: &Schema, label: &str, input: &InputSchema) -> Result<Self, Invalid> {
        let names: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
        let at = |invalid: Invalid| invalid.within("/schema");
        let tag = TagColumns::find(&names, label, input).map_err(at)?;
        for column in [Some(tag.label), tag.id, tag.subject].into_iter().flatten() {
            expect(schema, column, "texts", is_text)?;
        }
        if let Some(weight) = tag.weight {
            expect(schema, weight, "numbers", is_number)?;
        }
        let others = tag.others(names.len());
        let rest = schema.project(&others).map_err(|error| Invalid::new(error.to_string()))?;
        // Which of the other columns it is, its name tells.
        let layout =
            Layout::of(&rest, input).map_err(|invalid| Invalid::at("/schema", invalid.detail))?;
        Ok(Self { tag, others, layout })
    }

    /// Hands all rows of `batch` on, each with its input or with what is wrong with it.
    fn gather(&self, batch: &RecordBatch, gatherer: &mut Gatherer) -> Result<(), Unreadable> {
        let tags = Tags::of(batch, &self.tag);
        let rest = batch.project(&self.others).map_err(damaged)?;
        let mut row = 0;
        while row < rest.num_rows() {
            let Expected { schema, missing, budget } = gatherer.expected();
            let rows = rest.slice(row, rest.num_rows() - row);
            let (inputs, refusal) = self.layout.read(&rows, schema, *missing, budget);
            for index in 0..inputs.len() {
                gatherer.take(tags.text_bytes(row), |_, into| {
                    let tag = tags.read(row)?;
                    into.push_from(&inputs, index);
                    Ok(tag)
                })?;
                row += 1;
            }
            if let Some(refusal) = refusal {
                gatherer.take(0, |_, _| Err(refusal))?;
                row += 1;
            }
        }
        Ok(())
    }
}

/// All of some samples but their inputs.
struct Tags {
    labels: Texts,
    ids: Option<Texts>,
    subjects: Option<Texts>,
    weights: Option<Numbers>,
}

impl Tags {
    fn of(batch: &RecordBatch, columns: &TagColumns) -> Self {
        let texts = |column: usize| Texts::of(batch.column(column));
        Self {
            labels: texts(columns.label),
            ids: columns.id.map(texts),
            subjects: columns.subject.map(texts),
            weights: columns.weight.map(|column| Numbers::of(batch.column(column))),
        }
    }

    fn texts(&self, row: usize) -> [Option<&str>; 3] {
        let [ids, subjects] = [&self.ids, &self.subjects]
            .map(|texts| texts.as_ref().and_then(|texts| texts.get(row)));
        [self.labels.get(row), ids, subjects]
    }

    fn text_bytes(&self, row: usize) -> usize {
        self.texts(row).into_iter().flatten().map(str::len).sum()
    }

    fn read(&self, row: usize) -> Result<Tag, Invalid> {
        let [label, id, subject] = self.texts(row);
        let label = Label::parse(label.ok_or_else(|| Invalid::new("label is missing"))?)?;
        let id = id.map(|id| parse_name("id", id)).transpose()?;
        let subject = subject.map(|subject| parse_name("subject", subject)).transpose()?;
        let weight = match &self.weights {
            Some(weights) if weights.is_given(row) => {
                let weight = weights.get(row, Meaning::Feature(Missing::Reject));
                let weight = weight.map_err(|why| Invalid::new(format!("weight {why}")))?;
                parse_weight(&weight.to_string())?
            }
            _ => 1.0,
        };
        Ok(Tag { label, id, subject, weight })
    }
}
