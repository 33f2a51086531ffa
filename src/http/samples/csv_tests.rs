//! Tables as text: their columns, and rows that are none.

use std::io::Read;

use super::format_tests::{gather, named, rows, vector};
use super::{Expected, Unreadable};
use crate::http::csv;

#[test]
fn columns_are_found_by_name_or_by_order() {
    let text = "\u{feff}weight,y,label,id,x\n,2,a,,1\n0.5, 4 ,\"b, \"\"c\"\"\",i-1,3\n";
    let read = rows(text.as_bytes(), &vector(2)).unwrap();
    assert_eq!(read.samples.inputs.all_numbers(), [2.0, 1.0, 4.0, 3.0]);
    assert_eq!(read.samples.labels[1].as_str(), "b, \"c\"");
    assert_eq!(read.samples.weights, [1.0, 0.5]);
    assert_eq!(read.client_ids, [None, Some("i-1".to_owned())]);

    let read = gather(&vector(2), |gatherer| {
        csv::read_rows("label,x,kind\r\n1,2,a\r\n".as_bytes(), "kind", gatherer)
    });
    assert_eq!(read.unwrap().samples.inputs.all_numbers(), [1.0, 2.0]);
}

#[test]
fn a_header_that_does_not_fit_refuses_the_batch() {
    let refusal = |text: &str, expected: &Expected| match rows(text.as_bytes(), expected) {
        Err(Unreadable::Invalid(invalid)) => invalid.detail,
        other => panic!("{text}: {other:?}"),
    };
    for (text, detail) in [
        ("", "the body is empty; its first row is to name the columns"),
        ("x,y\n1,2\n", "there is no column `label`; say ?label=COLUMN for another"),
        ("x,label,label\n", "two columns are called `label`"),
        ("x,y,z,label\n", "input has 3 columns, the model takes 2"),
    ] {
        assert_eq!(refusal(text, &vector(2)), detail);
    }
    for (text, detail) in [
        ("age,city,label\n", "there is no column for feature `height, m`"),
        ("age,city,\"height, m\",size,label\n", "column `size` is none of the model's features"),
        ("age,city,city,\"height, m\",label\n", "two columns are called `city`"),
    ] {
        assert_eq!(refusal(text, &named()), detail);
    }
}

#[test]
fn a_bad_row_is_a_rejected_sample() {
    let reject = "and the model's learning.missing is `reject`";
    for (row, reason) in [
        ("1,2", "row has 2 fields, the header has 3".to_owned()),
        ("1,2,a,b", "row has 4 fields, the header has 3".to_owned()),
        ("1,2,", "label is missing".to_owned()),
        ("1,,a", format!("input[1] is empty, {reject}")),
        ("1,NaN,a", "input[1] is NaN, which is not a finite number".to_owned()),
        ("-inf,1,a", "input[0] is -inf, which is not a finite number".to_owned()),
        ("1,two,a", "input[1] is `two`, which is not a number".to_owned()),
        (
            "1,1e39,a",
            "input[1] is 1e39, which does not fit a 32-bit floating point number".to_owned(),
        ),
    ] {
        let text = format!("x,y,label\n1,2,a\n{row}\n3,4,b\n");
        let read = rows(text.as_bytes(), &vector(2)).unwrap();
        assert_eq!((read.indices, read.rejections), (vec![0, 2], vec![(1, reason)]));
    }
    let read = rows(b"x,y,label\n1,2,\xff\n3,4,b\n", &vector(2)).unwrap();
    assert_eq!((read.indices, read.rejections), (vec![1], vec![(0, "row is not UTF-8".into())]));
}

#[test]
fn a_quote_left_open_does_not_swallow_the_body() {
    let start = "x,label\n1,a\n2,\"b";
    let reader = start.as_bytes().chain(std::io::repeat(b'\n').take(1 << 30));
    let read = gather(&vector(1), |gatherer| csv::read_rows(reader, "label", gatherer));
    assert!(matches!(read, Err(Unreadable::Malformed(detail)) if detail.contains("line 3")));
}
