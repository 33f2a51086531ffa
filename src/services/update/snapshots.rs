//! What a run leaves to another run of the same job: its training as it was after an epoch.
//!
//! Snapshots save time and nothing else, so whatever goes wrong with one is logged, and the job goes
//! on without it.

use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::runtime::Handle;
use uuid::Uuid;

use super::Context;
use crate::fault::step;
use crate::learning::Event;
use crate::storage::checkpoints::Checkpoints;
use crate::storage::jobs::{self, Claim};
use crate::storage::models::ModelId;

/// The least time between two snapshots: what a run that is killed loses,
const LEAST_PAUSE: Duration = Duration::from_secs(2);
/// and it is at least this many times as long as the last one took.
const PAUSE_PER_WRITE: u32 = 20;

/// Writes down a training as it goes.
pub(super) struct Keeper {
    checkpoints: Checkpoints,
    claim: Claim,
    /// What writes, on behalf of the thread that trains.
    runtime: Handle,
    /// When the next snapshot is due.
    due_at: Instant,
}

impl Keeper {
    /// A keeper of the run's training, which begins now; called within the runtime.
    pub(super) fn new(context: &Context, claim: Claim) -> Self {
        let (checkpoints, runtime) = (context.checkpoints.clone(), Handle::current());
        Self { checkpoints, claim, runtime, due_at: Instant::now() + LEAST_PAUSE }
    }

    /// Writes the snapshot that `event` brings, when one is due. Blocks: for threads that train.
    pub(super) fn take(&mut self, event: &Event<'_>) {
        let Event::Epoch(_, snapshot) = event else { return };
        let began = Instant::now();
        if began < self.due_at {
            return;
        }
        let Claim { id, model, .. } = self.claim;
        let written = self.checkpoints.write_snapshot(model, id, snapshot.encode());
        match self.runtime.block_on(written) {
            Ok(()) => step("snapshot_written"),
            Err(error) => tracing::warn!(%error, update = %id, "a snapshot could not be written"),
        }
        let pause = LEAST_PAUSE.max(began.elapsed() * PAUSE_PER_WRITE);
        self.due_at = Instant::now() + pause;
    }
}

/// What an earlier run of the job left.
pub(super) async fn find(context: &Context, claim: Claim) -> Option<Bytes> {
    let found = context.checkpoints.read_snapshot(claim.model, claim.id).await;
    found.unwrap_or_else(|error| {
        tracing::warn!(%error, update = %claim.id, "a snapshot could not be read");
        None
    })
}

/// Removes what the runs of a job left, unless the job goes on.
pub async fn forget_snapshot(context: &Context, model: ModelId, job: Uuid) {
    let forgotten = async {
        let found = jobs::find(&mut *context.pool.acquire().await?, job).await?;
        match found.is_some_and(|job| !job.status.has_ended()) {
            true => Ok(()),
            false => context.checkpoints.remove_snapshot(model, job).await,
        }
    };
    if let Err(error) = forgotten.await {
        tracing::warn!(%error, update = %job, "a snapshot could not be removed");
    }
}
