//! How far a job looks: every run of it takes pending samples up to the same block, so that one run
//! can go on where another was interrupted. Where the gate refused what came of it: the last block that there
//! was when its run began, so that what comes after is told from what had come.

use sqlx::PgConnection;
use uuid::Uuid;

use super::Claim;
use crate::storage::StorageError;

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
