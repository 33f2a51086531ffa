//! Refusals: RFC 9457 problems, the one shape in which this service says no.
//!
//! Invariant: no internal text reaches a client. What went wrong inside travels as `cause`, which
//! is logged beside the request id and never serialised. A [`Problem`] becomes a response without
//! a body; [`super::observe`], which knows the request, writes the body.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use http_body_util::LengthLimitError;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::domain::Invalid;
use crate::services::ServiceError;

/// What kind of refusal it is, for programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ProblemCode {
    /// The request cannot be read.
    MalformedRequest,
    /// The body is not JSON; the detail tells line and column.
    MalformedJson,
    /// The request has no key, or none that is good.
    Unauthenticated,
    /// The key is good, but not for this.
    Forbidden,
    /// There is no such thing.
    NotFound,
    /// The thing is there and does not know this method.
    MethodNotAllowed,
    /// The request took too long to arrive.
    RequestTimeout,
    /// The request does not fit the state that things are in.
    Conflict,
    /// The body is over the limit.
    PayloadTooLarge,
    /// The body is of a type, or a content encoding, that is not taken here.
    UnsupportedMediaType,
    /// The request is readable and cannot be right; `errors` points at what is wrong.
    Invalid,
    /// The `Idempotency-Key` was used for another request.
    IdempotencyKeyReused,
    /// The client asks too often.
    TooManyRequests,
    /// The version's checkpoint is missing or damaged; other versions still answer.
    VersionDamaged,
    /// The service is at fault; its log has more under the request id.
    Internal,
    /// The service has too much to do right now.
    Overloaded,
    /// The service cannot answer right now, for example because its database is away.
    Unavailable,
}

impl ProblemCode {
    /// The HTTP status that it goes with.
    pub fn status(self) -> StatusCode {
        match self {
            Self::MalformedRequest | Self::MalformedJson => StatusCode::BAD_REQUEST,
            Self::Unauthenticated => StatusCode::UNAUTHORIZED,
            Self::Forbidden => StatusCode::FORBIDDEN,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::RequestTimeout => StatusCode::REQUEST_TIMEOUT,
            Self::Conflict => StatusCode::CONFLICT,
            Self::PayloadTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::UnsupportedMediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::Invalid | Self::IdempotencyKeyReused => StatusCode::UNPROCESSABLE_ENTITY,
            Self::TooManyRequests => StatusCode::TOO_MANY_REQUESTS,
            Self::VersionDamaged | Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
            Self::Overloaded | Self::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// Seconds after which to try again, where that may help.
    pub(super) fn retry_after_s(self) -> Option<u16> {
        match self {
            Self::Overloaded | Self::TooManyRequests => Some(1),
            Self::Unavailable => Some(5),
            _ => None,
        }
    }
}

/// One thing that is wrong with a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct FieldError {
    /// JSON pointer (RFC 6901) into the body; a query parameter is at `/query/{name}`, a path
    /// parameter at `/path/{name}`, a header at `/header/{name}`.
    #[schema(example = "/inputs/3")]
    pub pointer: String,
    /// What is wrong there and what would be right.
    pub detail: String,
}

impl From<Invalid> for FieldError {
    fn from(Invalid { pointer, detail }: Invalid) -> Self {
        Self { pointer, detail }
    }
}

/// A refusal in the making.
#[derive(Debug, Clone)]
pub struct Problem {
    code: ProblemCode,
    detail: String,
    errors: Vec<FieldError>,
    /// For the log only.
    cause: Option<String>,
}

impl Problem {
    /// A refusal of kind `code`; `detail` is for the client.
    pub fn new(code: ProblemCode, detail: impl Into<String>) -> Self {
        Self { code, detail: detail.into(), errors: Vec::new(), cause: None }
    }

    /// The request is readable and wrong in these places.
    pub fn invalid(errors: Vec<Invalid>) -> Self {
        let detail = match errors.as_slice() {
            [one] => one.detail.clone(),
            many => format!("{} things are wrong with the request, see `errors`", many.len()),
        };
        let errors = errors.into_iter().map(FieldError::from).collect();
        Self { errors, ..Self::new(ProblemCode::Invalid, detail) }
    }

    /// There is no such thing as `what`.
    pub fn not_found(what: impl fmt::Display) -> Self {
        Self::new(ProblemCode::NotFound, format!("there is no {what}"))
    }

    /// The service itself failed.
    pub fn internal(cause: impl fmt::Display) -> Self {
        Self::new(
            ProblemCode::Internal,
            "the service failed; its log has more under this request id",
        )
        .caused_by(cause)
    }

    /// A body that could not be read to its end: over the limit, cut off, or not compressed in the
    /// way it says.
    pub fn unread_body(error: &(dyn Error + 'static)) -> Self {
        let mut chain = std::iter::successors(Some(error), |&error| error.source());
        if chain.any(|error| error.is::<LengthLimitError>()) {
            return Self::new(ProblemCode::PayloadTooLarge, "the body is over the size limit");
        }
        let detail = "the body could not be read: it is cut off, or not compressed as it says";
        Self::new(ProblemCode::MalformedRequest, detail).caused_by(error)
    }

    /// Adds what happened inside, for the log.
    pub fn caused_by(mut self, cause: impl fmt::Display) -> Self {
        self.cause = Some(cause.to_string());
        self
    }

    /// Which kind of refusal it is.
    pub fn code(&self) -> ProblemCode {
        self.code
    }

    /// What the client is told.
    pub fn detail(&self) -> &str {
        &self.detail
    }

    /// What the client is told is wrong, place by place.
    pub fn errors(&self) -> &[FieldError] {
        &self.errors
    }

    /// What happened inside, for the log.
    pub fn cause(&self) -> Option<&str> {
        self.cause.as_deref()
    }

    /// The body, for the request of this path and id, answered with `status`.
    pub fn body<'a>(
        &'a self,
        status: StatusCode,
        instance: &'a str,
        request_id: &'a str,
    ) -> ProblemBody<'a> {
        ProblemBody {
            kind: "about:blank",
            title: status.canonical_reason().unwrap_or("Refused"),
            status: status.as_u16(),
            detail: &self.detail,
            instance: Some(instance),
            request_id: Some(request_id),
            code: self.code,
            errors: &self.errors,
        }
    }

    /// A problem for a response that a library made and left without words of our own.
    pub fn of_status(status: StatusCode) -> Self {
        use ProblemCode as Code;
        match status.as_u16() {
            404 => Self::new(Code::NotFound, "there is nothing at this path"),
            405 => Self::new(Code::MethodNotAllowed, "this path does not know this method"),
            408 => Self::new(Code::RequestTimeout, "the request took too long to arrive"),
            413 => Self::new(Code::PayloadTooLarge, "the body is over the size limit"),
            415 => Self::new(
                Code::UnsupportedMediaType,
                "this content encoding is not taken; send the body as it is, or as gzip or deflate",
            ),
            503 => Self::new(Code::Unavailable, "the service cannot answer right now"),
            400..500 => Self::new(Code::MalformedRequest, "the request cannot be read"),
            _ => Self::internal(format_args!("a response of status {status} without a problem")),
        }
    }
}

/// A refusal (RFC 9457): what every answer of status 400 and above holds.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Problem)]
pub struct ProblemBody<'a> {
    /// Always `about:blank`: the title is that of the HTTP status, `code` tells more.
    #[serde(rename = "type")]
    #[schema(example = "about:blank")]
    kind: &'a str,
    /// The HTTP status in words.
    #[schema(example = "Not Found")]
    title: &'a str,
    /// The HTTP status.
    #[schema(example = 404)]
    status: u16,
    /// What is wrong with this request.
    #[schema(example = "there is no model digits")]
    detail: &'a str,
    /// The path that was asked for.
    #[schema(example = "/v1/models/digits")]
    instance: Option<&'a str>,
    /// What the service's log knows the request by.
    request_id: Option<&'a str>,
    /// The kind of refusal, for programs.
    code: ProblemCode,
    /// What is wrong, place by place.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    #[schema(required = false)]
    errors: &'a [FieldError],
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.detail)
    }
}

impl Error for Problem {}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = self.code.status().into_response();
        if let Some(seconds) = self.code.retry_after_s() {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.code == ProblemCode::Unauthenticated {
            let challenge = HeaderValue::from_static("Bearer realm=\"perennial\"");
            response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
        }
        response.extensions_mut().insert(Arc::new(self));
        response
    }
}

impl From<Invalid> for Problem {
    fn from(invalid: Invalid) -> Self {
        Self::invalid(vec![invalid])
    }
}

impl From<ServiceError> for Problem {
    fn from(error: ServiceError) -> Self {
        use ProblemCode as Code;
        match error {
            ServiceError::NotFound(what) => Self::not_found(what),
            ServiceError::Conflict(detail) => Self::new(Code::Conflict, detail),
            ServiceError::Invalid(errors) => Self::invalid(errors),
            ServiceError::KeyReused => Self::new(Code::IdempotencyKeyReused, error.to_string()),
            ServiceError::Busy(detail) => Self::new(Code::Overloaded, detail),
            // No 503: trying again does not mend a file, another version answers at once.
            ServiceError::VersionDamaged { version, ref why } => Self::new(
                Code::VersionDamaged,
                format!("version {version} cannot be used: its checkpoint is missing or damaged"),
            )
            .caused_by(why),
            ServiceError::Storage(ref storage) if storage.is_unavailable() => {
                Self::new(Code::Unavailable, "a store is away or overloaded; try again shortly")
                    .caused_by(storage)
            }
            ServiceError::Storage(_) | ServiceError::Broken(_) => Self::internal(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::StorageError;

    #[test]
    fn a_problem_has_the_shape_of_rfc_9457() {
        let problem = Problem::from(Invalid::at("/inputs/3", "input has 2 numbers, not 3"));
        let body = problem.body(problem.code().status(), "/v1/models/m/predict", "r-1");
        let expected = serde_json::json!({
            "type": "about:blank", "title": "Unprocessable Entity", "status": 422,
            "detail": "input has 2 numbers, not 3", "instance": "/v1/models/m/predict",
            "request_id": "r-1", "code": "invalid",
            "errors": [{"pointer": "/inputs/3", "detail": "input has 2 numbers, not 3"}],
        });
        assert_eq!(serde_json::to_value(body).unwrap(), expected);
    }

    #[test]
    fn internal_text_stays_inside() {
        let secret = StorageError::damaged("row in /var/lib/x", "SELECT secret");
        let problem = Problem::from(ServiceError::Storage(secret));
        let body = problem.body(problem.code().status(), "/", "r-1");
        let body = serde_json::to_string(&body).unwrap();
        assert!(!body.contains("secret") && !body.contains("/var/lib"), "{body}");
        assert!(problem.cause().is_some_and(|cause| cause.contains("secret")));
    }

    #[test]
    fn too_much_to_do_is_worth_another_try() {
        let busy = ServiceError::Busy("too many predictions wait".to_owned());
        let response = Problem::from(busy).into_response();
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(response.headers()[header::RETRY_AFTER], "1");
    }
}
