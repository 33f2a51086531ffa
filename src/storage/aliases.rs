//! Aliases: movable names of versions, and who else answers under them.

use sqlx::PgConnection;
use sqlx::types::Json;
use time::OffsetDateTime;

use super::StorageError;
use super::models::ModelId;
use crate::domain::live::RolledBack;
use crate::domain::name::{AliasName, LIVE};
use crate::domain::settings::RollbackSettings;
use crate::domain::version::{Canary, Pointing};

/// A movable name of a version.
#[derive(Debug, Clone, PartialEq)]
pub struct Alias {
    /// The name.
    pub alias: AliasName,
    /// Where it points.
    pub pointing: Pointing,
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
    /// When it was last moved.
    pub moved_at: OffsetDateTime,
    /// When it returns.
    pub rollback: RollbackSettings,
}

macro_rules! alias {
    ($row:expr) => {
        Alias {
            alias: AliasName::parse($row.alias)?,
            pointing: Pointing {
                version: $row.version,
                canary: $row
                    .canary_version
                    .zip($row.canary_share)
                    .map(|(version, share)| Canary { version, share }),
                shadow: $row.shadow,
            },
            previous: $row.previous,
            rolled_back: $row.rolled_back.map(|Json(why)| why),
            updated_at: $row.updated_at,
        }
    };
}

/// Holds a model's aliases until the transaction ends, those that are not there yet, too: whoever moves `live` and
/// whoever publishes where it stood do so one after the other. Whoever takes the model's lock as well takes that first.
pub async fn lock(db: &mut PgConnection, model: ModelId) -> Result<(), StorageError> {
    sqlx::query_scalar!(
        "SELECT pg_advisory_xact_lock(hashtextextended('aliases', $1))::text AS held",
        model.0,
    )
    .fetch_one(db)
    .await?;
    Ok(())
}

/// Points an alias at versions that exist.
pub async fn put(
    db: &mut PgConnection,
    model: ModelId,
    alias: &AliasName,
    to: &Pointing,
) -> Result<Alias, StorageError> {
    let row = sqlx::query!(
        r#"INSERT INTO aliases (model_id, alias, version, canary_version, canary_share, shadow)
           VALUES ($1, $2, $3, $4, $5, $6)
           ON CONFLICT (model_id, alias) DO UPDATE
           SET version = excluded.version, canary_version = excluded.canary_version,
               canary_share = excluded.canary_share, shadow = excluded.shadow,
               previous = CASE aliases.version WHEN excluded.version THEN aliases.previous
                                               ELSE aliases.version END,
               rolled_back = NULL, updated_at = now()
           RETURNING alias, version, canary_version, canary_share, shadow, previous,
                     rolled_back AS "rolled_back: Json<RolledBack>", updated_at"#,
        model.0,
        alias.as_str(),
        to.version,
        to.canary.map(|canary| canary.version),
        to.canary.map(|canary| canary.share),
        to.shadow,
    )
    .fetch_one(db)
    .await?;
    Ok(alias!(row))
}

/// Points `live` at a new version. That ends its canary; its shadow stays.
pub async fn publish(
    db: &mut PgConnection,
    model: ModelId,
    version: i32,
) -> Result<(), StorageError> {
    sqlx::query!(
        "INSERT INTO aliases (model_id, alias, version) VALUES ($1, $2, $3)
         ON CONFLICT (model_id, alias) DO UPDATE
         SET version = excluded.version, previous = aliases.version, canary_version = NULL,
             canary_share = NULL, rolled_back = NULL, updated_at = now()",
        model.0,
        LIVE,
        version,
    )
    .execute(db)
    .await?;
    Ok(())
}

/// A model's aliases, by name.
pub async fn list(db: &mut PgConnection, model: ModelId) -> Result<Vec<Alias>, StorageError> {
    let rows = sqlx::query!(
        r#"SELECT alias, version, canary_version, canary_share, shadow, previous,
                  rolled_back AS "rolled_back: Json<RolledBack>", updated_at
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
        r#"SELECT model_id, version, previous AS "previous!", updated_at,
                  settings->'gate'->'rollback' AS "rollback!: Json<RollbackSettings>"
           FROM aliases JOIN models ON id = model_id
           WHERE alias = $1 AND previous < version AND EXISTS (
                     SELECT FROM versions v WHERE v.model_id = models.id AND v.version = previous
                           AND v.removed_at IS NULL)
                 AND jsonb_typeof(settings->'gate'->'rollback') = 'object'"#,
        LIVE,
    )
    .fetch_all(db)
    .await?;
    let watched = rows.into_iter().map(|row| Watched {
        model: ModelId(row.model_id),
        version: row.version,
        previous: row.previous,
        moved_at: row.updated_at,
        rollback: row.rollback.0,
    });
    Ok(watched.collect())
}

/// Points `live` back at the version before, unless it was moved meanwhile; false then. That ends its
/// canary, too, and its shadow where this is the version that answers from now on.
pub async fn roll_back(
    db: &mut PgConnection,
    watched: &Watched,
    why: &RolledBack,
) -> Result<bool, StorageError> {
    let done = sqlx::query!(
        "UPDATE aliases
         SET version = previous, previous = NULL, canary_version = NULL, canary_share = NULL,
             shadow = NULLIF(shadow, previous), rolled_back = $5, updated_at = now()
         WHERE model_id = $1 AND alias = $2 AND version = $3 AND previous = $4 AND updated_at = $6",
        watched.model.0,
        LIVE,
        watched.version,
        watched.previous,
        Json(why) as _,
        watched.moved_at,
    )
    .execute(db)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Deletes an alias; false when there is none of this name.
pub async fn delete(
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
