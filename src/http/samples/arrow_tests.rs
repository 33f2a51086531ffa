//! Samples as rows of Arrow streams: the same as in JSON, and none that are damaged.

use std::sync::Arc;

use arrow_array::{ArrayRef, Float64Array, RecordBatch, StringArray, UInt8Array};
use arrow_ipc::writer::StreamWriter;
use proptest::prelude::*;
use serde_json::json;

use super::format_tests::{Batch, gather};
use super::{Expected, Unreadable};
use crate::domain::cases;
use crate::domain::settings::Missing;
use crate::http::error::{Problem, ProblemCode};
use crate::http::{arrow, json as json_readers};

fn named() -> Expected {
    let schema = json!({"kind": "tabular", "features": [
        {"name": "age", "type": "numeric"}, {"name": "city", "type": "categorical"}]});
    Expected::new(serde_json::from_value(schema).unwrap(), Missing::Impute)
}

fn texts() -> Expected {
    Expected::new(serde_json::from_value(json!({"kind": "text"})).unwrap(), Missing::Reject)
}

fn batch(columns: &[(&str, ArrayRef)]) -> RecordBatch {
    let columns = columns.iter().map(|(name, array)| (*name, Arc::clone(array), true));
    RecordBatch::try_from_iter_with_nullable(columns).unwrap()
}

fn stream(batches: &[RecordBatch]) -> Vec<u8> {
    let mut writer = StreamWriter::try_new(Vec::new(), &batches[0].schema()).unwrap();
    batches.iter().for_each(|batch| writer.write(batch).unwrap());
    writer.into_inner().unwrap()
}

fn read(bytes: &[u8], label: &str, expected: &Expected) -> Result<Batch, Unreadable> {
    gather(expected, |gatherer| arrow::read_samples(bytes, label, gatherer))
}

fn words<T: AsRef<str>>(texts: &[Option<T>]) -> ArrayRef {
    Arc::new(texts.iter().map(|text| text.as_ref()).collect::<StringArray>())
}

#[test]
fn rows_are_the_samples_that_lines_of_json_are() {
    let n = 150;
    let city = |i: usize| (!i.is_multiple_of(5)).then(|| ["Ulm", "Köln"][i % 2].to_owned());
    let age = |i: usize| (!i.is_multiple_of(7)).then_some(i as f64 / 8.0);
    // Some have no label, or one that is too long, and some weigh nothing.
    let label = |i: usize| {
        (!i.is_multiple_of(11)).then(|| if i == 20 { "x".repeat(257) } else { "a".to_owned() })
    };
    let weight = |i: usize| (!i.is_multiple_of(3)).then_some((i % 13) as u8);
    let id = |i: usize| (!i.is_multiple_of(4)).then(|| i.to_string());
    let each = |of: &dyn Fn(usize) -> Option<String>| words(&(0..n).map(of).collect::<Vec<_>>());
    let rows = batch(&[
        ("subject", words(&vec![None::<String>; n])),
        ("city", each(&city)),
        ("weight", Arc::new((0..n).map(weight).collect::<UInt8Array>())),
        ("target", each(&label)),
        ("id", each(&id)),
        ("age", Arc::new((0..n).map(age).collect::<Float64Array>())),
    ]);
    let line = |i: usize| {
        let input = json!({"age": age(i), "city": city(i)});
        json!({"input": input, "label": label(i), "id": id(i), "weight": weight(i)})
    };
    let lines: String = (0..n).map(|i| format!("{}\n", line(i))).collect();
    let expected =
        gather(&named(), |gatherer| json_readers::read_lines(lines.as_bytes(), gatherer)).unwrap();
    let bytes = stream(&[rows.slice(0, 100), rows.slice(100, 0), rows.slice(100, 50)]);
    let batch = read(&bytes, "target", &named()).unwrap();
    // Numbers that are missing are equal to none.
    assert_eq!(format!("{batch:?}"), format!("{expected:?}"));
    assert!(batch.samples.len() > 100 && batch.rejections.len() > 20);
}

#[test]
fn bad_rows_are_rejected_one_by_one_and_a_bad_schema_refuses_the_batch() {
    let labels = words(&[Some("a"); 6]);
    let inputs = words(&[Some("one"), None, Some(" "), Some("four"), Some(""), Some("six")]);
    let bytes = stream(&[batch(&[("text", inputs), ("label", labels)])]);
    let read_texts = read(&bytes, "label", &texts()).unwrap();
    assert_eq!(read_texts.samples.len(), 3);
    let bad: Vec<u64> = read_texts.rejections.iter().map(|(index, _)| *index).collect();
    assert_eq!(bad, [1, 2, 4]);

    let problem = |bytes: &[u8], label: &str, expected: &Expected| {
        let problem = Problem::from(read(bytes, label, expected).unwrap_err());
        (problem.code(), problem.detail().to_owned())
    };
    let numbers: ArrayRef = Arc::new(Float64Array::from(vec![0.5]));
    let one = words(&[Some("a")]);
    for (columns, detail) in [
        (vec![("text", Arc::clone(&one))], "there is no column `label`"),
        (
            vec![("text", Arc::clone(&one)), ("label", Arc::clone(&numbers))],
            "column `label` is of Float64",
        ),
        (
            vec![("text", Arc::clone(&numbers)), ("label", Arc::clone(&one))],
            "the model takes texts there",
        ),
        (
            vec![
                ("text", Arc::clone(&one)),
                ("label", Arc::clone(&one)),
                ("weight", Arc::clone(&one)),
            ],
            "takes numbers",
        ),
        (vec![("label", Arc::clone(&one))], "one column of texts, the stream has 0"),
    ] {
        let (code, said) = problem(&stream(&[batch(&columns)]), "label", &texts());
        assert_eq!(code, ProblemCode::Invalid, "{said}");
        assert!(said.contains(detail), "{said}");
    }
    assert_eq!(problem(b"", "label", &texts()).0, ProblemCode::Invalid);
    for damaged in [&bytes[..bytes.len() - 9], &[&bytes[..], b"\0"].concat(), b"text,label\na,b\n"]
    {
        assert_eq!(problem(damaged, "label", &texts()).0, ProblemCode::MalformedRequest);
    }
}

proptest! {
    #![proptest_config(cases::usually(512))]

    #[test]
    fn no_damage_makes_samples_of_what_is_none(
        damage in prop::collection::vec(cases::damage(), 1..3),
    ) {
        let labels = words(&[Some("a"); 3]);
        let numbers: ArrayRef = Arc::new(Float64Array::from(vec![Some(0.5), None, Some(7.0)]));
        let cities = words(&[Some("Ulm"), Some("Köln"), None]);
        let rows = batch(&[("age", numbers), ("city", cities), ("label", labels)]);
        let bytes = damage.iter().fold(stream(&[rows.slice(0, 2), rows]), cases::damaged);
        // `gather` checks what comes.
        if let Err(refusal) = read(&bytes, "label", &named()) {
            let problem = Problem::from(refusal);
            prop_assert!(!problem.code().status().is_server_error(), "{}", problem);
        }
    }
}
