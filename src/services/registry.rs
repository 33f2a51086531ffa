//! "Make me a model; show me its versions; move `live` back to the one before."

use bytes::Bytes;
use serde_json::{Value, json};
use sqlx::PgConnection;

use super::{Context, ServiceError, audit, changes, feedback, import};
use crate::domain::Invalid;
use crate::domain::audit::Action;
use crate::domain::live::LiveFigures;
use crate::domain::name::{AliasName, ModelName};
use crate::domain::settings::ModelSettings;
use crate::domain::version::VersionStatus;
use crate::storage::StorageError;
use crate::storage::aliases::{self, Alias};
use crate::storage::checkpoints::CheckpointRef;
use crate::storage::models::{self, LiveModel, Model, ModelCounts, ModelId};
use crate::storage::notices::{self, Notice};
use crate::storage::predictions;
use crate::storage::versions::{self, NewVersion, Version};

/// A model with what it holds.
#[derive(Debug, Clone)]
pub struct ModelView {
    /// The model.
    pub model: Model,
    /// The version that predictions use.
    pub live_version: Option<i32>,
    /// Its labels, in order of arrival.
    pub labels: Vec<String>,
    /// Samples stored.
    pub samples: i64,
    /// Samples that no version has learnt.
    pub pending_samples: i64,
}

/// A version with the aliases that point at it.
#[derive(Debug, Clone)]
pub struct VersionView {
    /// The version.
    pub version: Version,
    /// Its aliases.
    pub aliases: Vec<AliasName>,
    /// Its figures on predictions whose labels came; where it was asked for alone.
    pub live: Option<LiveFigures>,
}

/// Creates a model, which goes on from `base` where it is given.
///
/// # Errors
/// [`ServiceError::Invalid`] for settings out of range, [`ServiceError::Conflict`] for a taken name.
pub async fn create(
    context: &Context,
    name: &ModelName,
    settings: &ModelSettings,
    base: Option<import::Found>,
) -> Result<ModelView, ServiceError> {
    settings.check()?;
    let mut tx = context.pool.begin().await?;
    let model = match models::insert(&mut tx, name, settings).await {
        Err(error) if error.is_unique_violation() => {
            return Err(ServiceError::Conflict(format!("there is a model named {name} already")));
        }
        other => other?,
    };
    notices::send(&mut tx, &Notice::Changed(model.id.0)).await?;
    audit::record(&mut tx, Action::ModelCreated, name, json!({})).await?;
    if let Some(base) = base {
        import::copy(context, &mut tx, &model, base).await?;
    }
    let mut views = views(&mut tx, vec![model]).await?;
    tx.commit().await?;
    views.pop().ok_or_else(|| ServiceError::NotFound(format!("model {name}")))
}

/// Makes a version known under the next number, and `live` if it is published: in the transaction of
/// whoever made it, which holds the model's lock.
pub(super) async fn add_version(
    db: &mut PgConnection,
    id: ModelId,
    new: &NewVersion,
) -> Result<i32, StorageError> {
    let number = models::take_version(db, id).await?;
    versions::insert(db, id, number, new).await?;
    if new.status == VersionStatus::Published {
        aliases::publish(db, id, number).await?;
    }
    Ok(number)
}

/// The model of this name.
///
/// # Errors
/// [`ServiceError::NotFound`] when there is none.
pub async fn find(context: &Context, name: &ModelName) -> Result<Model, ServiceError> {
    let mut db = context.pool.acquire().await?;
    find_in(&mut db, name).await
}

/// The same within a transaction.
pub(super) async fn find_in(
    db: &mut PgConnection,
    name: &ModelName,
) -> Result<Model, ServiceError> {
    models::find(db, name).await?.ok_or_else(|| ServiceError::NotFound(format!("model {name}")))
}

/// One model with what it holds.
///
/// # Errors
/// [`ServiceError::NotFound`] when there is none of this name.
pub async fn get(context: &Context, name: &ModelName) -> Result<ModelView, ServiceError> {
    let mut db = context.pool.acquire().await?;
    let model = find_in(&mut db, name).await?;
    let mut views = views(&mut db, vec![model]).await?;
    views.pop().ok_or_else(|| ServiceError::NotFound(format!("model {name}")))
}

/// Models before the one of key `before`, newest first.
///
/// # Errors
/// When the database fails.
pub async fn list(
    context: &Context,
    before: Option<i64>,
    limit: i64,
) -> Result<Vec<ModelView>, ServiceError> {
    let mut db = context.pool.acquire().await?;
    let models = models::list(&mut db, before, limit).await?;
    views(&mut db, models).await
}

/// All models by name, each with its live version.
///
/// # Errors
/// When the database fails.
pub async fn list_live(context: &Context) -> Result<Vec<LiveModel>, ServiceError> {
    let mut db = context.pool.acquire().await?;
    Ok(models::list_live(&mut db).await?)
}

/// The numbers of a model's published versions, in order.
///
/// # Errors
/// When the database fails.
pub async fn version_numbers(context: &Context, id: ModelId) -> Result<Vec<i32>, ServiceError> {
    let mut db = context.pool.acquire().await?;
    Ok(versions::numbers(&mut db, id).await?)
}

async fn views(db: &mut PgConnection, models: Vec<Model>) -> Result<Vec<ModelView>, ServiceError> {
    let ids: Vec<i64> = models.iter().map(|model| model.id.0).collect();
    let counts = models::counts(db, &ids).await?;
    let mut views = Vec::with_capacity(models.len());
    for model in models {
        let none = ModelCounts { samples: 0, pending: 0 };
        let ModelCounts { samples, pending } = counts.get(&model.id).copied().unwrap_or(none);
        let aliases = aliases::list(db, model.id).await?;
        let live_version =
            aliases.iter().find(|alias| alias.alias.is_live()).map(|a| a.pointing.version);
        let labels = models::labels(db, model.id).await?;
        let labels = labels.into_iter().map(|(label, _)| label.as_str().to_owned()).collect();
        views.push(ModelView { model, live_version, labels, samples, pending_samples: pending });
    }
    Ok(views)
}

/// Changes a model's settings.
///
/// # Errors
/// [`ServiceError::Invalid`] when `change` refuses, leaves a setting out of range, or chooses a strategy by
/// which the next update would lose what the model began with.
pub async fn patch(
    context: &Context,
    name: &ModelName,
    change: impl FnOnce(&mut ModelSettings) -> Result<(), Invalid>,
) -> Result<ModelView, ServiceError> {
    let (turn, mut tx) = changes::begin(context, name).await?;
    let found = find_in(&mut tx, name).await?;
    let mut model = models::lock(&mut tx, found.id)
        .await?
        .ok_or_else(|| ServiceError::NotFound(format!("model {name}")))?;
    let before = model.settings.clone();
    change(&mut model.settings)?;
    model.settings.check()?;
    if model.settings.learning.strategy != before.learning.strategy {
        import::check_goes_on(context, &mut tx, &model).await?;
    }
    models::set_settings(&mut tx, model.id, &model.settings).await?;
    let detail = changed(&before, &model.settings);
    audit::record(&mut tx, Action::ModelPatched, name, detail).await?;
    notices::send(&mut tx, &Notice::Changed(model.id.0)).await?;
    // A schedule that was paused or slow may now be due.
    notices::send(&mut tx, &Notice::Queued).await?;
    tx.commit().await?;
    drop(turn);
    refresh(context, name).await;
    get(context, name).await
}

/// The sections of `now` that differ from those `before`.
fn changed(before: &ModelSettings, now: &ModelSettings) -> Value {
    let sections = |settings| serde_json::to_value(settings).unwrap_or_default();
    let (before, mut now) = (sections(before), sections(now));
    if let Value::Object(sections) = &mut now {
        sections.retain(|name, section| before[name] != *section);
    }
    now
}

/// Deletes a model with all its samples, updates and versions.
///
/// # Errors
/// [`ServiceError::NotFound`] when there is none of this name.
pub async fn delete(context: &Context, name: &ModelName) -> Result<(), ServiceError> {
    let (turn, mut tx) = changes::begin(context, name).await?;
    let model = find_in(&mut tx, name).await?;
    models::lock(&mut tx, model.id).await?;
    let paths = versions::checkpoint_paths(&mut tx, model.id).await?;
    if !models::delete(&mut tx, model.id).await? {
        return Err(ServiceError::NotFound(format!("model {name}")));
    }
    predictions::delete_of_model(&mut tx, model.id).await?;
    audit::record(&mut tx, Action::ModelDeleted, name, json!({})).await?;
    notices::send(&mut tx, &Notice::Changed(model.id.0)).await?;
    tx.commit().await?;
    drop(turn);
    context.serving.forget(name);
    for path in paths {
        // The rows are gone, so a file that stays is waste and no more.
        if let Err(error) = context.checkpoints.remove(&path).await {
            tracing::warn!(%error, path, "a deleted model's checkpoint could not be removed");
        }
    }
    if let Err(error) = context.checkpoints.remove_snapshots(model.id).await {
        tracing::warn!(%error, "a deleted model's snapshots could not be removed");
    }
    Ok(())
}

/// A model's versions before number `before`, newest first.
///
/// # Errors
/// [`ServiceError::NotFound`] when there is no such model.
pub async fn list_versions(
    context: &Context,
    name: &ModelName,
    before: Option<i32>,
    limit: i64,
) -> Result<Vec<VersionView>, ServiceError> {
    let mut db = context.pool.acquire().await?;
    let model = find_in(&mut db, name).await?;
    let versions = versions::list(&mut db, model.id, before, limit).await?;
    let aliases = aliases::list(&mut db, model.id).await?;
    Ok(versions.into_iter().map(|version| with_aliases(version, &aliases)).collect())
}

/// One version of a model.
///
/// # Errors
/// [`ServiceError::NotFound`] when there is no such model or version.
pub async fn get_version(
    context: &Context,
    name: &ModelName,
    number: i32,
) -> Result<VersionView, ServiceError> {
    let mut db = context.pool.acquire().await?;
    let model = find_in(&mut db, name).await?;
    let version = find_version(&mut db, &model, number).await?;
    let aliases = aliases::list(&mut db, model.id).await?;
    let live = feedback::live_figures(&mut db, model.id, number).await?;
    Ok(VersionView { live, ..with_aliases(version, &aliases) })
}

pub(super) async fn find_version(
    db: &mut PgConnection,
    model: &Model,
    number: i32,
) -> Result<Version, ServiceError> {
    versions::find(db, model.id, number).await?.ok_or_else(|| no_version(model, number))
}

pub(super) fn no_version(model: &Model, number: i32) -> ServiceError {
    ServiceError::NotFound(format!("version {number} of model {}", model.name))
}

fn with_aliases(version: Version, aliases: &[Alias]) -> VersionView {
    let points_here = |alias: &&Alias| alias.pointing.version == version.version;
    let aliases = aliases.iter().filter(points_here).map(|alias| alias.alias.clone()).collect();
    VersionView { version, aliases, live: None }
}

/// A version's checkpoint file.
///
/// # Errors
/// [`ServiceError::VersionDamaged`] when the file is missing or corrupt.
pub async fn checkpoint(
    context: &Context,
    name: &ModelName,
    number: i32,
) -> Result<(CheckpointRef, Bytes), ServiceError> {
    let checkpoint = get_version(context, name, number).await?.version.checkpoint;
    let file = super::serving::read_checkpoint(&context.checkpoints, number, &checkpoint).await?;
    Ok((checkpoint, file))
}

/// Puts the change into effect here before its request is answered.
pub(super) async fn refresh(context: &Context, name: &ModelName) {
    if let Err(error) = context.serving.refresh(context, name).await {
        tracing::warn!(%error, model = %name, "the route could not be refreshed");
        context.serving.forget(name);
    }
}
