//! "Update this model now; how is it going; stop it; try again."

use std::time::Duration;

use serde_json::json;
use sqlx::PgConnection;
use uuid::Uuid;

use super::ingest::{Answer, Given, IdempotencyKey, given_before, keep_answer};
use super::{Context, ServiceError, audit, changes, events, registry, update};
use crate::domain::audit::Action;
use crate::domain::event::Happening;
use crate::domain::name::ModelName;
use crate::domain::update::{Report, Trigger, UpdateStatus};
use crate::storage::decisions::{self, DecisionRow};
use crate::storage::events as stored_events;
use crate::storage::idempotency::GivenAnswer;
use crate::storage::jobs::{self, Job};
use crate::storage::models::{self, ModelId};
use crate::storage::notices::{self, Notice};
use crate::storage::samples;

/// A job, named in another answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UpdateRef {
    /// Its id.
    pub id: Uuid,
    /// Where it is in its life.
    pub status: UpdateStatus,
}

/// Queues an update of the model whose lock the caller holds; one that is queued already takes
/// the request in.
pub(super) async fn enqueue(
    db: &mut PgConnection,
    model: ModelId,
    trigger: Trigger,
    forced: bool,
) -> Result<UpdateRef, ServiceError> {
    let id = match jobs::find_queued(db, model).await? {
        Some(id) => {
            if trigger != Trigger::Schedule {
                jobs::hurry(db, id, forced).await?;
            }
            id
        }
        None => {
            let id = Uuid::now_v7();
            jobs::insert(db, id, model, trigger, forced).await?;
            id
        }
    };
    notices::send(db, &Notice::Queued).await?;
    Ok(UpdateRef { id, status: UpdateStatus::Queued })
}

/// The model's queued update, if there is one.
pub(super) async fn queued(
    db: &mut PgConnection,
    model: ModelId,
) -> Result<Option<UpdateRef>, ServiceError> {
    let id = jobs::find_queued(db, model).await?;
    Ok(id.map(|id| UpdateRef { id, status: UpdateStatus::Queued }))
}

const UPDATES: &str = "updates";

/// Queues an update at a client's request. `render` makes the answer that is kept for the key.
///
/// # Errors
/// [`ServiceError::Conflict`] when nothing is pending and the request is not forced.
pub async fn request(
    context: &Context,
    name: &ModelName,
    forced: bool,
    key: Option<&IdempotencyKey>,
    render: impl FnOnce(&Job) -> GivenAnswer,
) -> Result<Answer<Job>, ServiceError> {
    let (_turn, mut tx) = changes::begin(context, name).await?;
    let model = registry::find_in(&mut tx, name).await?;
    let mut tx = match given_before(tx, &model, UPDATES, key).await? {
        Given::Before(given) => return Ok(Answer::Replayed(given)),
        Given::Never(tx) => tx,
    };
    models::lock(&mut tx, model.id).await?;
    let pending = samples::count_pending(&mut tx, model.id).await?;
    if pending == 0 && !forced {
        let detail =
            format!("model {name} has no pending samples; send some, or give {{\"force\": true}}");
        return Err(ServiceError::Conflict(detail));
    }
    let queued = enqueue(&mut tx, model.id, Trigger::Manual, forced).await?;
    let job = find_in(&mut tx, queued.id).await?;
    if let Some(key) = key {
        keep_answer(&mut tx, &model, UPDATES, key, render(&job)).await?;
    }
    tx.commit().await?;
    Ok(Answer::New(job))
}

/// What an update would do now; nothing changes.
///
/// # Errors
/// [`ServiceError::NotFound`] when there is no such model.
pub async fn dry_run(context: &Context, name: &ModelName) -> Result<Report, ServiceError> {
    let model = registry::find(context, name).await?;
    update::plan(context, &model).await
}

/// Queues every update that the models' schedules call for; returns how many. A model that is busy, or whose update cannot
/// be queued, holds no other back.
///
/// # Errors
/// When the database fails.
pub async fn queue_due(context: &Context) -> Result<usize, ServiceError> {
    let mut db = context.pool.acquire().await?;
    let waiting = samples::fresh_by_model(&mut db).await?;
    let mut n_queued = 0;
    for (id, count, waited_s) in waiting {
        match queue_if_due(&mut db, id, count, waited_s).await {
            Ok(is_queued) => n_queued += usize::from(is_queued),
            Err(error) => {
                tracing::warn!(%error, model = id.0, "its schedule could not be followed")
            }
        }
    }
    Ok(n_queued)
}

async fn queue_if_due(
    db: &mut PgConnection,
    id: ModelId,
    count: i64,
    waited_s: f64,
) -> Result<bool, ServiceError> {
    let mut tx = sqlx::Connection::begin(db).await?;
    // One that is busy is looked at again in a moment.
    let Some(model) = models::try_lock(&mut tx, id).await? else { return Ok(false) };
    let schedule = &model.settings.schedule;
    // What comes later than now came before the clock was set back.
    let may_wait = (0.0..f64::from(schedule.max_delay_s)).contains(&waited_s);
    let is_due = count >= i64::from(schedule.min_samples) || !may_wait;
    if schedule.paused || !is_due || jobs::has_active(&mut tx, id).await? {
        return Ok(false);
    }
    // Counted again under the lock: an update may have taken them in the meantime. One that runs is
    // let end first: it may be about to.
    if samples::count_fresh(&mut tx, id).await? == 0 {
        return Ok(false);
    }
    enqueue(&mut tx, id, Trigger::Schedule, false).await?;
    tx.commit().await?;
    Ok(true)
}

/// One update.
///
/// # Errors
/// [`ServiceError::NotFound`] when there is none of this id.
pub async fn get(context: &Context, id: Uuid) -> Result<Job, ServiceError> {
    let mut db = context.pool.acquire().await?;
    let job = find_in(&mut db, id).await?;
    drop(db);
    // Whoever has seen an update succeed is answered by its version from then on.
    if job.status == UpdateStatus::Succeeded {
        context.serving.expect(context, &job).await;
    }
    Ok(job)
}

/// One update, as soon as it has ended or `patience` is over.
///
/// # Errors
/// [`ServiceError::NotFound`] when there is none of this id.
pub async fn wait(context: &Context, id: Uuid, patience: Duration) -> Result<Job, ServiceError> {
    /// Backstop for a notice that was lost.
    const LOOK_AGAIN: Duration = Duration::from_secs(2);
    let mut notices = context.notices.subscribe();
    let deadline = tokio::time::Instant::now() + patience;
    loop {
        let job = get(context, id).await?;
        let left = deadline.saturating_duration_since(tokio::time::Instant::now());
        if job.status.has_ended() || left.is_zero() {
            return Ok(job);
        }
        let ended = notices::until(&mut notices, |notice| *notice == Notice::Ended(id));
        let _ = tokio::time::timeout(left.min(LOOK_AGAIN), ended).await;
    }
}

async fn find_in(db: &mut PgConnection, id: Uuid) -> Result<Job, ServiceError> {
    jobs::find(db, id).await?.ok_or_else(|| ServiceError::NotFound(format!("update {id}")))
}

/// Updates before the one of id `before`, newest first, of one model or all, in one status or any.
///
/// # Errors
/// [`ServiceError::NotFound`] when there is no such model.
pub async fn list(
    context: &Context,
    name: Option<&ModelName>,
    status: Option<UpdateStatus>,
    before: Option<Uuid>,
    limit: i64,
) -> Result<Vec<Job>, ServiceError> {
    let mut db = context.pool.acquire().await?;
    let model = match name {
        Some(name) => Some(registry::find_in(&mut db, name).await?.id),
        None => None,
    };
    Ok(jobs::list(&mut db, model, status, before, limit).await?)
}

/// What an update decided about each sample, after the one at `after`.
///
/// # Errors
/// [`ServiceError::NotFound`] when there is no such update.
pub async fn decisions(
    context: &Context,
    id: Uuid,
    after: Option<i32>,
    limit: i64,
) -> Result<Vec<DecisionRow>, ServiceError> {
    let mut db = context.pool.acquire().await?;
    find_in(&mut db, id).await?;
    Ok(decisions::list(&mut db, id, after, limit).await?)
}

/// Cancels an update: a queued one at once, a running one between two minibatches.
///
/// # Errors
/// [`ServiceError::Conflict`] when it has ended.
pub async fn cancel(context: &Context, id: Uuid) -> Result<Job, ServiceError> {
    let mut tx = context.pool.begin().await?;
    find_in(&mut tx, id).await?;
    let cancelled = jobs::cancel_queued(&mut tx, id).await?;
    if !cancelled && !jobs::request_cancel(&mut tx, id).await? {
        let job = find_in(&mut tx, id).await?;
        return Err(ServiceError::Conflict(format!("update {id} has ended: it {}", job.status)));
    }
    let job = find_in(&mut tx, id).await?;
    let detail = json!({"update": id});
    audit::record(&mut tx, Action::UpdateCancelled, &job.model, detail).await?;
    if cancelled {
        let (status, error) = (job.status, job.error.clone());
        let end = Happening::End { status, outcome: None, version: None, error };
        events::tell_end(&mut tx, id, job.attempt, &[end]).await?;
    } else {
        notices::send(&mut tx, &Notice::Cancel(id)).await?;
    }
    tx.commit().await?;
    update::forget_snapshot(context, job.model_id, id).await;
    Ok(job)
}

/// The model that an update is of; `None` when there is no such update.
///
/// # Errors
/// When the database is away.
pub async fn model_of(context: &Context, id: Uuid) -> Result<Option<ModelName>, ServiceError> {
    let job = jobs::find(&mut *context.pool.acquire().await?, id).await?;
    Ok(job.map(|job| job.model))
}

/// Queues a failed or cancelled update again.
///
/// # Errors
/// [`ServiceError::Conflict`] when it is neither, or when another update of the model is queued.
pub async fn retry(context: &Context, id: Uuid) -> Result<Job, ServiceError> {
    let job = find_in(&mut *context.pool.acquire().await?, id).await?;
    let (_turn, mut tx) = changes::begin(context, &job.model).await?;
    models::lock(&mut tx, job.model_id).await?;
    if let Some(queued) = jobs::find_queued(&mut tx, job.model_id).await? {
        let detail = format!("update {queued} of model {} is queued already", job.model);
        return Err(ServiceError::Conflict(detail));
    }
    if !jobs::retry(&mut tx, id).await? {
        let detail =
            format!("update {id} is {}; only failed and cancelled ones are retried", job.status);
        return Err(ServiceError::Conflict(detail));
    }
    stored_events::forget(&mut tx, id).await?;
    let detail = json!({"update": id});
    audit::record(&mut tx, Action::UpdateRetried, &job.model, detail).await?;
    notices::send(&mut tx, &Notice::Queued).await?;
    let job = find_in(&mut tx, id).await?;
    tx.commit().await?;
    Ok(job)
}
