//! The formats against each other, and against whatever bytes a client may send.

use std::fmt::Write;
use std::io::{BufReader, Read};

use proptest::prelude::*;
use tokio::sync::mpsc;

use super::{Expected, Gatherer, MAX_SAMPLE_BYTES, Unreadable};
use crate::domain::cases;
use crate::domain::input::InputSchema;
use crate::domain::sample::{ContentHash, Samples};
use crate::domain::settings::Missing;
use crate::http::{csv, json};
use crate::services::ingest::{Chunk, Part};

pub(super) fn vector(dim: usize) -> Expected {
    let schema = serde_json::json!({"kind": "tabular", "dim": dim});
    Expected::new(serde_json::from_value(schema).unwrap(), Missing::Reject)
}

/// Two numbers, of which one may be missing, and a category between them.
pub(super) fn named() -> Expected {
    let schema: InputSchema = serde_json::from_value(serde_json::json!({
        "kind": "tabular", "features": [
            {"name": "age", "type": "numeric"},
            {"name": "city", "type": "categorical"},
            {"name": "height, m", "type": "numeric"},
        ]
    }))
    .unwrap();
    Expected::new(schema, Missing::Impute)
}

/// What a batch turned out to hold.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Batch {
    pub(super) samples: Samples,
    pub(super) client_ids: Vec<Option<String>>,
    subjects: Vec<Option<String>>,
    pub(super) indices: Vec<u64>,
    pub(super) rejections: Vec<(u64, String)>,
    n_samples_by_chunk: Vec<usize>,
}

pub(super) fn gather(
    expected: &Expected,
    read: impl FnOnce(Gatherer) -> Result<(), Unreadable>,
) -> Result<Batch, Unreadable> {
    let (sender, mut parts) = mpsc::channel(1000);
    let outcome = read(Gatherer::new(expected.clone(), sender));
    let mut all = Batch { samples: Samples::empty(&expected.schema), ..Batch::default() };
    let mut has_ended = false;
    while let Ok(part) = parts.try_recv() {
        assert!(!has_ended, "nothing comes after the end");
        let Part::Chunk(chunk) = part else {
            has_ended = true;
            continue;
        };
        let Chunk { samples, client_ids, subjects, held_out, indices, rejections } = chunk;
        assert_eq!(samples.len(), samples.inputs.len());
        all.n_samples_by_chunk.push(samples.len() + rejections.len());
        for (i, held_out) in held_out.iter().enumerate() {
            let (numbers, categories) = (samples.inputs.numbers(i), samples.inputs.categories(i));
            let input = ContentHash::of_input(numbers, categories);
            assert_eq!(samples.hashes[i], input.with_label(&samples.labels[i]));
            assert_eq!(*held_out, input.is_held_out());
            all.samples.push_from(&samples, i);
        }
        all.client_ids.extend(client_ids);
        all.subjects.extend(subjects);
        all.indices.extend(indices);
        all.rejections.extend(rejections.into_iter().map(|bad| (bad.index, bad.reason)));
    }
    assert_eq!(has_ended, outcome.is_ok(), "only what was read to its end has one");
    outcome.map(|()| all)
}

pub(super) fn document(text: &[u8], expected: &Expected) -> Result<Batch, Unreadable> {
    gather(expected, |gatherer| json::read_document(text, gatherer))
}

pub(super) fn lines(text: &[u8], expected: &Expected) -> Result<Batch, Unreadable> {
    gather(expected, |gatherer| json::read_lines(text, gatherer))
}

pub(super) fn rows(text: &[u8], expected: &Expected) -> Result<Batch, Unreadable> {
    gather(expected, |gatherer| csv::read_rows(text, "label", gatherer))
}

pub(super) fn reasons(read: Result<Batch, Unreadable>) -> Vec<(u64, String)> {
    read.unwrap().rejections
}

#[derive(Debug, Clone)]
struct Given {
    age: f32,
    city: Option<String>,
    height: Option<f32>,
    label: String,
    id: Option<String>,
    subject: Option<String>,
    weight: f32,
}

fn given() -> impl Strategy<Value = Given> {
    let finite = prop::num::f32::NORMAL | prop::num::f32::SUBNORMAL | prop::num::f32::ZERO;
    let text = "[^\0]{1,20}";
    (
        finite,
        prop::option::of(text),
        prop::option::of(finite),
        text,
        prop::option::of(text),
        prop::option::of(text),
        1e-6_f32..1e6,
    )
        .prop_map(|(age, city, height, label, id, subject, weight)| Given {
            age,
            city,
            height,
            label,
            id,
            subject,
            weight,
        })
}

fn as_json(given: &Given) -> String {
    let Given { age, city, height, label, id, subject, weight } = given;
    let text = |text: &Option<String>| serde_json::to_string(text).unwrap();
    let label = serde_json::to_string(label).unwrap();
    let mut input = format!("{{\"age\": {age:?}");
    if city.is_some() {
        write!(input, ", \"city\": {}", text(city)).unwrap();
    }
    let height = height.map_or("null".to_owned(), |height| height.to_string());
    write!(input, ", \"height, m\": {height}}}").unwrap();
    format!(
        "{{\"id\": {}, \"subject\": {}, \"label\": {label}, \"input\": {input}, \"weight\": {weight}}}",
        text(id),
        text(subject)
    )
}

fn as_csv(given: &[Given]) -> Vec<u8> {
    let mut writer = ::csv::Writer::from_writer(Vec::new());
    writer.write_record(["weight", "height, m", "label", "city", "subject", "id", "age"]).unwrap();
    for Given { age, city, height, label, id, subject, weight } in given {
        let height = height.map_or(String::new(), |height| format!("{height:?}"));
        let (city, id) = (city.clone().unwrap_or_default(), id.clone().unwrap_or_default());
        let subject = subject.clone().unwrap_or_default();
        let (weight, age) = (weight.to_string(), age.to_string());
        writer.write_record([&weight, &height, label, &city, &subject, &id, &age]).unwrap();
    }
    writer.into_inner().unwrap()
}

/// Missing numbers as something that equals itself.
fn comparable(read: Batch) -> (Vec<u32>, Vec<f32>, String) {
    let bits = read.samples.inputs.all_numbers().iter().map(|number| (number + 0.0).to_bits());
    let rest = (
        read.samples.inputs.all_categories(),
        &read.samples.labels,
        &read.samples.hashes,
        &read.client_ids,
        &read.subjects,
        &read.indices,
        &read.rejections,
    );
    (bits.collect(), read.samples.weights.clone(), format!("{rest:?}"))
}

proptest! {
    #![proptest_config(cases::usually(64))]

    #[test]
    fn every_format_says_the_same(given in prop::collection::vec(given(), 1..20)) {
        let json: Vec<String> = given.iter().map(as_json).collect();
        let document_text = format!("{{\"samples\": [{}]}}", json.join(",\n"));
        let from_document = document(document_text.as_bytes(), &named()).unwrap();
        prop_assert_eq!(from_document.samples.len(), given.len());
        for (i, given) in given.iter().enumerate() {
            prop_assert_eq!(from_document.samples.inputs.numbers(i)[0], given.age);
            prop_assert_eq!(&from_document.client_ids[i], &given.id);
            prop_assert_eq!(&from_document.subjects[i], &given.subject);
            prop_assert_eq!(from_document.samples.weights[i], given.weight);
        }
        let from_document = comparable(from_document);
        let from_lines = comparable(lines(json.join("\r\n").as_bytes(), &named()).unwrap());
        prop_assert_eq!(&from_lines, &from_document);
        let from_rows = comparable(rows(&as_csv(&given), &named()).unwrap());
        prop_assert_eq!(&from_rows, &from_document);
    }

    #[test]
    fn no_bytes_make_a_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        for expected in [vector(2), named()] {
            let _ = document(&bytes, &expected);
            let _ = lines(&bytes, &expected);
            let _ = rows(&bytes, &expected);
        }
    }

    #[test]
    fn no_damage_makes_a_reader_panic(
        given in prop::collection::vec(given(), 1..4),
        at in any::<prop::sample::Index>(),
        length in 0_usize..8,
        instead in prop_oneof![
            prop::collection::vec(any::<u8>(), 0..8),
            "[\\[\\]{}\",:\\\\\nNe0-9.]{0,8}".prop_map(String::into_bytes),
        ],
    ) {
        let json: Vec<String> = given.iter().map(as_json).collect();
        let damaged = |mut text: Vec<u8>| {
            let from = at.index(text.len());
            let to = (from + length).min(text.len());
            text.splice(from..to, instead.iter().copied());
            text
        };
        let text = damaged(format!("{{\"samples\": [{}]}}", json.join(",\n")).into_bytes());
        let is_json = serde_json::from_slice::<&serde_json::value::RawValue>(&text).is_ok();
        match document(&text, &named()) {
            Ok(_) => prop_assert!(is_json),
            Err(Unreadable::MalformedJson(_)) => prop_assert!(!is_json),
            Err(_) => {}
        }
        let read = lines(&damaged(json.join("\n").into_bytes()), &named()).unwrap();
        prop_assert!(read.samples.len() + read.rejections.len() + 2 >= given.len());
        let _ = rows(&damaged(as_csv(&given)), &named());
    }

    #[test]
    fn where_reads_end_does_not_matter(
        given in prop::collection::vec(given(), 1..6),
        capacity in 1_usize..64,
    ) {
        let json = given.iter().map(as_json).collect::<Vec<_>>().join("\n");
        let whole = comparable(lines(json.as_bytes(), &named()).unwrap());
        let reader = BufReader::with_capacity(capacity, json.as_bytes());
        let pieces = gather(&named(), |gatherer| json::read_lines(reader, gatherer)).unwrap();
        prop_assert_eq!(comparable(pieces), whole);
    }
}

#[test]
fn a_batch_comes_in_chunks_of_bounded_size() {
    let line = "{\"input\": [1], \"label\": \"a\"}\n";
    let read = lines(format!("{}broken\n", line.repeat(2500)).as_bytes(), &vector(1)).unwrap();
    assert_eq!(read.n_samples_by_chunk, [1000, 1000, 501]);
    assert_eq!(read.indices, (0..2500).collect::<Vec<u64>>());
    assert_eq!(read.rejections[0].0, 2500);

    let wide = format!("{{\"input\": [{}0], \"label\": \"a\"}}\n", "0,".repeat(65_535));
    let read = lines(wide.repeat(100).as_bytes(), &vector(65_536)).unwrap();
    assert_eq!(read.n_samples_by_chunk, [32, 32, 32, 4], "8 MiB of numbers each");

    let wordy = format!("{{\"{}\": 1}}\n", "x".repeat(1 << 20));
    let read = lines(wordy.repeat(20).as_bytes(), &vector(1)).unwrap();
    assert_eq!(read.n_samples_by_chunk, [16, 4], "16 MiB of text each");
    assert!(read.rejections[0].1.len() < 500);
}

#[test]
fn a_reader_stops_when_nobody_takes_its_samples() {
    let (sender, parts) = mpsc::channel(1);
    drop(parts);
    let line = b"{\"input\": [1], \"label\": \"a\"}\n".repeat(1001);
    let outcome = json::read_lines(line.as_slice(), Gatherer::new(vector(1), sender));
    assert!(matches!(outcome, Err(Unreadable::GivenUp)));
}

#[test]
fn lines_come_as_any_system_ends_them() {
    let text =
        "\u{feff}{\"input\": [1], \"label\": \"a\"}\r\n\r\n  \n{\"label\": \"b\", \"input\": [2]}";
    let read = lines(text.as_bytes(), &vector(1)).unwrap();
    assert_eq!(read.samples.inputs.all_numbers(), [1.0, 2.0]);
    assert_eq!(read.indices, [0, 1]);
}

#[test]
fn a_line_too_long_is_rejected_and_not_kept() {
    let long = std::io::repeat(b'x').take(MAX_SAMPLE_BYTES as u64 + 5);
    let rest = "\n{\"input\": [1], \"label\": \"a\"}\n";
    let reader = BufReader::new(long.chain(rest.as_bytes()));
    let read = gather(&vector(1), |gatherer| json::read_lines(reader, gatherer)).unwrap();
    assert_eq!(read.rejections, [(0, "line is over 16777216 bytes long".to_owned())]);
    assert_eq!(read.indices, [1]);
}

#[test]
fn a_bad_sample_is_told_by_index_and_reason() {
    let long = "x".repeat(257);
    for (sample, reason) in [
        (r#"{"input": [1]}"#, "label is missing"),
        (r#"{"input": [1], "label": null}"#, "label is missing"),
        (r#"{"input": [1], "label": 3}"#, "label is not a string"),
        (r#"{"input": [1], "label": ""}"#, "label is empty"),
        (r#"{"input": [1], "label": "\ud800"}"#, "label is not valid Unicode"),
        (r#"{"input": [1], "label": "a\u0000"}"#, "label holds a NUL character"),
        (
            &format!(r#"{{"input": [1], "label": "{long}"}}"#),
            "label is 257 bytes long, 256 is the most",
        ),
        (r#"{"label": "a"}"#, "input is missing"),
        (r#"{"label": "a", "input": null}"#, "input is missing"),
        (r#"{"label": "a", "input": [1, 2]}"#, "input has 2 numbers, the model takes 1"),
        (r#"{"label": "a", "input": [1], "id": ""}"#, "id is empty; leave it out instead"),
        (r#"{"label": "a", "input": [1], "id": 7}"#, "id is not a string"),
        (
            &format!(r#"{{"label": "a", "input": [1], "id": "{long}"}}"#),
            "id is 257 bytes long, 256 is the most",
        ),
        (
            r#"{"label": "a", "input": [1], "weight": 0}"#,
            "weight is not over 0 and at most 1000000",
        ),
        (
            r#"{"label": "a", "input": [1], "weight": 1e7}"#,
            "weight is not over 0 and at most 1000000",
        ),
        (r#"{"label": "a", "input": [1], "weight": "1"}"#, "weight is not a number"),
        (
            r#"{"label": "a", "input": [1], "lable": 1}"#,
            "field `lable` is none of input, label, id, subject, weight",
        ),
        (r#"{"label": "a", "input": [1], "input": [1]}"#, "field `input` is given twice"),
    ] {
        let good = r#"{"input": [1], "label": "a", "id": null, "weight": null}"#;
        let expected = vec![(1, reason.to_owned())];
        let text = format!("{good}\n{sample}\n{good}\n");
        assert_eq!(reasons(lines(text.as_bytes(), &vector(1))), expected);
        let text = format!("{{\"samples\": [{good}, {sample}, {good}]}}");
        assert_eq!(reasons(document(text.as_bytes(), &vector(1))), expected);
    }
}
