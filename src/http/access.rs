//! Who is let in: every request passes here before anything of its body is read.
//!
//! Invariant: a route that [`scopes`] does not call public is answered only to a caller who may.

pub mod rates;
pub mod scopes;

use std::net::SocketAddr;

use axum::extract::{ConnectInfo, FromRequestParts, MatchedPath, RawPathParams, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use uuid::Uuid;

use self::rates::Asker;
use super::HttpState;
use super::error::{Problem, ProblemCode};
use super::foreign::{PREDICT, has_verb, model_of};
use crate::domain::key::{Key, Scope};
use crate::services::access::{Caller, Stranger};
use crate::services::{Context, requests};

/// Lets a request in where its caller may ask it, and not too often.
pub async fn admit(State(state): State<HttpState>, request: Request, next: Next) -> Response {
    let route = request.extensions().get::<MatchedPath>().cloned();
    let route = route.as_ref().map_or("", MatchedPath::as_str);
    let route = if has_verb(request.method(), request.uri().path()) { PREDICT } else { route };
    let Some(scopes) = scopes::needed(request.method(), route) else {
        return next.run(request).await;
    };
    let (mut parts, body) = request.into_parts();
    let caller = match state.context.access.identify(key_of(&parts.headers)) {
        Ok(caller) => caller,
        Err(stranger) => return refuse(stranger).into_response(),
    };
    let asker = asker(&caller, &parts);
    let counted = state.rates.count(asker, own_rate(&caller));
    let admitted = match (&counted, &caller) {
        (Some(counted), _) if counted.is_refused() => Err(counted.problem()),
        (_, Caller::Holder(known)) => may(&state.context, &known.key, scopes, &mut parts).await,
        (_, Caller::Anyone) => Ok(()),
    };
    let mut response = match admitted {
        Ok(()) => caller.asks(next.run(Request::from_parts(parts, body))).await,
        Err(problem) => problem.into_response(),
    };
    if let Some(counted) = counted {
        counted.write(response.headers_mut());
    }
    response
}

/// The key that a request brings: `Authorization: Bearer KEY`.
fn key_of(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, key) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| key.trim())
}

fn refuse(stranger: Stranger) -> Problem {
    match stranger {
        Stranger::NoKey => Problem::new(
            ProblemCode::Unauthenticated,
            "this service is closed: send `Authorization: Bearer KEY`; whoever runs it makes keys \
             with `perennial key create`",
        ),
        Stranger::WrongKey => {
            Problem::new(ProblemCode::Unauthenticated, "this key is unknown, revoked or expired")
        }
        Stranger::NotYet => Problem::new(
            ProblemCode::Unavailable,
            "the service has not read its keys yet; try again shortly",
        ),
    }
}

/// Whom the request counts for.
fn asker(caller: &Caller, parts: &Parts) -> Asker {
    match caller {
        Caller::Holder(known) => Asker::Key(known.key.id),
        Caller::Anyone => {
            let peer = parts.extensions.get::<ConnectInfo<SocketAddr>>();
            Asker::of_address(peer.map(|ConnectInfo(address)| address.ip()))
        }
    }
}

fn own_rate(caller: &Caller) -> Option<u32> {
    match caller {
        Caller::Holder(known) => known.key.terms.requests_per_minute,
        Caller::Anyone => None,
    }
}

/// Whether the key may do one of `scopes` to what the path names.
async fn may(
    context: &Context,
    key: &Key,
    scopes: &[Scope],
    parts: &mut Parts,
) -> Result<(), Problem> {
    if !key.may(scopes) {
        let words: Vec<&str> = scopes.iter().map(|scope| scope.as_str()).collect();
        let detail = format!("the key {} lacks the scope {}", key.prefix, words.join(" or "));
        return Err(Problem::new(ProblemCode::Forbidden, detail));
    }
    let Some(models) = &key.terms.models else { return Ok(()) };
    let params = RawPathParams::from_request_parts(parts, &()).await;
    let params = params.map_err(|_| Problem::of_status(StatusCode::NOT_FOUND))?;
    if let Some(model) = model_of(&params) {
        return match key.opens(model) {
            true => Ok(()),
            // As if it were not there: what else there is, is none of its holder's business.
            false => Err(Problem::not_found(format_args!("model {model}"))),
        };
    }
    let id = params.iter().find(|(name, _)| *name == "id");
    if let Some(id) = id.and_then(|(_, id)| Uuid::parse_str(id).ok()) {
        return match requests::model_of(context, id).await? {
            Some(model) if key.opens(model.as_str()) => Ok(()),
            _ => Err(Problem::not_found(format_args!("update {id}"))),
        };
    }
    let models: Vec<&str> = models.iter().map(|model| model.as_str()).collect();
    let detail = format!("the key {} is for these models alone: {}", key.prefix, models.join(", "));
    Err(Problem::new(ProblemCode::Forbidden, detail))
}
