//! Checkpoints in a bucket of a real S3 server: `make s3` installs one and runs this.

#![cfg(feature = "s3")]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use support::process::{Process, free_address, log_to, perennial, ready};
use support::{Api, Database, blobs, readable_dir};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

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
        self.service_by(&self.address, database, dir, address, log)
    }

    /// The same, where `store` leads to the server.
    fn service_by(
        &self,
        store: &str,
        database: &Database,
        dir: &Path,
        address: &str,
        log: &Path,
    ) -> Process {
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
            ("AWS_ENDPOINT_URL", &format!("http://{store}")),
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

/// What a way to the server has done to those who took it.
#[derive(Default)]
struct Harm {
    refused: AtomicUsize,
    cut: AtomicUsize,
    /// Its next connections are harmed, as long as there are any.
    left: AtomicUsize,
}

/// A way to the server at `address` that refuses one connection and cuts the next in the middle of what is
/// sent, as long as there is harm left; those that rest are ended.
async fn rough_way(address: &str) -> (String, Arc<Harm>) {
    const CUT_AFTER: u64 = 1 << 20;
    const REST: Duration = Duration::from_secs(5);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (here, there) = (listener.local_addr().unwrap().to_string(), address.to_owned());
    let harm = Arc::new(Harm::default());
    let told = Arc::clone(&harm);
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let (there, harm) = (there.clone(), Arc::clone(&harm));
            let take = |left: usize| left.checked_sub(1);
            let left = harm.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, take);
            tokio::spawn(async move {
                if left.is_ok_and(|left| left % 2 == 0) {
                    let mut head = [0; 4096];
                    if client.read(&mut head).await.is_ok_and(|n| n > 0) {
                        harm.refused.fetch_add(1, Ordering::SeqCst);
                        let refusal = "HTTP/1.1 503 Slow Down\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
                        let _ = client.write_all(refusal.as_bytes()).await;
                    }
                    return;
                }
                let mut server = TcpStream::connect(&there).await.unwrap();
                let (mut from_client, mut to_client) = client.split();
                let (mut from_server, mut to_server) = server.split();
                if left.is_ok() {
                    let mut some = (&mut from_client).take(CUT_AFTER);
                    let sent = tokio::io::copy(&mut some, &mut to_server);
                    let answered = tokio::io::copy(&mut from_server, &mut to_client);
                    tokio::select! {
                        sent = sent => if sent.is_ok_and(|n| n == CUT_AFTER) {
                            harm.cut.fetch_add(1, Ordering::SeqCst);
                        } else {
                            // It was not long enough to be cut; the next one may be.
                            harm.left.fetch_add(1, Ordering::SeqCst);
                        },
                        _ = answered => {}
                        () = tokio::time::sleep(Duration::from_secs(20)) => {}
                    }
                    return;
                }
                let (mut up, mut down) = ([0; 1 << 16], [0; 1 << 16]);
                loop {
                    let moved = tokio::select! {
                        n = from_client.read(&mut up) => match n {
                            Ok(n) if n > 0 => to_server.write_all(&up[..n]).await,
                            _ => return,
                        },
                        n = from_server.read(&mut down) => match n {
                            Ok(n) if n > 0 => to_client.write_all(&down[..n]).await,
                            _ => return,
                        },
                        () = tokio::time::sleep(REST) => return,
                    };
                    if moved.is_err() {
                        return;
                    }
                }
            });
        }
    });
    (here, told)
}

async fn learn(api: &Api, label: &str, seed: u64) -> Value {
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

#[tokio::test(flavor = "multi_thread")]
async fn a_large_checkpoint_goes_in_parts_and_again_where_the_store_refuses_or_is_cut_off() {
    perennial::app::choose_cryptography();
    let (database, dir) = (Database::create().await, readable_dir());
    let address = free_address();
    let server = Server::start(readable_dir(), &free_address());
    let (way, harm) = rough_way(&server.address).await;
    let log = dir.path().join("log");
    let service = server.service_by(&way, &database, dir.path(), &address, &log);
    let api = ready(&address).await;
    // Its table alone has 128 MiB: three parts.
    let input = json!({"kind": "text", "buckets": 1 << 18});
    let network = json!({"kind": "text", "embedding": 128});
    let model = json!({"name": "m", "input": input, "network": network});
    api.post("/v1/models", model).await.expect(201);
    let sample = |i: usize| {
        let (word, label) = if i.is_multiple_of(2) { ("goal", "sport") } else { ("bond", "money") };
        json!({"input": format!("a {word} of number {i}"), "label": label})
    };
    let samples: Vec<Value> = (0..120).map(sample).collect();
    api.post("/v1/models/m/batches", json!({"samples": samples})).await.expect(202);
    // No more than one request is sent again for.
    harm.left.store(4, Ordering::SeqCst);
    let update = api.update("m").await;
    if update["attempt"] != 1 {
        let said = std::fs::read_to_string(&log).unwrap();
        let warnings =
            said.lines().filter(|line| line.contains(" WARN ") || line.contains(" ERROR "));
        warnings.for_each(|line| println!("{line}"));
    }
    assert_eq!(
        (&update["outcome"], &update["attempt"]),
        (&json!("published"), &json!(1)),
        "{update}"
    );
    let (refused, cut) = (&harm.refused, &harm.cut);
    println!("refused {refused:?} times, cut off {cut:?} times");
    assert!(refused.load(Ordering::SeqCst) > 0 && cut.load(Ordering::SeqCst) > 0);
    let [file] = &server.checkpoints()[..] else { panic!("one checkpoint") };
    assert!(file.metadata().unwrap().len() > 128 << 20);

    // What is read back is what was written: its digest is checked.
    assert!(service.stop().success());
    harm.left.store(2, Ordering::SeqCst);
    let _service = server.service_by(&way, &database, dir.path(), &address, &log);
    let api = ready(&address).await;
    let answer = api.post("/v1/models/m/predict", json!({"inputs": ["a goal"]})).await.expect(200);
    assert_eq!(answer["predictions"][0]["label"], "sport");
}
