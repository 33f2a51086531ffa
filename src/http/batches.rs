//! `/v1/models/{model}/batches`: send labelled samples, and see what became of them.
//!
//! A batch is read whole before anything is asked of the database, parsed on a thread of its own,
//! and stored while it is parsed; what breaks off anywhere leaves nothing behind.

use std::collections::BTreeMap;

use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, HeaderName, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::HttpState;
use super::error::Problem;
use super::extract::{ModelPath, Path, Query};
use super::format::Format;
use super::idempotency::{KeyedRequest, replay};
use super::page::{Page, PageQuery, PageRequest};
use super::samples::{Expected, Unreadable};
use super::spool::spool;
use crate::domain::batch::Rejection;
use crate::domain::name::ModelName;
use crate::domain::update::UpdateStatus;
use crate::services::ingest::{self, Answer, IngestOptions, Ingested, UpdatePolicy};
use crate::services::requests::UpdateRef;
use crate::services::{Context, registry};
use crate::storage::batches::Batch as StoredBatch;
use crate::storage::idempotency::GivenAnswer;

/// Labelled samples, as JSON.
#[derive(Debug, ToSchema)]
#[schema(example = json!({"samples": [{"input": [0.0, 0.5, 1.0], "label": "cat"}]}))]
#[expect(dead_code, reason = "the shape of what json.rs reads without building it")]
pub struct NewBatch {
    /// The samples, at least one.
    #[schema(min_items = 1)]
    samples: Vec<NewSample>,
}

/// One labelled sample; also one line of NDJSON.
#[derive(Debug, ToSchema)]
#[expect(dead_code, reason = "the shape of what samples.rs reads without building it")]
pub struct NewSample {
    /// What the model is to see.
    input: Input,
    /// What it is to say.
    #[schema(min_length = 1, max_length = 256, example = "cat")]
    label: String,
    /// The client's own id: the same id is stored once.
    #[schema(min_length = 1, max_length = 256)]
    id: Option<String>,
    /// Whom the sample is about: all of a subject's samples can be forgotten at once. A sample that the
    /// model has already stays with the subject that it came with.
    #[schema(min_length = 1, max_length = 256)]
    subject: Option<String>,
    /// How much the sample counts in training, relative to others.
    #[schema(exclusive_minimum = 0, maximum = 1_000_000, default = 1)]
    weight: Option<f32>,
}

/// One input: values in the order of the model's features (numbers alone for a model of `dim`), or
/// an object by feature name, of which a missing value is null or left out; or a text; or an image,
/// as a file in base64 or as its pixels.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
#[schema(example = json!([0.0, 0.5, 1.0]))]
pub enum Input {
    /// Values in the order of the model's features; or the pixels of an image, whole numbers of 0
    /// to 255, as one array of height × width × channels, as rows of pixels, each an array of its
    /// channels, or, where there is one channel, as rows of numbers.
    Values(Vec<serde_json::Value>),
    /// Values by feature name.
    #[schema(value_type = Object)]
    ByName(serde_json::Map<String, serde_json::Value>),
    /// A text of up to 64 KiB of UTF-8; or an image file (PNG, JPEG, WebP, GIF or BMP) of up to 16
    /// MiB in base64, with a `data:` prefix or without.
    Text(String),
}

/// A file, byte by byte.
#[derive(Debug, ToSchema)]
#[schema(value_type = String, format = Binary)]
#[expect(dead_code, reason = "the shape of bodies that are read as they are")]
pub struct RawFile(Vec<u8>);

/// Image files by their labels, any number of each.
#[derive(Debug, ToSchema)]
#[expect(dead_code, reason = "the shape of what multipart.rs reads without building it")]
pub struct LabelledFiles(BTreeMap<String, Vec<RawFile>>);

/// What became of a batch.
#[derive(Debug, Serialize, ToSchema)]
pub struct Batch {
    /// Its id.
    id: Uuid,
    /// The model that it was sent to.
    #[schema(value_type = String, example = "digits")]
    model: ModelName,
    /// Samples read.
    #[schema(example = 1000)]
    received: u64,
    /// Samples stored.
    #[schema(example = 990)]
    accepted: u64,
    /// Samples that the model had already, by content or by id.
    #[schema(example = 6)]
    duplicates: u64,
    /// Samples refused.
    #[schema(example = 4)]
    rejected: u64,
    /// The first 100 of these.
    #[schema(max_items = 100)]
    rejections: Vec<Rejection>,
    /// When it was stored.
    #[serde(with = "time::serde::rfc3339")]
    created_at: OffsetDateTime,
}

impl Batch {
    fn new(model: &ModelName, batch: StoredBatch) -> Self {
        let StoredBatch { id, verdicts, created_at } = batch;
        Self {
            id,
            model: model.clone(),
            received: verdicts.received,
            accepted: verdicts.accepted,
            duplicates: verdicts.duplicates,
            rejected: verdicts.rejected,
            rejections: verdicts.rejections,
            created_at,
        }
    }
}

/// A stored batch, and the update that it waits for.
#[derive(Debug, Serialize, ToSchema)]
pub struct AcceptedBatch {
    /// The batch; what is accepted outlives any crash.
    batch: Batch,
    /// The update that it was queued into; null when none is queued.
    update: Option<QueuedUpdate>,
}

/// An update that a batch was queued into.
#[derive(Debug, Serialize, ToSchema)]
pub struct QueuedUpdate {
    /// Its id.
    id: Uuid,
    /// Where it is in its life.
    status: UpdateStatus,
}

impl From<UpdateRef> for QueuedUpdate {
    fn from(UpdateRef { id, status }: UpdateRef) -> Self {
        Self { id, status }
    }
}

/// How a batch is to be taken.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct BatchQuery {
    /// Whether to queue an update: when the model's schedule says so (the default), at once, or not
    /// this time.
    #[serde(default)]
    #[param(inline)]
    pub update: WhenToUpdate,
    /// Refuse the whole batch when one sample is bad.
    #[serde(default)]
    pub strict: bool,
    /// CSV and Arrow: the column that holds the label.
    #[serde(default = "default_label")]
    #[param(default = "label")]
    pub label: String,
}

fn default_label() -> String {
    "label".to_owned()
}

/// When a batch queues an update.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum WhenToUpdate {
    /// The model's schedule decides.
    #[default]
    Auto,
    /// At once.
    Now,
    /// Not this time.
    Never,
}

impl From<WhenToUpdate> for UpdatePolicy {
    fn from(when: WhenToUpdate) -> Self {
        match when {
            WhenToUpdate::Auto => Self::Auto,
            WhenToUpdate::Now => Self::Now,
            WhenToUpdate::Never => Self::Never,
        }
    }
}

/// The path names a batch of a model.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub struct BatchPath {
    /// The model's name.
    #[param(value_type = String, pattern = "^[a-z0-9][a-z0-9_-]{0,62}$", example = "digits")]
    pub model: ModelName,
    /// The batch's id.
    pub id: Uuid,
}

/// Send a batch of labelled samples.
///
/// A bad sample is rejected with its index and the reason, and the rest is kept; with `strict` the
/// whole batch is refused instead. A sample that the model has already is counted and not stored
/// again. The body may be as long as the service's limit allows; all but JSON is read in constant
/// memory. CSV has a header row: one column is the label, `id`, `subject` and `weight` are as in JSON,
/// the others are the features by name, or in their order for a model of `dim`, the pixels in theirs
/// for a model of images, or `text` alone for a model of texts; an empty cell is a missing value. An Arrow IPC stream
/// has the same columns, the label and the names as texts, and the input's as predictions take them.
///
/// A model of images also takes files as they are: multipart parts, each named by its label, or a
/// ZIP or tar archive, in which a file's label is the folder that it lies in (hidden files and
/// `__MACOSX` are passed over). A file has up to 16 MiB, sides of up to 16,384 pixels, and decodes
/// to up to 128 MiB; all images of a batch decode to up to 32 GiB, and all files of a ZIP archive
/// unpack to up to 4 GiB. Send a `.tar.gz` as application/x-tar with `Content-Encoding: gzip`.
#[utoipa::path(post, path = "/v1/models/{model}/batches", operation_id = "createBatch",
    tag = "batches",
    params(ModelPath, BatchQuery,
        ("Idempotency-Key" = Option<String>, Header,
         description = "The same key with the same request is answered as it was the first time, \
                        for 24 hours. The boundary of a multipart body is part of it.")),
    request_body(description = "The samples.", content(
        (NewBatch = "application/json"),
        (String = "application/x-ndjson",
         example = "{\"input\": [0.0, 0.5], \"label\": \"cat\"}\n{\"input\": [1.0, 0.5], \"label\": \"dog\"}\n"),
        (String = "text/csv", example = "x0,x1,label\n0.0,0.5,cat\n1.0,0.5,dog\n"),
        (RawFile = "application/vnd.apache.arrow.stream"),
        (LabelledFiles = "multipart/form-data"),
        (RawFile = "application/zip"),
        (RawFile = "application/x-tar"),
    )),
    responses(
        (status = 202, description = "The batch is stored.", body = AcceptedBatch,
         headers(("Location" = String, description = "Where the batch is."),
                 ("Idempotency-Replayed" = Option<bool>,
                  description = "True when the key was answered before."))),
        (status = 409, description = "The key is being answered right now."),
    ))]
pub async fn create(
    State(state): State<HttpState>,
    Path(path): Path<ModelPath>,
    Query(query): Query<BatchQuery>,
    RawQuery(raw_query): RawQuery,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let format = Format::of(&headers)?;
    let keyed = KeyedRequest::begin(&headers, raw_query.as_deref())?;
    let model = registry::find(&state.context, &path.model).await?;
    format.check_suits(&model.settings.input)?;
    let (body, key) = spool(body, keyed, &state.spool_dir, state.limits.idle_timeout).await?;
    let options =
        IngestOptions { strict: query.strict, update: query.update.into(), idempotency: key };
    let settings = &model.settings;
    let expected = Expected::new(settings.input.clone(), settings.learning.missing);
    let mut reading = None;
    let start = |parts| {
        let read = move || format.read(body, &query.label, expected, parts);
        reading = Some(tokio::task::spawn_blocking(read));
    };
    let keep = |ingested: &Ingested| to_keep(&path.model, ingested.clone());
    let answer = ingest::ingest(&state.context, &model, &options, start, keep).await;
    // A batch that could not be read broke off; why is for the reader to say.
    if let (Err(_), Some(reading)) = (&answer, reading) {
        match reading.await.map_err(Problem::internal)? {
            Ok(()) | Err(Unreadable::GivenUp) => {}
            Err(unreadable) => return Err(unreadable.into()),
        }
    }
    Ok(match answer? {
        Answer::New(ingested) => accepted(&path.model, ingested).into_response(),
        Answer::Replayed(given) => replay(given),
    })
}

type Accepted = (StatusCode, [(HeaderName, String); 1], axum::Json<AcceptedBatch>);

fn accepted(model: &ModelName, ingested: Ingested) -> Accepted {
    let location = [(header::LOCATION, location(model, ingested.batch.id))];
    (StatusCode::ACCEPTED, location, axum::Json(view(model, ingested)))
}

fn view(model: &ModelName, Ingested { batch, update }: Ingested) -> AcceptedBatch {
    AcceptedBatch { batch: Batch::new(model, batch), update: update.map(QueuedUpdate::from) }
}

fn location(model: &ModelName, id: Uuid) -> String {
    format!("/v1/models/{model}/batches/{id}")
}

/// The answer as it is kept for the request's key.
fn to_keep(model: &ModelName, ingested: Ingested) -> GivenAnswer {
    GivenAnswer {
        // Filled in by whoever keeps it.
        fingerprint: Vec::new(),
        status: StatusCode::ACCEPTED.as_u16(),
        location: Some(location(model, ingested.batch.id)),
        body: serde_json::to_value(view(model, ingested)).unwrap_or_default(),
    }
}

/// List a model's batches, newest first.
#[utoipa::path(get, path = "/v1/models/{model}/batches", operation_id = "listBatches",
    tag = "batches", params(ModelPath, PageQuery),
    responses((status = 200, description = "A page of batches.", body = Page<Batch>)))]
pub async fn list(
    State(context): State<Context>,
    Path(path): Path<ModelPath>,
    Query(query): Query<PageQuery>,
) -> Result<axum::Json<Page<Batch>>, Problem> {
    let request = PageRequest::<Uuid>::try_from(&query)?;
    let batches = ingest::list(&context, &path.model, request.after, request.n_rows()).await?;
    let render = |batch| Batch::new(&path.model, batch);
    Ok(axum::Json(request.page(batches, |batch| batch.id, render)))
}

/// Read what became of a batch.
#[utoipa::path(get, path = "/v1/models/{model}/batches/{id}", operation_id = "getBatch",
    tag = "batches", params(BatchPath),
    responses((status = 200, description = "The batch.", body = Batch)))]
pub async fn get(
    State(context): State<Context>,
    Path(path): Path<BatchPath>,
) -> Result<axum::Json<Batch>, Problem> {
    let batch = ingest::get(&context, &path.model, path.id).await?;
    Ok(axum::Json(Batch::new(&path.model, batch)))
}
