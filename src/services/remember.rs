//! "Remember what you answered: its true label may come."
//!
//! Predictions wait in memory and are written many at a time, so that answering does not wait for the
//! database. Invariant: memory is bounded. Who finds no room is refused before an id is given, so whoever
//! has an id has it for what will be written; but it is given before that is durable. A process that is
//! killed loses what it has not written, a fraction of a second while the database is there, and a
//! database server that crashes what it was told in its last second; feedback for those is answered as
//! unknown. A process that stops in order writes all.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::room::{Held, Room};
use super::serving::Answered;
use super::{Context, ServiceError};
use crate::domain::input::Inputs;
use crate::storage::StorageError;
use crate::storage::models::ModelId;
use crate::storage::predictions::{self, NewBlock};

mod waiting;

use waiting::{Block, Waiting};

/// How long predictions are gathered before they are written, where there are not many.
const INTERVAL: Duration = Duration::from_millis(200);
/// How long one waits for what is to be written to be written.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long after a failure the database is tried again.
const TRY_AGAIN: Duration = Duration::from_secs(1);
/// How often the partitions of the days to come are made.
const OPEN_DAYS: Duration = Duration::from_secs(3600);
/// Blocks of one transaction: some thousand predictions.
const MOST_AT_ONCE: usize = 50;

/// Predictions that wait to be written.
pub struct Remembered {
    room: Room,
    waiting: Mutex<Waiting>,
    has_some: Notify,
    is_urgent: Notify,
    /// When the partitions of the days to come were last made; held while something is written.
    days_opened_at: tokio::sync::Mutex<Option<Instant>>,
    /// The last round that has written all it took, or given it up.
    done: watch::Sender<u64>,
}

/// 64 MiB of predictions wait at most.
impl Default for Remembered {
    fn default() -> Self {
        Self::new(64 << 20)
    }
}

impl Remembered {
    /// No predictions; at most `most_bytes` wait.
    pub fn new(most_bytes: usize) -> Self {
        Self {
            room: Room::new(most_bytes),
            waiting: Mutex::default(),
            has_some: Notify::new(),
            is_urgent: Notify::new(),
            days_opened_at: tokio::sync::Mutex::default(),
            done: watch::Sender::new(0),
        }
    }

    /// Room for predictions about these inputs.
    ///
    /// # Errors
    /// [`ServiceError::Busy`] when there is none.
    pub fn room_for(&self, inputs: &Inputs) -> Result<Held, ServiceError> {
        let busy = || {
            let detail = "too many predictions wait to be remembered; try again shortly, or ask \
                          without `remember`";
            ServiceError::Busy(detail.to_owned())
        };
        self.room.take(inputs).ok_or_else(busy)
    }

    /// The same as soon as there is room, or once that took too long.
    ///
    /// # Errors
    /// [`ServiceError::Busy`] then.
    pub async fn wait_for_room(&self, inputs: &Inputs) -> Result<Held, ServiceError> {
        match timeout(PATIENCE, self.room.wait(inputs)).await {
            Ok(Some(room)) => Ok(room),
            _ => self.room_for(inputs),
        }
    }

    /// Takes in what a version answered to `inputs`; what each prediction is called.
    pub fn push(
        &self,
        room: Held,
        model: ModelId,
        inputs: Inputs,
        answered: &Answered,
    ) -> Vec<Uuid> {
        let answer = Block::of(room, model, inputs, answered);
        let mut waiting = self.waiting();
        let ids = waiting.add(answer);
        let is_much = waiting.n_full() >= MOST_AT_ONCE;
        drop(waiting);
        self.has_some.notify_one();
        if is_much {
            self.is_urgent.notify_one();
        }
        ids
    }

    /// Waits until everything that waits now is written, or for as long as that may take.
    pub async fn flush(&self) {
        let round = self.waiting().round_of_all();
        let mut done = self.done.subscribe();
        if *done.borrow() < round {
            self.is_urgent.notify_one();
            let _ = timeout(PATIENCE, done.wait_for(|done| *done >= round)).await;
        }
    }

    /// Until there is something to write, and some more had time to come.
    async fn due(&self) {
        self.has_some.notified().await;
        let _ = timeout(INTERVAL, self.is_urgent.notified()).await;
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts back what could not be written, before all that came since.
    fn put_back(&self, blocks: VecDeque<Block>) {
        self.waiting().put_back(blocks);
        self.has_some.notify_one();
    }
}

/// Writes what there is to remember until `shutdown`; [`write_waiting`] then writes the rest.
pub async fn write(context: Context, shutdown: CancellationToken) {
    while shutdown.run_until_cancelled(context.remembered.due()).await.is_some() {
        // Not given up midway: what was taken from the queue would be lost.
        if let Err(error) = write_waiting(&context).await {
            tracing::warn!(%error, "remembered predictions wait to be written");
            context.remembered.has_some.notify_one();
            shutdown.run_until_cancelled(sleep(TRY_AGAIN)).await;
        }
    }
}

/// Writes all that waits. What the database refuses for good is given up, and logged: it must not stand in
/// the way of all that comes after it.
///
/// # Errors
/// When the database is away; what was not written waits on.
pub async fn write_waiting(context: &Context) -> Result<(), ServiceError> {
    let remembered = &context.remembered;
    let (mut blocks, round) = remembered.waiting().take();
    while !blocks.is_empty() {
        let rest = blocks.split_off(blocks.len().min(MOST_AT_ONCE));
        let packing = tokio::task::spawn_blocking(move || {
            let packed: Result<Vec<NewBlock>, _> = blocks.iter().map(Block::pack).collect();
            (packed, blocks)
        });
        let (packed, taken) = match packing.await {
            Ok(packed) => packed,
            Err(error) => {
                remembered.put_back(rest);
                return Err(ServiceError::Broken(error.to_string()));
            }
        };
        let written = match packed {
            Ok(packed) => store(context, &packed).await,
            Err(error) => Err(error),
        };
        blocks = rest;
        match written {
            Err(error) if error.is_unavailable() => {
                remembered.put_back(taken.into_iter().chain(blocks).collect());
                return Err(error.into());
            }
            Err(error) => {
                let n = taken.iter().map(Block::n_predictions).sum::<usize>();
                metrics::counter!("perennial_predictions_lost_total").increment(n as u64);
                tracing::error!(%error, n, "predictions could not be remembered");
            }
            Ok(()) => {}
        }
    }
    remembered.done.send_replace(round);
    Ok(())
}

async fn store(context: &Context, blocks: &[NewBlock]) -> Result<(), StorageError> {
    let mut days_opened_at = context.remembered.days_opened_at.lock().await;
    if days_opened_at.is_none_or(|at| at.elapsed() >= OPEN_DAYS) {
        predictions::open_days(&mut *context.pool.acquire().await?).await?;
        *days_opened_at = Some(Instant::now());
    }
    match insert(context, blocks).await {
        // The clock went on to a day that nobody has made ready.
        Err(error) if error.is_check_violation() => {
            predictions::open_days(&mut *context.pool.acquire().await?).await?;
            insert(context, blocks).await
        }
        inserted => inserted,
    }
}

async fn insert(context: &Context, blocks: &[NewBlock]) -> Result<(), StorageError> {
    let mut tx = context.pool.begin().await?;
    // Nothing here was promised to be durable, and the disk has enough to do.
    predictions::write_behind(&mut tx).await?;
    for block in blocks {
        predictions::insert(&mut tx, block).await?;
    }
    Ok(tx.commit().await?)
}

/// Makes the partitions of the days to come, and drops those that are older than `days`.
///
/// # Errors
/// When the database fails.
pub async fn keep_days(context: &Context, days: u16) -> Result<(), ServiceError> {
    let mut db = context.pool.acquire().await?;
    predictions::open_days(&mut db).await?;
    Ok(predictions::drop_days(&mut db, i32::from(days)).await?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::block;

    fn inputs(n: usize) -> Inputs {
        let mut inputs = Inputs::with_shape(256, 0);
        (0..n).for_each(|i| inputs.push(&[i as f32; 256], &[]));
        inputs
    }

    fn answered(n: usize) -> Answered {
        let labels = ["a", "b"].map(str::to_owned).to_vec().into();
        Answered::new(3, labels, [0.25, 0.75].repeat(n))
    }

    fn push(remembered: &Remembered, model: i64, n: usize) -> Vec<Uuid> {
        let room = remembered.room_for(&inputs(n)).unwrap();
        remembered.push(room, ModelId(model), inputs(n), &answered(n))
    }

    #[test]
    fn who_finds_no_room_is_refused_until_something_is_written() {
        let remembered = Remembered::new(10 << 10);
        assert_eq!(push(&remembered, 1, 8).len(), 8);
        assert!(matches!(remembered.room_for(&inputs(2)), Err(ServiceError::Busy(_))));
        let (blocks, _) = remembered.waiting().take();
        assert!(remembered.room_for(&inputs(2)).is_err(), "it is not written yet");
        remembered.put_back(blocks);
        drop(remembered.waiting().take());
        assert!(remembered.room_for(&inputs(2)).is_ok());
    }

    #[test]
    fn every_id_leads_to_its_input_and_to_what_was_said() {
        let remembered = Remembered::default();
        let asked = [(1, 1), (2, 150), (1, 49), (3, 51), (1, 50), (1, 7), (2, 320)];
        let ids = asked.map(|(model, n)| push(&remembered, model, n));
        let (blocks, _) = remembered.waiting().take();
        let packed: Vec<NewBlock> = blocks.iter().map(|block| block.pack().unwrap()).collect();
        assert_eq!(
            packed.len(),
            9,
            "small answers of a version share blocks, and large ones have several"
        );
        assert!(packed.iter().all(|block| block.labels.len() <= 100 && block.version == 3));
        for ((model, n), ids) in asked.into_iter().zip(ids) {
            assert_eq!(ids.len(), n);
            for (index, id) in ids.into_iter().enumerate() {
                let (block, place) = (predictions::block_id(id), predictions::place_of(id));
                let block = packed.iter().find(|packed| packed.id == block).unwrap();
                assert_eq!(block.model, ModelId(model));
                let said = (block.labels[place].as_str(), block.probabilities[place]);
                assert_eq!(said, ("b", 0.75));
                let inputs = block::decode(&block.payload).unwrap();
                assert_eq!(inputs.numbers(place)[0], index as f32);
            }
        }
    }

    #[test]
    fn what_could_not_be_written_is_written_before_what_came_since() {
        let remembered = Remembered::default();
        let first = push(&remembered, 1, 60);
        let (blocks, round) = remembered.waiting().take();
        assert_eq!(remembered.waiting().round_of_all(), round);
        let second = push(&remembered, 1, 60);
        remembered.put_back(blocks);
        assert_eq!(remembered.waiting().round_of_all(), round + 1);
        let (blocks, _) = remembered.waiting().take();
        let ids = blocks.iter().map(|block| block.pack().unwrap().id);
        let expected = [first[0], second[0]].map(predictions::block_id);
        assert_eq!(ids.collect::<Vec<_>>(), expected);
    }
}
