//! Forgetting: what is gone, who is told, what is learnt again; and who did it.

use perennial::domain::label::Label;
use perennial::domain::sample::ContentHash;
use perennial::storage::block;
use serde_json::{Value, json};
use sqlx::PgPool;

use crate::support::{Api, TestService, blobs};
use crate::updates::update_in_training;

/// Sends samples of which every `nth` is about `subject`, all named `PREFIX-NUMBER`.
async fn send(api: &Api, samples: &[(Vec<f32>, &str)], prefix: &str, nth: usize, subject: &str) {
    let sample = |(number, (input, label)): (usize, &(Vec<f32>, &str))| {
        let subject = number.is_multiple_of(nth).then_some(subject);
        json!({"input": input, "label": label, "id": format!("{prefix}-{number}"), "subject": subject})
    };
    let samples: Vec<Value> = samples.iter().enumerate().map(sample).collect();
    api.post("/v1/models/m/batches", json!({"samples": samples})).await.expect(202);
}

async fn counts(api: &Api) -> (i64, i64) {
    let model = api.get("/v1/models/m").await.expect(200);
    (model["samples"].as_i64().unwrap(), model["pending_samples"].as_i64().unwrap())
}

/// Checks that each sample's input is the one that it is named by, and gives all categories stored.
async fn stored_categories(pool: &PgPool) -> Vec<String> {
    let rows: Vec<(i64, i16, Vec<u8>, String)> = sqlx::query_as(
        "SELECT block_id, position, hash, name FROM samples JOIN labels USING (model_id, label)",
    )
    .fetch_all(pool)
    .await
    .unwrap();
    let blocks: Vec<(i64, Vec<u8>)> =
        sqlx::query_as("SELECT id, payload FROM blocks").fetch_all(pool).await.unwrap();
    let mut categories = Vec::new();
    for (id, payload) in blocks {
        let inputs = block::decode(&payload).unwrap();
        categories.extend(inputs.all_categories().iter().flatten().map(|text| text.to_string()));
        for (_, position, hash, label) in rows.iter().filter(|row| row.0 == id) {
            let (numbers, texts) =
                (inputs.numbers(*position as usize), inputs.categories(*position as usize));
            let label = Label::parse(label.clone()).unwrap();
            let named = ContentHash::of_input(numbers, texts).with_label(&label);
            assert_eq!(&named.0[..], hash);
        }
    }
    categories.sort();
    categories
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_about_somebody_is_gone_whatever_it_came_in() {
    let service = TestService::start_with(&["--no-worker"]).await;
    let api = &service.api;
    let features =
        json!([{"name": "x", "type": "numeric"}, {"name": "city", "type": "categorical"}]);
    let model = json!({"name": "m", "input": {"kind": "tabular", "features": features},
                       "schedule": {"paused": true}});
    api.post("/v1/models", model).await.expect(201);
    let sample = |x: f64, city: &str, subject: Value| json!({"input": {"x": x, "city": city}, "label": "a", "id": city, "subject": subject});
    let samples = [
        sample(1.0, "Ulm", json!("ann")),
        sample(2.5, "Kiel", json!("bob")),
        sample(3.0, "Bonn", json!(null)),
    ];
    let path = "/v1/models/m/batches";
    let batch = api.post(path, json!({"samples": samples})).await.expect(202);
    let lines = format!("{}\n", sample(4.0, "Köln", json!("ann")));
    api.post_text(path, "application/x-ndjson", lines).await.expect(202);
    let rows = "city,subject,label,x\nTrier,ann,b,5\nJena,bob,b,6\nHof,,b,7\n";
    api.post_text(path, "text/csv", rows).await.expect(202);
    let bad = json!({"samples": [sample(8.0, "Verl", json!(""))]});
    assert_eq!(api.post(path, bad).await.expect(202)["batch"]["rejected"], 1);

    let pool = service.database.pool().await;
    let all = ["Bonn", "Hof", "Jena", "Kiel", "Köln", "Trier", "Ulm"];
    assert_eq!(stored_categories(&pool).await, all);
    let of_ann = "/v1/models/m/samples?subject=ann";
    let forgotten = api.delete(of_ann).await.expect(200);
    assert_eq!(forgotten, json!({"samples": 3, "versions": [], "update": null}));
    assert_eq!(stored_categories(&pool).await, ["Bonn", "Hof", "Jena", "Kiel"]);
    assert_eq!(api.delete(of_ann).await.expect(200)["samples"], 0);
    assert_eq!(api.delete("/v1/models/m/samples?id=Bonn").await.expect(200)["samples"], 1);
    assert_eq!(stored_categories(&pool).await, ["Hof", "Jena", "Kiel"]);
    // The block of the one line is gone with it; its batch is told of as before.
    let blocks: i64 =
        sqlx::query_scalar("SELECT count(*) FROM blocks").fetch_one(&pool).await.unwrap();
    assert_eq!(blocks, 2);
    assert_eq!(api.get(path).await.expect(200)["items"].as_array().unwrap().len(), 4);
    // What was forgotten may come again.
    let again = api.post(path, json!({"samples": samples})).await.expect(202);
    assert_eq!(
        (&again["batch"]["accepted"], &again["batch"]["duplicates"]),
        (&json!(2), &json!(1))
    );
    let id = batch["batch"]["id"].as_str().unwrap();
    assert_eq!(api.delete(&format!("{path}/{id}")).await.expect(200)["samples"], 1);
    assert_eq!(stored_categories(&pool).await, ["Bonn", "Hof", "Jena", "Ulm"]);

    let long = "x".repeat(257);
    for query in ["", "?id=a&subject=b", "?id=", "?subject=%00", &format!("?id={long}"), "?who=a"] {
        api.delete(&format!("/v1/models/m/samples{query}")).await.problem(422);
    }
    api.delete("/v1/models/none/samples?id=a").await.problem(404);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn versions_that_learnt_it_are_told_and_the_rest_is_learnt_again() {
    let service = TestService::start().await;
    let api = &service.api;
    api.create_model("m", 8).await;
    api.patch("/v1/models/m", json!({"gate": {"max_drop": null}})).await.expect(200);
    send(api, &blobs(&["a", "b"], 100, 8, 1), "one", 1000, "ann").await;
    assert_eq!(api.update("m").await["version"], 1);
    send(api, &blobs(&["b", "c"], 100, 8, 2), "two", 4, "ann").await;
    let second = api.update("m").await;
    assert_eq!(second["version"], 2);
    api.put("/v1/models/m/aliases/kept", json!({"version": 2})).await.expect(200);
    send(api, &blobs(&["d"], 5, 8, 3), "three", 1, "carl").await;
    // What no version has learnt is nothing to learn again.
    let forgotten = api.delete("/v1/models/m/samples?subject=carl&relearn=true").await.expect(200);
    assert_eq!(forgotten, json!({"samples": 5, "versions": [], "update": null}));

    // One of the first batch is about ann, too: no version that can answer has not learnt of her.
    assert_eq!(
        api.delete("/v1/models/m/samples?id=one-0").await.expect(200)["versions"],
        json!([1, 2])
    );
    let forgotten = api.delete("/v1/models/m/samples?subject=ann&relearn=true").await.expect(200);
    assert_eq!((&forgotten["samples"], &forgotten["versions"]), (&json!(50), &json!([2])));
    let update = api.wait(forgotten["update"]["id"].as_str().unwrap()).await;
    assert_eq!(
        (&update["outcome"], &update["version"]),
        (&json!("published"), &json!(3)),
        "{update}"
    );
    assert_eq!(update["report"]["samples"]["pending"], 150);
    let version = api.get("/v1/models/m/versions/3").await.expect(200);
    assert_eq!((&version["parent"], &version["aliases"]), (&json!(1), &json!(["live"])));
    assert_eq!(counts(api).await, (199 + 150, 0));
    // Neither update tells of them any more.
    for (update, told) in [(&second, 150), (&update, 150)] {
        let path = format!("/v1/updates/{}/selection?limit=200", update["id"].as_str().unwrap());
        let mut named = Vec::new();
        let mut cursor = String::new();
        loop {
            let page = api.get(&format!("{path}{cursor}")).await.expect(200);
            let ids = page["items"].as_array().unwrap().iter().map(|row| row["id"].clone());
            named.extend(ids.map(|id| id.as_str().unwrap().to_owned()));
            match page["next_cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => break,
            }
        }
        let of_second: Vec<_> = named.iter().filter(|id| id.starts_with("two-")).collect();
        assert_eq!(of_second.len(), told);
        let is_forgotten = |id: &str| id[4..].parse::<usize>().unwrap().is_multiple_of(4);
        assert!(of_second.iter().all(|id| !is_forgotten(id)), "{of_second:?}");
        assert!(!named.contains(&"one-0".to_owned()));
    }

    // Without its first batch there is no version to go back to: all is learnt anew.
    let batches = api.get("/v1/models/m/batches").await.expect(200);
    let first = batches["items"].as_array().unwrap().last().unwrap()["id"].as_str().unwrap();
    let path = format!("/v1/models/m/batches/{first}?relearn=true");
    let forgotten = api.delete(&path).await.expect(200);
    assert_eq!((&forgotten["samples"], &forgotten["versions"]), (&json!(199), &json!([1, 2, 3])));
    let update = api.wait(forgotten["update"]["id"].as_str().unwrap()).await;
    assert_eq!(
        (&update["outcome"], &update["version"]),
        (&json!("published"), &json!(4)),
        "{update}"
    );
    let version = api.get("/v1/models/m/versions/4").await.expect(200);
    assert_eq!((&version["parent"], &version["labels"]), (&Value::Null, &json!(["b", "c"])));
    assert_eq!(counts(api).await, (150, 0));
    let inputs: Vec<Vec<f32>> = blobs(&["c"], 5, 8, 9).into_iter().map(|(x, _)| x).collect();
    assert_eq!(api.labels("m", &inputs).await, ["c"; 5]);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_update_that_has_read_what_is_forgotten_starts_over() {
    let service = TestService::start().await;
    let api = &service.api;
    api.create_model("m", 8).await;
    send(api, &blobs(&["a", "b"], 50, 8, 1), "one", 2, "ann").await;
    let update = update_in_training(api, "m", 200, &blobs(&["a", "b"], 1500, 8, 2)).await;
    let forgotten = api.delete("/v1/models/m/samples?subject=ann").await.expect(200);
    assert_eq!(forgotten["samples"], 50);
    let done = api.wait(&update).await;
    assert_eq!((&done["attempt"], &done["outcome"]), (&json!(2), &json!("published")), "{done}");
    assert_eq!(done["report"]["samples"]["pending"], 3_050);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_done_to_models_is_written_down_and_what_is_refused_is_not() {
    let service = TestService::start_with(&["--no-worker"]).await;
    let api = &service.api;
    api.create_model("m", 2).await;
    api.post("/v1/models", json!({"name": "m", "input": {"kind": "tabular", "dim": 2}}))
        .await
        .problem(409);
    api.patch("/v1/models/m", json!({"schedule": {"min_samples": 7}})).await.expect(200);
    api.patch("/v1/models/m", json!({"schedule": {"min_samples": 0}})).await.problem(422);
    send(api, &blobs(&["a"], 4, 2, 1), "one", 2, "ann").await;
    let queued = api.post("/v1/models/m/updates", json!({})).await.expect(202);
    let update = format!("/v1/updates/{}", queued["id"].as_str().unwrap());
    api.post(&format!("{update}/cancel"), json!({})).await.expect(202);
    api.post(&format!("{update}/cancel"), json!({})).await.problem(409);
    api.post(&format!("{update}/retry"), json!({})).await.expect(202);
    api.delete("/v1/models/m/samples?subject=ann").await.expect(200);
    let batch = api.get("/v1/models/m/batches").await.expect(200)["items"][0]["id"].clone();
    let path = format!("/v1/models/m/batches/{}", batch.as_str().unwrap());
    api.delete(&path).await.expect(200);
    api.delete(&path).await.problem(404);
    assert_eq!(api.delete("/v1/models/m").await.status, 204);

    let mut entries = Vec::new();
    let mut cursor = String::new();
    loop {
        let page = api.get(&format!("/v1/audit?limit=3{cursor}")).await.expect(200);
        entries.extend(page["items"].as_array().unwrap().clone());
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    entries.reverse();
    let actions: Vec<_> = entries.iter().map(|entry| entry["action"].as_str().unwrap()).collect();
    assert_eq!(
        actions,
        [
            "model_created",
            "model_patched",
            "update_cancelled",
            "update_retried",
            "samples_deleted",
            "batch_deleted",
            "model_deleted"
        ]
    );
    assert!(entries.iter().all(|entry| entry["model"] == "m" && entry["actor"].is_null()));
    let schedule = &entries[1]["detail"]["schedule"];
    assert_eq!(schedule["min_samples"], 7);
    assert_eq!(entries[1]["detail"].as_object().unwrap().len(), 1, "only what was changed");
    assert_eq!(entries[2]["detail"]["update"], queued["id"]);
    let detail = json!({"by": "subject", "samples": 2, "versions": [], "update": null});
    assert_eq!(entries[4]["detail"], detail);
    assert_eq!(
        (&entries[5]["detail"]["by"], &entries[5]["detail"]["samples"]),
        (&json!({"batch": batch}), &json!(2))
    );
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn held_out_samples_are_kept_from_update_to_update_until_one_of_the_model_is_deleted() {
    let service = TestService::start().await;
    let (api, pool) = (&service.api, service.database.pool().await);
    api.create_model("m", 8).await;
    let naive = json!({"learning": {"strategy": "naive", "counterfactual": false}});
    api.patch("/v1/models/m", naive).await.expect(200);
    for seed in 1..=2 {
        send(api, &blobs(&["a", "b"], 100, 8, seed), &format!("batch-{seed}"), 1_000, "s").await;
        assert_eq!(api.update("m").await["outcome"], "published");
    }

    // Of the first batch nothing can be read from here on.
    let damage = "UPDATE blocks SET payload = 'x' WHERE id = (SELECT min(id) FROM blocks)";
    assert_eq!(sqlx::query(damage).execute(&pool).await.unwrap().rows_affected(), 1);
    send(api, &blobs(&["a", "b"], 100, 8, 3), "batch-3", 1_000, "s").await;
    let update = api.update("m").await;
    assert_eq!(update["outcome"], "published", "{update}");
    let held_out = "SELECT count(*) FROM samples WHERE held_out";
    let held_out: i64 = sqlx::query_scalar(held_out).fetch_one(&pool).await.unwrap();
    assert_eq!(update["report"]["evaluation"]["held_out"], held_out);

    api.delete("/v1/models/m/samples?id=batch-2-0").await.expect(200);
    send(api, &blobs(&["a", "b"], 100, 8, 4), "batch-4", 1_000, "s").await;
    let failed = api.update("m").await;
    assert_eq!(failed["status"], "failed", "{failed}");
    assert!(failed["error"]["detail"].as_str().unwrap().contains("block"), "{failed}");
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_kept_of_held_out_samples_is_what_would_be_read() {
    let checkpoints = async |restarts: bool| {
        let mut service = TestService::start().await;
        service.api.create_model("m", 8).await;
        let mut checkpoints = Vec::new();
        for seed in 1..=4 {
            let api = &service.api;
            let prefix = format!("batch-{seed}");
            send(api, &blobs(&["a", "b", "c"], 100, 8, seed), &prefix, 1_000, "s").await;
            if seed == 4 {
                api.delete("/v1/models/m/samples?id=batch-2-0").await.expect(200);
            }
            assert_eq!(api.update("m").await["outcome"], "published");
            let version = api.get(&format!("/v1/models/m/versions/{seed}")).await.expect(200);
            let Value::Object(mut evaluation) = version["evaluation"].clone() else { panic!() };
            evaluation.remove("seconds");
            checkpoints.push((version["checkpoint"]["sha256"].clone(), evaluation));
            if restarts {
                let (database, dir) = service.stop().await;
                service = TestService::start_on(database, dir, &[]).await;
            }
        }
        service.stop().await;
        checkpoints
    };
    assert_eq!(checkpoints(false).await, checkpoints(true).await);
}
