//! The database's clock is set back, or goes ahead: rows that say so, as they are left then.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sqlx::PgPool;

use super::keys::{create, until};
use super::support::{Api, TestService, blobs};

/// A service without a worker, and the update that waits for one.
async fn queued() -> (TestService, PgPool, String) {
    let service = TestService::start_with(&["--no-worker"]).await;
    service.api.create_model("m", 4).await;
    service.api.send_samples("m", &blobs(&["a", "b"], 40, 4, 1)).await;
    let update = service.api.post("/v1/models/m/updates", json!({})).await.expect(202);
    let pool = service.database.pool().await;
    (service, pool, update["id"].as_str().unwrap().to_owned())
}

/// The same with a worker.
async fn working(service: TestService, flags: &[&str]) -> TestService {
    let (database, dir) = service.stop().await;
    TestService::start_on(database, dir, flags).await
}

async fn execute(pool: &PgPool, statement: &'static str) {
    assert_eq!(sqlx::query(statement).execute(pool).await.unwrap().rows_affected(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_update_of_a_dead_worker_is_taken_over_after_the_clock_was_set_back() {
    let (service, pool, id) = queued().await;
    execute(
        &pool,
        "UPDATE updates SET status = 'running', attempt = 1, started_at = now() + interval '5 hours',
                leased_until = now() + interval '5 hours', lease_s = 2",
    )
    .await;
    // The lease is the dead worker's own, not that of who takes over.
    let service = working(service, &["--lease-s", "3600"]).await;
    let update = service.api.wait(&id).await;
    assert_eq!((&update["outcome"], &update["attempt"]), (&json!("published"), &json!(2)));
    assert_eq!(update["error"], Value::Null);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_living_worker_keeps_its_update_when_the_clock_is_set_back() {
    let service = TestService::start().await;
    let pool = service.database.pool().await;
    let long = json!({
        "name": "m",
        "input": {"kind": "tabular", "dim": 4},
        "network": {"kind": "mlp", "hidden": [128, 128]},
        "learning": {"epochs": 1000},
        "schedule": {"paused": true},
    });
    service.api.post("/v1/models", long).await.expect(201);
    service.api.send_samples("m", &blobs(&["a", "b"], 150, 4, 1)).await;
    let update = service.api.post("/v1/models/m/updates", json!({})).await.expect(202);
    let id = update["id"].as_str().unwrap();
    let api = &service.api;
    let began = Instant::now();
    while api.get(&format!("/v1/updates/{id}")).await.expect(200)["status"] != "running" {
        assert!(began.elapsed() < Duration::from_secs(60), "it does not run");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    execute(&pool, "UPDATE updates SET leased_until = now() + interval '5 hours'").await;
    let update = api.wait(id).await;
    assert_eq!((&update["outcome"], &update["attempt"]), (&json!("published"), &json!(1)));
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queued_update_does_not_wait_for_the_clock_to_come_to_it_again() {
    for (failures, ahead, runs) in
        [(0, "1 hour", true), (1, "5 hours", true), (1, "4 minutes", false)]
    {
        let (service, pool, id) = queued().await;
        let later = "UPDATE updates SET failures = $1, run_after = now() + $2::text::interval";
        sqlx::query(later).bind(failures).bind(ahead).execute(&pool).await.unwrap();
        let service = working(service, &[]).await;
        if runs {
            let update = service.api.wait(&id).await;
            assert_eq!(update["outcome"], "published", "{failures} {ahead}");
        } else {
            // A back-off is waited for: another model's update goes first.
            service.api.create_model("other", 4).await;
            service.api.send_samples("other", &blobs(&["a", "b"], 40, 4, 1)).await;
            service.api.update("other").await;
            let update = service.api.get(&format!("/v1/updates/{id}")).await.expect(200);
            assert_eq!(update["status"], "queued", "{failures} {ahead}");
        }
        service.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_update_that_was_queued_before_the_clock_was_set_back_is_not_passed_by_all_later_ones() {
    let (service, pool, _) = queued().await;
    execute(
        &pool,
        "UPDATE updates SET created_at = now() + interval '5 hours', run_after = now() - interval '1 second'",
    )
    .await;
    service.api.create_model("other", 4).await;
    service.api.send_samples("other", &blobs(&["a", "b"], 40, 4, 1)).await;
    service.api.post("/v1/models/other/updates", json!({})).await.expect(202);
    let mut db = pool.acquire().await.unwrap();
    let claim = perennial::storage::jobs::claim(&mut db, 60.0).await.unwrap().unwrap();
    assert_eq!(claim.model.0, 1);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn samples_that_came_before_the_clock_was_set_back_are_learnt_by_the_schedule() {
    let service = TestService::start_with(&["--no-worker"]).await;
    service.api.create_model("m", 4).await;
    service.api.send_samples("m", &blobs(&["a", "b"], 40, 4, 1)).await;
    let schedule = json!({"schedule": {"paused": false, "max_delay_s": 3600}});
    service.api.patch("/v1/models/m", schedule).await.expect(200);
    let pool = service.database.pool().await;
    execute(&pool, "UPDATE batches SET created_at = now() + interval '5 hours'").await;
    let service = working(service, &[]).await;
    let began = Instant::now();
    while service.api.get("/v1/models/m").await.expect(200)["live_version"] != 1 {
        assert!(began.elapsed() < Duration::from_secs(60), "they wait");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    service.stop().await;
}

/// What a label comes to that is given for a prediction just made.
async fn remember(api: &Api) -> Value {
    let request = json!({"inputs": [[0.0, 0.0, 0.0, 0.0]], "remember": true});
    let answer = api.post("/v1/models/m/predict", request).await.expect(200);
    let item = json!({"prediction_id": answer["predictions"][0]["id"], "label": "a"});
    api.post("/v1/models/m/feedback", json!({"items": [item]})).await.expect(200)
}

#[tokio::test(flavor = "multi_thread")]
async fn predictions_are_remembered_on_a_day_that_the_clock_jumped_to() {
    let (service, pool, id) = queued().await;
    let service = working(service, &[]).await;
    service.api.wait(&id).await;
    assert_eq!(remember(&service.api).await["accepted"], 1);
    // The days that were made ready are over.
    sqlx::query("SELECT drop_prediction_days(current_date + 9)::text")
        .execute(&pool)
        .await
        .unwrap();
    assert_eq!(remember(&service.api).await["accepted"], 1);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_expires_by_the_databases_clock() {
    let service = TestService::start_with(&["--no-worker"]).await;
    let key = create(&service.database, &["--scope", "read", "--expires-in-days", "1"]);
    let api = service.api.with_key(&key);
    until(&service.api, "/v1/models", 401).await;
    api.get("/v1/models").await.expect(200);
    let pool = service.database.pool().await;
    // So much is left of it, by the database.
    execute(&pool, "UPDATE keys SET expires_at = now() + interval '1 second'").await;
    sqlx::query("NOTIFY perennial, '\"keys\"'").execute(&pool).await.unwrap();
    until(&api, "/v1/models", 401).await;
    service.stop().await;
}
