//! The latency of predictions beside an update that trains.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::Served;
use crate::client::{latencies, quantile, speed};
use crate::models::{as_json, images, import};
use crate::support::{Api, median};

/// Shares of the service's capacity that are asked for.
const LOADS: [f64; 3] = [0.1, 0.4, 0.7];
const TIME: Duration = Duration::from_secs(10);
/// Of which the middle is told.
const ROUNDS: usize = 3;

/// Latencies without an update, and beside one that trained at a share of its speed alone.
type Round = (Vec<Duration>, (Vec<Duration>, f64));

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
    // A round is the loads without an update, then the same beside one.
    let mut rounds = Vec::new();
    for _ in 0..ROUNDS {
        let mut idle = Vec::new();
        for load in LOADS {
            idle.push(at(load).await);
        }
        let update = Update::begin(api).await;
        let alone = update.speed(tokio::time::sleep(TIME / 2)).await.0;
        let mut busy = Vec::new();
        for load in LOADS {
            let (speed, latencies) = update.speed(at(load)).await;
            busy.push((latencies, speed / alone));
        }
        update.cancel().await;
        rounds.push(idle.into_iter().zip(busy));
    }
    let mut rounds: Vec<_> = rounds.into_iter().map(Iterator::collect::<Vec<_>>).collect();
    for load in LOADS.into_iter().rev() {
        let round: Vec<Round> = rounds.iter_mut().filter_map(Vec::pop).collect();
        let of = |figure: &dyn Fn(&Round) -> f64| median(round.iter().map(figure).collect());
        let [a, b] =
            [of(&|(_, (busy, _))| quantile(busy, 0.99)), of(&|(idle, _)| quantile(idle, 0.99))];
        let [c, d] =
            [of(&|(_, (busy, _))| quantile(busy, 0.5)), of(&|(idle, _)| quantile(idle, 0.5))];
        let ratio = of(&|(idle, (busy, _))| quantile(busy, 0.99) / quantile(idle, 0.99));
        let speed = of(&|(_, (_, speed))| *speed);
        println!(
            "training, at {:.0} % of capacity: p99 {a:.2} ms, {b:.2} ms without, ratio {ratio:.2} (to \
             stay under: 2); median {c:.2} ms, {d:.2} ms; it trained at {speed:.2} of its speed alone",
            100.0 * load,
        );
    }
    println!();
    served.stop();
}

/// An update that trains.
struct Update<'a> {
    api: &'a Api,
    path: String,
}

impl<'a> Update<'a> {
    async fn begin(api: &'a Api) -> Self {
        let update = api.post("/v1/models/busy/updates", json!({})).await.expect(202);
        let update = Self { api, path: format!("/v1/updates/{}", update["id"].as_str().unwrap()) };
        while update.get().await["phase"] != "train" {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        update
    }

    async fn get(&self) -> Value {
        self.api.get(&self.path).await.expect(200)
    }

    /// Its epochs a second while `other` goes on, and what that comes to.
    async fn speed<T>(&self, other: impl Future<Output = T>) -> (f64, T) {
        let n_epochs = async || self.get().await["report"]["epochs"].as_array().unwrap().len();
        let (began, before) = (Instant::now(), n_epochs().await);
        let other = other.await;
        let after = n_epochs().await;
        assert_eq!(self.get().await["status"], "running", "it trained all the while");
        ((after - before) as f64 / began.elapsed().as_secs_f64(), other)
    }

    async fn cancel(self) {
        let cancel = format!("{}/cancel", self.path);
        self.api.post(&cancel, json!({})).await.expect(202);
        while self.get().await["status"] == "running" {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}
