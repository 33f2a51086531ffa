//! Batches: one POST of samples, and the verdicts on them.

use sqlx::PgConnection;
use sqlx::types::Json;
use time::OffsetDateTime;
use uuid::Uuid;

use super::StorageError;
use super::models::ModelId;
use crate::domain::batch::{Rejection, Verdicts};

/// A batch's row.
#[derive(Debug, Clone, PartialEq)]
pub struct Batch {
    /// Its id, a UUID v7.
    pub id: Uuid,
    /// The verdicts on its samples.
    pub verdicts: Verdicts,
    /// When it was stored.
    pub created_at: OffsetDateTime,
}

macro_rules! batch {
    ($row:expr) => {
        Batch {
            id: $row.id,
            verdicts: Verdicts {
                received: $row.received as u64,
                accepted: $row.accepted as u64,
                duplicates: $row.duplicates as u64,
                rejected: $row.rejected as u64,
                rejections: $row.rejections.0,
            },
            created_at: $row.created_at,
        }
    };
}

/// Opens a batch, so that its blocks have a row to hang from; [`close`] writes the verdicts.
pub async fn open(db: &mut PgConnection, id: Uuid, model: ModelId) -> Result<(), StorageError> {
    sqlx::query!(
        "INSERT INTO batches (id, model_id, received, accepted, duplicates, rejected, rejections)
         VALUES ($1, $2, 0, 0, 0, 0, '[]')",
        id,
        model.0,
    )
    .execute(db)
    .await?;
    Ok(())
}

/// Writes the verdicts on a batch's samples.
pub async fn close(
    db: &mut PgConnection,
    id: Uuid,
    verdicts: &Verdicts,
) -> Result<Batch, StorageError> {
    let row = sqlx::query!(
        r#"UPDATE batches
           SET received = $2, accepted = $3, duplicates = $4, rejected = $5, rejections = $6
           WHERE id = $1
           RETURNING id, received, accepted, duplicates, rejected,
                     rejections AS "rejections: Json<Vec<Rejection>>", created_at"#,
        id,
        verdicts.received as i64,
        verdicts.accepted as i64,
        verdicts.duplicates as i64,
        verdicts.rejected as i64,
        Json(&verdicts.rejections) as _,
    )
    .fetch_one(db)
    .await?;
    Ok(batch!(row))
}

/// One batch of a model.
pub async fn find(
    db: &mut PgConnection,
    model: ModelId,
    id: Uuid,
) -> Result<Option<Batch>, StorageError> {
    let row = sqlx::query!(
        r#"SELECT id, received, accepted, duplicates, rejected,
                  rejections AS "rejections: Json<Vec<Rejection>>", created_at
           FROM batches WHERE model_id = $1 AND id = $2"#,
        model.0,
        id,
    )
    .fetch_optional(db)
    .await?;
    Ok(row.map(|row| batch!(row)))
}

/// A model's batches before the one of id `before`, newest first.
pub async fn list(
    db: &mut PgConnection,
    model: ModelId,
    before: Option<Uuid>,
    limit: i64,
) -> Result<Vec<Batch>, StorageError> {
    let rows = sqlx::query!(
        r#"SELECT id, received, accepted, duplicates, rejected,
                  rejections AS "rejections: Json<Vec<Rejection>>", created_at
           FROM batches WHERE model_id = $1 AND ($2::uuid IS NULL OR id < $2)
           ORDER BY id DESC LIMIT $3"#,
        model.0,
        before,
        limit,
    )
    .fetch_all(db)
    .await?;
    Ok(rows.into_iter().map(|row| batch!(row)).collect())
}

/// Deletes a batch with its blocks and samples; false when there is none.
pub async fn delete(db: &mut PgConnection, model: ModelId, id: Uuid) -> Result<bool, StorageError> {
    let done = sqlx::query!("DELETE FROM batches WHERE model_id = $1 AND id = $2", model.0, id)
        .execute(db)
        .await?;
    Ok(done.rows_affected() == 1)
}
