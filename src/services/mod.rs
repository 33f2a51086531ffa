//! Use cases: one file is one sentence that a user would say.
//!
//! A service composes storage into transactions, and learning onto threads of its own; it knows
//! nothing of HTTP. All functions take the [`Context`] that the composition root made; those of
//! `perennial key` the database alone, as there is no service around them.

pub mod access;
pub mod aliases;
pub mod audit;
mod changes;
pub mod events;
pub mod feedback;
pub mod forget;
pub mod import;
pub mod ingest;
pub mod queues;
pub mod registry;
pub mod remember;
pub mod requests;
pub mod retention;
pub mod rollback;
pub mod room;
pub mod serving;
pub mod slots;
pub mod update;

use std::ops::Deref;
use std::sync::Arc;

use sqlx::PgPool;
use tokio::sync::broadcast;

use crate::domain::Invalid;
use crate::learning::Device;
use crate::storage::StorageError;
use crate::storage::checkpoints::Checkpoints;
use crate::storage::notices::Notice;

/// What every use case works with; a clone is a reference count.
#[derive(Clone)]
pub struct Context(Arc<Parts>);

impl Deref for Context {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}

impl From<Parts> for Context {
    fn from(parts: Parts) -> Self {
        Self(Arc::new(parts))
    }
}

/// What [`Context`] is made of.
pub struct Parts {
    /// Connections to the database.
    pub pool: PgPool,
    /// Where checkpoints are kept.
    pub checkpoints: Checkpoints,
    /// Who may ask.
    pub access: Arc<access::Access>,
    /// What answers predictions.
    pub serving: Arc<serving::Serving>,
    /// Predictions that wait to be written.
    pub remembered: Arc<remember::Remembered>,
    /// Notices from every process, this one too.
    pub notices: broadcast::Sender<Notice>,
    /// Samples that updates were evaluated on, kept for the next ones.
    pub held_out: update::HeldOut,
    /// What passes events on to whoever listens in this process.
    pub events: Arc<events::Feed>,
    /// What batches and changes wait in.
    pub queues: queues::Queues,
    /// Threads that training may use: a bounded share of the cores, so that requests find one free.
    pub training_threads: Arc<rayon::ThreadPool>,
    /// What computes.
    pub device: Device,
    /// The most bytes of memory that one update may take.
    pub update_bytes: u64,
}

/// Why a use case could not be done.
#[derive(Debug, thiserror::Error)]
pub enum ServiceError {
    /// There is no such thing.
    #[error("there is no {0}")]
    NotFound(String),
    /// It does not fit the state that things are in.
    #[error("{0}")]
    Conflict(String),
    /// The request is of the right form and cannot be right.
    #[error("the request is not valid")]
    Invalid(Vec<Invalid>),
    /// The key was used for another request.
    #[error("this Idempotency-Key was used for another request; take a new one")]
    KeyReused,
    /// The service has too much to do right now.
    #[error("{0}")]
    Busy(String),
    /// A version cannot be used: its checkpoint is missing, corrupt, or of another format.
    #[error("version {version} cannot be used: {why}")]
    VersionDamaged {
        /// The version.
        version: i32,
        /// What is wrong with its checkpoint.
        why: String,
    },
    /// The database or the object store failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// A part of the service broke down; it is no fault of the request.
    #[error("{0}")]
    Broken(String),
}

impl From<sqlx::Error> for ServiceError {
    fn from(error: sqlx::Error) -> Self {
        Self::Storage(error.into())
    }
}

impl From<Invalid> for ServiceError {
    fn from(invalid: Invalid) -> Self {
        Self::Invalid(vec![invalid])
    }
}
