//! The Open Inference Protocol over HTTP: what a client of it finds, asks and is refused. Answers are
//! compared with those of `…/predict`.

mod descriptions;
mod refusals;

use std::io::Cursor;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use image::{ImageFormat, Rgb, RgbImage};
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Answer, Api, TestService, blobs};

/// Creates a model of this input, and teaches it `samples`, each `{"input": …, "label": …}`.
pub async fn teach(api: &Api, name: &str, input: Value, samples: Vec<Value>) {
    let hidden = json!({"kind": "mlp", "hidden": [32]});
    let network = match &input["kind"] {
        kind if kind == "text" => json!({"kind": "text", "embedding": 32}),
        _ => hidden,
    };
    let model = json!({"name": name, "input": input, "network": network,
                       "schedule": {"paused": true}});
    api.post("/v1/models", model).await.expect(201);
    let path = format!("/v1/models/{name}/batches");
    api.post(&path, json!({"samples": samples})).await.expect(202);
    assert_eq!(api.update(name).await["outcome"], "published", "{name}");
}

/// Four models, one of each kind: `vectors`, `rows`, `texts` and `images`.
pub async fn teach_all(api: &Api) {
    let sample = |input: Value, label: &str| json!({"input": input, "label": label});
    let vectors = blobs(&["a", "b", "c"], 100, 8, 1);
    let vectors = vectors.into_iter().map(|(input, label)| sample(json!(input), label)).collect();
    teach(api, "vectors", json!({"kind": "tabular", "dim": 8}), vectors).await;
    let features =
        json!([{"name": "x", "type": "numeric"}, {"name": "city", "type": "categorical"}]);
    let rows = (0..300).map(|i| {
        let city = ["Ulm", "Bonn", "Kiel"][i % 3];
        sample(json!({"x": i, "city": city}), if city == "Ulm" { "south" } else { "north" })
    });
    teach(api, "rows", json!({"kind": "tabular", "features": features}), rows.collect()).await;
    let texts = (0..200).map(|i| match i % 2 {
        0 => sample(json!(format!("the striker scored goal number {i}")), "sport"),
        _ => sample(json!(format!("the bank sold share number {i}")), "money"),
    });
    teach(api, "texts", json!({"kind": "text", "buckets": 1024}), texts.collect()).await;
    let images = (0..200).map(|i| {
        let (pixels, label) = pixels(i);
        sample(json!(pixels), label)
    });
    let input = json!({"kind": "image", "width": 8, "height": 8, "channels": 3});
    teach(api, "images", input, images.collect()).await;
}

/// The pixels of a dark image or of a bright one.
pub fn pixels(i: u32) -> (Vec<u8>, &'static str) {
    let (light, label) = [(40, "dark"), (200, "bright")][i as usize % 2];
    ((0..192).map(|at| light + ((at * 7 + i) % 50) as u8).collect(), label)
}

pub fn png(pixels: &[u8]) -> Vec<u8> {
    let image = RgbImage::from_fn(8, 8, |x, y| {
        let at = (y * 8 + x) as usize * 3;
        Rgb([pixels[at], pixels[at + 1], pixels[at + 2]])
    });
    let mut file = Cursor::new(Vec::new());
    image.write_to(&mut file, ImageFormat::Png).unwrap();
    file.into_inner()
}

/// Checks that this is a refusal of the protocol, and gives its words.
#[track_caller]
pub fn refused(answer: Answer, status: u16) -> String {
    assert_eq!(answer.status, status, "{}", answer.body);
    assert_eq!(answer.header("content-type"), "application/json");
    let members = answer.body.as_object().map(|body| body.len());
    assert_eq!(members, Some(1), "{}", answer.body);
    answer.body["error"].as_str().unwrap().to_owned()
}

fn tensor(name: &str, shape: Value, datatype: &str, data: Value) -> Value {
    json!({"name": name, "shape": shape, "datatype": datatype, "data": data})
}

async fn infer(api: &Api, model: &str, inputs: Value) -> Value {
    let answer = api.post(&format!("/v2/models/{model}/infer"), json!({"inputs": inputs})).await;
    assert_eq!(answer.header("x-perennial-version"), "1", "{}", answer.body);
    answer.expect(200)
}

/// Sends JSON with `bytes` behind it.
async fn infer_bytes(api: &Api, path: &str, json: &Value, bytes: &[u8]) -> reqwest::Response {
    let json = json.to_string();
    let request = api
        .request(Method::POST, path)
        .header("inference-header-content-length", json.len())
        .header("content-type", "application/octet-stream");
    request.body([json.as_bytes(), bytes].concat()).send().await.unwrap()
}

/// An answer whose tensors are bytes behind its JSON, as if they were in it.
async fn unpacked(answer: reqwest::Response) -> Value {
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.headers()["content-type"], "application/octet-stream");
    let length = answer.headers()["inference-header-content-length"].to_str().unwrap();
    let length: usize = length.parse().unwrap();
    let body = answer.bytes().await.unwrap();
    let (json, mut rest) = body.split_at(length);
    let mut answer: Value = serde_json::from_slice(json).unwrap();
    for output in answer["outputs"].as_array_mut().unwrap() {
        let output = output.as_object_mut().unwrap();
        let Some(parameters) = output.remove("parameters") else { continue };
        let size = parameters["binary_data_size"].as_u64().unwrap() as usize;
        let (tensor, behind) = rest.split_at(size);
        rest = behind;
        let data = match output["datatype"] == "FP32" {
            true => {
                let numbers = tensor.as_chunks().0.iter();
                let numbers: Vec<f32> = numbers.map(|number| f32::from_le_bytes(*number)).collect();
                // In as few digits as tell them apart.
                serde_json::from_str(&serde_json::to_string(&numbers).unwrap()).unwrap()
            }
            false => json!(texts(tensor)),
        };
        assert_eq!(output.insert("data".to_owned(), data), None);
    }
    assert!(rest.is_empty());
    answer
}

/// The elements of a tensor of BYTES.
fn texts(mut bytes: &[u8]) -> Vec<String> {
    let mut texts = Vec::new();
    while let Some((length, behind)) = bytes.split_first_chunk() {
        let (text, rest) = behind.split_at(u32::from_le_bytes(*length) as usize);
        texts.push(String::from_utf8(text.to_vec()).unwrap());
        bytes = rest;
    }
    texts
}

/// Checks an answer of all outputs against what `…/predict` says about the same inputs.
async fn check(api: &Api, model: &str, answer: &Value, inputs: Value) {
    let n = inputs.as_array().unwrap().len();
    let path = format!("/v1/models/{model}/predict");
    let ours = api.post(&path, json!({"inputs": inputs, "top_k": 9})).await.expect(200);
    let labels = api.get(&format!("/v1/models/{model}/versions/1")).await.expect(200);
    let labels = labels["labels"].as_array().unwrap();
    assert_eq!((&answer["model_name"], &answer["model_version"]), (&json!(model), &json!("1")));
    let [probabilities, label] = answer["outputs"].as_array().unwrap().as_slice() else {
        panic!("{answer}");
    };
    assert_eq!(
        (&probabilities["name"], &probabilities["datatype"], &probabilities["shape"]),
        (&json!("probabilities"), &json!("FP32"), &json!([n, labels.len()]))
    );
    assert_eq!(
        (&label["name"], &label["datatype"], &label["shape"]),
        (&json!("label"), &json!("BYTES"), &json!([n]))
    );
    for (i, prediction) in ours["predictions"].as_array().unwrap().iter().enumerate() {
        assert_eq!(label["data"][i], prediction["label"]);
        for scored in prediction["top"].as_array().unwrap() {
            let place = labels.iter().position(|label| *label == scored["label"]).unwrap();
            let said = &probabilities["data"][i * labels.len() + place];
            assert_eq!(*said, scored["probability"], "{answer}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_model_answers_as_predict_does() {
    let service = TestService::start().await;
    let api = &service.api;
    teach_all(api).await;

    let points: Vec<Vec<f32>> =
        blobs(&["c", "a"], 1, 8, 9).into_iter().map(|(input, _)| input).collect();
    let flat: Vec<f32> = points.concat();
    for data in [json!(points), json!(flat)] {
        let answer =
            infer(api, "vectors", json!([tensor("input", json!([2, 8]), "FP32", data)])).await;
        check(api, "vectors", &answer, json!(points)).await;
        assert_eq!(answer["outputs"][1]["data"], json!(["c", "a"]));
    }
    let inputs = json!([
        tensor("city", json!([2, 1]), "BYTES", json!(["Ulm", "Kiel"])),
        tensor("x", json!([2]), "INT64", json!([7, 8])),
    ]);
    let answer = infer(api, "rows", inputs).await;
    check(api, "rows", &answer, json!([{"x": 7, "city": "Ulm"}, {"x": 8, "city": "Kiel"}])).await;
    let texts = json!(["a late goal", "the bank's profit"]);
    let answer =
        infer(api, "texts", json!([tensor("text", json!([2]), "BYTES", texts.clone())])).await;
    check(api, "texts", &answer, texts).await;
    let (dark, _) = pixels(300);
    for (shape, datatype, data) in [
        (json!([1, 8, 8, 3]), "UINT8", json!(dark)),
        (json!([1, 192]), "FP32", json!([dark])),
        (json!([1]), "BYTES", json!([STANDARD.encode(png(&dark))])),
    ] {
        let answer = infer(api, "images", json!([tensor("image", shape, datatype, data)])).await;
        check(api, "images", &answer, json!([dark])).await;
        assert_eq!(answer["outputs"][1]["data"], json!(["dark"]));
    }

    // A body of one tensor alone, and a number of a version.
    let bytes: Vec<u8> = points[0].iter().flat_map(|x| x.to_le_bytes()).collect();
    for (model, body, input) in [
        ("vectors", bytes, json!(points[0])),
        ("texts", b"a late goal".to_vec(), json!("a late goal")),
        ("images", png(&dark), json!(dark)),
    ] {
        let request = api
            .request(Method::POST, &format!("/v2/models/{model}/versions/1/infer"))
            .header("inference-header-content-length", 0);
        let answer = unpacked(request.body(body).send().await.unwrap()).await;
        check(api, model, &answer, json!([input])).await;
    }
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tensors_come_and_go_as_bytes() {
    let service = TestService::start().await;
    let api = &service.api;
    teach_all(api).await;
    let (dark, bright) = (pixels(300).0, pixels(301).0);
    let files = [&png(&dark)[..], &png(&bright)]
        .map(|file| [&(file.len() as u32).to_le_bytes()[..], file].concat());
    let bytes = files.concat();
    let input = json!({"name": "image", "shape": [2], "datatype": "BYTES",
                       "parameters": {"binary_data_size": bytes.len()}});
    let path = "/v2/models/images/infer";
    let plain = infer_bytes(api, path, &json!({"inputs": [input]}), &bytes).await;
    assert!(plain.headers().get("inference-header-content-length").is_none());
    let plain: Value = plain.json().await.unwrap();
    check(api, "images", &plain, json!([dark, bright])).await;

    let request = json!({"id": "mine", "inputs": [input], "outputs": [
        {"name": "probabilities", "parameters": {"binary_data": true}},
        {"name": "label"}]});
    let answer = unpacked(infer_bytes(api, path, &request, &bytes).await).await;
    assert_eq!((&answer["id"], &answer["outputs"]), (&json!("mine"), &plain["outputs"]));

    let request = json!({"inputs": [input], "outputs": [
        {"name": "probabilities", "parameters": {"classification": 1}}]});
    let answer: Value = infer_bytes(api, path, &request, &bytes).await.json().await.unwrap();
    assert_eq!(answer["outputs"][0]["shape"], json!([2, 1]));
    let classes = answer["outputs"][0]["data"].as_array().unwrap();
    for (class, label) in classes.iter().zip(["dark", "bright"]) {
        let mut parts = class.as_str().unwrap().split(':');
        let (value, place) = (parts.next().unwrap(), parts.next().unwrap());
        assert!(value.parse::<f32>().unwrap() > 0.5 && place.parse::<usize>().unwrap() < 2);
        assert_eq!(parts.next(), Some(label));
    }

    // Lengths that lie, and bytes that nobody announced.
    for (length, json) in [(9_999_999, json!({"inputs": [input]})), (3, json!({"inputs": [input]}))]
    {
        let request =
            api.request(Method::POST, path).header("inference-header-content-length", length);
        refused(api.send(request.body(json.to_string())).await, 400);
    }
    for cut in [0, 1, 20, bytes.len() - 1] {
        let answer = infer_bytes(api, path, &json!({"inputs": [input]}), &bytes[..cut]).await;
        assert_eq!(answer.status(), 400);
        assert!(answer.json::<Value>().await.unwrap()["error"].is_string());
    }
    service.stop().await;
}
