//! Where the samples of a batch go: into blocks and rows, each sample once.

use std::collections::{HashMap, HashSet};

use sqlx::PgConnection;
use uuid::Uuid;

use super::Chunk;
use crate::domain::batch::{Rejection, Verdicts};
use crate::domain::label::{Label, MAX_LABELS};
use crate::services::ServiceError;
use crate::storage::models::{self, Model};
use crate::storage::samples::{self, NewRows};

/// Writes the chunks of one batch, block by block.
pub(in crate::services) struct Writer<'a> {
    /// Where the samples go, to read from meanwhile.
    pub(in crate::services) db: &'a mut PgConnection,
    model: &'a Model,
    batch: Uuid,
    labels: HashMap<Label, i32>,
    /// What became of the samples so far.
    pub(in crate::services) verdicts: Verdicts,
}

impl<'a> Writer<'a> {
    pub(in crate::services) async fn new(
        db: &'a mut PgConnection,
        model: &'a Model,
        batch: Uuid,
    ) -> Result<Self, ServiceError> {
        let labels = models::labels(db, model.id).await?.into_iter().collect();
        Ok(Self { db, model, batch, labels, verdicts: Verdicts::default() })
    }

    /// Stores what is new of a chunk, and counts the rest.
    pub(in crate::services) async fn write(
        &mut self,
        mut chunk: Chunk,
    ) -> Result<(), ServiceError> {
        self.verdicts.received += (chunk.samples.len() + chunk.rejections.len()) as u64;
        let mut new = self.drop_duplicates(&chunk).await?;
        self.number_labels(&mut chunk, &mut new).await?;
        // In the batch's order, whatever the reason.
        chunk.rejections.sort_by_key(|rejection| rejection.index);
        for Rejection { index, reason } in chunk.rejections {
            self.verdicts.reject(index, reason);
        }
        if new.is_empty() {
            return Ok(());
        }
        self.verdicts.accepted += new.len() as u64;
        let mut rows = NewRows::default();
        for &i in &new {
            rows.labels.push(self.labels[&chunk.samples.labels[i]]);
            rows.weights.push(chunk.samples.weights[i]);
            rows.held_out.push(chunk.held_out[i]);
            rows.hashes.push(chunk.samples.hashes[i].0.to_vec());
            rows.client_ids.push(chunk.client_ids[i].clone());
            rows.subjects.push(chunk.subjects[i].clone());
        }
        let inputs = chunk.samples.select(&new).inputs;
        let block = samples::insert_block(self.db, self.model.id, self.batch, &inputs).await?;
        Ok(samples::insert_rows(self.db, self.model.id, block, &rows).await?)
    }

    /// The places of the samples that the model does not have, by content or by client id.
    async fn drop_duplicates(&mut self, chunk: &Chunk) -> Result<Vec<usize>, ServiceError> {
        let hashes: Vec<Vec<u8>> = chunk.samples.hashes.iter().map(|h| h.0.to_vec()).collect();
        let ids: Vec<String> = chunk.client_ids.iter().flatten().cloned().collect();
        let known = samples::known_hashes(self.db, self.model.id, &hashes).await?;
        let mut known: HashSet<_> = known.into_iter().collect();
        let mut known_ids: HashSet<String> = match ids.is_empty() {
            true => HashSet::new(),
            false => {
                let ids = samples::known_client_ids(self.db, self.model.id, &ids).await?;
                ids.into_iter().collect()
            }
        };
        let mut new = Vec::with_capacity(chunk.samples.len());
        for (i, (hash, id)) in chunk.samples.hashes.iter().zip(&chunk.client_ids).enumerate() {
            if known.contains(hash) || id.as_ref().is_some_and(|id| known_ids.contains(id)) {
                self.verdicts.duplicates += 1;
                continue;
            }
            known.insert(*hash);
            known_ids.extend(id.clone());
            new.push(i);
        }
        Ok(new)
    }

    /// Numbers the labels that are new, and rejects samples whose label would be one too many.
    async fn number_labels(
        &mut self,
        chunk: &mut Chunk,
        new: &mut Vec<usize>,
    ) -> Result<(), ServiceError> {
        let mut kept = Vec::with_capacity(new.len());
        for &i in new.iter() {
            let label = &chunk.samples.labels[i];
            if !self.labels.contains_key(label) {
                let number = self.labels.len();
                if number >= MAX_LABELS {
                    let reason = format!("label is new, and the model has {MAX_LABELS} already");
                    chunk.rejections.push(Rejection { index: chunk.indices[i], reason });
                    continue;
                }
                let number = number as i32;
                models::insert_label(self.db, self.model.id, number, label).await?;
                self.labels.insert(label.clone(), number);
            }
            kept.push(i);
        }
        *new = kept;
        Ok(())
    }
}
