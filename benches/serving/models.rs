//! Models to be asked, and what they are asked.

use std::collections::HashMap;

use rand::{Rng, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;
use reqwest::Method;
use safetensors::tensor::{Dtype, TensorView};
use serde_json::{Value, json};

use crate::DIM;
use crate::client::{Questions, questions};
use crate::support::Api;

/// Units of the hidden layers.
const HIDDEN: [usize; 2] = [256, 256];
/// The head of requests in JSON.
const JSON: &str = "content-type: application/json";

/// Images of which half the pixels are zero; another seed gives others.
pub fn images(n: usize, seed: u64) -> Vec<Vec<f32>> {
    let mut random = Xoshiro256PlusPlus::seed_from_u64(seed);
    let mut pixel = || if random.gen_bool(0.5) { 0.0 } else { random.gen_range(0.0..1.0f32) };
    (0..n).map(|_| (0..DIM).map(|_| pixel()).collect()).collect()
}

/// `inputs` as JSON, so many a request.
pub fn as_json(path: &str, inputs: &[Value], at_once: usize, remember: bool) -> Questions {
    let body = |inputs: &[Value]| match remember {
        true => json!({"inputs": inputs, "remember": true}).to_string().into_bytes(),
        false => json!({"inputs": inputs}).to_string().into_bytes(),
    };
    questions(path, JSON, inputs.chunks_exact(at_once).map(body))
}

/// Vectors as a binary tensor of the Open Inference Protocol, so many a request.
pub fn as_tensor(path: &str, vectors: &[Vec<f32>], at_once: usize) -> Questions {
    let n_bytes = at_once * DIM * 4;
    let header = json!({
        "inputs": [{"name": "input", "shape": [at_once, DIM], "datatype": "FP32",
                    "parameters": {"binary_data_size": n_bytes}}],
        "outputs": [{"name": "label", "parameters": {"binary_data": true}}],
    })
    .to_string();
    let head = format!("inference-header-content-length: {}", header.len());
    let body = |vectors: &[Vec<f32>]| {
        let numbers = vectors.iter().flatten().flat_map(|number| number.to_le_bytes());
        header.bytes().chain(numbers).collect()
    };
    questions(path, &head, vectors.chunks_exact(at_once).map(body))
}

/// A model of this input that has learnt `inputs` under three labels.
pub async fn teach(api: &Api, name: &str, input: Value, inputs: &[Value]) {
    let model = json!({"name": name, "input": input, "schedule": {"paused": true}});
    api.post("/v1/models", model).await.expect(201);
    learn(api, name, inputs).await;
}

/// Another version of a model.
pub async fn learn(api: &Api, name: &str, inputs: &[Value]) {
    let sample =
        |(i, input): (usize, &Value)| json!({"input": input, "label": (i % 3).to_string()});
    let samples: Vec<Value> = inputs.iter().enumerate().map(sample).collect();
    let path = format!("/v1/models/{name}/batches");
    api.post(&path, json!({"samples": samples})).await.expect(202);
    assert_eq!(api.update(name).await["outcome"], "published");
}

/// A model of vectors with drawn weights; how many they are.
pub async fn import(api: &Api, name: &str, seed: u64) -> usize {
    let model = json!({"name": name, "input": {"kind": "tabular", "dim": DIM},
        "network": {"kind": "mlp", "hidden": HIDDEN}, "schedule": {"paused": true}});
    api.post("/v1/models", model).await.expect(201);
    let mut random = Xoshiro256PlusPlus::seed_from_u64(seed);
    let mut n_weights = 0;
    let mut tensors = HashMap::new();
    for (place, (n_in, n_out)) in
        [(DIM, HIDDEN[0]), (HIDDEN[0], HIDDEN[1]), (HIDDEN[1], 10)].into_iter().enumerate()
    {
        for (what, shape) in [("weight", vec![n_out, n_in]), ("bias", vec![n_out])] {
            let n: usize = shape.iter().product();
            let bound = 1.0 / (n_in as f32).sqrt();
            let mut weight = || random.gen_range(-bound..bound).to_le_bytes();
            let bytes: Vec<u8> = (0..n).flat_map(|_| weight()).collect();
            tensors.insert(format!("{place}.{what}"), (shape, bytes));
            n_weights += n;
        }
    }
    let labels: Vec<String> = (0..10).map(|label| label.to_string()).collect();
    let manifest = json!({"labels": labels, "mean": vec![0.25; DIM], "deviation": vec![0.3; DIM]});
    let views = tensors.iter().map(|(name, (shape, bytes))| {
        (name, TensorView::new(Dtype::F32, shape.clone(), bytes).unwrap())
    });
    let metadata = HashMap::from([("manifest".to_owned(), manifest.to_string())]);
    let file = safetensors::serialize(views, Some(metadata)).unwrap();
    let request = api.request(Method::PUT, &format!("/v1/models/{name}/versions/import"));
    let request = request.header("content-type", "application/octet-stream");
    api.send(request.body(file)).await.expect(201);
    n_weights
}
