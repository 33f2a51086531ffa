//! Times that lie further ahead than anybody sets them: the database's clock was set back since.
//!
//! Invariant: no job waits until the clock has come to them again.

use sqlx::PgConnection;

use crate::storage::StorageError;

/// Lets leases that end too late end one lease from now. A worker that lives renews its own before.
pub async fn shorten_leases(db: &mut PgConnection) -> Result<u64, StorageError> {
    let done = sqlx::query!(
        "UPDATE updates SET leased_until = now() + make_interval(secs => lease_s)
         WHERE status = 'running' AND leased_until > now() + make_interval(secs => lease_s)"
    );
    Ok(done.execute(db).await?.rows_affected())
}

/// Lets queued jobs run that are to wait longer than a back-off: at most `max_back_off_s` seconds, and not at all
/// where no run has failed, nor found a store away.
pub async fn shorten_waits(
    db: &mut PgConnection,
    max_back_off_s: f64,
) -> Result<u64, StorageError> {
    let done = sqlx::query!(
        "UPDATE updates SET run_after = now()
         WHERE status = 'queued'
           AND run_after > now() + make_interval(
                   secs => CASE WHEN failures = 0 AND error IS NULL THEN 0 ELSE $1::float8 END)",
        max_back_off_s,
    );
    Ok(done.execute(db).await?.rows_affected())
}
