//! The audit: who did what, and when.

use serde_json::Value;
use sqlx::PgConnection;
use time::OffsetDateTime;

use super::StorageError;
use crate::domain::audit::Action;
use crate::domain::name::ModelName;

/// A row of the audit.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// Later ones have higher ids.
    pub id: i64,
    /// Whose key it was, if one was asked for.
    pub actor: Option<String>,
    /// What was done.
    pub action: Action,
    /// To which model; there may be none of this name any more, or another one.
    pub model: ModelName,
    /// The rest, by action.
    pub detail: Value,
    /// When.
    pub created_at: OffsetDateTime,
}

/// Writes down what is done in this transaction.
pub async fn record(
    db: &mut PgConnection,
    actor: Option<&str>,
    action: Action,
    model: &ModelName,
    detail: Value,
) -> Result<(), StorageError> {
    sqlx::query!(
        "INSERT INTO audit (actor, action, model, detail) VALUES ($1, $2, $3, $4)",
        actor,
        action.as_str(),
        model.as_str(),
        detail,
    )
    .execute(db)
    .await?;
    Ok(())
}

/// Entries before the one of id `before`, newest first.
pub async fn list(
    db: &mut PgConnection,
    before: Option<i64>,
    limit: i64,
) -> Result<Vec<Entry>, StorageError> {
    let rows = sqlx::query!(
        "SELECT id, actor, action, model, detail, created_at FROM audit
         WHERE $1::bigint IS NULL OR id < $1 ORDER BY id DESC LIMIT $2",
        before,
        limit,
    )
    .fetch_all(db)
    .await?;
    rows.into_iter()
        .map(|row| {
            Ok(Entry {
                id: row.id,
                actor: row.actor,
                action: Action::parse(&row.action)?,
                model: ModelName::parse(row.model)?,
                detail: row.detail,
                created_at: row.created_at,
            })
        })
        .collect()
}
