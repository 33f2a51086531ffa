//! A bounded queue before something scarce.

use tokio::sync::{Semaphore, SemaphorePermit};

use super::ServiceError;

/// Slots that are taken one by one, first come first served, and a bound on how many wait for one.
#[derive(Debug)]
pub struct Slots {
    free: Semaphore,
    places_to_wait: Semaphore,
}

impl Slots {
    /// `n_slots` slots, and room for `n_waiting` to wait for one.
    pub fn new(n_slots: usize, n_waiting: usize) -> Self {
        Self { free: Semaphore::new(n_slots), places_to_wait: Semaphore::new(n_waiting) }
    }

    /// A slot, as soon as one is free; it is given back when dropped.
    ///
    /// # Errors
    /// [`ServiceError::Busy`] when too many wait already.
    pub async fn take(&self) -> Result<SemaphorePermit<'_>, ServiceError> {
        if let Ok(slot) = self.free.try_acquire() {
            return Ok(slot);
        }
        let busy = |_| ServiceError::Busy("too many batches wait; try again shortly".to_owned());
        let _place = self.places_to_wait.try_acquire().map_err(busy)?;
        let closed = |_| ServiceError::Broken("nobody closes the slots".to_owned());
        self.free.acquire().await.map_err(closed)
    }
}

/// Four batches at a time, and 64 waiting.
impl Default for Slots {
    fn default() -> Self {
        Self::new(4, 64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_finds_no_place_to_wait_is_sent_away() {
        let slots = Slots::new(1, 1);
        let first = slots.take().await.unwrap();
        let second = slots.take();
        tokio::pin!(second);
        assert!(futures_util::poll!(&mut second).is_pending());
        assert!(matches!(slots.take().await, Err(ServiceError::Busy(_))));
        drop(first);
        let second = second.await.unwrap();
        drop(second);
        assert!(slots.take().await.is_ok());
    }
}
