//! What a request passes on its way in, how large it may be, and what a panic becomes.

use std::any::Any;
use std::convert::Infallible;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::rejection::RawPathParamsRejection;
use axum::extract::{MatchedPath, RawPathParams, Request, State};
use axum::http::header;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt;
use http_body_util::Limited;
use tower::{ServiceExt, service_fn};
use tower_http::decompression::RequestDecompression;

use super::error::{Problem, ProblemCode};
use super::foreign::model_of;
use super::slots::Bounds;
use super::stream::form_of;
use super::{HttpState, access, instances};

/// The way in to some of the routes.
pub struct Way {
    /// What the service is made of.
    pub state: HttpState,
    /// What bounds these routes.
    pub bounds: Bounds,
}

/// Lets a request in: who asks comes first, then what its body unpacks to, and how much that may be, then
/// whether there is room. One piece, since each of axum's middlewares copies, with every request, all that is
/// behind it.
pub async fn enter(
    State(way): State<Arc<Way>>,
    params: Result<RawPathParams, RawPathParamsRejection>,
    request: Request,
    next: Next,
) -> Response {
    let max_bytes = way.state.limits.max_body_bytes;
    let model = params.as_ref().ok().and_then(model_of);
    let bounds = &way.bounds;
    let bounded = move |request| bounds.run(model, request, next);
    let unpacked = |request| unpack(request, max_bytes, bounded);
    caught(access::admit(&way.state, request, unpacked)).await
}

/// The answer; a handler that panicked fails its own request and nothing else.
pub(super) async fn caught(answer: impl Future<Output = Response>) -> Response {
    AssertUnwindSafe(answer).catch_unwind().await.unwrap_or_else(panicked)
}

/// Unpacks a body that says it is packed.
async fn unpack<F: Future<Output = Response>>(
    request: Request,
    max_bytes: usize,
    next: impl FnOnce(Request) -> F + Clone,
) -> Response {
    if !request.headers().contains_key(header::CONTENT_ENCODING) {
        return pass(request, max_bytes, next).await;
    }
    let inner = service_fn(|request: Request<_>| {
        pass(request.map(Body::new), max_bytes, next.clone()).map(Ok::<_, Infallible>)
    });
    match Box::pin(RequestDecompression::new(inner).oneshot(request)).await {
        Ok(answer) => answer.map(Body::new),
        Err(error) => Problem::internal(error).into_response(),
    }
}

/// Hands a request on, where its method and the size of its body let it pass.
async fn pass<F: Future<Output = Response>>(
    request: Request,
    max_bytes: usize,
    next: impl FnOnce(Request) -> F,
) -> Response {
    if let Some(refusal) = instances::refuse_method(&request) {
        return refusal;
    }
    match limit_body(request, max_bytes) {
        Ok(request) => next(request).await,
        Err(problem) => problem.into_response(),
    }
}

/// Refuses a body that says it is over `max_bytes`, and breaks off one that turns out to be. Comes
/// after decompression, so that a small file that unpacks to a huge one does not pass. A stream of
/// predictions has no length: its lines, or messages, have.
fn limit_body(request: Request, max_bytes: usize) -> Result<Request, Problem> {
    let route = request.extensions().get::<MatchedPath>().map_or("", MatchedPath::as_str);
    if route.ends_with("/predict") && form_of(request.headers()).is_some() {
        return Ok(request);
    }
    let said = request.headers().get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok());
    if said.and_then(|text| text.parse::<u64>().ok()).is_some_and(|said| said > max_bytes as u64) {
        let detail = format!("the body is over the limit of {max_bytes} bytes");
        return Err(Problem::new(ProblemCode::PayloadTooLarge, detail));
    }
    Ok(request.map(|body| Body::new(Limited::new(body, max_bytes))))
}

fn panicked(panic: Box<dyn Any + Send + 'static>) -> Response {
    let words = panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied());
    Problem::internal(format_args!("panic: {}", words.unwrap_or("no words"))).into_response()
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::http::StatusCode;
    use axum::middleware::from_fn;
    use axum::routing::post;
    use http_body_util::BodyExt;
    use tower::ServiceExt;

    use super::*;

    async fn count(request: Request) -> Result<String, Problem> {
        let body = request.into_body().collect().await;
        let body = body.map_err(|error| Problem::unread_body(&error))?.to_bytes();
        Ok(body.len().to_string())
    }

    fn post_of(body: Body) -> Request {
        Request::post("/").body(body).unwrap()
    }

    #[tokio::test]
    async fn a_body_over_the_limit_is_413_told_or_untold() {
        let limit =
            async |request, next: Next| unpack(request, 10, move |request| next.run(request)).await;
        let router = Router::new().route("/", post(count)).layer(from_fn(limit));
        let status = async |body| router.clone().oneshot(post_of(body)).await.unwrap().status();
        let streamed = |text: &'static str| {
            Body::from_stream(futures_util::stream::iter([Ok::<_, std::io::Error>(text)]))
        };
        assert_eq!(status(Body::from("ten bytes.")).await, StatusCode::OK);
        assert_eq!(status(streamed("ten bytes.")).await, StatusCode::OK);
        assert_eq!(status(streamed("eleven byte")).await, StatusCode::PAYLOAD_TOO_LARGE);
        let mut told = post_of(Body::from("eleven byte"));
        told.headers_mut().insert(header::CONTENT_LENGTH, 11.into());
        let response = router.clone().oneshot(told).await.unwrap();
        assert_eq!(response.status(), StatusCode::PAYLOAD_TOO_LARGE);
    }

    #[tokio::test]
    async fn a_panic_is_500() {
        let panics = || async { panic!("a bug") as () };
        let catch = async |request, next: Next| caught(next.run(request)).await;
        let router = Router::new().route("/", post(panics)).layer(from_fn(catch));
        let response = router.oneshot(post_of(Body::empty())).await.unwrap();
        assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
    }
}
