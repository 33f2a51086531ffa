//! "Forget this batch, this sample, this person."
//!
//! Invariant: what is forgotten is gone from storage, from replay and from pending work in one
//! transaction under the model's lock, block by block, so that memory stays bounded; an update that has
//! read it already starts over. Versions that learnt from it are immutable: they are told, and on
//! request the model goes back to the last one that did not and learns the rest again.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use serde_json::json;
use sqlx::PgConnection;

use super::requests::{self, UpdateRef};
use super::{Context, ServiceError, audit, changes, registry};
use crate::domain::audit::Action;
use crate::domain::name::{AliasName, LIVE, ModelName};
use crate::domain::update::Trigger;
use crate::domain::version::Pointing;
use crate::storage::models::{self, Model};
use crate::storage::notices::{self, Notice};
use crate::storage::samples::{self, Deleted, Which};
use crate::storage::{StorageError, aliases, batches, database, decisions, versions};

/// What was forgotten.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Forgotten {
    /// How many samples.
    pub samples: usize,
    /// The versions that learnt from any of them, oldest first.
    pub versions: Vec<i32>,
    /// The update that learns the rest again.
    pub update: Option<UpdateRef>,
}

/// How long it waits for the model: longer than other changes, as a model that is sent long batches all the time is to forget, too.
const PATIENCE: Duration = Duration::from_secs(10);
/// Blocks whose samples are deleted at a time.
const BLOCKS_AT_ONCE: usize = 16;

/// Forgets samples. With `relearn`, where the live version learnt from any of them, `live` goes back to
/// the last version before it that did not, or to none, what has been learnt since is pending again, and
/// an update of it is queued.
///
/// # Errors
/// [`ServiceError::NotFound`] when there is no such model or batch; [`ServiceError::VersionDamaged`] when
/// `live` would go back to a version that cannot be used. Nothing is forgotten then.
pub async fn forget(
    context: &Context,
    name: &ModelName,
    which: &Which,
    relearn: bool,
) -> Result<Forgotten, ServiceError> {
    let (turn, mut tx) = changes::begin(context, name).await?;
    database::limit_waits(&mut tx, PATIENCE).await?;
    let model = registry::find_in(&mut tx, name).await?;
    let model = models::lock(&mut tx, model.id)
        .await?
        .ok_or_else(|| ServiceError::NotFound(format!("model {name}")))?;
    let blocks = samples::blocks_of(&mut tx, model.id, which).await?;
    let versions = match blocks.first() {
        Some(&first) => versions::that_learnt(&mut tx, model.id, first).await?,
        None => Vec::new(),
    };
    let n_samples = delete_samples(&mut tx, &model, &blocks, Some(which), &[]).await?;
    if let Which::Batch(id) = which
        && !batches::delete(&mut tx, model.id, *id).await?
    {
        return Err(ServiceError::NotFound(format!("batch {id} of model {name}")));
    }
    if n_samples > 0 {
        models::note_deletion(&mut tx, model.id).await?;
    }
    let update = match blocks.first().filter(|_| relearn) {
        Some(&first) => go_back(context, &mut tx, &model, first).await?,
        None => None,
    };
    let (action, by) = match which {
        Which::Batch(id) => (Action::BatchDeleted, json!({"batch": id})),
        // What is forgotten is not named.
        Which::Id(_) => (Action::SamplesDeleted, json!("id")),
        Which::Subject(_) => (Action::SamplesDeleted, json!("subject")),
    };
    let detail = json!({"by": by, "samples": n_samples, "versions": versions,
                        "update": update.map(|update| update.id)});
    audit::record(&mut tx, action, name, detail).await?;
    notices::send(&mut tx, &Notice::Changed(model.id.0)).await?;
    tx.commit().await?;
    drop(turn);
    if update.is_some() {
        registry::refresh(context, name).await;
    }
    Ok(Forgotten { samples: n_samples, versions, update })
}

/// Deletes such samples in `blocks`, or all in them, but for those whose content hashes are `kept`, with their inputs and with
/// what updates decided about them; answers how many.
pub(super) async fn delete_samples(
    db: &mut PgConnection,
    model: &Model,
    blocks: &[i64],
    which: Option<&Which>,
    kept: &[Vec<u8>],
) -> Result<usize, StorageError> {
    let mut n_samples = 0;
    for blocks in blocks.chunks(BLOCKS_AT_ONCE) {
        let deleted = samples::delete_rows(db, blocks, which, kept).await?;
        n_samples += deleted.len();
        let mut places: HashMap<i64, HashSet<usize>> = HashMap::new();
        for Deleted { block_id, position, .. } in &deleted {
            places.entry(*block_id).or_default().insert(*position as usize);
        }
        let names: Vec<String> = deleted.into_iter().map(|sample| sample.name).collect();
        decisions::forget(db, model.id, &names).await?;
        for empty in samples::delete_empty_blocks(db, blocks).await? {
            places.remove(&empty);
        }
        for (block, positions) in places {
            samples::blank(db, block, &positions).await?;
        }
    }
    Ok(n_samples)
}

/// Points `live` at the last version on its way that cannot have learnt a sample of `block` or a later
/// one, and queues an update that learns what has come since; does nothing where the live version is it.
async fn go_back(
    context: &Context,
    db: &mut PgConnection,
    model: &Model,
    block: i64,
) -> Result<Option<UpdateRef>, ServiceError> {
    let live = AliasName::parse(LIVE)?;
    aliases::lock(db, model.id).await?;
    let aliases = aliases::list(db, model.id).await?;
    let was = aliases.iter().find(|alias| alias.alias == live);
    let was = was.map(|alias| alias.pointing.version);
    let Some(was) = was else { return Ok(None) };
    let back = versions::last_before(db, model.id, was, block).await?;
    if back == Some(was) {
        return Ok(None);
    }
    match back {
        Some(version) => {
            // Loaded first, so that an alias never points at what cannot answer.
            context.serving.warm(context, model, version).await?;
            aliases::put(db, model.id, &live, &Pointing::at(version)).await?;
        }
        None => {
            aliases::delete(db, model.id, &live).await?;
        }
    }
    samples::unlearn(db, model.id, back.unwrap_or(0)).await?;
    let moved = json!({"alias": LIVE, "from": was, "version": back});
    audit::record(db, Action::AliasMoved, &model.name, moved).await?;
    requests::enqueue(db, model.id, Trigger::Manual, true).await.map(Some)
}
