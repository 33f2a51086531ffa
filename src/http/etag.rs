//! Tags of what is answered, and answers to who has a copy already (RFC 9110, section 13).

use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use sha2::{Digest, Sha256};

use super::error::Problem;

/// The answer to who has what `sha256` is the digest of, if `headers` say so.
pub(super) fn unless_known(headers: &HeaderMap, sha256: &str) -> Option<Response> {
    let known = headers.get_all(header::IF_NONE_MATCH).iter().filter_map(|tags| tags.to_str().ok());
    let mut tags = known.flat_map(|tags| tags.split(','));
    let is_known = tags.any(|known| {
        let known = known.trim().trim_start_matches("W/");
        known == "*" || known == tag(sha256)
    });
    is_known.then(|| (StatusCode::NOT_MODIFIED, [(header::ETAG, tag(sha256))]).into_response())
}

/// `value` as JSON under the tag of its bytes, or no more than that to who has it.
pub(super) fn tagged(headers: &HeaderMap, value: &impl Serialize) -> Result<Response, Problem> {
    let json = serde_json::to_vec(value).map_err(Problem::internal)?;
    let digest = Sha256::digest(&json);
    let sha256: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    let answer = || {
        let json_type = "application/json".to_owned();
        ([(header::CONTENT_TYPE, json_type), (header::ETAG, tag(&sha256))], json).into_response()
    };
    Ok(unless_known(headers, &sha256).unwrap_or_else(answer))
}

/// The tag of what has this digest.
pub(super) fn tag(sha256: &str) -> String {
    format!("\"{sha256}\"")
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn a_copy_is_known_by_its_tag() {
        let is_known = |known: &'static str| {
            let known = (header::IF_NONE_MATCH, HeaderValue::from_static(known));
            unless_known(&HeaderMap::from_iter([known]), "abc").is_some()
        };
        for same in ["\"abc\"", "W/\"abc\"", "*", "\"x\", \"abc\""] {
            assert!(is_known(same), "{same}");
        }
        for other in ["\"abcd\"", "abc", "", "\"x\""] {
            assert!(!is_known(other), "{other}");
        }
        let mut lines = HeaderMap::new();
        assert!(unless_known(&lines, "abc").is_none());
        for tags in ["\"x\"", "\"y\", W/\"abc\""] {
            lines.append(header::IF_NONE_MATCH, HeaderValue::from_static(tags));
        }
        assert!(unless_known(&lines, "abc").is_some());
    }
}
