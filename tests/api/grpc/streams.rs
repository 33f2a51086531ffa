//! What stays open over gRPC, and what the service is asked in gRPC's own words.

use std::time::{Duration, Instant};

use tonic::Code;
use tonic::transport::Channel;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_reflection::pb::v1::ServerReflectionRequest;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;
use tonic_types::StatusExt;

use super::proto::{ModelInferRequest, RepositoryIndexRequest, ServerReadyRequest};
use super::{Client, GRPC, channel, client, with_model, zeros};
use crate::support::TestService;

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_is_answered_in_order_and_goes_on_after_a_refusal() {
    let service = with_model(&[]).await;
    let mut client = client(&service).await;
    let request = |model: &str, id: usize| ModelInferRequest { id: id.to_string(), ..zeros(model) };
    let requests: Vec<_> =
        ["m", "none", "m"].iter().enumerate().map(|(id, model)| request(model, id)).collect();
    let mut answers =
        client.model_stream_infer(futures_util::stream::iter(requests)).await.unwrap().into_inner();
    let alone = client.model_infer(zeros("m")).await.unwrap().into_inner();
    for id in 0..3 {
        let answer = answers.message().await.unwrap().unwrap();
        let said = answer.infer_response.unwrap();
        assert_eq!(said.id, id.to_string());
        match id {
            1 => assert_eq!(
                (&*answer.error_message, &*said.model_name),
                ("there is no model none", "none")
            ),
            _ => assert_eq!(
                (answer.error_message, said.outputs, said.raw_output_contents),
                (String::new(), alone.outputs.clone(), alone.raw_output_contents.clone())
            ),
        }
    }
    assert!(answers.message().await.unwrap().is_none());

    // Streams that are open end with the service, which does not wait for their clients.
    let (sender, requests) = tokio::sync::mpsc::channel(1);
    let requests = futures_util::stream::unfold(requests, |mut requests| async {
        Some((requests.recv().await?, requests))
    });
    let mut open = client.model_stream_infer(requests).await.unwrap().into_inner();
    sender.send(zeros("m")).await.unwrap();
    assert!(open.message().await.unwrap().is_some());
    let mut health = HealthClient::new(channel(&service).await);
    let all = || HealthCheckRequest { service: String::new() };
    let mut watched = health.watch(all()).await.unwrap().into_inner();
    // A machine that is busy may find the database late.
    while watched.message().await.unwrap().unwrap().status() != ServingStatus::Serving {}
    let stopping = tokio::spawn(service.stop());
    assert_eq!(open.message().await.unwrap_err().code(), Code::Unavailable);
    let last = watched.message().await.unwrap().unwrap();
    assert_eq!(last.status(), ServingStatus::NotServing);
    assert!(watched.message().await.unwrap().is_none());
    stopping.await.unwrap();
    drop(sender);
}

#[tokio::test(flavor = "multi_thread")]
async fn health_and_reflection_are_told_in_grpcs_own_words() {
    let service = TestService::start_with(&GRPC).await;
    let channel = channel(&service).await;
    let mut health = HealthClient::new(channel.clone());
    let ask = |service: &str| HealthCheckRequest { service: service.to_owned() };
    for name in ["", "inference.GRPCInferenceService"] {
        let said = health.check(ask(name)).await.unwrap().into_inner();
        assert_eq!(said.status(), ServingStatus::Serving);
    }
    assert_eq!(health.check(ask("none")).await.unwrap_err().code(), Code::NotFound);
    let mut watched = health.watch(ask("none")).await.unwrap().into_inner();
    let said = watched.message().await.unwrap().unwrap();
    assert_eq!(said.status(), ServingStatus::ServiceUnknown);

    let question =
        |asked| ServerReflectionRequest { host: String::new(), message_request: Some(asked) };
    let questions = futures_util::stream::iter([
        question(MessageRequest::ListServices(String::new())),
        question(MessageRequest::FileContainingSymbol("inference.ModelInferRequest".to_owned())),
    ]);
    let mut reflection = ServerReflectionClient::new(channel);
    let mut answers = reflection.server_reflection_info(questions).await.unwrap().into_inner();
    let mut next = async || answers.message().await.unwrap().unwrap().message_response.unwrap();
    let MessageResponse::ListServicesResponse(listed) = next().await else { panic!("no list") };
    let listed: Vec<String> = listed.service.into_iter().map(|one| one.name).collect();
    for name in ["inference.GRPCInferenceService", "grpc.health.v1.Health"] {
        assert!(listed.contains(&name.to_owned()), "{listed:?}");
    }
    let MessageResponse::FileDescriptorResponse(files) = next().await else { panic!("no file") };
    assert_eq!(files.file_descriptor_proto.len(), 1);

    service.database.allow_connections(false).await;
    // What was found holds for a second.
    while health.check(ask("")).await.unwrap().into_inner().status() != ServingStatus::NotServing {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let mut client = client(&service).await;
    assert!(!client.server_ready(ServerReadyRequest {}).await.unwrap().get_ref().ready);
    let index = client.repository_index(RepositoryIndexRequest::default()).await.unwrap_err();
    assert_eq!(index.code(), Code::Unavailable);
    assert!(index.get_error_details().retry_info().is_some());
    service.database.allow_connections(true).await;
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_nobody_takes_gives_its_slot_back() {
    let service = with_model(&["--max-requests", "1", "--client-timeout-s", "1"]).await;
    // Its window never opens, so that no byte of an answer may be sent to it.
    let stuck = Channel::from_shared(service.grpc.clone().unwrap()).unwrap();
    let stuck = stuck.initial_stream_window_size(0).connect().await.unwrap();
    let asking = tokio::spawn(async move { Client::new(stuck).model_infer(zeros("m")).await });
    let began = Instant::now();
    let is_patient = || {
        assert!(began.elapsed() < Duration::from_secs(60));
        tokio::time::sleep(Duration::from_millis(20))
    };
    while service.api.get("/v2/models/m/stats").await.body["model_stats"][0]["inference_count"] != 1
    {
        is_patient().await;
    }
    let client = client(&service).await;
    while let Err(status) = client.clone().model_infer(zeros("m")).await {
        assert_eq!(status.code(), Code::Unavailable);
        is_patient().await;
    }
    asking.abort();
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_in_which_nothing_is_asked_for_long_ends() {
    let service = with_model(&["--client-timeout-s", "1"]).await;
    let (sender, requests) = tokio::sync::mpsc::channel(1);
    let requests = futures_util::stream::unfold(requests, |mut requests| async {
        Some((requests.recv().await?, requests))
    });
    let mut client = client(&service).await;
    let mut open = client.model_stream_infer(requests).await.unwrap().into_inner();
    sender.send(zeros("m")).await.unwrap();
    assert!(open.message().await.unwrap().is_some());
    // Ten times as long as a client may pause while it sends.
    assert_eq!(open.message().await.unwrap_err().code(), Code::DeadlineExceeded);
    service.stop().await;
}
