//! Where checkpoints are kept: a directory, or a bucket of S3.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use object_store::ObjectStore;

use super::AppError;
use crate::config::Settings;
use crate::storage::checkpoints::Checkpoints;

/// The store that the settings name; what it accepts is durable.
pub(super) fn checkpoint_store(settings: &Settings) -> Result<Checkpoints, AppError> {
    let patience = Duration::from_secs(u64::from(settings.store_timeout_s));
    match settings.checkpoint_url.as_deref() {
        None => directory(&settings.data_dir().join("checkpoints"), patience),
        Some(url) => match url.split_once("://") {
            Some(("s3", place)) => Ok(Checkpoints::new(bucket(place)?, patience)),
            Some(("file", path)) if Path::new(path).is_absolute() => {
                directory(Path::new(path), patience)
            }
            _ => {
                let detail =
                    "--checkpoint-url is file:///an/absolute/directory or s3://bucket/prefix";
                Err(AppError::Settings(detail.to_owned()))
            }
        },
    }
}

fn directory(dir: &Path, patience: Duration) -> Result<Checkpoints, AppError> {
    let what = format!("checkpoint directory {}", dir.display());
    std::fs::create_dir_all(dir).map_err(AppError::io(what))?;
    Ok(Checkpoints::in_directory(dir, patience)?)
}

/// A bucket and the beginning of its objects' names. The rest is from the environment, as AWS's own
/// programs have it: AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_REGION, AWS_ENDPOINT_URL and so on.
#[cfg(feature = "s3")]
fn bucket(place: &str) -> Result<Arc<dyn ObjectStore>, AppError> {
    use object_store::RetryConfig;
    use object_store::aws::AmazonS3Builder;
    use object_store::prefix::PrefixStore;
    let (bucket, prefix) = place.split_once('/').unwrap_or((place, ""));
    // Shorter than a client's patience, and no longer than a lease.
    let retry = RetryConfig {
        max_retries: 5,
        retry_timeout: Duration::from_secs(20),
        ..RetryConfig::default()
    };
    let store = AmazonS3Builder::from_env().with_bucket_name(bucket).with_retry(retry).build();
    let store = store.map_err(|error| AppError::Settings(format!("--checkpoint-url: {error}")))?;
    Ok(Arc::new(PrefixStore::new(store, prefix)))
}

#[cfg(not(feature = "s3"))]
fn bucket(_: &str) -> Result<Arc<dyn ObjectStore>, AppError> {
    let detail = "--checkpoint-url: this build knows no s3; build it with --features s3";
    Err(AppError::Settings(detail.to_owned()))
}
