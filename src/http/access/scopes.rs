//! What each route needs: one rule, so that a new route is never open by oversight. Both the check
//! and the OpenAPI document read it.

use axum::http::Method;

use crate::domain::key::Scope;
use crate::http::instances;

/// What the calls of the Open Inference Protocol over gRPC begin with.
const INFERENCE: &str = "/inference.GRPCInferenceService/";

/// The scopes of which one is enough for a route; `None` where nobody is asked for a key. Routes that
/// are not there are public, too: their 404 says nothing.
pub fn needed(method: &Method, route: &str) -> Option<&'static [Scope]> {
    if is_public(route) {
        return None;
    }
    if let Some(call) = route.strip_prefix(INFERENCE) {
        return Some(match call {
            "ModelInfer" | "ModelStreamInfer" => &[Scope::Predict],
            _ => &[Scope::Read, Scope::Predict],
        });
    }
    let last = route.rsplit(['/', ':']).next().unwrap_or_default();
    let reads = matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS);
    Some(match (route, last) {
        (_, "predict" | "infer") => &[Scope::Predict],
        (route, _) if *method == Method::POST && instances::ROUTES.contains(&route) => {
            &[Scope::Predict]
        }
        ("/v1/audit", _) => &[Scope::Admin],
        ("/v1/models/{model}", _) if *method == Method::DELETE => &[Scope::Admin],
        // Clients of the protocol ask what a model is before they ask it anything.
        (route, _) if route.starts_with("/v2") && (reads || last == "index") => {
            &[Scope::Read, Scope::Predict]
        }
        _ if reads => &[Scope::Read],
        _ => &[Scope::Write],
    })
}

/// Whether a route is asked for predictions.
pub fn is_prediction(method: &Method, route: &str) -> bool {
    needed(method, route) == Some(&[Scope::Predict])
}

/// What probes, browsers and generators of clients ask for.
fn is_public(route: &str) -> bool {
    matches!(
        route,
        "" | "/" | "/healthz" | "/readyz" | "/openapi.yaml" | "/openapi.json" | "/v2" | "/v2/"
    ) || route.starts_with("/docs")
        || route.starts_with("/v2/health/")
        || route.starts_with("/grpc.")
        || route.strip_prefix(INFERENCE).is_some_and(|call| call.starts_with("Server"))
}

/// Whether a route is a call of gRPC, whose message and not its path tells the model.
pub fn is_message(route: &str) -> bool {
    route.starts_with(INFERENCE)
}
