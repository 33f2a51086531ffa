//! From a body to an answer: what every way to ask a version shares, whatever the format.
//!
//! This path is hot. Invariants: what takes long is done off the runtime's threads, and one version
//! answers the whole request and is told with the answer, over HTTP as `X-Perennial-Version`.

use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;

use super::error::Problem;
use super::walk::string_length;
use crate::domain::Invalid;
use crate::domain::input::Inputs;
use crate::domain::name::{AliasName, LIVE, ModelName};
use crate::domain::settings::ModelSettings;
use crate::services::Context;
use crate::services::room::Held;
use crate::services::serving::{self, Answered, Begun, Chosen, Spans, Target};
use crate::services::slots::Slots;

/// The most inputs of one request.
pub(super) const MAX_INPUTS: usize = 10_000;
/// The most label-probability pairs of one answer.
pub(super) const MAX_PAIRS: usize = 1_000_000;
/// Bodies and answers from this size on are read and written off the runtime's threads.
const HEAVY_BYTES: usize = 256 << 10;
/// A string of JSON shorter than this is no image file in base64: 24 bytes hold no header with a size
/// and colours, whatever the kind.
const FILE_CHARS: usize = 32;
/// About what a label takes in an answer with its probability.
const PAIR_BYTES: usize = 24;
/// The header by which a client tells who it is.
const X_CLIENT_ID: HeaderName = HeaderName::from_static("x-client-id");
/// The header that names the version of an answer.
pub(super) const X_PERENNIAL_VERSION: HeaderName = HeaderName::from_static("x-perennial-version");

/// Bodies with images that are read at once, half of them at most of one model. The others wait where waiting takes no
/// thread.
static READERS: LazyLock<Arc<Slots>> = LazyLock::new(|| Arc::new(Slots::new(16).of_one_model(8)));

/// How much there is to read of a body, as far as it shows before it is read.
pub(super) enum Bulk {
    /// JSON: where inputs are images, any string that is long enough may be a file.
    Json(Bytes),
    /// So many bytes, among which may be a file.
    Files(usize),
    /// So many bytes, none of a file.
    Numbers(usize),
}

impl Bulk {
    /// Whether reading it may take long. A file of a few bytes may decode to as many pixels as a
    /// photograph, and wait for another one; numbers are read as fast as they come.
    fn is_heavy(&self, takes_images: bool) -> bool {
        match self {
            Self::Json(json) => {
                json.len() >= HEAVY_BYTES || (takes_images && has_long_string(json))
            }
            Self::Files(n_bytes) => *n_bytes >= HEAVY_BYTES || takes_images,
            Self::Numbers(n_bytes) => *n_bytes >= HEAVY_BYTES,
        }
    }
}

/// Whether JSON has a string that may be a file. What is not JSON is refused before any is decoded.
fn has_long_string(json: &[u8]) -> bool {
    let mut rest = json;
    while let Some(begin) = rest.iter().position(|&byte| byte == b'"') {
        let (string, behind) = rest[begin..].split_at(string_length(&rest[begin..]));
        // Its quotes are no part of a file.
        if string.len() >= FILE_CHARS + 2 {
            return true;
        }
        rest = behind;
    }
    false
}

/// What a body asks.
pub(super) struct Asked<P> {
    /// The inputs to be answered.
    pub(super) inputs: Inputs,
    /// Labels with their probabilities that the answer has of each input.
    pub(super) pairs: usize,
    /// How the answer is to be written.
    pub(super) plan: P,
    /// Whether the predictions are to be remembered.
    pub(super) remember: bool,
}

/// What a version says, in the form in which it is sent.
pub(super) struct Told<T> {
    /// The version.
    pub(super) version: i32,
    /// What it says.
    pub(super) answer: T,
}

impl IntoResponse for Told<Response> {
    fn into_response(self) -> Response {
        let mut response = self.answer;
        response.headers_mut().insert(X_PERENNIAL_VERSION, HeaderValue::from(self.version));
        response
    }
}

/// Answers a body: `read` makes inputs of it, the version answers them, `write` renders.
pub(super) async fn exchange<P: Send + 'static, T: Send + 'static>(
    context: &Context,
    model: &ModelName,
    target: &Target,
    client: Option<HeaderValue>,
    bulk: Bulk,
    read: impl FnOnce(&ModelSettings, &Chosen) -> Result<Asked<P>, Problem> + Send + 'static,
    write: impl FnOnce(&Answered, P) -> Result<T, Problem> + Send + 'static,
) -> Result<Told<T>, Problem> {
    let route = context.serving.route(context, model).await?;
    let client = client.as_ref().map(HeaderValue::as_bytes);
    let chosen = Arc::new(serving::choose(context, &route, target, client).await?);
    let counted = chosen.begin();
    let takes_images = route.model.settings.input.image().is_some();
    let heavy = bulk.is_heavy(takes_images);
    let asked = Arc::clone(&chosen);
    let read = move || read(&route.model.settings, &asked);
    let (asked, reading) = read_in_turn(model, heavy, takes_images, read).await?;
    let Asked { inputs, pairs, plan, remember } = asked?;
    // Before anything is computed for a request that is refused.
    let room = match remember {
        true => Some(context.remembered.room_for(&inputs)?),
        false => None,
    };
    let ready = Ready { inputs, pairs, room, reading, counted };
    let answer = respond(context, &chosen, ready, move |answered| write(answered, plan)).await?;
    Ok(Told { version: chosen.version, answer })
}

/// Inputs that were read and are to be answered.
pub(super) struct Ready {
    /// The inputs.
    pub(super) inputs: Inputs,
    /// Labels with their probabilities that the answer has of each input.
    pub(super) pairs: usize,
    /// Room to remember them, where they are to be remembered.
    pub(super) room: Option<Held>,
    /// How they came to be read.
    pub(super) reading: Reading,
    /// Their request, counted since it began.
    pub(super) counted: Begun,
}

/// How long inputs waited for their turn to be read, and how long they were read.
pub(super) struct Reading {
    waited: Duration,
    took: Duration,
}

/// Reads inputs for a model, in turn where they are images that take long.
pub(super) async fn read_in_turn<T: Send + 'static>(
    model: &ModelName,
    heavy: bool,
    takes_images: bool,
    read: impl FnOnce() -> T + Send + 'static,
) -> Result<(T, Reading), Problem> {
    let asked_at = Instant::now();
    let turn = match heavy && takes_images {
        true => Some(READERS.take(model).await?),
        false => None,
    };
    let began_at = Instant::now();
    let inputs = compute(heavy, move || {
        // Until the work is done, which goes on when nobody waits for it any more.
        let _turn = turn;
        read()
    });
    let inputs = inputs.await?;
    Ok((inputs, Reading { waited: began_at - asked_at, took: began_at.elapsed() }))
}

/// Has inputs answered and the answer written, and counts it.
pub(super) async fn respond<T: Send + 'static>(
    context: &Context,
    chosen: &Chosen,
    ready: Ready,
    write: impl FnOnce(&Answered) -> Result<T, Problem> + Send + 'static,
) -> Result<T, Problem> {
    let Ready { inputs, pairs, room, reading, counted } = ready;
    let n_inputs = inputs.len();
    let answered = chosen.answer(context, inputs, room).await?;
    let (queue, infer) = (reading.waited + answered.waited, answered.took);
    let answered_at = Instant::now();
    let heavy = n_inputs.saturating_mul(pairs) * PAIR_BYTES >= HEAVY_BYTES;
    let written = compute(heavy, move || write(&answered)).await??;
    let output = answered_at.elapsed();
    counted.succeed(n_inputs, Spans { queue, input: reading.took, infer, output });
    Ok(written)
}

/// Who asks, as far as a request tells: a client of a canary stays one.
pub(super) fn client_of(headers: &HeaderMap) -> Option<HeaderValue> {
    headers.get(X_CLIENT_ID).or_else(|| headers.get(header::AUTHORIZATION)).cloned()
}

/// What answers where no version is named.
pub(super) fn live_version() -> Result<Target, Invalid> {
    Ok(Target::Alias(AliasName::parse(LIVE)?))
}

/// Refuses too many inputs, and none.
pub(super) fn check_count(n_inputs: usize) -> Result<(), Invalid> {
    match n_inputs {
        1..=MAX_INPUTS => Ok(()),
        n => Err(Invalid::new(format!("give 1 to {MAX_INPUTS} inputs, not {n}"))),
    }
}

/// Refuses an answer that would hold too many pairs.
pub(super) fn check_pairs(n_inputs: usize, n_labels: usize) -> Result<(), Invalid> {
    if n_inputs.saturating_mul(n_labels) <= MAX_PAIRS {
        return Ok(());
    }
    Err(Invalid::new(format!(
        "{n_inputs} inputs times {n_labels} labels is more than the {MAX_PAIRS} probabilities of one \
         answer; ask in several requests"
    )))
}

/// Runs what takes long on a thread of its own, and the rest right here.
pub(super) async fn compute<T: Send + 'static>(
    heavy: bool,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Problem> {
    match heavy {
        false => Ok(work()),
        true => tokio::task::spawn_blocking(work).await.map_err(Problem::internal),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_may_hold_an_image_file_is_heavy_where_images_are_taken() {
        let json = |text: &str| Bulk::Json(Bytes::copy_from_slice(text.as_bytes()));
        let file = "R0lGODlhoBagFoAAAP8AAAAAACwAAAAAAQABAAACAkQBADs=";
        for text in [
            format!(r#"{{"inputs": ["{file}"]}}"#),
            format!(r#"{{"\"": "\\", "inputs": ["{file}"]}}"#),
            format!(r#"{{"id": "\"\"\"", "inputs": ["data:;base64,{file}"]}}"#),
            format!(r#"{{"inputs": ["{}"]}}"#, file.replace('A', "\\u0041")),
            format!(r#"{{"inputs": ["{file}"#),
        ] {
            assert!(json(&text).is_heavy(true), "{text}");
            assert!(!json(&text).is_heavy(false), "{text}");
        }
        let pixels = format!(r#"{{"inputs": [[{}0]], "top_k": 1}}"#, "0, ".repeat(783));
        assert!(!json(&pixels).is_heavy(true), "pixels are numbers");
        assert!(json(&"0, ".repeat(HEAVY_BYTES)).is_heavy(true));
        assert!(Bulk::Files(1).is_heavy(true) && !Bulk::Files(1).is_heavy(false));
        assert!(!Bulk::Numbers(HEAVY_BYTES - 1).is_heavy(true));
        assert!(Bulk::Numbers(HEAVY_BYTES).is_heavy(false));
    }
}
