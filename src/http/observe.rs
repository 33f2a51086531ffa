//! What every request passes first and every answer last: a request id, a span, a log line, a
//! measurement, and the body of a refusal.
//!
//! Invariant: every refusal leaves as `application/problem+json`, also one that a library made; where
//! another protocol is spoken, as that one has it.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::Response;
use metrics::{Counter, Histogram};
use tracing::Instrument;
use uuid::Uuid;

use super::access::{self, scopes};
use super::error::Problem;
use super::foreign::{self, Refusal};
use super::oip::grpc;

const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// What a refusal is sent as.
pub const PROBLEM_JSON: &str = "application/problem+json";

/// Routes that are asked every few seconds.
const PROBES: [&str; 8] = [
    "/healthz",
    "/readyz",
    "/metrics",
    "/v2/health/live",
    "/v2/health/ready",
    "/inference.GRPCInferenceService/ServerLive",
    "/inference.GRPCInferenceService/ServerReady",
    "/grpc.health.v1.Health/{call}",
];

/// How refusals are written.
#[derive(Debug, Clone, Copy)]
pub enum Wire {
    /// As a body.
    Http,
    /// As a status of gRPC, in headers.
    Grpc,
}

/// The id that a request is known by, for a handler that writes problems itself.
#[derive(Debug, Clone)]
pub(super) struct RequestId(HeaderValue);

impl RequestId {
    /// The id, as it stands in the log.
    pub(super) fn as_str(&self) -> &str {
        self.0.to_str().unwrap_or_default()
    }
}

/// What looks at every request.
pub struct Observer {
    wire: Wire,
    meters: Meters,
}

impl Observer {
    /// One of requests on this wire.
    pub fn new(wire: Wire) -> Arc<Self> {
        Arc::new(Self { wire, meters: Meters::default() })
    }
}

/// The middleware around everything else.
pub async fn observe(
    State(observer): State<Arc<Observer>>,
    mut request: Request,
    next: Next,
) -> Response {
    let started_at = Instant::now();
    let id = request_id(request.headers());
    request.extensions_mut().insert(RequestId(id.clone()));
    let path = request.uri().path().to_owned();
    let seen = Seen {
        method: method_word(request.method()),
        route: request.extensions().get::<MatchedPath>().cloned(),
        is_prediction: scopes::is_prediction(request.method(), access::route_of(&request)),
    };
    let span = tracing::info_span!(
        "request",
        request_id = id.to_str().unwrap_or_default(),
        method = seen.method,
        path
    );
    async move {
        let response = next.run(request).await;
        let (mut response, status) = match observer.wire {
            Wire::Http => with_problem_body(response, &path, id.to_str().unwrap_or_default()),
            Wire::Grpc => grpc::refuse(response),
        };
        response.headers_mut().insert(X_REQUEST_ID, id);
        seen.record(&observer.meters, status, started_at.elapsed());
        response
    }
    .instrument(span)
    .await
}

/// The client's id where it is 1 to 128 visible ASCII characters, else a new one: it goes into log
/// lines and headers as it is.
fn request_id(headers: &HeaderMap) -> HeaderValue {
    let fits = |id: &&HeaderValue| {
        (1..=128).contains(&id.len()) && id.as_bytes().iter().all(u8::is_ascii_graphic)
    };
    headers.get(X_REQUEST_ID).filter(fits).cloned().unwrap_or_else(|| {
        HeaderValue::from_str(&Uuid::now_v7().to_string())
            .unwrap_or_else(|_| HeaderValue::from_static("unknown"))
    })
}

/// Clients choose methods freely; what is measured by method is bounded.
fn method_word(method: &Method) -> &'static str {
    match method.as_str() {
        "GET" => "GET",
        "HEAD" => "HEAD",
        "POST" => "POST",
        "PUT" => "PUT",
        "PATCH" => "PATCH",
        "DELETE" => "DELETE",
        "OPTIONS" => "OPTIONS",
        _ => "other",
    }
}

/// Where requests are measured, by route; of each by method and status: found once, since to file a
/// measurement under its labels takes longer than to take it.
#[derive(Default)]
struct Meters(RwLock<HashMap<String, OfRoute>>);

type OfRoute = Vec<(&'static str, u16, Meter)>;

/// Where requests to one route, of one method and one status, are measured.
struct Meter {
    requests: Counter,
    duration: Histogram,
}

impl Meters {
    /// Takes the measure of a request to `route`.
    fn measure(&self, route: &str, (method, code): (&'static str, u16), duration: Duration) {
        let routes = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let mut of_route = routes.get(route).into_iter().flatten();
        if let Some((.., meter)) = of_route.find(|of| (of.0, of.1) == (method, code)) {
            return meter.measure(duration);
        }
        drop(routes);
        let meter = Meter {
            requests: metrics::counter!("perennial_http_requests_total",
                "method" => method, "route" => route.to_owned(), "status" => code.to_string()),
            duration: metrics::histogram!("perennial_http_request_duration_seconds",
                "method" => method, "route" => route.to_owned()),
        };
        meter.measure(duration);
        let mut routes = self.0.write().unwrap_or_else(PoisonError::into_inner);
        routes.entry(route.to_owned()).or_default().push((method, code, meter));
    }
}

impl Meter {
    fn measure(&self, duration: Duration) {
        self.requests.increment(1);
        self.duration.record(duration.as_secs_f64());
    }
}

/// What a measurement is filed under.
struct Seen {
    method: &'static str,
    route: Option<MatchedPath>,
    is_prediction: bool,
}

impl Seen {
    fn record(&self, meters: &Meters, status: StatusCode, duration: Duration) {
        let route = self.route.as_ref().map_or("unmatched", MatchedPath::as_str);
        let Self { method, is_prediction, .. } = *self;
        let code = status.as_u16();
        meters.measure(route, (method, code), duration);
        let duration_ms = duration.as_secs_f64() * 1e3;
        // Those that come by the thousand say nothing while all is well: measurements count them.
        if status.is_success() && (is_prediction || PROBES.contains(&route)) {
            tracing::debug!(route, status = code, duration_ms, "answered");
        } else {
            tracing::info!(route, status = code, duration_ms, "answered");
        }
    }
}

/// Logs what a client is not told of a refusal.
pub(super) fn log_cause(problem: &Problem) {
    match problem.cause() {
        Some(cause) if problem.code().status().is_server_error() => {
            tracing::error!(cause, "the request failed");
        }
        Some(cause) => tracing::debug!(cause, "the request was refused"),
        None => {}
    }
}

/// Gives a refusal its body, and tells its status. One that a handler made brings its [`Problem`]; one that
/// a library made has no body or a line of text, and is told by its status.
fn with_problem_body(
    mut response: Response,
    path: &str,
    request_id: &str,
) -> (Response, StatusCode) {
    let status = response.status();
    if !status.is_client_error() && !status.is_server_error() {
        return (response, status);
    }
    let problem = match response.extensions_mut().remove::<Arc<Problem>>() {
        Some(problem) => problem,
        None if is_bare(response.headers()) => Arc::new(Problem::of_status(status)),
        None => return (response, status),
    };
    log_cause(&problem);
    let (content_type, body) = if foreign::is_foreign(path) {
        *response.status_mut() = foreign::status(status);
        ("application/json", serde_json::to_vec(&Refusal::from(&*problem)))
    } else {
        (PROBLEM_JSON, serde_json::to_vec(&problem.body(status, path, request_id)))
    };
    let headers = response.headers_mut();
    headers.remove(header::CONTENT_LENGTH);
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    *response.body_mut() = Body::from(body.unwrap_or_default());
    let status = response.status();
    (response, status)
}

fn is_bare(headers: &HeaderMap) -> bool {
    match headers.get(header::CONTENT_TYPE) {
        None => true,
        Some(content_type) => content_type.as_bytes().starts_with(b"text/plain"),
    }
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::response::IntoResponse;
    use axum::routing::get;
    use http_body_util::BodyExt;
    use tower::ServiceExt;

    use super::super::error::ProblemCode;
    use super::*;

    async fn answer(method: &str, path: &str, id: &[u8]) -> (Response, serde_json::Value) {
        let busy = || async { Problem::new(ProblemCode::Overloaded, "busy").into_response() };
        let router = Router::new()
            .route("/busy", get(busy))
            .route("/ok", get(|| async { "fine" }))
            .layer(axum::middleware::from_fn_with_state(Observer::new(Wire::Http), observe));
        let request = Request::builder().method(method).uri(path).header(X_REQUEST_ID, id);
        let mut response = router.oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
        let body = std::mem::take(response.body_mut()).collect().await.unwrap().to_bytes();
        (response, serde_json::from_slice(&body).unwrap_or_default())
    }

    #[tokio::test]
    async fn every_refusal_is_a_problem_with_the_request_id() {
        for (method, path, status) in
            [("GET", "/busy", 503), ("GET", "/no", 404), ("PUT", "/ok", 405)]
        {
            let (response, body) = answer(method, path, b"mine-1").await;
            assert_eq!(response.status(), status);
            assert_eq!(response.headers()[header::CONTENT_TYPE], PROBLEM_JSON);
            assert_eq!(response.headers()[X_REQUEST_ID], "mine-1");
            assert_eq!((&body["status"], &body["instance"]), (&status.into(), &path.into()));
            assert_eq!(body["request_id"], "mine-1");
        }
        let (response, _) = answer("PUT", "/ok", b"x").await;
        assert_eq!(response.headers()[header::ALLOW], "GET,HEAD");
        let (response, _) = answer("GET", "/busy", b"x").await;
        assert_eq!(response.headers()[header::RETRY_AFTER], "1");
    }

    #[tokio::test]
    async fn another_protocol_has_its_own_refusals() {
        for (method, path) in [("GET", "/v2/no"), ("POST", "/v1/models/m:predict")] {
            let (response, body) = answer(method, path, b"mine-1").await;
            assert_eq!(response.status(), 404);
            assert_eq!(response.headers()[header::CONTENT_TYPE], "application/json");
            assert_eq!(response.headers()[X_REQUEST_ID], "mine-1");
            assert_eq!(body, serde_json::json!({"error": "there is nothing at this path"}));
        }
    }

    #[tokio::test]
    async fn a_request_id_that_could_forge_a_log_line_is_replaced() {
        for bad in [&b"a b"[..], b"", b"\xff\xfe", &[b'a'; 129]] {
            let (response, _) = answer("GET", "/ok", bad).await;
            let id = response.headers()[X_REQUEST_ID].to_str().unwrap();
            assert!(Uuid::parse_str(id).is_ok(), "{id}");
        }
        let (response, _) = answer("GET", "/ok", &[b'a'; 128]).await;
        assert_eq!(response.headers()[X_REQUEST_ID], "a".repeat(128));
    }
}
