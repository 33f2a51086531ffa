//! Feedback: predictions that are remembered, and what their labels come to.

use std::collections::HashSet;

use serde_json::{Value, json};
use uuid::Uuid;

use super::support::process::{Process, free_address, perennial, ready};
use super::support::{Api, TestService, blobs};

/// A model of two labels with one version, which tells them apart.
pub async fn teach(api: &Api) {
    api.create_model("m", 8).await;
    api.send_samples("m", &blobs(&["a", "b"], 100, 8, 1)).await;
    assert_eq!(api.update("m").await["outcome"], "published");
}

/// What the live version says about `n` new inputs of each label, remembered.
pub async fn ask(api: &Api, n: usize, seed: u64) -> Vec<Value> {
    let inputs: Vec<Vec<f32>> =
        blobs(&["a", "b"], n, 8, seed).into_iter().map(|(input, _)| input).collect();
    let request = json!({"inputs": inputs, "remember": true});
    let answer = api.post("/v1/models/m/predict", request).await.expect(200);
    answer["predictions"].as_array().unwrap().clone()
}

pub async fn give(api: &Api, items: &[(&Value, &str)]) -> Value {
    let item = |(id, label): &(&Value, &str)| json!({"prediction_id": id, "label": label});
    let items: Vec<Value> = items.iter().map(item).collect();
    api.post("/v1/models/m/feedback", json!({"items": items})).await.expect(200)
}

pub fn counts(answer: &Value) -> [u64; 4] {
    ["accepted", "unknown", "repeated", "rejected"].map(|word| answer[word].as_u64().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_label_that_comes_counts_once_and_makes_a_sample() {
    let service = TestService::start().await;
    let api = &service.api;
    teach(api).await;
    let plain = json!({"inputs": [blobs(&["a"], 1, 8, 9)[0].0]});
    let plain = api.post("/v1/models/m/predict", plain).await.expect(200);
    assert_eq!(plain["predictions"][0].get("id"), None);
    assert_eq!(api.get("/v1/models/m/versions/1").await.expect(200)["live"], Value::Null);

    let predictions = ask(api, 10, 9).await;
    let ids: HashSet<&str> = predictions.iter().map(|p| p["id"].as_str().unwrap()).collect();
    assert_eq!(ids.len(), 20);
    // Two were of a label that nobody knew.
    let truth = |i| {
        if i < 10 {
            "a"
        } else if i < 18 {
            "b"
        } else {
            "c"
        }
    };
    let mut items: Vec<_> = predictions.iter().map(|p| &p["id"]).zip((0..).map(truth)).collect();
    let (stranger, malformed) = (json!("01900000-0000-7000-8000-000000000000"), json!("x"));
    items.extend([(&stranger, "a"), (&malformed, "a"), (&predictions[0]["id"], "")]);
    let answer = give(api, &items).await;
    assert_eq!(counts(&answer), [20, 1, 0, 2], "{answer}");
    let indices: Vec<u64> = answer["rejections"]
        .as_array()
        .unwrap()
        .iter()
        .map(|rejection| rejection["index"].as_u64().unwrap())
        .collect();
    assert_eq!(indices, [20, 21, 22]);
    let batch = answer["batch"].as_str().unwrap();
    let batch = api.get(&format!("/v1/models/m/batches/{batch}")).await.expect(200);
    assert_eq!((&batch["accepted"], &batch["rejected"]), (&json!(20), &json!(0)));
    let model = api.get("/v1/models/m").await.expect(200);
    assert_eq!(
        (&model["pending_samples"], &model["labels"]),
        (&json!(20), &json!(["a", "b", "c"]))
    );
    // They are the very inputs: the same in a batch are duplicates.
    let sent: Vec<_> = blobs(&["a", "b"], 10, 8, 9)
        .into_iter()
        .zip((0..).map(truth))
        .map(|((input, _), label)| (input, label))
        .collect();
    assert_eq!(api.send_samples("m", &sent).await["batch"]["duplicates"], 20);

    let live = api.get("/v1/models/m/versions/1").await.expect(200)["live"].take();
    assert_eq!((&live["labelled"], &live["accuracy"]), (&json!(20), &json!(0.9)));
    let sure: f64 = predictions.iter().map(|p| p["probability"].as_f64().unwrap()).sum();
    // All are in few bins, on the same side of the truth.
    let error = live["calibration_error"].as_f64().unwrap();
    assert!(error >= (sure / 20.0 - 0.9).abs() - 1e-6 && error < 0.2, "{live} {sure}");

    assert_eq!(counts(&give(api, &items[..20]).await), [0, 0, 20, 0]);
    // An id beside those that were given is nobody's.
    let beside = json!(predictions[0]["id"].as_str().unwrap()[..34].to_owned() + "ff");
    assert_eq!(counts(&give(api, &[(&beside, "a")]).await), [0, 1, 0, 0]);
    let other = give(api, &[(&predictions[0]["id"], "b")]).await;
    assert_eq!(counts(&other), [0, 0, 1, 0]);
    assert!(other["rejections"][0]["reason"].as_str().unwrap().contains("`a`"), "{other}");
    assert_eq!(other["batch"], Value::Null);
    let again = api.get("/v1/models/m/versions/1").await.expect(200)["live"].take();
    assert_eq!(again, live);

    // Of a version that an alias points at these figures are told by every process.
    let address = free_address();
    let flags = ["--database-url", &service.database.url, "--listen", &address, "--no-worker"];
    let process = Process::start(&mut perennial("serve", service.dir.path(), &flags));
    let metrics = ready(&address).await.get("/metrics").await.expect(200);
    let told = |name: &str| -> f64 {
        let begin = format!("{name}{{model=\"m\",version=\"1\"}} ");
        let mut lines = metrics.as_str().unwrap().lines();
        let figure = lines.find_map(|line| line.strip_prefix(&begin));
        figure.unwrap_or_else(|| panic!("no {name}: {metrics}")).parse().unwrap()
    };
    assert_eq!(told("perennial_live_labelled"), 20.0);
    assert_eq!(told("perennial_live_accuracy_ratio"), 0.9);
    assert!((told("perennial_live_calibration_error") - error).abs() < 1e-9, "{live} {metrics}");
    process.stop();

    // What is remembered is the model's: another has no part in it, and it goes with the model.
    api.create_model("other", 8).await;
    let item = json!({"items": [{"prediction_id": predictions[0]["id"], "label": "a"}]});
    let stranger = api.post("/v1/models/other/feedback", item.clone()).await.expect(200);
    assert_eq!(counts(&stranger), [0, 1, 0, 0]);
    api.post("/v1/models/none/feedback", item).await.problem(404);
    api.post("/v1/models/m/feedback", json!({"items": []})).await.problem(422);
    assert_eq!(api.delete("/v1/models/m").await.status, 204);
    let pool = service.database.pool().await;
    for table in ["prediction_blocks", "feedback"] {
        let left = sqlx::AssertSqlSafe(format!("SELECT count(*) FROM {table}"));
        let left: i64 = sqlx::query_scalar(left).fetch_one(&pool).await.unwrap();
        assert_eq!(left, 0, "{table}");
    }
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn labels_that_come_are_learnt_by_the_next_update() {
    let service = TestService::start().await;
    let api = &service.api;
    teach(api).await;
    let schedule = json!({"paused": false, "min_samples": 60, "max_delay_s": 3600});
    api.patch("/v1/models/m", json!({"schedule": schedule})).await.expect(200);
    let predictions = ask(api, 40, 9).await;
    // What was said to be b is c from now on.
    let is = |p: &Value| if p["label"] == "a" { "a" } else { "c" };
    let items: Vec<_> = predictions.iter().map(|p| (&p["id"], is(p))).collect();
    assert_eq!(give(api, &items[..20]).await["update"], Value::Null);
    let update = give(api, &items).await["update"].take();
    let update = api.wait(update["id"].as_str().unwrap()).await;
    assert_eq!((&update["trigger"], &update["outcome"]), (&json!("schedule"), &json!("published")));
    assert_eq!(update["report"]["new_labels"], json!(["c"]));
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_to_be_written_outlives_an_orderly_stop_and_a_database_that_is_away() {
    let service = TestService::start().await;
    teach(&service.api).await;
    let (database, dir) = service.stop().await;
    // Where no worker makes the days.
    sqlx::query("SELECT drop_prediction_days(current_date + 9)::text")
        .execute(&database.pool().await)
        .await
        .unwrap();
    let service = TestService::start_on(database, dir, &["--no-worker"]).await;
    let first = ask(&service.api, 1, 5).await;
    let (database, dir) = service.stop().await;
    let service = TestService::start_on(database, dir, &[]).await;
    let api = &service.api;
    service.database.allow_connections(false).await;
    let second = ask(api, 1, 6).await;
    service.database.allow_connections(true).await;
    let ids = [&first[0]["id"], &first[1]["id"], &second[0]["id"], &second[1]["id"]];
    let items = ids.map(|id| (id, "a"));
    let mut counted = [0; 4];
    // Connections come back one by one.
    for _ in 0..100 {
        let item = |(id, label): &(&Value, &str)| json!({"prediction_id": id, "label": label});
        let body = json!({"items": items.iter().map(item).collect::<Vec<_>>()});
        let answer = api.post("/v1/models/m/feedback", body).await;
        if answer.status == 200 {
            let now = counts(&answer.body);
            counted = [0, 1, 2, 3].map(|i| if i == 1 { now[i] } else { counted[i] + now[i] });
            if now[1] == 0 {
                break;
            }
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    assert_eq!((counted[0], counted[1], counted[3]), (4, 0, 0));
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn predictions_are_forgotten_after_their_days() {
    let service = TestService::start_with(&["--prediction-days", "3"]).await;
    teach(&service.api).await;
    let kept = ask(&service.api, 1, 5).await;
    let pool = service.database.pool().await;
    sqlx::query("SELECT open_prediction_days(current_date - 9, current_date)::text")
        .execute(&pool)
        .await
        .unwrap();
    let insert = "INSERT INTO prediction_blocks \
                  SELECT 1, first_id_of_day(current_date - $1), '', 1, ARRAY['a'], ARRAY[1]";
    for days in [2, 6] {
        sqlx::query(insert).bind(days).execute(&pool).await.unwrap();
    }
    let expired = sqlx::query_scalar("SELECT first_id_of_day(current_date - 6)");
    let expired: Uuid = expired.fetch_one(&pool).await.unwrap();
    let (database, dir) = service.stop().await;
    // The first round of a worker drops what is too old.
    let service = TestService::start_on(database, dir, &["--prediction-days", "3"]).await;
    let mut left = 0_i64;
    for _ in 0..500 {
        let count = sqlx::query_scalar("SELECT count(*) FROM prediction_blocks");
        left = count.fetch_one(&pool).await.unwrap();
        if left == 2 {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    assert_eq!(left, 2);
    assert_eq!(counts(&give(&service.api, &[(&kept[0]["id"], "a")]).await), [1, 0, 0, 0]);
    // Of two labels at once it takes the first.
    let (expired, other) = (json!(expired), &kept[1]["id"]);
    let answer = give(&service.api, &[(other, "a"), (&expired, "a"), (other, "b")]).await;
    assert_eq!(counts(&answer), [1, 1, 1, 0]);
    let why = [(1, "too old"), (2, "has a label already, `a`")];
    for (rejection, (index, words)) in answer["rejections"].as_array().unwrap().iter().zip(why) {
        assert_eq!(rejection["index"], index);
        assert!(rejection["reason"].as_str().unwrap().contains(words), "{answer}");
    }
    service.stop().await;
}
