//! What a model holds beyond what its settings keep.
//!
//! Each function answers what has gone too far, at most `limit` of it, oldest first.

use sqlx::PgConnection;
use uuid::Uuid;

use super::StorageError;
use super::models::ModelId;

/// Models that do not keep everything.
pub async fn models_that_expire(db: &mut PgConnection) -> Result<Vec<ModelId>, StorageError> {
    let ids = sqlx::query_scalar!(
        r#"SELECT id FROM models
           WHERE jsonb_path_exists(settings, '$.retention.* ? (@.type() == "number")') ORDER BY id"#
    );
    Ok(ids.fetch_all(db).await?.into_iter().map(ModelId).collect())
}

/// Versions beyond the newest `keep` that no alias points at, or pointed at before, and that the live
/// version was not trained from.
pub async fn versions(
    db: &mut PgConnection,
    model: ModelId,
    keep: i64,
    limit: i64,
) -> Result<Vec<i32>, StorageError> {
    Ok(sqlx::query_scalar!(
        "SELECT v.version FROM versions v
         WHERE v.model_id = $1 AND v.removed_at IS NULL
           AND v.version NOT IN (SELECT version FROM versions
                                 WHERE model_id = $1 AND removed_at IS NULL
                                 ORDER BY version DESC LIMIT $2)
           AND NOT EXISTS (SELECT FROM aliases a
                           WHERE a.model_id = $1 AND v.version IN (a.version, a.previous, a.canary_version, a.shadow))
           AND NOT EXISTS (SELECT FROM aliases a
                           JOIN versions live ON live.model_id = $1 AND live.version = a.version
                           WHERE a.model_id = $1 AND a.alias = 'live' AND live.parent = v.version)
         ORDER BY v.version LIMIT $3",
        model.0,
        keep,
        limit,
    )
    .fetch_all(db)
    .await?)
}

/// How many labels have samples that may be replayed.
pub async fn count_learnt_labels(
    db: &mut PgConnection,
    model: ModelId,
) -> Result<i64, StorageError> {
    Ok(sqlx::query_scalar!(
        r#"SELECT count(*) AS "count!" FROM labels l
           WHERE model_id = $1 AND EXISTS (
               SELECT FROM samples s
               WHERE s.model_id = $1 AND s.label = l.label AND version IS NOT NULL
                     AND NOT held_out AND NOT withheld)"#,
        model.0,
    )
    .fetch_one(db)
    .await?)
}

/// Blocks of batches that came more than `days` ago, unless `kept` names all samples in them.
pub async fn blocks(
    db: &mut PgConnection,
    model: ModelId,
    days: i32,
    kept: &[Vec<u8>],
    limit: i64,
) -> Result<Vec<i64>, StorageError> {
    Ok(sqlx::query_scalar!(
        // Apart, so that only old blocks are looked into, whatever the planner thinks.
        r#"WITH old AS MATERIALIZED (
             SELECT blocks.id FROM blocks JOIN batches ON batches.id = blocks.batch_id
             WHERE blocks.model_id = $1 AND batches.created_at < now() - make_interval(days => $2)
         )
         SELECT id AS "id!" FROM old
         WHERE EXISTS (SELECT FROM samples
                       WHERE block_id = old.id AND hash NOT IN (SELECT unnest($3::bytea[])))
               OR NOT EXISTS (SELECT FROM samples WHERE block_id = old.id)
         ORDER BY id LIMIT $4"#,
        model.0,
        days,
        kept,
        limit,
    )
    .fetch_all(db)
    .await?)
}

/// How many samples came more than `days` ago, but for those that `kept` names.
pub async fn count_samples(
    db: &mut PgConnection,
    model: ModelId,
    days: i32,
    kept: &[Vec<u8>],
) -> Result<i64, StorageError> {
    Ok(sqlx::query_scalar!(
        r#"SELECT count(*) AS "count!"
           FROM samples JOIN blocks ON blocks.id = samples.block_id
           JOIN batches ON batches.id = blocks.batch_id
           WHERE batches.model_id = $1 AND batches.created_at < now() - make_interval(days => $2)
                 AND samples.hash NOT IN (SELECT unnest($3::bytea[]))"#,
        model.0,
        days,
        kept,
    )
    .fetch_one(db)
    .await?)
}

/// Updates that have ended, beyond the newest `keep` of these.
pub async fn updates(
    db: &mut PgConnection,
    model: ModelId,
    keep: i64,
    limit: i64,
) -> Result<Vec<Uuid>, StorageError> {
    Ok(sqlx::query_scalar!(
        "SELECT id FROM updates
         WHERE model_id = $1 AND finished_at IS NOT NULL
           AND id NOT IN (SELECT id FROM updates WHERE model_id = $1 AND finished_at IS NOT NULL
                          ORDER BY id DESC LIMIT $2)
         ORDER BY id LIMIT $3",
        model.0,
        keep,
        limit,
    )
    .fetch_all(db)
    .await?)
}

/// Holds versions until the transaction ends, so that no alias is pointed at them meanwhile.
pub async fn hold_versions(
    db: &mut PgConnection,
    model: ModelId,
    numbers: &[i32],
) -> Result<(), StorageError> {
    sqlx::query!(
        "SELECT version FROM versions WHERE model_id = $1 AND version = ANY($2)
         ORDER BY version FOR UPDATE",
        model.0,
        numbers,
    )
    .fetch_all(db)
    .await?;
    Ok(())
}

/// Removes versions: what is left of each is its place among the others. Answers the paths of their
/// checkpoints.
pub async fn remove_versions(
    db: &mut PgConnection,
    model: ModelId,
    numbers: &[i32],
) -> Result<Vec<String>, StorageError> {
    Ok(sqlx::query_scalar!(
        "UPDATE versions SET removed_at = now(), evaluation = '{}', gate = '{}', labels = '{}'
         WHERE model_id = $1 AND version = ANY($2) RETURNING checkpoint",
        model.0,
        numbers,
    )
    .fetch_all(db)
    .await?)
}

/// Deletes batches that came more than `days` ago and hold no samples any more.
pub async fn delete_empty_batches(
    db: &mut PgConnection,
    model: ModelId,
    days: i32,
) -> Result<u64, StorageError> {
    let done = sqlx::query!(
        "DELETE FROM batches
         WHERE model_id = $1 AND created_at < now() - make_interval(days => $2)
               AND NOT EXISTS (SELECT FROM blocks WHERE batch_id = batches.id)",
        model.0,
        days,
    )
    .execute(db)
    .await?;
    Ok(done.rows_affected())
}

/// Deletes updates with all that is told of them.
pub async fn delete_updates(db: &mut PgConnection, ids: &[Uuid]) -> Result<(), StorageError> {
    sqlx::query!("DELETE FROM updates WHERE id = ANY($1)", ids).execute(db).await?;
    Ok(())
}
