//! Refusals as gRPC has them: a status of its own, and what a program may want to know as details
//! (google.rpc's `ErrorInfo`, `BadRequest` and `RetryInfo`).
//!
//! Invariant: HTTP's status is 200 whatever happened; what it would have been is what is measured and logged.

use std::collections::HashMap;
use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::Response;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, FieldViolation, StatusExt};

use super::super::super::error::{FieldError, Problem, ProblemCode};
use super::super::super::foreign::Refusal;
use super::super::super::observe::log_cause;

impl From<Problem> for Status {
    fn from(problem: Problem) -> Self {
        let retry_after_s = problem.code().retry_after_s().map(u64::from);
        let mut status = status(&problem, retry_after_s);
        status.set_source(Arc::new(problem));
        status
    }
}

fn status(problem: &Problem, retry_after_s: Option<u64>) -> Status {
    let mut details = ErrorDetails::new();
    let reason = serde_json::to_value(problem.code()).unwrap_or_default();
    let reason = reason.as_str().unwrap_or_default().to_uppercase();
    details.set_error_info(reason, "perennial", HashMap::new());
    let violation = |error: &FieldError| FieldViolation::new(&error.pointer, &error.detail);
    let violations: Vec<FieldViolation> = problem.errors().iter().map(violation).collect();
    if !violations.is_empty() {
        details.set_bad_request(violations);
    }
    if let Some(seconds) = retry_after_s {
        details.set_retry_info(Some(Duration::from_secs(seconds)));
    }
    Status::with_error_details(code(problem.code()), Refusal::from(problem).error, details)
}

fn code(code: ProblemCode) -> Code {
    use ProblemCode as Ours;
    match code {
        Ours::MalformedRequest
        | Ours::MalformedJson
        | Ours::UnsupportedMediaType
        | Ours::Invalid => Code::InvalidArgument,
        Ours::Unauthenticated => Code::Unauthenticated,
        Ours::Forbidden => Code::PermissionDenied,
        Ours::NotFound => Code::NotFound,
        Ours::MethodNotAllowed => Code::Unimplemented,
        Ours::RequestTimeout => Code::DeadlineExceeded,
        Ours::IdempotencyKeyReused => Code::AlreadyExists,
        Ours::PayloadTooLarge | Ours::TooManyRequests => Code::ResourceExhausted,
        Ours::VersionDamaged | Ours::Internal => Code::Internal,
        // A model without a version is not ready, as it is over HTTP.
        Ours::Conflict | Ours::Overloaded | Ours::Unavailable => Code::Unavailable,
    }
}

/// Writes the refusal that a response is, where it is one, and tells the status that HTTP would have had.
pub(in crate::http) fn refuse(mut response: Response) -> (Response, StatusCode) {
    if let Some(status) = response.extensions().get::<Status>() {
        let ours = status.source().and_then(|source| source.downcast_ref::<Problem>());
        let problem = match ours {
            // A call made it, and it is written.
            Some(problem) => {
                log_cause(problem);
                let status = problem.code().status();
                return (response, status);
            }
            None => of_library(status),
        };
        return write(response, &problem);
    }
    let status = response.status();
    match response.extensions_mut().remove::<Arc<Problem>>() {
        Some(problem) => write(response, &problem),
        None if status.is_success() => (response, status),
        None => write(response, &Problem::of_status(status)),
    }
}

/// What stands for a status that tonic made: it found the message too long, or could not read it.
fn of_library(status: &Status) -> Problem {
    let (code, detail) = match status.code() {
        Code::OutOfRange | Code::ResourceExhausted => {
            (ProblemCode::PayloadTooLarge, "the message is over the size limit")
        }
        Code::Unimplemented => (
            ProblemCode::MethodNotAllowed,
            "this compression is not taken; send messages as they are, or as gzip or deflate",
        ),
        _ => (ProblemCode::MalformedRequest, "the message cannot be read"),
    };
    Problem::new(code, detail).caused_by(status)
}

/// Writes a refusal in the place of what the response holds, and keeps what its headers say beside.
fn write(mut response: Response, problem: &Problem) -> (Response, StatusCode) {
    log_cause(problem);
    let headers = response.headers_mut();
    for replaced in [header::CONTENT_LENGTH, Status::GRPC_STATUS, Status::GRPC_MESSAGE] {
        headers.remove(replaced);
    }
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    let status = status(problem, retry_after_s(headers));
    if let Err(error) = status.add_header(headers) {
        tracing::error!(%error, "a refusal cannot be written");
    }
    *response.status_mut() = StatusCode::OK;
    *response.body_mut() = Body::empty();
    (response, problem.code().status())
}

fn retry_after_s(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::RETRY_AFTER)?.to_str().ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use axum::response::IntoResponse;

    use super::*;
    use crate::domain::Invalid;

    fn told(response: Response) -> (Status, StatusCode, HeaderMap) {
        let (response, status) = refuse(response);
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.headers()[header::CONTENT_TYPE], "application/grpc");
        let headers = response.headers().clone();
        (Status::from_header_map(&headers).unwrap(), status, headers)
    }

    #[test]
    fn a_refusal_says_what_where_and_when_to_come_back() {
        let invalid = Problem::from(Invalid::at("/inputs/0/shape", "too many"));
        let (status, http, _) = told(Status::from(invalid).into_http());
        assert_eq!((status.code(), http.as_u16()), (Code::InvalidArgument, 422));
        assert_eq!(status.message(), "/inputs/0/shape: too many");
        let details = status.get_error_details();
        assert_eq!(details.error_info().unwrap().reason, "INVALID");
        let violation = &details.bad_request().unwrap().field_violations[0];
        assert_eq!((&*violation.field, &*violation.description), ("/inputs/0/shape", "too many"));
        assert!(details.retry_info().is_none());

        // As what stands before the calls makes it.
        let mut response = Problem::new(ProblemCode::TooManyRequests, "wait").into_response();
        response.headers_mut().insert(header::RETRY_AFTER, 17.into());
        let (status, http, headers) = told(response);
        assert_eq!((status.code(), http.as_u16()), (Code::ResourceExhausted, 429));
        assert_eq!(headers[header::RETRY_AFTER], "17");
        let retry = status.get_error_details().retry_info().unwrap().retry_delay;
        assert_eq!(retry, Some(Duration::from_secs(17)));
    }

    #[test]
    fn what_libraries_refuse_is_told_in_our_words() {
        for (theirs, ours, words) in [
            (Status::out_of_range("5 bytes"), Code::ResourceExhausted, "size limit"),
            (Status::internal("buffer underflow"), Code::InvalidArgument, "cannot be read"),
            (Status::unimplemented("br"), Code::Unimplemented, "gzip or deflate"),
        ] {
            let (status, _, _) = told(theirs.into_http());
            assert_eq!(status.code(), ours);
            assert!(status.message().contains(words), "{status}");
        }
        let (status, _, _) = told(StatusCode::NOT_FOUND.into_response());
        assert_eq!(status.code(), Code::NotFound);
    }

    #[test]
    fn an_answer_stays_as_it_is() {
        let (response, status) = refuse("fine".into_response());
        assert_eq!(
            (status, response.headers().contains_key(Status::GRPC_STATUS)),
            (StatusCode::OK, false)
        );
    }
}
