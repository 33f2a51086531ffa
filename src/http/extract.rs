//! What handlers take from a request, and the refusals when it is not there.
//!
//! A path that names nothing is 404, a body that is not JSON is 400 with line and column, and a
//! value of the wrong form is 422 with a pointer to it.

use axum::extract::rejection::PathRejection;
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use bytes::Bytes;
use http_body_util::BodyExt;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_path_to_error::Segment;
use utoipa::IntoParams;

use super::HttpState;
use super::error::{Problem, ProblemCode};
use crate::domain::Invalid;
use crate::domain::name::{AliasName, ModelName};

/// The path names a model.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub struct ModelPath {
    /// The model's name.
    #[param(value_type = String, pattern = "^[a-z0-9][a-z0-9_-]{0,62}$", example = "digits")]
    pub model: ModelName,
}

/// The path names a version of a model.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub struct VersionPath {
    /// The model's name.
    #[param(value_type = String, pattern = "^[a-z0-9][a-z0-9_-]{0,62}$", example = "digits")]
    pub model: ModelName,
    /// The version's number, from 1.
    #[param(minimum = 1, example = 3)]
    pub n: i32,
}

/// The path names an alias of a model.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub struct AliasPath {
    /// The model's name.
    #[param(value_type = String, pattern = "^[a-z0-9][a-z0-9_-]{0,62}$", example = "digits")]
    pub model: ModelName,
    /// The alias's name.
    #[param(value_type = String, pattern = "^[a-z0-9][a-z0-9_-]{0,62}$", example = "live")]
    pub alias: AliasName,
}

/// Parameters of the path; malformed ones name nothing, so they are 404.
#[derive(Debug)]
pub struct Path<T>(pub T);

impl<T: DeserializeOwned + Send> FromRequestParts<HttpState> for Path<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &HttpState) -> Result<Self, Problem> {
        match axum::extract::Path::from_request_parts(parts, state).await {
            Ok(axum::extract::Path(path)) => Ok(Self(path)),
            Err(PathRejection::FailedToDeserializePathParams(_)) => Err(Problem::new(
                ProblemCode::NotFound,
                "there is nothing at this path: a name, a number or an id in it is malformed",
            )),
            Err(other) => Err(Problem::internal(other)),
        }
    }
}

/// Parameters of the query; unknown and malformed ones are 422.
#[derive(Debug)]
pub struct Query<T>(pub T);

impl<T: DeserializeOwned + Send> FromRequestParts<HttpState> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &HttpState) -> Result<Self, Problem> {
        match axum::extract::Query::try_from_uri(&parts.uri) {
            Ok(axum::extract::Query(query)) => Ok(Self(query)),
            Err(rejection) => Err(query_error(&rejection).into()),
        }
    }
}

fn query_error(rejection: &(dyn std::error::Error + 'static)) -> Invalid {
    type Located = serde_path_to_error::Error<serde::de::value::Error>;
    let mut chain = std::iter::successors(Some(rejection), |&error| error.source());
    match chain.find_map(|error| error.downcast_ref::<Located>()) {
        Some(located) => {
            let pointer = format!("/query{}", pointer(located.path()));
            Invalid::at(pointer, shortened(located.inner().to_string()))
        }
        None => Invalid::at("/query", "the query cannot be read"),
    }
}

/// A whole body in memory, of any type.
#[derive(Debug)]
pub struct Body(pub Bytes);

impl FromRequest<HttpState> for Body {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &HttpState) -> Result<Self, Problem> {
        let body = request.into_body().collect();
        match tokio::time::timeout(state.limits.request_timeout, body).await {
            Ok(Ok(body)) => Ok(Self(body.to_bytes())),
            Ok(Err(error)) => Err(Problem::unread_body(&error)),
            Err(_) => {
                Err(Problem::new(ProblemCode::RequestTimeout, "the body took too long to arrive"))
            }
        }
    }
}

/// A body that is a JSON object.
#[derive(Debug)]
pub struct Json<T>(pub T);

impl<T: DeserializeOwned> FromRequest<HttpState> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &HttpState) -> Result<Self, Problem> {
        expect_json(request.headers())?;
        let Body(body) = Body::from_request(request, state).await?;
        parse_object(&body).map(Self)
    }
}

/// What the content type says, without its parameters; nothing where there is none.
pub(super) fn essence_of(headers: &HeaderMap) -> &str {
    let said = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    said.unwrap_or_default().split(';').next().unwrap_or_default().trim()
}

/// Whether the content type is this one; the case of its letters tells nothing.
pub(super) fn is_type(headers: &HeaderMap, essence: &str) -> bool {
    essence_of(headers).eq_ignore_ascii_case(essence)
}

/// Refuses a body that does not say it is JSON.
///
/// # Errors
/// 415 when the content type is another one, or none.
pub fn expect_json(headers: &HeaderMap) -> Result<(), Problem> {
    let essence = essence_of(headers).to_ascii_lowercase();
    if essence == "application/json"
        || (essence.starts_with("application/") && essence.ends_with("+json"))
    {
        return Ok(());
    }
    let detail = "send the body as application/json, and say so in Content-Type";
    Err(Problem::new(ProblemCode::UnsupportedMediaType, detail))
}

/// Reads a JSON object.
///
/// # Errors
/// 400 with line and column when `body` is not JSON, 422 with a pointer when it is not a `T`.
pub fn parse_object<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, Problem> {
    // A derived struct would also take an array of its fields; the contract knows objects only.
    let is_object = body.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'{');
    match serde_json::from_slice(body) {
        Ok(value) if is_object => Ok(value),
        Err(error) if !error.is_data() => Err(malformed(&error)),
        // Once more, slower, to learn where: only refusals pay for it.
        Err(error) if is_object => {
            Err(locate::<T>(body).unwrap_or_else(|| Invalid::new(words(&error))).into())
        }
        _ => Err(Invalid::new("the body must be an object").into()),
    }
}

fn locate<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Option<Invalid> {
    let mut json = serde_json::Deserializer::from_slice(body);
    let error = serde_path_to_error::deserialize::<_, T>(&mut json).err()?;
    Some(Invalid::at(pointer(error.path()), words(error.inner())))
}

/// Reads a part of a body that was parsed as plain JSON.
///
/// # Errors
/// [`Invalid`] with the pointer below the part.
pub fn parse_part<T: DeserializeOwned>(part: serde_json::Value) -> Result<T, Invalid> {
    serde_path_to_error::deserialize(part)
        .map_err(|error| Invalid::at(pointer(error.path()), words(error.inner())))
}

/// Refuses a body that does not say it is of the type `essence`.
///
/// # Errors
/// 415 when the content type is another one, or none.
pub fn expect_type(headers: &HeaderMap, essence: &str) -> Result<(), Problem> {
    match is_type(headers, essence) {
        true => Ok(()),
        false => {
            let detail = format!("send the body as {essence}, and say so in Content-Type");
            Err(Problem::new(ProblemCode::UnsupportedMediaType, detail))
        }
    }
}

fn malformed(error: &serde_json::Error) -> Problem {
    let (line, column) = (error.line(), error.column());
    let detail = format!("the body is not JSON: {} (line {line}, column {column})", words(error));
    Problem::new(ProblemCode::MalformedJson, detail)
}

/// What serde says, without the place, which is told apart.
fn words(error: &serde_json::Error) -> String {
    let mut text = error.to_string();
    if let Some(place) = text.rfind(" at line ") {
        text.truncate(place);
    }
    shortened(text)
}

/// A message may quote what the client sent, at any length.
pub(super) fn shortened(mut text: String) -> String {
    const MOST: usize = 300;
    if text.len() > MOST {
        text.truncate(text.floor_char_boundary(MOST));
        text.push('…');
    }
    text
}

/// The JSON pointer (RFC 6901) of a path that serde went.
fn pointer(path: &serde_path_to_error::Path) -> String {
    use std::fmt::Write;
    let mut pointer = String::new();
    for segment in path {
        // Writing into a String cannot fail.
        let _ = match segment {
            Segment::Seq { index } => write!(pointer, "/{index}"),
            Segment::Map { key } | Segment::Enum { variant: key } => {
                write!(pointer, "/{}", key.replace('~', "~0").replace('/', "~1"))
            }
            Segment::Unknown => Ok(()),
        };
    }
    pointer
}

#[cfg(test)]
mod tests {
    use axum::http::Uri;
    use serde_json::value::RawValue;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only refusals are looked at")]
    struct Outer<'a> {
        #[serde(borrow, default)]
        raw: Vec<&'a RawValue>,
        #[serde(default)]
        parts: Vec<Part>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only refusals are looked at")]
    struct Part {
        count: u32,
    }

    fn refusal(body: &str) -> (ProblemCode, String, String) {
        let problem = parse_object::<Outer<'_>>(body.as_bytes()).unwrap_err();
        let pointer = problem.errors().first().map(|error| error.pointer.clone());
        (problem.code(), pointer.unwrap_or_default(), problem.detail().to_owned())
    }

    #[test]
    fn broken_json_is_told_by_line_and_column() {
        let (code, _, detail) = refusal("{\n  \"parts\": [,]}");
        assert_eq!(code, ProblemCode::MalformedJson);
        assert!(detail.contains("line 2, column 13"), "{detail}");
        for broken in ["", "{", "{} {}", "nonsense", "{\"raw\": [1,,2]}", "[", "\u{0}"] {
            assert_eq!(refusal(broken).0, ProblemCode::MalformedJson, "{broken}");
        }
    }

    #[test]
    fn a_wrong_value_is_told_by_its_pointer() {
        for (body, at) in [
            (r#"{"parts": [{"count": 1}, {"count": "x"}]}"#, "/parts/1/count"),
            (r#"{"parts": [{"count": 1, "a/b~": 2}]}"#, "/parts/0/a~1b~0"),
            (r#"{"party": []}"#, "/party"),
            (r#"{"parts": [{}]}"#, "/parts/0"),
            (r#"{"raw": 1}"#, "/raw"),
            ("[]", ""),
            ("7", ""),
        ] {
            let (code, pointer, detail) = refusal(body);
            assert_eq!((code, pointer.as_str()), (ProblemCode::Invalid, at), "{body}: {detail}");
            assert!(!detail.contains("line"), "{detail}");
        }
    }

    #[test]
    fn what_is_no_object_is_told_in_the_contracts_words() {
        for body in ["[1]", "7", "\"text\"", "null", " true"] {
            let (code, pointer, detail) = refusal(body);
            assert_eq!((code, pointer.as_str()), (ProblemCode::Invalid, ""), "{body}");
            assert_eq!(detail, "the body must be an object", "{body}");
        }
    }

    #[test]
    fn a_long_value_is_not_echoed_whole() {
        let body = format!(r#"{{"parts": [{{"count": "{}"}}]}}"#, "ä".repeat(1000));
        assert!(refusal(&body).2.len() < 310);
    }

    #[test]
    fn a_wrong_query_is_told_by_its_pointer() {
        for (uri, at) in
            [("/?count=x", "/query/count"), ("/?count=1&b=2", "/query/b"), ("/", "/query")]
        {
            let uri: Uri = uri.parse().unwrap();
            let rejection = axum::extract::Query::<Part>::try_from_uri(&uri).unwrap_err();
            assert_eq!(query_error(&rejection).pointer, at, "{uri}");
        }
    }

    #[test]
    fn only_json_is_json() {
        let said =
            |value: &str| HeaderMap::from_iter([(header::CONTENT_TYPE, value.parse().unwrap())]);
        for good in
            ["application/json", "Application/JSON; charset=utf-8", "application/merge-patch+json"]
        {
            assert!(expect_json(&said(good)).is_ok(), "{good}");
        }
        for bad in ["text/json", "application/x-www-form-urlencoded", "application/x-ndjson", ""] {
            assert!(expect_json(&said(bad)).is_err(), "{bad}");
        }
        assert!(expect_json(&HeaderMap::new()).is_err());
    }
}
