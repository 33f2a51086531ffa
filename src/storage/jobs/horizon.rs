//! How far a job looks: every run of it takes pending samples up to the same block, so that one run
//! can go on where another was interrupted. Where the gate refused what came of it: the last block that there
//! was when its run began, so that what comes after is told from what had come.

use sqlx::PgConnection;
use uuid::Uuid;

use super::Claim;
use crate::storage::StorageError;
use crate::storage::models::ModelId;

/// The last block whose samples the job takes; none before a run has set it.
pub async fn find(db: &mut PgConnection, id: Uuid) -> Result<Option<i64>, StorageError> {
    let found = sqlx::query_scalar!("SELECT horizon FROM updates WHERE id = $1", id);
    Ok(found.fetch_optional(db).await?.flatten())
}

/// Sets it, or forgets it so that the next run takes whatever is pending then; false when the job
/// is no longer this run's.
pub async fn set(
    db: &mut PgConnection,
    claim: Claim,
    horizon: Option<i64>,
) -> Result<bool, StorageError> {
    let done = sqlx::query!(
        "UPDATE updates SET horizon = $3 WHERE id = $1 AND attempt = $2 AND status = 'running'",
        claim.id,
        claim.attempt,
        horizon,
    )
    .execute(db)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Which pending samples came before the gate refused what was trained from `parent`: those up to this block. Others, after
/// it, are witnesses of what was refused. Of several refusals it is the newest after which more than `witnesses` came
/// that were refused, too; else the first.
pub async fn refused(
    db: &mut PgConnection,
    model: ModelId,
    parent: Option<i32>,
    witnesses: usize,
) -> Result<Option<i64>, StorageError> {
    // What has come since the last refusal has no say: every run of a job is to answer the same.
    let refused = sqlx::query_scalar!(
        "WITH refusals AS (
             SELECT u.horizon FROM versions v JOIN updates u ON u.id = v.update_id
             WHERE v.model_id = $1 AND v.parent IS NOT DISTINCT FROM $2 AND v.status = 'rejected'
         )
         SELECT coalesce(max(horizon) FILTER (WHERE horizon < (
                             SELECT block_id FROM samples
                             WHERE model_id = $1 AND version IS NULL
                                   AND block_id <= (SELECT max(horizon) FROM refusals)
                             ORDER BY block_id DESC OFFSET $3 LIMIT 1)),
                         min(horizon))
         FROM refusals",
        model.0,
        parent,
        witnesses as i64,
    );
    Ok(refused.fetch_one(db).await?)
}
