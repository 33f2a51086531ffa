//! "Tell me what happens to updates, as it happens."
//!
//! However many listen, a process reads each event once, and passes it on to all of them. What a
//! listener missed it reads from the database, page by page. One that falls too far behind is let go:
//! it comes back with the last id that it saw. Invariant: who listens from an id on is told every
//! later event once, in order (storage/events.rs says why none is missed).

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use sqlx::PgConnection;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, broadcast};
use uuid::Uuid;

use super::{Context, ServiceError};
use crate::domain::event::{EventKind, Happening};
use crate::storage::StorageError;
use crate::storage::events::{self, Event};
use crate::storage::jobs::{self, Claim, Ending};
use crate::storage::models::ModelId;
use crate::storage::notices::{self, Notice};

/// Listeners that read what they missed at a time: each holds a connection to the database meanwhile.
const MAX_REPLAYS: usize = 4;
/// Events that a listener may fall behind before it is let go.
const MAX_BEHIND: usize = 4_096;
/// Events read at a time.
const PAGE: i64 = 500;

/// Passes events on to all who listen in this process.
#[derive(Debug)]
pub struct Feed {
    sender: broadcast::Sender<Arc<Event>>,
    /// The last event that was passed on.
    passed: AtomicI64,
    places: Arc<Semaphore>,
    replays: Semaphore,
}

impl Feed {
    /// Nobody listens yet; at most `max_listeners` may.
    pub fn new(max_listeners: usize) -> Self {
        Self {
            sender: broadcast::Sender::new(MAX_BEHIND),
            passed: AtomicI64::new(0),
            places: Arc::new(Semaphore::new(max_listeners)),
            replays: Semaphore::new(MAX_REPLAYS),
        }
    }
}

/// Begins to pass on what happens from now on; nobody is listened to before.
///
/// # Errors
/// When the database fails.
pub async fn begin(context: &Context) -> Result<(), StorageError> {
    let last = events::last_id(&mut *context.pool.acquire().await?).await?;
    context.events.passed.store(last, Ordering::Relaxed);
    Ok(())
}

/// Passes on what has happened since the last time.
///
/// # Errors
/// When the database fails; the next call goes on from where this one came to.
pub async fn pass_on(context: &Context) -> Result<(), StorageError> {
    let feed = &context.events;
    loop {
        let after = feed.passed.load(Ordering::Relaxed);
        let page = {
            let mut db = context.pool.acquire().await?;
            events::list(&mut db, None, after, PAGE).await?
        };
        let is_last = (page.len() as i64) < PAGE;
        for event in page {
            feed.passed.store(event.id, Ordering::Relaxed);
            // Nobody may be listening.
            let _ = feed.sender.send(Arc::new(event));
        }
        if is_last {
            return Ok(());
        }
    }
}

/// Ends a run and tells so, after what is still `untold` of it: the last thing that is done in its
/// transaction. False when the job is no longer this run's.
///
/// # Errors
/// When the database fails.
pub async fn finish(
    db: &mut PgConnection,
    claim: Claim,
    mut untold: Vec<Happening>,
    ending: &Ending,
) -> Result<bool, StorageError> {
    if !jobs::finish(db, claim, ending).await? {
        return Ok(false);
    }
    untold.push(Happening::End {
        status: ending.status,
        outcome: ending.outcome,
        version: ending.version,
        error: ending.error.clone(),
    });
    tell_end(db, claim.id, claim.attempt, &untold).await?;
    Ok(true)
}

/// Tells the last that happened to an update, as the last thing in the transaction that ends it.
pub(super) async fn tell_end(
    db: &mut PgConnection,
    update: Uuid,
    attempt: i32,
    happenings: &[Happening],
) -> Result<(), StorageError> {
    notices::send(db, &Notice::Ended(update)).await?;
    events::take_turn(db).await?;
    events::insert(db, update, attempt, happenings).await
}

/// Tells what happened to a model, as the last thing in the transaction that did it, which holds the model's row.
pub(super) async fn tell_of_model(
    db: &mut PgConnection,
    model: ModelId,
    happening: &Happening,
) -> Result<(), StorageError> {
    notices::send(db, &Notice::Told).await?;
    events::take_turn(db).await?;
    events::insert_of_model(db, model, happening).await
}

/// Somebody who listens; dropped, it costs nothing any more.
pub struct Listener {
    context: Context,
    /// Listens to this update alone.
    update: Option<Uuid>,
    /// The last event that it was told.
    last: i64,
    /// Read from the database, to be told next.
    read: VecDeque<Event>,
    /// Where it is in what there is to tell.
    state: State,
    live: broadcast::Receiver<Arc<Event>>,
    _place: OwnedSemaphorePermit,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// There may be more in the database that it missed; of an update that has ended nothing follows.
    Behind { has_ended: bool },
    /// It is told what happens as it happens.
    Live,
    /// It was told everything.
    Done,
}

/// Listens to one update from its beginning, or to all from now on; beyond event `after` where that is
/// given. Nobody when the update has ended and nothing is left to tell.
///
/// # Errors
/// [`ServiceError::Busy`] when too many listen, [`ServiceError::NotFound`] when there is no such update.
pub async fn listen(
    context: &Context,
    update: Option<Uuid>,
    after: Option<i64>,
) -> Result<Option<Listener>, ServiceError> {
    let Ok(place) = Arc::clone(&context.events.places).try_acquire_owned() else {
        return Err(ServiceError::Busy("too many listen to events; try again shortly".to_owned()));
    };
    let mut listener = Listener {
        context: context.clone(),
        update,
        last: after.unwrap_or(0),
        read: VecDeque::new(),
        state: State::Live,
        live: context.events.sender.subscribe(),
        _place: place,
    };
    if let Some(id) = update {
        // Asked before its events are read: where it has ended, the end is among them.
        let has_ended = has_ended(context, id).await?;
        listener.state = State::Behind { has_ended };
    } else if after.is_some() {
        listener.state = State::Behind { has_ended: false };
    }
    listener.catch_up().await?;
    Ok((listener.state != State::Done || !listener.read.is_empty()).then_some(listener))
}

async fn has_ended(context: &Context, id: Uuid) -> Result<bool, ServiceError> {
    let _turn = context.events.replays.acquire().await;
    let mut db = context.pool.acquire().await?;
    let status = jobs::status(&mut db, id).await?;
    let status = status.ok_or_else(|| ServiceError::NotFound(format!("update {id}")))?;
    Ok(status.has_ended())
}

impl Listener {
    /// The next event, as soon as there is one; none when nothing follows, or when it fell too far
    /// behind and is to come back.
    pub async fn next(&mut self) -> Option<Arc<Event>> {
        let event = loop {
            if let Some(event) = self.read.pop_front() {
                break Arc::new(event);
            }
            match self.state {
                State::Behind { .. } => {
                    if let Err(error) = self.catch_up().await {
                        tracing::warn!(%error, "a listener could not be told what it missed");
                        return None;
                    }
                }
                State::Live => {
                    let event = self.live.recv().await.ok()?;
                    if event.id > self.last && self.update.is_none_or(|id| event.update == Some(id))
                    {
                        break event;
                    }
                }
                State::Done => return None,
            }
        };
        self.last = event.id;
        if self.update.is_some() && event.kind == EventKind::End {
            self.state = State::Done;
            self.read.clear();
        }
        Some(event)
    }

    /// Reads the next page of what it missed, if it may have missed something.
    async fn catch_up(&mut self) -> Result<(), StorageError> {
        let State::Behind { has_ended } = self.state else { return Ok(()) };
        let feed = &self.context.events;
        let _turn = feed.replays.acquire().await;
        // Anew and before it reads: what is not among the rows will be passed on.
        self.live = feed.sender.subscribe();
        let mut db = self.context.pool.acquire().await?;
        let page = events::list(&mut db, self.update, self.last, PAGE).await?;
        if (page.len() as i64) < PAGE {
            self.state = if has_ended { State::Done } else { State::Live };
        }
        self.read = page.into();
        Ok(())
    }
}
