//! What this process hears from the others, by way of the database.

use std::time::Duration;

use sqlx::postgres::PgConnectOptions;
use tokio_util::sync::CancellationToken;

use super::TRY_AGAIN;
use crate::services::{Context, access, events, serving};
use crate::storage::notices::{self, Listener, Notice};

/// Backstop for notices that were lost: how often routes are read anew.
const REFRESH: Duration = Duration::from_secs(30);
/// The same: how often events are looked for.
const LOOK_AGAIN: Duration = Duration::from_secs(2);

/// Passes notices from the database on to whoever listens in this process.
pub(super) async fn listen(
    context: Context,
    options: PgConnectOptions,
    shutdown: CancellationToken,
) {
    let listening = async {
        loop {
            match Listener::connect(options.clone()).await {
                Ok(mut listener) => {
                    let _ = context.notices.send(Notice::Reconnected);
                    while let Ok(notice) = listener.next().await {
                        let _ = context.notices.send(notice);
                    }
                    tracing::warn!("the connection for notices is lost; connecting again");
                }
                Err(error) => tracing::warn!(%error, "no connection for notices; trying again"),
            }
            tokio::time::sleep(TRY_AGAIN).await;
        }
    };
    shutdown.run_until_cancelled(listening).await;
}

/// Keeps routes as new as the database: on every notice, and now and then in case one was lost.
pub(super) async fn follow(context: Context, shutdown: CancellationToken) {
    let mut notices = context.notices.subscribe();
    let following = async {
        loop {
            let changed = match tokio::time::timeout(REFRESH, notices.recv()).await {
                Ok(Ok(Notice::Changed(id))) => Some(id),
                Ok(Ok(Notice::Reconnected) | Err(_)) | Err(_) => None,
                Ok(Ok(_)) => continue,
            };
            let routed = context.serving.routed().into_iter();
            let old = routed.filter(|(_, id)| changed.is_none_or(|changed| changed == id.0));
            serving::refresh_all(&context, old.map(|(name, _)| name).collect()).await;
        }
    };
    shutdown.run_until_cancelled(following).await;
}

/// Keeps what is known of keys as new as the database, and writes down when they were used.
pub(super) async fn keep_keys(context: Context, shutdown: CancellationToken) {
    let mut notices = context.notices.subscribe();
    let keeping = async {
        loop {
            let changed = notices::until(&mut notices, |notice| *notice == Notice::Keys);
            let _ = tokio::time::timeout(REFRESH, changed).await;
            if let Err(error) = access::refresh(&context).await {
                tracing::debug!(%error, "the keys could not be read anew");
            }
        }
    };
    shutdown.run_until_cancelled(keeping).await;
}

/// Passes events on to whoever listens in this process: on every notice of one, and now and then in
/// case one was lost.
pub(super) async fn pass_events_on(context: Context, shutdown: CancellationToken) {
    let mut notices = context.notices.subscribe();
    let passing = async {
        loop {
            if let Err(error) = events::pass_on(&context).await {
                tracing::warn!(%error, "events could not be passed on; trying again");
                tokio::time::sleep(TRY_AGAIN).await;
                continue;
            }
            let is_event = |notice: &Notice| matches!(notice, Notice::Told | Notice::Ended(_));
            let told = notices::until(&mut notices, is_event);
            let _ = tokio::time::timeout(LOOK_AGAIN, told).await;
        }
    };
    shutdown.run_until_cancelled(passing).await;
}
