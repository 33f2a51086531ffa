//! A worker beside a store that lists nothing and never says so: its other chores, and its updates, go on.

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

    let database: PgConnectOptions = service.database.url.parse().unwrap();
    let settings = WorkerSettings {
        slots: 1,
        lease: Duration::from_secs(45),
        max_failures: 5,
        orphan_age: Duration::ZERO,
        prediction_days: 7,
        database: database.clone(),
    };
    let shutdown = CancellationToken::new();
    let worker = worker::run(context(&service, database), settings, shutdown.clone());
    let worker = tokio::spawn(worker);
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
    shutdown.cancel();
    tokio::time::timeout(Duration::from_secs(60), worker).await.expect("it does not end").unwrap();
    service.stop().await;
}
