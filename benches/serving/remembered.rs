//! What remembering predictions costs.

use serde_json::{Value, json};

use crate::Served;
use crate::client::speed;
use crate::models::{as_json, images, import};
use crate::support::median;

/// Prints the ratio.
pub async fn measure() {
    let served = Served::start().await;
    import(&served.api, "m", 1).await;
    // Another vector each time: blocks of one and the same would be small.
    let vectors: Vec<Value> = images(320, 7).iter().map(|image| json!(image)).collect();
    let ask = |remember| as_json("/v1/models/m/predict", &vectors, 1, remember);
    let (plain, remembered) = (ask(false), ask(true));
    let mut ratios = Vec::new();
    for _ in 0..5 {
        let a = speed(&served.address, &remembered).await;
        let b = speed(&served.address, &plain).await;
        println!("remembered: {a:.0} requests/s; plain {b:.0}; ratio {:.2}", a / b);
        ratios.push(a / b);
    }
    println!("remembered / plain, median: {:.2} (to reach: 0.90)\n", median(ratios));
    served.stop();
}
