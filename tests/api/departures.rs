//! Clients that go away in the midst of something: what they held is free again, what they began is gone.

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::support::{Api, TestService, blobs};

const INPUT: &str = "[0.5, 0.5, 0.5, 0.5]";

/// One request at a time, and one prediction.
async fn narrow() -> TestService {
    let service = TestService::start_with(&["--max-requests", "1"]).await;
    let api = &service.api;
    api.create_model("m", 4).await;
    api.send_samples("m", &blobs(&["a", "b"], 40, 4, 1)).await;
    assert_eq!(api.update("m").await["outcome"], "published");
    service
}

/// Sends a request's head and so much of its body.
async fn begin(api: &Api, start: &str, headers: &str, body: &str) -> TcpStream {
    let address = api.address.strip_prefix("http://").unwrap();
    let mut stream = TcpStream::connect(address).await.unwrap();
    let head = format!("{start} HTTP/1.1\r\nhost: x\r\n{headers}\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(body.as_bytes()).await.unwrap();
    stream
}

/// Waits until `holds`.
async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let began = Instant::now();
    while !holds().await {
        assert!(began.elapsed() < Duration::from_secs(60), "{what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn predict(api: &Api) -> u16 {
    let input: Value = serde_json::from_str(INPUT).unwrap();
    let answer = api.post("/v1/models/m/predict", json!({"inputs": [input]})).await;
    answer.status.as_u16()
}

#[tokio::test(flavor = "multi_thread")]
async fn who_goes_away_with_half_a_prediction_gives_its_slot_back() {
    let service = narrow().await;
    let api = &service.api;
    let start = "POST /v1/models/m/predict";
    let of = |kind: &str| format!("content-type: {kind}\r\ncontent-length: 1000000\r\n");
    let body = format!("{{\"inputs\": [{INPUT},");
    let half = begin(api, start, &of("application/json"), &body).await;
    until("the slot is not taken", async || predict(api).await == 503).await;
    drop(half);
    until("the slot stays taken", async || predict(api).await == 200).await;

    // A stream that is being answered.
    let lines = format!("{INPUT}\n");
    let mut stream = begin(api, start, &of("application/x-ndjson"), &lines).await;
    let mut answer = Vec::new();
    while !answer.windows(7).any(|bytes| bytes == b"\"label\"") {
        assert_ne!(stream.read_buf(&mut answer).await.unwrap(), 0, "it is not answered");
    }
    assert_eq!(predict(api).await, 503);
    drop(stream);
    until("the stream's slot stays taken", async || predict(api).await == 200).await;
    service.stop().await;
}

/// Files in `dir` that this process has open and that have no name any more.
fn nameless(dir: &Path) -> usize {
    let files = std::fs::read_dir("/proc/self/fd").unwrap().flatten();
    let places = files.filter_map(|file| std::fs::read_link(file.path()).ok());
    places.filter(|place| place.starts_with(dir)).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn who_goes_away_with_half_a_batch_leaves_nothing() {
    let service = narrow().await;
    let api = &service.api;
    let spool = service.dir.path().join("spool");
    let line = format!("{{\"input\": {INPUT}, \"label\": \"c\"}}\n");
    let headers = "content-type: application/x-ndjson\r\ncontent-length: 9000000\r\n";
    let lines = line.repeat((3 << 20) / line.len());
    let half = begin(api, "POST /v1/models/m/batches", headers, &lines).await;
    until("the body is not kept", async || nameless(&spool) == 1).await;
    api.get("/v1/models/m").await.problem(503);
    drop(half);
    until("the file stays", async || nameless(&spool) == 0).await;
    until("the slot stays taken", async || api.get("/v1/models/m").await.status == 200).await;
    let model = api.get("/v1/models/m").await.expect(200);
    assert_eq!((&model["samples"], &model["labels"]), (&json!(80), &json!(["a", "b"])));
    let batches = api.get("/v1/models/m/batches").await.expect(200);
    assert_eq!(batches["items"].as_array().unwrap().len(), 1);
    assert_eq!(std::fs::read_dir(&spool).unwrap().count(), 0);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_for_an_update_and_goes_away_gives_its_slot_back() {
    let service = narrow().await;
    let api = &service.api;
    let (database, dir) = {
        api.send_samples("m", &blobs(&["a", "b"], 9, 4, 2)).await;
        service.stop().await
    };
    let flags = ["--no-worker", "--max-requests", "1"];
    let service = TestService::start_on(database, dir, &flags).await;
    let api = &service.api;
    let queued = api.post("/v1/models/m/updates", json!({})).await.expect(202);
    let id = queued["id"].as_str().unwrap();
    // Whoever asks meanwhile may have the only slot when this one comes: then it comes again.
    let mut waiting = None;
    until("nobody waits", async || {
        let start = format!("GET /v1/updates/{id}?wait=60");
        waiting = Some(begin(api, &start, "", "").await);
        tokio::time::sleep(Duration::from_millis(200)).await;
        api.get("/v1/models/m").await.status == 503
    })
    .await;
    drop(waiting);
    // Well before the wait would be over.
    let began = Instant::now();
    until("the slot stays taken", async || api.get("/v1/models/m").await.status == 200).await;
    assert!(began.elapsed() < Duration::from_secs(40), "it waited on");
    service.stop().await;
}
