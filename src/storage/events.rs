//! Events: what happened to updates, and to models beside them, kept so that it can be told again.
//!
//! Invariant: whoever reads the events beyond an id in their order, and goes on from the last one that
//! it got, misses none, whichever transactions commit first. Ids are drawn under one lock that is held
//! until the transaction has ended, and PostgreSQL makes a transaction's rows visible before it
//! releases its locks: when an id is drawn, every lower one can be seen or will never be. So that
//! nobody holds up all others, the lock is the last thing that a transaction takes (no row is waited for
//! under it), and what a run tells by the way is given up where the lock is taken ([`try_insert`]).

use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use super::StorageError;
use super::jobs::Claim;
use super::models::ModelId;
use crate::domain::event::{EventKind, Happening};
use crate::domain::name::ModelName;

/// An event's row.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// Its id: later events have higher ones.
    pub id: i64,
    /// The update that it happened to; none where it happened to the model.
    pub update: Option<Uuid>,
    /// The model.
    pub model: ModelName,
    /// The run that it happened in; 0 where it happened in none.
    pub attempt: i32,
    /// What kind of thing happened.
    pub kind: EventKind,
    /// The rest, by kind: the JSON of a [`Happening`].
    pub data: serde_json::Value,
    /// When it was told.
    pub created_at: OffsetDateTime,
}

/// Names the lock under which ids are drawn; any number that no other lock has.
const TURN: i64 = 0x0070_6572_656e_6e69;

macro_rules! event {
    ($row:expr) => {
        Event {
            id: $row.id,
            update: $row.update_id,
            model: ModelName::parse($row.model)?,
            attempt: $row.attempt,
            kind: EventKind::parse(&$row.kind)?,
            data: $row.data,
            created_at: $row.created_at,
        }
    };
}

/// Waits until no other transaction is adding events, and lets none until this one has ended: to be
/// called last in it, before [`insert`]. A process that is paused then is cut off soon.
pub async fn take_turn(db: &mut PgConnection) -> Result<(), StorageError> {
    sqlx::query!(
        r#"SELECT set_config('idle_in_transaction_session_timeout', '5s', true),
                  pg_advisory_xact_lock($1)::text AS turn"#,
        TURN,
    )
    .fetch_one(db)
    .await?;
    Ok(())
}

/// Adds what happened to an update in run `attempt`, in order; the transaction's turn is taken.
pub async fn insert(
    db: &mut PgConnection,
    update: Uuid,
    attempt: i32,
    happenings: &[Happening],
) -> Result<(), StorageError> {
    let (kinds, data) = columns(happenings)?;
    sqlx::query!(
        "INSERT INTO events (update_id, attempt, kind, data)
         SELECT $1, $2, kind, data FROM unnest($3::text[], $4::jsonb[])
                WITH ORDINALITY AS new (kind, data, place) ORDER BY place",
        update,
        attempt,
        &kinds,
        &data,
    )
    .execute(db)
    .await?;
    Ok(())
}

/// Adds what happened to a model, whose row is held; the transaction's turn is taken.
pub async fn insert_of_model(
    db: &mut PgConnection,
    model: ModelId,
    happening: &Happening,
) -> Result<(), StorageError> {
    let (kinds, data) = columns(std::slice::from_ref(happening))?;
    sqlx::query!(
        "INSERT INTO events (model_id, attempt, kind, data)
         SELECT $1, 0, kind, data FROM unnest($2::text[], $3::jsonb[]) AS new (kind, data)",
        model.0,
        &kinds,
        &data,
    )
    .execute(db)
    .await?;
    Ok(())
}

/// Adds what happened in a run by the way, in a transaction of its own that no client can leave open;
/// false when others are adding events right now, or the job is no longer this run's.
pub async fn try_insert(
    db: &mut PgConnection,
    claim: Claim,
    happenings: &[Happening],
) -> Result<bool, StorageError> {
    let (kinds, data) = columns(happenings)?;
    let done = sqlx::query!(
        // The job's row comes first, so that no event follows the job's end.
        "WITH job AS MATERIALIZED (
             SELECT id, attempt FROM updates WHERE id = $1 AND attempt = $2 AND status = 'running'
             FOR NO KEY UPDATE
         ), turn AS MATERIALIZED (
             SELECT id, attempt, pg_try_advisory_xact_lock($3) AS taken FROM job
         )
         INSERT INTO events (update_id, attempt, kind, data)
         SELECT turn.id, turn.attempt, new.kind, new.data
         FROM turn CROSS JOIN unnest($4::text[], $5::jsonb[]) WITH ORDINALITY AS new (kind, data, place)
         WHERE turn.taken ORDER BY new.place",
        claim.id,
        claim.attempt,
        TURN,
        &kinds,
        &data,
    )
    .execute(db)
    .await?;
    Ok(done.rows_affected() > 0)
}

fn columns(
    happenings: &[Happening],
) -> Result<(Vec<String>, Vec<serde_json::Value>), StorageError> {
    let kinds = happenings.iter().map(|happening| happening.kind().as_str().to_owned()).collect();
    let data = happenings.iter().map(serde_json::to_value).collect::<Result<_, _>>();
    Ok((kinds, data.map_err(|error| StorageError::damaged("event", error))?))
}

/// The highest id there is; 0 before the first event.
pub async fn last_id(db: &mut PgConnection) -> Result<i64, StorageError> {
    Ok(sqlx::query_scalar!(r#"SELECT coalesce(max(id), 0) AS "id!" FROM events"#)
        .fetch_one(db)
        .await?)
}

/// Events beyond id `after` in their order, of one update or all.
pub async fn list(
    db: &mut PgConnection,
    update: Option<Uuid>,
    after: i64,
    limit: i64,
) -> Result<Vec<Event>, StorageError> {
    match update {
        Some(update) => of_update(db, update, after, limit).await,
        None => of_all(db, after, limit).await,
    }
}

async fn of_update(
    db: &mut PgConnection,
    update: Uuid,
    after: i64,
    limit: i64,
) -> Result<Vec<Event>, StorageError> {
    let rows = sqlx::query!(
        "SELECT e.id, e.update_id, m.name AS model, e.attempt, e.kind, e.data, e.created_at
         FROM events e JOIN updates u ON u.id = e.update_id JOIN models m ON m.id = u.model_id
         WHERE e.update_id = $1 AND e.id > $2 ORDER BY e.id LIMIT $3",
        update,
        after,
        limit,
    )
    .fetch_all(db)
    .await?;
    rows.into_iter().map(|row| Ok(event!(row))).collect()
}

async fn of_all(db: &mut PgConnection, after: i64, limit: i64) -> Result<Vec<Event>, StorageError> {
    let rows = sqlx::query!(
        "SELECT e.id, e.update_id, m.name AS model, e.attempt, e.kind, e.data, e.created_at
         FROM events e LEFT JOIN updates u ON u.id = e.update_id
              JOIN models m ON m.id = coalesce(u.model_id, e.model_id)
         WHERE e.id > $1 ORDER BY e.id LIMIT $2",
        after,
        limit,
    )
    .fetch_all(db)
    .await?;
    rows.into_iter().map(|row| Ok(event!(row))).collect()
}

/// Forgets what happened to an update: it begins anew.
pub async fn forget(db: &mut PgConnection, update: Uuid) -> Result<(), StorageError> {
    sqlx::query!("DELETE FROM events WHERE update_id = $1", update).execute(db).await?;
    Ok(())
}

/// Forgets what happened to updates more than a week ago: whoever was away for longer looks at the updates themselves.
/// What happened to a model stands nowhere else for long, and is kept.
pub async fn sweep(db: &mut PgConnection) -> Result<u64, StorageError> {
    let done = sqlx::query!(
        "DELETE FROM events WHERE created_at < now() - interval '7 days' AND update_id IS NOT NULL"
    )
    .execute(db)
    .await?;
    Ok(done.rows_affected())
}
