//! The queue of update jobs.
//!
//! `attempt` is the fencing token: what a run writes names the attempt it was given, and touches
//! no row once another run has the job. One running job a model is kept by a unique index.

pub mod clock;
pub mod horizon;
mod status;

use sqlx::PgConnection;
use sqlx::types::Json;
use time::OffsetDateTime;
use uuid::Uuid;

use super::StorageError;
use super::models::ModelId;
use crate::domain::name::ModelName;
use crate::domain::update::{Outcome, Phase, Report, Trigger, UpdateStatus};

pub use status::{count_by_status, is_running, status};

/// A job's row.
#[derive(Debug, Clone, PartialEq)]
pub struct Job {
    /// Its id, a UUID v7.
    pub id: Uuid,
    /// The model it updates.
    pub model_id: ModelId,
    /// That model's name.
    pub model: ModelName,
    /// Where it is in its life.
    pub status: UpdateStatus,
    /// Why it was queued.
    pub trigger: Trigger,
    /// Train even when nothing is pending.
    pub forced: bool,
    /// What the run is at, or was when it ended.
    pub phase: Option<Phase>,
    /// Share of the work done, 0 to 1.
    pub progress: f32,
    /// Runs so far, and the fencing token of the present one.
    pub attempt: i32,
    /// Runs that failed.
    pub failures: i32,
    /// Somebody asked the run to stop.
    pub cancel_requested: bool,
    /// How it came out.
    pub outcome: Option<Outcome>,
    /// The version it made.
    pub version: Option<i32>,
    /// A problem object, when the last run failed.
    pub error: Option<serde_json::Value>,
    /// What it did so far.
    pub report: Option<Report>,
    /// When it was queued.
    pub created_at: OffsetDateTime,
    /// When its present or last run began.
    pub started_at: Option<OffsetDateTime>,
    /// When it ended.
    pub finished_at: Option<OffsetDateTime>,
}

/// A run's claim on a job: what fences all that the run writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claim {
    /// The job.
    pub id: Uuid,
    /// The model it updates.
    pub model: ModelId,
    /// The attempt that this run is.
    pub attempt: i32,
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq)]
pub struct Ending {
    /// Succeeded, failed or cancelled.
    pub status: UpdateStatus,
    /// How it came out, when it succeeded.
    pub outcome: Option<Outcome>,
    /// The version it made.
    pub version: Option<i32>,
    /// A problem object, when it failed.
    pub error: Option<serde_json::Value>,
    /// What it did.
    pub report: Option<Report>,
}

/// The row as the database tells it, before its words are checked.
struct RawJob {
    id: Uuid,
    model_id: i64,
    model: String,
    status: String,
    trigger: String,
    forced: bool,
    phase: Option<String>,
    progress: f32,
    attempt: i32,
    failures: i32,
    cancel_requested: bool,
    outcome: Option<String>,
    version: Option<i32>,
    error: Option<serde_json::Value>,
    report: Option<Json<Report>>,
    created_at: OffsetDateTime,
    started_at: Option<OffsetDateTime>,
    finished_at: Option<OffsetDateTime>,
}

impl TryFrom<RawJob> for Job {
    type Error = StorageError;
    fn try_from(raw: RawJob) -> Result<Self, StorageError> {
        Ok(Self {
            id: raw.id,
            model_id: ModelId(raw.model_id),
            model: ModelName::parse(raw.model)?,
            status: UpdateStatus::parse(&raw.status)?,
            trigger: Trigger::parse(&raw.trigger)?,
            forced: raw.forced,
            phase: raw.phase.as_deref().map(Phase::parse).transpose()?,
            progress: raw.progress,
            attempt: raw.attempt,
            failures: raw.failures,
            cancel_requested: raw.cancel_requested,
            outcome: raw.outcome.as_deref().map(Outcome::parse).transpose()?,
            version: raw.version,
            error: raw.error,
            report: raw.report.map(|report| report.0),
            created_at: raw.created_at,
            started_at: raw.started_at,
            finished_at: raw.finished_at,
        })
    }
}

/// The job of this id.
pub async fn find(db: &mut PgConnection, id: Uuid) -> Result<Option<Job>, StorageError> {
    let raw = sqlx::query_as!(
        RawJob,
        r#"SELECT u.id, u.model_id, m.name AS model, u.status, u.trigger, u.forced, u.phase, u.progress,
                  u.attempt, u.failures, u.cancel_requested, u.outcome, u.version, u.error,
                  u.report AS "report: Json<Report>", u.created_at, u.started_at, u.finished_at
           FROM updates u JOIN models m ON m.id = u.model_id WHERE u.id = $1"#,
        id,
    )
    .fetch_optional(db)
    .await?;
    raw.map(Job::try_from).transpose()
}

/// Jobs before the one of id `before`, newest first, of one model or all, in one status or any.
pub async fn list(
    db: &mut PgConnection,
    model: Option<ModelId>,
    status: Option<UpdateStatus>,
    before: Option<Uuid>,
    limit: i64,
) -> Result<Vec<Job>, StorageError> {
    let rows = sqlx::query_as!(
        RawJob,
        r#"SELECT u.id, u.model_id, m.name AS model, u.status, u.trigger, u.forced, u.phase, u.progress,
                  u.attempt, u.failures, u.cancel_requested, u.outcome, u.version, u.error,
                  u.report AS "report: Json<Report>", u.created_at, u.started_at, u.finished_at
           FROM updates u JOIN models m ON m.id = u.model_id
           WHERE ($1::bigint IS NULL OR u.model_id = $1) AND ($2::text IS NULL OR u.status = $2)
                 AND ($3::uuid IS NULL OR u.id < $3)
           ORDER BY u.id DESC LIMIT $4"#,
        model.map(|model| model.0),
        status.map(UpdateStatus::as_str),
        before,
        limit,
    )
    .fetch_all(db)
    .await?;
    rows.into_iter().map(Job::try_from).collect()
}

/// The model's queued job that takes further requests in, if there is one: it has no horizon yet.
pub async fn find_queued(
    db: &mut PgConnection,
    model: ModelId,
) -> Result<Option<Uuid>, StorageError> {
    Ok(sqlx::query_scalar!(
        "SELECT id FROM updates WHERE model_id = $1 AND status = 'queued' AND horizon IS NULL
         ORDER BY id LIMIT 1",
        model.0,
    )
    .fetch_optional(db)
    .await?)
}

/// Whether a job of the model is queued or running.
pub async fn has_active(db: &mut PgConnection, model: ModelId) -> Result<bool, StorageError> {
    Ok(sqlx::query_scalar!(
        r#"SELECT EXISTS (SELECT FROM updates
                          WHERE model_id = $1 AND status IN ('queued', 'running')) AS "active!""#,
        model.0,
    )
    .fetch_one(db)
    .await?)
}

/// Queues a job; the caller holds the model's lock and found none queued.
pub async fn insert(
    db: &mut PgConnection,
    id: Uuid,
    model: ModelId,
    trigger: Trigger,
    forced: bool,
) -> Result<(), StorageError> {
    sqlx::query!(
        "INSERT INTO updates (id, model_id, trigger, forced) VALUES ($1, $2, $3, $4)",
        id,
        model.0,
        trigger.as_str(),
        forced,
    )
    .execute(db)
    .await?;
    Ok(())
}

/// Hurries a queued job: it may run at once, and is forced if the new request is.
pub async fn hurry(db: &mut PgConnection, id: Uuid, forced: bool) -> Result<(), StorageError> {
    sqlx::query!(
        "UPDATE updates SET run_after = now(), forced = forced OR $2 WHERE id = $1 AND status = 'queued'",
        id,
        forced,
    )
    .execute(db)
    .await?;
    Ok(())
}

/// Claims the oldest job that may run, of a model that runs none, for `lease_s` seconds.
pub async fn claim(db: &mut PgConnection, lease_s: f64) -> Result<Option<Claim>, StorageError> {
    let claimed = sqlx::query!(
        "UPDATE updates SET status = 'running', attempt = attempt + 1, started_at = now(),
                leased_until = now() + make_interval(secs => $1), lease_s = $1,
                phase = 'preprocess', progress = 0
         WHERE id = (SELECT u.id FROM updates u
                     WHERE u.status = 'queued' AND u.run_after <= now()
                           AND NOT EXISTS (SELECT FROM updates r
                                           WHERE r.model_id = u.model_id AND r.status = 'running')
                     ORDER BY least(u.created_at, u.run_after) LIMIT 1 FOR UPDATE SKIP LOCKED)
         RETURNING id, model_id, attempt",
        lease_s,
    )
    .fetch_optional(db)
    .await
    .map_err(StorageError::from);
    match claimed {
        Ok(row) => Ok(row.map(|row| {
            let model = ModelId(row.model_id);
            Claim { id: row.id, model, attempt: row.attempt }
        })),
        // Another worker has just begun another job of the same model.
        Err(error) if error.is_unique_violation() => Ok(None),
        Err(error) => Err(error),
    }
}

/// Renews the lease, carries progress up, and tells whether the run is to stop; `None` when the
/// job is no longer this run's.
pub async fn heartbeat(
    db: &mut PgConnection,
    claim: Claim,
    lease_s: f64,
    phase: Phase,
    progress: f32,
    report: &Report,
) -> Result<Option<bool>, StorageError> {
    Ok(sqlx::query_scalar!(
        "UPDATE updates SET leased_until = now() + make_interval(secs => $3), phase = $4, progress = $5,
                report = $6
         WHERE id = $1 AND attempt = $2 AND status = 'running' RETURNING cancel_requested",
        claim.id,
        claim.attempt,
        lease_s,
        phase.as_str(),
        progress,
        Json(report) as _,
    )
    .fetch_optional(db)
    .await?)
}

/// Ends a run; false when the job is no longer this run's.
pub async fn finish(
    db: &mut PgConnection,
    claim: Claim,
    ending: &Ending,
) -> Result<bool, StorageError> {
    let done = sqlx::query!(
        "UPDATE updates SET status = $3, outcome = $4, version = $5, error = $6,
                report = coalesce($7, report), leased_until = NULL, finished_at = now(),
                phase = CASE WHEN $3 = 'succeeded' THEN 'publish' ELSE phase END,
                progress = CASE WHEN $3 = 'succeeded' THEN 1 ELSE progress END
         WHERE id = $1 AND attempt = $2 AND status = 'running'",
        claim.id,
        claim.attempt,
        ending.status.as_str(),
        ending.outcome.map(Outcome::as_str),
        ending.version,
        ending.error,
        ending.report.as_ref().map(Json) as _,
    )
    .execute(db)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Puts a job back into the queue for `delay_s` seconds at least, with the error that it shows meanwhile; `counts` says whether the
/// run counts as a failure. False when the job is no longer this run's.
pub async fn requeue(
    db: &mut PgConnection,
    claim: Claim,
    delay_s: f64,
    error: Option<&serde_json::Value>,
    counts: bool,
) -> Result<bool, StorageError> {
    let done = sqlx::query!(
        "UPDATE updates SET status = 'queued', leased_until = NULL, phase = NULL, progress = 0,
                run_after = now() + make_interval(secs => $3), error = $4,
                failures = failures + CASE WHEN $5 THEN 1 ELSE 0 END
         WHERE id = $1 AND attempt = $2 AND status = 'running'",
        claim.id,
        claim.attempt,
        delay_s,
        error,
        counts,
    )
    .execute(db)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// The running jobs whose lease has run out: their workers are gone.
pub async fn expired(db: &mut PgConnection) -> Result<Vec<Job>, StorageError> {
    let rows = sqlx::query_as!(
        RawJob,
        r#"SELECT u.id, u.model_id, m.name AS model, u.status, u.trigger, u.forced, u.phase, u.progress,
                  u.attempt, u.failures, u.cancel_requested, u.outcome, u.version, u.error,
                  u.report AS "report: Json<Report>", u.created_at, u.started_at, u.finished_at
           FROM updates u JOIN models m ON m.id = u.model_id
           WHERE u.status = 'running' AND u.leased_until < now()
           FOR UPDATE OF u SKIP LOCKED"#,
    )
    .fetch_all(db)
    .await?;
    rows.into_iter().map(Job::try_from).collect()
}

/// Cancels a queued job; false when it is not queued.
pub async fn cancel_queued(db: &mut PgConnection, id: Uuid) -> Result<bool, StorageError> {
    let done = sqlx::query!(
        "UPDATE updates SET status = 'cancelled', finished_at = now() WHERE id = $1 AND status = 'queued'",
        id,
    )
    .execute(db)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Asks a running job to stop; false when it is not running.
pub async fn request_cancel(db: &mut PgConnection, id: Uuid) -> Result<bool, StorageError> {
    let done = sqlx::query!(
        "UPDATE updates SET cancel_requested = true WHERE id = $1 AND status = 'running'",
        id,
    )
    .execute(db)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Queues a failed or cancelled job again, as if it had never run; false when it is neither.
pub async fn retry(db: &mut PgConnection, id: Uuid) -> Result<bool, StorageError> {
    let done = sqlx::query!(
        "UPDATE updates SET status = 'queued', trigger = 'manual', failures = 0, run_after = now(),
                cancel_requested = false, error = NULL, phase = NULL, progress = 0,
                started_at = NULL, finished_at = NULL, horizon = NULL
         WHERE id = $1 AND status IN ('failed', 'cancelled')",
        id,
    )
    .execute(db)
    .await?;
    Ok(done.rows_affected() == 1)
}
