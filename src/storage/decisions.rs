//! What updates decided about samples.

use sqlx::PgConnection;
use uuid::Uuid;

use super::StorageError;
use super::models::ModelId;

/// What an update decided about one sample.
#[derive(Debug, Clone, PartialEq)]
pub struct DecisionRow {
    /// Its place in the update's list, from 0.
    pub position: i32,
    /// The client's id for the sample, else its content hash.
    pub sample_id: String,
    /// The decision's word.
    pub decision: String,
    /// The cluster it fell into.
    pub cluster: Option<i32>,
    /// Its distance to that cluster's centre.
    pub distance: Option<f32>,
    /// Whether it lies far from all others of its label.
    pub outlier: bool,
}

/// Keeps an update's decisions; those of an earlier attempt go.
pub async fn insert(
    db: &mut PgConnection,
    id: Uuid,
    rows: &[DecisionRow],
) -> Result<(), StorageError> {
    fn column<T>(rows: &[DecisionRow], of: impl Fn(&DecisionRow) -> T) -> Vec<T> {
        rows.iter().map(of).collect()
    }
    sqlx::query!(
        "INSERT INTO decisions (update_id, position, sample_id, decision, cluster, distance, outlier)
         SELECT $1, *
         FROM unnest($2::int[], $3::text[], $4::text[], $5::int[], $6::real[], $7::bool[])
         ON CONFLICT (update_id, position) DO UPDATE
         SET sample_id = excluded.sample_id, decision = excluded.decision,
             cluster = excluded.cluster, distance = excluded.distance,
             outlier = excluded.outlier",
        id,
        &column(rows, |row| row.position),
        &column(rows, |row| row.sample_id.clone()),
        &column(rows, |row| row.decision.clone()),
        &column(rows, |row| row.cluster) as &[Option<i32>],
        &column(rows, |row| row.distance) as &[Option<f32>],
        &column(rows, |row| row.outlier),
    )
    .execute(db)
    .await?;
    Ok(())
}

/// Forgets what the model's updates decided about samples of these names.
pub async fn forget(
    db: &mut PgConnection,
    model: ModelId,
    names: &[String],
) -> Result<(), StorageError> {
    sqlx::query!(
        // One look into the index for each name, as for content hashes (samples.rs).
        "DELETE FROM decisions USING (
             SELECT decided.update_id, decided.position
             FROM unnest($2::text[]) AS forgotten (name) CROSS JOIN LATERAL (
                 SELECT d.update_id, d.position FROM decisions d JOIN updates u ON u.id = d.update_id
                 WHERE d.sample_id = forgotten.name AND u.model_id = $1
             ) decided
         ) gone
         WHERE decisions.update_id = gone.update_id AND decisions.position = gone.position",
        model.0,
        names,
    )
    .execute(db)
    .await?;
    Ok(())
}

/// An update's decisions after the one at `after`, in the update's order.
pub async fn list(
    db: &mut PgConnection,
    id: Uuid,
    after: Option<i32>,
    limit: i64,
) -> Result<Vec<DecisionRow>, StorageError> {
    Ok(sqlx::query_as!(
        DecisionRow,
        "SELECT position, sample_id, decision, cluster, distance, outlier FROM decisions
         WHERE update_id = $1 AND ($2::int IS NULL OR position > $2) ORDER BY position LIMIT $3",
        id,
        after,
        limit,
    )
    .fetch_all(db)
    .await?)
}
