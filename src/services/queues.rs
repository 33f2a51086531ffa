//! What requests wait in before they take a connection, so that one model's are not all who have one.

use std::sync::Arc;
use std::time::Duration;

use super::slots::Slots;

/// How long a request waits for a model that others are changing. Shorter than a client's patience, longer than
/// most changes take.
pub(super) const SHORT: Duration = Duration::from_secs(2);
/// How long a batch waits for it: it has been sent already, and storing another one, or publishing, may take long.
pub(super) const LONG: Duration = Duration::from_secs(60);
/// How long a batch waits behind others of its model before it is stored.
const IN_LINE: Duration = Duration::from_secs(120);

/// A process's queues.
#[derive(Debug, Clone)]
pub struct Queues {
    /// Batches, and labels that become samples: each holds a connection while it is stored.
    pub(super) batches: Arc<Slots>,
    /// Changes of a model: whoever waits for its lock does so with a connection in hand.
    pub(super) changes: Arc<Slots>,
}

impl Default for Queues {
    /// Four batches at a time, each of another model, and 64 waiting; of each model one change.
    fn default() -> Self {
        let batches = Slots::new(4).of_one_model(1).waiting(64, IN_LINE);
        let changes = Slots::new(usize::MAX).of_one_model(1).waiting(256, SHORT);
        Self { batches: Arc::new(batches), changes: Arc::new(changes) }
    }
}
