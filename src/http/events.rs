//! `/v1/events` and an update's own: what happens, as it happens, as server-sent events (WHATWG HTML,
//! section 9.2).
//!
//! A listener that comes back with `Last-Event-ID`, as browsers do by themselves, is told what it
//! missed. A stream takes no slot of ordinary requests and ends when the service stops, and with the key that
//! opened it.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, StatusCode, header};
use axum::response::sse::{Event as Frame, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::{StreamExt, stream};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use tokio_util::sync::CancellationToken;
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::HttpState;
use super::access::Admitted;
use super::error::{Problem, ProblemBody};
use super::extract::{Path, Query};
use super::updates::UpdatePath;
use crate::domain::Invalid;
use crate::domain::name::ModelName;
use crate::domain::update::{Outcome, Phase, UpdateStatus};
use crate::services::events::{self, Listener};
use crate::storage::events::Event as StoredEvent;

/// How long a client waits before it comes back.
const RETRY: Duration = Duration::from_secs(3);
/// How often a silent stream says that it is still there.
const HEARTBEAT: Duration = Duration::from_secs(15);
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
/// Tells proxies not to hold events back.
const X_ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// What an event's `data` says, as JSON in one line; which fields there are beyond the first four
/// depends on the event.
#[derive(Debug, ToSchema)]
#[expect(dead_code, reason = "the shape of what is sent as a stream of text")]
pub struct UpdateEvent {
    /// The update that it happened to; null for `rollback`, which happens to the model.
    #[schema(required = true)]
    update: Option<Uuid>,
    /// The model.
    #[schema(value_type = String, example = "digits")]
    model: ModelName,
    /// The run that it happened in, from 1; 0 where it happened in none.
    attempt: i32,
    /// When it was told.
    created_at: OffsetDateTime,
    /// `phase`: what the update is at now.
    phase: Option<Phase>,
    /// `progress`: share of the work done, 0 to 1.
    progress: Option<f64>,
    /// `epoch`: its number, from 1.
    epoch: Option<usize>,
    /// `epoch`: mean training loss.
    loss: Option<f64>,
    /// `epoch`: share of training samples answered rightly while they were trained on. `rollback`: share of the
    /// version's predictions that was right, of the first ones since `live` pointed at it.
    accuracy: Option<f64>,
    /// `epoch`: mean loss on held-out samples, where the epoch was judged.
    held_out_loss: Option<f64>,
    /// `end`: succeeded, failed or cancelled.
    status: Option<UpdateStatus>,
    /// `end`: how it came out, when it succeeded.
    outcome: Option<Outcome>,
    /// `end`: the version that it made.
    version: Option<i32>,
    /// `end`: why it failed.
    #[schema(value_type = Option<ProblemBody<'static>>)]
    error: Option<serde_json::Value>,
    /// `rollback`: the version that `live` left.
    from: Option<i32>,
    /// `rollback`: the older version that it returned to.
    to: Option<i32>,
    /// `rollback`: on so many labelled predictions.
    labelled: Option<i64>,
    /// `rollback`: the accuracy of the version that it returned to, on its last predictions until then.
    previous_accuracy: Option<f64>,
    /// `rollback`: on so many labelled predictions.
    previous_labelled: Option<i64>,
}

/// From where on to listen.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct EventsQuery {
    /// Begin after the event of this id, as `Last-Event-ID` does, which wins.
    #[param(minimum = 0)]
    pub after: Option<i64>,
}

/// Follow an update, as server-sent events.
///
/// It is told from its beginning: `phase` when one begins, `epoch` after each pass over the samples,
/// `progress` when a hundredth of the work or more was done, and `end`, after which the stream closes.
/// An update that starts over says so by a higher `attempt`. Events are kept for 7 days.
#[utoipa::path(get, path = "/v1/updates/{id}/events", operation_id = "followUpdate", tag = "updates",
    params(UpdatePath, EventsQuery,
        ("Last-Event-ID" = Option<i64>, Header, description = "The last event that was seen.")),
    responses(
        (status = 200, description = "The events.", body = UpdateEvent,
         content_type = "text/event-stream"),
        (status = 204, description = "The update has ended and there is nothing more to tell: do not \
                                      come back."),
    ))]
pub async fn of_update(
    State(state): State<HttpState>,
    Extension(admitted): Extension<Admitted>,
    Path(path): Path<UpdatePath>,
    Query(query): Query<EventsQuery>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let after = after(&query, &headers)?;
    let listener = events::listen(&state.context, Some(path.id), after).await?;
    Ok(render(listener, admitted, state.shutdown.clone()))
}

/// Follow all updates, as server-sent events.
///
/// They are told as they happen from now on, or from after the event that is named. The stream stays
/// open. Beside them it is told where `live` returned by itself to the version before (`gate.rollback`):
/// `rollback`, which is kept as long as its model.
#[utoipa::path(get, path = "/v1/events", operation_id = "followUpdates", tag = "updates",
    params(EventsQuery,
        ("Last-Event-ID" = Option<i64>, Header, description = "The last event that was seen.")),
    responses((status = 200, description = "The events.", body = UpdateEvent,
               content_type = "text/event-stream")))]
pub async fn of_all(
    State(state): State<HttpState>,
    Extension(admitted): Extension<Admitted>,
    Query(query): Query<EventsQuery>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let after = after(&query, &headers)?;
    let listener = events::listen(&state.context, None, after).await?;
    Ok(render(listener, admitted, state.shutdown.clone()))
}

/// The last event that the client saw: a browser that comes back tells it in a header, beside the
/// query that it began with.
fn after(query: &EventsQuery, headers: &HeaderMap) -> Result<Option<i64>, Invalid> {
    let (id, pointer) = match headers.get(LAST_EVENT_ID) {
        Some(value) => {
            let id = value.to_str().ok().and_then(|text| text.parse().ok());
            (Some(id.unwrap_or(-1)), "/header/last-event-id")
        }
        None => (query.after, "/query/after"),
    };
    match id {
        Some(..0) => Err(Invalid::at(pointer, "give the id of an event, unchanged")),
        id => Ok(id),
    }
}

/// The stream of what `listener` is told, until nothing follows, the client goes, is let in no longer, or the
/// service stops.
fn render(listener: Option<Listener>, admitted: Admitted, shutdown: CancellationToken) -> Response {
    let Some(listener) = listener else { return StatusCode::NO_CONTENT.into_response() };
    let first = stream::iter([Ok::<_, Infallible>(Frame::default().retry(RETRY))]);
    let told = stream::unfold((listener, admitted), move |(mut listener, admitted)| {
        let shutdown = shutdown.clone();
        async move {
            let next = async { Ok::<_, Problem>(listener.next().await) };
            let told = shutdown.run_until_cancelled(admitted.while_let_in(next)).await?;
            let event = told.ok()??;
            Some((Ok(frame(&event)), (listener, admitted)))
        }
    });
    let headers = [
        (header::CONTENT_TYPE, "text/event-stream; charset=utf-8"),
        (header::CACHE_CONTROL, "no-store"),
        (X_ACCEL_BUFFERING, "no"),
    ];
    let events = Sse::new(first.chain(told)).keep_alive(KeepAlive::new().interval(HEARTBEAT));
    (headers, events).into_response()
}

fn frame(event: &Arc<StoredEvent>) -> Frame {
    #[derive(Serialize)]
    struct Data<'a> {
        update: Option<Uuid>,
        model: &'a ModelName,
        attempt: i32,
        #[serde(with = "time::serde::rfc3339")]
        created_at: OffsetDateTime,
        #[serde(flatten)]
        rest: &'a serde_json::Value,
    }
    let StoredEvent { id, update, ref model, attempt, kind, data: ref rest, created_at } = **event;
    let data = Data { update, model, attempt, created_at, rest };
    // Plain values: writing them cannot fail.
    let data = serde_json::to_string(&data).unwrap_or_default();
    Frame::default().id(id.to_string()).event(kind.as_str()).data(data)
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn the_header_wins_over_the_query_and_neither_may_be_nonsense() {
        let query = |after| EventsQuery { after };
        let header = |text| HeaderMap::from_iter([(LAST_EVENT_ID, HeaderValue::from_static(text))]);
        let none = HeaderMap::new();
        assert_eq!(after(&query(None), &none), Ok(None));
        assert_eq!(after(&query(Some(3)), &none), Ok(Some(3)));
        assert_eq!(after(&query(Some(3)), &header("7")), Ok(Some(7)));
        for (query, headers, at) in [
            (query(Some(-1)), none, "/query/after"),
            (query(Some(3)), header("-1"), "/header/last-event-id"),
            (query(Some(3)), header(""), "/header/last-event-id"),
            (query(None), header("7x"), "/header/last-event-id"),
        ] {
            assert_eq!(after(&query, &headers).unwrap_err().pointer, at);
        }
    }
}
