//! Models and their labels.

use std::collections::HashMap;

use sqlx::PgConnection;
use sqlx::types::Json;
use time::OffsetDateTime;

use super::StorageError;
use crate::domain::label::Label;
use crate::domain::name::{LIVE, ModelName};
use crate::domain::settings::ModelSettings;

/// A model's key in the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ModelId(pub i64);

/// A model's row.
#[derive(Debug, Clone)]
pub struct Model {
    /// Its key.
    pub id: ModelId,
    /// Its name.
    pub name: ModelName,
    /// How it is set up.
    pub settings: ModelSettings,
    /// Counts deletions of samples.
    pub deletions: i64,
    /// When it was created.
    pub created_at: OffsetDateTime,
}

/// What a model holds, counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ModelCounts {
    /// Samples stored.
    pub samples: i64,
    /// Samples that no version has learnt.
    pub pending: i64,
}

/// A model with the version that predictions use.
#[derive(Debug, Clone)]
pub struct LiveModel {
    /// The model's name.
    pub name: ModelName,
    /// The number of its live version.
    pub live_version: Option<i32>,
}

macro_rules! model {
    ($row:expr) => {
        Model {
            id: ModelId($row.id),
            name: ModelName::parse($row.name)?,
            settings: $row.settings.0,
            deletions: $row.deletions,
            created_at: $row.created_at,
        }
    };
}

/// Creates a model.
///
/// # Errors
/// A unique violation when the name is taken.
pub async fn insert(
    db: &mut PgConnection,
    name: &ModelName,
    settings: &ModelSettings,
) -> Result<Model, StorageError> {
    let row = sqlx::query!(
        r#"INSERT INTO models (name, settings) VALUES ($1, $2)
           RETURNING id, name, settings AS "settings: Json<ModelSettings>", deletions, created_at"#,
        name.as_str(),
        Json(settings) as _,
    )
    .fetch_one(db)
    .await?;
    Ok(model!(row))
}

/// The model of this name.
pub async fn find(db: &mut PgConnection, name: &ModelName) -> Result<Option<Model>, StorageError> {
    let row = sqlx::query!(
        r#"SELECT id, name, settings AS "settings: Json<ModelSettings>", deletions, created_at
           FROM models WHERE name = $1"#,
        name.as_str(),
    )
    .fetch_optional(db)
    .await?;
    row.map(|row| Ok(model!(row))).transpose()
}

/// The model of this key.
pub async fn get(db: &mut PgConnection, id: ModelId) -> Result<Option<Model>, StorageError> {
    let row = sqlx::query!(
        r#"SELECT id, name, settings AS "settings: Json<ModelSettings>", deletions, created_at
           FROM models WHERE id = $1"#,
        id.0,
    )
    .fetch_optional(db)
    .await?;
    row.map(|row| Ok(model!(row))).transpose()
}

/// How many deletions of samples each of these models has had, as far as they are there.
pub async fn deletions(
    db: &mut PgConnection,
    ids: &[ModelId],
) -> Result<HashMap<ModelId, i64>, StorageError> {
    let ids: Vec<i64> = ids.iter().map(|id| id.0).collect();
    let rows = sqlx::query!("SELECT id, deletions FROM models WHERE id = ANY($1)", &ids)
        .fetch_all(db)
        .await?;
    Ok(rows.into_iter().map(|row| (ModelId(row.id), row.deletions)).collect())
}

/// Holds the model's row until the transaction ends, and tells how it stands: its batches are
/// stored, its versions numbered and its samples deleted by one transaction at a time.
pub async fn lock(db: &mut PgConnection, id: ModelId) -> Result<Option<Model>, StorageError> {
    let row = sqlx::query!(
        r#"SELECT id, name, settings AS "settings: Json<ModelSettings>", deletions, created_at
           FROM models WHERE id = $1 FOR NO KEY UPDATE"#,
        id.0,
    )
    .fetch_optional(db)
    .await?;
    row.map(|row| Ok(model!(row))).transpose()
}

/// The same, where nobody else holds it; none where somebody does.
pub async fn try_lock(db: &mut PgConnection, id: ModelId) -> Result<Option<Model>, StorageError> {
    let row = sqlx::query!(
        r#"SELECT id, name, settings AS "settings: Json<ModelSettings>", deletions, created_at
           FROM models WHERE id = $1 FOR NO KEY UPDATE SKIP LOCKED"#,
        id.0,
    )
    .fetch_optional(db)
    .await?;
    row.map(|row| Ok(model!(row))).transpose()
}

/// Holds the model's row until the transaction ends, so that it is not deleted meanwhile, and keeps nobody from changing
/// it; false when it is gone.
pub async fn hold(db: &mut PgConnection, id: ModelId) -> Result<bool, StorageError> {
    let held = sqlx::query!("SELECT id FROM models WHERE id = $1 FOR KEY SHARE", id.0);
    Ok(held.fetch_optional(db).await?.is_some())
}

/// All models by name, each with its live version.
pub async fn list_live(db: &mut PgConnection) -> Result<Vec<LiveModel>, StorageError> {
    let rows = sqlx::query!(
        r#"SELECT name, version AS "version?"
           FROM models LEFT JOIN aliases ON model_id = id AND alias = $1 ORDER BY name"#,
        LIVE,
    )
    .fetch_all(db)
    .await?;
    rows.into_iter()
        .map(|row| Ok(LiveModel { name: ModelName::parse(row.name)?, live_version: row.version }))
        .collect()
}

/// Models created before the one of key `before`, newest first.
pub async fn list(
    db: &mut PgConnection,
    before: Option<i64>,
    limit: i64,
) -> Result<Vec<Model>, StorageError> {
    let rows = sqlx::query!(
        r#"SELECT id, name, settings AS "settings: Json<ModelSettings>", deletions, created_at
           FROM models WHERE $1::bigint IS NULL OR id < $1 ORDER BY id DESC LIMIT $2"#,
        before,
        limit,
    )
    .fetch_all(db)
    .await?;
    rows.into_iter().map(|row| Ok(model!(row))).collect()
}

/// Replaces a model's settings.
pub async fn set_settings(
    db: &mut PgConnection,
    id: ModelId,
    settings: &ModelSettings,
) -> Result<(), StorageError> {
    sqlx::query!("UPDATE models SET settings = $2 WHERE id = $1", id.0, Json(settings) as _)
        .execute(db)
        .await?;
    Ok(())
}

/// Deletes a model and all that hangs from it; false when there is none of this name.
pub async fn delete(db: &mut PgConnection, id: ModelId) -> Result<bool, StorageError> {
    let done = sqlx::query!("DELETE FROM models WHERE id = $1", id.0).execute(db).await?;
    Ok(done.rows_affected() == 1)
}

/// Records that samples were deleted: an update that began before may not publish any more.
pub async fn note_deletion(db: &mut PgConnection, id: ModelId) -> Result<(), StorageError> {
    sqlx::query!("UPDATE models SET deletions = deletions + 1 WHERE id = $1", id.0)
        .execute(db)
        .await?;
    Ok(())
}

/// Hands out the model's next version number.
pub async fn take_version(db: &mut PgConnection, id: ModelId) -> Result<i32, StorageError> {
    Ok(sqlx::query_scalar!(
        r#"UPDATE models SET next_version = next_version + 1 WHERE id = $1
           RETURNING next_version - 1 AS "version!""#,
        id.0,
    )
    .fetch_one(db)
    .await?)
}

/// Counts what each of the models holds.
pub async fn counts(
    db: &mut PgConnection,
    ids: &[i64],
) -> Result<HashMap<ModelId, ModelCounts>, StorageError> {
    let rows = sqlx::query!(
        r#"SELECT model_id, count(*) AS "samples!",
                  count(*) FILTER (WHERE version IS NULL) AS "pending!"
           FROM samples WHERE model_id = ANY($1) GROUP BY model_id"#,
        ids,
    )
    .fetch_all(db)
    .await?;
    let counts = |samples, pending| ModelCounts { samples, pending };
    Ok(rows
        .into_iter()
        .map(|row| (ModelId(row.model_id), counts(row.samples, row.pending)))
        .collect())
}

/// The model's labels with their numbers, in order of arrival.
pub async fn labels(db: &mut PgConnection, id: ModelId) -> Result<Vec<(Label, i32)>, StorageError> {
    let rows =
        sqlx::query!("SELECT label, name FROM labels WHERE model_id = $1 ORDER BY label", id.0)
            .fetch_all(db)
            .await?;
    rows.into_iter().map(|row| Ok((Label::parse(row.name)?, row.label))).collect()
}

/// Adds a label under a number that the caller, who holds the model's lock, knows to be free.
pub async fn insert_label(
    db: &mut PgConnection,
    id: ModelId,
    label: i32,
    name: &Label,
) -> Result<(), StorageError> {
    sqlx::query!(
        "INSERT INTO labels (model_id, label, name) VALUES ($1, $2, $3)",
        id.0,
        label,
        name.as_str(),
    )
    .execute(db)
    .await?;
    Ok(())
}
