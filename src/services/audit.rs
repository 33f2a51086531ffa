//! "Who did what to this model, and when?"

use serde_json::Value;
use sqlx::PgConnection;

use super::{Context, ServiceError, access};
use crate::domain::audit::Action;
use crate::domain::name::ModelName;
use crate::storage::StorageError;
use crate::storage::audit::{self, Entry};

/// Writes down what is done to a model in this transaction, and whose key it is done with.
pub(super) async fn record(
    db: &mut PgConnection,
    action: Action,
    model: &ModelName,
    detail: Value,
) -> Result<(), StorageError> {
    audit::record(db, access::actor().as_deref(), action, model, detail).await
}

/// What was done to models, before entry `before`, newest first.
///
/// # Errors
/// When the database fails.
pub async fn list(
    context: &Context,
    before: Option<i64>,
    limit: i64,
) -> Result<Vec<Entry>, ServiceError> {
    let mut db = context.pool.acquire().await?;
    Ok(audit::list(&mut db, before, limit).await?)
}
