//! A worker beside a store that lists nothing and never says so: its other chores, and its updates, go on. What it
//! keeps in memory goes once it was deleted.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use futures_util::stream::{self, BoxStream};
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use perennial::learning::Device;
use perennial::services::access::Access;
use perennial::services::events::Feed;
use perennial::services::serving::Serving;
use perennial::services::{Context, Parts};
use perennial::storage::checkpoints::Checkpoints;
use perennial::storage::database;
use perennial::worker::{self, WorkerSettings};
use serde_json::json;
use sqlx::postgres::PgConnectOptions;
use tokio::sync::broadcast;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::support::{TestService, blobs};

/// A directory whose listing never ends.
#[derive(Debug)]
struct Endless(LocalFileSystem);

impl fmt::Display for Endless {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an endless directory")
    }
}

#[async_trait::async_trait]
impl ObjectStore for Endless {
    async fn put_opts(&self, at: &Path, object: PutPayload, how: PutOptions) -> Result<PutResult> {
        self.0.put_opts(at, object, how).await
    }

    async fn put_multipart_opts(
        &self,
        at: &Path,
        how: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.0.put_multipart_opts(at, how).await
    }

    async fn get_opts(&self, at: &Path, how: GetOptions) -> Result<GetResult> {
        self.0.get_opts(at, how).await
    }

    fn delete_stream(
        &self,
        places: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        self.0.delete_stream(places)
    }

    fn list(&self, _: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        stream::pending().boxed()
    }

    async fn list_with_delimiter(&self, at: Option<&Path>) -> Result<ListResult> {
        self.0.list_with_delimiter(at).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, how: CopyOptions) -> Result<()> {
        self.0.copy_opts(from, to, how).await
    }
}

/// What a worker works with, on the service's database and its directory.
fn context(service: &TestService, database: PgConnectOptions) -> Context {
    let directory = service.dir.path().join("checkpoints");
    let store = Endless(LocalFileSystem::new_with_prefix(directory).unwrap());
    Context::from(Parts {
        pool: database::pool(database, 16),
        checkpoints: Checkpoints::new(Arc::new(store), Duration::from_secs(20)),
        access: Arc::new(Access::new(true)),
        serving: Arc::new(Serving::new(1 << 20, 1)),
        remembered: Arc::default(),
        held_out: Default::default(),
        notices: broadcast::Sender::new(16),
        events: Arc::new(Feed::new(1)),
        queues: Default::default(),
        training_threads: Arc::new(rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap()),
        device: Device::Flex,
        update_bytes: 1 << 30,
    })
}

/// A worker in this process.
struct Running {
    context: Context,
    shutdown: CancellationToken,
    worker: JoinHandle<()>,
}

impl Running {
    fn beside(service: &TestService) -> Self {
        let database: PgConnectOptions = service.database.url.parse().unwrap();
        let settings = WorkerSettings {
            slots: 1,
            lease: Duration::from_secs(45),
            max_failures: 5,
            orphan_age: Duration::ZERO,
            prediction_days: 7,
            database: database.clone(),
        };
        let (context, shutdown) = (context(service, database), CancellationToken::new());
        let worker = tokio::spawn(worker::run(context.clone(), settings, shutdown.clone()));
        Self { context, shutdown, worker }
    }

    async fn stop(self) {
        self.shutdown.cancel();
        let ending = tokio::time::timeout(Duration::from_secs(60), self.worker);
        ending.await.expect("it does not end").unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_whose_listing_never_ends_holds_back_no_schedule_no_lease_and_no_retention() {
    let service = TestService::start_with(&["--no-worker"]).await;
    let api = &service.api;
    for model in ["scheduled", "left", "old"] {
        api.create_model(model, 4).await;
        api.send_samples(model, &blobs(&["a", "b"], 40, 4, 1)).await;
    }
    // One whose worker is gone, and one that is too old to be kept.
    api.post("/v1/models/left/updates", json!({})).await.expect(202);
    api.patch("/v1/models/old", json!({"retention": {"max_age_days": 7}})).await.expect(200);
    let pool = service.database.pool().await;
    for statement in [
        "UPDATE updates SET status = 'running', attempt = 1, started_at = now(), lease_s = 1,
                leased_until = now() - interval '1 second'",
        "UPDATE batches SET created_at = now() - interval '8 days'
         WHERE model_id = (SELECT id FROM models WHERE name = 'old')",
    ] {
        assert_eq!(sqlx::query(statement).execute(&pool).await.unwrap().rows_affected(), 1);
    }

    let worker = Running::beside(&service);
    let came_to = async |model: &str, field: &str, value: u64| {
        let began = Instant::now();
        loop {
            let model = api.get(&format!("/v1/models/{model}")).await.expect(200);
            if model[field] == value {
                return;
            }
            assert!(began.elapsed() < Duration::from_secs(60), "{field} is not {value}: {model}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    came_to("old", "samples", 0).await;
    // Listing has begun long ago by now.
    let schedule = json!({"schedule": {"paused": false, "max_delay_s": 1}});
    api.patch("/v1/models/scheduled", schedule).await.expect(200);
    came_to("scheduled", "live_version", 1).await;
    came_to("left", "live_version", 1).await;
    worker.stop().await;
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn held_out_samples_that_are_kept_go_with_what_was_deleted_and_with_their_model() {
    let service = TestService::start_with(&["--no-worker"]).await;
    let api = &service.api;
    let worker = Running::beside(&service);
    for model in ["m", "other"] {
        api.create_model(model, 4).await;
    }
    let mut batch = json!(null);
    for model in ["m", "other"] {
        batch = api.send_samples(model, &blobs(&["a", "b"], 100, 4, 1)).await["batch"]["id"].take();
        assert_eq!(api.update(model).await["outcome"], "published");
    }
    let mut db = worker.context.pool.acquire().await.unwrap();
    let mut n_dropped = async || worker.context.held_out.drop_deleted(&mut db).await.unwrap();
    assert_eq!(n_dropped().await, 0);
    api.delete(&format!("/v1/models/other/batches/{}", batch.as_str().unwrap())).await.expect(200);
    assert_eq!(n_dropped().await, 1);
    assert_eq!(api.delete("/v1/models/m").await.status, 204);
    assert_eq!(n_dropped().await, 1);
    assert_eq!(n_dropped().await, 0);
    drop(db);
    worker.stop().await;
    service.stop().await;
}
