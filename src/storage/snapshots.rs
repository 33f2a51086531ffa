//! Snapshots of trainings in the object store, one an update job: what a run leaves to the next.
//!
//! They lie beside the checkpoints. A snapshot is replaced whole or not at all.

use bytes::Bytes;
use object_store::path::Path;
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
        self.put(path(model, job), snapshot).await
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
        self.get(path(model, job)).await
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
        for left in self.list(directory(model), 0, |found| Some(found.location.clone())).await? {
            self.remove(left.as_ref()).await?;
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
