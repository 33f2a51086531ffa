//! Batches: what is accepted, what is not and why, and that accepted means kept once.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{TestService, blobs};

#[tokio::test(flavor = "multi_thread")]
async fn every_sample_gets_its_verdict() {
    let service = TestService::start().await;
    let api = &service.api;
    api.create_model("m", 2).await;
    let long = "x".repeat(257);
    let samples = json!([
        {"input": [1, 2], "label": "a"},
        {"input": [1, 2], "label": "a"},
        {"input": [1, 2], "label": "b"},
        {"input": [1], "label": "a"},
        {"input": [1, null], "label": "a"},
        {"input": [1, 1e39], "label": "a"},
        {"input": [1, "2"], "label": "a"},
        {"input": [3, 4]},
        {"input": [3, 4], "label": ""},
        {"input": [3, 4], "label": long},
        {"input": [3, 4], "label": "a", "weight": -1},
        {"input": [3, 4], "label": "a", "colour": 1},
        {"input": [5, 6], "label": "a", "id": "mine", "weight": 2.5},
        {"input": [7, 8], "label": "a", "id": "mine"},
    ]);
    let answer = api.post("/v1/models/m/batches", json!({"samples": samples})).await;
    let location = answer.header("location").to_owned();
    let body = answer.expect(202);
    let batch = &body["batch"];
    assert_eq!(
        (&batch["received"], &batch["accepted"], &batch["duplicates"], &batch["rejected"]),
        (&json!(14), &json!(3), &json!(2), &json!(9)),
        "{batch}"
    );
    let rejections = batch["rejections"].as_array().unwrap();
    let indices: Vec<u64> = rejections.iter().map(|bad| bad["index"].as_u64().unwrap()).collect();
    assert_eq!(indices, [3, 4, 5, 6, 7, 8, 9, 10, 11]);
    assert!(rejections.iter().all(|bad| !bad["reason"].as_str().unwrap().is_empty()));
    assert_eq!(&api.get(&location).await.expect(200), batch);
    assert_eq!(body["update"], Value::Null);

    let model = api.get("/v1/models/m").await.expect(200);
    assert_eq!((&model["samples"], &model["labels"]), (&json!(3), &json!(["a", "b"])));
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_three_formats_say_the_same() {
    let service = TestService::start().await;
    let api = &service.api;
    let features =
        json!([{"name": "x", "type": "numeric"}, {"name": "city", "type": "categorical"}]);
    for name in ["json", "ndjson", "csv"] {
        let model = json!({"name": name, "input": {"kind": "tabular", "features": features},
                           "schedule": {"paused": true}});
        api.post("/v1/models", model).await.expect(201);
    }
    let samples = [
        json!({"input": {"x": 1.5, "city": "Ulm"}, "label": "a"}),
        json!({"input": {"city": "a,\"b\"", "x": -2}, "label": "b"}),
        json!({"input": {"x": 1.5, "city": "Ulm"}, "label": "a"}),
    ];
    let lines: String = samples.iter().map(|sample| format!("{sample}\n")).collect();
    let csv = "city,kind,x\nUlm,a,1.5\n\"a,\"\"b\"\"\",b,-2\nUlm,a,1.5\n";
    let answers = [
        api.post("/v1/models/json/batches", json!({"samples": samples})).await,
        api.post_text("/v1/models/ndjson/batches", "application/x-ndjson", lines).await,
        api.post_text("/v1/models/csv/batches?label=kind", "text/csv; charset=utf-8", csv).await,
    ];
    for answer in answers {
        let batch = answer.expect(202)["batch"].clone();
        assert_eq!((&batch["accepted"], &batch["duplicates"]), (&json!(2), &json!(1)), "{batch}");
    }
    // The same contents have the same hashes, whatever they came in.
    let pool = service.database.pool().await;
    let hashes: Vec<(i64,)> =
        sqlx::query_as("SELECT count(DISTINCT hash) FROM samples GROUP BY label")
            .fetch_all(&pool)
            .await
            .unwrap();
    assert_eq!(hashes, [(1,), (1,)]);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_that_is_refused_changes_nothing() {
    let service = TestService::start_with(&["--max-body-bytes", "2000"]).await;
    let api = &service.api;
    api.create_model("m", 2).await;
    let mixed = json!({"samples": [{"input": [1, 2], "label": "a"}, {"input": [1], "label": "a"}]});
    let strict = api.post("/v1/models/m/batches?strict=true", mixed).await.problem(422);
    assert_eq!(strict["errors"][0]["pointer"], "/samples/1");
    api.post("/v1/models/m/batches", json!({"samples": []})).await.problem(422);
    api.post("/v1/models/m/batches", json!({"samples": [], "more": 1})).await.problem(422);
    api.post("/v1/models/nobody/batches", json!({"samples": []})).await.problem(404);
    api.post("/v1/models/m/batches?update=maybe", json!({"samples": []})).await.problem(422);
    let json = "application/json";
    let broken = "{\"samples\": [\n{\"input\": [1, 2], \"label\": \"a\"},\n{\"input\" [1]}]}";
    let broken = api.post_text("/v1/models/m/batches", json, broken).await.problem(400);
    assert!(broken["detail"].as_str().unwrap().contains("line 3"), "{broken}");
    api.post_text("/v1/models/m/batches", "text/csv", "a,b\n1,2\n").await.problem(422);
    api.post_text("/v1/models/m/batches", "image/png", "x").await.problem(415);
    api.post_text("/v1/models/m/batches", "application/x-ndjson", "x".repeat(2001))
        .await
        .problem(413);
    let model = api.get("/v1/models/m").await.expect(200);
    assert_eq!((&model["samples"], &model["labels"]), (&json!(0), &json!([])));
    assert_eq!(api.get("/v1/models/m/batches").await.expect(200)["items"], json!([]));
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_key_is_answered_the_same_and_stored_once() {
    let service = TestService::start().await;
    let api = &service.api;
    api.create_model("m", 2).await;
    let path = "/v1/models/m/batches";
    let send = async |key: &str, x: i32| {
        let body = json!({"samples": [{"input": [x, 2], "label": "a"}]});
        let request = api.request(reqwest::Method::POST, path).header("idempotency-key", key);
        api.send(request.json(&body)).await
    };
    let first = send("\"one\"", 1).await;
    let again = send("\"one\"", 1).await;
    assert_eq!(first.header("idempotency-replayed"), "");
    assert_eq!(again.header("idempotency-replayed"), "true");
    assert_eq!(again.header("location"), first.header("location"));
    assert_eq!(again.expect(202), first.expect(202));
    // A key is free as soon as its answer is there, a refusal too.
    for _ in 0..20 {
        send("\"one\"", 2).await.problem(422);
        send("\"one\"", 1).await.expect(202);
    }
    send("\"two\"", 2).await.expect(202);
    send(&"x".repeat(300), 3).await.problem(400);
    assert_eq!(api.get("/v1/models/m").await.expect(200)["samples"], 2);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_batches_at_once_store_each_sample_once() {
    let service = TestService::start().await;
    let api = &service.api;
    api.create_model("m", 2).await;
    let lines = |order: &mut dyn Iterator<Item = i32>| -> String {
        order.map(|i| format!("{{\"input\": [{i}, 1], \"label\": \"l{}\"}}\n", i % 7)).collect()
    };
    let (up, down) = (lines(&mut (0..3000)), lines(&mut (0..3000).rev()));
    let post = |text: String| api.post_text("/v1/models/m/batches", "application/x-ndjson", text);
    let (one, two) = tokio::join!(post(up), post(down));
    let (one, two) = (one.expect(202), two.expect(202));
    let accepted = |body: &Value| body["batch"]["accepted"].as_u64().unwrap();
    assert_eq!(accepted(&one) + accepted(&two), 3000);
    let model = api.get("/v1/models/m").await.expect(200);
    assert_eq!(model["samples"], 3000);
    assert_eq!(model["labels"].as_array().unwrap().len(), 7);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_batch_is_forgotten() {
    let service = TestService::start().await;
    let api = &service.api;
    api.create_model("m", 2).await;
    let sample = json!({"samples": [{"input": [1, 2], "label": "a"}]});
    let batch = api.post("/v1/models/m/batches", sample.clone()).await;
    let location = batch.header("location").to_owned();
    let forgotten = json!({"samples": 1, "versions": [], "update": null});
    assert_eq!(api.delete(&location).await.expect(200), forgotten);
    api.get(&location).await.problem(404);
    api.delete(&location).await.problem(404);
    assert_eq!(api.get("/v1/models/m").await.expect(200)["samples"], 0);
    // It may come again.
    let again = api.post("/v1/models/m/batches", sample).await.expect(202);
    assert_eq!(again["batch"]["accepted"], 1);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn compressed_bodies_are_read_and_their_expanded_size_is_bounded() {
    use std::io::Write;
    let service = TestService::start_with(&["--max-body-bytes", "100000"]).await;
    let api = &service.api;
    api.create_model("m", 2).await;
    let gzip = |text: &str| {
        let mut gzip = std::process::Command::new("gzip")
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        gzip.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
        gzip.wait_with_output().unwrap().stdout
    };
    // The same bits without the ten bytes before them and the eight behind, in the frame of zlib.
    let deflate = |text: &str| {
        let (gzip, sum) = (gzip(text), adler32(text.as_bytes()));
        [&b"\x78\x9c"[..], &gzip[10..gzip.len() - 8], &sum.to_be_bytes()].concat()
    };
    let post = async |encoding: &str, packed: Vec<u8>| {
        let request = api
            .request(reqwest::Method::POST, "/v1/models/m/batches")
            .header("content-type", "application/x-ndjson")
            .header("content-encoding", encoding)
            .body(packed);
        api.send(request).await
    };
    let (sample, spaces) = ("{\"input\": [1, 2], \"label\": \"a\"}\n", " ".repeat(10_000_000));
    assert_eq!(post("gzip", gzip(sample)).await.expect(202)["batch"]["accepted"], 1);
    assert_eq!(post("deflate", deflate(sample)).await.expect(202)["batch"]["duplicates"], 1);
    post("gzip", gzip(&spaces)).await.problem(413);
    post("deflate", deflate(&spaces)).await.problem(413);
    post("deflate", gzip(sample)).await.problem(400);
    service.stop().await;
}

/// The sum that zlib puts behind its bits (RFC 1950).
fn adler32(bytes: &[u8]) -> u32 {
    let (a, b) = bytes.iter().fold((1, 0), |(a, b), &byte| {
        let a = (a + u32::from(byte)) % 65_521;
        (a, (b + a) % 65_521)
    });
    (b << 16) | a
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_of_a_long_batch_costs_no_more_than_its_beginning() {
    const SAMPLES: i64 = 30_000;
    let service = TestService::start_with(&["--no-worker"]).await;
    let api = &service.api;
    api.create_model("m", 1).await;
    let line = |i| format!("{{\"input\": [{i}], \"label\": \"a\", \"id\": \"{i}\"}}\n");
    let lines: String = (0..SAMPLES).map(line).collect();
    let path = "/v1/models/m/batches?update=never";
    let batch = api.post_text(path, "application/x-ndjson", lines).await.expect(202);
    assert_eq!(batch["batch"]["accepted"], SAMPLES);

    // The server tells what a transaction read once it is over: all at once, soon after.
    let pool = service.database.pool().await;
    let told = "SELECT n_tup_ins, seq_tup_read + idx_tup_fetch FROM pg_stat_user_tables
                WHERE relname = 'samples'";
    let read = loop {
        let (stored, read): (i64, i64) = sqlx::query_as(told).fetch_one(&pool).await.unwrap();
        if stored == SAMPLES {
            break read;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    assert!(read <= SAMPLES, "{read} rows were read to store {SAMPLES}");
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_tiny_batches_are_learnt_as_one_is() {
    let service = TestService::start().await;
    let api = &service.api;
    let samples = blobs(&["a", "b"], 500, 4, 1);
    for model in ["one", "thousand"] {
        api.create_model(model, 4).await;
    }
    api.send_samples("one", &samples).await;
    for sample in &samples {
        api.send_samples("thousand", std::slice::from_ref(sample)).await;
    }
    let mut checkpoints = Vec::new();
    for model in ["one", "thousand"] {
        let update = api.update(model).await;
        assert_eq!(update["report"]["samples"]["pending"], 1000, "{update}");
        let version = api.get(&format!("/v1/models/{model}/versions/1")).await.expect(200);
        checkpoints.push(version["checkpoint"]["sha256"].clone());
    }
    assert_eq!(checkpoints[0], checkpoints[1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reason_may_quote_what_no_database_keeps() {
    let service = TestService::start().await;
    service.api.create_model("m", 2).await;
    let batch = json!({"samples": [{"a\0b": 1}, {"input": [1, 2], "label": "a"}]});
    let answer = service.api.post("/v1/models/m/batches", batch).await.expect(202)["batch"].take();
    assert_eq!((&answer["rejected"], &answer["accepted"]), (&json!(1), &json!(1)), "{answer}");
    assert!(answer["rejections"][0]["reason"].as_str().unwrap().contains("a\u{fffd}b"), "{answer}");
}
