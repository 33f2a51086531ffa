//! What those who run the service ask it in gRPC's own words: is it ready (grpc.health.v1), and what does it
//! speak (grpc.reflection).

use std::pin::Pin;
use std::time::Duration;

use axum::Router;
use futures_util::{Stream, stream};
use tokio::sync::Semaphore;
use tonic::server::NamedService;
use tonic::{Request, Response, Status};
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_server::{Health, HealthServer};
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};
use tonic_reflection::server::Builder;

use super::super::super::HttpState;
use super::super::super::error::{Problem, ProblemCode};
use super::super::super::health::failing_check;
use super::proto::DESCRIPTOR;
use super::proto::grpc_inference_service_server::SERVICE_NAME;

/// How often it is looked for those who watch.
const LOOK: Duration = Duration::from_secs(5);

/// Those who may watch at a time: for each it is looked again and again.
static WATCHERS: Semaphore = Semaphore::const_new(64);

/// The services' routes.
///
/// # Errors
/// When a descriptor cannot be read.
pub(super) fn routes(state: &HttpState) -> Result<Router, tonic_reflection::server::Error> {
    let reflection = || {
        Builder::configure()
            .register_encoded_file_descriptor_set(DESCRIPTOR)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    let (new, old) = (reflection().build_v1()?, reflection().build_v1alpha()?);
    Ok(Router::new()
        .route_service(&path_of(&new), new)
        .route_service(&path_of(&old), old)
        .route_service(
            "/grpc.health.v1.Health/{call}",
            HealthServer::new(Readiness(state.clone())),
        ))
}

fn path_of<S: NamedService>(_: &S) -> String {
    format!("/{}/{{call}}", S::NAME)
}

/// The service is what `/readyz` says, and so is each service within it.
struct Readiness(HttpState);

type Watched = Pin<Box<dyn Stream<Item = Result<HealthCheckResponse, Status>> + Send>>;

#[tonic::async_trait]
impl Health for Readiness {
    type WatchStream = Watched;

    async fn check(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        match is_known(request.get_ref()) {
            true => Ok(Response::new(response(serving(&self.0).await))),
            false => Err(Problem::not_found("service of this name").into()),
        }
    }

    async fn watch(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<Watched>, Status> {
        let is_known = is_known(request.get_ref());
        let Ok(place) = WATCHERS.try_acquire() else {
            return Err(Problem::new(ProblemCode::Overloaded, "too many watch; ask instead").into());
        };
        let watching = (self.0.clone(), None, place);
        let next = move |(state, last, place)| async move {
            let now = change(&state, is_known, last).await?;
            Some((Ok(response(now)), (state, Some(now), place)))
        };
        Ok(Response::new(Box::pin(stream::unfold(watching, next))))
    }
}

fn response(status: ServingStatus) -> HealthCheckResponse {
    HealthCheckResponse { status: status.into() }
}

fn is_known(request: &HealthCheckRequest) -> bool {
    ["", SERVICE_NAME].contains(&request.service.as_str())
}

async fn serving(state: &HttpState) -> ServingStatus {
    match failing_check(state).await {
        None => ServingStatus::Serving,
        Some(_) => ServingStatus::NotServing,
    }
}

/// What it is once that is no longer `last`; none when the service ends. Who watches what is not known is told so, and
/// kept: gRPC has it that it might become known.
async fn change(
    state: &HttpState,
    is_known: bool,
    last: Option<ServingStatus>,
) -> Option<ServingStatus> {
    loop {
        // Looked at first: what ends meanwhile is still to be told.
        let ends = state.shutdown.is_cancelled();
        let now = match is_known {
            true => serving(state).await,
            false => ServingStatus::ServiceUnknown,
        };
        if last != Some(now) {
            return Some(now);
        }
        if ends {
            return None;
        }
        state.shutdown.run_until_cancelled(tokio::time::sleep(LOOK)).await;
    }
}
