//! The Open Inference Protocol over gRPC: what a client of it finds, asks and is refused. Answers are compared
//! with those over HTTP.

mod canaries;
mod refusals;
mod streams;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tonic::codec::CompressionEncoding;
use tonic::transport::Channel;

use self::proto::grpc_inference_service_client::GrpcInferenceServiceClient;
use self::proto::infer_parameter::ParameterChoice;
use self::proto::model_infer_request::InferInputTensor;
use self::proto::model_metadata_response::TensorMetadata;
use self::proto::{
    InferParameter, InferTensorContents, ModelInferRequest, ModelInferResponse,
    ModelMetadataRequest, ModelReadyRequest, ModelStatisticsRequest, RepositoryIndexRequest,
    ServerLiveRequest, ServerMetadataRequest, ServerReadyRequest,
};
use super::oip::{pixels, png, teach, teach_all};
use super::support::{Api, TestService, blobs};

#[expect(clippy::enum_variant_names, reason = "they are called as the protocol calls its fields")]
mod proto {
    include!(concat!(env!("CARGO_MANIFEST_DIR"), "/proto/inference.rs"));
}

type Client = GrpcInferenceServiceClient<Channel>;

pub const GRPC: [&str; 2] = ["--grpc-listen", "127.0.0.1:0"];

async fn channel(service: &TestService) -> Channel {
    Channel::from_shared(service.grpc.clone().unwrap()).unwrap().connect().await.unwrap()
}

async fn client(service: &TestService) -> Client {
    Client::new(channel(service).await)
}

/// Whether a model, or a version of it, is ready.
pub async fn is_ready(service: &TestService, name: &str, version: &str) -> bool {
    let request = ModelReadyRequest { name: name.to_owned(), version: version.to_owned() };
    client(service).await.model_ready(request).await.unwrap().get_ref().ready
}

/// A service with the model `m` of eight numbers, whose labels are `a` and `b`.
async fn with_model(more: &[&str]) -> TestService {
    let service = TestService::start_with(&[&GRPC, more].concat()).await;
    let samples = blobs(&["a", "b"], 100, 8, 1).into_iter();
    let samples = samples.map(|(input, label)| json!({"input": input, "label": label})).collect();
    teach(&service.api, "m", json!({"kind": "tabular", "dim": 8}), samples).await;
    service
}

fn tensor(name: &str, shape: &[i64], datatype: &str) -> InferInputTensor {
    InferInputTensor {
        name: name.to_owned(),
        datatype: datatype.to_owned(),
        shape: shape.to_vec(),
        ..Default::default()
    }
}

fn asks(model: &str, inputs: Vec<InferInputTensor>, raw: &[Vec<u8>]) -> ModelInferRequest {
    let raw_input_contents = raw.iter().map(|bytes| bytes.clone().into()).collect();
    let (model_name, id) = (model.to_owned(), "42".to_owned());
    ModelInferRequest { model_name, id, inputs, raw_input_contents, ..Default::default() }
}

fn floats(numbers: &[f32]) -> Vec<u8> {
    numbers.iter().flat_map(|number| number.to_le_bytes()).collect()
}

fn elements(elements: &[&[u8]]) -> Vec<u8> {
    let element = |element: &&[u8]| [&(element.len() as u32).to_le_bytes()[..], *element].concat();
    elements.iter().flat_map(element).collect()
}

/// A row of zeros for the model `m`, or for one named otherwise.
fn zeros(model: &str) -> ModelInferRequest {
    asks(model, vec![tensor("input", &[1, 8], "FP32")], &[floats(&[0.0; 8])])
}

/// Checks an answer of all outputs against what HTTP's `…/infer` says.
#[track_caller]
fn check(answer: &ModelInferResponse, http: &Value, is_raw: bool) {
    assert_eq!(json!(answer.model_name), http["model_name"]);
    assert_eq!(json!(answer.model_version), http["model_version"]);
    assert_eq!(answer.id, "42");
    let [probabilities, label] = &answer.outputs[..] else { panic!("{answer:?}") };
    for (output, http) in answer.outputs.iter().zip(http["outputs"].as_array().unwrap()) {
        assert_eq!(json!(output.name), http["name"]);
        assert_eq!(
            (json!(output.datatype), json!(output.shape)),
            (http["datatype"].clone(), http["shape"].clone())
        );
    }
    let said = |output: usize| http["outputs"][output]["data"].as_array().unwrap().iter();
    let numbers: Vec<f32> = said(0).map(|number| number.as_f64().unwrap() as f32).collect();
    let labels: Vec<&[u8]> = said(1).map(|label| label.as_str().unwrap().as_bytes()).collect();
    if is_raw {
        assert!(probabilities.contents.is_none() && label.contents.is_none());
        let [raw_numbers, raw_labels] = &answer.raw_output_contents[..] else {
            panic!("{answer:?}")
        };
        assert_eq!(
            (&raw_numbers[..], &raw_labels[..]),
            (&floats(&numbers)[..], &elements(&labels)[..])
        );
    } else {
        assert!(answer.raw_output_contents.is_empty());
        assert_eq!(probabilities.contents.as_ref().unwrap().fp32_contents, numbers);
        assert_eq!(label.contents.as_ref().unwrap().bytes_contents, labels);
    }
}

async fn over_http(api: &Api, model: &str, inputs: Value) -> Value {
    api.post(&format!("/v2/models/{model}/infer"), json!({"inputs": inputs})).await.expect(200)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_model_answers_as_over_http() {
    let service = TestService::start_with(&GRPC).await;
    teach_all(&service.api).await;
    let api = &service.api;
    let mut client = client(&service).await;

    let numbers: Vec<f32> = (0..16_u8).map(f32::from).collect();
    let text = ["a late goal", "the bank's profit, übermäßig"];
    let (dark, _) = pixels(300);
    let http = |name: &str, shape: Value, datatype: &str, data: Value| json!({"name": name, "shape": shape, "datatype": datatype, "data": data});
    let bytes = |texts: &[&str]| InferTensorContents {
        bytes_contents: texts.iter().map(|text| text.to_string().into()).collect(),
        ..Default::default()
    };
    let raw_texts =
        |texts: &[&str]| elements(&texts.iter().map(|text| text.as_bytes()).collect::<Vec<_>>());
    let uints = |numbers: &[u8]| InferTensorContents {
        uint_contents: numbers.iter().map(|&number| number.into()).collect(),
        ..Default::default()
    };
    let of_floats = InferTensorContents { fp32_contents: numbers.clone(), ..Default::default() };
    let of_longs = InferTensorContents { int64_contents: vec![7, 8], ..Default::default() };
    let longs = [7_i64, 8].map(i64::to_le_bytes).concat();
    let cases = [
        (
            "vectors",
            json!([http("input", json!([2, 8]), "FP32", json!(numbers))]),
            vec![(tensor("input", &[2, 8], "FP32"), of_floats, floats(&numbers))],
        ),
        (
            "rows",
            json!([
                http("city", json!([2, 1]), "BYTES", json!(["Ulm", "Kiel"])),
                http("x", json!([2]), "INT64", json!([7, 8]))
            ]),
            vec![
                (
                    tensor("city", &[2, 1], "BYTES"),
                    bytes(&["Ulm", "Kiel"]),
                    raw_texts(&["Ulm", "Kiel"]),
                ),
                (tensor("x", &[2], "INT64"), of_longs, longs),
            ],
        ),
        (
            "texts",
            json!([http("text", json!([2]), "BYTES", json!(text))]),
            vec![(tensor("text", &[2], "BYTES"), bytes(&text), raw_texts(&text))],
        ),
        (
            "images",
            json!([http("image", json!([1, 8, 8, 3]), "UINT8", json!(dark))]),
            vec![(tensor("image", &[1, 8, 8, 3], "UINT8"), uints(&dark), dark.clone())],
        ),
    ];
    for (model, http, tensors) in cases {
        let expected = over_http(api, model, http).await;
        let raw: Vec<Vec<u8>> = tensors.iter().map(|(_, _, raw)| raw.clone()).collect();
        let inputs = tensors.iter().map(|(tensor, _, _)| tensor.clone()).collect();
        let answer = client.model_infer(asks(model, inputs, &raw)).await.unwrap();
        assert_eq!(answer.metadata().get("x-perennial-version").unwrap(), "1");
        check(answer.get_ref(), &expected, true);
        let typed = tensors
            .into_iter()
            .map(|(tensor, contents, _)| InferInputTensor { contents: Some(contents), ..tensor });
        let request = asks(model, typed.collect(), &[]);
        check(client.model_infer(request).await.unwrap().get_ref(), &expected, false);
    }

    // Image files as they are and in base64, a number of a version, and a message that comes packed.
    let file = png(&dark);
    let expected =
        over_http(api, "images", json!([http("image", json!([1, 192]), "UINT8", json!(dark))]))
            .await;
    let mut request = asks("images", vec![tensor("image", &[1], "BYTES")], &[elements(&[&file])]);
    request.model_version = "1".to_owned();
    check(client.model_infer(request.clone()).await.unwrap().get_ref(), &expected, true);
    let base64 = Some(ParameterChoice::StringParam("base64".to_owned()));
    let base64 = InferParameter { parameter_choice: base64 };
    request.inputs[0].parameters.insert("content_type".to_owned(), base64);
    let text = STANDARD.encode(&file);
    request.raw_input_contents = vec![elements(&[text.as_bytes()]).into()];
    for how in [CompressionEncoding::Gzip, CompressionEncoding::Deflate] {
        let mut packing = client.clone().send_compressed(how);
        let answer = packing.model_infer(request.clone()).await.unwrap();
        check(answer.get_ref(), &expected, true);
    }
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_service_and_its_models_are_described_as_over_http() {
    let service = with_model(&[]).await;
    let api = &service.api;
    api.create_model("empty", 3).await;
    let mut client = client(&service).await;
    assert!(client.server_live(ServerLiveRequest {}).await.unwrap().get_ref().live);
    assert!(client.server_ready(ServerReadyRequest {}).await.unwrap().get_ref().ready);
    let server = client.server_metadata(ServerMetadataRequest {}).await.unwrap().into_inner();
    let http = api.get("/v2").await.expect(200);
    assert_eq!(
        json!({"name": server.name, "version": server.version, "extensions": server.extensions}),
        http
    );

    for (name, version) in [("m", ""), ("m", "1"), ("empty", "")] {
        let path = if version.is_empty() { String::new() } else { format!("/versions/{version}") };
        let http = api.get(&format!("/v2/models/{name}{path}")).await.expect(200);
        let request = ModelMetadataRequest { name: name.to_owned(), version: version.to_owned() };
        let said = client.model_metadata(request).await.unwrap().into_inner();
        let tensors = |tensors: Vec<TensorMetadata>| -> Vec<Value> {
            let tensor = |of: TensorMetadata| json!({"name": of.name, "datatype": of.datatype, "shape": of.shape});
            tensors.into_iter().map(tensor).collect()
        };
        let said = json!({"name": said.name, "versions": said.versions, "platform": said.platform,
                          "inputs": tensors(said.inputs), "outputs": tensors(said.outputs)});
        assert_eq!(said, http);
    }
    for (name, version, ready) in [
        ("m", "", true),
        ("m", "1", true),
        ("m", "2", false),
        ("m", "x", false),
        ("none", "", false),
        ("empty", "", false),
    ] {
        let request = ModelReadyRequest { name: name.to_owned(), version: version.to_owned() };
        assert_eq!(
            client.model_ready(request).await.unwrap().get_ref().ready,
            ready,
            "{name} {version}"
        );
    }
    for ready in [false, true] {
        let http = api.post("/v2/repository/index", json!({"ready": ready})).await.expect(200);
        let request = RepositoryIndexRequest { ready, ..Default::default() };
        let said = client.repository_index(request).await.unwrap().into_inner().models;
        let said: Vec<(String, String)> =
            said.into_iter().map(|one| (one.name, one.state)).collect();
        let http: Vec<(String, String)> = http
            .as_array()
            .unwrap()
            .iter()
            .map(|one| {
                (
                    one["name"].as_str().unwrap().to_owned(),
                    one["state"].as_str().unwrap().to_owned(),
                )
            })
            .collect();
        assert_eq!((said.len(), said), (if ready { 1 } else { 2 }, http));
    }

    // What is asked over either counts for both.
    client.model_infer(zeros("m")).await.unwrap();
    client.model_infer(asks("m", vec![], &[])).await.unwrap_err();
    let row = json!([{"name": "input", "shape": [2, 8], "datatype": "UINT8", "data": vec![0; 16]}]);
    over_http(api, "m", row).await;
    for (name, version) in [("m", "1"), ("m", ""), ("", "")] {
        let request = ModelStatisticsRequest { name: name.to_owned(), version: version.to_owned() };
        let said = client.model_statistics(request).await.unwrap().into_inner().model_stats;
        let said = said.iter().find(|one| one.name == "m").unwrap();
        assert_eq!((&*said.version, said.inference_count, said.execution_count), ("1", 3, 2));
        let stats = said.inference_stats.unwrap();
        assert_eq!((stats.success.unwrap().count, stats.fail.unwrap().count), (2, 1));
        assert!(stats.compute_infer.unwrap().ns > 0 && said.last_inference > 0);
    }
    service.stop().await;
}
