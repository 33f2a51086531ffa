//! Who is let in: every request passes here before anything of its body is read.
//!
//! Invariant: a route that [`scopes`] does not call public is answered only to a caller who may, and what stays
//! open only for as long as its caller may.

pub mod origins;
pub mod rates;
pub mod scopes;

use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::{ConnectInfo, FromRequestParts, MatchedPath, RawPathParams, Request};
use axum::http::request::Parts;
use axum::http::{Extensions, HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use uuid::Uuid;

use self::rates::{Asker, Counted, Rates};
use super::HttpState;
use super::error::{Problem, ProblemCode};
use super::foreign::model_of;
use crate::domain::key::{Key, Scope};
use crate::services::access::{Access, Caller, Stranger};
use crate::services::{Context, requests};

/// Hands a request on to `next` where its caller may ask it, and not too often.
pub(super) async fn admit<F: Future<Output = Response>>(
    state: &HttpState,
    request: Request,
    next: impl FnOnce(Request) -> F,
) -> Response {
    let route = route_of(&request);
    let Some(scopes) = scopes::needed(request.method(), route) else {
        return next(request).await;
    };
    let is_message = scopes::is_message(route);
    let (mut parts, body) = request.into_parts();
    let caller = match state.context.access.identify(key_of(&parts.headers)) {
        Ok(caller) => caller,
        Err(Stranger::NotYet) => return refuse(Stranger::NotYet).into_response(),
        Err(stranger) => return turn_away(stranger, &state.rates, &parts),
    };
    let (asker, access) = (asker(&caller, &parts), Arc::clone(&state.context.access));
    let admitted = Admitted { caller, asker, access, rates: Arc::clone(&state.rates) };
    let counted = admitted.count();
    let checked = match (&counted, admitted.key()) {
        (Some(counted), _) if counted.is_refused() => Err(counted.problem()),
        // The message tells the model; whoever reads it asks then.
        (_, Some(key)) if is_message => may(key, scopes),
        (_, Some(key)) => match may(key, scopes) {
            Ok(()) => Box::pin(opens_path(&state.context, key, &mut parts)).await,
            refused => refused,
        },
        (_, None) => state.origins.check(&parts),
    };
    let mut response = match checked {
        Ok(()) => {
            let caller = admitted.caller.clone();
            parts.extensions.insert(admitted);
            caller.asks(next(Request::from_parts(parts, body))).await
        }
        Err(problem) => problem.into_response(),
    };
    if let Some(counted) = counted {
        counted.write(response.headers_mut());
    }
    response
}

/// The route by which [`scopes`] are needed; empty where there is none.
pub(super) fn route_of(request: &Request) -> &str {
    request.extensions().get::<MatchedPath>().map_or("", MatchedPath::as_str)
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

/// Refuses a stranger, whose address is told when it tries too often.
fn turn_away(stranger: Stranger, rates: &Rates, parts: &Parts) -> Response {
    let Some(counted) = rates.count(address(parts), None) else {
        return refuse(stranger).into_response();
    };
    let problem = match counted.is_refused() {
        true => counted.problem(),
        false => refuse(stranger),
    };
    let mut response = problem.into_response();
    counted.write(response.headers_mut());
    response
}

/// Whom the request counts for.
fn asker(caller: &Caller, parts: &Parts) -> Asker {
    match caller {
        Caller::Holder(known) => Asker::Key(known.key.id),
        Caller::Anyone => address(parts),
    }
}

/// Whoever is at the other end of the request's connection.
fn address(parts: &Parts) -> Asker {
    let peer = parts.extensions.get::<ConnectInfo<SocketAddr>>();
    Asker::of_address(peer.map(|ConnectInfo(address)| address.ip()))
}

/// Whether the key may do one of `scopes`.
fn may(key: &Key, scopes: &[Scope]) -> Result<(), Problem> {
    if key.may(scopes) {
        return Ok(());
    }
    let words: Vec<&str> = scopes.iter().map(|scope| scope.as_str()).collect();
    let detail = format!("the key {} lacks the scope {}", key.prefix, words.join(" or "));
    Err(Problem::new(ProblemCode::Forbidden, detail))
}

/// Whether the key is for what the path names.
async fn opens_path(context: &Context, key: &Key, parts: &mut Parts) -> Result<(), Problem> {
    if key.terms.models.is_none() {
        return Ok(());
    }
    let params = RawPathParams::from_request_parts(parts, &()).await;
    let params = params.map_err(|_| Problem::of_status(StatusCode::NOT_FOUND))?;
    let id = params.iter().find(|(name, _)| *name == "id");
    match (model_of(&params), id.and_then(|(_, id)| Uuid::parse_str(id).ok())) {
        (None, Some(id)) => match requests::model_of(context, id).await? {
            Some(model) if key.opens(model.as_str()) => Ok(()),
            _ => Err(Problem::not_found(format_args!("update {id}"))),
        },
        (model, _) => opens(key, model),
    }
}

/// Whether the key is for this model, or for all.
fn opens(key: &Key, model: Option<&str>) -> Result<(), Problem> {
    match (&key.terms.models, model) {
        (None, _) => Ok(()),
        (_, Some(model)) if key.opens(model) => Ok(()),
        // As if it were not there: what else there is, is none of its holder's business.
        (_, Some(model)) => Err(Problem::not_found(format_args!("model {model}"))),
        (Some(models), None) => {
            let models: Vec<&str> = models.iter().map(|model| model.as_str()).collect();
            let (prefix, models) = (&key.prefix, models.join(", "));
            let detail = format!("the key {prefix} is for these models alone: {models}");
            Err(Problem::new(ProblemCode::Forbidden, detail))
        }
    }
}

/// Who was let in.
#[derive(Clone)]
pub struct Admitted {
    caller: Caller,
    asker: Asker,
    access: Arc<Access>,
    rates: Arc<Rates>,
}

impl Admitted {
    /// Who was let in with a request.
    pub(super) fn of(extensions: &Extensions) -> Result<&Self, Problem> {
        let admitted = extensions.get();
        admitted.ok_or_else(|| Problem::internal("what is open to all asks who was let in"))
    }

    /// Does what takes long, and breaks off when they are let in no longer.
    pub(super) async fn while_let_in<T, E: From<Problem>>(
        &self,
        work: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        let stranger = match &self.caller {
            Caller::Anyone => Stranger::NoKey,
            Caller::Holder(_) => Stranger::WrongKey,
        };
        tokio::select! {
            // Whatever is there to be told, too.
            biased;
            () = self.access.ends(&self.caller) => Err(refuse(stranger).into()),
            done = work => done,
        }
    }

    /// Whether they may ask about this model, or about all.
    pub(super) fn opens(&self, model: Option<&str>) -> Result<(), Problem> {
        self.key().map_or(Ok(()), |key| opens(key, model))
    }

    /// Counts one more request of theirs, and refuses it where it is one too many.
    pub(super) fn asks_again(&self) -> Result<(), Problem> {
        match self.count() {
            Some(counted) if counted.is_refused() => Err(counted.problem()),
            _ => Ok(()),
        }
    }

    fn count(&self) -> Option<Counted> {
        let own = self.key().and_then(|key| key.terms.requests_per_minute);
        self.rates.count(self.asker, own)
    }

    fn key(&self) -> Option<&Key> {
        match &self.caller {
            Caller::Holder(known) => Some(&known.key),
            Caller::Anyone => None,
        }
    }
}
