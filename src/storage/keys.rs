//! API keys; of each the digest alone.

use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use super::StorageError;
use crate::domain::key::{Key, NewKey};
use crate::domain::name::ModelName;

/// Keeps a new key.
pub async fn insert(
    db: &mut PgConnection,
    id: Uuid,
    prefix: &str,
    digest: &[u8],
    terms: &NewKey,
) -> Result<(), StorageError> {
    let scopes: Vec<String> = terms.scopes.iter().map(|scope| scope.as_str().to_owned()).collect();
    let models = terms
        .models
        .as_ref()
        .map(|models| models.iter().map(|model| model.as_str().to_owned()).collect::<Vec<_>>());
    let requests_per_minute =
        terms.requests_per_minute.map(|n| i32::try_from(n).unwrap_or(i32::MAX));
    sqlx::query!(
        "INSERT INTO keys (id, name, prefix, digest, scopes, models, requests_per_minute, expires_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
        id,
        terms.name,
        prefix,
        digest,
        &scopes,
        models as _,
        requests_per_minute,
        terms.expires_at,
    )
    .execute(db)
    .await?;
    Ok(())
}

/// A key as it is kept.
#[derive(Debug)]
pub struct StoredKey {
    /// Its digest.
    pub digest: Vec<u8>,
    /// All else.
    pub key: Key,
    /// Seconds until it expires by the database's clock, fewer than 0 once it has; `None` when it never does.
    pub expires_in_s: Option<f64>,
}

/// All keys, also those that are no longer good, newest first.
pub async fn list(db: &mut PgConnection) -> Result<Vec<StoredKey>, StorageError> {
    let rows = sqlx::query!(
        r#"SELECT id, name, prefix, digest, scopes, models, requests_per_minute, created_at, expires_at,
                  revoked_at, last_used_at, extract(epoch FROM expires_at - now())::float8 AS expires_in_s
           FROM keys ORDER BY id DESC"#
    )
    .fetch_all(db)
    .await?;
    let mut keys = Vec::with_capacity(rows.len());
    for row in rows {
        let models = |models: Vec<String>| models.into_iter().map(ModelName::parse).collect();
        let terms = NewKey {
            name: row.name,
            scopes: row.scopes.iter().map(|word| word.parse()).collect::<Result<_, _>>()?,
            models: row.models.map(models).transpose()?,
            requests_per_minute: row.requests_per_minute.map(i32::unsigned_abs),
            expires_at: row.expires_at,
        };
        let key = Key {
            id: row.id,
            prefix: row.prefix,
            terms,
            created_at: row.created_at,
            revoked_at: row.revoked_at,
            last_used_at: row.last_used_at,
        };
        keys.push(StoredKey { digest: row.digest, key, expires_in_s: row.expires_in_s });
    }
    Ok(keys)
}

/// Ends the key of this prefix; false when there is none.
pub async fn revoke(db: &mut PgConnection, prefix: &str) -> Result<bool, StorageError> {
    let done = sqlx::query!(
        "UPDATE keys SET revoked_at = coalesce(revoked_at, now()) WHERE prefix = $1",
        prefix,
    )
    .execute(db)
    .await?;
    Ok(done.rows_affected() > 0)
}

/// Writes down when keys were last used, each with its time.
pub async fn touch(
    db: &mut PgConnection,
    ids: &[Uuid],
    used_at: &[OffsetDateTime],
) -> Result<(), StorageError> {
    sqlx::query!(
        "UPDATE keys SET last_used_at = greatest(last_used_at, used.at)
         FROM unnest($1::uuid[], $2::timestamptz[]) AS used (id, at) WHERE keys.id = used.id",
        ids,
        used_at,
    )
    .execute(db)
    .await?;
    Ok(())
}
