//! The background worker: claims update jobs and runs them; beside them it does its chores (worker/chores.rs).
//!
//! Invariants: a run renews its lease by a connection of its own, so that a busy pool cannot lapse
//! it; a run that could not renew it for a whole lease stops by itself. Compute happens elsewhere
//! (services/update.rs): nothing here blocks.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use sqlx::postgres::{PgConnectOptions, PgConnection};
use tokio::sync::broadcast;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::domain::event::Happening;
use crate::domain::update::UpdateStatus;
use crate::fault::step;
use crate::services::update::{self, Run, Stop, UpdateError};
use crate::services::{Context, events as told};
use crate::storage::jobs::{self, Claim, Ending, horizon};
use crate::storage::notices::{self, Notice};
use crate::storage::{StorageError, events, samples};

mod chores;

/// How a worker works.
#[derive(Debug, Clone)]
pub struct WorkerSettings {
    /// Updates that run at a time.
    pub slots: usize,
    /// How long a run holds its job without a sign of life.
    pub lease: Duration,
    /// Runs of one job that may fail before it is given up.
    pub max_failures: i32,
    /// How old a file is that nothing names before it is removed.
    pub orphan_age: Duration,
    /// Days that predictions are remembered.
    pub prediction_days: u16,
    /// For the heartbeats' own connections.
    pub database: PgConnectOptions,
}

/// How often the queue is looked at when no notice comes.
const POLL: Duration = Duration::from_secs(2);
/// Back-off after the first failure; doubles with each further one.
const FIRST_BACK_OFF_S: f64 = 2.0;
/// Longest back-off.
const MAX_BACK_OFF_S: f64 = 300.0;
/// Longest wait for a store that is away: once it is back, updates are not to wait for long.
const MAX_OUTAGE_BACK_OFF_S: f64 = 60.0;

/// Works until `shutdown`, then hands running jobs back and returns.
pub async fn run(context: Context, settings: WorkerSettings, shutdown: CancellationToken) {
    let worker = Arc::new(Worker { context, settings, shutdown });
    let tasks = TaskTracker::new();
    for _ in 0..worker.settings.slots {
        let worker = Arc::clone(&worker);
        tasks.spawn(async move { worker.work().await });
    }
    chores::begin(&worker, &tasks);
    tasks.close();
    tasks.wait().await;
}

struct Worker {
    context: Context,
    settings: WorkerSettings,
    shutdown: CancellationToken,
}

impl Worker {
    /// One slot: claims and runs job after job.
    async fn work(&self) {
        let mut notices = self.context.notices.subscribe();
        while !self.shutdown.is_cancelled() {
            let asked_at = Instant::now();
            step("claiming");
            match self.claim().await {
                Ok(Some(claim)) => self.run_job(claim, asked_at).await,
                Ok(None) => self.until_queued(&mut notices).await,
                Err(error) => {
                    tracing::warn!(%error, "no job can be claimed; trying again");
                    self.pause(POLL).await;
                }
            }
        }
    }

    async fn claim(&self) -> Result<Option<Claim>, StorageError> {
        let mut db = self.context.pool.acquire().await?;
        jobs::claim(&mut db, self.settings.lease.as_secs_f64()).await
    }

    /// Until a job may be there: a notice, the next poll, or shutdown.
    async fn until_queued(&self, notices: &mut broadcast::Receiver<Notice>) {
        // An update that ended makes room for the model's next one.
        let is_work = |notice: &Notice| matches!(notice, Notice::Queued | Notice::Ended(_));
        let queued = notices::until(notices, is_work);
        let _ = self.shutdown.run_until_cancelled(timeout(POLL, queued)).await;
    }

    async fn pause(&self, duration: Duration) {
        self.shutdown.run_until_cancelled(sleep(duration)).await;
    }

    /// One run of a job, with its heartbeat beside it. `asked_at`: when its claim was asked for.
    async fn run_job(&self, claim: Claim, asked_at: Instant) {
        tracing::info!(update = %claim.id, attempt = claim.attempt, "update runs");
        let began = Instant::now();
        let run = Arc::new(Run::default());
        let update = update::run(&self.context, claim, Arc::clone(&run));
        tokio::pin!(update);
        let ended = tokio::select! {
            // The heartbeat returns only once the job is no longer this run's.
            () = self.keep_alive(claim, asked_at, &run) => (&mut update).await,
            ended = &mut update => ended,
        };
        let seconds = began.elapsed().as_secs_f64();
        let word = match &ended {
            Ok(outcome) => outcome.as_str(),
            Err(UpdateError::Stopped(Stop::Cancelled)) => "cancelled",
            Err(
                UpdateError::Stopped(_) | UpdateError::Outdated(_) | UpdateError::Unavailable(_),
            ) => "handed_back",
            Err(_) => "failed",
        };
        metrics::counter!("perennial_updates_total", "outcome" => word).increment(1);
        metrics::histogram!("perennial_update_duration_seconds").record(seconds);
        tracing::info!(update = %claim.id, attempt = claim.attempt, outcome = word, seconds, "update ended");
        if let Err(error) = ended {
            self.settle(claim, &run, error).await;
        }
        update::forget_snapshot(&self.context, claim.model, claim.id).await;
    }

    /// Renews the lease until it is lost, carrying progress up and the wish to stop down.
    ///
    /// The lease counts from before the database was asked for it, so that it is over here no
    /// later than there. A worker that is paused for longer cannot notice: for a moment two run
    /// the same job then, until its next beat, and only the other's attempt may finish it.
    async fn keep_alive(&self, claim: Claim, asked_at: Instant, run: &Run) {
        let lease = self.settings.lease;
        let mut notices = self.context.notices.subscribe();
        let mut db = None;
        let mut ends_at = asked_at + lease;
        loop {
            let asked_at = Instant::now();
            // A connection that hangs is as good as none.
            let patience = ends_at.saturating_duration_since(asked_at).clamp(lease / 10, lease / 3);
            let beat = timeout(patience, self.beat(&mut db, claim, run)).await;
            match beat.unwrap_or(Err(StorageError::Database(sqlx::Error::PoolTimedOut))) {
                Ok(Some(cancel)) => {
                    ends_at = asked_at + lease;
                    if cancel {
                        run.stop(Stop::Cancelled);
                    }
                }
                Ok(None) => return run.stop(Stop::Lost),
                Err(error) => {
                    tracing::warn!(%error, update = %claim.id, "the lease could not be renewed");
                    db = None;
                    if Instant::now() >= ends_at {
                        return run.stop(Stop::Lost);
                    }
                }
            }
            let wait = async {
                while !matches!(notices.recv().await, Ok(Notice::Cancel(id)) if id == claim.id) {}
            };
            // Often enough for a third of the lease, and for a progress bar.
            let pause = (lease / 3).min(Duration::from_millis(500));
            tokio::select! {
                _ = timeout(pause, wait) => {}
                () = self.shutdown.cancelled(), if run.stopping().is_none() => run.stop(Stop::HandBack),
            }
        }
    }

    async fn beat(
        &self,
        db: &mut Option<PgConnection>,
        claim: Claim,
        run: &Run,
    ) -> Result<Option<bool>, StorageError> {
        let db = match db {
            Some(db) => db,
            None => db.insert(notices::connect(&self.settings.database).await?),
        };
        let (phase, progress, report) = run.snapshot();
        let lease_s = self.settings.lease.as_secs_f64();
        let cancel = jobs::heartbeat(db, claim, lease_s, phase, progress, &report).await?;
        if cancel.is_some() {
            tell(db, claim, run).await?;
        }
        Ok(cancel)
    }

    /// Writes down how a run failed, once the database is there; what cannot be written within a lease the next sweep of
    /// leases will.
    async fn settle(&self, claim: Claim, run: &Run, error: UpdateError) {
        let ends_at = Instant::now() + self.settings.lease;
        while let Err(failure) = self.try_settle(claim, run, &error).await {
            tracing::warn!(error = %failure, update = %claim.id, "the end of a run could not be written");
            let is_over = Instant::now() >= ends_at || self.shutdown.is_cancelled();
            if is_over || !failure.is_unavailable() {
                return;
            }
            self.pause(POLL).await;
        }
    }

    async fn try_settle(
        &self,
        claim: Claim,
        run: &Run,
        error: &UpdateError,
    ) -> Result<(), StorageError> {
        let mut db = self.context.pool.begin().await?;
        match error {
            UpdateError::Stopped(Stop::Lost) => {
                tracing::warn!(update = %claim.id, attempt = claim.attempt, "the job is another run's");
            }
            UpdateError::Stopped(Stop::Cancelled) => {
                let report = Some(run.snapshot().2);
                let ending = ending(UpdateStatus::Cancelled, None, report);
                told::finish(&mut db, claim, run.telling().await.untold(), &ending).await?;
            }
            UpdateError::Stopped(Stop::HandBack) | UpdateError::Outdated(_) => {
                tracing::info!(update = %claim.id, reason = %error, "the job goes back into the queue");
                if matches!(error, UpdateError::Outdated(_)) {
                    horizon::set(&mut db, claim, None).await?;
                }
                requeue(&mut db, claim, 0.0, None, false).await?;
            }
            // No fault of the update's: it is not given up, however long that lasts.
            UpdateError::Unavailable(why) => {
                let delay_s = FIRST_BACK_OFF_S * 2f64.powi(claim.attempt - 1);
                let delay_s = delay_s.min(MAX_OUTAGE_BACK_OFF_S);
                tracing::error!(update = %claim.id, attempt = claim.attempt, delay_s, why, "update put off");
                requeue(&mut db, claim, delay_s, Some(&problem(why)), false).await?;
            }
            UpdateError::Retryable(why) => {
                let failed = jobs::find(&mut db, claim.id).await?;
                let failures = failed.map_or(0, |job| job.failures) + 1;
                self.fail(&mut db, claim, failures, run.telling().await.untold(), why).await?;
            }
            UpdateError::Permanent(why) => {
                let failures = self.settings.max_failures;
                self.fail(&mut db, claim, failures, run.telling().await.untold(), why).await?;
            }
        }
        Ok(db.commit().await?)
    }

    /// Counts a failure: back into the queue for later, or given up.
    async fn fail(
        &self,
        db: &mut PgConnection,
        claim: Claim,
        failures: i32,
        untold: Vec<Happening>,
        why: &str,
    ) -> Result<(), StorageError> {
        tracing::error!(update = %claim.id, attempt = claim.attempt, failures, why, "update failed");
        let problem = problem(why);
        if failures >= self.settings.max_failures {
            // What did not fit into it is no reason for the schedule to try the same again, either.
            if let Some(last) = samples::last_block(db, claim.model).await? {
                samples::pass_over(db, claim.model, last).await?;
            }
            let ending = ending(UpdateStatus::Failed, Some(problem), None);
            told::finish(db, claim, untold, &ending).await?;
        } else {
            let back_off = FIRST_BACK_OFF_S * 2f64.powi(failures - 1);
            requeue(db, claim, back_off.min(MAX_BACK_OFF_S), Some(&problem), true).await?;
        }
        Ok(())
    }
}

fn ending(
    status: UpdateStatus,
    error: Option<Value>,
    report: Option<crate::domain::update::Report>,
) -> Ending {
    Ending { status, outcome: None, version: None, error, report }
}

/// The problem object that a failed update shows.
fn problem(why: &str) -> Value {
    json!({
        "type": "about:blank",
        "title": "The update failed",
        "status": 500,
        "detail": why,
    })
}

/// Tells what has happened in the run, unless others are telling something right now: then the next
/// beat does.
async fn tell(db: &mut PgConnection, claim: Claim, run: &Run) -> Result<(), StorageError> {
    let Some(telling) = run.try_telling() else { return Ok(()) };
    let untold = telling.untold();
    if !untold.is_empty() && events::try_insert(db, claim, &untold).await? {
        telling.told(untold.len());
        notices::send(db, &Notice::Told).await?;
    }
    Ok(())
}

/// Puts a job back into the queue, and says that its run ended.
async fn requeue(
    db: &mut PgConnection,
    claim: Claim,
    delay_s: f64,
    error: Option<&Value>,
    counts: bool,
) -> Result<(), StorageError> {
    jobs::requeue(db, claim, delay_s, error, counts).await?;
    notices::send(db, &Notice::Ended(claim.id)).await
}
