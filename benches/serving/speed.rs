//! How many predictions a second, against a handler that answers a constant.

use serde_json::{Value, json};

use crate::client::{Questions, speed, speed_and_p99};
use crate::models::{as_json, as_tensor, images, import, teach};
use crate::support::median;
use crate::{DIM, Served, constant};

/// Inputs of each kind.
const N: usize = 320;
/// Vectors of a large request.
const MANY: usize = 64;

/// Prints the ratios.
pub async fn measure() {
    let served = Served::start().await;
    let (_process, theirs) = constant().await;
    let api = &served.api;
    import(api, "vector", 1).await;
    let vectors = images(N, 7);
    let numbers: Vec<Value> = vectors.iter().map(|image| json!(image)).collect();
    let sentence =
        |i: usize| json!(format!("Where is my card number {i}, and when will it arrive?"));
    let sentences: Vec<Value> = (0..N).map(sentence).collect();
    teach(api, "text", json!({"kind": "text"}), &sentences).await;
    let pixels = |image: &Vec<f32>| image.iter().map(|x| (x * 255.0) as u8).collect::<Vec<u8>>();
    let pictures: Vec<Value> = vectors.iter().map(|image| json!(pixels(image))).collect();
    let image = json!({"kind": "image", "width": 28, "height": 28, "channels": 1});
    teach(api, "image", image, &pictures).await;

    let ask = |model: &str, inputs: &[Value]| {
        as_json(&format!("/v1/models/{model}/predict"), inputs, 1, false)
    };
    let compare = async |what: &str, ours: Questions, baseline: Questions, goal: &str| {
        let (mut ratios, mut speeds, mut tails) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..3 {
            let (a, p99) = speed_and_p99(&served.address, &ours).await;
            let (b, p99_constant) = speed_and_p99(&theirs, &baseline).await;
            println!(
                "{what}: {a:.0} requests/s, p99 {p99:.2} ms; constant handler {b:.0}, {p99_constant:.2} ms; \
                 ratios {:.2}, {:.2}",
                a / b,
                p99 / p99_constant
            );
            ratios.push(a / b);
            speeds.push(a);
            tails.push(p99 / p99_constant);
        }
        println!(
            "{what} / constant, medians: {:.2}, of p99 {:.2} ({goal})\n",
            median(ratios),
            median(tails)
        );
        median(speeds)
    };
    let vector = ask("vector", &numbers);
    compare(
        "vector",
        vector,
        as_json("/vectors", &numbers, 1, false),
        "to reach: 0.60, p99 under 2",
    )
    .await;
    let infer = "/v2/models/vector/infer";
    let binary = as_tensor(infer, &vectors, 1);
    let single =
        compare("binary", binary, as_tensor("/tensor", &vectors, 1), "to reach: 0.80").await;
    let text = ask("text", &sentences);
    compare("short text", text, as_json("/texts", &sentences, 1, false), "to reach: 0.33").await;
    let picture = ask("image", &pictures);
    compare("image", picture, as_json("/vectors", &pictures, 1, false), "no goal is set").await;

    let large = as_tensor(infer, &vectors, MANY);
    let many = MANY as f64 * speed(&served.address, &large).await;
    println!(
        "{MANY} vectors of {DIM} a request, binary: {many:.0} vectors/s, {:.1} of one a request \
         (to reach: 5)\n",
        many / single
    );
    served.stop();
}
