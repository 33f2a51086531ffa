//! "Learn what came in": one run of one update job.
//!
//! Invariants: no transaction or lock is held while a model trains; a checkpoint is complete and
//! durable before a row names it; version, evaluation, the job's result and the alias change in one
//! transaction that is fenced by the run's claim, so a run that lost its job publishes nothing.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use sqlx::PgConnection;

use super::{Context, ServiceError};
use crate::domain::evaluation::{AccuracyMatrix, Evaluation, GateDecision};
use crate::domain::input::InputSchema;
use crate::domain::label::Label;
use crate::domain::matrix::{span_of, widened};
use crate::domain::name::{AliasName, LIVE};
use crate::domain::sample::{ContentHash, Samples};
use crate::domain::update::{Outcome, Phase, Report, UpdateStatus};
use crate::domain::version::VersionStatus;
use crate::learning::{self, LearnerState, LearningError, Learnt, Lesson, checkpoint};
use crate::storage::StorageError;
use crate::storage::decisions;
use crate::storage::jobs::{self, Claim, Ending};
use crate::storage::models::{self, Model, ModelId};
use crate::storage::notices::{self, Notice};
use crate::storage::samples::{self, SampleRow};
use crate::storage::versions::{self, NewVersion};

mod decided;
mod held_out;
mod history;
mod run;

pub use run::{Run, Stop};

/// How a run failed, decided where it is known.
#[derive(Debug, thiserror::Error)]
pub enum UpdateError {
    /// The run was told to stop.
    #[error("stopped")]
    Stopped(Stop),
    /// What the run began with has changed under it: start over, nobody is to blame.
    #[error("{0}")]
    Outdated(String),
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
    let (material, sets) = Material::gather(context, job.model_id, job.forced).await?;
    // From here on they are this update's: however it ends, the schedule waits for newer ones.
    let mut db = context.pool.acquire().await?;
    samples::mark_offered(&mut db, material.model.id, &material.pending_hashes()).await?;
    drop(db);
    step("gathered");
    let (material, learnt) = compute(context, material, sets, Arc::clone(&run)).await?;
    step("learnt");
    publish(context, claim, &run, material, learnt).await
}

/// What an update of the model would do now; nothing changes.
pub(super) async fn plan(context: &Context, model: &Model) -> Result<Report, ServiceError> {
    let broken = |error: UpdateError| match error {
        UpdateError::Retryable(why) => ServiceError::Busy(why),
        other => ServiceError::Broken(other.to_string()),
    };
    let (material, sets) = Material::gather(context, model.id, false).await.map_err(broken)?;
    let device = context.device;
    let pending = material.pending.len();
    let held_out = material.n_held_out();
    let planned =
        tokio::task::spawn_blocking(move || learning::plan(&material.lesson(sets, device)))
            .await
            .map_err(|error| ServiceError::Broken(error.to_string()))?;
    let mut report = planned.map_err(|error| ServiceError::Broken(error.to_string()))?.report;
    report.samples.pending = pending;
    report.samples.held_out = held_out;
    Ok(report)
}

/// All that a run reads before it computes.
struct Material {
    model: Model,
    parent: Option<Parent>,
    /// Rows that no version has learnt, held-out ones too.
    pending: Vec<SampleRow>,
    /// Rows drawn from the history.
    drawn: Vec<SampleRow>,
    seed: u64,
}

/// The samples themselves, which learning takes over.
struct Sets {
    experience: Samples,
    history: Samples,
    recent: Samples,
    held_out: Vec<Samples>,
}

/// The live version: what the update trains from.
struct Parent {
    version: i32,
    sha256: String,
    state: LearnerState,
    matrix: AccuracyMatrix,
}

/// Most bytes of new inputs that one update takes; the rest waits for the next.
const MAX_EXPERIENCE_BYTES: usize = 256 << 20;

impl Material {
    /// Reads what the update learns from. Each read is a statement of its own: what changes in
    /// between is noticed when the run publishes.
    async fn gather(
        context: &Context,
        id: ModelId,
        forced: bool,
    ) -> Result<(Self, Sets), UpdateError> {
        let mut db = context.pool.acquire().await?;
        let model = models::get(&mut db, id).await?.ok_or(UpdateError::Stopped(Stop::Lost))?;
        let settings = &model.settings;
        let experiences = versions::published(&mut db, id).await?;
        let parent = Parent::load(context, &mut db, &model, experiences.len() + 1).await?;
        let labels: HashMap<i32, Label> =
            models::labels(&mut db, id).await?.into_iter().map(|(label, n)| (n, label)).collect();
        let empty = Samples::empty(&settings.input);

        let limit = (MAX_EXPERIENCE_BYTES / row_bytes(&settings.input)).max(1);
        let pending = samples::pending(&mut db, id, limit as i64).await?;
        let (own_held_out, new): (Vec<_>, Vec<_>) =
            pending.iter().cloned().partition(|row| row.held_out);

        let seed = u64::from(settings.learning.seed) << 32 | experiences.len() as u64;
        let state = parent.as_ref().map(|parent| &parent.state);
        let wanted = learning::Wanted::by(settings, state, new.len());
        let of_draw = if wanted.exemplars { u64::from(settings.learning.seed) } else { seed };
        let from = history::start_of_draw(of_draw);
        let most = wanted.history.min(limit);
        let per_label = most.div_ceil(labels.len().max(1));
        let drawn = samples::draw(&mut db, id, per_label as i64, from).await?;
        let drawn = history::evenly(drawn, most);
        let history = samples::load(&mut db, drawn.clone(), &labels, empty.clone()).await?;
        let newest = samples::newest(&mut db, id, wanted.recent as i64).await?;
        let recent = samples::load(&mut db, newest.clone(), &labels, empty.clone()).await?;
        let experience = match new.is_empty() && forced {
            true => history.clone(),
            false => samples::load(&mut db, new, &labels, empty.clone()).await?,
        };

        let mut held_out = held_out::of_experiences(&mut db, &model, &experiences, &labels).await?;
        held_out.push(samples::load(&mut db, own_held_out, &labels, empty).await?);
        let sets = Sets { experience, history, recent, held_out };
        let drawn = [drawn, newest].concat();
        Ok((Self { model, parent, pending, drawn, seed }, sets))
    }

    fn lesson(&self, sets: Sets, device: learning::Device) -> Lesson<'_> {
        static NO_ROWS: AccuracyMatrix = Vec::new();
        Lesson {
            settings: &self.model.settings,
            device,
            parent: self.parent.as_ref().map(|parent| &parent.state),
            parent_digest: self.parent.as_ref().map(|parent| parent.sha256.as_str()),
            parent_matrix: self.parent.as_ref().map_or(&NO_ROWS, |parent| &parent.matrix),
            experience: sets.experience,
            history: sets.history,
            recent: sets.recent,
            held_out: sets.held_out,
            seed: self.seed,
        }
    }

    fn n_held_out(&self) -> usize {
        self.pending.iter().filter(|row| row.held_out).count()
    }

    fn pending_hashes(&self) -> Vec<Vec<u8>> {
        self.pending.iter().map(|row| row.hash.0.to_vec()).collect()
    }

    /// What clients call a sample: by their own id, else by its content hash.
    fn sample_ids(&self) -> HashMap<ContentHash, String> {
        let named = |row: &SampleRow| Some((row.hash, row.client_id.clone()?));
        self.pending.iter().chain(&self.drawn).filter_map(named).collect()
    }
}

/// About how many bytes a sample takes in memory.
fn row_bytes(input: &InputSchema) -> usize {
    64 + input.n_numeric() * 4 + input.n_categorical() * 32
}

impl Parent {
    async fn load(
        context: &Context,
        db: &mut PgConnection,
        model: &Model,
        n_experiences: usize,
    ) -> Result<Option<Self>, UpdateError> {
        let Some(version) = live_version(db, model.id).await? else { return Ok(None) };
        let row = versions::find(db, model.id, version)
            .await?
            .ok_or_else(|| StorageError::damaged("alias live", format!("no version {version}")))?;
        let file = context.checkpoints.read(&row.checkpoint).await?;
        let state = checkpoint::decode(&file).map_err(|error| {
            StorageError::damaged(format!("checkpoint of version {version}"), error)
        })?;
        let Evaluation { matrix, span, .. } = row.evaluation;
        let matrix = widened(matrix, span, span_of(n_experiences));
        Ok(Some(Self { version, sha256: row.checkpoint.sha256, state, matrix }))
    }
}

async fn live_version(db: &mut PgConnection, id: ModelId) -> Result<Option<i32>, StorageError> {
    let aliases = versions::aliases(db, id).await?;
    Ok(aliases.iter().find(|alias| alias.alias.is_live()).map(|alias| alias.version))
}

/// Learns on a thread of its own, within the pool that bounds the cores that training takes.
async fn compute(
    context: &Context,
    material: Material,
    sets: Sets,
    run: Arc<Run>,
) -> Result<(Material, Learnt), UpdateError> {
    let (sender, receiver) = tokio::sync::oneshot::channel();
    let (device, pool) = (context.device, Arc::clone(&context.training_threads));
    // When this future is dropped the run stops by itself, between two minibatches.
    let guard = run::StopOnDrop::new(Arc::clone(&run));
    let observed = Arc::clone(&run);
    let work = move || {
        let lesson = material.lesson(sets, device);
        let learnt =
            pool.install(|| learning::update(&lesson, &mut |event| observed.observe(event)));
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
    report.samples.held_out = material.n_held_out();
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

    let mut tx = context.pool.begin().await?;
    check_still_valid(&mut tx, &material).await?;
    let id = material.model.id;
    let mut version = None;
    if let Some(new) = &new_version {
        let number = models::take_version(&mut tx, id).await?;
        versions::insert(&mut tx, id, number, new).await?;
        if outcome == Outcome::Published {
            let live = AliasName::parse(LIVE).map_err(StorageError::from)?;
            versions::put_alias(&mut tx, id, &live, number).await?;
            samples::mark_learnt(&mut tx, id, number, &material.pending_hashes()).await?;
            samples::withhold(&mut tx, id, &decided::held_back(&decided)).await?;
            let that_count = decided::that_count(&decided);
            let superseded = samples::supersede(&mut tx, id, number, &that_count).await?;
            report.samples.superseded = superseded as usize;
        }
        version = Some(number);
    }
    decisions::insert(&mut tx, claim.id, &rows).await?;
    let status = UpdateStatus::Succeeded;
    let report = Some(report);
    let ending = Ending { status, outcome: Some(outcome), version, error: None, report };
    if !jobs::finish(&mut tx, claim, &ending).await? {
        return Err(UpdateError::Stopped(Stop::Lost));
    }
    notices::send(&mut tx, &Notice::Changed(id.0)).await?;
    notices::send(&mut tx, &Notice::Ended(claim.id)).await?;
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
        update_id: claim.id,
        checkpoint,
        labels: state.labels().iter().map(|label| label.as_str().to_owned()).collect(),
        evaluation: report.evaluation.clone().unwrap_or_default(),
        gate,
    })
}

/// Takes the model's lock and checks that what the run began with still holds: no sample was
/// deleted, and `live` is where it was.
async fn check_still_valid(db: &mut PgConnection, material: &Material) -> Result<(), UpdateError> {
    let Some(model) = models::lock(db, material.model.id).await? else {
        return Err(UpdateError::Stopped(Stop::Lost));
    };
    if model.deletions != material.model.deletions {
        return Err(UpdateError::Outdated("samples were deleted while it trained".to_owned()));
    }
    let live = live_version(db, model.id).await?;
    if live != material.parent.as_ref().map(|parent| parent.version) {
        return Err(UpdateError::Outdated("live was moved while it trained".to_owned()));
    }
    Ok(())
}

/// Names a point between two steps of an update. In debug builds the process dies there, as if it
/// were killed, when `PERENNIAL_DIE_AT` names the point: the recovery tests do that at each.
fn step(name: &str) {
    #[cfg(debug_assertions)]
    if std::env::var("PERENNIAL_DIE_AT").is_ok_and(|point| point == name) {
        eprintln!("PERENNIAL_DIE_AT={name}: dying here");
        std::process::abort();
    }
    tracing::debug!(step = name, "update");
}
