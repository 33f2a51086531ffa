//! Checkpoint files in the object store, each named by its digest and never modified.

use std::sync::Arc;

use bytes::Bytes;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutPayload, WriteMultipart};
use sha2::{Digest, Sha256};

use super::StorageError;
use super::models::ModelId;

/// Larger files go in parts of this length: stores bound what they take at once.
const PART_BYTES: usize = 64 << 20;

/// Where checkpoints are kept.
#[derive(Debug, Clone)]
pub struct Checkpoints {
    pub(super) store: Arc<dyn ObjectStore>,
}

/// A checkpoint that was written, or is to be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckpointRef {
    /// Its path in the object store.
    pub path: String,
    /// Its length.
    pub bytes: i64,
    /// SHA-256 of its bytes, in hex.
    pub sha256: String,
}

impl Checkpoints {
    /// Checkpoints in `store`, whose `put` returns only once the object is durable.
    pub fn new(store: Arc<dyn ObjectStore>) -> Self {
        Self { store }
    }

    /// Writes a checkpoint; it is complete and durable when this returns.
    ///
    /// # Errors
    /// When the object store fails.
    pub async fn write(
        &self,
        model: ModelId,
        file: Vec<u8>,
    ) -> Result<CheckpointRef, StorageError> {
        let sha256 = sha256_hex(&file);
        let bytes = file.len() as i64;
        let path = format!("models/{}/{sha256}.safetensors", model.0);
        let location = Path::from(path.as_str());
        if file.len() <= PART_BYTES {
            self.store.put(&location, PutPayload::from(file)).await?;
        } else {
            let upload = self.store.put_multipart(&location).await?;
            let mut parts = WriteMultipart::new_with_chunk_size(upload, PART_BYTES);
            parts.put(Bytes::from(file));
            parts.finish().await?;
        }
        Ok(CheckpointRef { path, bytes, sha256 })
    }

    /// Reads a checkpoint and checks its digest.
    ///
    /// # Errors
    /// [`StorageError::Damaged`] when the bytes are not those that were written, or are gone.
    pub async fn read(&self, checkpoint: &CheckpointRef) -> Result<Bytes, StorageError> {
        let damaged =
            |why| Err(StorageError::damaged(format!("checkpoint {}", checkpoint.sha256), why));
        let file = match self.store.get(&Path::from(checkpoint.path.as_str())).await {
            Ok(found) => found.bytes().await?,
            Err(object_store::Error::NotFound { .. }) => return damaged("the file is missing"),
            Err(error) => return Err(error.into()),
        };
        if sha256_hex(&file) != checkpoint.sha256 {
            return damaged("the file is corrupt: its digest is another one");
        }
        Ok(file)
    }

    /// Removes a checkpoint; one that is gone already is no error.
    ///
    /// # Errors
    /// When the object store fails.
    pub async fn remove(&self, path: &str) -> Result<(), StorageError> {
        match self.store.delete(&Path::from(path)).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

/// SHA-256 of `bytes`, in hex.
pub fn sha256_hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}
