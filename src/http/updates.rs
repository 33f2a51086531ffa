//! `/v1/updates` and a model's own: ask for updates, follow them, stop them, try them again.

use std::time::Duration;

use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, HeaderName, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::error::{Problem, ProblemBody};
use super::extract::{Body, ModelPath, Path, Query, expect_json, parse_object};
use super::idempotency::{idempotency_key, replay};
use super::page::{Page, PageQuery, PageRequest};
use crate::domain::Invalid;
use crate::domain::name::ModelName;
use crate::domain::update::{Decision, Outcome, Phase, Report, Trigger, UpdateStatus};
use crate::services::ingest::Answer;
use crate::services::{Context, requests};
use crate::storage::decisions::DecisionRow;
use crate::storage::idempotency::GivenAnswer;
use crate::storage::jobs::Job;

/// The longest that a request may wait for an update to end.
pub const MAX_WAIT: Duration = Duration::from_secs(60);

/// An update of a model: a job that trains it on what came in.
#[derive(Debug, Serialize, ToSchema)]
pub struct Update {
    /// Its id.
    id: Uuid,
    /// The model that it updates.
    #[schema(value_type = String, example = "digits")]
    model: ModelName,
    /// Where it is in its life.
    status: UpdateStatus,
    /// What it is at, or was at when it ended.
    #[schema(required = true)]
    phase: Option<Phase>,
    /// Share of the work done, 0 to 1.
    #[schema(minimum = 0, maximum = 1)]
    progress: f64,
    /// Why it was queued.
    trigger: Trigger,
    /// Runs so far.
    attempt: i32,
    /// Somebody asked it to stop.
    cancel_requested: bool,
    /// When it was queued.
    #[serde(with = "time::serde::rfc3339")]
    created_at: OffsetDateTime,
    /// When its present or last run began.
    #[serde(with = "time::serde::rfc3339::option")]
    #[schema(required = true)]
    started_at: Option<OffsetDateTime>,
    /// When it ended.
    #[serde(with = "time::serde::rfc3339::option")]
    #[schema(required = true)]
    finished_at: Option<OffsetDateTime>,
    /// How it came out, once succeeded.
    #[schema(required = true)]
    outcome: Option<Outcome>,
    /// The version that it made.
    #[schema(required = true)]
    version: Option<i32>,
    /// Why its last run failed.
    #[schema(value_type = Option<ProblemBody<'static>>, required = true)]
    error: Option<serde_json::Value>,
    /// What it did so far.
    #[schema(required = true)]
    report: Option<Report>,
}

impl From<Job> for Update {
    fn from(job: Job) -> Self {
        Self {
            id: job.id,
            model: job.model,
            status: job.status,
            phase: job.phase,
            // Nobody needs more digits of it.
            progress: (f64::from(job.progress) * 1e4).round() / 1e4,
            trigger: job.trigger,
            attempt: job.attempt,
            cancel_requested: job.cancel_requested,
            created_at: job.created_at,
            started_at: job.started_at,
            finished_at: job.finished_at,
            outcome: job.outcome,
            version: job.version,
            error: job.error,
            report: job.report,
        }
    }
}

/// What an update decided about one sample.
#[derive(Debug, Serialize, ToSchema)]
pub struct SampleDecision {
    /// The client's id for the sample, else its content hash.
    id: String,
    /// The decision.
    #[schema(value_type = Decision)]
    decision: String,
    /// The cluster that it fell into.
    #[schema(required = true)]
    cluster: Option<i32>,
    /// Its distance to that cluster's centre.
    #[schema(required = true)]
    distance: Option<f32>,
    /// Whether it lies far from all others of its label, whatever was decided for it.
    outlier: bool,
}

impl From<DecisionRow> for SampleDecision {
    fn from(row: DecisionRow) -> Self {
        let DecisionRow { sample_id, decision, cluster, distance, outlier, .. } = row;
        Self { id: sample_id, decision, cluster, distance, outlier }
    }
}

/// The path names an update.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub struct UpdatePath {
    /// The update's id.
    pub id: Uuid,
}

/// Which updates to list.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct UpdatesQuery {
    /// Only those in this status.
    pub status: Option<UpdateStatus>,
    /// Most items to answer.
    #[param(minimum = 1, maximum = 200, default = 50)]
    pub limit: Option<u32>,
    /// The `next_cursor` of the page before.
    pub cursor: Option<String>,
}

/// How to ask for an update.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct RequestQuery {
    /// Only tell what an update would do now.
    #[serde(default)]
    pub dry_run: bool,
}

/// What to ask of an update; the body may also be empty.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct UpdateRequest {
    /// Train even when nothing is pending.
    force: bool,
}

/// How long to wait for an update.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct WaitQuery {
    /// Answer when the update ends, or after this many seconds.
    #[param(minimum = 0, maximum = 60, default = 0)]
    pub wait: Option<u64>,
}

/// List the updates of all models, newest first.
#[utoipa::path(get, path = "/v1/updates", operation_id = "listUpdates", tag = "updates",
    params(UpdatesQuery),
    responses((status = 200, description = "A page of updates.", body = Page<Update>)))]
pub async fn list_all(
    State(context): State<Context>,
    Query(query): Query<UpdatesQuery>,
) -> Result<axum::Json<Page<Update>>, Problem> {
    page(&context, None, &query).await
}

/// List a model's updates, newest first.
#[utoipa::path(get, path = "/v1/models/{model}/updates", operation_id = "listModelUpdates",
    tag = "updates", params(ModelPath, UpdatesQuery),
    responses((status = 200, description = "A page of updates.", body = Page<Update>)))]
pub async fn list(
    State(context): State<Context>,
    Path(path): Path<ModelPath>,
    Query(query): Query<UpdatesQuery>,
) -> Result<axum::Json<Page<Update>>, Problem> {
    page(&context, Some(&path.model), &query).await
}

async fn page(
    context: &Context,
    model: Option<&ModelName>,
    query: &UpdatesQuery,
) -> Result<axum::Json<Page<Update>>, Problem> {
    let request = PageRequest::<Uuid>::parse(query.limit, query.cursor.as_deref())?;
    let (after, n_rows) = (request.after, request.n_rows());
    let jobs = requests::list(context, model, query.status, after, n_rows).await?;
    Ok(axum::Json(request.page(jobs, |job| job.id, Update::from)))
}

/// Ask for an update of a model, or for what one would do.
///
/// A queued update takes further requests in: two requests in a row are answered by one update.
#[utoipa::path(post, path = "/v1/models/{model}/updates", operation_id = "requestUpdate",
    tag = "updates",
    params(ModelPath, RequestQuery,
        ("Idempotency-Key" = Option<String>, Header,
         description = "The same key with the same request is answered as it was the first time, \
                        for 24 hours.")),
    request_body = Option<UpdateRequest>,
    responses(
        (status = 200, description = "With `dry_run`: what an update would do now. Nothing changed.",
         body = Report),
        (status = 202, description = "The queued update.", body = Update,
         headers(("Location" = String, description = "Where the update is."),
                 ("Idempotency-Replayed" = Option<bool>,
                  description = "True when the key was answered before."))),
        (status = 409, description = "Nothing is pending, or the key is being answered right now."),
    ))]
pub async fn request(
    State(context): State<Context>,
    Path(path): Path<ModelPath>,
    Query(query): Query<RequestQuery>,
    RawQuery(raw_query): RawQuery,
    headers: HeaderMap,
    Body(body): Body,
) -> Result<Response, Problem> {
    let wanted = match body.trim_ascii() {
        [] => UpdateRequest::default(),
        _ => {
            expect_json(&headers)?;
            parse_object(&body)?
        }
    };
    if query.dry_run {
        let report = requests::dry_run(&context, &path.model).await?;
        return Ok(axum::Json(report).into_response());
    }
    let key = idempotency_key(&headers, raw_query.as_deref(), &body)?;
    let answer =
        requests::request(&context, &path.model, wanted.force, key.as_ref(), to_keep).await?;
    Ok(match answer {
        Answer::New(job) => accepted(job).into_response(),
        Answer::Replayed(given) => replay(given),
    })
}

type Accepted = (StatusCode, [(HeaderName, String); 1], axum::Json<Update>);

fn accepted(job: Job) -> Accepted {
    let location = [(header::LOCATION, location(&job))];
    (StatusCode::ACCEPTED, location, axum::Json(job.into()))
}

fn location(job: &Job) -> String {
    format!("/v1/updates/{}", job.id)
}

/// The answer as it is kept for the request's key.
fn to_keep(job: &Job) -> GivenAnswer {
    GivenAnswer {
        // Filled in by whoever keeps it.
        fingerprint: Vec::new(),
        status: StatusCode::ACCEPTED.as_u16(),
        location: Some(location(job)),
        body: serde_json::to_value(Update::from(job.clone())).unwrap_or_default(),
    }
}

/// Read an update, at once or when it has ended.
#[utoipa::path(get, path = "/v1/updates/{id}", operation_id = "getUpdate", tag = "updates",
    params(UpdatePath, WaitQuery),
    responses((status = 200, description = "The update.", body = Update)))]
pub async fn get(
    State(context): State<Context>,
    Path(path): Path<UpdatePath>,
    Query(query): Query<WaitQuery>,
) -> Result<axum::Json<Update>, Problem> {
    let wait = Duration::from_secs(query.wait.unwrap_or(0));
    if wait > MAX_WAIT {
        return Err(Invalid::at("/query/wait", "wait is 0 to 60 seconds").into());
    }
    let job = requests::wait(&context, path.id, wait).await?;
    Ok(axum::Json(job.into()))
}

/// List what an update decided about each sample, in its own order.
#[utoipa::path(get, path = "/v1/updates/{id}/selection", operation_id = "listUpdateSelection",
    tag = "updates", params(UpdatePath, PageQuery),
    responses((status = 200, description = "A page of decisions.", body = Page<SampleDecision>)))]
pub async fn selection(
    State(context): State<Context>,
    Path(path): Path<UpdatePath>,
    Query(query): Query<PageQuery>,
) -> Result<axum::Json<Page<SampleDecision>>, Problem> {
    let request = PageRequest::<i32>::try_from(&query)?;
    let rows = requests::decisions(&context, path.id, request.after, request.n_rows()).await?;
    Ok(axum::Json(request.page(rows, |row| row.position, SampleDecision::from)))
}

/// Cancel an update: a queued one at once, a running one between two minibatches.
#[utoipa::path(post, path = "/v1/updates/{id}/cancel", operation_id = "cancelUpdate",
    tag = "updates", params(UpdatePath),
    responses(
        (status = 202, description = "It is cancelled, or will be soon.", body = Update,
         headers(("Location" = String, description = "Where the update is."))),
        (status = 409, description = "The update has ended."),
    ))]
pub async fn cancel(
    State(context): State<Context>,
    Path(path): Path<UpdatePath>,
) -> Result<Accepted, Problem> {
    Ok(accepted(requests::cancel(&context, path.id).await?))
}

/// Queue a failed or cancelled update again.
#[utoipa::path(post, path = "/v1/updates/{id}/retry", operation_id = "retryUpdate",
    tag = "updates", params(UpdatePath),
    responses(
        (status = 202, description = "It is queued.", body = Update,
         headers(("Location" = String, description = "Where the update is."))),
        (status = 409, description = "It has neither failed nor been cancelled, or another update \
                                      of the model is queued."),
    ))]
pub async fn retry(
    State(context): State<Context>,
    Path(path): Path<UpdatePath>,
) -> Result<Accepted, Problem> {
    Ok(accepted(requests::retry(&context, path.id).await?))
}
