//! The way back: `live` returns where labels say that the new version is worse.

use perennial::domain::label::Label;
use perennial::domain::live::RolledBack;
use perennial::domain::settings::RollbackSettings;
use perennial::storage::aliases::{self, Watched};
use perennial::storage::models::ModelId;
use perennial::storage::predictions::worth::{self, Compared};
use perennial::storage::predictions::{self, NewFeedback};
use serde_json::{Value, json};
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

use super::events::Stream;
use super::feedback::{ask, counts, give, teach};
use super::support::process::{Process, free_address, perennial, ready};
use super::support::{Api, TestService, blobs};

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
async fn live_returns_once_and_not_where_it_was_moved_meanwhile() {
    let service = TestService::start().await;
    let api = &service.api;
    teach(api).await;
    api.patch("/v1/models/m", json!({"gate": {"rollback": {}}})).await.expect(200);
    api.send_samples("m", &blobs(&["a", "b"], 50, 8, 2)).await;
    assert_eq!(api.update("m").await["version"], 2);
    let mut db = service.database.pool().await.acquire().await.unwrap();
    let why = RolledBack {
        from: 2,
        accuracy: 0.5,
        labelled: 200,
        previous_accuracy: 0.9,
        previous_labelled: 200,
    };
    // What two processes have found at the same time.
    let found = aliases::watched(&mut db).await.unwrap().remove(0);
    assert_eq!((found.version, found.previous), (2, 1));
    assert!(aliases::roll_back(&mut db, &found, &why).await.unwrap());
    assert!(!aliases::roll_back(&mut db, &found, &why).await.unwrap());
    assert_eq!(aliases::watched(&mut db).await.unwrap(), [], "there is none to return to");

    let there = json!({"version": 2});
    api.put("/v1/models/m/aliases/live", there.clone()).await.expect(200);
    let found = aliases::watched(&mut db).await.unwrap().remove(0);
    api.put("/v1/models/m/aliases/live", there).await.expect(200);
    assert!(!aliases::roll_back(&mut db, &found, &why).await.unwrap());
    assert_eq!(live(api, 2).await["rolled_back"], Value::Null);
    drop(db);
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
