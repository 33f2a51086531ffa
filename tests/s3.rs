//! Checkpoints in a bucket of a real S3 server: `make s3` installs one and runs this.

#![cfg(feature = "s3")]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::json;
use support::process::{Process, free_address, log_to, perennial, ready};
use support::{Api, Database, blobs, readable_dir};

const SECRET: &str = "a-secret-that-no-log-may-hold";

/// An S3 server with one bucket.
struct Server {
    _process: Process,
    address: String,
    dir: tempfile::TempDir,
}

impl Server {
    fn start(dir: tempfile::TempDir, address: &str) -> Self {
        let program =
            std::env::var("PERENNIAL_S3_SERVER").expect("`make s3` sets PERENNIAL_S3_SERVER");
        std::fs::create_dir_all(dir.path().join("bucket")).unwrap();
        let (host, port) = address.split_once(':').unwrap();
        let mut command = Command::new(program);
        command.args([
            "--host",
            host,
            "--port",
            port,
            "--access-key",
            "key",
            "--secret-key",
            SECRET,
        ]);
        command.arg(dir.path()).stdout(Stdio::null()).stderr(Stdio::null());
        Self { _process: Process::start(&mut command), address: address.to_owned(), dir }
    }

    /// `perennial serve` on this server, which says everything that it does into `log`.
    fn service(&self, database: &Database, dir: &Path, address: &str, log: &Path) -> Process {
        let flags = [
            "--database-url",
            &database.url,
            "--listen",
            address,
            "--checkpoint-url",
            "s3://bucket/some/place",
            "--log",
            "trace",
        ];
        let mut command = perennial("serve", dir, &flags);
        command.envs([
            ("AWS_ACCESS_KEY_ID", "key"),
            ("AWS_SECRET_ACCESS_KEY", SECRET),
            ("AWS_REGION", "us-east-1"),
            ("AWS_ENDPOINT_URL", &format!("http://{}", self.address)),
            ("AWS_ALLOW_HTTP", "true"),
        ]);
        Process::start(log_to(&mut command, log))
    }

    fn checkpoints(&self) -> Vec<PathBuf> {
        let models = self.dir.path().join("bucket/some/place/models");
        let models = std::fs::read_dir(models).into_iter().flatten().flatten();
        let files = models.flat_map(|model| std::fs::read_dir(model.path()).unwrap().flatten());
        let paths = files.map(|file| file.path());
        paths.filter(|path| path.extension().is_some_and(|kind| kind == "safetensors")).collect()
    }
}

async fn learn(api: &Api, label: &str, seed: u64) -> serde_json::Value {
    api.send_samples("m", &blobs(&["a", label], 60, 8, seed)).await;
    api.update("m").await
}

#[tokio::test(flavor = "multi_thread")]
async fn checkpoints_are_kept_in_a_bucket_and_outlive_its_absence() {
    perennial::app::choose_cryptography();
    let (database, dir) = (Database::create().await, readable_dir());
    let (address, store) = (free_address(), free_address());
    let server = Server::start(readable_dir(), &store);
    let log = dir.path().join("log");
    let service = server.service(&database, dir.path(), &address, &log);
    let api = ready(&address).await;
    api.create_model("m", 8).await;
    assert_eq!(learn(&api, "b", 1).await["outcome"], "published");
    assert_eq!(server.checkpoints().len(), 1);
    let file = api.get("/v1/models/m/versions/1").await.expect(200);
    let sha256 = file["checkpoint"]["sha256"].as_str().unwrap().to_owned();
    assert!(server.checkpoints()[0].to_str().unwrap().contains(&sha256));
    let inputs = json!({"inputs": [vec![0.5; 8]], "top_k": 2});
    let before = api.post("/v1/models/m/predict", inputs.clone()).await.expect(200);

    // Another process reads it from there.
    assert!(service.stop().success());
    let _service = server.service(&database, dir.path(), &address, &log);
    let api = ready(&address).await;
    assert_eq!(api.post("/v1/models/m/predict", inputs.clone()).await.expect(200), before);

    // Without the store nothing is published, and nothing that is loaded stops answering.
    let Server { _process, dir: bucket, .. } = server;
    drop(_process);
    api.send_samples("m", &blobs(&["a", "c"], 60, 8, 2)).await;
    let update = api.post("/v1/models/m/updates", json!({})).await.expect(202);
    let path = format!("/v1/updates/{}", update["id"].as_str().unwrap());
    loop {
        let now = api.get(&path).await.expect(200);
        assert!(now["finished_at"].is_null(), "{now}");
        if !now["error"].is_null() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    assert_eq!(api.post("/v1/models/m/predict", inputs).await.expect(200), before);
    let _server = Server::start(bucket, &store);
    assert_eq!(api.wait(update["id"].as_str().unwrap()).await["version"], 2);

    let log = std::fs::read_to_string(&log).unwrap();
    assert_eq!(log.matches("ready: http://").count(), 2, "both services log there");
    assert!(log.contains(" TRACE ") && !log.contains(SECRET));
}
