//! The composition root: settings → database → stores → serving → router and worker → shutdown.
//!
//! The service listens before the database is there: until then `/readyz` says 503 and why, and
//! the log says what is waited for. On shutdown it takes no more connections, finishes requests,
//! hands running jobs back, and stops the private PostgreSQL last.

use std::net::SocketAddr;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use sqlx::postgres::PgConnectOptions;
use tokio::sync::broadcast;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use self::objects::checkpoint_store;
use self::ports::{Ports, reached_by_others};
use self::wire::http_state;
use crate::config::Settings;
use crate::http;
use crate::postgres::{self, PostgresError, PrivatePostgres};
use crate::services::access::{self, Access};
use crate::services::events::{self, Feed};
use crate::services::remember::{self, Remembered};
use crate::services::serving::{self, Serving};
use crate::services::{Context, Parts, ServiceError, update};
use crate::storage::checkpoints::Checkpoints;
use crate::storage::{StorageError, database};
use crate::telemetry;
use crate::worker::{self, WorkerSettings};

mod health;
mod keys;
mod listener;
mod notices;
mod objects;
mod ports;
mod tls;
mod wire;

pub use health::health;
pub use keys::keys;
pub use tls::choose_cryptography;

/// Why the service could not start or go on.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// A setting that cannot be followed.
    #[error("{0}")]
    Settings(String),
    /// The private PostgreSQL.
    #[error(transparent)]
    Postgres(#[from] PostgresError),
    /// The database.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The machine.
    #[error("{what}: {source}")]
    Io {
        /// What was tried.
        what: String,
        /// Why it failed.
        source: std::io::Error,
    },
}

impl AppError {
    fn io(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        |source| Self::Io { what: what.into(), source }
    }
}

/// A service that runs in this process.
pub struct Service {
    /// Where it listens, if it does.
    pub address: Option<SocketAddr>,
    /// Where it answers gRPC, if it does.
    pub grpc_address: Option<SocketAddr>,
    context: Context,
    shutdown: CancellationToken,
    tasks: Vec<JoinHandle<()>>,
    /// Stopped last.
    private_postgres: Option<PrivatePostgres>,
}

/// How long after a failure the database is tried again.
const TRY_AGAIN: Duration = Duration::from_secs(1);
/// Notices that a slow task may fall behind before it has to look at everything again.
const NOTICES: usize = 1024;

/// `perennial serve`: until a signal.
///
/// # Errors
/// [`AppError`] when it cannot start.
pub async fn serve(settings: &Settings, with_worker: bool) -> Result<(), AppError> {
    log(settings)?;
    run_until_signal(Service::start(settings, true, with_worker)).await
}

/// `perennial worker`: until a signal.
///
/// # Errors
/// [`AppError`] when it cannot start.
pub async fn work(settings: &Settings) -> Result<(), AppError> {
    log(settings)?;
    run_until_signal(Service::start(settings, false, true)).await
}

/// `perennial migrate`.
///
/// # Errors
/// [`AppError`] when the schema cannot be brought up to date.
pub async fn migrate(settings: &Settings) -> Result<(), AppError> {
    log(settings)?;
    let (options, private_postgres) = database(settings).await?;
    let migrated = database::migrate(&database::pool(options, 2)).await;
    stop_postgres(private_postgres).await;
    migrated?;
    tracing::info!("the schema is up to date");
    Ok(())
}

/// `perennial openapi`: prints the document that `openapi.yaml` holds.
///
/// # Errors
/// [`AppError::Io`] when nobody reads.
pub fn print_openapi() -> Result<(), AppError> {
    use std::io::Write;
    let text = http::openapi::to_yaml().map_err(AppError::Settings)?;
    std::io::stdout().write_all(text.as_bytes()).map_err(AppError::io("standard output"))
}

fn log(settings: &Settings) -> Result<(), AppError> {
    telemetry::start_logging(&settings.log, settings.log_format).map_err(AppError::Settings)
}

impl Service {
    /// Starts listening, working, or both. It listens at once, and returns when the database is
    /// there.
    ///
    /// # Errors
    /// [`AppError`] when a setting cannot be followed or the address is taken.
    pub async fn start(settings: &Settings, listens: bool, works: bool) -> Result<Self, AppError> {
        let metrics = telemetry::start_metrics().map_err(AppError::Settings)?;
        let ports = match listens {
            true => Some(Ports::bind(settings).await?),
            false => None,
        };
        let address = ports.as_ref().and_then(Ports::http);
        let grpc_address = ports.as_ref().and_then(Ports::grpc);
        let scheme = ports.as_ref().map_or("http", Ports::scheme);
        let checkpoints = checkpoint_store(settings)?;
        let (options, private_postgres) = database(settings).await?;
        let context = context(settings, options.clone(), checkpoints, listens)?;
        let shutdown = CancellationToken::new();

        let mut tasks = Vec::new();
        if let Some(ports) = ports {
            let state = http_state(settings, &context, metrics, &shutdown)?;
            tasks.extend(ports.answer(state, &shutdown)?);
        }
        if let Err(error) = prepare(&context, settings, listens, &shutdown).await {
            shutdown.cancel();
            stop_postgres(private_postgres).await;
            return Err(error);
        }
        tasks.push(tokio::spawn(notices::listen(
            context.clone(),
            options.clone(),
            shutdown.clone(),
        )));
        tasks.push(tokio::spawn(notices::follow(context.clone(), shutdown.clone())));
        if listens {
            tasks.push(tokio::spawn(notices::keep_keys(context.clone(), shutdown.clone())));
            tasks.push(tokio::spawn(notices::pass_events_on(context.clone(), shutdown.clone())));
            tasks.push(tokio::spawn(remember::write(context.clone(), shutdown.clone())));
        }
        if works {
            let worker = WorkerSettings {
                slots: usize::from(settings.workers),
                lease: Duration::from_secs(u64::from(settings.lease_s)),
                max_failures: i32::from(settings.max_failures),
                orphan_age: Duration::from_secs(settings.orphan_age_s),
                prediction_days: settings.prediction_days,
                database: options,
            };
            tasks.push(tokio::spawn(worker::run(context.clone(), worker, shutdown.clone())));
        }
        if let Some(address) = address {
            tracing::info!("ready: {scheme}://{address}");
        }
        if let Some(address) = grpc_address {
            tracing::info!("ready for gRPC: {scheme}://{address}");
        }
        Ok(Self { address, grpc_address, context, shutdown, tasks, private_postgres })
    }

    /// Stops in order: requests, jobs, what is to be remembered, connections, the private PostgreSQL.
    pub async fn stop(self) {
        self.shutdown.cancel();
        for task in self.tasks {
            if let Err(error) = task.await {
                tracing::error!(%error, "a task of the service broke down");
            }
        }
        // Whatever the last requests were answered.
        if let Err(error) = remember::write_waiting(&self.context).await {
            tracing::error!(%error, "predictions that were to be remembered are lost");
        }
        self.context.pool.close().await;
        stop_postgres(self.private_postgres).await;
    }
}

/// Runs until SIGTERM or SIGINT, then stops in order. A second signal ends the process at once.
async fn run_until_signal(
    start: impl Future<Output = Result<Service, AppError>>,
) -> Result<(), AppError> {
    let service = tokio::select! {
        started = start => started?,
        // Still waiting for the database: there is nothing to finish.
        stopped = signal() => return stopped,
    };
    signal().await?;
    tracing::info!("stopping: finishing requests and handing jobs back");
    let stopping = service.stop();
    tokio::select! {
        () = stopping => tracing::info!("stopped"),
        second = signal() => {
            second?;
            tracing::warn!("stopped at once, on a second signal");
        }
    }
    Ok(())
}

/// The next SIGTERM or SIGINT.
///
/// # Errors
/// [`AppError::Io`] when signals cannot be waited for.
pub async fn signal() -> Result<(), AppError> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate()).map_err(AppError::io("SIGTERM"))?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(AppError::io("SIGINT"))?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}

/// Whether the service may answer anyone while there are no keys.
fn may_be_open(settings: &Settings) -> bool {
    reached_by_others(settings).is_none() || settings.allow_open_access
}

/// How to reach the database, and the private PostgreSQL where that is it.
async fn database(
    settings: &Settings,
) -> Result<(PgConnectOptions, Option<PrivatePostgres>), AppError> {
    if let Some(url) = settings.database_url.as_deref().filter(|url| !url.is_empty()) {
        let options = PgConnectOptions::from_str(url)
            .map_err(|_| AppError::Settings("DATABASE_URL is no PostgreSQL URL".to_owned()))?;
        return Ok((options.application_name("perennial"), None));
    }
    let private =
        postgres::Settings { data_dir: settings.data_dir(), bin_dir: settings.pg_bin_dir.clone() };
    let server = tokio::task::spawn_blocking(move || PrivatePostgres::start(&private))
        .await
        .map_err(|error| AppError::Settings(error.to_string()))??;
    let options = PgConnectOptions::new_without_pgpass()
        .socket(server.socket_dir())
        .port(server.port())
        .username(server.user())
        .database(server.database())
        .application_name("perennial");
    Ok((options, Some(server)))
}

async fn stop_postgres(server: Option<PrivatePostgres>) {
    if let Some(server) = server
        && let Err(error) = tokio::task::spawn_blocking(move || server.stop()).await
    {
        tracing::error!(%error, "the private PostgreSQL could not be stopped in order");
    }
}

fn context(
    settings: &Settings,
    options: PgConnectOptions,
    checkpoints: Checkpoints,
    listens: bool,
) -> Result<Context, AppError> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let training_threads = rayon::ThreadPoolBuilder::new()
        .num_threads(settings.training_threads())
        .thread_name(|index| format!("training-{index}"))
        .start_handler(move |_| update::give_way(listens))
        .build()
        .map_err(|error| AppError::Settings(format!("training threads: {error}")))?;
    Ok(Context::from(Parts {
        pool: database::pool(options, settings.database_connections),
        checkpoints,
        access: Arc::new(Access::new(may_be_open(settings))),
        serving: Arc::new(Serving::new(settings.serving_bytes, cores)),
        remembered: Arc::new(Remembered::default()),
        held_out: update::HeldOut::default(),
        notices: broadcast::Sender::new(NOTICES),
        events: Arc::new(Feed::new(settings.max_listeners as usize)),
        queues: Default::default(),
        training_threads: Arc::new(training_threads),
        device: settings.device(),
        update_bytes: settings.update_bytes,
    }))
}

/// Waits for the database, brings its schema up to date, and loads the live versions.
async fn prepare(
    context: &Context,
    settings: &Settings,
    listens: bool,
    shutdown: &CancellationToken,
) -> Result<(), AppError> {
    loop {
        let prepared = async {
            if !settings.no_migrate {
                database::migrate(&context.pool).await?;
            } else if database::pending_migrations(&context.pool).await? > 0 {
                let detail = "the database's schema is not up to date and --no-migrate forbids \
                              changing it; run `perennial migrate`";
                return Err(AppError::Settings(detail.to_owned()));
            }
            // A worker answers nobody.
            if listens {
                events::begin(context).await?;
                access::refresh(context).await.map_err(keys::refused)?;
                if !context.access.has_keys()
                    && !settings.allow_open_access
                    && let Some(address) = reached_by_others(settings)
                {
                    return Err(AppError::Settings(format!(
                        "there are no keys, so the service listens on loopback only, and {address} is \
                         not: make one with `perennial key create`, or give --allow-open-access if \
                         whoever reaches it may do everything"
                    )));
                }
            }
            match serving::warm_all(context).await {
                Err(ServiceError::Storage(error)) => Err(error.into()),
                _ => Ok(()),
            }
        };
        match prepared.await {
            Err(AppError::Storage(error)) if error.is_unavailable() => {
                tracing::warn!(%error, "waiting for the database");
                let pause = tokio::time::sleep(TRY_AGAIN);
                if shutdown.run_until_cancelled(pause).await.is_none() {
                    return Ok(());
                }
            }
            other => return other,
        }
    }
}
