//! "The new version does worse than the last one did: go back."
//!
//! Only where `gate.rollback` says so, and only to an older version: forwards is for updates and people.
//! Done twice it changes nothing, and what was moved meanwhile stays where it is.

use serde_json::json;

use super::feedback::window_begins_at;
use super::{Context, ServiceError, audit, registry};
use crate::domain::audit::Action;
use crate::domain::live::{RolledBack, WINDOW};
use crate::domain::name::LIVE;
use crate::learning::noise::Share;
use crate::storage::aliases::{self, Watched};
use crate::storage::models::{self, ModelId};
use crate::storage::notices::{self, Notice};
use crate::storage::predictions;

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
    let new = right(context, watched.model, watched.version).await?;
    let old = right(context, watched.model, watched.previous).await?;
    let least = watched.rollback.min_labelled as usize;
    let is_worse =
        new.n >= least && old.n >= least && new.is_below(old, watched.rollback.confidence);
    Ok(is_worse.then(|| RolledBack {
        from: watched.version,
        accuracy: new.value(),
        labelled: new.n as i64,
        previous_accuracy: old.value(),
        previous_labelled: old.n as i64,
    }))
}

async fn right(context: &Context, model: ModelId, version: i32) -> Result<Share, ServiceError> {
    let mut db = context.pool.acquire().await?;
    let since = window_begins_at();
    let counted = predictions::count_right(&mut db, model, version, since, WINDOW).await?;
    Ok(Share { right: counted.right as usize, n: counted.labelled as usize })
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
    aliases::lock(&mut tx, model.id).await?;
    if !aliases::roll_back(&mut tx, watched, why).await? {
        return Ok(());
    }
    let moved = json!({"alias": LIVE, "version": watched.previous, "because": why});
    audit::record(&mut tx, Action::AliasMoved, &model.name, moved).await?;
    notices::send(&mut tx, &Notice::Changed(model.id.0)).await?;
    tx.commit().await?;
    registry::refresh(context, &model.name).await;
    metrics::counter!("perennial_rollbacks_total").increment(1);
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
