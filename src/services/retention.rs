//! "Keep no more than this; what would that remove?"
//!
//! Invariant: a row goes before the file that it names, in one transaction under the model's lock, and a
//! file is deleted under that lock only while no row names it. Killed half-way, a sweep leaves a file
//! that nobody knows, which the sweep of orphans finds once it is old.

use std::time::Duration;

use serde_json::json;
use sqlx::PgConnection;
use uuid::Uuid;

use super::queues::SHORT;
use super::{Context, ServiceError, audit, forget, registry, update};
use crate::domain::audit::Action;
use crate::domain::name::ModelName;
use crate::domain::settings::RetentionSettings;
use crate::fault::step;
use crate::learning::MIN_REPLAY;
use crate::storage::models::{self, Model, ModelId};
use crate::storage::notices::{self, Notice};
use crate::storage::orphans::{self, File};
use crate::storage::{StorageError, database, jobs, retention};

/// What a model holds beyond what its settings keep.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Expired {
    /// Versions.
    pub versions: usize,
    /// Samples.
    pub samples: i64,
    /// Updates that have ended.
    pub updates: usize,
}

/// Versions, and updates, that one round removes of a model.
const MOST_ROWS: i64 = 16;
/// Blocks of samples that one round forgets of a model.
const MOST_BLOCKS: i64 = 16;
/// Files that one round looks up.
const MOST_FILES: usize = 1_000;

/// What the next sweeps would remove of a model; nothing changes.
///
/// # Errors
/// [`ServiceError::NotFound`] when there is no such model.
pub async fn plan(context: &Context, name: &ModelName) -> Result<Expired, ServiceError> {
    let mut db = context.pool.acquire().await?;
    let model = registry::find_in(&mut db, name).await?;
    let RetentionSettings { versions, max_age_days, updates, .. } = model.settings.retention;
    let mut expired = Expired { versions: 0, samples: 0, updates: 0 };
    if let Some(keep) = versions {
        let numbers = retention::versions(&mut db, model.id, keep.into(), i64::MAX).await?;
        expired.versions = numbers.len();
    }
    if let Some(days) = max_age_days {
        let kept = exemplars(&mut db, &model).await?;
        expired.samples = retention::count_samples(&mut db, model.id, days as i32, &kept).await?;
    }
    if let Some(keep) = updates {
        expired.updates = retention::updates(&mut db, model.id, keep.into(), i64::MAX).await?.len();
    }
    Ok(expired)
}

/// Removes some of what models hold beyond what their settings keep; false when there was nothing. A model of which nothing
/// can be removed is logged and passed over.
///
/// # Errors
/// When the database fails.
pub async fn sweep(context: &Context) -> Result<bool, ServiceError> {
    let models = retention::models_that_expire(&mut *context.pool.acquire().await?).await?;
    let mut has_removed = false;
    for id in models {
        match sweep_model(context, id).await {
            Ok(has) => has_removed |= has,
            Err(error) => tracing::warn!(%error, model = id.0, "what it does not keep stays"),
        }
    }
    Ok(has_removed)
}

async fn sweep_model(context: &Context, id: ModelId) -> Result<bool, ServiceError> {
    let mut tx = context.pool.begin().await?;
    let Some(model) = models::get(&mut tx, id).await? else { return Ok(false) };
    // Looked at without the lock first: mostly there is nothing, and nobody is to wait for that.
    let expired = Round::of(&mut tx, &model).await?;
    if expired.is_empty() {
        return Ok(false);
    }
    // Where it is busy for long another round comes.
    database::limit_waits(&mut tx, SHORT).await?;
    let Some(model) = models::lock(&mut tx, id).await? else { return Ok(false) };
    // Aliases are moved without it: what is held and still goes too far gets none any more.
    retention::hold_versions(&mut tx, id, &expired.versions).await?;
    let mut round = Round::of(&mut tx, &model).await?;
    round.versions.retain(|version| expired.versions.contains(version));
    if round.is_empty() {
        return Ok(false);
    }
    let paths = retention::remove_versions(&mut tx, id, &round.versions).await?;
    let samples = forget::delete_samples(&mut tx, &model, &round.blocks, None, &round.kept).await?;
    if samples > 0 {
        models::note_deletion(&mut tx, id).await?;
    }
    if let Some(days) = model.settings.retention.max_age_days {
        retention::delete_empty_batches(&mut tx, id, days as i32).await?;
    }
    retention::delete_updates(&mut tx, &round.updates).await?;
    let detail = json!({"versions": round.versions, "samples": samples, "updates": round.updates});
    audit::record(&mut tx, Action::RetentionSwept, &model.name, detail).await?;
    notices::send(&mut tx, &Notice::Changed(id.0)).await?;
    tx.commit().await?;
    step("retention_committed");
    for path in paths {
        remove_unnamed(context, &File { path, model: id, job: None }).await?;
        step("retention_file_removed");
    }
    Ok(true)
}

/// What one round removes of a model.
#[derive(Default)]
struct Round {
    versions: Vec<i32>,
    blocks: Vec<i64>,
    /// Content hashes of the samples that stay where their blocks go.
    kept: Vec<Vec<u8>>,
    updates: Vec<Uuid>,
}

impl Round {
    async fn of(db: &mut PgConnection, model: &Model) -> Result<Self, StorageError> {
        let id = model.id;
        let RetentionSettings { versions, max_age_days, updates, .. } = model.settings.retention;
        let mut round = Self::default();
        if let Some(keep) = versions {
            round.versions = retention::versions(db, id, keep.into(), MOST_ROWS).await?;
        }
        // An update that runs would start over each time, and might never end.
        if let Some(days) = max_age_days
            && !jobs::is_running(db, id).await?
        {
            round.kept = exemplars(db, model).await?;
            round.blocks = retention::blocks(db, id, days as i32, &round.kept, MOST_BLOCKS).await?;
        }
        if let Some(keep) = updates {
            round.updates = retention::updates(db, id, keep.into(), MOST_ROWS).await?;
        }
        Ok(round)
    }

    fn is_empty(&self) -> bool {
        self.versions.is_empty() && self.blocks.is_empty() && self.updates.is_empty()
    }
}

/// Content hashes of the samples that outlive their time: the first that a draw of exemplars takes, which is the one of the updates
/// where the model has a memory.
async fn exemplars(db: &mut PgConnection, model: &Model) -> Result<Vec<Vec<u8>>, StorageError> {
    if !model.settings.retention.keep_exemplars {
        return Ok(Vec::new());
    }
    let learning = &model.settings.learning;
    let most = learning.memory.map_or(MIN_REPLAY, |memory| memory as usize);
    let from = update::start_of_draw(u64::from(learning.seed));
    let n_labels = retention::count_learnt_labels(db, model.id).await?;
    let exemplars = update::draw(db, model.id, (most, n_labels as usize), from).await?;
    Ok(exemplars.into_iter().map(|row| row.hash.0.to_vec()).collect())
}

/// Deletes files that no row names and that were written more than `age` ago; answers how many. One that cannot be
/// deleted is logged and passed over.
///
/// # Errors
/// When the database or the object store fails.
pub async fn sweep_orphans(context: &Context, age: Duration) -> Result<usize, ServiceError> {
    let mut n_removed = context.checkpoints.remove_unfinished(age).await?;
    for files in context.checkpoints.older_than(age).await?.chunks(MOST_FILES) {
        let paths: Vec<String> = files.iter().map(|file| file.path.clone()).collect();
        let unnamed = orphans::unnamed(&mut *context.pool.acquire().await?, &paths).await?;
        for file in files.iter().filter(|file| unnamed.contains(&file.path)) {
            match remove_unnamed(context, file).await {
                Ok(is_removed) => n_removed += usize::from(is_removed),
                Err(error) => tracing::warn!(%error, path = file.path, "an orphan stays"),
            }
        }
    }
    if n_removed > 0 {
        tracing::info!(files = n_removed, "files that nothing names were removed");
    }
    Ok(n_removed)
}

/// Deletes a file, unless a row names it or its job has not ended; false then. Whoever is about to name
/// it does so under the same lock, and looks whether it is there.
async fn remove_unnamed(context: &Context, file: &File) -> Result<bool, ServiceError> {
    let mut tx = context.pool.begin().await?;
    database::limit_waits(&mut tx, SHORT).await?;
    models::lock(&mut tx, file.model).await?;
    let is_needed = match file.job {
        Some(job) => jobs::status(&mut tx, job).await?.is_some_and(|status| !status.has_ended()),
        None => orphans::unnamed(&mut tx, std::slice::from_ref(&file.path)).await?.is_empty(),
    };
    if !is_needed {
        context.checkpoints.remove(&file.path).await?;
    }
    Ok(!is_needed)
}
