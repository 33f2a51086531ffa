//! Predictions as columns: those that a line of JSON has as members.
//!
//! Invariant: what is written is one stream, however many pieces it is sent in: a schema, batches, an end.

use std::sync::Arc;

use arrow_array::{
    ArrayRef, Float32Array, ListArray, RecordBatch, StringArray, StructArray, new_null_array,
};
use arrow_buffer::OffsetBuffer;
use arrow_ipc::writer::StreamWriter;
use arrow_schema::{ArrowError, DataType, Field, Fields, Schema, SchemaRef};

use super::super::ranking::{Prediction, Scored};

/// How a stream is answered: `id` (where predictions are remembered), `label`, `probability`, `top`, and
/// `error`, which is null but in a last row that says why there are no more.
#[derive(Clone)]
pub(in crate::http) struct Answers {
    schema: SchemaRef,
}

impl Answers {
    /// Those of a stream whose predictions are remembered, or not.
    pub(in crate::http) fn new(remember: bool) -> Self {
        let item = Arc::new(Field::new_list_field(DataType::Struct(of_scored()), false));
        let id = remember.then(|| Field::new("id", DataType::Utf8, true));
        let others = [
            Field::new("label", DataType::Utf8, true),
            Field::new("probability", DataType::Float32, true),
            Field::new("top", DataType::List(item), true),
            Field::new("error", DataType::Utf8, true),
        ];
        let fields: Vec<Field> = id.into_iter().chain(others).collect();
        Self { schema: Arc::new(Schema::new(fields)) }
    }

    /// What the stream begins with.
    pub(in crate::http) fn begin(&self) -> Result<Vec<u8>, ArrowError> {
        let mut writer = StreamWriter::try_new(Vec::new(), &self.schema)?;
        Ok(std::mem::take(writer.get_mut()))
    }

    /// The rows of some predictions.
    pub(in crate::http) fn rows(&self, said: &[Prediction<'_>]) -> Result<Vec<u8>, ArrowError> {
        let ids = said.iter().map(|prediction| prediction.id.map(|id| id.to_string()));
        let labels = said.iter().map(|prediction| prediction.label);
        let probabilities = said.iter().map(|prediction| prediction.probability);
        self.write(said.len(), |name| match name {
            "id" => Some(Arc::new(ids.clone().collect::<StringArray>())),
            "label" => Some(Arc::new(StringArray::from_iter_values(labels.clone()))),
            "probability" => Some(Arc::new(Float32Array::from_iter_values(probabilities.clone()))),
            "top" => Some(Arc::new(top(said))),
            _ => None,
        })
    }

    /// The row that says why there are no more, and the end.
    pub(in crate::http) fn refusal(&self, why: &str) -> Result<Vec<u8>, ArrowError> {
        let row = self.write(1, |name| match name {
            "error" => Some(Arc::new(StringArray::from(vec![why]))),
            _ => None,
        })?;
        Ok([row, self.end()?].concat())
    }

    /// What the stream ends with.
    pub(in crate::http) fn end(&self) -> Result<Vec<u8>, ArrowError> {
        let mut writer = StreamWriter::try_new(Vec::new(), &self.schema)?;
        writer.get_mut().clear();
        writer.into_inner()
    }

    /// A batch of `n` rows of these columns; of those that are none, null.
    fn write(
        &self,
        n: usize,
        column: impl Fn(&str) -> Option<ArrayRef>,
    ) -> Result<Vec<u8>, ArrowError> {
        let column = |field: &Arc<Field>| {
            column(field.name()).unwrap_or_else(|| new_null_array(field.data_type(), n))
        };
        let columns = self.schema.fields().iter().map(column).collect();
        let batch = RecordBatch::try_new(Arc::clone(&self.schema), columns)?;
        let mut writer = StreamWriter::try_new(Vec::new(), &self.schema)?;
        // The schema was written once, at the beginning.
        writer.get_mut().clear();
        writer.write(&batch)?;
        Ok(std::mem::take(writer.get_mut()))
    }
}

fn of_scored() -> Fields {
    let label = Field::new("label", DataType::Utf8, false);
    let probability = Field::new("probability", DataType::Float32, false);
    Fields::from(vec![label, probability])
}

/// The most probable labels of each, best first.
fn top(said: &[Prediction<'_>]) -> ListArray {
    let scored = || said.iter().flat_map(|prediction| &prediction.top);
    let labels = StringArray::from_iter_values(scored().map(|scored: &Scored<'_>| scored.label));
    let probabilities = Float32Array::from_iter_values(scored().map(|scored| scored.probability));
    let columns: Vec<ArrayRef> = vec![Arc::new(labels), Arc::new(probabilities)];
    let values = StructArray::new(of_scored(), columns, None);
    let lengths = OffsetBuffer::from_lengths(said.iter().map(|prediction| prediction.top.len()));
    let item = Arc::new(Field::new_list_field(DataType::Struct(of_scored()), false));
    ListArray::new(item, lengths, Arc::new(values), None)
}
