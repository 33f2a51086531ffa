//! What bounds a request: how many at once, how long, how large; and what a panic becomes.

use std::any::Any;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::body::Body;
use axum::extract::rejection::RawPathParamsRejection;
use axum::extract::{MatchedPath, RawPathParams, Request, State};
use axum::http::header;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http_body_util::Limited;
use tokio::sync::{Semaphore, SemaphorePermit};

use super::error::{Problem, ProblemCode};
use super::foreign::model_of;
use super::stream::is_lines;

/// Requests that may be answered at once.
#[derive(Debug)]
pub struct Slots {
    free: Semaphore,
    /// The most of one model, so that one that is flooded leaves room for the others.
    of_one_model: usize,
    /// Requests being answered, by model.
    taken: Mutex<HashMap<String, usize>>,
}

impl Slots {
    /// `n` slots, three quarters of them at most for one model.
    pub fn new(n: usize) -> Arc<Self> {
        let of_one_model = (n - n / 4).max(1);
        Arc::new(Self { free: Semaphore::new(n), of_one_model, taken: Mutex::default() })
    }

    /// A slot for a request about `model`, where its path tells that.
    ///
    /// # Errors
    /// When there is none.
    pub(super) fn take(&self, model: Option<&str>) -> Result<Slot<'_>, Problem> {
        let free = self.free.try_acquire().map_err(|_| too_many())?;
        let share = model.map(|model| self.share(model)).transpose()?;
        Ok(Slot { _share: share, _free: free })
    }

    /// A model's share of the slots, for a request that has one and is now known to be about `model`.
    ///
    /// # Errors
    /// When the model has all that one may have.
    pub(super) fn share(&self, model: &str) -> Result<Share<'_>, Problem> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        match taken.get_mut(model) {
            Some(n) if *n >= self.of_one_model => return Err(too_many()),
            Some(n) => *n += 1,
            None => drop(taken.insert(model.to_owned(), 1)),
        }
        Ok(Share { slots: self, model: model.to_owned() })
    }
}

fn too_many() -> Problem {
    let detail = "too many requests are being answered; try again shortly";
    Problem::new(ProblemCode::Overloaded, detail)
}

/// Room for a request, until it is dropped.
pub(super) struct Slot<'a> {
    _share: Option<Share<'a>>,
    _free: SemaphorePermit<'a>,
}

/// Room for a request about a model, until it is dropped.
pub(super) struct Share<'a> {
    slots: &'a Slots,
    model: String,
}

impl Drop for Share<'_> {
    fn drop(&mut self) {
        let mut taken = self.slots.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(n) = taken.get_mut(&self.model) {
            *n -= 1;
            if *n == 0 {
                taken.remove(&self.model);
            }
        }
    }
}

/// Answers a request when there is a slot for it, and refuses it at once when there is none.
pub async fn shed(
    State(slots): State<Arc<Slots>>,
    params: Result<RawPathParams, RawPathParamsRejection>,
    request: Request,
    next: Next,
) -> Response {
    match slots.take(params.as_ref().ok().and_then(model_of)) {
        Ok(_slot) => next.run(request).await,
        Err(problem) => problem.into_response(),
    }
}

/// Gives up on an answer that takes longer than this.
pub async fn time_out(State(most): State<Duration>, request: Request, next: Next) -> Response {
    tokio::time::timeout(most, next.run(request)).await.unwrap_or_else(|_| {
        let detail = "the answer took too long; try again shortly";
        Problem::new(ProblemCode::Unavailable, detail)
            .caused_by(format_args!("no answer within {most:?}"))
            .into_response()
    })
}

/// Refuses a body that says it is over `max_bytes`, and breaks off one that turns out to be. Comes
/// after decompression, so that a small file that unpacks to a huge one does not pass. A stream of
/// predictions has no length: its lines have.
pub async fn limit_body(State(max_bytes): State<usize>, request: Request, next: Next) -> Response {
    let route = request.extensions().get::<MatchedPath>().map_or("", MatchedPath::as_str);
    if route.ends_with("/predict") && is_lines(request.headers()) {
        return next.run(request).await;
    }
    let said = request.headers().get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok());
    if said.and_then(|text| text.parse::<u64>().ok()).is_some_and(|said| said > max_bytes as u64) {
        let detail = format!("the body is over the limit of {max_bytes} bytes");
        return Problem::new(ProblemCode::PayloadTooLarge, detail).into_response();
    }
    next.run(request.map(|body| Body::new(Limited::new(body, max_bytes)))).await
}

/// A handler that panicked fails its own request and nothing else.
pub fn panicked(panic: Box<dyn Any + Send + 'static>) -> Response {
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
    use axum::middleware::from_fn_with_state;
    use axum::routing::post;
    use http_body_util::BodyExt;
    use tower::ServiceExt;
    use tower_http::catch_panic::CatchPanicLayer;

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
        let router =
            Router::new().route("/", post(count)).layer(from_fn_with_state(10_usize, limit_body));
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
    async fn no_slot_no_answer() {
        let slots = Slots::new(1);
        let router =
            Router::new().route("/", post(count)).layer(from_fn_with_state(slots.clone(), shed));
        let status =
            async || router.clone().oneshot(post_of(Body::empty())).await.unwrap().status();
        assert_eq!(status().await, StatusCode::OK);
        let taken = slots.take(None).unwrap();
        assert_eq!(status().await, StatusCode::SERVICE_UNAVAILABLE);
        drop(taken);
        assert_eq!(status().await, StatusCode::OK);
    }

    #[test]
    fn a_model_that_is_flooded_leaves_room_for_others() {
        let slots = Slots::new(4);
        let flood: Vec<_> = (0..4).filter_map(|_| slots.take(Some("flooded")).ok()).collect();
        assert_eq!(flood.len(), 3);
        assert!(slots.take(Some("other")).is_ok());
        // Also one whose model is known only later.
        let slot = slots.take(None).unwrap();
        assert!(slots.share("flooded").is_err() && slots.share("other").is_ok());
        drop((flood, slot));
        assert!(slots.take(Some("flooded")).is_ok());
        assert!(slots.taken.lock().unwrap().is_empty());
    }

    #[tokio::test]
    async fn an_answer_that_never_comes_is_503_and_a_panic_500() {
        let never = || std::future::pending::<()>();
        let limit = Duration::from_millis(1);
        let router =
            Router::new().route("/", post(never)).layer(from_fn_with_state(limit, time_out));
        let response = router.oneshot(post_of(Body::empty())).await.unwrap();
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
        let panics = || async { panic!("a bug") as () };
        let router =
            Router::new().route("/", post(panics)).layer(CatchPanicLayer::custom(panicked));
        let response = router.oneshot(post_of(Body::empty())).await.unwrap();
        assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
    }
}
