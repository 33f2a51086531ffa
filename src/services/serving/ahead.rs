//! Routes and versions that are read before anybody asks for them.

use std::sync::atomic::Ordering;

use futures_util::{StreamExt, TryStreamExt, stream};

use crate::domain::name::ModelName;
use crate::services::{Context, ServiceError};
use crate::storage::models::{self, Model};

/// Models that are read anew at a time: what one of them waits for holds few others back.
const AT_ONCE: usize = 8;

/// Reads the routes to these models anew, and logs what cannot be.
pub async fn refresh_all(context: &Context, names: Vec<ModelName>) {
    let refresh = |name: ModelName| async move {
        if let Err(error) = context.serving.refresh(context, &name).await {
            tracing::debug!(%error, model = %name, "a route could not be refreshed");
        }
    };
    stream::iter(names).for_each_concurrent(AT_ONCE, refresh).await;
}

/// Loads the `live` version of every model, newest models first, as far as memory goes.
///
/// # Errors
/// When the database cannot be asked. A version that cannot be loaded is logged and passed over.
pub async fn warm_all(context: &Context) -> Result<(), ServiceError> {
    /// More are loaded when first asked for.
    const MODELS: i64 = 1_000;
    let mut db = context.pool.acquire().await?;
    let models = models::list(&mut db, None, MODELS).await?;
    drop(db);
    let models = stream::iter(models.into_iter().map(Ok));
    let load =
        |model: Model| async move { context.serving.route(context, &model.name).await.map(drop) };
    models.try_for_each_concurrent(AT_ONCE, load).await?;
    context.serving.is_warm.store(true, Ordering::Release);
    Ok(())
}
