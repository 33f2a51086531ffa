//! What is left of a body when its request has been answered.
//!
//! A connection that is closed while its client still sends is reset, and a client that is reset may never
//! read why it was refused. Invariant: whatever was not read of a body is taken and thrown away beside the
//! answer, which waits for none of it, until the body ends or its time or its length is over. A client that
//! waits to be asked for its body (`Expect: 100-continue`) is not asked.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::Request;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::header::EXPECT;
use tokio::runtime::Handle;

/// The most that is thrown away.
const MOST_BYTES: usize = 64 << 20;

/// A body on its way in.
pub(super) struct Arriving {
    /// None once it has ended.
    body: Option<Incoming>,
    /// Its client sends nothing before it is asked to.
    waits_to_be_asked: bool,
    patience: Duration,
}

impl Arriving {
    /// The request with its body, of which what is not read is waited for no longer than `patience`.
    pub(super) fn of(request: Request<Incoming>, patience: Duration) -> Request<Self> {
        let waits_to_be_asked = request.headers().contains_key(EXPECT);
        request.map(|body| Self { body: Some(body), waits_to_be_asked, patience })
    }
}

impl Body for Arriving {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        self.waits_to_be_asked = false;
        let Some(body) = &mut self.body else { return Poll::Ready(None) };
        let frame = ready!(Pin::new(body).poll_frame(context));
        if !matches!(frame, Some(Ok(_))) {
            self.body = None;
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or(SizeHint::with_exact(0), Body::size_hint)
    }
}

impl Drop for Arriving {
    fn drop(&mut self) {
        let Some(body) = self.body.take() else { return };
        if self.waits_to_be_asked || body.is_end_stream() {
            return;
        }
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(tokio::time::timeout(self.patience, throw_away(body)));
        }
    }
}

async fn throw_away(mut body: Incoming) {
    let mut n_bytes = 0;
    while let Some(Ok(frame)) = body.frame().await {
        n_bytes += frame.data_ref().map_or(0, Bytes::len);
        if n_bytes > MOST_BYTES {
            return;
        }
    }
}
