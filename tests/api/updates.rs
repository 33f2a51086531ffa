//! Updates: asked for, followed, cancelled, tried again; and what they may not do.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sqlx::PgPool;

use crate::support::{Api, Database, TestService, blobs, readable_dir, snapshots};

#[tokio::test(flavor = "multi_thread")]
async fn an_update_tells_what_it_did() {
    let service = TestService::start().await;
    let api = &service.api;
    api.create_model("m", 8).await;
    api.post("/v1/models/m/updates", json!({})).await.problem(409);
    api.send_samples("m", &blobs(&["a", "b"], 100, 8, 1)).await;

    let plan = api.post("/v1/models/m/updates?dry_run=true", json!({})).await.expect(200);
    assert_eq!(plan["new_labels"], json!(["a", "b"]), "{plan}");
    assert_eq!(api.get("/v1/models/m").await.expect(200)["pending_samples"], 200);

    let queued = api.post("/v1/models/m/updates", json!({})).await;
    let location = queued.header("location").to_owned();
    queued.expect(202);
    let id = location.rsplit('/').next().unwrap();
    let update = api.wait(id).await;
    let samples = &update["report"]["samples"];
    let count = |field: &str| samples[field].as_u64().unwrap();
    assert_eq!(count("pending"), 200);
    assert_eq!(count("used") + count("held_out") + count("dropped"), 200, "{samples}");
    assert!(count("held_out") > 0 && count("used") > 100, "{samples}");
    assert_eq!((&update["status"], &update["attempt"]), (&json!("succeeded"), &json!(1)));
    // However short it was: no heartbeat may have told its last phase.
    assert_eq!((&update["phase"], &update["progress"]), (&json!("publish"), &json!(1.0)));
    for phase in ["preprocess", "select", "train", "evaluate", "publish"] {
        assert!(
            update["report"]["seconds"][phase].is_number(),
            "{phase}: {}",
            update["report"]["seconds"]
        );
    }
    let mut decisions = Vec::new();
    let mut path = format!("/v1/updates/{id}/selection?limit=150");
    loop {
        let page = api.get(&path).await.expect(200);
        decisions.extend(page["items"].as_array().unwrap().clone());
        match page["next_cursor"].as_str() {
            Some(cursor) => path = format!("/v1/updates/{id}/selection?limit=150&cursor={cursor}"),
            None => break,
        }
    }
    assert_eq!(decisions.len(), 200);
    let selected = decisions.iter().filter(|row| row["decision"] == "selected").count();
    assert_eq!(selected as u64, count("used"));
    api.post(&format!("/v1/updates/{id}/cancel"), json!({})).await.problem(409);
    api.post(&format!("/v1/updates/{id}/retry"), json!({})).await.problem(409);
    api.get("/v1/updates/00000000-0000-7000-8000-000000000000").await.problem(404);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_worker_requests_wait_in_one_update_until_cancelled() {
    let service = TestService::start_with(&["--no-worker"]).await;
    let api = &service.api;
    api.create_model("m", 8).await;
    let samples = blobs(&["a", "b"], 50, 8, 1);
    api.send_samples("m", &samples[..50]).await;
    let one = api.post("/v1/models/m/updates", json!({})).await.expect(202);
    let two = api.post("/v1/models/m/updates", json!({"force": true})).await.expect(202);
    assert_eq!((&one["id"], &one["status"]), (&two["id"], &json!("queued")));
    let joined = api.send_samples("m", &samples[50..]).await;
    assert_eq!(joined["update"]["id"], one["id"]);
    let path = format!("/v1/updates/{}", one["id"].as_str().unwrap());
    let cancelled = api.post(&format!("{path}/cancel"), json!({})).await.expect(202);
    assert_eq!(cancelled["status"], "cancelled");
    let cancelled = api.get("/v1/models/m/updates?status=cancelled").await.expect(200);
    assert_eq!(cancelled["items"].as_array().unwrap().len(), 1);
    let again = api.post(&format!("{path}/retry"), json!({})).await.expect(202);
    assert_eq!((&again["status"], &again["id"]), (&json!("queued"), &one["id"]));

    // A worker of its own, on the same database and checkpoints, takes it over.
    let (database, dir) = service.stop().await;
    let service = TestService::start_on(database, dir, &[]).await;
    assert_eq!(service.api.wait(one["id"].as_str().unwrap()).await["outcome"], "published");
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_update_stops_between_two_minibatches() {
    let service = TestService::start().await;
    let api = &service.api;
    api.create_model("m", 8).await;
    // Long enough that it cannot end by itself.
    let update = update_in_training(api, "m", 1000, &blobs(&["a", "b", "c"], 2000, 8, 1)).await;
    api.post(&format!("/v1/updates/{update}/cancel"), json!({})).await.expect(202);
    let ended = api.wait(&update).await;
    assert_eq!((&ended["status"], &ended["version"]), (&json!("cancelled"), &Value::Null));
    assert_eq!(api.get("/v1/models/m").await.expect(200)["pending_samples"], 6000);
    service.stop().await;
}

/// The update of a model that takes so many epochs for these samples, as soon as it trains.
pub async fn update_in_training(
    api: &Api,
    model: &str,
    epochs: u32,
    samples: &[(Vec<f32>, &str)],
) -> String {
    let path = format!("/v1/models/{model}");
    api.patch(&path, json!({"learning": {"epochs": epochs}})).await.expect(200);
    api.send_samples(model, samples).await;
    let update = api.post(&format!("{path}/updates"), json!({})).await.expect(202);
    let id = update["id"].as_str().unwrap().to_owned();
    loop {
        let update = api.get(&format!("/v1/updates/{id}")).await.expect(200);
        if update["phase"] == "train" && update["status"] == "running" {
            return id;
        }
        assert!(update["finished_at"].is_null(), "{update}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_run_leaves_for_the_next_goes_with_its_update_and_with_its_model() {
    let (mut database, mut dir) = (Database::create().await, readable_dir());
    for model in ["cancelled", "deleted"] {
        let service = TestService::start_on(database, dir, &[]).await;
        service.api.create_model(model, 8).await;
        let samples = blobs(&["a", "b", "c"], 2000, 8, 1);
        let update = update_in_training(&service.api, model, 1000, &samples).await;
        let began = Instant::now();
        while snapshots(service.dir.path()) == 0 {
            assert!(began.elapsed() < Duration::from_secs(60), "no snapshot is written");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        (database, dir) = service.stop().await;

        let service = TestService::start_on(database, dir, &["--no-worker"]).await;
        assert_eq!(snapshots(service.dir.path()), 1, "an update that goes on keeps its own");
        if model == "cancelled" {
            let path = format!("/v1/updates/{update}/cancel");
            service.api.post(&path, json!({})).await.expect(202);
        } else {
            assert_eq!(service.api.delete("/v1/models/deleted").await.status, 204);
        }
        assert_eq!(snapshots(service.dir.path()), 0, "{model}");
        (database, dir) = service.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_update_whose_samples_are_deleted_starts_over_with_all_that_is_pending_then() {
    let service = TestService::start().await;
    let api = &service.api;
    api.create_model("m", 8).await;
    let batch = api.send_samples("m", &blobs(&["a", "b"], 100, 8, 1)).await;
    let update = update_in_training(api, "m", 200, &blobs(&["a", "b"], 1500, 8, 2)).await;
    let batch = batch["batch"]["id"].as_str().unwrap();
    let forgotten = api.delete(&format!("/v1/models/m/batches/{batch}")).await.expect(200);
    assert_eq!(forgotten, json!({"samples": 200, "versions": [], "update": null}));
    api.send_samples("m", &blobs(&["c"], 50, 8, 3)).await;
    let done = api.wait(&update).await;
    assert_eq!((&done["attempt"], &done["outcome"]), (&json!(2), &json!("published")), "{done}");
    assert_eq!(done["report"]["samples"]["pending"], 3_050);
    assert_eq!(api.get("/v1/models/m").await.expect(200)["pending_samples"], 0);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_that_the_gate_refuses_is_kept_and_never_live() {
    let service = TestService::start().await;
    let api = &service.api;
    api.create_model("m", 8).await;
    api.send_samples("m", &blobs(&["a", "b"], 300, 8, 1)).await;
    assert_eq!(api.update("m").await["outcome"], "published");
    let batch = api.send_samples("m", &turned(300, 8, 2)).await;
    api.patch("/v1/models/m", json!({"gate": {"min_accuracy": 0.9}})).await.expect(200);
    let refused = api.update("m").await;
    assert_eq!(
        (&refused["status"], &refused["outcome"]),
        (&json!("succeeded"), &json!("rejected")),
        "{refused}"
    );
    assert!(!refused["report"]["gate"]["reasons"].as_array().unwrap().is_empty());
    let version = api.get("/v1/models/m/versions/2").await.expect(200);
    assert_eq!((&version["status"], &version["aliases"]), (&json!("rejected"), &json!([])));
    let model = api.get("/v1/models/m").await.expect(200);
    assert_eq!((&model["live_version"], &model["pending_samples"]), (&json!(1), &json!(600)));

    // Without the poison the next update is as good as ever.
    let batch = batch["batch"]["id"].as_str().unwrap();
    let forgotten = api.delete(&format!("/v1/models/m/batches/{batch}")).await.expect(200);
    // The refused version trained on it.
    assert_eq!(forgotten, json!({"samples": 600, "versions": [2], "update": null}));
    api.send_samples("m", &blobs(&["a", "b"], 100, 8, 3)).await;
    let update = api.update("m").await;
    assert_eq!(
        (&update["outcome"], &update["version"]),
        (&json!("published"), &json!(3)),
        "{update}"
    );
    service.stop().await;
}

/// Points of the labels `a` and `b` in turn, `n` of each, that are called by the other one.
fn turned(n: usize, dim: usize, seed: u64) -> Vec<(Vec<f32>, &'static str)> {
    let points = blobs(&["a", "b"], n, dim, seed);
    let (a, b) = points.split_at(n);
    let both = a.iter().zip(b);
    both.flat_map(|(a, b)| [(a.0.clone(), b.1), (b.0.clone(), a.1)]).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn labels_that_turn_at_once_are_learnt_once_samples_that_came_after_a_refusal_say_the_same() {
    let service = TestService::start().await;
    let api = &service.api;
    api.create_model("m", 8).await;
    let settings = json!({"learning": {"epochs": 40}, "gate": {"min_accuracy": 0.9}});
    api.patch("/v1/models/m", settings).await.expect(200);
    api.send_samples("m", &blobs(&["a", "b"], 300, 8, 1)).await;
    assert_eq!(api.update("m").await["outcome"], "published");
    api.send_samples("m", &turned(300, 8, 2)).await;
    assert_eq!(api.update("m").await["outcome"], "rejected", "they might be wrong labels");
    assert_eq!(api.update("m").await["outcome"], "rejected", "nobody else says so");
    // By and by, as a schedule takes them.
    for (seed, outcome) in [(3, "rejected"), (4, "published")] {
        api.send_samples("m", &turned(300, 8, seed)).await;
        let update = api.update("m").await;
        assert_eq!(update["outcome"], outcome, "{update}");
    }
    let (inputs, labels): (Vec<Vec<f32>>, Vec<&str>) = turned(50, 8, 5).into_iter().unzip();
    let answers = api.labels("m", &inputs).await;
    let right = answers.iter().zip(&labels).filter(|(answer, label)| answer == label).count();
    assert!(right > 90, "{right} of 100");
    service.stop().await;
}

/// Samples that the schedule counts.
async fn fresh(pool: &PgPool) -> i64 {
    let fresh = "SELECT count(*) FROM samples WHERE fresh";
    sqlx::query_scalar(fresh).fetch_one(pool).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_gate_refused_hides_nothing_that_came_after_it() {
    // A sixteenth, 4 MiB, is for new samples: 4,096 of 240 numbers.
    let service = TestService::start_with(&["--update-bytes", "67108864"]).await;
    let (api, pool) = (&service.api, service.database.pool().await);
    api.create_model("m", 240).await;
    let learning = json!({"epochs": 15, "counterfactual": false});
    let settings = json!({"learning": learning, "gate": {"min_accuracy": 0.9}});
    api.patch("/v1/models/m", settings).await.expect(200);
    let update = async |outcome: &str, taken: usize| {
        let update = api.update("m").await;
        assert_eq!(update["outcome"], outcome, "{update}");
        assert_eq!(update["report"]["samples"]["pending"], taken, "{update}");
    };
    api.send_samples("m", &blobs(&["a", "b"], 1_500, 240, 1)).await;
    update("published", 3_000).await;
    api.send_samples("m", &turned(2_500, 240, 2)).await;
    update("rejected", 4_096).await;
    assert_eq!(fresh(&pool).await, 0, "the rest by itself is no reason to try again");
    update("rejected", 2_048).await;
    api.send_samples("m", &turned(1_200, 240, 3)).await;
    update("published", 4_096).await;
    let left = 5_000 + 2_400 - 4_096;
    assert_eq!(api.get("/v1/models/m").await.expect(200)["pending_samples"], left);
    assert_eq!(fresh(&pool).await, left, "the schedule learns what the gate let wait");
    update("published", left as usize).await;
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_schedule_goes_on_with_what_is_learnt_again_where_an_update_does_not_hold_it() {
    let service = TestService::start_with(&["--update-bytes", "67108864"]).await;
    let (api, pool) = (&service.api, service.database.pool().await);
    api.create_model("m", 240).await;
    let learning = json!({"learning": {"epochs": 1, "counterfactual": false}});
    api.patch("/v1/models/m", learning).await.expect(200);
    let first = api.send_samples("m", &blobs(&["a", "b"], 100, 240, 1)).await;
    api.send_samples("m", &blobs(&["a", "b"], 2_200, 240, 2)).await;
    for taken in [4_096, 504] {
        assert_eq!(api.update("m").await["report"]["samples"]["pending"], taken);
    }
    let path = format!("/v1/models/m/batches/{}", first["batch"]["id"].as_str().unwrap());
    let forgotten = api.delete(&format!("{path}?relearn=true")).await.expect(200);
    let update = api.wait(forgotten["update"]["id"].as_str().unwrap()).await;
    assert_eq!(update["report"]["samples"]["pending"], 4_096);
    assert_eq!(fresh(&pool).await, 304);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_update_that_does_not_fit_into_memory_fails_in_words_and_others_go_on() {
    let service = TestService::start_with(&["--update-bytes", "67108864"]).await;
    let api = &service.api;
    let wide = json!({"name": "wide", "input": {"kind": "tabular", "dim": 8},
        "network": {"kind": "mlp", "hidden": [4096, 4096]}, "schedule": {"paused": true}});
    api.post("/v1/models", wide).await.expect(201);
    api.create_model("narrow", 8).await;
    let samples = blobs(&["a", "b"], 20, 8, 1);
    for model in ["wide", "narrow"] {
        api.send_samples(model, &samples).await;
    }
    let failed = api.update("wide").await;
    assert_eq!((&failed["status"], &failed["attempt"]), (&json!("failed"), &json!(1)), "{failed}");
    let why = failed["error"]["detail"].as_str().unwrap();
    assert!(why.contains("may take 64 (update_bytes)"), "{why}");
    let model = api.get("/v1/models/wide").await.expect(200);
    assert_eq!((&model["live_version"], &model["pending_samples"]), (&Value::Null, &json!(40)));
    assert_eq!(api.update("narrow").await["outcome"], "published");
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_schedule_does_not_repeat_an_update_that_fails_for_what_waits_behind_it() {
    let service = TestService::start_with(&["--update-bytes", "67108864"]).await;
    let (api, pool) = (&service.api, service.database.pool().await);
    let wide = json!({"name": "wide", "input": {"kind": "tabular", "dim": 240},
        "network": {"kind": "mlp", "hidden": [4096, 4096]}, "schedule": {"paused": true}});
    api.post("/v1/models", wide).await.expect(201);
    api.send_samples("wide", &blobs(&["a", "b"], 2_200, 240, 1)).await;
    assert_eq!(fresh(&pool).await, 4_400);
    assert_eq!(api.update("wide").await["status"], "failed");
    assert_eq!(fresh(&pool).await, 0, "304 of them did not fit, and fail like the others");
    api.send_samples("wide", &blobs(&["a", "b"], 10, 240, 2)).await;
    assert_eq!(fresh(&pool).await, 20, "new ones are reason to try again");
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_kept_of_the_history_is_shared_by_the_labels_that_it_has() {
    let service = TestService::start().await;
    let api = &service.api;
    let model = json!({"name": "m", "input": {"kind": "tabular", "dim": 8},
        "schedule": {"paused": true}, "learning": {"memory": 60}});
    api.post("/v1/models", model).await.expect(201);
    for (seed, labels, expected) in
        [(1, &["a", "b"][..], 0), (2, &["c", "d"], 60), (3, &["a", "b", "e"], 60)]
    {
        api.send_samples("m", &blobs(labels, 100, 8, seed)).await;
        let update = api.update("m").await;
        assert_eq!(update["report"]["samples"]["replayed"], expected, "{labels:?}");
    }
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_rare_labels_cannot_fill_of_the_replay_the_others_do() {
    let service = TestService::start().await;
    let api = &service.api;
    let model = json!({"name": "m", "input": {"kind": "tabular", "dim": 8},
        "schedule": {"paused": true}});
    api.post("/v1/models", model).await.expect(201);
    let rare: Vec<String> = (0..20).map(|n| format!("rare {n}")).collect();
    let rare: Vec<&str> = rare.iter().map(String::as_str).collect();
    api.send_samples("m", &blobs(&["often"], 400, 8, 1)).await;
    api.send_samples("m", &blobs(&rare, 3, 8, 2)).await;
    api.update("m").await;
    api.send_samples("m", &blobs(&["often"], 40, 8, 3)).await;
    let update = api.update("m").await;
    // An even share would be 96 of each.
    let replayed = update["report"]["samples"]["replayed"].as_u64().unwrap();
    assert!(replayed > 300, "{replayed}");
    service.stop().await;
}
