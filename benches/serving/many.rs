//! Many models in one service.

use std::time::Instant;

use serde_json::{Value, json};

use crate::Served;
use crate::client::{Connection, quantile};
use crate::models::{as_json, images, import};

const MODELS: usize = 200;

/// Prints what each model takes, and how soon one that was not loaded answers.
pub async fn measure() {
    let served = Served::start().await;
    let vectors: Vec<Value> = images(1, 7).iter().map(|image| json!(image)).collect();
    let ask = |model: usize| as_json(&format!("/v1/models/m{model}/predict"), &vectors, 1, false);
    let mut n_weights = import(&served.api, "m0", 0).await;
    let mut connection = Connection::open(&served.address).await;
    connection.ask(&ask(0)[0]).await;
    let before = served.megabytes();
    for model in 1..=MODELS {
        n_weights = import(&served.api, &format!("m{model}"), model as u64).await;
    }
    for model in 1..=MODELS {
        connection.ask(&ask(model)[0]).await;
    }
    let each = (served.megabytes() - before) / MODELS as f64;
    let weights = 4.0 * n_weights as f64 / (1 << 20) as f64;
    println!(
        "many: {MODELS} models take {each:.2} MB each, their weights {weights:.2} MB, ratio {:.2}",
        each / weights
    );
    // Room for a few, so that most have to be loaded when they are asked.
    let served = served.restarted(&["--serving-bytes", "20000000"]).await;
    let mut connection = Connection::open(&served.address).await;
    let mut cold = Vec::new();
    for model in 1..=MODELS {
        let question = &ask(model)[0];
        let asked_at = Instant::now();
        connection.ask(question).await;
        cold.push(asked_at.elapsed());
    }
    cold.sort_unstable();
    println!(
        "many: cold, answered in {:.1} ms in the middle, {:.1} ms at most (to stay under: 50)\n",
        quantile(&cold, 0.5),
        quantile(&cold, 1.0)
    );
    served.stop();
}
