//! The connection pool, and the schema it must find.

use std::time::Duration;

use sqlx::migrate::MigrateError;
use sqlx::postgres::{PgConnectOptions, PgConnection, PgPool, PgPoolOptions};

use super::StorageError;

/// The schema's history, embedded in the binary.
static MIGRATIONS: sqlx::migrate::Migrator = sqlx::migrate!();

/// The oldest PostgreSQL that is supported, as `server_version_num` says it.
const MIN_SERVER_VERSION: i32 = 140_000;

/// How long a transaction may be left alone before the server ends it. A process that is paused or
/// cut off in the middle of one holds its model's lock, and nobody else can know that it is gone.
const IDLE_IN_TRANSACTION: &str = "60s";

/// After how many seconds of silence the server asks whether a process is still there, how often it asks again,
/// and how often in vain: one whose machine is gone holds its locks for little more than a minute. No bound is set on how long
/// a statement takes: to delete a large model, or to migrate, may take long, and is not to be done by halves.
const KEEPALIVES: [(&str, &str); 3] = [
    ("tcp_keepalives_idle", "30"),
    ("tcp_keepalives_interval", "10"),
    ("tcp_keepalives_count", "3"),
];

/// Statements walk indexes and are done in milliseconds. Where the planner takes a long history for much work, it would
/// compile them first, which takes fifty.
const JUST_IN_TIME: (&str, &str) = ("jit", "off");

/// A pool of at most `max_connections`; connects when first used.
pub fn pool(options: PgConnectOptions, max_connections: u32) -> PgPool {
    let options = options.options([("idle_in_transaction_session_timeout", IDLE_IN_TRANSACTION)]);
    let options = options.options(KEEPALIVES).options([JUST_IN_TIME]);
    PgPoolOptions::new()
        .max_connections(max_connections)
        // Longer than a busy moment, shorter than a client's patience.
        .acquire_timeout(Duration::from_secs(5))
        .connect_lazy_with(options)
}

/// Brings the schema up to date, under the advisory lock that sqlx takes for it.
///
/// # Errors
/// When the server is too old, a migration fails, or the schema is newer than this binary.
pub async fn migrate(pool: &PgPool) -> Result<(), StorageError> {
    let version = server_version(pool).await?;
    if version < MIN_SERVER_VERSION {
        let why = format!("version {} is too old, 14 is the least", version / 10_000);
        return Err(StorageError::damaged("PostgreSQL server", why));
    }
    MIGRATIONS.run(pool).await.map_err(|error| match error {
        MigrateError::VersionMissing(version) => StorageError::NewerSchema(version),
        other => other.into(),
    })
}

/// How many migrations the schema lacks; 0 when it is up to date.
///
/// # Errors
/// When the database cannot be asked.
pub async fn pending_migrations(pool: &PgPool) -> Result<usize, StorageError> {
    let known: Vec<i64> = MIGRATIONS.iter().map(|migration| migration.version).collect();
    let exists =
        sqlx::query_scalar!("SELECT to_regclass('_sqlx_migrations') IS NOT NULL AS \"exists!\"")
            .fetch_one(pool)
            .await?;
    if !exists {
        return Ok(known.len());
    }
    // Not checked at build time: this table belongs to the migrator and comes with its first run.
    let applied: Vec<i64> =
        sqlx::query_scalar("SELECT version FROM _sqlx_migrations WHERE success")
            .fetch_all(pool)
            .await?;
    match applied.iter().find(|version| !known.contains(version)) {
        Some(&newer) => Err(StorageError::NewerSchema(newer)),
        None => Ok(known.len() - applied.len()),
    }
}

/// Whether a query can be answered.
///
/// # Errors
/// When it cannot.
pub async fn ping(pool: &PgPool) -> Result<(), StorageError> {
    sqlx::query_scalar!("SELECT 1 AS \"one!\"").fetch_one(pool).await?;
    Ok(())
}

/// Lets no later statement of this transaction wait for a lock for longer than `patience`: it fails then, as one does that
/// finds the database overloaded.
pub async fn limit_waits(db: &mut PgConnection, patience: Duration) -> Result<(), StorageError> {
    let limit = format!("{}ms", patience.as_millis());
    sqlx::query_scalar!("SELECT set_config('lock_timeout', $1, true)", limit).fetch_one(db).await?;
    Ok(())
}

async fn server_version(pool: &PgPool) -> Result<i32, StorageError> {
    Ok(sqlx::query_scalar!("SELECT current_setting('server_version_num')::int AS \"version!\"")
        .fetch_one(pool)
        .await?)
}

/// Whether `error` says that the database is away or overloaded rather than that a query is wrong.
pub(super) fn is_unavailable(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_)
        | sqlx::Error::Tls(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::WorkerCrashed => true,
        // Connection exceptions, a database that takes no writes, a transaction left alone for too long, serialisation failures, too
        // many connections, a database that takes none or a lock that cannot be had, shutting down
        // or starting up; and a schema that is still being made: the service answers while it
        // waits for its database.
        sqlx::Error::Database(error) => error.code().is_some_and(|code| {
            ["08", "25006", "25P03", "40", "42P01", "53", "55", "57P"]
                .iter()
                .any(|class| code.starts_with(class))
        }),
        _ => false,
    }
}
