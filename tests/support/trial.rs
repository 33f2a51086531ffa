//! Trials of kills: models that publish whatever they learn, batches that are sent until they are accepted,
//! and what must hold when all is over.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::{Value, json};

use super::process::ready;
use super::{Api, blobs};

pub const DIM: usize = 8;
/// Longest that anything may take before it counts as stuck.
pub const PATIENCE: Duration = Duration::from_secs(120);

pub async fn pause(ms: u64) {
    tokio::time::sleep(Duration::from_millis(ms)).await;
}

/// A model that publishes whatever it has learnt.
pub async fn create_model(api: &Api, name: &str, hidden: &[usize], epochs: u32) {
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

/// Sends a batch of so many samples of each of two labels that asks for an update, to one address after the other, as
/// often as it takes to be answered; gives how many samples it has.
pub async fn send(apis: &[Api], model: &str, round: u64, per_label: usize, seed: u64) -> u64 {
    let samples: Vec<Value> = blobs(&["a", "b"], per_label, DIM, seed)
        .into_iter()
        .map(|(input, label)| json!({"input": input, "label": label}))
        .collect();
    let path = format!("/v1/models/{model}/batches?update=now");
    let began = Instant::now();
    for api in apis.iter().cycle() {
        let request = api.request(Method::POST, &path);
        let request = request.header("idempotency-key", format!("{model}-{round}"));
        match request.json(&json!({"samples": &samples})).send().await {
            Ok(answer) if answer.status() == 202 => {
                // Cut off after its head: what became of it the next try tells.
                if let Ok(answer) = answer.json::<Value>().await {
                    assert_eq!(answer["batch"]["accepted"], samples.len(), "{answer}");
                    return samples.len() as u64;
                }
            }
            // Being answered for the one before, which a death cut off; or nothing to store it in.
            Ok(answer) => assert!(matches!(answer.status().as_u16(), 409 | 503), "{answer:?}"),
            Err(_) => {}
        }
        assert!(began.elapsed() < PATIENCE, "a batch for {model} is not accepted");
        pause(20).await;
    }
    panic!("nobody to send a batch to");
}

/// All items of a list.
pub async fn all(api: &Api, path: &str) -> Vec<Value> {
    let (mut items, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = api.get(&format!("{path}?limit=200{cursor}")).await.expect(200);
        items.extend(page["items"].as_array().unwrap().iter().cloned());
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return items,
        }
    }
}

/// All updates of the service at `address`, once none is queued or running any more.
pub async fn all_ended(address: &str) -> Vec<Value> {
    let api = ready(address).await;
    let began = Instant::now();
    loop {
        let updates = all(&api, "/v1/updates").await;
        if updates.iter().all(|update| !update["finished_at"].is_null()) {
            return updates;
        }
        assert!(began.elapsed() < PATIENCE, "updates are stuck: {updates:#?}");
        pause(100).await;
    }
}

/// Every update succeeded, and those that published made one version each, without a gap; nothing is
/// pending. Gives the number of versions.
pub async fn check_versions(api: &Api, models: &[&str], updates: &[Value]) -> usize {
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
    let mut n_versions = 0;
    for model in models {
        let versions = all(api, &format!("/v1/models/{model}/versions")).await;
        let made_by: BTreeSet<(u64, &str)> = versions
            .iter()
            .map(|v| (v["version"].as_u64().unwrap(), v["update"].as_str().unwrap()))
            .collect();
        let published: BTreeSet<(u64, &str)> = updates
            .iter()
            .filter(|update| update["model"] == *model)
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
        n_versions += numbers.len();
    }
    n_versions
}
