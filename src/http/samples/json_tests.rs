//! Documents and lines of JSON that are broken, or of another shape.

use super::Unreadable;
use super::format_tests::{document, lines, reasons, vector};

#[test]
fn a_broken_line_is_a_rejected_sample() {
    for (line, reason) in [
        ("[1, 2]", "line is not a JSON object"),
        (r#"{"input": [1,], "label": "a"}"#, "line is not JSON: expected value (column 14)"),
        (r#"{"input": [1], "label": "a"} x"#, "line is not JSON: trailing characters (column 30)"),
        (
            r#"{"input": [NaN], "label": "a"}"#,
            "line is not JSON: NaN is no JSON number, a missing one is null (column 12)",
        ),
        (
            r#"{"input": [-Infinity], "label": "a"}"#,
            "line is not JSON: Infinity is no JSON number, a missing one is null (column 13)",
        ),
    ] {
        assert_eq!(reasons(lines(line.as_bytes(), &vector(1))), [(0, reason.to_owned())]);
    }
    let not_text = lines(b"{\"input\": [1], \"label\": \"\xff\"}", &vector(1));
    assert!(reasons(not_text)[0].1.starts_with("line is not JSON: invalid unicode"));
}

#[test]
fn a_broken_document_is_refused_whole() {
    let malformed = |text: &str| match document(text.as_bytes(), &vector(1)) {
        Err(Unreadable::MalformedJson(detail)) => detail,
        other => panic!("{text}: {other:?}"),
    };
    let good = r#"{"input": [1], "label": "a"}"#;
    for (text, end) in [
        (String::new(), "(line 1, column 0)"),
        (format!("{{\"samples\": [{good},\n{good}"), "(line 2, column 28)"),
        (format!("{{\"samples\": [{good}]}}\n]"), "trailing characters (line 2, column 1)"),
        (format!("{{\"other\": 1, \"samples\": [{good},,]}}"), "(line 1, column 55)"),
        (
            "{\"samples\": [\n{\"input\": [NaN]}]}".to_owned(),
            "NaN is no JSON number, a missing one is null (line 2, column 12)",
        ),
    ] {
        let detail = malformed(&text);
        assert!(detail.starts_with("the body is not JSON: ") && detail.ends_with(end), "{detail}");
    }
}

#[test]
fn a_document_of_another_shape_is_refused_with_its_place() {
    for (text, pointer) in [
        ("[]", ""),
        ("3", ""),
        ("{}", "/samples"),
        (r#"{"samples": 3}"#, "/samples"),
        (r#"{"samples": {"input": [1]}}"#, "/samples"),
        (r#"{"samples": [], "a/b": [1]}"#, "/a~1b"),
        (r#"{"samples": [], "samples": []}"#, "/samples"),
    ] {
        match document(text.as_bytes(), &vector(1)) {
            Err(Unreadable::Invalid(invalid)) => assert_eq!(invalid.pointer, pointer, "{text}"),
            other => panic!("{text}: {other:?}"),
        }
    }
    let read = document(br#"{"samples": [3, {"input": [1], "label": "a"}]}"#, &vector(1));
    assert_eq!(reasons(read), [(0, "sample is not an object".to_owned())]);
}
