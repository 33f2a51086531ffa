//! The latency of predictions beside an update that trains.

use std::time::Duration;

use serde_json::{Value, json};

use crate::Served;
use crate::client::{latencies, quantile, speed};
use crate::models::{as_json, images, import};

/// Shares of the service's capacity that are asked for.
const LOADS: [f64; 3] = [0.1, 0.4, 0.7];
const TIME: Duration = Duration::from_secs(10);

/// Prints latencies at some loads, without an update and beside one.
pub async fn measure() {
    let served = Served::start().await;
    let api = &served.api;
    import(api, "asked", 1).await;
    let vectors: Vec<Value> = images(320, 7).iter().map(|image| json!(image)).collect();
    let questions = as_json("/v1/models/asked/predict", &vectors, 1, false);
    // So long that it outlasts the measurements.
    let model = json!({"name": "busy", "input": {"kind": "tabular", "dim": 784},
        "learning": {"epochs": 1_000, "early_stopping": false}, "schedule": {"paused": true}});
    api.post("/v1/models", model).await.expect(201);
    let samples: Vec<Value> = images(5_000, 8)
        .into_iter()
        .enumerate()
        .map(|(i, image)| json!({"input": image, "label": (i % 10).to_string()}))
        .collect();
    api.post("/v1/models/busy/batches", json!({"samples": samples})).await.expect(202);

    let capacity = speed(&served.address, &questions).await;
    println!("training: capacity without an update {capacity:.0} requests/s");
    let at = async |load: f64| latencies(&served.address, &questions, load * capacity, TIME).await;
    let mut idle = Vec::new();
    for load in LOADS {
        idle.push(at(load).await);
    }
    let update = api.post("/v1/models/busy/updates", json!({})).await.expect(202);
    let path = format!("/v1/updates/{}", update["id"].as_str().unwrap());
    while api.get(&path).await.expect(200)["phase"] != "train" {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    for (load, idle) in LOADS.into_iter().zip(idle) {
        let busy = at(load).await;
        let [a, b] = [&busy, &idle].map(|sorted| quantile(sorted, 0.99));
        let [c, d] = [&busy, &idle].map(|sorted| quantile(sorted, 0.5));
        println!(
            "training, at {:.0} % of capacity: p99 {a:.2} ms, {b:.2} ms without, ratio {:.2} (to stay \
             under: 2); median {c:.2} ms, {d:.2} ms",
            100.0 * load,
            a / b
        );
    }
    assert_eq!(api.get(&path).await.expect(200)["status"], "running", "it trained all the while");
    api.post(&format!("{path}/cancel"), json!({})).await.expect(202);
    println!();
    served.stop();
}
