//! The service from outside, as ratios against a baseline in the same run.
//!
//! - Ingest: NDJSON of 784 floats, against a bare COPY of the same blocks and rows.
//! - Predict: one 784-vector, one short text, or one image of 784 pixels as JSON on 16 connections,
//!   against a handler that parses the same JSON and answers a constant.
//! - Remember: predictions that are remembered, against the same that are not; with the above, or alone.
//! - Memory: the peak of a process that takes in 1 GiB of distinct samples as NDJSON.
//! - Start: an empty directory to ready, and again.
//!
//! `make bench`, or one of them: `make bench ARGS='-- memory'`. Needs PostgreSQL's programs, as the
//! tests do.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[path = "../tests/support/mod.rs"]
mod support;

use std::fmt::Write as _;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use axum::routing::post;
use perennial::domain::input::Inputs;
use perennial::domain::sample::ContentHash;
use perennial::storage::block;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};
use support::process::{Process, free_address, ready};
use support::{Api, Database, TestService, readable_dir};

const DIM: usize = 784;

fn main() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let named: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    let is_wanted = |name: &str| named.is_empty() || named.iter().any(|word| word == name);
    runtime.block_on(async {
        if is_wanted("start") {
            start().await;
        }
        if is_wanted("ingest") {
            ingest().await;
        }
        if is_wanted("predict") {
            predict().await;
            remember().await;
        }
        if named.iter().any(|word| word == "remember") {
            remember().await;
        }
        if is_wanted("memory") {
            memory().await;
        }
    });
}

/// Images of which half the pixels are zero; another seed gives others.
fn images(n: usize, seed: u64) -> Vec<Vec<f32>> {
    let mut random = rand_xoshiro::Xoshiro256PlusPlus::seed_from_u64(seed);
    let mut pixel = || if random.gen_bool(0.5) { 0.0 } else { random.gen_range(0.0..1.0f32) };
    (0..n).map(|_| (0..DIM).map(|_| pixel()).collect()).collect()
}

fn ndjson(images: &[Vec<f32>]) -> String {
    let mut text = String::new();
    for (i, image) in images.iter().enumerate() {
        let _ = write!(text, "{{\"input\": [");
        for (j, pixel) in image.iter().enumerate() {
            let _ = write!(text, "{}{pixel}", if j == 0 { "" } else { "," });
        }
        let _ = writeln!(text, "], \"label\": \"{}\"}}", i % 10);
    }
    text
}

async fn create(api: &Api, name: &str) {
    let model = json!({"name": name, "input": {"kind": "tabular", "dim": DIM}, "schedule": {"paused": true}});
    api.post("/v1/models", model).await.expect(201);
}

async fn ingest() {
    const ROWS: usize = 10_000;
    let service = TestService::start_with(&["--no-worker", "--max-body-bytes", "1000000000"]).await;
    let images = images(ROWS, 7);
    let text = ndjson(&images);
    let pool = service.database.pool().await;
    let mut ratios = Vec::new();
    for round in 0..3 {
        let name = format!("m{round}");
        create(&service.api, &name).await;
        let began = Instant::now();
        let path = format!("/v1/models/{name}/batches");
        let answer =
            service.api.post_text(&path, "application/x-ndjson", text.clone()).await.expect(202);
        let ours = began.elapsed().as_secs_f64();
        assert_eq!(answer["batch"]["accepted"], ROWS);

        let model: i64 =
            sqlx::query_scalar("SELECT max(id) FROM models").fetch_one(&pool).await.unwrap();
        let batch: uuid::Uuid = answer["batch"]["id"].as_str().unwrap().parse().unwrap();
        sqlx::query("DELETE FROM samples").execute(&pool).await.unwrap();
        sqlx::query("DELETE FROM blocks").execute(&pool).await.unwrap();
        let copied = copy(&pool, model, batch, &images).await;
        ratios.push(copied / ours);
        println!(
            "ingest: {:.0} rows/s, {:.0} MB/s; bare COPY {:.0} rows/s; ratio {:.2}",
            ROWS as f64 / ours,
            text.len() as f64 / ours / 1e6,
            ROWS as f64 / copied,
            copied / ours
        );
    }
    ratios.sort_by(f64::total_cmp);
    println!("ingest / COPY, median: {:.2} (to reach: 0.25)\n", ratios[1]);
    service.stop().await;
}

/// Copies ready blocks and rows; seconds that it took.
async fn copy(pool: &sqlx::PgPool, model: i64, batch: uuid::Uuid, images: &[Vec<f32>]) -> f64 {
    let mut blocks = String::new();
    let mut rows = String::new();
    for (number, chunk) in images.chunks(block::MAX_INPUTS).enumerate() {
        let id = 1_000_000 * model as usize + number;
        let mut inputs = Inputs::with_shape(DIM, 0);
        for (position, image) in chunk.iter().enumerate() {
            inputs.push(image, &[]);
            let hash = ContentHash::of_input(image, &[]);
            let held_out = if hash.is_held_out() { 't' } else { 'f' };
            let _ = writeln!(
                rows,
                "{model}\t{id}\t{position}\t{}\t1\t{held_out}\tt\t\\\\x{hash}",
                position % 10
            );
        }
        let _ = write!(blocks, "{id}\t{model}\t{batch}\t\\\\x");
        for byte in block::encode(&inputs).unwrap() {
            let _ = write!(blocks, "{byte:02x}");
        }
        blocks.push('\n');
    }
    let began = Instant::now();
    let mut tx = pool.begin().await.unwrap();
    let into = "COPY blocks (id, model_id, batch_id, payload) FROM STDIN";
    let mut copying = tx.copy_in_raw(into).await.unwrap();
    copying.send(blocks.as_bytes()).await.unwrap();
    copying.finish().await.unwrap();
    let into = "COPY samples (model_id, block_id, position, label, weight, held_out, fresh, hash) FROM STDIN";
    let mut copying = tx.copy_in_raw(into).await.unwrap();
    copying.send(rows.as_bytes()).await.unwrap();
    copying.finish().await.unwrap();
    tx.commit().await.unwrap();
    began.elapsed().as_secs_f64()
}

#[derive(serde::Deserialize)]
struct Question<T> {
    inputs: Vec<T>,
}

async fn predict() {
    let vector = json!({"kind": "tabular", "dim": DIM});
    let vectors = images(300, 7).into_iter().map(|image| json!(image)).collect();
    compare("vector", vector, vectors, "over 0.40").await;
    let sentence =
        |i: usize| json!(format!("Where is my card number {i}, and when will it arrive?"));
    let sentences = (0..300).map(sentence).collect();
    compare("short text", json!({"kind": "text"}), sentences, "over 0.33").await;
    let image = json!({"kind": "image", "width": 28, "height": 28, "channels": 1});
    let pixels = |image: Vec<f32>| image.iter().map(|x| (x * 255.0) as u8).collect::<Vec<u8>>();
    let pictures = images(300, 7).into_iter().map(|image| json!(pixels(image))).collect();
    compare("image", image, pictures, "no goal is set").await;
}

/// One vector a request, remembered, against the same that is not.
async fn remember() {
    let service = TestService::start().await;
    create(&service.api, "m").await;
    let vectors = images(300, 7);
    let labels = ["0", "1", "2"].into_iter().cycle();
    let samples: Vec<_> = vectors.iter().cloned().zip(labels).collect();
    service.api.send_samples("m", &samples).await;
    assert_eq!(service.api.update("m").await["outcome"], "published");
    // Another vector each time: blocks of one and the same would be small.
    let body = |vector, remember| json!({"inputs": [vector], "remember": remember}).to_string();
    let plain: Vec<String> = vectors.iter().map(|vector| body(vector, false)).collect();
    let remembered: Vec<String> = vectors.iter().map(|vector| body(vector, true)).collect();
    let url = format!("{}/v1/models/m/predict", service.api.address);
    let mut ratios = Vec::new();
    for _ in 0..5 {
        let (a, b) = (load(&url, &remembered).await, load(&url, &plain).await);
        println!("predict, remembered: {a:.0} requests/s; plain {b:.0}; ratio {:.2}", a / b);
        ratios.push(a / b);
    }
    ratios.sort_by(f64::total_cmp);
    println!("predict, remembered / plain, median: {:.2} (to reach: 0.90)\n", ratios[2]);
    service.stop().await;
}

/// One input a request, against a handler that parses the same JSON and answers a constant.
async fn compare(what: &str, schema: Value, inputs: Vec<Value>, goal: &str) {
    let service = TestService::start().await;
    let model = json!({"name": "m", "input": schema, "schedule": {"paused": true}});
    service.api.post("/v1/models", model).await.expect(201);
    let sample =
        |(i, input): (usize, &Value)| json!({"input": input, "label": (i % 3).to_string()});
    let samples: Vec<Value> = inputs.iter().enumerate().map(sample).collect();
    let batch = json!({"samples": samples});
    service.api.post("/v1/models/m/batches", batch).await.expect(202);
    assert_eq!(service.api.update("m").await["outcome"], "published");

    let parsed_vectors = |axum::Json(question): axum::Json<Question<Vec<f32>>>| async move {
        axum::Json(json!({"label": "7", "n": question.inputs.iter().map(Vec::len).sum::<usize>()}))
    };
    let parsed_texts = |axum::Json(question): axum::Json<Question<String>>| async move {
        axum::Json(
            json!({"label": "7", "n": question.inputs.iter().map(String::len).sum::<usize>()}),
        )
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let constant = if inputs[0].is_string() { post(parsed_texts) } else { post(parsed_vectors) };
    let router = axum::Router::new().route("/constant", constant);
    tokio::spawn(async move { axum::serve(listener, router).await });

    let body = [json!({"inputs": [inputs[0]]}).to_string()];
    let ours = format!("{}/v1/models/m/predict", service.api.address);
    let theirs = format!("http://{address}/constant");
    let mut ratios = Vec::new();
    for _ in 0..3 {
        let (a, b) = (load(&ours, &body).await, load(&theirs, &body).await);
        println!("predict {what}: {a:.0} requests/s; constant handler {b:.0}; ratio {:.2}", a / b);
        ratios.push(a / b);
    }
    ratios.sort_by(f64::total_cmp);
    println!("predict {what} / constant, median: {:.2} ({goal})\n", ratios[1]);
    service.stop().await;
}

/// Requests a second that 16 connections get answered in 4 seconds.
async fn load(url: &str, bodies: &[String]) -> f64 {
    const CONNECTIONS: usize = 16;
    let time = Duration::from_secs(4);
    let client = reqwest::Client::new();
    let began = Instant::now();
    let tasks: Vec<_> = (0..CONNECTIONS)
        .map(|connection| {
            let (client, url, bodies) = (client.clone(), url.to_owned(), bodies.to_owned());
            tokio::spawn(async move {
                let mut answered = 0;
                while began.elapsed() < time {
                    let body = &bodies[(connection + CONNECTIONS * answered) % bodies.len()];
                    let request = client.post(&url).header("content-type", "application/json");
                    let answer = request.body(body.clone()).send().await.unwrap();
                    assert!(answer.status().is_success(), "{}", answer.status());
                    answer.bytes().await.unwrap();
                    answered += 1;
                }
                answered
            })
        })
        .collect();
    let mut answered = 0;
    for task in tasks {
        answered += task.await.unwrap();
    }
    answered as f64 / began.elapsed().as_secs_f64()
}

/// The built service in a process of its own, once it is ready.
async fn spawn(more: &[&str]) -> (Process, Api) {
    let address = free_address();
    let mut process = Command::new(env!("CARGO_BIN_EXE_perennial"));
    process.args(["serve", "--listen", &address]).args(more);
    process.env_remove("DATABASE_URL").stdout(Stdio::null()).stderr(Stdio::null());
    let process = Process::start(&mut process);
    let api = ready(&address).await;
    (process, api)
}

async fn memory() {
    let (database, dir) = (Database::create().await, readable_dir());
    let dir_name = dir.path().to_str().unwrap();
    let on_database = ["--database-url", &database.url, "--data-dir", dir_name, "--no-worker"];
    let limit = ["--max-body-bytes", "2000000000"];
    let (process, api) = spawn(&[&on_database[..], &limit].concat()).await;
    create(&api, "m").await;
    let request = api
        .request(reqwest::Method::POST, "/v1/models/m/batches?update=never")
        .timeout(Duration::from_secs(3600))
        .header("content-type", "application/x-ndjson")
        .body(reqwest::Body::wrap_stream(futures_util::stream::iter(distinct_samples(1 << 30))));
    let began = Instant::now();
    let batch = api.send(request).await.expect(202)["batch"].take();
    assert_eq!(batch["accepted"], batch["received"], "all are distinct: {batch}");
    let status = std::fs::read_to_string(format!("/proc/{}/status", process.id())).unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap().trim();
    println!(
        "memory: 1 GiB of NDJSON, {} samples in {:.0} s: peak {peak} (to stay under: 307200 kB)",
        batch["accepted"],
        began.elapsed().as_secs_f64()
    );
    process.stop();
}

/// At least `n_bytes` of NDJSON in pieces, each made when it is asked for.
fn distinct_samples(n_bytes: usize) -> impl Iterator<Item = std::io::Result<String>> {
    let mut made = 0;
    (0..)
        .map(|seed| ndjson(&images(100, seed)))
        .take_while(move |piece| {
            let goes_on = made < n_bytes;
            made += piece.len();
            goes_on
        })
        .map(Ok)
}

async fn start() {
    let dir = readable_dir();
    for (what, limit) in [("empty directory", 6.0), ("second start", 1.5)] {
        let began = Instant::now();
        let (process, _) = spawn(&["--data-dir", dir.path().to_str().unwrap()]).await;
        println!(
            "start, {what}: {:.2} s to ready (to stay under: {limit} s)",
            began.elapsed().as_secs_f64()
        );
        assert!(process.stop().success());
    }
    println!();
}
