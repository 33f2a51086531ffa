//! Retention: what a model does not keep goes, and nothing else; and files that nothing names.

use std::path::Path;
use std::time::{Duration, Instant};

use perennial::storage::checkpoints::Checkpoints;
use serde_json::{Value, json};

use crate::support::{Api, Database, TestService, blobs, readable_dir};

fn checkpoints(data_dir: &Path) -> usize {
    let mut n = 0;
    for model in std::fs::read_dir(data_dir.join("checkpoints/models")).unwrap() {
        for file in std::fs::read_dir(model.unwrap().path()).unwrap() {
            n += usize::from(file.unwrap().path().extension().is_some_and(|e| e == "safetensors"));
        }
    }
    n
}

async fn versions(api: &Api) -> Vec<i64> {
    let page = api.get("/v1/models/m/versions").await.expect(200);
    page["items"].as_array().unwrap().iter().map(|v| v["version"].as_i64().unwrap()).collect()
}

async fn plan(api: &Api) -> Value {
    api.get("/v1/models/m/retention").await.expect(200)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_model_does_not_keep_goes_and_it_goes_on_learning() {
    let service = TestService::start().await;
    let api = &service.api;
    api.create_model("m", 4).await;
    api.patch("/v1/models/m", json!({"gate": {"max_drop": null}})).await.expect(200);
    for seed in 1..=5 {
        api.send_samples("m", &blobs(&["a", "b"], 30, 4, seed)).await;
        assert_eq!(api.update("m").await["version"], seed);
    }
    api.put("/v1/models/m/aliases/kept", json!({"version": 1})).await.expect(200);
    api.put("/v1/models/m/aliases/live", json!({"version": 4})).await.expect(200);
    let nothing = json!({"versions": 0, "samples": 0, "updates": 0});
    assert_eq!(plan(api).await, nothing);
    let pool = service.database.pool().await;
    let age = "UPDATE batches SET created_at = now() - interval '8 days'
               WHERE id = (SELECT id FROM batches ORDER BY id LIMIT 1)";
    sqlx::query(age).execute(&pool).await.unwrap();
    pool.close().await;
    assert_eq!(checkpoints(service.dir.path()), 5);

    // Nobody works from here on: what would go stays.
    let (database, dir) = service.stop().await;
    let service = TestService::start_on(database, dir, &["--no-worker"]).await;
    let api = &service.api;
    let keep = json!({"retention": {"versions": 1, "max_age_days": 7, "updates": 2}});
    api.patch("/v1/models/m", keep).await.expect(200);
    let expired = json!({"versions": 1, "samples": 60, "updates": 3});
    assert_eq!(plan(api).await, expired);
    assert_eq!(versions(api).await, [5, 4, 3, 2, 1]);

    let (database, dir) = service.stop().await;
    let service = TestService::start_on(database, dir, &[]).await;
    let api = &service.api;
    let began = Instant::now();
    while plan(api).await != nothing || checkpoints(service.dir.path()) > 4 {
        assert!(began.elapsed() < Duration::from_secs(60), "{}", plan(api).await);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // Newest, live, what live was trained from, and aliased; live pointed at the newest before.
    assert_eq!(versions(api).await, [5, 4, 3, 1]);
    for path in ["versions/2", "versions/2/checkpoint"] {
        api.get(&format!("/v1/models/m/{path}")).await.problem(404);
    }
    api.put("/v1/models/m/aliases/live", json!({"version": 2})).await.problem(404);
    let model = api.get("/v1/models/m").await.expect(200);
    assert_eq!((&model["samples"], &model["pending_samples"]), (&json!(240), &json!(0)));
    let batches = api.get("/v1/models/m/batches").await.expect(200);
    assert_eq!(batches["items"].as_array().unwrap().len(), 4);
    let updates = api.get("/v1/models/m/updates").await.expect(200);
    let of_versions: Vec<_> = updates["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|update| update["version"].clone())
        .collect();
    assert_eq!(of_versions, [5, 4]);
    let entry = api.get("/v1/audit").await.expect(200)["items"][0].clone();
    assert_eq!(
        (&entry["action"], &entry["detail"]["versions"]),
        (&json!("retention_swept"), &json!([2]))
    );
    assert_eq!(entry["detail"]["samples"], 60);

    // Experiences keep their places: the sixth has six columns.
    api.send_samples("m", &blobs(&["a", "b"], 30, 4, 6)).await;
    let update = api.update("m").await;
    assert_eq!(
        (&update["outcome"], &update["version"]),
        (&json!("published"), &json!(6)),
        "{update}"
    );
    let version = api.get("/v1/models/m/versions/6").await.expect(200);
    let row = version["evaluation"]["matrix"].as_array().unwrap().last().unwrap().clone();
    assert_eq!((&version["parent"], row.as_array().unwrap().len()), (&json!(4), 6));
    // Versions that are gone are not told of, and are no way back.
    let first = batches["items"].as_array().unwrap().last().unwrap()["id"].as_str().unwrap();
    let path = format!("/v1/models/m/batches/{first}?relearn=true");
    let forgotten = api.delete(&path).await.expect(200);
    assert_eq!(forgotten["versions"], json!([3, 4, 5, 6]));
    let update = api.wait(forgotten["update"]["id"].as_str().unwrap()).await;
    assert_eq!(update["version"], 7, "{update}");
    assert_eq!(api.get("/v1/models/m/versions/7").await.expect(200)["parent"], 1);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn exemplars_outlive_the_other_samples_where_a_model_says_so_and_are_replayed() {
    let service = TestService::start().await;
    let api = &service.api;
    api.create_model("m", 4).await;
    let learning = json!({"memory": 20, "strategy": "replay"});
    let gate = json!({"max_drop": null, "max_class_drop": null, "max_forgetting": null});
    let settings = json!({"learning": learning, "gate": gate});
    api.patch("/v1/models/m", settings).await.expect(200);
    for seed in 1..=2 {
        api.send_samples("m", &blobs(&["a", "b"], 60, 4, seed)).await;
        assert_eq!(api.update("m").await["version"], seed);
    }
    // Nobody works from here on, and all samples are old.
    let (database, dir) = service.stop().await;
    let service = TestService::start_on(database, dir, &["--no-worker"]).await;
    let api = &service.api;
    let pool = service.database.pool().await;
    let age = "UPDATE batches SET created_at = now() - interval '8 days'";
    sqlx::query(age).execute(&pool).await.unwrap();
    pool.close().await;
    let retain = async |retention: Value| {
        let model = api.patch("/v1/models/m", json!({"retention": retention})).await.expect(200);
        (model["retention"]["keep_exemplars"].clone(), plan(api).await["samples"].clone())
    };
    assert_eq!(retain(json!({"max_age_days": 7})).await, (json!(false), json!(240)));
    assert_eq!(retain(json!({"keep_exemplars": true})).await, (json!(true), json!(220)));

    let (database, dir) = service.stop().await;
    let service = TestService::start_on(database, dir, &[]).await;
    let api = &service.api;
    let began = Instant::now();
    while plan(api).await["samples"] != 0 {
        assert!(began.elapsed() < Duration::from_secs(60), "{}", plan(api).await);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let pool = service.database.pool().await;
    let kept: Vec<(i32, i64, i64)> = sqlx::query_as(
        "SELECT label, count(*), count(*) FILTER (WHERE held_out OR withheld OR version IS NULL)
         FROM samples GROUP BY label ORDER BY label",
    )
    .fetch_all(&pool)
    .await
    .unwrap();
    assert_eq!(kept, [(0, 10, 0), (1, 10, 0)], "label, samples, of these no exemplars");
    pool.close().await;
    // Their inputs are still there.
    api.send_samples("m", &blobs(&["c"], 30, 4, 3)).await;
    let update = api.update("m").await;
    assert_eq!(update["version"], 3, "{update}");
    assert_eq!(update["report"]["samples"]["replayed"], 20, "{update}");
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_rare_labels_leave_of_the_exemplars_others_have_as_in_a_replay() {
    let service = TestService::start().await;
    let api = &service.api;
    api.create_model("m", 4).await;
    api.patch("/v1/models/m", json!({"learning": {"memory": 20}})).await.expect(200);
    api.send_samples("m", &blobs(&["a"], 120, 4, 1)).await;
    api.send_samples("m", &blobs(&["b"], 3, 4, 1)).await;
    api.update("m").await;
    api.send_samples("m", &blobs(&["a"], 60, 4, 2)).await;
    let update = api.update("m").await;
    assert_eq!(update["report"]["samples"]["replayed"], 20, "{update}");
    let pool = service.database.pool().await;
    let age = "UPDATE batches SET created_at = now() - interval '8 days'";
    sqlx::query(age).execute(&pool).await.unwrap();
    let (n_samples,): (i64,) =
        sqlx::query_as("SELECT count(*) FROM samples").fetch_one(&pool).await.unwrap();
    pool.close().await;
    let (database, dir) = service.stop().await;
    let service = TestService::start_on(database, dir, &["--no-worker"]).await;
    let api = &service.api;
    let retention = json!({"retention": {"max_age_days": 7, "keep_exemplars": true}});
    api.patch("/v1/models/m", retention).await.expect(200);
    assert_eq!(plan(api).await["samples"], n_samples - 20);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_that_one_process_removes_answers_in_no_other() {
    let first = TestService::start().await;
    let api = &first.api;
    api.create_model("m", 4).await;
    api.patch("/v1/models/m", json!({"gate": {"max_drop": null}})).await.expect(200);
    for seed in 1..=4 {
        api.send_samples("m", &blobs(&["a", "b"], 30, 4, seed)).await;
        assert_eq!(api.update("m").await["version"], seed);
    }
    let shared = Database { url: first.database.url.clone() };
    let store = format!("file://{}", first.dir.path().join("checkpoints").to_str().unwrap());
    let flags = ["--no-worker", "--checkpoint-url", &store];
    let second = TestService::start_on(shared, readable_dir(), &flags).await;
    let inputs = json!({"inputs": [[0.0, 0.0, 0.0, 0.0]]});
    let ask = async |version: i32| {
        let path = format!("/v1/models/m/versions/{version}/predict");
        second.api.post(&path, inputs.clone()).await
    };
    // It has both in memory from here on.
    for version in [1, 3] {
        ask(version).await.expect(200);
    }
    api.patch("/v1/models/m", json!({"retention": {"versions": 1}})).await.expect(200);
    // A worker that begins sweeps at once.
    let (database, dir) = first.stop().await;
    let first = TestService::start_on(database, dir, &[]).await;
    let began = Instant::now();
    while ask(1).await.status == 200 {
        assert!(began.elapsed() < Duration::from_secs(90), "it answers by what is removed");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    ask(1).await.problem(404);
    second.api.get("/v2/models/m/versions/1/ready").await.expect(404);
    // What live was trained from is kept.
    ask(3).await.expect(200);
    second.stop().await;
    first.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_nothing_names_go_once_they_are_old() {
    let service = TestService::start().await;
    service.api.create_model("m", 4).await;
    service.api.send_samples("m", &blobs(&["a", "b"], 30, 4, 1)).await;
    assert_eq!(service.api.update("m").await["version"], 1);
    let (database, dir) = service.stop().await;
    let root = dir.path().join("checkpoints");
    let of_model = std::fs::read_dir(root.join("models")).unwrap().next().unwrap().unwrap().path();
    let orphans = [
        of_model.join("0123.safetensors"),
        of_model.join("snapshots/00000000-0000-7000-8000-000000000000"),
        root.join("models/4711/4567.safetensors"),
        // Of writes that never ended: the store itself does not show them.
        of_model.join("0123.safetensors#1"),
        of_model.join("0123.safetensors#12"),
        of_model.join("snapshots/00000000-0000-7000-8000-000000000000#1"),
    ];
    let foreign = ["notes.txt", "notes.txt#1"].map(|name| of_model.join(name));
    for file in orphans.iter().chain(&foreign) {
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, "x").unwrap();
    }
    let store = Checkpoints::in_directory(&root, Duration::from_secs(60)).unwrap();
    let hour = Duration::from_secs(3600);
    assert_eq!(store.older_than(hour).await.unwrap(), []);
    assert_eq!(store.older_than(Duration::ZERO).await.unwrap().len(), 4);
    assert_eq!(store.remove_unfinished(hour).await.unwrap(), 0);

    let service = TestService::start_on(database, dir, &["--orphan-age-s", "0"]).await;
    let began = Instant::now();
    while orphans.iter().any(|file| file.exists()) {
        assert!(began.elapsed() < Duration::from_secs(60), "orphans stay");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(foreign.iter().all(|file| file.exists()));
    assert_eq!(service.api.get("/v1/models/m/versions/1/checkpoint").await.status, 200);
    assert_eq!(service.api.labels("m", &[[0.0; 4]]).await.len(), 1);
    service.stop().await;
}
