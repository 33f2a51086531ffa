//! "Learn what came in": one run of one update job.
//!
//! Invariants: no transaction or lock is held while a model trains; a checkpoint is complete and
//! durable before a row names it; version, evaluation, the job's result and the alias change in one
//! transaction that is fenced by the run's claim, so a run that lost its job publishes nothing.

use std::sync::Arc;
use std::time::Instant;

use sqlx::PgConnection;

use super::{Context, ServiceError, events, registry};
use crate::domain::evaluation::GateDecision;
use crate::domain::update::{Outcome, Phase, Report, UpdateStatus};
use crate::domain::version::{Origin, VersionStatus};
use crate::fault::step;
use crate::learning::{self, LearnerState, LearningError, Learnt, checkpoint};
use crate::storage::StorageError;
use crate::storage::aliases;
use crate::storage::decisions;
use crate::storage::jobs::{self, Claim, Ending, Job, horizon};
use crate::storage::models::{self, Model, ModelId};
use crate::storage::notices::{self, Notice};
use crate::storage::samples;
use crate::storage::versions::NewVersion;

mod decided;
mod held_out;
mod history;
mod material;
mod pace;
mod run;
mod snapshots;

use material::{Material, Sets};
use pace::Pace;
use snapshots::Keeper;

pub use held_out::HeldOut;
pub(super) use history::{draw, start_of_draw};
pub use pace::give_way;
pub use run::{Run, Stop, Telling};
pub use snapshots::forget_snapshot;

/// How a run failed, decided where it is known.
#[derive(Debug, thiserror::Error)]
pub enum UpdateError {
    /// The run was told to stop.
    #[error("stopped")]
    Stopped(Stop),
    /// What the run began with has changed under it: start over, nobody is to blame.
    #[error("{0}")]
    Outdated(String),
    /// The database or the object store is away: nobody is to blame, and it is done once that is back.
    #[error("{0}")]
    Unavailable(String),
    /// It may go better another time.
    #[error("{0}")]
    Retryable(String),
    /// It will go the same way every time.
    #[error("{0}")]
    Permanent(String),
}

impl From<StorageError> for UpdateError {
    fn from(error: StorageError) -> Self {
        match error {
            StorageError::Damaged { .. } => Self::Permanent(error.to_string()),
            // The text is for the log: clients read a job's error, and have no use for SQL.
            _ if error.is_unavailable() => {
                tracing::error!(%error, "an update waits for its database or its object store");
                let why =
                    "the database or the object store is away; the update is done once it is back";
                Self::Unavailable(why.to_owned())
            }
            _ => {
                tracing::error!(%error, "an update lost its database or its object store");
                Self::Retryable("the database or the object store failed".to_owned())
            }
        }
    }
}

impl From<sqlx::Error> for UpdateError {
    fn from(error: sqlx::Error) -> Self {
        StorageError::from(error).into()
    }
}

/// Does one update from its samples to its version.
///
/// # Errors
/// [`UpdateError`]; nothing is published then.
pub async fn run(context: &Context, claim: Claim, run: Arc<Run>) -> Result<Outcome, UpdateError> {
    step("claimed");
    let job = jobs::find(&mut *context.pool.acquire().await?, claim.id).await?;
    let job = job.ok_or(UpdateError::Stopped(Stop::Lost))?;
    let (material, sets) = gather(context, claim, &job).await?;
    step("gathered");
    let (material, learnt) = compute(context, claim, material, sets, Arc::clone(&run)).await?;
    step("learnt");
    publish(context, claim, &run, material, learnt).await
}

/// Reads what the job learns from: what its first run found pending, and no more, so that a run may
/// go on where another was interrupted.
async fn gather(
    context: &Context,
    claim: Claim,
    job: &Job,
) -> Result<(Material, Sets), UpdateError> {
    let before = horizon::find(&mut *context.pool.acquire().await?, claim.id).await?;
    let deletions = deletions(context, job.model_id).await?;
    let gathered = Material::gather(context, job.model_id, job.forced, before).await;
    // What is missing then may have been deleted between two reads.
    if gathered.is_err() && deletions != self::deletions(context, job.model_id).await? {
        return Err(UpdateError::Outdated("samples were deleted while they were read".to_owned()));
    }
    let (mut material, sets) = gathered?;
    let mut db = context.pool.acquire().await?;
    if before.is_none() && !horizon::set(&mut db, claim, Some(material.horizon())).await? {
        return Err(UpdateError::Stopped(Stop::Lost));
    }
    // From here on they are this update's: however it ends, the schedule waits for newer ones.
    samples::mark_offered(&mut db, material.model.id, &material.pending_hashes()).await?;
    drop(db);
    material.snapshot = snapshots::find(context, claim).await;
    Ok((material, sets))
}

async fn deletions(context: &Context, id: ModelId) -> Result<i64, UpdateError> {
    let model = models::get(&mut *context.pool.acquire().await?, id).await?;
    Ok(model.ok_or(UpdateError::Stopped(Stop::Lost))?.deletions)
}

/// What an update of the model would do now; nothing changes.
pub(super) async fn plan(context: &Context, model: &Model) -> Result<Report, ServiceError> {
    let broken = |error: UpdateError| match error {
        UpdateError::Retryable(why) | UpdateError::Unavailable(why) => ServiceError::Busy(why),
        other => ServiceError::Broken(other.to_string()),
    };
    let (material, sets) =
        Material::gather(context, model.id, false, None).await.map_err(broken)?;
    let pending = material.pending.len();
    let context = context.clone();
    let planned =
        tokio::task::spawn_blocking(move || learning::plan(&material.lesson(sets, &context)))
            .await
            .map_err(|error| ServiceError::Broken(error.to_string()))?;
    let mut report = planned.map_err(|error| ServiceError::Broken(error.to_string()))?.report;
    report.samples.pending = pending;
    Ok(report)
}

/// Learns on a thread of its own, within the pool that bounds the cores that training takes.
async fn compute(
    context: &Context,
    claim: Claim,
    material: Material,
    sets: Sets,
    run: Arc<Run>,
) -> Result<(Material, Learnt), UpdateError> {
    let (sender, receiver) = tokio::sync::oneshot::channel();
    let pool = Arc::clone(&context.training_threads);
    // When this future is dropped the run stops by itself, between two minibatches.
    let guard = run::StopOnDrop::new(Arc::clone(&run));
    let observed = Arc::clone(&run);
    let mut keeper = Keeper::new(context, claim);
    let context = context.clone();
    let work = move || {
        let lesson = material.lesson(sets, &context);
        let learnt = pool.install(|| {
            let mut pace = Pace::begin();
            learning::update(&lesson, &mut |event| {
                pace.rest();
                keeper.take(&event);
                observed.observe(event)
            })
        });
        // Nobody waits any more when the worker is going down.
        let _ = sender.send((material, learnt));
    };
    let spawned = std::thread::Builder::new().name("training".to_owned()).spawn(work);
    spawned.map_err(|error| UpdateError::Retryable(format!("no thread to train on: {error}")))?;
    let received = receiver.await;
    guard.disarm();
    match received {
        Ok((material, Ok(learnt))) => Ok((material, learnt)),
        Ok((_, Err(LearningError::Cancelled))) => {
            Err(UpdateError::Stopped(run.stopping().unwrap_or(Stop::Cancelled)))
        }
        Ok((_, Err(error))) => Err(UpdateError::Permanent(error.to_string())),
        // The thread is gone without a word.
        Err(_) => Err(UpdateError::Retryable("training panicked; see the log".to_owned())),
    }
}

/// Writes the checkpoint, then makes the result known in one fenced transaction.
async fn publish(
    context: &Context,
    claim: Claim,
    run: &Run,
    material: Material,
    learnt: Learnt,
) -> Result<Outcome, UpdateError> {
    let began = Instant::now();
    run.enter(Phase::Publish);
    let Learnt { state, mut report, decisions: decided } = learnt;
    report.samples.pending = material.pending.len();
    let new_version = match state {
        Some(state) => Some(write_checkpoint(context, claim, &material, &state, &report).await?),
        None => None,
    };
    step("checkpoint_written");
    let outcome = match new_version.as_ref().map(|new| new.status) {
        None => Outcome::NothingToLearn,
        Some(VersionStatus::Published) => Outcome::Published,
        Some(VersionStatus::Rejected) => Outcome::Rejected,
    };
    let rows = decided::rows(&decided, &material.sample_ids());
    report.seconds = run.seconds();
    report.seconds.insert(Phase::Publish.to_string(), began.elapsed().as_secs_f64());

    // What it tells from here on becomes known with its result, or not at all.
    let telling = run.telling().await;
    let mut tx = context.pool.begin().await?;
    check_still_valid(&mut tx, &material).await?;
    let id = material.model.id;
    // Under the model's lock nobody removes it any more.
    if let Some(new) = &new_version
        && !context.checkpoints.exists(&new.checkpoint.path).await?
    {
        return Err(UpdateError::Retryable("its checkpoint was removed".to_owned()));
    }
    let mut version = None;
    if let Some(new) = &new_version {
        let number = registry::add_version(&mut tx, id, new).await?;
        if outcome == Outcome::Published {
            samples::mark_learnt(&mut tx, id, number, &material.pending_hashes()).await?;
            samples::withhold(&mut tx, id, &decided::held_back(&decided)).await?;
            let that_count = decided::that_count(&decided);
            let superseded = samples::supersede(&mut tx, id, number, &that_count).await?;
            report.samples.superseded = superseded as usize;
            samples::offer_again(&mut tx, id).await?;
        } else if let Some(last) = material.last_block {
            // What had come by then is no witness of what is refused, nor worth another try by itself. The
            // version's own horizon stays what it has learnt from.
            horizon::set(&mut tx, claim, Some(last)).await?;
            samples::pass_over(&mut tx, id, last).await?;
        }
        version = Some(number);
    }
    decisions::insert(&mut tx, claim.id, &rows).await?;
    let status = UpdateStatus::Succeeded;
    let report = Some(report);
    let ending = Ending { status, outcome: Some(outcome), version, error: None, report };
    notices::send(&mut tx, &Notice::Changed(id.0)).await?;
    if !events::finish(&mut tx, claim, telling.untold(), &ending).await? {
        return Err(UpdateError::Stopped(Stop::Lost));
    }
    step("before_commit");
    tx.commit().await?;
    step("committed");
    Ok(outcome)
}

async fn write_checkpoint(
    context: &Context,
    claim: Claim,
    material: &Material,
    state: &LearnerState,
    report: &Report,
) -> Result<NewVersion, UpdateError> {
    let checkpoint =
        context.checkpoints.write(material.model.id, checkpoint::encode(state)).await?;
    let passed = GateDecision { passed: true, ..GateDecision::default() };
    let gate = report.gate.clone().unwrap_or(passed);
    Ok(NewVersion {
        parent: material.parent.as_ref().map(|parent| parent.version),
        status: if gate.passed { VersionStatus::Published } else { VersionStatus::Rejected },
        origin: Origin::Update,
        update_id: Some(claim.id),
        checkpoint,
        labels: state.labels().iter().map(|label| label.as_str().to_owned()).collect(),
        evaluation: report.evaluation.clone().unwrap_or_default(),
        gate,
    })
}

pub(super) async fn live_version(
    db: &mut PgConnection,
    id: ModelId,
) -> Result<Option<i32>, StorageError> {
    let aliases = aliases::list(db, id).await?;
    Ok(aliases.iter().find(|alias| alias.alias.is_live()).map(|alias| alias.pointing.version))
}

/// Takes the model's lock and that of its aliases, and checks that what the run began with still holds: no sample was
/// deleted, and `live` is where it was. Both stay so until the transaction ends.
async fn check_still_valid(db: &mut PgConnection, material: &Material) -> Result<(), UpdateError> {
    let Some(model) = models::lock(db, material.model.id).await? else {
        return Err(UpdateError::Stopped(Stop::Lost));
    };
    if model.deletions != material.model.deletions {
        return Err(UpdateError::Outdated("samples were deleted while it trained".to_owned()));
    }
    aliases::lock(db, model.id).await?;
    let live = live_version(db, model.id).await?;
    step("live_checked");
    if live != material.parent.as_ref().map(|parent| parent.version) {
        return Err(UpdateError::Outdated("live was moved while it trained".to_owned()));
    }
    Ok(())
}
