//! What versions turned out to be worth: their predictions beside the labels that came for them.
//!
//! Invariant: of a version's predictions those that count are bounded in number, so that a look costs the
//! same however many there are.

use std::time::Duration;

use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::storage::StorageError;
use crate::storage::aliases::Watched;
use crate::storage::models::ModelId;

/// A prediction whose label came.
#[derive(Debug, Clone, PartialEq)]
pub struct Labelled {
    /// When the prediction was made.
    pub at: OffsetDateTime,
    /// Whether the version was right.
    pub is_right: bool,
    /// How sure it was.
    pub probability: f32,
}

/// Labelled predictions of a version that took another one's place, and of that one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Compared {
    /// Right ones of the version.
    pub right: i64,
    /// All of them.
    pub labelled: i64,
    /// Right ones of the version before.
    pub previous_right: i64,
    /// All of them.
    pub previous_labelled: i64,
}

/// The live figures of a version that an alias points at.
#[derive(Debug, Clone, PartialEq)]
pub struct PointedAt {
    /// The model's name.
    pub model: String,
    /// The version.
    pub version: i32,
    /// Its newest labelled predictions.
    pub labelled: i64,
    /// The share of them that was right.
    pub accuracy: f64,
    /// Their expected calibration error.
    pub calibration_error: f64,
}

/// The newest labelled predictions of a version, newest first.
pub async fn newest_labelled(
    db: &mut PgConnection,
    model: ModelId,
    version: i32,
    since: OffsetDateTime,
    limit: i64,
) -> Result<Vec<Labelled>, StorageError> {
    let rows = sqlx::query!(
        "SELECT prediction_id, is_right, probability FROM feedback
         WHERE model_id = $1 AND version = $2 AND prediction_id >= $3
         ORDER BY prediction_id DESC LIMIT $4",
        model.0,
        version,
        first_id_at(since),
        limit,
    )
    .fetch_all(db)
    .await?;
    let labelled = rows.into_iter().map(|row| {
        let at = time_of(row.prediction_id);
        Labelled { at, is_right: row.is_right, probability: row.probability }
    });
    Ok(labelled.collect())
}

/// The first `limit` labelled predictions that the version has made since `live` points at it, beside the last `limit`
/// that the one before made until then, from `since` on. Once there are so many, labels that come for later
/// predictions change nothing.
pub async fn compared(
    db: &mut PgConnection,
    watched: &Watched,
    since: OffsetDateTime,
    limit: i64,
) -> Result<Compared, StorageError> {
    Ok(sqlx::query_as!(
        Compared,
        r#"SELECT new."right" AS "right!", new.labelled AS "labelled!",
                  old."right" AS "previous_right!", old.labelled AS "previous_labelled!"
           FROM (SELECT count(*) FILTER (WHERE is_right), count(*) FROM (
                     SELECT is_right FROM feedback
                     WHERE model_id = $1 AND version = $2 AND prediction_id >= $5
                     ORDER BY prediction_id LIMIT $6
                 ) first) AS new ("right", labelled)
           CROSS JOIN
                (SELECT count(*) FILTER (WHERE is_right), count(*) FROM (
                     SELECT is_right FROM feedback
                     WHERE model_id = $1 AND version = $3 AND prediction_id >= $4 AND prediction_id < $5
                     ORDER BY prediction_id DESC LIMIT $6
                 ) last) AS old ("right", labelled)"#,
        watched.model.0,
        watched.version,
        watched.previous,
        first_id_at(since),
        first_id_at(watched.moved_at),
        limit,
    )
    .fetch_one(db)
    .await?)
}

/// The live figures of all versions that aliases point at, as far as labels came, on the newest `limit` of each.
/// Calibration is over so many bins of confidence.
pub async fn of_all_pointed_at(
    db: &mut PgConnection,
    since: OffsetDateTime,
    limit: i64,
    bins: i32,
) -> Result<Vec<PointedAt>, StorageError> {
    Ok(sqlx::query_as!(
        PointedAt,
        r#"SELECT models.name AS model, pointed.version AS "version!", live.labelled AS "labelled!",
                  live.accuracy AS "accuracy!", live.calibration_error AS "calibration_error!"
           FROM (SELECT model_id, version FROM aliases UNION
                 SELECT model_id, canary_version FROM aliases) pointed (model_id, version)
           JOIN models ON models.id = pointed.model_id
           CROSS JOIN LATERAL (
               SELECT sum(n)::bigint AS labelled, (sum("right") / sum(n))::float8 AS accuracy,
                      sum(abs(surplus)) / sum(n)::float8 AS calibration_error
               FROM (
                   SELECT count(*) AS n, count(*) FILTER (WHERE is_right) AS "right",
                          sum(probability::float8 - is_right::int) AS surplus
                   FROM (
                       SELECT is_right, probability FROM feedback
                       WHERE model_id = pointed.model_id AND version = pointed.version
                             AND prediction_id >= $1
                       ORDER BY prediction_id DESC LIMIT $2
                   ) newest
                   GROUP BY least(greatest(ceil(probability::float8 * $3::int), 1), $3::int)
               ) of_bin
           ) live
           WHERE live.labelled IS NOT NULL"#,
        first_id_at(since),
        limit,
        bins,
    )
    .fetch_all(db)
    .await?)
}

/// The least id that a prediction of this time may have.
fn first_id_at(at: OffsetDateTime) -> Uuid {
    let ms = u64::try_from(at.unix_timestamp_nanos() / 1_000_000).unwrap_or(0);
    Uuid::from_u128(u128::from(ms) << 80)
}

/// When a prediction was made, as its id says.
fn time_of(id: Uuid) -> OffsetDateTime {
    OffsetDateTime::UNIX_EPOCH + Duration::from_millis((id.as_u128() >> 80) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_tells_its_time() {
        let before = OffsetDateTime::now_utc();
        let id = Uuid::now_v7();
        let at = time_of(id);
        assert!(before - at < Duration::from_millis(1) && at <= OffsetDateTime::now_utc());
        assert!(first_id_at(at) < id && id < first_id_at(at + Duration::from_millis(1)));
    }
}
