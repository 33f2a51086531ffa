//! Answers already given under an `Idempotency-Key`.

use sqlx::PgConnection;
use sqlx::types::Json;

use super::StorageError;
use super::models::ModelId;

/// An answer as it was given the first time.
#[derive(Debug, Clone, PartialEq)]
pub struct GivenAnswer {
    /// SHA-256 of the request that was answered.
    pub fingerprint: Vec<u8>,
    /// The HTTP status.
    pub status: u16,
    /// The `Location` header, if there was one.
    pub location: Option<String>,
    /// The body.
    pub body: serde_json::Value,
}

/// Takes the key for this transaction; false when another one holds it right now.
pub async fn try_lock(
    db: &mut PgConnection,
    model: ModelId,
    route: &str,
    key: &str,
) -> Result<bool, StorageError> {
    Ok(sqlx::query_scalar!(
        r#"SELECT pg_try_advisory_xact_lock(hashtextextended($1 || ' ' || $2, $3)) AS "taken!""#,
        route,
        key,
        model.0,
    )
    .fetch_one(db)
    .await?)
}

/// The answer given under this key, if any.
pub async fn find(
    db: &mut PgConnection,
    model: ModelId,
    route: &str,
    key: &str,
) -> Result<Option<GivenAnswer>, StorageError> {
    let row = sqlx::query!(
        r#"SELECT fingerprint, status, location, body AS "body: Json<serde_json::Value>"
           FROM idempotency_keys WHERE model_id = $1 AND route = $2 AND key = $3"#,
        model.0,
        route,
        key,
    )
    .fetch_optional(db)
    .await?;
    Ok(row.map(|row| GivenAnswer {
        fingerprint: row.fingerprint,
        status: row.status as u16,
        location: row.location,
        body: row.body.0,
    }))
}

/// Keeps the answer given under this key.
pub async fn insert(
    db: &mut PgConnection,
    model: ModelId,
    route: &str,
    key: &str,
    answer: &GivenAnswer,
) -> Result<(), StorageError> {
    sqlx::query!(
        "INSERT INTO idempotency_keys (model_id, route, key, fingerprint, status, location, body)
         VALUES ($1, $2, $3, $4, $5, $6, $7)",
        model.0,
        route,
        key,
        answer.fingerprint,
        answer.status as i16,
        answer.location,
        answer.body,
    )
    .execute(db)
    .await?;
    Ok(())
}

/// Forgets answers older than a day: by then no client tries again.
pub async fn sweep(db: &mut PgConnection) -> Result<u64, StorageError> {
    let done =
        sqlx::query!("DELETE FROM idempotency_keys WHERE created_at < now() - interval '24 hours'")
            .execute(db)
            .await?;
    Ok(done.rows_affected())
}
