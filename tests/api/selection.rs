//! What becomes of samples that contradict each other or lie far out, as clients see it.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::support::{Api, TestService, blobs};

/// Samples with the id `prefix` and their place.
fn named(prefix: &str, samples: &[(Vec<f32>, &str)]) -> Vec<Value> {
    let named = |(place, (input, label)): (usize, &(Vec<f32>, &str))| json!({"input": input, "label": label, "id": format!("{prefix}{place}")});
    samples.iter().enumerate().map(named).collect()
}

/// Sends `samples` and answers the update that learns them.
async fn learn(api: &Api, samples: &[Value]) -> Value {
    let body = json!({"samples": samples});
    let batch = api.post("/v1/models/m/batches?update=now", body).await.expect(202);
    assert_eq!(batch["batch"]["accepted"], samples.len(), "{batch}");
    let update = api.wait(batch["update"]["id"].as_str().unwrap()).await;
    assert_eq!(update["outcome"], "published", "{update}");
    update
}

/// Ids of the samples for which an update decided so.
async fn decided(api: &Api, update: &Value, decision: &str) -> BTreeSet<String> {
    let path = format!("/v1/updates/{}/selection?limit=200", update["id"].as_str().unwrap());
    let (mut decided, mut cursor) = (BTreeSet::new(), String::new());
    loop {
        let page = api.get(&format!("{path}{cursor}")).await.expect(200);
        let rows = page["items"].as_array().unwrap().iter();
        let rows = rows.filter(|row| row["decision"] == decision);
        decided.extend(rows.map(|row| row["id"].as_str().unwrap().to_owned()));
        let Some(next) = page["next_cursor"].as_str() else { return decided };
        cursor = format!("&cursor={next}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_newer_label_of_an_input_counts_within_an_update_and_after_it() {
    let service = TestService::start().await;
    let api = &service.api;
    api.create_model("m", 8).await;
    api.patch("/v1/models/m", json!({"gate": {"max_drop": null, "max_class_drop": null}})).await;
    let samples = blobs(&["a", "b"], 100, 8, 1);
    let relabelled = |range: std::ops::Range<usize>| -> Vec<(Vec<f32>, &str)> {
        samples[range].iter().map(|(input, _)| (input.clone(), "b")).collect()
    };

    // The first 30 come twice in one update, and the later label is the one that counts.
    let mut both = named("old", &samples);
    both.extend(named("new", &relabelled(0..30)));
    let update = learn(api, &both).await;
    let contradictory = decided(api, &update, "contradictory").await;
    assert_eq!(contradictory.len(), 30, "held out or not");
    assert!(contradictory.iter().all(|id| id.starts_with("old")), "{contradictory:?}");
    let counts = &update["report"]["samples"];
    assert_eq!(counts["dropped_by_reason"]["contradictory label"], contradictory.len());
    assert_eq!(counts["superseded"], 0);

    // The next 30 come again in a second update: what they correct is out from then on.
    let update = learn(api, &named("newer", &relabelled(30..60))).await;
    assert_eq!(update["report"]["samples"]["superseded"], 30);
    let update = learn(api, &named("last", &blobs(&["a", "b"], 20, 8, 2))).await;
    let replayed = decided(api, &update, "replayed").await;
    assert!(contradictory.is_disjoint(&replayed), "what was dropped is not replayed");
    let corrected: BTreeSet<String> = (30..60).map(|place| format!("old{place}")).collect();
    assert!(corrected.is_disjoint(&replayed), "what was corrected is not replayed");
    assert!(replayed.iter().filter(|id| id.starts_with("newer")).count() > 20, "{replayed:?}");
    assert!(replayed.iter().filter(|id| id.starts_with("old")).count() > 80, "{replayed:?}");
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outlier_that_is_held_back_is_told_of_and_not_replayed() {
    let service = TestService::start().await;
    let api = &service.api;
    api.create_model("m", 8).await;
    let settings = json!({"selection": {"outliers": "hold_back"}});
    api.patch("/v1/models/m", settings).await.expect(200);
    let mut samples = blobs(&["a", "b"], 100, 8, 1);
    for place in 0..4 {
        // Each in a direction of its own: together they would be a cluster.
        let mut far = vec![0.0; 8];
        far[place] = 100.0;
        samples.push((far, "a"));
    }
    let update = learn(api, &named("", &samples)).await;
    let outliers = decided(api, &update, "outlier").await;
    assert!(!outliers.is_empty());
    assert!(outliers.iter().all(|id| id.parse::<usize>().unwrap() >= 200), "{outliers:?}");
    let report = &update["report"];
    assert_eq!(report["samples"]["dropped_by_reason"]["outlier"], outliers.len());
    assert_eq!(report["selection"]["outliers"], outliers.len());
    let update = learn(api, &named("next", &blobs(&["a", "b"], 50, 8, 2))).await;
    let replayed = decided(api, &update, "replayed").await;
    assert!(replayed.len() > 100 && replayed.is_disjoint(&outliers));
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_update_of_contradictions_alone_has_nothing_to_learn_and_holds_up_nothing() {
    let service = TestService::start().await;
    let api = &service.api;
    api.create_model("m", 8).await;
    let settings = json!({"learning": {"contradictory": "reject"}});
    api.patch("/v1/models/m", settings).await.expect(200);
    let mut samples = blobs(&["a", "b"], 20, 8, 1);
    let other = |label: &str| if label == "a" { "b" } else { "a" };
    samples.extend(samples.clone().into_iter().map(|(input, label)| (input, other(label))));
    api.send_samples("m", &samples).await;
    let update = api.update("m").await;
    let ended = (&update["status"], &update["outcome"], &update["version"]);
    assert_eq!(ended, (&json!("succeeded"), &json!("nothing_to_learn"), &Value::Null), "{update}");
    let counts = &update["report"]["samples"];
    assert_eq!(counts["dropped_by_reason"], json!({"contradictory label": 80}), "held out or not");
    assert_eq!((&counts["used"], &counts["held_out"]), (&json!(0), &json!(0)));
    let model = api.get("/v1/models/m").await.expect(200);
    assert_eq!((&model["live_version"], &model["pending_samples"]), (&Value::Null, &json!(80)));

    let update = learn(api, &named("", &blobs(&["a", "b"], 50, 8, 2))).await;
    assert_eq!(update["report"]["samples"]["dropped_by_reason"]["contradictory label"], 80);
    assert_eq!(api.get("/v1/models/m").await.expect(200)["pending_samples"], 0);
    service.stop().await;
}
