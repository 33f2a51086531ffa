//! What clients of gRPC are refused: in which words, by which code, and for which keys.

use perennial::app::Service;
use tonic::codec::CompressionEncoding;
use tonic::transport::Channel;
use tonic::{Code, Request, Status};
use tonic_types::StatusExt;

use super::proto::infer_parameter::ParameterChoice;
use super::proto::model_infer_request::{InferInputTensor, InferRequestedOutputTensor};
use super::proto::{
    InferParameter, InferTensorContents, ModelInferRequest, ModelInferResponse, ModelReadyRequest,
    ModelStatisticsRequest, RepositoryIndexRequest, ServerLiveRequest, ServerMetadataRequest,
    ServerReadyRequest,
};
use super::{Client, asks, channel, client, tensor, with_model, zeros};
use crate::keys::{create, revoke, until};
use crate::support::{Database, TestService, readable_dir, serve_args};

#[tokio::test(flavor = "multi_thread")]
async fn refusals_say_what_is_wrong_and_where() {
    let service = with_model(&["--max-body-bytes", "100000"]).await;
    service.api.create_model("empty", 8).await;
    let mut client = client(&service).await;
    let row = || vec![tensor("input", &[1, 8], "FP32")];
    let typed = |numbers: usize| InferTensorContents {
        fp32_contents: vec![0.0; numbers],
        ..Default::default()
    };
    let typed = |numbers| {
        asks("m", vec![InferInputTensor { contents: Some(typed(numbers)), ..row().remove(0) }], &[])
    };
    let with = |change: fn(&mut ModelInferRequest)| {
        let mut request = zeros("m");
        change(&mut request);
        request
    };
    fn output(name: &str, classes: Option<i64>) -> InferRequestedOutputTensor {
        let parameter =
            |n| InferParameter { parameter_choice: Some(ParameterChoice::Int64Param(n)) };
        let parameters = classes.map(|n| ("classification".to_owned(), parameter(n)));
        InferRequestedOutputTensor {
            name: name.to_owned(),
            parameters: parameters.into_iter().collect(),
        }
    }
    fn one() -> InferTensorContents {
        InferTensorContents { fp32_contents: vec![1.0], ..Default::default() }
    }
    fn shared(request: &mut ModelInferRequest) {
        let there =
            InferParameter { parameter_choice: Some(ParameterChoice::StringParam("r".to_owned())) };
        request.inputs[0].parameters.insert("shared_memory_region".to_owned(), there);
    }
    for (request, code, words) in [
        (zeros("none"), Code::NotFound, "there is no model none"),
        (zeros("No Name"), Code::NotFound, "there is no model of this name"),
        (zeros(""), Code::NotFound, "there is no model of this name"),
        (zeros("empty"), Code::Unavailable, "has no version yet"),
        (with(|it| it.model_version = "9".to_owned()), Code::NotFound, "there is no version 9"),
        (with(|it| it.model_version = "live".to_owned()), Code::NotFound, "version of this number"),
        (
            with(|it| it.inputs[0].shape = vec![1, 7]),
            Code::InvalidArgument,
            "/inputs/0/shape: the model takes a tensor of shape [n, 8]",
        ),
        (with(|it| it.inputs[0].shape = vec![-1, 8]), Code::InvalidArgument, "/inputs/0/shape"),
        (
            with(|it| it.inputs[0].datatype = "FP99".to_owned()),
            Code::InvalidArgument,
            "/inputs/0/datatype: unknown variant `FP99`",
        ),
        (
            with(|it| it.raw_input_contents[0] = vec![0; 31].into()),
            Code::InvalidArgument,
            "/inputs/0",
        ),
        (
            with(|it| it.raw_input_contents.push(vec![].into())),
            Code::InvalidArgument,
            "2 are given for 1 tensors",
        ),
        (
            with(|it| it.inputs[0].contents = Some(one())),
            Code::InvalidArgument,
            "both contents and raw_input_contents",
        ),
        (
            with(|it| it.raw_input_contents.clear()),
            Code::InvalidArgument,
            "neither contents nor raw_input_contents",
        ),
        (with(shared), Code::InvalidArgument, "shared memory is not taken here"),
        (typed(7), Code::InvalidArgument, "has 7 elements, the shape [1, 8]"),
        (asks("m", vec![], &[]), Code::InvalidArgument, "the model takes one tensor, 0 are given"),
        (
            with(|it| it.outputs = vec![output("nothing", None)]),
            Code::InvalidArgument,
            "/outputs/0/name: unknown variant `nothing`",
        ),
        (
            with(|it| it.outputs = vec![output("probabilities", Some(-1))]),
            Code::InvalidArgument,
            "classification is a number",
        ),
        (
            with(|it| it.outputs = vec![output("label", Some(1))]),
            Code::InvalidArgument,
            "classification is of probabilities",
        ),
    ] {
        let status = client.model_infer(request).await.unwrap_err();
        assert_eq!(status.code(), code, "{status}");
        assert!(status.message().contains(words), "{status}");
    }
    let wrong = client.model_infer(with(|it| it.inputs[0].shape = vec![1, 7])).await.unwrap_err();
    let details = wrong.get_error_details();
    assert_eq!(details.error_info().unwrap().reason, "INVALID");
    assert_eq!(details.bad_request().unwrap().field_violations[0].field, "/inputs/0/shape");
    assert!(wrong.metadata().contains_key("x-request-id"));
    let not_yet = client.model_infer(zeros("empty")).await.unwrap_err();
    assert_eq!(not_yet.get_error_details().error_info().unwrap().reason, "CONFLICT");

    // Messages that are too long as they come, or once they are unpacked; calls that are none.
    let long = asks("m", row(), &[vec![0; 200_000]]);
    let status = client.clone().model_infer(long.clone()).await.unwrap_err();
    assert_eq!(
        (status.code(), status.message()),
        (Code::ResourceExhausted, "the message is over the size limit")
    );
    for how in [CompressionEncoding::Gzip, CompressionEncoding::Deflate] {
        let mut packing = client.clone().send_compressed(how);
        let status = packing.model_infer(long.clone()).await.unwrap_err();
        assert_eq!(status.code(), Code::ResourceExhausted, "{how}");
    }
    let mut unknown = tonic::client::Grpc::new(channel(&service).await);
    unknown.ready().await.unwrap();
    let codec = tonic_prost::ProstCodec::<ServerLiveRequest, ServerLiveRequest>::default();
    let path = "/inference.GRPCInferenceService/ModelConfig".parse().unwrap();
    let status = unknown.unary(Request::new(ServerLiveRequest {}), path, codec).await.unwrap_err();
    assert_eq!(status.code(), Code::Unimplemented, "{status}");
    // All the same the connection goes on. A field that is left empty, as MLServer's client does, is none.
    let mut classes = zeros("m");
    classes.inputs[0].contents = Some(InferTensorContents::default());
    classes.outputs = vec![output("probabilities", Some(1))];
    let answer = client.model_infer(classes).await.unwrap().into_inner();
    assert_eq!(
        (&*answer.outputs[0].datatype, &answer.outputs[0].shape[..]),
        ("BYTES", &[1, 1][..])
    );
    service.stop().await;
}

fn with_key<T>(message: T, key: &str) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("authorization", format!("Bearer {key}").parse().unwrap());
    request
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_open_what_they_open_over_http() {
    let service = with_model(&[]).await;
    service.api.create_model("other", 8).await;
    let database = &service.database;
    let [reads, predicts] = ["read", "predict"].map(|scope| create(database, &["--scope", scope]));
    let of_other = create(database, &["--scope", "predict", "--model", "other"]);
    let once = create(database, &["--scope", "predict", "--rate", "2"]);
    let client = client(&service).await;
    until(&service.api, "/v1/models", 401).await;
    until(&service.api.with_key(&once), "/v2/models/none", 404).await;
    let infer = async |key: Option<&str>| {
        let request = key.map_or_else(|| Request::new(zeros("m")), |key| with_key(zeros("m"), key));
        client.clone().model_infer(request).await
    };
    // A stream is no way around a rate: one request was just asked over HTTP.
    let stream = futures_util::stream::iter([zeros("m"), zeros("m")]);
    let mut answers =
        client.clone().model_stream_infer(with_key(stream, &once)).await.unwrap().into_inner();
    assert_eq!(answers.message().await.unwrap().unwrap().error_message, "");
    let refused = answers.message().await.unwrap().unwrap().error_message;
    assert!(refused.contains("only 2 requests a minute"), "{refused}");
    let refused = infer(Some(&once)).await.unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted);
    let seconds = refused.get_error_details().retry_info().unwrap().retry_delay.unwrap().as_secs();
    assert!((1..=30).contains(&seconds), "{seconds}");

    let code = |answer: Result<tonic::Response<ModelInferResponse>, Status>| {
        answer.map_or_else(|status| status.code(), |_| Code::Ok)
    };
    for (key, expected) in [
        (None, Code::Unauthenticated),
        (Some("wrong"), Code::Unauthenticated),
        (Some(&*reads), Code::PermissionDenied),
        (Some(&*predicts), Code::Ok),
        // As if the model were not there.
        (Some(&*of_other), Code::NotFound),
    ] {
        assert_eq!(code(infer(key).await), expected, "{key:?}");
    }
    let stream = futures_util::stream::iter([zeros("other"), zeros("m")]);
    let mut answers =
        client.clone().model_stream_infer(with_key(stream, &of_other)).await.unwrap().into_inner();
    for words in ["has no version yet", "there is no model m"] {
        let answer = answers.message().await.unwrap().unwrap();
        assert!(answer.error_message.contains(words), "{}", answer.error_message);
    }
    let all = client
        .clone()
        .repository_index(with_key(RepositoryIndexRequest::default(), &of_other))
        .await;
    let all = all.unwrap_err();
    assert_eq!(
        (all.code(), all.message().contains("for these models alone: other")),
        (Code::PermissionDenied, true)
    );
    let all = client
        .clone()
        .model_statistics(with_key(ModelStatisticsRequest::default(), &of_other))
        .await;
    assert_eq!(all.unwrap_err().code(), Code::PermissionDenied);
    for key in [&reads, &predicts] {
        client
            .clone()
            .repository_index(with_key(RepositoryIndexRequest::default(), key))
            .await
            .unwrap();
    }
    // Open to all.
    let mut open = client.clone();
    open.server_live(ServerLiveRequest {}).await.unwrap();
    open.server_ready(ServerReadyRequest {}).await.unwrap();
    open.server_metadata(ServerMetadataRequest {}).await.unwrap();
    assert_eq!(
        open.model_ready(ModelReadyRequest::default()).await.unwrap_err().code(),
        Code::Unauthenticated
    );

    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_ends_when_its_key_is_revoked() {
    let service = with_model(&[]).await;
    let key = create(&service.database, &["--scope", "predict"]);
    until(&service.api, "/v1/models", 401).await;
    let mut client = client(&service).await;
    let (sender, requests) = tokio::sync::mpsc::channel(1);
    let requests = futures_util::stream::unfold(requests, |mut requests| async {
        Some((requests.recv().await?, requests))
    });
    let mut answers =
        client.model_stream_infer(with_key(requests, &key)).await.unwrap().into_inner();
    sender.send(zeros("m")).await.unwrap();
    assert_eq!(answers.message().await.unwrap().unwrap().error_message, "");
    revoke(&service.database, &key);
    assert_eq!(answers.message().await.unwrap_err().code(), Code::Unauthenticated);
    service.stop().await;
}

#[tokio::test]
async fn where_others_reach_it_grpc_needs_a_key_to_start() {
    let (database, dir) = (Database::create().await, readable_dir());
    let everywhere = ["--grpc-listen", "0.0.0.0:0"];
    let args = serve_args(&database.url, dir.path(), &everywhere);
    let refused = Service::start(&args.settings, true, false).await.err().unwrap().to_string();
    assert!(refused.contains("perennial key create") && refused.contains("0.0.0.0:0"), "{refused}");
    create(&database, &["--scope", "read"]);
    let service = TestService::start_on(database, dir, &everywhere).await;
    let port = service.grpc.as_ref().unwrap().rsplit(':').next().unwrap().to_owned();
    let channel = Channel::from_shared(format!("http://127.0.0.1:{port}")).unwrap();
    let mut client = Client::new(channel.connect().await.unwrap());
    assert_eq!(client.model_infer(zeros("m")).await.unwrap_err().code(), Code::Unauthenticated);
    service.stop().await;
}
