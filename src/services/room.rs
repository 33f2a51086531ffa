//! Memory for inputs that wait, counted in bytes.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::domain::input::Inputs;

/// What room is counted in, in bytes.
const UNIT: usize = 1 << 10;
/// What an input takes beside itself: ids, places, what was said.
const OF_A_ROW: usize = 64;

/// Room that is taken and given back.
#[derive(Debug)]
pub struct Room {
    free: Arc<Semaphore>,
    units: u32,
}

/// Some of it; given back when dropped.
#[derive(Debug)]
pub struct Held(#[expect(dead_code, reason = "held until it is dropped")] OwnedSemaphorePermit);

impl Room {
    /// Room for so many bytes.
    pub fn new(bytes: usize) -> Self {
        let units = u32::try_from(bytes / UNIT).unwrap_or(u32::MAX).max(1);
        Self { free: Arc::new(Semaphore::new(units as usize)), units }
    }

    /// Room for these inputs, if there is any left. What is larger than all of it takes all.
    pub fn take(&self, inputs: &Inputs) -> Option<Held> {
        Arc::clone(&self.free).try_acquire_many_owned(self.units_of(inputs)).ok().map(Held)
    }

    /// The same, as soon as there is room; none where nothing gives any back.
    pub async fn wait(&self, inputs: &Inputs) -> Option<Held> {
        let free = Arc::clone(&self.free);
        free.acquire_many_owned(self.units_of(inputs)).await.ok().map(Held)
    }

    fn units_of(&self, inputs: &Inputs) -> u32 {
        let bytes = inputs.size_bytes() + inputs.len() * OF_A_ROW;
        u32::try_from(bytes.div_ceil(UNIT)).unwrap_or(u32::MAX).clamp(1, self.units)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_is_counted_in_bytes_and_what_is_larger_than_all_goes_alone() {
        let inputs = |n: usize| {
            let mut inputs = Inputs::with_shape(256, 0);
            (0..n).for_each(|i| inputs.push(&[i as f32; 256], &[]));
            inputs
        };
        let room = Room::new(10 << 10);
        let some = room.take(&inputs(8)).unwrap();
        assert!(room.take(&inputs(2)).is_none());
        drop(some);
        let all = room.take(&inputs(100)).unwrap();
        assert!(room.take(&inputs(1)).is_none());
        drop(all);
        let mut texts = Inputs::with_shape(0, 1);
        texts.push(&[], &[Some("x".repeat(20 << 10).into())]);
        let text = room.take(&texts).unwrap();
        assert!(room.take(&inputs(1)).is_none());
        drop(text);
        assert!(room.take(&inputs(1)).is_some());
    }
}
