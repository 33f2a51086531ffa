//! Which pending samples are fresh: what the schedule counts. The others an update has been offered before.

use sqlx::PgConnection;

use crate::storage::StorageError;
use crate::storage::models::ModelId;

/// How many samples wait that no update has been offered yet.
pub async fn count_fresh(db: &mut PgConnection, model: ModelId) -> Result<i64, StorageError> {
    Ok(sqlx::query_scalar!(
        r#"SELECT count(*) AS "count!" FROM samples WHERE model_id = $1 AND fresh"#,
        model.0,
    )
    .fetch_one(db)
    .await?)
}

/// Models with samples that no update has been offered yet: how many, and for how many seconds
/// the oldest has waited; fewer than 0 where the clock was set back since.
pub async fn fresh_by_model(
    db: &mut PgConnection,
) -> Result<Vec<(ModelId, i64, f64)>, StorageError> {
    let rows = sqlx::query!(
        r#"SELECT fresh.model_id AS "model_id!", fresh.count AS "count!",
                  extract(epoch FROM now() - batches.created_at)::float8 AS "waited_s!"
           FROM (SELECT model_id, count(*) AS count, min(block_id) AS block_id
                 FROM samples WHERE fresh GROUP BY model_id) fresh
           JOIN blocks ON blocks.id = fresh.block_id
           JOIN batches ON batches.id = blocks.batch_id"#
    )
    .fetch_all(db)
    .await?;
    Ok(rows.into_iter().map(|row| (ModelId(row.model_id), row.count, row.waited_s)).collect())
}

/// Records that an update has taken these samples up: until it publishes they stay pending, but
/// the schedule waits for newer ones.
pub async fn mark_offered(
    db: &mut PgConnection,
    model: ModelId,
    hashes: &[Vec<u8>],
) -> Result<(), StorageError> {
    sqlx::query!(
        "UPDATE samples SET fresh = false FROM unnest($2::bytea[]) AS offered (hash)
         WHERE samples.model_id = $1 AND samples.hash = offered.hash",
        model.0,
        hashes,
    )
    .execute(db)
    .await?;
    Ok(())
}

/// Lets the schedule wait for samples of later blocks than `last`, as if an update had taken up all that came before.
pub async fn pass_over(
    db: &mut PgConnection,
    model: ModelId,
    last: i64,
) -> Result<(), StorageError> {
    sqlx::query!(
        "UPDATE samples SET fresh = false WHERE model_id = $1 AND block_id <= $2 AND fresh",
        model.0,
        last,
    )
    .execute(db)
    .await?;
    Ok(())
}

/// Lets the schedule count what is pending, though an update had taken it up: all of it, where the first of it was.
pub async fn offer_again(db: &mut PgConnection, model: ModelId) -> Result<(), StorageError> {
    sqlx::query!(
        // Mostly nothing was, and then a long backlog is not looked through.
        "UPDATE samples SET fresh = true
         WHERE model_id = $1 AND version IS NULL AND NOT fresh
               AND (SELECT NOT fresh FROM samples WHERE model_id = $1 AND version IS NULL
                    ORDER BY block_id, position LIMIT 1)",
        model.0,
    )
    .execute(db)
    .await?;
    Ok(())
}
