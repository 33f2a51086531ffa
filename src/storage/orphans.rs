//! Files in the object store that no row names: what a process left that died between a file and its
//! row, between a row's end and its file's, or in the midst of a file.

use std::fs::DirEntry;
use std::io::{self, ErrorKind};
use std::path::Path as Directory;
use std::time::{Duration, SystemTime};

use object_store::ObjectMeta;
use object_store::path::Path;
use sqlx::PgConnection;
use uuid::Uuid;

use super::StorageError;
use super::checkpoints::{Checkpoints, LISTING_BYTES};
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
        self.list(Path::from("models"), LISTING_BYTES, move |found| old_file(found, before)).await
    }

    /// Removes what writes to a directory left that never ended, and that was last written to more than `age` ago;
    /// answers how many files. The store itself neither shows nor deletes them. Of a bucket's nothing is known here.
    ///
    /// # Errors
    /// When the directory cannot be read, or a file not removed.
    pub async fn remove_unfinished(&self, age: Duration) -> Result<usize, StorageError> {
        let before = SystemTime::now().checked_sub(age);
        let (Some(before), Some(root)) = (before, self.directory.clone()) else { return Ok(0) };
        let removing = async move {
            let removed = tokio::task::spawn_blocking(move || remove_staged(&root, before));
            removed.await?.map_err(|error| object_store::Error::Generic {
                store: "directory",
                source: Box::new(error),
            })
        };
        self.patience.with(&Path::from("models"), LISTING_BYTES, removing).await
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

/// Removes staged files of ours, which become a checkpoint or a snapshot by another name once they are whole.
fn remove_staged(root: &Directory, before: SystemTime) -> io::Result<usize> {
    let mut n_removed = 0;
    for model in entries(&root.join("models"))? {
        if model.file_name().to_str().is_none_or(|name| name.parse::<i64>().is_err()) {
            continue;
        }
        let of_model = entries(&model.path())?.into_iter();
        for file in of_model.chain(entries(&model.path().join("snapshots"))?) {
            if file.file_name().to_str().is_some_and(is_staged)
                && file.metadata()?.modified()? <= before
            {
                std::fs::remove_file(file.path())?;
                n_removed += 1;
            }
        }
    }
    Ok(n_removed)
}

/// What lies in a directory; nothing where there is none.
fn entries(directory: &Directory) -> io::Result<Vec<DirEntry>> {
    match std::fs::read_dir(directory) {
        Ok(entries) => entries.collect(),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            Ok(Vec::new())
        }
        Err(error) => Err(error),
    }
}

/// Whether a file of this name is one of ours that is being written, or was: the store adds `#` and a number.
fn is_staged(name: &str) -> bool {
    let Some((name, number)) = name.rsplit_once('#') else { return false };
    let is_number = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    is_number && (name.ends_with(".safetensors") || Uuid::parse_str(name).is_ok())
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
