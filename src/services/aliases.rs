//! "Promote this version; go back to the one before; let another one answer a few."

use serde_json::json;

use super::serving::Agreement;
use super::{Context, ServiceError, audit, changes, registry};
use crate::domain::audit::Action;
use crate::domain::name::{AliasName, LIVE, ModelName};
use crate::domain::version::Pointing;
use crate::storage::aliases::{self, Alias};
use crate::storage::models::ModelId;
use crate::storage::notices::{self, Notice};
use crate::storage::versions;

/// An alias, and how often its shadow agreed with it in this process.
#[derive(Debug, Clone)]
pub struct AliasView {
    /// The alias.
    pub alias: Alias,
    /// Of its shadow, where it has one.
    pub agreement: Option<Agreement>,
}

/// A model's aliases, by name.
///
/// # Errors
/// [`ServiceError::NotFound`] when there is no such model.
pub async fn list(context: &Context, name: &ModelName) -> Result<Vec<AliasView>, ServiceError> {
    let mut db = context.pool.acquire().await?;
    let model = registry::find_in(&mut db, name).await?;
    let aliases = aliases::list(&mut db, model.id).await?;
    Ok(aliases.into_iter().map(|alias| with_agreement(context, model.id, alias)).collect())
}

fn with_agreement(context: &Context, model: ModelId, alias: Alias) -> AliasView {
    let Pointing { version, shadow, .. } = alias.pointing;
    let agreement = shadow.map(|shadow| context.serving.agreement(model, version, shadow));
    AliasView { alias, agreement }
}

/// Points an alias at a version: promotes it, or rolls back; and says who else answers. All versions are
/// loaded first, so that an alias never points at what cannot answer.
///
/// # Errors
/// [`ServiceError::NotFound`] when there is no such model or version, [`ServiceError::Invalid`] when
/// they do not go together, [`ServiceError::VersionDamaged`] when a version cannot be used.
pub async fn put(
    context: &Context,
    name: &ModelName,
    alias: &AliasName,
    to: &Pointing,
) -> Result<AliasView, ServiceError> {
    to.check()?;
    let model = registry::find(context, name).await?;
    for version in to.versions() {
        context.serving.warm(context, &model, version).await?;
    }
    let (turn, mut tx) = changes::begin(context, name).await?;
    aliases::lock(&mut tx, model.id).await?;
    for version in to.versions() {
        // It may have been removed since it was loaded.
        if !versions::hold(&mut tx, model.id, version).await? {
            return Err(registry::no_version(&model, version));
        }
    }
    let alias = aliases::put(&mut tx, model.id, alias, to).await?;
    let Pointing { version, canary, shadow } = to;
    let detail = json!({"alias": alias.alias.as_str(), "version": version,
                        "canary": canary, "shadow": shadow});
    audit::record(&mut tx, Action::AliasMoved, name, detail).await?;
    notices::send(&mut tx, &Notice::Changed(model.id.0)).await?;
    tx.commit().await?;
    drop(turn);
    registry::refresh(context, name).await;
    Ok(with_agreement(context, model.id, alias))
}

/// Deletes an alias other than `live`.
///
/// # Errors
/// [`ServiceError::Conflict`] for `live`, [`ServiceError::NotFound`] when there is no such alias.
pub async fn delete(
    context: &Context,
    name: &ModelName,
    alias: &AliasName,
) -> Result<(), ServiceError> {
    if alias.is_live() {
        let detail = format!("the alias {LIVE} cannot be deleted; point it at another version");
        return Err(ServiceError::Conflict(detail));
    }
    let (turn, mut tx) = changes::begin(context, name).await?;
    let model = registry::find_in(&mut tx, name).await?;
    aliases::lock(&mut tx, model.id).await?;
    if !aliases::delete(&mut tx, model.id, alias).await? {
        return Err(ServiceError::NotFound(format!("alias {alias} of model {name}")));
    }
    let detail = json!({"alias": alias.as_str()});
    audit::record(&mut tx, Action::AliasDeleted, name, detail).await?;
    notices::send(&mut tx, &Notice::Changed(model.id.0)).await?;
    tx.commit().await?;
    drop(turn);
    registry::refresh(context, name).await;
    Ok(())
}
