//! The service from outside, as ratios against a baseline in the same run.
//!
//! - Ingest: NDJSON of 784 floats, against a bare COPY of the same blocks and rows.
//! - Memory: the peak of a process that takes in 1 GiB of distinct samples as NDJSON.
//! - History: an update of 1,000 samples after ten times as many, against the same after a tenth of them.
//! - Start: an empty directory to ready, and again.
//!
//! `make bench`, or one of them: `make bench ARGS='--bench end_to_end -- memory'`. Needs PostgreSQL's
//! programs, as the tests do.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[path = "../tests/support/mod.rs"]
mod support;

use std::fmt::Write as _;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use perennial::domain::input::Inputs;
use perennial::domain::sample::ContentHash;
use perennial::storage::block;
use rand::{Rng, SeedableRng};
use serde_json::json;
use support::process::{Process, free_address, ready};
use support::{Api, Database, TestService, median, readable_dir};

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
        if is_wanted("memory") {
            memory().await;
        }
        if is_wanted("history") {
            history().await;
        }
    });
}

/// Images of `dim` numbers of which half are zero; another seed gives others.
fn images(n: usize, dim: usize, seed: u64) -> Vec<Vec<f32>> {
    let mut random = rand_xoshiro::Xoshiro256PlusPlus::seed_from_u64(seed);
    let mut pixel = || if random.gen_bool(0.5) { 0.0 } else { random.gen_range(0.0..1.0f32) };
    (0..n).map(|_| (0..dim).map(|_| pixel()).collect()).collect()
}

/// Each labelled by which of its first ten numbers is the largest: labels of no meaning no gate lets pass.
fn ndjson(images: &[Vec<f32>]) -> String {
    let mut text = String::new();
    for image in images {
        let label = (0..10).max_by(|&a, &b| image[a].total_cmp(&image[b])).unwrap();
        let _ = write!(text, "{{\"input\": [");
        for (j, pixel) in image.iter().enumerate() {
            let _ = write!(text, "{}{pixel}", if j == 0 { "" } else { "," });
        }
        let _ = writeln!(text, "], \"label\": \"{label}\"}}");
    }
    text
}

async fn create(api: &Api, name: &str, dim: usize) {
    let model = json!({"name": name, "input": {"kind": "tabular", "dim": dim}, "schedule": {"paused": true}});
    api.post("/v1/models", model).await.expect(201);
}

async fn ingest() {
    const ROWS: usize = 10_000;
    let service = TestService::start_with(&["--no-worker", "--max-body-bytes", "1000000000"]).await;
    let images = images(ROWS, DIM, 7);
    let text = ndjson(&images);
    let pool = service.database.pool().await;
    let mut ratios = Vec::new();
    for round in 0..3 {
        let name = format!("m{round}");
        create(&service.api, &name, DIM).await;
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
    println!("ingest / COPY, median: {:.2} (to reach: 0.25)\n", median(ratios));
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
    create(&api, "m", DIM).await;
    let request = api
        .request(reqwest::Method::POST, "/v1/models/m/batches?update=never")
        .timeout(Duration::from_secs(3600))
        .header("content-type", "application/x-ndjson")
        .body(reqwest::Body::wrap_stream(futures_util::stream::iter(distinct_samples(1 << 30))));
    let began = Instant::now();
    let batch = api.send(request).await.expect(202)["batch"].take();
    assert_eq!(batch["accepted"], batch["received"], "all are distinct: {batch}");
    println!(
        "memory: 1 GiB of NDJSON, {} samples in {:.0} s: peak {:.0} MB (to stay under: 300)",
        batch["accepted"],
        began.elapsed().as_secs_f64(),
        memory_of(&process, "VmHWM:") / 1024.0
    );
    process.stop();
}

/// At least `n_bytes` of NDJSON in pieces, each made when it is asked for.
fn distinct_samples(n_bytes: usize) -> impl Iterator<Item = std::io::Result<String>> {
    let mut made = 0;
    (0..)
        .map(|seed| ndjson(&images(100, DIM, seed)))
        .take_while(move |piece| {
            let goes_on = made < n_bytes;
            made += piece.len();
            goes_on
        })
        .map(Ok)
}

/// What an update of as many new samples costs after ten times the history, and again after ten times that: the
/// median of seven, by a process that has not yet done anything larger, on a database that has had the time to tidy
/// up, as one has whose history took months.
async fn history() {
    const ROUNDS: usize = 7;
    const NEW: usize = 1_000;
    const WIDTH: usize = 64;
    let (database, dir) = (Database::create().await, readable_dir());
    let dir_name = dir.path().to_str().unwrap();
    let settings = ["--database-url", &database.url, "--data-dir", dir_name];
    let start = || spawn(&settings);
    let pool = database.pool().await;
    let mut seed = 0;
    let mut learn = async |(process, api): &(Process, Api), n: usize| {
        for _ in 0..n / NEW {
            seed += 1;
            let path = "/v1/models/m/batches";
            let text = ndjson(&images(NEW, WIDTH, seed));
            api.post_text(path, "application/x-ndjson", text).await.expect(202);
        }
        // From here on the peak is that of this update.
        std::fs::write(format!("/proc/{}/clear_refs", process.id()), "5").unwrap();
        let began = Instant::now();
        let update = api.update("m").await;
        let seconds = began.elapsed().as_secs_f64();
        assert_eq!(update["outcome"], "published", "{}", update["report"]["gate"]);
        (seconds, memory_of(process, "VmHWM:") / 1024.0)
    };
    let mut service = start().await;
    create(&service.1, "m", WIDTH).await;
    let (mut n_before, mut before) = (0, None);
    for (parts, n_part) in [(1, 5), (1, 38), (9, 49)] {
        for _ in 0..parts {
            learn(&service, n_part * NEW).await;
        }
        n_before += parts * n_part * NEW;
        assert!(service.0.stop().success());
        for tidying in ["VACUUM ANALYZE", "CHECKPOINT"] {
            sqlx::query(tidying).execute(&pool).await.unwrap();
        }
        service = start().await;
        let (mut seconds, mut megabytes) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            let (took, peak) = learn(&service, NEW).await;
            seconds.push(took);
            megabytes.push(peak);
        }
        let (seconds, megabytes) = (median(seconds), median(megabytes));
        print!(
            "history: an update of {NEW} after {n_before} samples {seconds:.2} s, peak {megabytes:.0} MB"
        );
        if let Some((less, little)) = before.replace((seconds, megabytes)) {
            let (time, memory) = (seconds / less, megabytes / little);
            print!("; {time:.2} (to stay under: 1.2) and {memory:.2} (1.1) times those of before");
        }
        println!();
        n_before += ROUNDS * NEW;
    }
    println!();
    service.0.stop();
}

/// Kilobytes that `/proc` says of a process.
fn memory_of(process: &Process, what: &str) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", process.id())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(what)).unwrap();
    line.trim_matches(|c: char| !c.is_ascii_digit()).parse().unwrap()
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
