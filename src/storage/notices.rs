//! Notices between processes over PostgreSQL's NOTIFY: hints to look at the database now. One that
//! is lost costs a wait until the next poll, nothing else.

use serde::{Deserialize, Serialize};
use sqlx::PgConnection;
use sqlx::postgres::{PgConnectOptions, PgConnection as Connection, PgListener, PgPoolOptions};
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;
use uuid::Uuid;

use super::StorageError;

const CHANNEL: &str = "perennial";

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Notice {
    /// An update may be claimed.
    Queued,
    /// A running update is to stop.
    Cancel(Uuid),
    /// An update ended.
    Ended(Uuid),
    /// Something happened to an update, or to a model beside its updates.
    Told,
    /// A model, or an alias of it, changed: what is cached about it is old.
    Changed(i64),
    /// A key came or went.
    Keys,
    /// The connection was lost and is back: anything may have happened.
    Reconnected,
}

/// Sends a notice when the transaction commits.
pub async fn send(db: &mut PgConnection, notice: &Notice) -> Result<(), StorageError> {
    let payload = serde_json::to_string(notice).map_err(|e| StorageError::damaged("notice", e))?;
    sqlx::query_scalar!(r#"SELECT pg_notify($1, $2)::text"#, CHANNEL, payload)
        .fetch_one(db)
        .await?;
    Ok(())
}

/// Waits for a notice that `is_it`, or until one may have been missed.
pub async fn until(notices: &mut broadcast::Receiver<Notice>, is_it: impl Fn(&Notice) -> bool) {
    loop {
        match notices.recv().await {
            Ok(Notice::Reconnected) | Err(RecvError::Lagged(_)) => return,
            Ok(notice) if is_it(&notice) => return,
            Ok(_) => {}
            Err(RecvError::Closed) => std::future::pending().await,
        }
    }
}

/// The process's one listening connection.
pub struct Listener(PgListener);

impl Listener {
    /// Connects, apart from the pool: a busy pool must not delay a notice.
    ///
    /// # Errors
    /// When the database cannot be reached.
    pub async fn connect(options: PgConnectOptions) -> Result<Self, StorageError> {
        let pool = PgPoolOptions::new().max_connections(1).connect_with(options).await?;
        let mut listener = PgListener::connect_with(&pool).await?;
        listener.listen(CHANNEL).await?;
        Ok(Self(listener))
    }

    /// The next notice; [`Notice::Reconnected`] when some may have been missed.
    ///
    /// # Errors
    /// When the database cannot be reached again.
    pub async fn next(&mut self) -> Result<Notice, StorageError> {
        loop {
            let Some(notification) = self.0.try_recv().await? else {
                return Ok(Notice::Reconnected);
            };
            match serde_json::from_str(notification.payload()) {
                Ok(notice) => return Ok(notice),
                Err(error) => tracing::debug!(%error, "a notice of another kind was passed over"),
            }
        }
    }
}

/// A connection of its own for a worker's heartbeat, which a busy pool must not delay.
///
/// # Errors
/// When the database cannot be reached.
pub async fn connect(options: &PgConnectOptions) -> Result<Connection, StorageError> {
    use sqlx::ConnectOptions;
    Ok(options.connect().await?)
}
