//! The latency of predictions while the live version changes.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::Served;
use crate::client::{Connection, latencies, quantile, speed};
use crate::models::{as_json, images, import, learn};

/// The share of the service's capacity that is asked for.
const LOAD: f64 = 0.4;
const TIME: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_millis(100);

/// Prints latencies without and beside changes; an answer that is none ends the program.
pub async fn measure() {
    let served = Served::start().await;
    let api = &served.api;
    import(api, "m", 1).await;
    let vectors: Vec<Value> = images(320, 7).iter().map(|image| json!(image)).collect();
    learn(api, "m", &vectors).await;
    let questions = as_json("/v1/models/m/predict", &vectors, 1, false);
    let rate = LOAD * speed(&served.address, &questions).await;
    let steady = latencies(&served.address, &questions, rate, TIME).await;
    let began = Instant::now();
    let swap = async {
        let mut n = 0;
        while began.elapsed() < TIME {
            let version = json!({"version": 1 + n % 2});
            api.put("/v1/models/m/aliases/live", version).await.expect(200);
            n += 1;
            tokio::time::sleep_until((began + PAUSE * n).into()).await;
        }
        n
    };
    let watch = async {
        let mut connection = Connection::open(&served.address).await;
        let mut seen = std::collections::BTreeMap::<i64, usize>::new();
        while began.elapsed() < TIME {
            let answer = String::from_utf8(connection.ask(&questions[0]).await.to_vec()).unwrap();
            let (head, body) = answer.split_once("\r\n\r\n").unwrap();
            let body: Value = serde_json::from_str(body).unwrap();
            let version = body["version"].as_i64().unwrap();
            assert!(head.contains(&format!("x-perennial-version: {version}")), "{head}");
            *seen.entry(version).or_default() += 1;
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        seen
    };
    let asked = latencies(&served.address, &questions, rate, TIME);
    let (swaps, seen, swapping) = tokio::join!(swap, watch, asked);
    let [a, b] = [&swapping, &steady].map(|sorted| quantile(sorted, 0.99));
    println!(
        "swapping: {swaps} changes, {} answers, none failed, versions seen {seen:?}; p99 {a:.2} ms, \
         {b:.2} ms without, ratio {:.2} (to stay under: 2)\n",
        swapping.len(),
        a / b
    );
    served.stop();
}
