//! How long the object store may take.
//!
//! Invariants: whoever needs it hears within a bound that it stalls. What stalls is not given up, as nothing
//! can end a thread that waits for a disk; but it keeps no more than a few threads: what stalled is not tried
//! again before it has come back, and where much stalls nothing is tried.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use object_store::path::Path;
use tokio::sync::{Semaphore, oneshot};
use tokio::time::timeout;

use super::StorageError;

/// What a store moves in a second at the least, in bytes.
const SLOWEST: u64 = 1 << 20;
/// Operations at a time.
const AT_ONCE: usize = 64;
/// Places that may stall before the whole store is taken to.
const MOST_STUCK: usize = 16;

/// Patience with one store.
#[derive(Debug, Clone)]
pub(super) struct Patience {
    least: Duration,
    turns: Arc<Semaphore>,
    /// Places with an operation that has not come back in time.
    stuck: Arc<Mutex<HashSet<Path>>>,
}

impl Patience {
    /// So much for every operation; those that move bytes get more.
    pub(super) fn new(least: Duration) -> Self {
        Self { least, turns: Arc::new(Semaphore::new(AT_ONCE)), stuck: Arc::default() }
    }

    /// What `operation`, which moves so many bytes at `place`, comes to.
    ///
    /// # Errors
    /// [`StorageError::Stalled`] when it takes too long, or another one there has; else as `operation`.
    pub(super) async fn with<T: Send + 'static>(
        &self,
        place: &Path,
        bytes: u64,
        operation: impl Future<Output = object_store::Result<T>> + Send + 'static,
    ) -> Result<T, StorageError> {
        let most = self.least + Duration::from_secs(bytes / SLOWEST);
        if is_stuck(&self.stuck(), place) {
            return Err(StorageError::Stalled);
        }
        let turn = timeout(most, Arc::clone(&self.turns).acquire_owned());
        let Ok(Ok(turn)) = turn.await else { return Err(StorageError::Stalled) };
        let (sender, receiver) = oneshot::channel();
        let (patience, place) = (self.clone(), place.clone());
        // On its own, as whoever waits may go away before it is known to stall.
        tokio::spawn(async move {
            let _turn = turn;
            tokio::pin!(operation);
            // Nobody may be waiting.
            let _ = match timeout(most, &mut operation).await {
                Ok(done) => sender.send(done.map_err(StorageError::from)),
                Err(_) => {
                    tracing::warn!(%place, "the object store stalls");
                    patience.stuck().insert(place.clone());
                    let told = sender.send(Err(StorageError::Stalled));
                    let _ = operation.await;
                    patience.stuck().remove(&place);
                    tracing::info!(%place, "the object store came back");
                    told
                }
            };
        });
        receiver.await.unwrap_or(Err(StorageError::Stalled))
    }

    fn stuck(&self) -> MutexGuard<'_, HashSet<Path>> {
        self.stuck.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_stuck(stuck: &HashSet<Path>, place: &Path) -> bool {
    stuck.len() >= MOST_STUCK || stuck.contains(place)
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use super::*;

    const QUICK: Duration = Duration::from_millis(50);

    async fn is_well(patience: &Patience, place: &str) -> bool {
        patience.with(&Path::from(place), 0, ready(Ok(()))).await.is_ok()
    }

    #[tokio::test]
    async fn what_stalls_is_told_so_in_time_and_not_tried_again_before_it_is_back() {
        let patience = Patience::new(QUICK);
        let (finish, finished) = oneshot::channel::<()>();
        let slow = async { Ok(finished.await.is_ok()) };
        let stalled = patience.with(&Path::from("a"), 0, slow).await;
        assert!(matches!(stalled, Err(StorageError::Stalled)));
        assert!(!is_well(&patience, "a").await && is_well(&patience, "b").await);
        finish.send(()).unwrap();
        while !is_well(&patience, "a").await {
            tokio::task::yield_now().await;
        }
        // What moves much may take longer.
        let long = async {
            tokio::time::sleep(QUICK * 4).await;
            Ok(())
        };
        assert!(patience.with(&Path::from("a"), 9 << 20, long).await.is_ok());
    }

    #[tokio::test]
    async fn who_goes_away_before_it_is_known_leaves_it_known() {
        let patience = Patience::new(QUICK);
        let place = Path::from("a");
        let gone =
            timeout(QUICK / 10, patience.with(&place, 0, pending::<object_store::Result<()>>()));
        assert!(gone.await.is_err());
        while is_well(&patience, "a").await {
            tokio::task::yield_now().await;
        }
        assert!(is_well(&patience, "b").await);
    }

    #[tokio::test]
    async fn where_much_stalls_nothing_is_tried() {
        let patience = Patience::new(QUICK);
        for place in 0..MOST_STUCK {
            assert!(is_well(&patience, "well").await, "{place}");
            let place = Path::from(place.to_string());
            let never = pending::<object_store::Result<()>>();
            assert!(patience.with(&place, 0, never).await.is_err());
        }
        assert!(!is_well(&patience, "well").await);
    }
}
