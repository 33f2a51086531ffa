//! Snapshots of trainings in the object store, one an update job: what a run leaves to the next.
//!
//! They lie beside the checkpoints. A snapshot is replaced whole or not at all.

use bytes::Bytes;
use futures_util::TryStreamExt;
use object_store::path::Path;
use object_store::{ObjectStoreExt, PutPayload};
use uuid::Uuid;

use super::StorageError;
use super::checkpoints::Checkpoints;
use super::models::ModelId;

impl Checkpoints {
    /// Writes the snapshot of a job in the place of the one before.
    ///
    /// # Errors
    /// When the object store fails.
    pub async fn write_snapshot(
        &self,
        model: ModelId,
        job: Uuid,
        snapshot: Vec<u8>,
    ) -> Result<(), StorageError> {
        self.store.put(&path(model, job), PutPayload::from(snapshot)).await?;
        Ok(())
    }

    /// The snapshot of a job, if there is one.
    ///
    /// # Errors
    /// When the object store fails.
    pub async fn read_snapshot(
        &self,
        model: ModelId,
        job: Uuid,
    ) -> Result<Option<Bytes>, StorageError> {
        match self.store.get(&path(model, job)).await {
            Ok(found) => Ok(Some(found.bytes().await?)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Removes the snapshot of a job, if there is one.
    ///
    /// # Errors
    /// When the object store fails.
    pub async fn remove_snapshot(&self, model: ModelId, job: Uuid) -> Result<(), StorageError> {
        self.remove(path(model, job).as_ref()).await
    }

    /// Removes the snapshots of all jobs of a model.
    ///
    /// # Errors
    /// When the object store fails.
    pub async fn remove_snapshots(&self, model: ModelId) -> Result<(), StorageError> {
        let left: Vec<_> = self.store.list(Some(&directory(model))).try_collect().await?;
        for snapshot in left {
            self.remove(snapshot.location.as_ref()).await?;
        }
        Ok(())
    }
}

fn directory(model: ModelId) -> Path {
    Path::from(format!("models/{}/snapshots", model.0))
}

fn path(model: ModelId, job: Uuid) -> Path {
    Path::from(format!("{}/{job}", directory(model)))
}
