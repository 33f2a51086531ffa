//! Answers that nobody takes.
//!
//! Invariant: what an answer holds is let go of once nobody has asked for a piece of it for so long. A client
//! of HTTP/2 takes pieces by opening a window, and its connection looks well while it opens none. The time
//! in which a piece is made is not its client's.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::Poll;
use std::time::Duration;

use axum::body::{Body, HttpBody};
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use bytes::Bytes;
use futures_util::stream;
use http_body_util::StreamBody;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::slots::Slot;

/// However slow a connection is that is of use, it takes so much before patience ends.
const PIECE_BYTES: usize = 64 << 10;

/// By which an answer that is given up tells its connection, where that put it among what its requests bring.
/// The connection is to end, in order: it keeps the piece that it could not send for as long as it lasts.
#[derive(Debug, Clone)]
pub struct GivenUp(pub CancellationToken);

/// Gives up answers that nobody takes a piece of for `patience`.
pub async fn bound(State(patience): State<Duration>, request: Request, next: Next) -> Response {
    let connection = request.extensions().get::<GivenUp>().cloned();
    until_given_up(next.run(request).await, None, patience, connection)
}

/// The answer in pieces of [`PIECE_BYTES`] at most, which holds `slot` until it is taken, or until nobody asks
/// for its next piece for `patience`.
pub(super) fn until_given_up(
    answer: Response,
    slot: Option<Slot>,
    patience: Duration,
    connection: Option<GivenUp>,
) -> Response {
    answer.map(|body| {
        let held = Some(Held { body, rest: Bytes::new(), _slot: slot });
        let wanted_by = Some(Instant::now() + patience);
        let answer = Arc::new(Mutex::new(Answer { held, wanted_by }));
        let watching = tokio::spawn(watch(Arc::downgrade(&answer), patience, connection));
        let watching = AbortOnDropHandle::new(watching);
        let pieces = stream::poll_fn(move |context| {
            let _until_it_is_taken = &watching;
            let mut answer = lock(&answer);
            let Some(Held { body, rest, .. }) = &mut answer.held else {
                return Poll::Ready(Some(Err(axum::Error::new(NobodyTook))));
            };
            let polled = match rest.is_empty() {
                true => Pin::new(body).poll_frame(context),
                false => Pin::new(&mut Body::from(std::mem::take(rest))).poll_frame(context),
            };
            let polled = polled.map_ok(|piece| {
                piece.map_data(|mut piece| {
                    *rest = piece.split_off(piece.len().min(PIECE_BYTES));
                    piece
                })
            });
            answer.wanted_by = polled.is_ready().then(|| Instant::now() + patience);
            polled
        });
        Body::new(StreamBody::new(pieces))
    })
}

/// An answer on its way out.
struct Answer {
    /// None once it is given up.
    held: Option<Held>,
    /// When the next piece is to be asked for; none while it is being made.
    wanted_by: Option<Instant>,
}

struct Held {
    body: Body,
    /// What follows the piece that was taken last.
    rest: Bytes,
    _slot: Option<Slot>,
}

/// Gives an answer up when its next piece is not asked for in time.
async fn watch(answer: Weak<Mutex<Answer>>, patience: Duration, connection: Option<GivenUp>) {
    let mut look_at = Instant::now() + patience;
    loop {
        tokio::time::sleep_until(look_at).await;
        let Some(answer) = answer.upgrade() else { return };
        let mut answer = lock(&answer);
        let now = Instant::now();
        match answer.wanted_by {
            Some(by) if by <= now => {
                answer.held = None;
                break;
            }
            Some(by) => look_at = by,
            None => look_at = now + patience,
        }
    }
    tracing::debug!("an answer that nobody takes is given up");
    if let Some(GivenUp(connection)) = connection {
        connection.cancel();
    }
}

fn lock(answer: &Mutex<Answer>) -> MutexGuard<'_, Answer> {
    answer.lock().unwrap_or_else(PoisonError::into_inner)
}

#[derive(Debug, thiserror::Error)]
#[error("nobody took the answer for too long")]
struct NobodyTook;

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use axum::http::header::ETAG;
    use axum::http::{HeaderMap, HeaderValue};
    use axum::response::IntoResponse;
    use http_body_util::{BodyExt, Full};

    use super::super::slots::Slots;
    use super::*;

    const QUICK: Duration = Duration::from_millis(100);
    const LONG: Duration = Duration::from_secs(20);

    /// An endless answer that holds the only slot, and its connection.
    fn endless(slots: &Arc<Slots>) -> (Response, CancellationToken) {
        let pieces = stream::repeat_with(|| Ok::<_, Infallible>("x"));
        let (slot, connection) = (slots.take(None).unwrap(), CancellationToken::new());
        let answer = Body::from_stream(pieces).into_response();
        let given_up = Some(GivenUp(connection.clone()));
        (until_given_up(answer, Some(slot), QUICK, given_up), connection)
    }

    #[tokio::test]
    async fn an_answer_that_nobody_takes_gives_its_slot_back_and_its_connection_hears_of_it() {
        let slots = Slots::new(1, QUICK);
        for n_taken in [0, 3] {
            let (mut answer, connection) = endless(&slots);
            for _ in 0..n_taken {
                answer.body_mut().frame().await.unwrap().unwrap();
            }
            assert!(slots.take(None).is_err());
            tokio::time::timeout(LONG, connection.cancelled()).await.unwrap();
            assert!(slots.take(None).is_ok());
            assert!(answer.body_mut().frame().await.unwrap().is_err());
        }
    }

    #[tokio::test]
    async fn a_large_answer_is_taken_in_pieces_and_its_trailers_come_last() {
        let text: Vec<u8> = (0..3 * PIECE_BYTES + 7).map(|n| n as u8).collect();
        let trailers = HeaderMap::from_iter([(ETAG, HeaderValue::from_static("last"))]);
        let body = Full::from(text.clone()).with_trailers(async { Some(Ok(trailers)) });
        let answer = Body::new(body).into_response();
        let mut body = until_given_up(answer, None, LONG, None).into_body();
        let (mut taken, mut sizes) = (Vec::new(), Vec::new());
        let trailers = loop {
            match body.frame().await.unwrap().unwrap().into_data() {
                Ok(piece) => {
                    sizes.push(piece.len());
                    taken.extend_from_slice(&piece);
                }
                Err(last) => break last.into_trailers().unwrap(),
            }
        };
        assert_eq!(sizes, [PIECE_BYTES, PIECE_BYTES, PIECE_BYTES, 7]);
        assert!(taken == text && trailers[ETAG] == "last" && body.frame().await.is_none());
    }

    #[tokio::test]
    async fn a_piece_that_takes_its_time_to_be_made_is_waited_for() {
        let slow = stream::once(async {
            tokio::time::sleep(3 * QUICK).await;
            Ok::<_, Infallible>("made")
        });
        let connection = CancellationToken::new();
        let answer = Body::from_stream(slow).into_response();
        let answer = until_given_up(answer, None, QUICK, Some(GivenUp(connection.clone())));
        assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), "made");
        assert!(!connection.is_cancelled());
    }
}
