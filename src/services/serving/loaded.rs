//! A version in memory, and how it is read from its checkpoint.

use std::fmt::Display;
use std::sync::Arc;

use bytes::Bytes;
use quick_cache::Weighter;

use super::VersionKey;
use super::together::Together;
use crate::learning::{Device, LearnerState, Predictor, checkpoint};
use crate::services::{Context, ServiceError, registry};
use crate::storage::StorageError;
use crate::storage::checkpoints::{CheckpointRef, Checkpoints};
use crate::storage::models::Model;

/// A version in memory.
#[derive(Clone)]
pub(super) struct Loaded {
    pub(super) predictor: Arc<Predictor>,
    /// Where small requests are answered faster together.
    pub(super) together: Option<Arc<Together>>,
    pub(super) labels: Arc<[String]>,
}

/// What a version takes of the memory for all.
#[derive(Clone)]
pub(super) struct BySize;

impl Weighter<VersionKey, Loaded> for BySize {
    fn weight(&self, _key: &VersionKey, loaded: &Loaded) -> u64 {
        loaded.predictor.size_bytes() as u64
    }
}

impl Loaded {
    /// Reads it.
    pub(super) async fn read(
        context: &Context,
        model: &Model,
        version: i32,
    ) -> Result<Self, ServiceError> {
        let mut db = context.pool.acquire().await?;
        let found = registry::find_version(&mut db, model, version).await?;
        drop(db);
        let file = read_checkpoint(&context.checkpoints, version, &found.checkpoint).await?;
        let device = context.device;
        tokio::task::spawn_blocking(move || Self::build(version, file, device))
            .await
            .map_err(|error| broken(version, error))?
    }

    fn build(version: i32, file: Bytes, device: Device) -> Result<Self, ServiceError> {
        let state = decode(version, &file)?;
        // It takes as much as the weights, which are laid out next.
        drop(file);
        let labels = state.labels().iter().map(|label| label.as_str().to_owned()).collect();
        let predictor = Arc::new(Predictor::new(&state, device));
        let together = predictor.gains_together().then(|| Together::new(Arc::clone(&predictor)));
        Ok(Self { predictor, together, labels })
    }
}

/// Reads a version's checkpoint and checks its digest.
///
/// # Errors
/// [`ServiceError::VersionDamaged`] when the file is missing or corrupt.
pub(in crate::services) async fn read_checkpoint(
    checkpoints: &Checkpoints,
    version: i32,
    checkpoint: &CheckpointRef,
) -> Result<Bytes, ServiceError> {
    match checkpoints.read(checkpoint).await {
        Err(StorageError::Damaged { why, .. }) => Err(damaged(version, why)),
        other => Ok(other?),
    }
}

/// The state in a version's checkpoint.
///
/// # Errors
/// [`ServiceError::VersionDamaged`] when it is none.
pub(in crate::services) fn decode(version: i32, file: &[u8]) -> Result<LearnerState, ServiceError> {
    checkpoint::decode(file).map_err(|error| damaged(version, error))
}

fn damaged(version: i32, why: impl Display) -> ServiceError {
    ServiceError::VersionDamaged { version, why: why.to_string() }
}

/// A version that cannot be loaded, or cannot answer, through no fault of whoever asks.
pub(super) fn broken(version: i32, why: impl Display) -> ServiceError {
    ServiceError::Broken(format!("version {version}: {why}"))
}
