//! All SQL and all object-store paths.
//!
//! One statement a function; functions take a connection, so that a service composes them into one
//! transaction. Not found is `Ok(None)`.

pub mod aliases;
pub mod audit;
pub mod batches;
pub mod block;
pub mod checkpoints;
pub mod database;
pub mod decisions;
pub mod events;
pub mod idempotency;
pub mod jobs;
pub mod keys;
pub mod models;
pub mod notices;
pub mod orphans;
mod patience;
pub mod retention;
pub mod predictions;
pub mod samples;
pub mod snapshots;
pub mod versions;

use crate::domain::Invalid;

/// What can go wrong below the services.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// The database refused, broke off, or could not be reached.
    #[error("database: {0}")]
    Database(#[from] sqlx::Error),
    /// The schema has migrations that this release does not know.
    #[error(
        "the database's schema is of a newer release (it has migration {0}): run that release, or give \
         this one another database"
    )]
    NewerSchema(i64),
    /// The schema could not be brought up to date.
    #[error("migrations: {0}")]
    Migrate(#[from] sqlx::migrate::MigrateError),
    /// The object store refused, broke off, or could not be reached.
    #[error("object store: {0}")]
    Objects(#[from] object_store::Error),
    /// The object store took too long, or what was asked of it did before.
    #[error("object store: it does not answer")]
    Stalled,
    /// A stored value is not what was stored: the row named was damaged or written by another hand.
    #[error("stored {what} is damaged: {why}")]
    Damaged {
        /// Which value.
        what: String,
        /// What is wrong with it.
        why: String,
    },
}

impl StorageError {
    /// A damaged value: `what` names it, `why` says what is wrong.
    pub fn damaged(what: impl Into<String>, why: impl std::fmt::Display) -> Self {
        Self::Damaged { what: what.into(), why: why.to_string() }
    }

    /// Whether the store is away or overloaded, so that the same call may work later.
    pub fn is_unavailable(&self) -> bool {
        match self {
            Self::Database(error) => database::is_unavailable(error),
            Self::Objects(object_store::Error::Generic { .. }) | Self::Stalled => true,
            _ => false,
        }
    }

    /// Whether the database refused because a row is not as it must be, or has no partition to go to.
    pub fn is_check_violation(&self) -> bool {
        matches!(self, Self::Database(sqlx::Error::Database(error)) if error.is_check_violation())
    }

    /// Whether the database refused because a row of this key is there already.
    pub fn is_unique_violation(&self) -> bool {
        matches!(self, Self::Database(sqlx::Error::Database(error)) if error.is_unique_violation())
    }
}

/// A word or value that the database holds and the domain no longer knows.
impl From<Invalid> for StorageError {
    fn from(invalid: Invalid) -> Self {
        Self::damaged("value", invalid)
    }
}
