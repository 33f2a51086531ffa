//! "Change this model": one request at a time, and none for long.
//!
//! Invariant: of one model at most one request of a process waits for the model's lock with a connection in hand,
//! and for a bounded time: a lock that is held for long is the trouble of nobody else.

use sqlx::PgTransaction;

use super::queues::SHORT;
use super::slots::Slot;
use super::{Context, ServiceError};
use crate::domain::name::ModelName;
use crate::storage::database;

/// A transaction that is to change a model, and its turn, which is held until the transaction is over.
///
/// # Errors
/// [`ServiceError::Busy`] when others change the model for too long. What the transaction then waits for too long fails
/// as a store that is overloaded does.
pub(super) async fn begin(
    context: &Context,
    model: &ModelName,
) -> Result<(Slot, PgTransaction<'static>), ServiceError> {
    let turn = context.queues.changes.take(model).await?;
    let mut tx = context.pool.begin().await?;
    database::limit_waits(&mut tx, SHORT).await?;
    Ok((turn, tx))
}
