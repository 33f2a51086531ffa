//! Refusals where another service's protocol is spoken: `{"error": "…"}` instead of a problem, and
//! only statuses that its clients know.

use axum::extract::RawPathParams;
use axum::http::{HeaderMap, StatusCode};
use serde::Serialize;
use utoipa::ToSchema;

use super::error::Problem;
use super::extract::{self, is_type};

/// What follows a name in paths of TensorFlow Serving.
pub(super) const PREDICT: &str = ":predict";

/// Whether another protocol is spoken at `path`: the Open Inference Protocol, or TensorFlow
/// Serving's.
pub(super) fn is_foreign(path: &str) -> bool {
    path == "/v2"
        || path.starts_with("/v2/")
        || (path.starts_with("/v1/models/") && path.ends_with(PREDICT))
}

/// The model that a path names, without a verb behind it.
pub(super) fn model_of(params: &RawPathParams) -> Option<&str> {
    let (_, model) = params.iter().find(|(name, _)| *name == "model")?;
    Some(model.strip_suffix(PREDICT).unwrap_or(model))
}

/// A refusal of the Open Inference Protocol and of TensorFlow Serving's.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = InferenceError)]
pub struct Refusal {
    /// What is wrong, and where.
    #[schema(example = "there is no model digits")]
    pub(super) error: String,
}

impl From<&Problem> for Refusal {
    fn from(problem: &Problem) -> Self {
        let error = match problem.errors() {
            [one] if !one.pointer.is_empty() => format!("{}: {}", one.pointer, one.detail),
            _ => problem.detail().to_owned(),
        };
        Self { error }
    }
}

/// Refuses a body that says it is something else than JSON. Clients of these protocols often say
/// nothing, and curl, unless it is told what to say, that it is a form.
pub(super) fn expect_json(headers: &HeaderMap) -> Result<(), Problem> {
    let as_good_as_json = ["", "application/x-www-form-urlencoded"];
    match as_good_as_json.iter().any(|essence| is_type(headers, essence)) {
        true => Ok(()),
        false => extract::expect_json(headers),
    }
}

/// The status that stands for one of ours: what is wrong with a request is 400, and a model without
/// a version is not ready.
pub(super) fn status(ours: StatusCode) -> StatusCode {
    match ours {
        StatusCode::UNPROCESSABLE_ENTITY => StatusCode::BAD_REQUEST,
        StatusCode::CONFLICT => StatusCode::SERVICE_UNAVAILABLE,
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Invalid;

    #[test]
    fn paths_of_other_protocols_are_told() {
        for path in ["/v2", "/v2/", "/v2/models/m/infer", "/v2/x", "/v1/models/m:predict"] {
            assert!(is_foreign(path), "{path}");
        }
        for path in ["/v20", "/V2/", "/v1/models/m/predict", "/v1/updates/m:predict", "/"] {
            assert!(!is_foreign(path), "{path}");
        }
    }

    #[test]
    fn an_error_says_where() {
        let error = |problem: Problem| Refusal::from(&problem).error;
        assert_eq!(error(Problem::not_found("model m")), "there is no model m");
        assert_eq!(error(Invalid::new("nothing fits").into()), "nothing fits");
        assert_eq!(error(Invalid::at("/inputs/0", "too few").into()), "/inputs/0: too few");
    }
}
