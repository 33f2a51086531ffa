//! Versions: what updates made.

use sqlx::PgConnection;
use sqlx::types::Json;
use time::OffsetDateTime;
use uuid::Uuid;

use super::StorageError;
use super::checkpoints::CheckpointRef;
use super::models::ModelId;
use crate::domain::evaluation::{Evaluation, GateDecision};
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
        // What an earlier version learnt this one may have learnt again.
        "INSERT INTO versions (model_id, version, parent, status, update_id, checkpoint, bytes, sha256,
                               labels, evaluation, gate, origin, horizon)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12,
                 greatest((SELECT horizon FROM updates WHERE id = $5),
                          (SELECT max(horizon) FROM versions WHERE model_id = $1)))",
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
           FROM versions WHERE model_id = $1 AND version = $2 AND removed_at IS NULL"#,
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
           FROM versions WHERE model_id = $1 AND ($2::int IS NULL OR version < $2) AND removed_at IS NULL
           ORDER BY version DESC LIMIT $3"#,
        model.0,
        before,
        limit,
    )
    .fetch_all(db)
    .await?;
    rows.into_iter().map(|row| Ok(version!(row))).collect()
}

/// The numbers of the published versions that updates made, oldest first, removed ones too: the model's
/// experiences.
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
        "SELECT version FROM versions
         WHERE model_id = $1 AND status = 'published' AND removed_at IS NULL ORDER BY version",
        model.0,
    )
    .fetch_all(db)
    .await?)
}

/// The numbers of a model's versions that are removed, in order.
pub async fn removed(db: &mut PgConnection, model: ModelId) -> Result<Vec<i32>, StorageError> {
    Ok(sqlx::query_scalar!(
        "SELECT version FROM versions
         WHERE model_id = $1 AND removed_at IS NOT NULL ORDER BY version",
        model.0,
    )
    .fetch_all(db)
    .await?)
}

/// The versions that may have learnt a sample of this block or a later one, oldest first: those whose
/// updates had it at hand.
pub async fn that_learnt(
    db: &mut PgConnection,
    model: ModelId,
    block: i64,
) -> Result<Vec<i32>, StorageError> {
    Ok(sqlx::query_scalar!(
        "SELECT version FROM versions
         WHERE model_id = $1 AND horizon >= $2 AND removed_at IS NULL ORDER BY version",
        model.0,
        block,
    )
    .fetch_all(db)
    .await?)
}

/// The newest of a version and those that it comes from that cannot have learnt a sample of this block
/// or a later one.
pub async fn last_before(
    db: &mut PgConnection,
    model: ModelId,
    number: i32,
    block: i64,
) -> Result<Option<i32>, StorageError> {
    Ok(sqlx::query_scalar!(
        "WITH RECURSIVE way (version) AS (
             SELECT $2::int
             UNION
             SELECT v.parent FROM way JOIN versions v ON v.model_id = $1 AND v.version = way.version
             WHERE v.parent IS NOT NULL
         )
         SELECT max(v.version) FROM way JOIN versions v ON v.version = way.version
         WHERE v.model_id = $1 AND v.removed_at IS NULL AND coalesce(v.horizon, 0) < $3",
        model.0,
        number,
        block,
    )
    .fetch_one(db)
    .await?)
}

/// Labels of a version of which there is no sample to train on, where the model began with another's version or
/// with imported weights.
pub async fn labels_without_samples(
    db: &mut PgConnection,
    model: ModelId,
    number: i32,
) -> Result<Vec<String>, StorageError> {
    Ok(sqlx::query_scalar!(
        // Pending samples, which no index has by label, are walked once, not once a label.
        "SELECT l.name FROM versions v
         CROSS JOIN unnest(v.labels) AS known (name)
         JOIN labels l ON l.model_id = $1 AND l.name = known.name
         WHERE v.model_id = $1 AND v.version = $2
           AND EXISTS (SELECT FROM versions WHERE model_id = $1 AND origin <> 'update')
           AND NOT EXISTS (SELECT FROM samples s
                           WHERE s.model_id = $1 AND s.label = l.label AND s.version IS NOT NULL
                                 AND NOT s.held_out AND NOT s.withheld)
           AND l.label NOT IN (SELECT DISTINCT label FROM samples
                               WHERE model_id = $1 AND version IS NULL AND NOT held_out)
         ORDER BY l.label",
        model.0,
        number,
    )
    .fetch_all(db)
    .await?)
}

/// Holds a version until the transaction ends, so that it is not removed meanwhile; false when there is
/// none of this number.
pub async fn hold(
    db: &mut PgConnection,
    model: ModelId,
    number: i32,
) -> Result<bool, StorageError> {
    let held = sqlx::query!(
        "SELECT version FROM versions
         WHERE model_id = $1 AND version = $2 AND removed_at IS NULL FOR SHARE",
        model.0,
        number,
    );
    Ok(held.fetch_optional(db).await?.is_some())
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
