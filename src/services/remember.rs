//! "Remember what you answered: its true label may come."
//!
//! Predictions wait in memory and are written many at a time, so that answering does not wait for the
//! database. Invariant: memory is bounded. Who finds no room is refused before an id is given, so whoever
//! has an id has it for what will be written; but it is given before that is durable. A process that is
//! killed loses what it has not written, a fraction of a second while the database is there, and a
//! database server that crashes what it was told in its last second; feedback for those is answered as
//! unknown. A process that stops in order writes all.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
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
use crate::storage::predictions::{self, NewBlocks, NewPredictions};

/// How long predictions are gathered before they are written.
const INTERVAL: Duration = Duration::from_millis(200);
/// How long one waits for what is to be written to be written.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long after a failure the database is tried again.
const TRY_AGAIN: Duration = Duration::from_secs(1);
/// How often the partitions of the days to come are made.
const OPEN_DAYS: Duration = Duration::from_secs(3600);
/// Predictions of one transaction, about.
const MOST_AT_ONCE: usize = 5_000;
/// Inputs of one block: few, as a label asks for one of them and its whole block is read.
const BLOCK_INPUTS: usize = 100;
/// The same in bytes.
const BLOCK_BYTES: usize = 4 << 20;

/// Predictions that wait to be written.
pub struct Remembered {
    room: Room,
    waiting: Mutex<Waiting>,
    has_some: Notify,
    is_urgent: Notify,
    /// When the partitions of the days to come were last made; held while something is written.
    days_opened_at: tokio::sync::Mutex<Option<Instant>>,
    /// How many answers were written, or given up, since the process began.
    n_done: watch::Sender<u64>,
}

#[derive(Default)]
struct Waiting {
    answers: Vec<Answer>,
    /// How many there were since the process began.
    n_pushed: u64,
}

/// What one request was answered.
struct Answer {
    model: ModelId,
    version: i32,
    labels: Arc<[String]>,
    inputs: Inputs,
    ids: Vec<Uuid>,
    /// Place and probability of what was said, input by input.
    said: Vec<(usize, f32)>,
    _room: Held,
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
            n_done: watch::Sender::new(0),
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
        let ids: Vec<Uuid> = (0..inputs.len()).map(|_| Uuid::now_v7()).collect();
        let answer = Answer {
            model,
            version: answered.version,
            labels: Arc::clone(&answered.labels),
            inputs,
            ids: ids.clone(),
            said: answered.said().collect(),
            _room: room,
        };
        let mut waiting = self.waiting();
        waiting.answers.push(answer);
        waiting.n_pushed += 1;
        drop(waiting);
        self.has_some.notify_one();
        ids
    }

    /// Waits until everything that waits now is written, or for as long as that may take.
    pub async fn flush(&self) {
        let n_pushed = self.waiting().n_pushed;
        let mut n_done = self.n_done.subscribe();
        if *n_done.borrow() < n_pushed {
            self.is_urgent.notify_one();
            let written = n_done.wait_for(|n_done| *n_done >= n_pushed);
            let _ = timeout(PATIENCE, written).await;
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

    /// The first that wait, as many as are written at once.
    fn take(&self) -> Vec<Answer> {
        let mut waiting = self.waiting();
        let mut n_predictions = 0;
        let n_answers = waiting.answers.iter().take_while(|answer| {
            let has_place = n_predictions < MOST_AT_ONCE;
            n_predictions += answer.ids.len();
            has_place
        });
        let n_answers = n_answers.count();
        waiting.answers.drain(..n_answers).collect()
    }

    /// Puts back what could not be written, before all that came since.
    fn put_back(&self, answers: Vec<Answer>) {
        self.waiting().answers.splice(..0, answers);
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
    loop {
        let answers = remembered.take();
        if answers.is_empty() {
            return Ok(());
        }
        let packing = tokio::task::spawn_blocking(move || (pack(&answers), answers));
        let (packed, answers) = packing.await.map_err(|e| ServiceError::Broken(e.to_string()))?;
        let written = match packed {
            Ok((blocks, rows)) => store(context, &blocks, &rows).await,
            Err(error) => Err(error),
        };
        match written {
            Err(error) if error.is_unavailable() => {
                remembered.put_back(answers);
                return Err(error.into());
            }
            Err(error) => {
                let n = answers.iter().map(|answer| answer.ids.len()).sum::<usize>();
                metrics::counter!("perennial_predictions_lost_total").increment(n as u64);
                tracing::error!(%error, n, "predictions could not be remembered");
            }
            Ok(()) => {}
        }
        remembered.n_done.send_modify(|n_done| *n_done += answers.len() as u64);
    }
}

/// Blocks and rows, so that each block holds inputs of one model.
fn pack(answers: &[Answer]) -> Result<(NewBlocks, NewPredictions), StorageError> {
    let mut open: HashMap<ModelId, (Uuid, Inputs)> = HashMap::new();
    let (mut blocks, mut rows) = (NewBlocks::default(), NewPredictions::default());
    for answer in answers {
        for (i, &(place, probability)) in answer.said.iter().enumerate() {
            let new = || (Uuid::now_v7(), empty_like(&answer.inputs));
            let (block, inputs) = open.entry(answer.model).or_insert_with(new);
            rows.models.push(answer.model.0);
            rows.ids.push(answer.ids[i]);
            rows.versions.push(answer.version);
            rows.blocks.push(*block);
            rows.positions.push(inputs.len() as i16);
            rows.labels.push(answer.labels[place].clone());
            rows.probabilities.push(probability);
            inputs.push_from(&answer.inputs, i);
            if inputs.len() >= BLOCK_INPUTS || inputs.size_bytes() >= BLOCK_BYTES {
                blocks.add(answer.model, *block, inputs)?;
                open.remove(&answer.model);
            }
        }
    }
    for (model, (block, inputs)) in open {
        blocks.add(model, block, &inputs)?;
    }
    Ok((blocks, rows))
}

fn empty_like(inputs: &Inputs) -> Inputs {
    Inputs::with_shape(inputs.n_numeric(), inputs.n_categorical())
}

async fn store(
    context: &Context,
    blocks: &NewBlocks,
    rows: &NewPredictions,
) -> Result<(), StorageError> {
    let mut days_opened_at = context.remembered.days_opened_at.lock().await;
    if days_opened_at.is_none_or(|at| at.elapsed() >= OPEN_DAYS) {
        predictions::open_days(&mut *context.pool.acquire().await?).await?;
        *days_opened_at = Some(Instant::now());
    }
    match write_rows(context, blocks, rows).await {
        // The clock went on to a day that nobody has made ready.
        Err(error) if error.is_check_violation() => {
            predictions::open_days(&mut *context.pool.acquire().await?).await?;
            write_rows(context, blocks, rows).await
        }
        written => written,
    }
}

async fn write_rows(
    context: &Context,
    blocks: &NewBlocks,
    rows: &NewPredictions,
) -> Result<(), StorageError> {
    let mut tx = context.pool.begin().await?;
    // Nothing here was promised to be durable, and the disk has enough to do.
    predictions::write_behind(&mut tx).await?;
    predictions::insert_blocks(&mut tx, blocks).await?;
    predictions::insert(&mut tx, rows).await?;
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
        let ids = push(&remembered, 1, 8);
        assert_eq!(ids.len(), 8);
        assert!(matches!(remembered.room_for(&inputs(2)), Err(ServiceError::Busy(_))));
        let answers = remembered.take();
        assert_eq!(answers[0].ids, ids);
        assert!(remembered.room_for(&inputs(2)).is_err(), "it is not written yet");
        remembered.put_back(answers);
        drop(remembered.take());
        assert!(remembered.room_for(&inputs(2)).is_ok());
    }

    #[test]
    fn every_row_names_the_block_that_holds_its_input() {
        let remembered = Remembered::default();
        for (model, n) in [(1, 1), (2, 150), (1, 120)] {
            push(&remembered, model, n);
        }
        let answers = remembered.take();
        let (blocks, rows) = pack(&answers).unwrap();
        assert_eq!((rows.ids.len(), blocks.ids.len()), (271, 4));
        let ids: Vec<Uuid> = answers.iter().flat_map(|answer| answer.ids.clone()).collect();
        assert_eq!(rows.ids, ids);
        let held: Vec<Inputs> =
            blocks.payloads.iter().map(|payload| block::decode(payload).unwrap()).collect();
        let wanted = answers.iter().flat_map(|answer| (0..answer.ids.len()).map(|i| i as f32));
        for (row, wanted) in wanted.enumerate() {
            let at = blocks.ids.iter().position(|id| *id == rows.blocks[row]).unwrap();
            assert_eq!(held[at].numbers(rows.positions[row] as usize)[0], wanted);
            assert_eq!(blocks.models[at], rows.models[row]);
            assert_eq!((rows.labels[row].as_str(), rows.probabilities[row]), ("b", 0.75));
        }
    }
}
