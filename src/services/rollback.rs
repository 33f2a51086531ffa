//! "The new version does worse than the last one did: go back."
//!
//! Only where `gate.rollback` says so, and only to an older version: forwards is for updates and people.
//! Done twice it changes nothing, and what was moved meanwhile stays where it is. Invariant: what is judged by
//! is fixed by when `live` was moved and bounded in number, so that looking again and again, from any process,
//! gives chance no more than the setting allows.

use serde_json::json;
use time::Duration;

use super::{Context, ServiceError, audit, events, registry};
use crate::domain::audit::Action;
use crate::domain::event::Happening;
use crate::domain::live::{RolledBack, WINDOW, WINDOW_DAYS};
use crate::domain::name::LIVE;
use crate::domain::settings::RollbackSettings;
use crate::learning::noise::Share;
use crate::storage::aliases::{self, Watched};
use crate::storage::models;
use crate::storage::notices::{self, Notice};
use crate::storage::predictions::worth;

/// Returns every `live` alias whose version turned out worse than the one before.
///
/// # Errors
/// When the database fails. One that cannot return is logged and passed over.
pub async fn roll_back(context: &Context) -> Result<(), ServiceError> {
    let mut db = context.pool.acquire().await?;
    let watched = aliases::watched(&mut db).await?;
    drop(db);
    for watched in watched {
        let returned = async {
            match against(context, &watched).await? {
                Some(why) => return_to(context, &watched, &why).await,
                None => Ok(()),
            }
        };
        if let Err(error) = returned.await {
            let Watched { model, version, .. } = watched;
            tracing::error!(%error, model = model.0, version, "live could not return");
        }
    }
    Ok(())
}

/// What speaks against the version, if enough labels came and it is beyond chance.
async fn against(context: &Context, watched: &Watched) -> Result<Option<RolledBack>, ServiceError> {
    let since = watched.moved_at - Duration::days(WINDOW_DAYS);
    let mut db = context.pool.acquire().await?;
    let compared = worth::compared(&mut db, watched, since, WINDOW).await?;
    let new = share(compared.right, compared.labelled);
    let old = share(compared.previous_right, compared.previous_labelled);
    let RollbackSettings { min_labelled, confidence } = watched.rollback;
    let least = min_labelled as usize;
    // From the first look to the last what counts grows so much in number.
    let growth = WINDOW as f64 / f64::from(min_labelled);
    let is_worse = new.n >= least && old.n >= least && new.is_below(old, confidence, growth);
    Ok(is_worse.then(|| RolledBack {
        from: watched.version,
        accuracy: new.value(),
        labelled: compared.labelled,
        previous_accuracy: old.value(),
        previous_labelled: compared.previous_labelled,
    }))
}

fn share(right: i64, n: i64) -> Share {
    Share { right: right as usize, n: n as usize }
}

/// The version is loaded first, so that `live` never points at what cannot answer.
async fn return_to(
    context: &Context,
    watched: &Watched,
    why: &RolledBack,
) -> Result<(), ServiceError> {
    let mut db = context.pool.acquire().await?;
    let Some(model) = models::get(&mut db, watched.model).await? else { return Ok(()) };
    drop(db);
    context.serving.warm(context, &model, watched.previous).await?;
    let mut tx = context.pool.begin().await?;
    // The model's row comes first, as everywhere: its event names it, under a lock that is taken last.
    if !models::hold(&mut tx, model.id).await? {
        return Ok(());
    }
    aliases::lock(&mut tx, model.id).await?;
    if !aliases::roll_back(&mut tx, watched, why).await? {
        return Ok(());
    }
    let moved = json!({"alias": LIVE, "version": watched.previous, "because": why});
    audit::record(&mut tx, Action::AliasMoved, &model.name, moved).await?;
    notices::send(&mut tx, &Notice::Changed(model.id.0)).await?;
    let happening = Happening::Rollback { to: watched.previous, why: why.clone() };
    events::tell_of_model(&mut tx, model.id, &happening).await?;
    tx.commit().await?;
    registry::refresh(context, &model.name).await;
    metrics::counter!("perennial_rollbacks_total", "model" => model.name.to_string()).increment(1);
    tracing::warn!(
        model = %model.name,
        from = why.from,
        to = watched.previous,
        accuracy = why.accuracy,
        labelled = why.labelled,
        previous_accuracy = why.previous_accuracy,
        previous_labelled = why.previous_labelled,
        "live returned to the version before"
    );
    Ok(())
}
