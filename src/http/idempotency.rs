//! `Idempotency-Key` (draft-ietf-httpapi-idempotency-key-header): doing a request twice changes
//! nothing the second time, and is answered as the first time.
//!
//! A key stands for one request: its query, its content type and its body, known by their hash.

use axum::http::{HeaderMap, HeaderName, StatusCode, header};
use axum::response::{IntoResponse, Response};
use sha2::{Digest, Sha256};

use super::error::{Problem, ProblemCode};
use crate::services::ingest::IdempotencyKey;
use crate::storage::idempotency::GivenAnswer;

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
const IDEMPOTENCY_REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");
const MAX_KEY_BYTES: usize = 255;

/// The request's key, if it has one, for a request whose body is at hand.
///
/// # Errors
/// 400 when the header is not of its form.
pub fn idempotency_key(
    headers: &HeaderMap,
    query: Option<&str>,
    body: &[u8],
) -> Result<Option<IdempotencyKey>, Problem> {
    let Some(mut keyed) = KeyedRequest::begin(headers, query)? else { return Ok(None) };
    keyed.update(body);
    Ok(Some(keyed.finish()))
}

/// A request with a key, whose body is hashed while it arrives.
pub struct KeyedRequest {
    key: String,
    hasher: Sha256,
}

impl KeyedRequest {
    /// The request, if it has a key.
    ///
    /// # Errors
    /// 400 when the header is not of its form.
    pub fn begin(headers: &HeaderMap, query: Option<&str>) -> Result<Option<Self>, Problem> {
        let mut values = headers.get_all(IDEMPOTENCY_KEY).iter();
        let Some(value) = values.next() else { return Ok(None) };
        let key = value.to_str().ok().filter(|_| values.next().is_none()).and_then(parse_key);
        let Some(key) = key else {
            let detail = "Idempotency-Key is a string of 1 to 255 visible ASCII characters, \
                          with or without double quotes around it";
            return Err(Problem::new(ProblemCode::MalformedRequest, detail));
        };
        let content_type = headers.get(header::CONTENT_TYPE).map_or(&[][..], |ty| ty.as_bytes());
        let mut hasher = Sha256::new();
        for part in [query.unwrap_or_default().as_bytes(), content_type] {
            // Length first, so that no two parts run together.
            hasher.update((part.len() as u64).to_le_bytes());
            hasher.update(part);
        }
        Ok(Some(Self { key, hasher }))
    }

    /// Adds the next piece of the body.
    pub fn update(&mut self, piece: &[u8]) {
        self.hasher.update(piece);
    }

    /// The key, after the whole body.
    pub fn finish(self) -> IdempotencyKey {
        IdempotencyKey { key: self.key, fingerprint: self.hasher.finalize().into() }
    }
}

/// A structured-field string (RFC 9651, section 3.3.3) without its quotes, or a bare word.
fn parse_key(value: &str) -> Option<String> {
    let value = value.trim_matches([' ', '\t']);
    let key = match value.strip_prefix('"') {
        None => value.to_owned(),
        Some(quoted) => unescape(quoted.strip_suffix('"')?)?,
    };
    let is_visible = key.bytes().all(|byte| byte.is_ascii_graphic());
    ((1..=MAX_KEY_BYTES).contains(&key.len()) && is_visible).then_some(key)
}

/// A backslash stands before a quote or another one, and nowhere else.
fn unescape(quoted: &str) -> Option<String> {
    let mut key = String::with_capacity(quoted.len());
    let mut characters = quoted.chars();
    while let Some(character) = characters.next() {
        match character {
            '\\' => key.push(characters.next().filter(|next| matches!(next, '"' | '\\'))?),
            '"' => return None,
            other => key.push(other),
        }
    }
    Some(key)
}

/// The answer that was given before under the same key, again.
pub fn replay(given: GivenAnswer) -> Response {
    let status = StatusCode::from_u16(given.status).unwrap_or(StatusCode::OK);
    let location = given.location.map(|location| [(header::LOCATION, location)]);
    (status, [(IDEMPOTENCY_REPLAYED, "true")], location, axum::Json(given.body)).into_response()
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn key(value: &str) -> Option<String> {
        let value = HeaderValue::from_str(value).unwrap();
        let headers = HeaderMap::from_iter([(IDEMPOTENCY_KEY, value)]);
        idempotency_key(&headers, None, b"").ok().map(|key| key.unwrap().key)
    }

    #[test]
    fn a_key_comes_quoted_or_bare() {
        for (given, is) in [
            (r#""8e03978e-40d5""#, "8e03978e-40d5"),
            ("8e03978e-40d5", "8e03978e-40d5"),
            (r#""a\"b\\c""#, r#"a"b\c"#),
            ("  a  ", "a"),
        ] {
            assert_eq!(key(given).as_deref(), Some(is), "{given}");
        }
        assert_eq!(key(&"x".repeat(255)).map(|key| key.len()), Some(255));
    }

    #[test]
    fn a_malformed_key_is_refused() {
        let long = "x".repeat(256);
        for given in ["", "\"\"", "\"a", "\"a\"b\"", "\"a\\b\"", "\"a\\\"", "a b", &long] {
            assert_eq!(key(given), None, "{given}");
        }
        let twice = HeaderMap::from_iter(
            ["a", "b"].map(|key| (IDEMPOTENCY_KEY, HeaderValue::from_static(key))),
        );
        let problem = idempotency_key(&twice, None, b"").unwrap_err();
        assert_eq!(problem.code(), ProblemCode::MalformedRequest);
        assert!(idempotency_key(&HeaderMap::new(), None, b"").unwrap().is_none());
    }

    #[test]
    fn a_key_stands_for_query_content_type_and_body() {
        let fingerprint = |query, content_type, body: &[u8]| {
            let headers = HeaderMap::from_iter([
                (IDEMPOTENCY_KEY, HeaderValue::from_static("k")),
                (header::CONTENT_TYPE, HeaderValue::from_static(content_type)),
            ]);
            idempotency_key(&headers, query, body).unwrap().unwrap().fingerprint
        };
        let one = fingerprint(Some("a=1"), "text/csv", b"x");
        assert_eq!(one, fingerprint(Some("a=1"), "text/csv", b"x"));
        assert_ne!(one, fingerprint(Some("a=2"), "text/csv", b"x"));
        assert_ne!(one, fingerprint(None, "text/csv", b"x"));
        assert_ne!(one, fingerprint(Some("a=1"), "text/plain", b"x"));
        assert_ne!(one, fingerprint(Some("a=1"), "text/csv", b"y"));
    }

    #[test]
    fn a_replayed_answer_is_the_first_one_and_says_so() {
        let given = GivenAnswer {
            fingerprint: vec![],
            status: 202,
            location: Some("/v1/updates/1".to_owned()),
            body: serde_json::json!({"id": 1}),
        };
        let response = replay(given);
        assert_eq!(response.status(), StatusCode::ACCEPTED);
        assert_eq!(response.headers()[header::LOCATION], "/v1/updates/1");
        assert_eq!(response.headers()[IDEMPOTENCY_REPLAYED], "true");
        assert_eq!(response.headers()[header::CONTENT_TYPE], "application/json");
    }
}
