//! "Begin this model with weights that I have, or with another model's version."
//!
//! Either becomes version 1: no training made it, so it has no figures and no update. Of another
//! model's version the labels may be left out: then it is what the first update begins with.

use bytes::Bytes;
use serde_json::json;
use sqlx::{PgConnection, PgTransaction};

use super::{Context, ServiceError, audit, changes, registry, serving, update};
use crate::domain::Invalid;
use crate::domain::audit::Action;
use crate::domain::evaluation::{Evaluation, GateDecision};
use crate::domain::label::Label;
use crate::domain::name::ModelName;
use crate::domain::version::{Origin, VersionStatus};
use crate::learning::{self, checkpoint};
use crate::storage::models::{self, Model};
use crate::storage::notices::{self, Notice};
use crate::storage::versions::{self, NewVersion};

/// Another model's version that a model begins with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Base {
    /// The model.
    pub model: ModelName,
    /// Its version.
    pub version: i32,
    /// Whether it is to know the version's labels.
    pub head: Head,
}

/// What becomes of the labels of a base.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Head {
    /// They are the model's first: the base is its version 1.
    Grow,
    /// They are left out: its first update begins with the base's other layers.
    Replace,
}

/// A base as it was found.
#[derive(Debug, Clone)]
pub struct Found {
    /// The model that it is of.
    pub model: Model,
    version: i32,
    /// Its checkpoint.
    file: Bytes,
    head: Head,
}

/// Makes the network in `file`, of which safetensors as PyTorch writes them are read, version 1 of the
/// model.
///
/// # Errors
/// [`ServiceError::NotFound`] when there is no such model, [`ServiceError::Conflict`] when it has a
/// version, [`ServiceError::Invalid`] when the file does not fit it.
pub async fn import(
    context: &Context,
    name: &ModelName,
    file: Bytes,
) -> Result<registry::VersionView, ServiceError> {
    let model = registry::find(context, name).await?;
    let settings = model.settings.clone();
    let read = move || learning::import(&file, &settings).map(|state| encoded(&state));
    let (file, labels) = tokio::task::spawn_blocking(read)
        .await
        .map_err(|error| ServiceError::Broken(error.to_string()))??;
    let (turn, mut tx) = changes::begin(context, name).await?;
    let number = begin(context, &mut tx, &model, file, &labels, Origin::Imported).await?;
    let detail = json!({"version": number});
    audit::record(&mut tx, Action::VersionImported, name, detail).await?;
    tx.commit().await?;
    drop(turn);
    registry::refresh(context, name).await;
    registry::get_version(context, name, number).await
}

/// Finds the version that `base` names.
///
/// # Errors
/// [`ServiceError::Invalid`] when there is none, [`ServiceError::VersionDamaged`].
pub async fn find(context: &Context, base: &Base) -> Result<Found, ServiceError> {
    let none = |pointer: &str, what: String| Invalid::at(pointer, format!("there is no {what}"));
    let mut db = context.pool.acquire().await?;
    let Some(model) = models::find(&mut db, &base.model).await? else {
        return Err(none("/base/model", format!("model {}", base.model)).into());
    };
    let Some(version) = versions::find(&mut db, model.id, base.version).await? else {
        let what = format!("version {} of model {}", base.version, base.model);
        return Err(none("/base/version", what).into());
    };
    drop(db);
    let file =
        serving::read_checkpoint(&context.checkpoints, base.version, &version.checkpoint).await?;
    Ok(Found { model, version: base.version, file, head: base.head })
}

/// Makes `base` what `model`, which is new, goes on from.
///
/// # Errors
/// [`ServiceError::Invalid`] where its first update would lose what the base knows,
/// [`ServiceError::VersionDamaged`].
pub(super) async fn copy(
    context: &Context,
    tx: &mut PgTransaction<'_>,
    model: &Model,
    base: Found,
) -> Result<(), ServiceError> {
    let state = serving::decode(base.version, &base.file)?;
    match base.head {
        Head::Grow => {
            state
                .check_goes_on(model.settings.learning.strategy)
                .map_err(|error| error.within("/learning/strategy"))?;
            begin(context, tx, model, base.file.into(), state.labels(), Origin::Copied).await?;
        }
        Head::Replace => {
            let checkpoint = context.checkpoints.write(model.id, base.file.into()).await?;
            versions::insert_body(tx, model.id, &checkpoint).await?;
        }
    }
    Ok(())
}

/// Checks that `model`, whose strategy has just been chosen, keeps the labels that it began with.
///
/// # Errors
/// [`ServiceError::Invalid`] where its next update would lose some, of which there is no sample;
/// [`ServiceError::VersionDamaged`] of the live one.
pub(super) async fn check_goes_on(
    context: &Context,
    db: &mut PgConnection,
    model: &Model,
) -> Result<(), ServiceError> {
    let Some(live) = update::live_version(db, model.id).await? else { return Ok(()) };
    let unseen = versions::labels_without_samples(db, model.id, live).await?;
    if unseen.is_empty() {
        return Ok(());
    }
    let version = registry::find_version(db, model, live).await?;
    let file = serving::read_checkpoint(&context.checkpoints, live, &version.checkpoint).await?;
    let state = serving::decode(live, &file)?;
    state.check_goes_on(model.settings.learning.strategy).map_err(|error| {
        let detail = format!(
            "{}; there are no samples to train on of {}: send some of each first, or leave \
             learning.strategy as it is",
            error.detail,
            listed(&unseen)
        );
        Invalid::at("/learning/strategy", detail).into()
    })
}

/// The first of `labels`, and how many more there are.
fn listed(labels: &[String]) -> String {
    let (first, others) = labels.split_at(labels.len().min(5));
    match others.len() {
        0 => first.join(", "),
        n => format!("{} and {n} more", first.join(", ")),
    }
}

fn encoded(state: &learning::LearnerState) -> (Vec<u8>, Vec<Label>) {
    (checkpoint::encode(state), state.labels().to_vec())
}

/// Publishes a checkpoint that no update made, as the first version.
async fn begin(
    context: &Context,
    tx: &mut PgTransaction<'_>,
    model: &Model,
    file: Vec<u8>,
    labels: &[Label],
    origin: Origin,
) -> Result<i32, ServiceError> {
    let Some(model) = models::lock(tx, model.id).await? else {
        return Err(ServiceError::NotFound(format!("model {}", model.name)));
    };
    if !versions::list(tx, model.id, None, 1).await?.is_empty() {
        let detail = format!("model {} has versions already; make another one", model.name);
        return Err(ServiceError::Conflict(detail));
    }
    let checkpoint = context.checkpoints.write(model.id, file).await?;
    let known = models::labels(tx, model.id).await?;
    let new = labels.iter().filter(|label| !known.iter().any(|(known, _)| known == *label));
    for (label, number) in new.zip(known.len()..) {
        models::insert_label(tx, model.id, number as i32, label).await?;
    }
    let new = NewVersion {
        parent: None,
        status: VersionStatus::Published,
        origin,
        update_id: None,
        checkpoint,
        labels: labels.iter().map(|label| label.as_str().to_owned()).collect(),
        evaluation: Evaluation::default(),
        gate: GateDecision { passed: true, ..GateDecision::default() },
    };
    let number = registry::add_version(tx, model.id, &new).await?;
    notices::send(tx, &Notice::Changed(model.id.0)).await?;
    Ok(number)
}
