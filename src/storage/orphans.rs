//! Files in the object store that no row names: what a process left that died between a file and its
//! row, or between a row's end and its file's.

use std::time::{Duration, SystemTime};

use object_store::ObjectMeta;
use object_store::path::Path;
use sqlx::PgConnection;
use uuid::Uuid;

use super::StorageError;
use super::checkpoints::Checkpoints;
use super::models::ModelId;

/// A file of a model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// Its path in the object store.
    pub path: String,
    /// The model, by its path.
    pub model: ModelId,
    /// The job whose snapshot it is, by its path; none for a checkpoint.
    pub job: Option<Uuid>,
}

impl Checkpoints {
    /// The files that were last written more than `age` ago.
    ///
    /// # Errors
    /// When the object store fails.
    pub async fn older_than(&self, age: Duration) -> Result<Vec<File>, StorageError> {
        let Some(before) = SystemTime::now().checked_sub(age) else { return Ok(Vec::new()) };
        self.list(Path::from("models"), move |found| old_file(found, before)).await
    }

    /// Whether there is such a file.
    ///
    /// # Errors
    /// When the object store fails.
    pub async fn exists(&self, path: &str) -> Result<bool, StorageError> {
        Ok(self.head(Path::from(path)).await?.is_some())
    }
}

/// A file of ours that was last written before `before`.
fn old_file(meta: &ObjectMeta, before: SystemTime) -> Option<File> {
    if SystemTime::from(meta.last_modified) > before {
        return None;
    }
    let path = meta.location.to_string();
    let parts: Vec<&str> = path.split('/').collect();
    let (model, job) = match parts[..] {
        ["models", model, file] if file.ends_with(".safetensors") => (model, None),
        ["models", model, "snapshots", job] => (model, Some(Uuid::parse_str(job).ok()?)),
        // Another hand's.
        _ => return None,
    };
    Some(File { model: ModelId(model.parse().ok()?), job, path })
}

/// Those of `paths` that no version has as its checkpoint, and no model to begin with.
pub async fn unnamed(db: &mut PgConnection, paths: &[String]) -> Result<Vec<String>, StorageError> {
    Ok(sqlx::query_scalar!(
        r#"SELECT file.path AS "path!" FROM unnest($1::text[]) AS file (path)
           WHERE NOT EXISTS (SELECT FROM versions v
                             WHERE v.checkpoint = file.path AND v.removed_at IS NULL)
             AND NOT EXISTS (SELECT FROM bodies b WHERE b.checkpoint = file.path)"#,
        paths,
    )
    .fetch_all(db)
    .await?)
}
