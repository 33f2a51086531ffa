//! Versions and the aliases that point at them.

use sqlx::PgConnection;
use sqlx::types::Json;
use time::OffsetDateTime;
use uuid::Uuid;

use super::StorageError;
use super::checkpoints::CheckpointRef;
use super::models::ModelId;
use crate::domain::evaluation::{Evaluation, GateDecision};
use crate::domain::live::RolledBack;
use crate::domain::name::{AliasName, LIVE};
use crate::domain::settings::RollbackSettings;
use crate::domain::version::{Origin, VersionStatus};

/// A version's row.
#[derive(Debug, Clone, PartialEq)]
pub struct Version {
    /// Its number, from 1.
    pub version: i32,
    /// The version it was trained from.
    pub parent: Option<i32>,
    /// Whether the gate let it through.
    pub status: VersionStatus,
    /// Where it comes from.
    pub origin: Origin,
    /// The update that made it, if one did.
    pub update_id: Option<Uuid>,
    /// Its checkpoint.
    pub checkpoint: CheckpointRef,
    /// The labels it knows, in the order of its answers.
    pub labels: Vec<String>,
    /// Its figures.
    pub evaluation: Evaluation,
    /// The gate's decision.
    pub gate: GateDecision,
    /// When it was made.
    pub created_at: OffsetDateTime,
}

/// A version about to be made known.
#[derive(Debug, Clone)]
pub struct NewVersion {
    /// The version it was trained from.
    pub parent: Option<i32>,
    /// Whether the gate let it through.
    pub status: VersionStatus,
    /// Where it comes from.
    pub origin: Origin,
    /// The update that made it, if one did.
    pub update_id: Option<Uuid>,
    /// Its checkpoint, which is durable already.
    pub checkpoint: CheckpointRef,
    /// The labels it knows, in the order of its answers.
    pub labels: Vec<String>,
    /// Its figures.
    pub evaluation: Evaluation,
    /// The gate's decision.
    pub gate: GateDecision,
}

/// A movable name of a version.
#[derive(Debug, Clone, PartialEq)]
pub struct Alias {
    /// The name.
    pub alias: AliasName,
    /// The version it points at.
    pub version: i32,
    /// The version that it pointed at before.
    pub previous: Option<i32>,
    /// Why it returned by itself, where that was the last that happened to it.
    pub rolled_back: Option<RolledBack>,
    /// When it was last moved.
    pub updated_at: OffsetDateTime,
}

/// A `live` alias that may return by itself to the version before.
#[derive(Debug, Clone, PartialEq)]
pub struct Watched {
    /// The model.
    pub model: ModelId,
    /// The version that it points at.
    pub version: i32,
    /// The one before, an older one.
    pub previous: i32,
    /// When it returns.
    pub rollback: RollbackSettings,
}

macro_rules! version {
    ($row:expr) => {
        Version {
            version: $row.version,
            parent: $row.parent,
            status: VersionStatus::parse(&$row.status)?,
            origin: Origin::parse(&$row.origin)?,
            update_id: $row.update_id,
            checkpoint: CheckpointRef {
                path: $row.checkpoint,
                bytes: $row.bytes,
                sha256: $row.sha256,
            },
            labels: $row.labels,
            evaluation: $row.evaluation.0,
            gate: $row.gate.0,
            created_at: $row.created_at,
        }
    };
}

/// Makes a version known under a number that was handed out for it.
pub async fn insert(
    db: &mut PgConnection,
    model: ModelId,
    number: i32,
    new: &NewVersion,
) -> Result<(), StorageError> {
    sqlx::query!(
        "INSERT INTO versions (model_id, version, parent, status, update_id, checkpoint, bytes, sha256,
                               labels, evaluation, gate, origin)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)",
        model.0,
        number,
        new.parent,
        new.status.as_str(),
        new.update_id,
        new.checkpoint.path,
        new.checkpoint.bytes,
        new.checkpoint.sha256,
        &new.labels,
        Json(&new.evaluation) as _,
        Json(&new.gate) as _,
        new.origin.as_str(),
    )
    .execute(db)
    .await?;
    Ok(())
}

/// One version of a model.
pub async fn find(
    db: &mut PgConnection,
    model: ModelId,
    number: i32,
) -> Result<Option<Version>, StorageError> {
    let row = sqlx::query!(
        r#"SELECT version, parent, status, origin, update_id, checkpoint, bytes, sha256, labels,
                  evaluation AS "evaluation: Json<Evaluation>", gate AS "gate: Json<GateDecision>",
                  created_at
           FROM versions WHERE model_id = $1 AND version = $2"#,
        model.0,
        number,
    )
    .fetch_optional(db)
    .await?;
    row.map(|row| Ok(version!(row))).transpose()
}

/// A model's versions before number `before`, newest first.
pub async fn list(
    db: &mut PgConnection,
    model: ModelId,
    before: Option<i32>,
    limit: i64,
) -> Result<Vec<Version>, StorageError> {
    let rows = sqlx::query!(
        r#"SELECT version, parent, status, origin, update_id, checkpoint, bytes, sha256, labels,
                  evaluation AS "evaluation: Json<Evaluation>", gate AS "gate: Json<GateDecision>",
                  created_at
           FROM versions WHERE model_id = $1 AND ($2::int IS NULL OR version < $2)
           ORDER BY version DESC LIMIT $3"#,
        model.0,
        before,
        limit,
    )
    .fetch_all(db)
    .await?;
    rows.into_iter().map(|row| Ok(version!(row))).collect()
}

/// The numbers of the published versions that updates made, oldest first: the model's experiences.
pub async fn published(db: &mut PgConnection, model: ModelId) -> Result<Vec<i32>, StorageError> {
    Ok(sqlx::query_scalar!(
        "SELECT version FROM versions
         WHERE model_id = $1 AND status = 'published' AND origin = 'update' ORDER BY version",
        model.0,
    )
    .fetch_all(db)
    .await?)
}

/// The numbers of a model's published versions, in order, wherever they come from.
pub async fn numbers(db: &mut PgConnection, model: ModelId) -> Result<Vec<i32>, StorageError> {
    Ok(sqlx::query_scalar!(
        "SELECT version FROM versions WHERE model_id = $1 AND status = 'published' ORDER BY version",
        model.0,
    )
    .fetch_all(db)
    .await?)
}

/// Keeps a checkpoint as what a model begins with.
pub async fn insert_body(
    db: &mut PgConnection,
    model: ModelId,
    checkpoint: &CheckpointRef,
) -> Result<(), StorageError> {
    sqlx::query!(
        "INSERT INTO bodies (model_id, checkpoint, bytes, sha256) VALUES ($1, $2, $3, $4)",
        model.0,
        checkpoint.path,
        checkpoint.bytes,
        checkpoint.sha256,
    )
    .execute(db)
    .await?;
    Ok(())
}

/// What a model begins with, if there is anything.
pub async fn body(
    db: &mut PgConnection,
    model: ModelId,
) -> Result<Option<CheckpointRef>, StorageError> {
    let row =
        sqlx::query!("SELECT checkpoint, bytes, sha256 FROM bodies WHERE model_id = $1", model.0,)
            .fetch_optional(db)
            .await?;
    Ok(row.map(|row| CheckpointRef { path: row.checkpoint, bytes: row.bytes, sha256: row.sha256 }))
}

/// The checkpoint paths of all of a model's versions, and of what it began with.
pub async fn checkpoint_paths(
    db: &mut PgConnection,
    model: ModelId,
) -> Result<Vec<String>, StorageError> {
    Ok(sqlx::query_scalar!(
        r#"SELECT checkpoint AS "checkpoint!" FROM versions WHERE model_id = $1
           UNION SELECT checkpoint FROM bodies WHERE model_id = $1"#,
        model.0,
    )
    .fetch_all(db)
    .await?)
}

macro_rules! alias {
    ($row:expr) => {
        Alias {
            alias: AliasName::parse($row.alias)?,
            version: $row.version,
            previous: $row.previous,
            rolled_back: $row.rolled_back.map(|Json(why)| why),
            updated_at: $row.updated_at,
        }
    };
}

/// Points an alias at a version that exists.
pub async fn put_alias(
    db: &mut PgConnection,
    model: ModelId,
    alias: &AliasName,
    version: i32,
) -> Result<Alias, StorageError> {
    let row = sqlx::query!(
        r#"INSERT INTO aliases (model_id, alias, version) VALUES ($1, $2, $3)
           ON CONFLICT (model_id, alias) DO UPDATE
           SET version = excluded.version, updated_at = now(), rolled_back = NULL,
               previous = CASE aliases.version WHEN excluded.version THEN aliases.previous
                                               ELSE aliases.version END
           RETURNING alias, version, previous,
                     rolled_back AS "rolled_back: Json<RolledBack>", updated_at"#,
        model.0,
        alias.as_str(),
        version,
    )
    .fetch_one(db)
    .await?;
    Ok(alias!(row))
}

/// A model's aliases, by name.
pub async fn aliases(db: &mut PgConnection, model: ModelId) -> Result<Vec<Alias>, StorageError> {
    let rows = sqlx::query!(
        r#"SELECT alias, version, previous, rolled_back AS "rolled_back: Json<RolledBack>", updated_at
           FROM aliases WHERE model_id = $1 ORDER BY alias"#,
        model.0,
    )
    .fetch_all(db)
    .await?;
    rows.into_iter().map(|row| Ok(alias!(row))).collect()
}

/// The `live` aliases that may return by themselves.
pub async fn watched(db: &mut PgConnection) -> Result<Vec<Watched>, StorageError> {
    let rows = sqlx::query!(
        r#"SELECT model_id, version, previous AS "previous!",
                  settings->'gate'->'rollback' AS "rollback!: Json<RollbackSettings>"
           FROM aliases JOIN models ON id = model_id
           WHERE alias = $1 AND previous < version
                 AND jsonb_typeof(settings->'gate'->'rollback') = 'object'"#,
        LIVE,
    )
    .fetch_all(db)
    .await?;
    let watched = rows.into_iter().map(|row| Watched {
        model: ModelId(row.model_id),
        version: row.version,
        previous: row.previous,
        rollback: row.rollback.0,
    });
    Ok(watched.collect())
}

/// Points `live` back at the version before, unless it was moved meanwhile; false then.
pub async fn roll_back(
    db: &mut PgConnection,
    watched: &Watched,
    why: &RolledBack,
) -> Result<bool, StorageError> {
    let done = sqlx::query!(
        "UPDATE aliases
         SET version = previous, previous = NULL, rolled_back = $5, updated_at = now()
         WHERE model_id = $1 AND alias = $2 AND version = $3 AND previous = $4",
        watched.model.0,
        LIVE,
        watched.version,
        watched.previous,
        Json(why) as _,
    )
    .execute(db)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Deletes an alias; false when there is none of this name.
pub async fn delete_alias(
    db: &mut PgConnection,
    model: ModelId,
    alias: &AliasName,
) -> Result<bool, StorageError> {
    let done = sqlx::query!(
        "DELETE FROM aliases WHERE model_id = $1 AND alias = $2",
        model.0,
        alias.as_str(),
    )
    .execute(db)
    .await?;
    Ok(done.rows_affected() == 1)
}
