//! `ModelStreamInfer`: requests of one client, answered in order, each as if it came by itself.
//!
//! Invariants: no request is read before the one ahead of it is answered and its answer taken. One that is
//! refused is told in its answer and ends nothing. A stream between two requests holds no slot, and ends when
//! the service does, when its key does, when no request comes for long, and when nobody takes its answers.

use std::pin::Pin;
use std::time::Duration;

use axum::http::{Extensions, HeaderValue};
use futures_util::{Stream, stream};
use tokio::sync::{Semaphore, SemaphorePermit};
use tonic::{Request, Status, Streaming};
use tracing::{Instrument, Span};

use super::super::super::HttpState;
use super::super::super::access::Admitted;
use super::super::super::error::{Problem, ProblemCode};
use super::super::super::exchange::client_of;
use super::super::super::foreign::Refusal;
use super::super::super::observe::log_cause;
use super::proto::{ModelInferRequest, ModelInferResponse, ModelStreamInferResponse};
use super::{infer, named};

/// Streams that are open at a time; each holds a request or what has arrived of one.
const MOST_STREAMS: usize = 256;

/// How many times as long as for a body it is waited for the next request: clients keep streams open between
/// what they have to ask.
const SILENCE: u32 = 10;

static STREAMS: Semaphore = Semaphore::const_new(MOST_STREAMS);

/// The answers to a stream of requests.
pub(super) type Answers =
    Pin<Box<dyn Stream<Item = Result<ModelStreamInferResponse, Status>> + Send>>;

/// Answers request by request.
///
/// # Errors
/// When too many streams are open.
pub(super) fn answer(
    state: HttpState,
    request: Request<Streaming<ModelInferRequest>>,
) -> Result<Answers, Problem> {
    let Ok(place) = STREAMS.try_acquire() else {
        let detail = "too many streams are open; try again shortly";
        return Err(Problem::new(ProblemCode::Overloaded, detail));
    };
    let (metadata, extensions, requests) = request.into_parts();
    let client = client_of(metadata.as_ref());
    let span = Span::current();
    let answering =
        Answering { state, client, extensions, requests, is_first: true, span, _place: place };
    Ok(Box::pin(stream::unfold(Some(answering), |answering| async {
        let mut answering = answering?;
        match answering.next().await {
            Ok(answer) => Some((Ok(answer?), Some(answering))),
            Err(status) => Some((Err(status), None)),
        }
    })))
}

/// A stream that is being answered.
struct Answering {
    state: HttpState,
    client: Option<HeaderValue>,
    /// Who was let in.
    extensions: Extensions,
    requests: Streaming<ModelInferRequest>,
    is_first: bool,
    span: Span,
    _place: SemaphorePermit<'static>,
}

impl Answering {
    /// The answer to the next request; none at the end.
    async fn next(&mut self) -> Result<Option<ModelStreamInferResponse>, Status> {
        let Some(request) = self.request().await? else { return Ok(None) };
        let (model_name, id) = (request.model_name.clone(), request.id.clone());
        let span = self.span.clone();
        let answered = self.answer(request).instrument(span.clone()).await;
        Ok(Some(answered.map_or_else(
            |problem| {
                span.in_scope(|| log_cause(&problem));
                let whose = ModelInferResponse { model_name, id, ..Default::default() };
                let error_message = Refusal::from(&problem).error;
                ModelStreamInferResponse { error_message, infer_response: Some(whose) }
            },
            |answer| ModelStreamInferResponse {
                error_message: String::new(),
                infer_response: Some(answer),
            },
        )))
    }

    /// The next request; none at the end.
    async fn request(&mut self) -> Result<Option<ModelInferRequest>, Status> {
        let silence = self.state.limits.idle_timeout * SILENCE;
        let next = tokio::time::timeout(silence, self.requests.message());
        let shutdown = &self.state.shutdown;
        let next = async {
            match shutdown.run_until_cancelled(next).await {
                Some(Ok(next)) => next,
                Some(Err(_)) => {
                    let detail = format!("no request came for {} s", silence.as_secs());
                    Err(Problem::new(ProblemCode::RequestTimeout, detail).into())
                }
                None => {
                    let detail = "the service is shutting down";
                    Err(Problem::new(ProblemCode::Unavailable, detail).into())
                }
            }
        };
        Admitted::of(&self.extensions)?.while_let_in(next).await
    }

    async fn answer(&mut self, request: ModelInferRequest) -> Result<ModelInferResponse, Problem> {
        // The first was counted when the stream was let in.
        if !std::mem::take(&mut self.is_first) {
            Admitted::of(&self.extensions)?.asks_again()?;
        }
        let model = named(&self.extensions, &request.model_name)?;
        let _slot = self.state.predictions.take(Some(model.as_str()))?;
        let answer = infer::answer(&self.state.context, model, self.client.clone(), request);
        let patience: Duration = self.state.limits.request_timeout * 2;
        match tokio::time::timeout(patience, answer).await {
            Ok(told) => told.map(|told| told.answer),
            Err(_) => {
                let detail = "the answer took too long; try again shortly";
                Err(Problem::new(ProblemCode::Unavailable, detail))
            }
        }
    }
}
