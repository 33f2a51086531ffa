//! Three processes on one database, killed and paused again and again: every accepted sample is
//! stored once and learnt, every update succeeds, and every version is published once.
//!
//! One trial by default; `PERENNIAL_KILL_TRIALS=10 cargo test --test kills` runs ten, each with a
//! seed of its own.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use rand::{Rng, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;
use serde_json::{Value, json};
use sqlx::PgPool;
use support::process::{Process, Signal, free_address, perennial, ready};
use support::{Api, Database, blobs, readable_dir};
use tempfile::TempDir;
use tokio::task::JoinSet;

const MODELS: [&str; 4] = ["m0", "m1", "m2", "m3"];
const KILLS: u64 = 4;
const DIM: usize = 8;
/// Samples of each of two labels in one batch.
const PER_LABEL: usize = 60;
/// Longest that anything may take before it counts as stuck.
const PATIENCE: Duration = Duration::from_secs(120);

#[tokio::test(flavor = "multi_thread")]
async fn killed_again_and_again_nothing_is_lost_and_nothing_is_done_twice() {
    let trials = std::env::var("PERENNIAL_KILL_TRIALS").map_or(1, |text| text.parse().unwrap());
    for seed in 0..trials {
        trial(seed).await;
    }
}

/// As many rounds as kills: each sends a batch to every model and kills one process meanwhile.
async fn trial(seed: u64) {
    let mut random = Xoshiro256PlusPlus::seed_from_u64(seed);
    let mut cluster = Cluster::start().await;
    for model in MODELS {
        create_model(&cluster.api, model, &[64], 60).await;
    }
    for round in 0..KILLS {
        let mut sending = JoinSet::new();
        for (number, model) in MODELS.into_iter().enumerate() {
            let api = cluster.api.clone();
            sending.spawn(send(api, model, round, seed << 32 | round << 8 | number as u64));
        }
        let victim = random.gen_range(0..cluster.processes.len());
        // The one that answers dies while it takes batches in, a worker while all are at work.
        if victim > 0 {
            cluster.all_at_work().await;
        }
        pause(random.gen_range(0..200)).await;
        cluster.processes[victim] = None;
        pause(random.gen_range(0..500)).await;
        cluster.processes[victim] = Some(cluster.spawn(victim));
        while let Some(sent) = sending.join_next().await {
            sent.unwrap();
        }
    }
    let updates = cluster.all_ended().await;
    let runs: u64 = updates.iter().map(|update| update["attempt"].as_u64().unwrap()).sum();
    println!("trial {seed}: {} updates in {runs} runs", updates.len());
    assert!(runs > updates.len() as u64, "no kill met a running update: the trial shows nothing");
    check_samples(&cluster.pool).await;
    check_versions(&cluster.api, &updates).await;
}

/// One process that answers, then two that work, on one database and one directory.
struct Cluster {
    processes: Vec<Option<Process>>,
    api: Api,
    pool: PgPool,
    database: Database,
    address: String,
    dir: TempDir,
}

impl Cluster {
    async fn start() -> Self {
        let (database, dir, address) = (Database::create().await, readable_dir(), free_address());
        let (api, pool) = (Api::new(format!("http://{address}")), database.pool().await);
        let mut cluster = Self { processes: vec![], api, pool, database, address, dir };
        cluster.processes = (0..3).map(|number| Some(cluster.spawn(number))).collect();
        ready(&cluster.address).await;
        cluster
    }

    fn spawn(&self, number: usize) -> Process {
        let mut flags = vec!["--database-url", &self.database.url, "--lease-s", "2"];
        let command = if number == 0 { "serve" } else { "worker" };
        if number == 0 {
            flags.extend(["--listen", &self.address, "--no-worker"]);
        }
        Process::start(&mut perennial(command, self.dir.path(), &flags))
    }

    /// Until two updates run: one for each worker.
    async fn all_at_work(&self) {
        let running =
            "SELECT count(*) FROM updates WHERE status = 'running' AND leased_until > now()";
        let began = Instant::now();
        loop {
            let count: i64 = sqlx::query_scalar(running).fetch_one(&self.pool).await.unwrap();
            if count == 2 {
                return;
            }
            assert!(began.elapsed() < PATIENCE, "{count} updates run, with work for two workers");
            pause(5).await;
        }
    }

    /// All updates, once none is queued or running any more.
    async fn all_ended(&self) -> Vec<Value> {
        ready(&self.address).await;
        let began = Instant::now();
        loop {
            let updates = self.api.get("/v1/updates?limit=200").await.expect(200);
            let updates = updates["items"].as_array().unwrap().clone();
            if updates.iter().all(|update| !update["finished_at"].is_null()) {
                return updates;
            }
            assert!(began.elapsed() < PATIENCE, "updates are stuck: {updates:#?}");
            pause(100).await;
        }
    }
}

async fn pause(ms: u64) {
    tokio::time::sleep(Duration::from_millis(ms)).await;
}

/// A model that publishes whatever it has learnt.
async fn create_model(api: &Api, name: &str, hidden: &[usize], epochs: u32) {
    let model = json!({
        "name": name,
        "input": {"kind": "tabular", "dim": DIM},
        "network": {"kind": "mlp", "hidden": hidden},
        "learning": {"epochs": epochs},
        "schedule": {"paused": true},
        "gate": {"max_drop": null, "max_class_drop": null, "max_forgetting": null},
    });
    api.post("/v1/models", model).await.expect(201);
}

/// Sends a batch that asks for an update, as often as it takes to be answered.
async fn send(api: Api, model: &str, round: u64, seed: u64) {
    let samples: Vec<Value> = blobs(&["a", "b"], PER_LABEL, DIM, seed)
        .into_iter()
        .map(|(input, label)| json!({"input": input, "label": label}))
        .collect();
    let path = format!("/v1/models/{model}/batches?update=now");
    let began = Instant::now();
    loop {
        let request = api.request(reqwest::Method::POST, &path);
        let request = request.header("idempotency-key", format!("{model}-{round}"));
        match request.json(&json!({"samples": &samples})).send().await {
            Ok(answer) if answer.status() == 202 => {
                let answer: Value = answer.json().await.unwrap();
                assert_eq!(answer["batch"]["accepted"], samples.len(), "{answer}");
                return;
            }
            // Being answered for the one before, which the death of its process cut off.
            Ok(answer) => assert!(matches!(answer.status().as_u16(), 409 | 503), "{answer:?}"),
            Err(_) => {}
        }
        assert!(began.elapsed() < PATIENCE, "a batch for {model} is not answered");
        pause(20).await;
    }
}

/// Every accepted sample is there once, and a version has learnt it.
async fn check_samples(pool: &PgPool) {
    let sent = (PER_LABEL * 2) as i64 * KILLS as i64;
    let counted: Vec<(String, i64, i64, i64)> = sqlx::query_as(
        "SELECT m.name, count(*), count(DISTINCT s.hash), count(v.version)
         FROM models m JOIN samples s ON s.model_id = m.id
         LEFT JOIN versions v
             ON v.model_id = m.id AND v.version = s.version AND v.status = 'published'
         GROUP BY m.name ORDER BY m.name",
    )
    .fetch_all(pool)
    .await
    .unwrap();
    let expected = MODELS.map(|model| (model.to_owned(), sent, sent, sent));
    assert_eq!(counted, expected, "model, stored, distinct, learnt");
    let batches: i64 =
        sqlx::query_scalar("SELECT count(*) FROM batches").fetch_one(pool).await.unwrap();
    assert_eq!(batches, MODELS.len() as i64 * KILLS as i64, "batches");
}

/// Every update succeeded, and those that published made one version each, without a gap.
async fn check_versions(api: &Api, updates: &[Value]) {
    for update in updates {
        assert_eq!(update["status"], "succeeded", "{update}");
        let fits = match update["outcome"].as_str() {
            Some("published") => update["version"].is_number(),
            // Another update had taken its samples by the time it ran.
            Some("nothing_to_learn") => update["version"].is_null(),
            _ => false,
        };
        assert!(fits, "{update}");
    }
    for model in MODELS {
        let versions = api.get(&format!("/v1/models/{model}/versions?limit=200")).await.expect(200);
        let made_by: BTreeSet<(u64, &str)> = versions["items"]
            .as_array()
            .unwrap()
            .iter()
            .map(|v| (v["version"].as_u64().unwrap(), v["update"].as_str().unwrap()))
            .collect();
        let published: BTreeSet<(u64, &str)> = updates
            .iter()
            .filter(|update| update["model"] == model)
            .filter_map(|u| Some((u["version"].as_u64()?, u["id"].as_str().unwrap())))
            .collect();
        assert_eq!(made_by, published, "{model}");
        let numbers: Vec<u64> = made_by.iter().map(|&(number, _)| number).collect();
        assert_eq!(numbers, (1..=numbers.len() as u64).collect::<Vec<_>>(), "{model}");
        let model = api.get(&format!("/v1/models/{model}")).await.expect(200);
        assert_eq!(
            (&model["live_version"], &model["pending_samples"]),
            (&json!(numbers.len()), &json!(0))
        );
    }
}

/// What a lease cannot rule out: for a moment two workers run the same update, since one that does
/// not get to run cannot notice that its time is over. It publishes nothing and goes on working.
#[tokio::test(flavor = "multi_thread")]
async fn a_worker_paused_past_its_lease_finds_its_update_taken_over_and_publishes_nothing() {
    let (database, dir, address) = (Database::create().await, readable_dir(), free_address());
    let on_database = ["--database-url", &database.url, "--lease-s", "2"];
    let flags = [&on_database[..], &["--listen", &address, "--no-worker"]].concat();
    let _service = Process::start(&mut perennial("serve", dir.path(), &flags));
    let api = ready(&address).await;
    let log = dir.path().join("paused.log");
    let mut paused = perennial("worker", dir.path(), &on_database);
    let paused = Process::start(paused.stderr(std::fs::File::create(&log).unwrap()));

    // It trains for about as long as a lease.
    create_model(&api, "m", &[128, 128], 1000).await;
    let update = send_and_update(&api).await;
    running(&api, &update, 1).await;
    paused.signal(Signal::SIGSTOP);
    let other = Process::start(&mut perennial("worker", dir.path(), &on_database));
    running(&api, &update, 2).await;
    paused.signal(Signal::SIGCONT);

    let done = api.wait(&update).await;
    assert_eq!(
        (&done["outcome"], &done["version"], &done["attempt"]),
        (&json!("published"), &json!(1), &json!(2)),
        "{done}"
    );
    let versions = api.get("/v1/models/m/versions").await.expect(200);
    assert_eq!(versions["items"].as_array().map(Vec::len), Some(1));
    let began = Instant::now();
    while !std::fs::read_to_string(&log).unwrap().contains("the job is another run's") {
        assert!(began.elapsed() < PATIENCE, "the paused run did not end");
        pause(20).await;
    }
    drop(other);
    api.patch("/v1/models/m", json!({"learning": {"epochs": 5}})).await.expect(200);
    let next = send_and_update(&api).await;
    assert_eq!(api.wait(&next).await["outcome"], "published");
}

/// A batch that the model does not have yet, and the update that it asks for.
async fn send_and_update(api: &Api) -> String {
    let seed = api.get("/v1/models/m").await.expect(200)["samples"].as_u64().unwrap();
    send(api.clone(), "m", seed, seed).await;
    let updates = api.get("/v1/models/m/updates").await.expect(200);
    updates["items"][0]["id"].as_str().unwrap().to_owned()
}

/// Until the update runs, for this time.
async fn running(api: &Api, update: &str, attempt: u64) {
    let began = Instant::now();
    loop {
        let now = api.get(&format!("/v1/updates/{update}")).await.expect(200);
        if now["attempt"] == attempt && now["status"] == "running" {
            return;
        }
        assert!(now["finished_at"].is_null(), "it ran for too short a time: {now}");
        assert!(began.elapsed() < PATIENCE, "it does not get to run: {now}");
        pause(20).await;
    }
}
