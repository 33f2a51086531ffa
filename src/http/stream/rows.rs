//! The rows of a stream of Arrow's record batches, some at a time.

use std::time::Duration;

use axum::body::Body;

use super::super::arrow::{Decoder, Layout, Messages, Rows};
use super::super::error::Problem;
use super::super::exchange::compute;
use super::super::predictions::PredictQuery;
use crate::domain::image::Budget;
use crate::domain::input::{InputSchema, Inputs, MAX_CATEGORY_BYTES};
use crate::domain::settings::ModelSettings;
use crate::domain::text::MAX_TEXT_BYTES;
use crate::services::serving::{Chosen, Route};

/// The most rows that are answered at once: as many as are computed at once.
const MOST_ROWS: usize = 512;
/// The most of them that are image files, each of which may take long.
const MOST_IMAGES: usize = 64;
/// The most bytes that their inputs may take, once they are read.
const MOST_BYTES: usize = 8 << 20;
/// The most labels with their probabilities that their answers may have.
const MOST_PAIRS: usize = 1 << 16;

/// A body, batch by batch.
pub(super) struct Batches {
    messages: Messages,
    /// None while it decodes, and when it could not.
    decoder: Option<Decoder<Layout>>,
    /// What is left of a batch.
    rows: Option<Rows<Layout>>,
    rows_at_once: usize,
}

impl Batches {
    /// The batches of `body`, whose client may let us wait for so long in all for each message.
    pub(super) fn new(
        body: Body,
        patience: Duration,
        route: &Route,
        chosen: &Chosen,
        query: PredictQuery,
    ) -> Self {
        let input = route.model.settings.input.clone();
        let n_pairs = query.top_k.min(chosen.labels.len());
        Self {
            messages: Messages::new(body, patience),
            rows: None,
            rows_at_once: rows_at_once(&input, n_pairs),
            decoder: Some(Decoder::new(move |schema| Layout::of(schema, &input))),
        }
    }

    /// The next rows that are here, as many as are answered at once. None at the end.
    ///
    /// # Errors
    /// Those of [`Messages::next`] and [`Decoder::decode`], and 422 where there is no schema.
    pub(super) async fn next(&mut self) -> Result<Option<Rows<Layout>>, Problem> {
        loop {
            if let Some(rows) = self.rows.as_mut().filter(|rows| rows.len() > 0) {
                return Ok(Some(rows.split_to(self.rows_at_once)));
            }
            self.rows = None;
            let Some(message) = self.messages.next().await? else { break };
            let Some(mut decoder) = self.decoder.take() else { break };
            let decoding = compute(true, move || {
                let rows = decoder.decode(&message);
                (decoder, rows)
            });
            let (decoder, rows) = decoding.await?;
            self.decoder = Some(decoder);
            self.rows = rows?;
        }
        self.decoder.iter().try_for_each(Decoder::finish)?;
        Ok(None)
    }
}

/// How many rows are answered at once, where each answer has so many labels.
fn rows_at_once(input: &InputSchema, n_pairs: usize) -> usize {
    let row_bytes = match input {
        InputSchema::Text(_) => MAX_TEXT_BYTES,
        _ => input.n_numeric() * size_of::<f32>() + input.n_categories() * MAX_CATEGORY_BYTES,
    };
    let most = if input.image().is_some() { MOST_IMAGES } else { MOST_ROWS };
    most.min(MOST_BYTES / row_bytes.max(1)).min(MOST_PAIRS / n_pairs.max(1)).max(1)
}

/// The inputs of some rows, up to the first that is none, and why that is none.
pub(super) fn read(
    rows: &Rows<Layout>,
    settings: &ModelSettings,
    first_index: usize,
) -> (Inputs, Option<Problem>) {
    // Each some rows are read in their own turn.
    let (budget, missing) = (Budget::default(), settings.learning.missing);
    let (inputs, refusal) = rows.layout.read(&rows.batch, &settings.input, missing, &budget);
    let index = first_index + inputs.len();
    (inputs, refusal.map(|refusal| refusal.within(&format!("/{index}")).into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_that_are_answered_at_once_are_bounded_in_number_and_in_bytes() {
        let of =
            |input: &str, n_pairs| rows_at_once(&serde_json::from_str(input).unwrap(), n_pairs);
        assert_eq!(of(r#"{"kind": "tabular", "dim": 784}"#, 10), 512);
        assert_eq!(of(r#"{"kind": "tabular", "dim": 65536}"#, 10), 32);
        assert_eq!(of(r#"{"kind": "tabular", "dim": 1}"#, 1_000), 65);
        assert_eq!(of(r#"{"kind": "tabular", "dim": 1}"#, 1_000_000), 1);
        assert_eq!(of(r#"{"kind": "text"}"#, 10), 128);
        assert_eq!(of(r#"{"kind": "image", "width": 8, "height": 8, "channels": 1}"#, 10), 64);
    }
}
