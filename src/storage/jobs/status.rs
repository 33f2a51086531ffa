//! Where jobs are in their lives, without all the rest that a job's row holds.

use sqlx::PgConnection;
use uuid::Uuid;

use crate::domain::update::UpdateStatus;
use crate::storage::StorageError;
use crate::storage::models::ModelId;

/// Where the job of this id is.
pub async fn status(db: &mut PgConnection, id: Uuid) -> Result<Option<UpdateStatus>, StorageError> {
    let found = sqlx::query_scalar!("SELECT status FROM updates WHERE id = $1", id);
    let word = found.fetch_optional(db).await?;
    Ok(word.as_deref().map(UpdateStatus::parse).transpose()?)
}

/// Whether a job of the model is running.
pub async fn is_running(db: &mut PgConnection, model: ModelId) -> Result<bool, StorageError> {
    Ok(sqlx::query_scalar!(
        r#"SELECT EXISTS (SELECT FROM updates
                          WHERE model_id = $1 AND status = 'running') AS "running!""#,
        model.0,
    )
    .fetch_one(db)
    .await?)
}

/// Jobs by status, for the metrics.
pub async fn count_by_status(db: &mut PgConnection) -> Result<Vec<(String, i64)>, StorageError> {
    let rows = sqlx::query!(
        r#"SELECT status, count(*) AS "count!" FROM updates
           WHERE status IN ('queued', 'running') GROUP BY status"#
    )
    .fetch_all(db)
    .await?;
    Ok(rows.into_iter().map(|row| (row.status, row.count)).collect())
}
