//! Predictions as a stream: an input a line in, a prediction a line out; or rows in and rows out, as Arrow has them.
//!
//! Invariants: one version answers all inputs, whatever becomes live meanwhile. Memory is constant: none
//! is read before those ahead of it are answered and their answers taken. A stream ends with the key that
//! opened it. What is wrong with the first input is a refusal like any other; what is wrong later is the last line
//! of the answer, or its last row: its status is sent by then.

mod answers;
mod lines;
mod rows;

use std::convert::Infallible;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::stream;

use self::answers::{Answers, BrokenOff};
use self::lines::Lines;
use self::rows::Batches;
use super::HttpState;
use super::access::Admitted;
use super::arrow::{ARROW_STREAM, Layout, Rows};
use super::error::Problem;
use super::exchange::{Ready, X_PERENNIAL_VERSION, client_of, read_in_turn, respond};
use super::extract::is_type;
use super::format::JSON_LINES;
use super::observe::RequestId;
use super::predictions::PredictQuery;
use super::ranking::rank;
use super::slots::Slot;
use crate::domain::input::Inputs;
use crate::domain::name::ModelName;
use crate::domain::settings::ModelSettings;
use crate::services::Context;
use crate::services::serving::{self, Answered, Chosen, Route, Target};

/// In which form inputs come and answers go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// A line of JSON each.
    Lines,
    /// A row each, of Arrow's record batches.
    Rows,
}

/// The form of a body that is a stream of inputs.
pub(super) fn form_of(headers: &HeaderMap) -> Option<Form> {
    let is = |name: &str| is_type(headers, name);
    match is(ARROW_STREAM) {
        true => Some(Form::Rows),
        false => JSON_LINES.iter().any(|name| is(name)).then_some(Form::Lines),
    }
}

/// Answers input by input.
///
/// # Errors
/// As every prediction, where the first input cannot be answered.
pub(super) async fn answer(
    form: Form,
    state: &HttpState,
    model: &ModelName,
    target: &Target,
    query: PredictQuery,
    request: Request,
) -> Result<Response, Problem> {
    let place = state.streams.take(Some(model.as_str()))?;
    let context = state.context.clone();
    let route = context.serving.route(&context, model).await?;
    let client = client_of(request.headers());
    let client = client.as_ref().map(HeaderValue::as_bytes);
    let chosen = serving::choose(&context, &route, target, client).await?;
    let version = chosen.version;
    let request_id = request.extensions().get::<RequestId>().cloned();
    let instance = request.uri().path().to_owned();
    let admitted = Admitted::of(request.extensions())?.clone();
    let (body, patience) = (request.into_body(), state.limits.idle_timeout);
    let source = match form {
        Form::Lines => Source::Lines(Lines::new(body, patience)),
        Form::Rows => Source::Batches(Batches::new(body, patience, &route, &chosen, query)),
    };
    let answers = Answers::new(form, query.remember);
    let mut answering = Answering {
        context,
        route,
        chosen,
        query,
        instance,
        request_id,
        source,
        answers: answers.clone(),
        n_answered: 0,
        refusal: None,
        _place: place,
    };
    let headers = [
        (header::CONTENT_TYPE, answers.content_type()),
        (X_PERENNIAL_VERSION, HeaderValue::from(version)),
    ];
    let Some(first) = answering.next().await? else {
        return Ok((headers, answers.to_nothing()?).into_response());
    };
    let first = Bytes::from([&answers.begin()?[..], &first].concat());
    let pieces = stream::unfold((Some(first), Some(answering)), move |(first, answering)| {
        let admitted = admitted.clone();
        async move {
            if let Some(first) = first {
                return Some((Ok::<_, Infallible>(first), (None, answering)));
            }
            let mut answering = answering?;
            match admitted.while_let_in(answering.next()).await {
                Ok(Some(answers)) => Some((Ok(answers), (None, Some(answering)))),
                Ok(None) => {
                    let end = answering.answers.end();
                    (!end.is_empty()).then_some((Ok(end), (None, None)))
                }
                Err(problem) => Some((Ok(answering.break_off(&problem)), (None, None))),
            }
        }
    });
    Ok((headers, Body::from_stream(pieces)).into_response())
}

/// Where inputs come from.
enum Source {
    Lines(Lines),
    Batches(Batches),
}

/// Inputs that are here, as they came.
enum Piece {
    Lines(Bytes),
    Rows(Rows<Layout>),
}

impl Source {
    /// The next that are here, a bounded number of them; none at the end.
    async fn next(&mut self) -> Result<Option<Piece>, Problem> {
        match self {
            Self::Lines(lines) => Ok(lines.next().await?.map(Piece::Lines)),
            Self::Batches(batches) => Ok(batches.next().await?.map(Piece::Rows)),
        }
    }
}

impl Piece {
    /// The inputs, up to the first that is none, and why that is none; `first_index` are ahead of them.
    fn read(&self, settings: &ModelSettings, first_index: usize) -> (Inputs, Option<Problem>) {
        match self {
            Self::Lines(lines) => lines::read(lines, settings, first_index),
            Self::Rows(rows) => rows::read(rows, settings, first_index),
        }
    }
}

/// A stream that is being answered.
struct Answering {
    context: Context,
    route: Arc<Route>,
    chosen: Chosen,
    query: PredictQuery,
    instance: String,
    request_id: Option<RequestId>,
    source: Source,
    answers: Answers,
    n_answered: usize,
    /// Why the input after those answered last cannot be answered.
    refusal: Option<Problem>,
    _place: Slot,
}

impl Answering {
    /// The answers to the next inputs; none at the end.
    async fn next(&mut self) -> Result<Option<Bytes>, Problem> {
        if let Some(refusal) = self.refusal.take() {
            return Err(refusal);
        }
        while let Some(piece) = self.source.next().await? {
            let counted = self.chosen.begin();
            let takes_images = self.route.model.settings.input.image().is_some();
            let (route, first_index) = (Arc::clone(&self.route), self.n_answered);
            let read = move || piece.read(&route.model.settings, first_index);
            let model = &self.route.model.name;
            let ((inputs, refusal), reading) =
                read_in_turn(model, true, takes_images, read).await?;
            self.refusal = refusal;
            let n_inputs = inputs.len();
            if n_inputs == 0 {
                match self.refusal.take() {
                    Some(refusal) => return Err(refusal),
                    None => continue,
                }
            }
            // A stream waits for room where a request would be refused.
            let room = match self.query.remember {
                true => Some(self.context.remembered.wait_for_room(&inputs).await?),
                false => None,
            };
            let top_k = self.query.top_k;
            let ready = Ready { inputs, pairs: top_k, room, reading, counted };
            let answers = self.answers.clone();
            let write = move |answered: &Answered| answers.rows(&rank(answered, top_k)?);
            let answers = respond(&self.context, &self.chosen, ready, write).await?;
            self.n_answered += n_inputs;
            return Ok(Some(answers));
        }
        Ok(None)
    }

    /// The end of an answer that breaks off.
    fn break_off(&self, problem: &Problem) -> Bytes {
        let request_id = self.request_id.as_ref().map_or("", RequestId::as_str);
        if let Some(cause) = problem.cause() {
            tracing::error!(request_id, cause, "a stream of predictions broke off");
        }
        let error = problem.body(problem.code().status(), &self.instance, request_id);
        self.answers.break_off(&BrokenOff { error, index: self.n_answered })
    }
}
