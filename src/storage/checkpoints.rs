//! Checkpoint files in the object store, each named by its digest and never modified.

use std::path::{Path as Directory, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{TryStreamExt, future};
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt, PutPayload, WriteMultipart};
use sha2::{Digest, Sha256};

use super::StorageError;
use super::models::ModelId;
use super::patience::Patience;
use crate::fault;

/// Larger files go in parts of this length: stores bound what they take at once.
const PART_BYTES: usize = 64 << 20;
/// What a list of a large store's objects is as long as: it takes minutes.
pub(super) const LISTING_BYTES: u64 = 600 << 20;

/// Where checkpoints are kept.
#[derive(Debug, Clone)]
pub struct Checkpoints {
    store: Arc<dyn ObjectStore>,
    /// Where the store's files lie, if it is a directory: what it does not show is to be found there.
    pub(super) directory: Option<PathBuf>,
    pub(super) patience: Patience,
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
    /// Checkpoints in `store`, whose `put` returns only once the object is durable. Whatever takes longer than
    /// `patience`, and a second more for every MiB, fails.
    pub fn new(store: Arc<dyn ObjectStore>, patience: Duration) -> Self {
        Self { store, directory: None, patience: Patience::new(patience) }
    }

    /// Checkpoints in a directory, which is there.
    ///
    /// # Errors
    /// When it is not.
    pub fn in_directory(directory: &Directory, patience: Duration) -> Result<Self, StorageError> {
        let store = LocalFileSystem::new_with_prefix(directory)?.with_fsync(true);
        let directory = Some(directory.to_owned());
        Ok(Self { directory, ..Self::new(Arc::new(store), patience) })
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
        self.put(Path::from(path.as_str()), file).await?;
        fault::step("checkpoint_put");
        Ok(CheckpointRef { path, bytes, sha256 })
    }

    /// Reads a checkpoint and checks its digest.
    ///
    /// # Errors
    /// [`StorageError::Damaged`] when the bytes are not those that were written, or are gone.
    pub async fn read(&self, checkpoint: &CheckpointRef) -> Result<Bytes, StorageError> {
        let damaged =
            |why| Err(StorageError::damaged(format!("checkpoint {}", checkpoint.sha256), why));
        let Some(file) = self.get(Path::from(checkpoint.path.as_str())).await? else {
            return damaged("the file is missing");
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
        let (store, place) = (Arc::clone(&self.store), Path::from(path));
        let at = place.clone();
        let removed = self.patience.with(&at, 0, async move { store.delete(&place).await });
        found(removed.await).map(drop)
    }

    /// Writes an object, in parts where it is large, whatever lies there: of a checkpoint that is the same bytes, or what is
    /// left of them. On the condition that nothing does (`If-None-Match`) what is damaged would stay so, and not every
    /// store knows it, nor for what comes in parts.
    pub(super) async fn put(&self, place: Path, object: Vec<u8>) -> Result<(), StorageError> {
        let (store, bytes, at) = (Arc::clone(&self.store), object.len() as u64, place.clone());
        let put = async move {
            if fault::dies_at("half_written") {
                let mut upload = store.put_multipart(&place).await?;
                upload.put_part(object[..object.len() / 2].to_vec().into()).await?;
                fault::step("half_written");
            }
            if object.len() <= PART_BYTES {
                return store.put(&place, PutPayload::from(object)).await.map(drop);
            }
            let upload = store.put_multipart(&place).await?;
            let mut parts = WriteMultipart::new_with_chunk_size(upload, PART_BYTES);
            parts.put(Bytes::from(object));
            parts.finish().await.map(drop)
        };
        self.patience.with(&at, bytes, put).await
    }

    /// Reads an object, if there is one.
    pub(super) async fn get(&self, place: Path) -> Result<Option<Bytes>, StorageError> {
        let (store, at) = (Arc::clone(&self.store), place.clone());
        let opened = self.patience.with(&at, 0, async move { store.get(&place).await });
        let Some(object) = found(opened.await)? else { return Ok(None) };
        let bytes = object.meta.size;
        self.patience.with(&at, bytes, object.bytes()).await.map(Some)
    }

    /// What is known of an object, if there is one.
    pub(super) async fn head(&self, place: Path) -> Result<Option<ObjectMeta>, StorageError> {
        let (store, at) = (Arc::clone(&self.store), place.clone());
        found(self.patience.with(&at, 0, async move { store.head(&place).await }).await)
    }

    /// The objects below `place` that are `wanted`, each made into something; a list that takes as long as so many `bytes`.
    pub(super) async fn list<T: Send + 'static>(
        &self,
        place: Path,
        bytes: u64,
        wanted: impl Fn(&ObjectMeta) -> Option<T> + Send + 'static,
    ) -> Result<Vec<T>, StorageError> {
        let (store, at) = (Arc::clone(&self.store), place.clone());
        let listed = async move {
            let objects = store.list(Some(&place));
            objects
                .try_filter_map(move |object| future::ready(Ok(wanted(&object))))
                .try_collect()
                .await
        };
        self.patience.with(&at, bytes, listed).await
    }
}

/// What was done, unless there was nothing to do it with.
fn found<T>(done: Result<T, StorageError>) -> Result<Option<T>, StorageError> {
    match done {
        Err(StorageError::Objects(object_store::Error::NotFound { .. })) => Ok(None),
        done => done.map(Some),
    }
}

/// SHA-256 of `bytes`, in hex.
pub fn sha256_hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_written_again_is_whole_whatever_was_left_of_it() {
        let dir = tempfile::tempdir().unwrap();
        let store = Checkpoints::in_directory(dir.path(), Duration::from_secs(60)).unwrap();
        let weights = b"all of the weights";
        let written = store.write(ModelId(1), weights.to_vec()).await.unwrap();
        let file = dir.path().join(&written.path);
        for left in [&weights[..8], b"some other weights", b""] {
            std::fs::write(&file, left).unwrap();
            let damaged = store.read(&written).await;
            assert!(matches!(damaged, Err(StorageError::Damaged { .. })), "{damaged:?}");
            assert_eq!(store.write(ModelId(1), weights.to_vec()).await.unwrap(), written);
            assert_eq!(store.read(&written).await.unwrap(), &weights[..]);
        }
    }
}
