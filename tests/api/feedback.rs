//! Feedback: predictions that are remembered, what their labels come to, and the way back.

use std::collections::HashSet;

use perennial::domain::label::Label;
use perennial::domain::settings::RollbackSettings;
use perennial::storage::aliases::Watched;
use perennial::storage::models::ModelId;
use perennial::storage::predictions::worth::{self, Compared};
use perennial::storage::predictions::{self, NewFeedback};
use serde_json::{Value, json};
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

use super::events::Stream;
use super::support::process::{Process, free_address, perennial, ready};
use super::support::{Api, TestService, blobs};

/// A model of two labels with one version, which tells them apart.
async fn teach(api: &Api) {
    api.create_model("m", 8).await;
    api.send_samples("m", &blobs(&["a", "b"], 100, 8, 1)).await;
    assert_eq!(api.update("m").await["outcome"], "published");
}

/// What the live version says about `n` new inputs of each label, remembered.
async fn ask(api: &Api, n: usize, seed: u64) -> Vec<Value> {
    let inputs: Vec<Vec<f32>> =
        blobs(&["a", "b"], n, 8, seed).into_iter().map(|(input, _)| input).collect();
    let request = json!({"inputs": inputs, "remember": true});
    let answer = api.post("/v1/models/m/predict", request).await.expect(200);
    answer["predictions"].as_array().unwrap().clone()
}

async fn give(api: &Api, items: &[(&Value, &str)]) -> Value {
    let item = |(id, label): &(&Value, &str)| json!({"prediction_id": id, "label": label});
    let items: Vec<Value> = items.iter().map(item).collect();
    api.post("/v1/models/m/feedback", json!({"items": items})).await.expect(200)
}

fn counts(answer: &Value) -> [u64; 4] {
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
    for table in ["predictions", "prediction_blocks", "feedback"] {
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
    let insert = "INSERT INTO predictions SELECT 1, first_id_of_day(current_date - $1), 1, \
                  first_id_of_day(current_date - $1), 0, 'a', 1";
    for days in [2, 6] {
        sqlx::query(insert).bind(days).execute(&pool).await.unwrap();
    }
    let (database, dir) = service.stop().await;
    // The first round of a worker drops what is too old.
    let service = TestService::start_on(database, dir, &["--prediction-days", "3"]).await;
    let mut left = 0_i64;
    for _ in 0..500 {
        let count = sqlx::query_scalar("SELECT count(*) FROM predictions");
        left = count.fetch_one(&pool).await.unwrap();
        if left == 3 {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    assert_eq!(left, 3);
    assert_eq!(counts(&give(&service.api, &[(&kept[0]["id"], "a")]).await), [1, 0, 0, 0]);
    service.stop().await;
}

/// Labels for `n` predictions of the live version, of which `n_wrong` say that it was wrong.
async fn judge(api: &Api, n: usize, n_wrong: usize, seed: u64) {
    let predictions = ask(api, n / 2, seed).await;
    let label = |(i, p): (usize, &Value)| match i < n_wrong {
        true => "other".to_owned(),
        false => p["label"].as_str().unwrap().to_owned(),
    };
    let labels: Vec<String> = predictions.iter().enumerate().map(label).collect();
    let ids = predictions.iter().map(|p| &p["id"]);
    let items: Vec<_> = ids.zip(labels.iter().map(String::as_str)).collect();
    assert_eq!(counts(&give(api, &items).await), [n as u64, 0, 0, 0]);
}

/// The model's `live`, once it points at `version`, or after a few rounds of the worker.
async fn live(api: &Api, version: i32) -> Value {
    let mut alias = Value::Null;
    for _ in 0..300 {
        let aliases = api.get("/v1/models/m/aliases").await.expect(200);
        alias = aliases["items"][0].clone();
        if alias["version"] == version {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    alias
}

#[tokio::test(flavor = "multi_thread")]
async fn live_returns_where_the_new_version_turns_out_worse_and_only_there() {
    let service = TestService::start().await;
    let api = &service.api;
    teach(api).await;
    // It would never return where more are asked for than are counted.
    for n in [19, 1_001] {
        let wrong = json!({"gate": {"rollback": {"min_labelled": n}}});
        let problem = api.patch("/v1/models/m", wrong).await.problem(422);
        assert_eq!(problem["errors"][0]["pointer"], "/gate/rollback/min_labelled");
    }
    let on = json!({"gate": {"rollback": {"min_labelled": 100}}});
    let settings = api.patch("/v1/models/m", on).await.expect(200);
    assert_eq!(settings["gate"]["rollback"], json!({"min_labelled": 100, "confidence": 0.99}));

    judge(api, 100, 10, 11).await;
    api.send_samples("m", &blobs(&["a", "b"], 50, 8, 2)).await;
    assert_eq!(api.update("m").await["version"], 2);
    let shadowed = json!({"version": 2, "shadow": 1});
    api.put("/v1/models/m/aliases/live", shadowed).await.expect(200);
    // Too few to say anything, then worse by less than chance may do.
    judge(api, 90, 60, 12).await;
    judge(api, 410, 5, 13).await;
    tokio::time::sleep(std::time::Duration::from_secs(8)).await;
    let alias = live(api, 2).await;
    assert_eq!((&alias["version"], &alias["previous"]), (&json!(2), &json!(1)));
    assert_eq!(alias["rolled_back"], Value::Null);

    // Worse beyond chance, whichever process finds it.
    let (database, dir) = service.stop().await;
    let service = TestService::start_on(database, dir, &["--no-worker"]).await;
    let api = &service.api;
    judge(api, 100, 90, 14).await;
    let address = free_address();
    let flags = ["--database-url", &service.database.url, "--listen", &address];
    let process = Process::start(&mut perennial("serve", service.dir.path(), &flags));
    let there = ready(&address).await;
    let counted = "perennial_rollbacks_total{model=\"m\"} 1";
    let mut metrics = Value::Null;
    for _ in 0..300 {
        metrics = there.get("/metrics").await.expect(200);
        if metrics.as_str().unwrap().contains(counted) {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    assert!(metrics.as_str().unwrap().contains(counted), "{metrics}");
    let answer = there.post("/v1/models/m/predict", json!({"inputs": [vec![0.0; 8]]})).await;
    assert_eq!(answer.expect(200)["version"], 1);
    process.stop();
    let alias = live(api, 1).await;
    assert_eq!((&alias["version"], &alias["previous"]), (&json!(1), &Value::Null), "{alias}");
    assert_eq!(alias["shadow"], Value::Null, "it would be compared with itself");
    let why = &alias["rolled_back"];
    assert_eq!((&why["from"], &why["labelled"]), (&json!(2), &json!(600)));
    assert_eq!((&why["previous_accuracy"], &why["previous_labelled"]), (&json!(0.9), &json!(100)));
    assert!((why["accuracy"].as_f64().unwrap() - (1.0 - 155.0 / 600.0)).abs() < 1e-9);

    // It stands in the audit and among the events with its figures.
    let audit = api.get("/v1/audit").await.expect(200)["items"][0].take();
    let moved = json!({"alias": "live", "version": 1, "because": why});
    assert_eq!((&audit["action"], &audit["detail"]), (&json!("alias_moved"), &moved));
    let mut events = Stream::open(api, "/v1/events?after=0").await;
    let told = loop {
        let told = events.next().await.unwrap();
        if told.kind == "rollback" {
            break told.data;
        }
    };
    assert_eq!((&told["update"], &told["model"]), (&Value::Null, &json!("m")));
    assert_eq!(told["to"], 1);
    for (name, figure) in why.as_object().unwrap() {
        assert_eq!(told[name], *figure, "{name}");
    }
    drop(events);

    // The next update goes on from the version that is live again; whoever moves the alias ends the story.
    api.put("/v1/models/m/aliases/live", json!({"version": 1})).await.expect(200);
    assert_eq!(live(api, 1).await["rolled_back"], Value::Null);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_live_is_judged_by_is_fixed_by_when_it_was_moved() {
    let service = TestService::start_with(&["--no-worker"]).await;
    let pool = service.database.pool().await;
    let days = "SELECT open_prediction_days(current_date - 9, current_date + 1)::text";
    sqlx::query(days).execute(&pool).await.unwrap();
    let (model, moved_at) = (ModelId(1), OffsetDateTime::now_utc());
    let mut feedback = Vec::new();
    let mut add = |version: i32, seconds: i64, n: u32, is_right: bool| {
        let at = moved_at + Duration::seconds(seconds);
        let ms = (at.unix_timestamp_nanos() / 1_000_000) as u128;
        feedback.extend((0..n).map(|i| NewFeedback {
            prediction: Uuid::from_u128((ms << 80) | u128::from(i)),
            version,
            probability: 0.5,
            label: Label::parse("a").unwrap(),
            is_right,
        }));
    };
    // Of version 1 the last 1,000 of seven days until then, of version 2 the first 1,000 since.
    add(1, -8 * 86_400, 50, true);
    add(1, -3_600, 300, false);
    add(1, -1_800, 900, true);
    add(1, 1, 100, false);
    add(2, -60, 100, false);
    add(2, 0, 200, false);
    add(2, 10, 800, true);
    let mut db = pool.acquire().await.unwrap();
    predictions::insert_feedback(&mut db, model, &feedback).await.unwrap();
    let rollback = RollbackSettings::default();
    let watched = Watched { model, version: 2, previous: 1, moved_at, rollback };
    let since = moved_at - Duration::days(7);
    let compared = worth::compared(&mut db, &watched, since, 1_000).await.unwrap();
    let (right, labelled) = (800, 1_000);
    let (previous_right, previous_labelled) = (900, 1_000);
    let expected = Compared { right, labelled, previous_right, previous_labelled };
    assert_eq!(compared, expected);

    // Labels that come for later predictions change nothing.
    let mut later = feedback.split_off(feedback.len() - 500);
    for one in &mut later {
        let in_a_minute = Uuid::from_u128(one.prediction.as_u128() + (60_000 << 80));
        (one.prediction, one.is_right) = (in_a_minute, false);
    }
    predictions::insert_feedback(&mut db, model, &later).await.unwrap();
    assert_eq!(worth::compared(&mut db, &watched, since, 1_000).await.unwrap(), expected);
    service.stop().await;
}
