//! Many who want one model, and a database that takes its time: whoever wants another model is answered meanwhile.

use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::{Value, json};
use sqlx::{PgConnection, PgPool};
use tokio::task::JoinHandle;

use crate::support::{Answer, Api, TestService, blobs};

/// Longest that anything may take before it counts as stuck.
const PATIENCE: Duration = Duration::from_secs(60);

async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let began = Instant::now();
    while !holds().await {
        assert!(began.elapsed() < PATIENCE, "{what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Two models with a version each.
async fn two_models() -> TestService {
    let service = TestService::start().await;
    for model in ["busy", "free"] {
        service.api.create_model(model, 4).await;
        let gate = json!({"max_drop": null, "max_class_drop": null, "max_forgetting": null});
        let path = format!("/v1/models/{model}");
        service.api.patch(&path, json!({"gate": gate})).await.expect(200);
        service.api.send_samples(model, &blobs(&["a", "b"], 40, 4, 1)).await;
        assert_eq!(service.api.update(model).await["outcome"], "published");
    }
    service
}

/// Holds a model's row, as whoever stores a long batch does.
async fn hold(db: &mut PgConnection) {
    sqlx::query("SELECT id FROM models WHERE name = 'busy' FOR NO KEY UPDATE")
        .fetch_one(db)
        .await
        .unwrap();
}

/// Asks at once, as often as `n`, whatever `path` and `body` make of the number.
fn flood(
    api: &Api,
    n: usize,
    request: impl Fn(usize) -> (Method, String, Value),
) -> Vec<JoinHandle<Answer>> {
    let ask = |i| {
        let (api, (method, path, body)) = (api.clone(), request(i));
        tokio::spawn(async move { api.send(api.request(method, &path).json(&body)).await })
    };
    (0..n).map(ask).collect()
}

fn batch(seed: usize) -> Value {
    json!({"samples": [{"input": [seed, 1, 2, 3], "label": "a"}]})
}

fn n_answered(flood: &[JoinHandle<Answer>]) -> usize {
    flood.iter().filter(|answer| answer.is_finished()).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_whose_lock_is_held_is_503_and_holds_no_other_back() {
    let service = two_models().await;
    let api = &service.api;
    let pool = service.database.pool().await;
    let mut holder = pool.begin().await.unwrap();
    hold(&mut holder).await;
    let refused = flood(api, 20, |i| match i % 4 {
        0 => (Method::POST, "/v1/models/busy/updates".to_owned(), json!({"force": true})),
        1 => (Method::PATCH, "/v1/models/busy".to_owned(), json!({"learning": {"epochs": 3}})),
        2 => (Method::DELETE, "/v1/models/busy/samples?id=none".to_owned(), Value::Null),
        _ => (Method::DELETE, "/v1/models/busy".to_owned(), Value::Null),
    });
    api.patch("/v1/models/free", json!({"learning": {"epochs": 3}})).await.expect(200);
    api.send_samples("free", &blobs(&["a", "b"], 40, 4, 2)).await;
    assert_eq!(api.update("free").await["version"], 2);
    for answer in refused {
        let answer = answer.await.unwrap();
        assert!(!answer.header("retry-after").is_empty(), "{answer:?}");
        answer.problem(503);
    }
    holder.rollback().await.unwrap();
    api.patch("/v1/models/busy", json!({"learning": {"epochs": 3}})).await.expect(200);
    api.send_samples("busy", &blobs(&["a", "b"], 40, 4, 2)).await;
    assert_eq!(api.update("busy").await["version"], 2);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_batches_for_one_model_holds_no_other_models_batch_back() {
    let service = two_models().await;
    let api = &service.api;
    let pool = service.database.pool().await;
    let mut holder = pool.begin().await.unwrap();
    hold(&mut holder).await;
    let path = || "/v1/models/busy/batches".to_owned();
    let flood = flood(api, 40, |i| (Method::POST, path(), batch(i)));
    // One is being stored, and half of the places are taken by those that wait.
    until("the flood is not there", async || n_answered(&flood) == 7).await;
    api.post("/v1/models/free/batches", batch(0)).await.expect(202);
    assert_eq!(n_answered(&flood), 7);
    holder.rollback().await.unwrap();
    let mut statuses: Vec<u16> = Vec::new();
    for answer in flood {
        statuses.push(answer.await.unwrap().status.as_u16());
    }
    let accepted = statuses.iter().filter(|&&status| status == 202).count();
    let refused = statuses.iter().filter(|&&status| status == 503).count();
    assert_eq!((accepted, refused), (33, 7), "{statuses:?}");
    let model = api.get("/v1/models/busy").await.expect(200);
    assert_eq!(model["samples"], 80 + 33);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_long_predictions_of_one_model_holds_no_other_models_back() {
    const FLOOD: usize = 40;
    let service = TestService::start().await;
    let api = &service.api;
    for model in ["busy", "free"] {
        let wide = json!({
            "name": model,
            "input": {"kind": "tabular", "dim": 8},
            "network": {"kind": "mlp", "hidden": [512, 512]},
            "learning": {"epochs": 1},
            "schedule": {"paused": true},
        });
        api.post("/v1/models", wide).await.expect(201);
        api.send_samples(model, &blobs(&["a", "b"], 40, 8, 1)).await;
        assert_eq!(api.update(model).await["outcome"], "published");
    }
    let question = json!({"inputs": vec![[1, 2, 3, 4, 5, 6, 7, 8]; 400]});
    let path = || "/v1/models/busy/predict".to_owned();
    let flood = flood(api, FLOOD, |_| (Method::POST, path(), question.clone()));
    until("the flood is not there", async || n_answered(&flood) > 0).await;
    api.post("/v1/models/free/predict", question.clone()).await.expect(200);
    let n_before = n_answered(&flood);
    assert!(n_before < FLOOD * 3 / 4, "{n_before} of {FLOOD} went before it");
    for answer in flood {
        answer.await.unwrap().expect(200);
    }
    service.stop().await;
}

/// Holds a whole table for some seconds, as a vacuum or an operator may.
async fn lock_table(pool: &PgPool, statement: &'static str) {
    let mut tx = pool.begin().await.unwrap();
    sqlx::query(statement).execute(&mut *tx).await.unwrap();
    tokio::time::sleep(Duration::from_secs(6)).await;
    tx.commit().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn while_a_table_is_locked_predictions_are_answered_and_afterwards_nothing_is_stuck() {
    let service = two_models().await;
    let api = &service.api;
    let pool = service.database.pool().await;
    for (seed, statement) in [
        (2, "LOCK TABLE models IN ACCESS EXCLUSIVE MODE"),
        (3, "LOCK TABLE samples IN ACCESS EXCLUSIVE MODE"),
    ] {
        for model in ["busy", "free"] {
            assert_eq!(api.labels(model, &[[0.0; 4]]).await.len(), 1);
        }
        // All routes are read anew just before, and none is without one then.
        sqlx::query("NOTIFY perennial, '\"reconnected\"'").execute(&pool).await.unwrap();
        tokio::time::sleep(Duration::from_millis(300)).await;
        let locked = {
            let pool = pool.clone();
            tokio::spawn(async move { lock_table(&pool, statement).await })
        };
        tokio::time::sleep(Duration::from_millis(200)).await;
        let others = flood(api, 40, |i| match i % 4 {
            0 => (Method::GET, "/v1/models/busy".to_owned(), Value::Null),
            1 => (Method::GET, "/v1/models".to_owned(), Value::Null),
            2 => (Method::POST, "/v1/models/busy/batches".to_owned(), batch(seed * 1000 + i)),
            _ => (Method::POST, "/v1/models/busy/updates".to_owned(), json!({"force": true})),
        });
        let mut n_predictions = 0;
        while !locked.is_finished() {
            for model in ["busy", "free"] {
                assert_eq!(api.labels(model, &[[0.0; 4]]).await.len(), 1);
            }
            n_predictions += 1;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        locked.await.unwrap();
        assert!(n_predictions > 10, "{statement}: {n_predictions} predictions in 6 seconds");
        for answer in others {
            let answer = answer.await.unwrap();
            assert!(matches!(answer.status.as_u16(), 200 | 202 | 503), "{statement}: {answer:?}");
            if answer.status == 503 {
                assert!(!answer.header("retry-after").is_empty(), "{statement}: {answer:?}");
            }
        }
        for model in ["busy", "free"] {
            api.send_samples(model, &blobs(&["a", "b"], 40, 4, seed as u64)).await;
            let update = api.update(model).await;
            assert_eq!(update["status"], "succeeded", "{statement}: {update}");
            assert_eq!(
                api.get(&format!("/v1/models/{model}")).await.expect(200)["pending_samples"],
                0
            );
        }
    }
    service.stop().await;
}
