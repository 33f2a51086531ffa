//! What a worker does again and again beside its updates: it keeps the queue tidy, and removes what is not kept.
//!
//! Invariant: each chore goes by itself. What one waits for, or fails at, holds no other back: a schedule does not wait for an
//! object store that stalls.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio_util::task::TaskTracker;

use super::{MAX_BACK_OFF_S, Worker, ending};
use crate::domain::update::UpdateStatus;
use crate::services::{
    ServiceError, events as told, remember, requests, retention, rollback, update,
};
use crate::storage::jobs::{self, Claim, clock};
use crate::storage::{events, idempotency};

/// How often schedules and leases are looked at, and how soon a chore goes on that has more to do.
const TIDY: Duration = Duration::from_secs(1);
/// How often it is looked whether `live` is to return.
const LOOK_BACK: Duration = Duration::from_secs(5);
/// How often what models do not keep is removed, and how soon a chore is tried again.
const SWEEP: Duration = Duration::from_secs(60);
/// How often what is old is removed.
const REMOVE_OLD: Duration = Duration::from_secs(3600);

/// Something that is done again and again; tells whether there is more to do at once.
struct Chore {
    what: &'static str,
    pause: Duration,
    work: for<'a> fn(&'a Worker) -> BoxFuture<'a, Result<bool, ServiceError>>,
}

const CHORES: [Chore; 10] = [
    Chore {
        what: "queueing what schedules call for",
        pause: TIDY,
        work: |worker| {
            Box::pin(async move { requests::queue_due(&worker.context).await.map(|_| false) })
        },
    },
    Chore {
        what: "following the database's clock",
        pause: TIDY,
        work: |worker| Box::pin(worker.follow_clock()),
    },
    Chore {
        what: "taking back what dead workers held",
        pause: TIDY,
        work: |worker| Box::pin(worker.reclaim()),
    },
    Chore {
        what: "returning to better versions",
        pause: LOOK_BACK,
        work: |worker| {
            Box::pin(async move { rollback::roll_back(&worker.context).await.map(|()| false) })
        },
    },
    Chore {
        what: "removing what models do not keep",
        pause: SWEEP,
        work: |worker| Box::pin(retention::sweep(&worker.context)),
    },
    Chore {
        what: "dropping kept samples that were deleted",
        pause: SWEEP,
        work: |worker| {
            Box::pin(async move {
                let context = &worker.context;
                context.held_out.drop_deleted(&mut *context.pool.acquire().await?).await?;
                Ok(false)
            })
        },
    },
    Chore {
        what: "removing files that nothing names",
        pause: REMOVE_OLD,
        work: |worker| {
            let age = worker.settings.orphan_age;
            Box::pin(
                async move { retention::sweep_orphans(&worker.context, age).await.map(|_| false) },
            )
        },
    },
    Chore {
        what: "keeping the days of predictions",
        pause: REMOVE_OLD,
        work: |worker| {
            let days = worker.settings.prediction_days;
            Box::pin(
                async move { remember::keep_days(&worker.context, days).await.map(|()| false) },
            )
        },
    },
    Chore {
        what: "removing old answers",
        pause: REMOVE_OLD,
        work: |worker| {
            Box::pin(async move {
                idempotency::sweep(&mut *worker.context.pool.acquire().await?).await?;
                Ok(false)
            })
        },
    },
    Chore {
        what: "removing old events",
        pause: REMOVE_OLD,
        work: |worker| {
            Box::pin(async move {
                events::sweep(&mut *worker.context.pool.acquire().await?).await?;
                Ok(false)
            })
        },
    },
];

/// Begins all chores; they end on shutdown.
pub(super) fn begin(worker: &Arc<Worker>, tasks: &TaskTracker) {
    for chore in CHORES {
        let worker = Arc::clone(worker);
        tasks.spawn(async move { worker.repeat(&chore).await });
    }
}

impl Worker {
    async fn repeat(&self, chore: &Chore) {
        loop {
            let pause = match self.shutdown.run_until_cancelled((chore.work)(self)).await {
                None => return,
                Some(Ok(true)) => TIDY,
                Some(Ok(false)) => chore.pause,
                Some(Err(error)) => {
                    tracing::warn!(%error, "{} failed", chore.what);
                    chore.pause.min(SWEEP)
                }
            };
            self.pause(pause).await;
            if self.shutdown.is_cancelled() {
                return;
            }
        }
    }

    /// Lets no job wait for the time that it was before the database's clock was set back.
    async fn follow_clock(&self) -> Result<bool, ServiceError> {
        let mut db = self.context.pool.acquire().await?;
        let n_leases = clock::shorten_leases(&mut db).await?;
        let n_waits = clock::shorten_waits(&mut db, MAX_BACK_OFF_S).await?;
        if n_leases + n_waits > 0 {
            tracing::warn!(n_leases, n_waits, "the database's clock was set back");
        }
        Ok(false)
    }

    /// Takes back the jobs whose workers gave no sign of life for a whole lease.
    async fn reclaim(&self) -> Result<bool, ServiceError> {
        let mut tx = self.context.pool.begin().await?;
        let expired = jobs::expired(&mut tx).await?;
        for job in &expired {
            let claim = Claim { id: job.id, model: job.model_id, attempt: job.attempt };
            if job.cancel_requested {
                let ending = ending(UpdateStatus::Cancelled, None, None);
                told::finish(&mut tx, claim, Vec::new(), &ending).await?;
            } else {
                let why = "the worker that ran it went away without a word";
                self.fail(&mut tx, claim, job.failures + 1, Vec::new(), why).await?;
            }
        }
        tx.commit().await?;
        for job in expired {
            let context = self.context.clone();
            // On its own: the store may stall, and other leases run out meanwhile.
            tokio::spawn(async move {
                update::forget_snapshot(&context, job.model_id, job.id).await;
            });
        }
        Ok(false)
    }
}
