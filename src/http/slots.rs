//! How many requests are answered at once, and how many of these about one model; and for how long.
//!
//! Invariant: a slot is held until its answer is taken, where taking it may last: of a stream, and of a
//! large file. Whoever goes away gives the slot back, and so does who takes nothing (`taking.rs`).

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::body::HttpBody;
use axum::extract::Request;
use axum::http::{HeaderValue, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::error::{Problem, ProblemCode};
use super::taking::{GivenUp, until_given_up};

/// Answers of so many bytes at most are as good as taken once they are made.
const SHORT_BYTES: u64 = 256 << 10;

/// Requests that may be answered at once.
#[derive(Debug)]
pub struct Slots {
    free: Arc<Semaphore>,
    /// The most of one model, so that one that is flooded leaves room for the others.
    of_one_model: usize,
    /// How long a slot is held for an answer that nobody takes a piece of.
    patience: Duration,
    /// Requests being answered, by model.
    taken: Mutex<HashMap<String, usize>>,
}

impl Slots {
    /// `n` slots, three quarters of them at most for one model. One whose answer nobody takes a piece of for
    /// `patience` is given back.
    pub fn new(n: usize, patience: Duration) -> Arc<Self> {
        let (free, of_one_model) = (Arc::new(Semaphore::new(n)), (n - n / 4).max(1));
        Arc::new(Self { free, of_one_model, patience, taken: Mutex::default() })
    }

    /// A slot for a request about `model`, where its path tells that.
    ///
    /// # Errors
    /// When there is none.
    pub(super) fn take(self: &Arc<Self>, model: Option<&str>) -> Result<Slot, Problem> {
        let free = Arc::clone(&self.free).try_acquire_owned().map_err(|_| too_many())?;
        let share = model.map(|model| self.share(model)).transpose()?;
        Ok(Slot { _share: share.map(Arc::new), _free: free })
    }

    /// A model's share of the slots, for a request that has one and is now known to be about `model`.
    ///
    /// # Errors
    /// When the model has all that one may have.
    pub(super) fn share(self: &Arc<Self>, model: &str) -> Result<Share, Problem> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        match taken.get_mut(model) {
            Some(n) if *n >= self.of_one_model => return Err(too_many()),
            Some(n) => *n += 1,
            None => drop(taken.insert(model.to_owned(), 1)),
        }
        Ok(Share { slots: Arc::clone(self), model: model.to_owned() })
    }
}

fn too_many() -> Problem {
    let detail = "too many requests are being answered; try again shortly";
    Problem::new(ProblemCode::Overloaded, detail)
}

/// A slot that is taken; given back when dropped.
#[derive(Debug)]
pub(super) struct Slot {
    _share: Option<Arc<Share>>,
    _free: OwnedSemaphorePermit,
}

/// A model's share that is taken; given back when dropped. Among an answer's extensions it is held as long as
/// the answer's slot.
#[derive(Debug)]
pub(super) struct Share {
    slots: Arc<Slots>,
    model: String,
}

impl Drop for Share {
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

/// What bounds some of the routes: how many of them are answered at once, and for how long.
#[derive(Debug, Clone, Default)]
pub struct Bounds {
    /// One of these is taken for each request, which is refused at once where there is none.
    pub slots: Option<Arc<Slots>>,
    /// An answer that takes longer is given up.
    pub most: Option<Duration>,
}

impl Bounds {
    /// Answers a request about `model`, where its path tells one, within these bounds.
    pub(super) async fn run(&self, model: Option<&str>, request: Request, next: Next) -> Response {
        let connection = request.extensions().get::<GivenUp>().cloned();
        let slot = match self.slots.as_ref().map(|slots| slots.take(model)).transpose() {
            Ok(slot) => slot,
            Err(problem) => return problem.into_response(),
        };
        let answer = next.run(request);
        let answer = match self.most {
            Some(most) => timeout(most, answer).await.unwrap_or_else(|_| too_long(most)),
            None => answer.await,
        };
        match (slot, &self.slots) {
            (Some(slot), Some(slots)) => until_taken(answer, slot, slots.patience, connection),
            _ => answer,
        }
    }
}

fn too_long(most: Duration) -> Response {
    Problem::new(ProblemCode::Unavailable, "the answer took too long; try again shortly")
        .caused_by(format_args!("no answer within {most:?}"))
        .into_response()
}

/// The answer, which holds `slot` until it is taken where it is not short.
fn until_taken(
    mut answer: Response,
    mut slot: Slot,
    patience: Duration,
    connection: Option<GivenUp>,
) -> Response {
    let size = answer.body().size_hint();
    if size.upper().is_some_and(|bytes| bytes <= SHORT_BYTES) {
        return answer;
    }
    if let Some(share) = answer.extensions_mut().remove::<Arc<Share>>() {
        slot._share = Some(share);
    }
    let mut answer = until_given_up(answer, Some(slot), patience, connection);
    // Of a body with something around it nobody knows the length any more.
    if let Some(bytes) = size.exact() {
        answer.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(bytes));
    }
    answer
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use axum::Router;
    use axum::body::Body;
    use axum::http::StatusCode;
    use axum::middleware::from_fn;
    use axum::routing::get;
    use futures_util::stream;
    use http_body_util::BodyExt;
    use tower::ServiceExt;

    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    /// One slot, and routes that answer shortly, at length and without end.
    fn one_slot() -> (Arc<Slots>, Router) {
        let slots = Slots::new(1, LONG);
        let bounds =
            Bounds { slots: Some(Arc::clone(&slots)), most: Some(Duration::from_millis(100)) };
        let within = from_fn(move |request, next| {
            let bounds = bounds.clone();
            async move { bounds.run(None, request, next).await }
        });
        let endless = || stream::repeat_with(|| Ok::<_, Infallible>("x"));
        let router = Router::new()
            .route("/", get(async || "short"))
            .route("/long", get(async || vec![b'x'; 1 << 20]))
            .route("/endless", get(async move || Body::from_stream(endless())))
            .route("/never", get(std::future::pending::<()>))
            .layer(within);
        (slots, router)
    }

    async fn ask(router: &Router, path: &str) -> Response {
        let request = Request::get(path).body(Body::empty()).unwrap();
        router.clone().oneshot(request).await.unwrap()
    }

    #[tokio::test]
    async fn no_slot_no_answer() {
        let (slots, router) = one_slot();
        let short = ask(&router, "/").await;
        assert_eq!(short.status(), StatusCode::OK);
        let taken = slots.take(None).unwrap();
        assert_eq!(ask(&router, "/").await.status(), StatusCode::SERVICE_UNAVAILABLE);
        drop((taken, short));
        assert_eq!(ask(&router, "/").await.status(), StatusCode::OK);
    }

    #[tokio::test]
    async fn a_long_answer_holds_its_slot_until_it_is_taken_or_nobody_wants_it() {
        let (slots, router) = one_slot();
        for path in ["/long", "/endless"] {
            let long = ask(&router, path).await;
            assert!(slots.take(None).is_err(), "{path}");
            drop(long);
            assert!(slots.take(None).is_ok(), "{path}");
        }
        let long = ask(&router, "/long").await;
        assert_eq!(long.headers()[header::CONTENT_LENGTH], "1048576");
        assert_eq!(long.into_body().collect().await.unwrap().to_bytes().len(), 1 << 20);
        assert!(slots.take(None).is_ok());
    }

    #[tokio::test]
    async fn an_answer_that_never_comes_is_503_and_its_slot_free() {
        let (slots, router) = one_slot();
        assert_eq!(ask(&router, "/never").await.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert!(slots.take(None).is_ok());
    }

    #[test]
    fn a_model_that_is_flooded_leaves_room_for_others() {
        let slots = Slots::new(4, LONG);
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
}
