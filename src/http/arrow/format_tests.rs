//! Streams of every type that a model takes, and of those that none does.

use std::sync::Arc;
use std::time::Duration;

use arrow_array::types::{Float32Type, Int8Type, Int32Type, Int64Type};
use arrow_array::{
    Array, ArrayRef, BinaryArray, BinaryViewArray, BooleanArray, Date32Array, DictionaryArray,
    FixedSizeListArray, Float16Array, Float32Array, Float64Array, Int8Array, Int32Array,
    Int64Array, LargeBinaryArray, LargeListArray, LargeStringArray, ListArray, NullArray,
    RecordBatch, StringArray, StringViewArray, UInt8Array, UInt64Array,
};
use arrow_ipc::writer::{DictionaryHandling, IpcWriteOptions, StreamWriter};
use axum::body::Body;
use half::f16;

use super::*;
use crate::domain::Invalid;
use crate::domain::image::Budget;
use crate::domain::input::{Category, Inputs};
use crate::domain::settings::{Missing, ModelSettings};

pub(super) const VECTOR: &str = r#"{"kind": "tabular", "dim": 2}"#;
pub(super) const ROW: &str = r#"{"kind": "tabular", "features": [
    {"name": "age", "type": "numeric"}, {"name": "city", "type": "categorical"}]}"#;
pub(super) const TEXT: &str = r#"{"kind": "text"}"#;
pub(super) const IMAGE: &str = r#"{"kind": "image", "width": 8, "height": 8, "channels": 1}"#;

pub(super) fn settings(input: &str) -> ModelSettings {
    let mut settings = ModelSettings::new(serde_json::from_str(input).unwrap());
    settings.learning.missing = Missing::Impute;
    settings
}

pub(super) fn column(array: impl Array + 'static) -> ArrayRef {
    Arc::new(array)
}

pub(super) fn batch(columns: &[(&str, ArrayRef)]) -> RecordBatch {
    let columns = columns.iter().map(|(name, array)| (*name, Arc::clone(array), true));
    RecordBatch::try_from_iter_with_nullable(columns).unwrap()
}

/// A stream of these batches.
pub(super) fn stream(batches: &[RecordBatch], options: IpcWriteOptions) -> Vec<u8> {
    let schema = batches[0].schema();
    let mut writer = StreamWriter::try_new_with_options(Vec::new(), &schema, options).unwrap();
    batches.iter().for_each(|batch| writer.write(batch).unwrap());
    writer.into_inner().unwrap()
}

/// All inputs of a body, up to the first that is none, and why that is none; or why the body is no stream.
pub(super) async fn read(
    body: Body,
    settings: &ModelSettings,
) -> Result<(Inputs, Option<Invalid>), Problem> {
    let mut messages = Messages::new(body, Duration::from_secs(9));
    let (input, missing) = (settings.input.clone(), settings.learning.missing);
    let mut decoder = Decoder::new(move |schema| Layout::of(schema, &input));
    let mut inputs = Inputs::new(&settings.input);
    while let Some(message) = messages.next().await? {
        let Some(mut rows) = decoder.decode(&message)? else { continue };
        while rows.len() > 0 {
            let some = rows.split_to(3);
            let budget = Budget::default();
            let (some, refusal) = some.layout.read(&some.batch, &settings.input, missing, &budget);
            (0..some.len()).for_each(|index| inputs.push_from(&some, index));
            if refusal.is_some() {
                return Ok((inputs, refusal));
            }
        }
    }
    Ok((inputs, None))
}

async fn inputs_of(columns: &[(&str, ArrayRef)], input: &str) -> Inputs {
    let bytes = stream(&[batch(columns)], IpcWriteOptions::default());
    let (inputs, refusal) = read(Body::from(bytes), &settings(input)).await.unwrap();
    assert_eq!(refusal, None, "{columns:?}");
    inputs
}

async fn refusal_of(columns: &[(&str, ArrayRef)], input: &str) -> (usize, Invalid) {
    let bytes = stream(&[batch(columns)], IpcWriteOptions::default());
    let (inputs, refusal) = read(Body::from(bytes), &settings(input)).await.unwrap();
    (inputs.len(), refusal.unwrap())
}

async fn problem_of(bytes: Vec<u8>, input: &str) -> Problem {
    read(Body::from(bytes), &settings(input)).await.unwrap_err()
}

fn png(level: u8) -> Vec<u8> {
    let image = ::image::GrayImage::from_pixel(8, 8, ::image::Luma([level]));
    let mut file = std::io::Cursor::new(Vec::new());
    image.write_to(&mut file, ::image::ImageFormat::Png).unwrap();
    file.into_inner()
}

/// Three times the same two numbers, as every type of list.
pub(super) fn lists() -> Vec<ArrayRef> {
    let of_two = || (0..3).map(|_| Some([Some(1_i8), Some(2)]));
    vec![
        column(FixedSizeListArray::from_iter_primitive::<Int8Type, _, _>(of_two(), 2)),
        column(ListArray::from_iter_primitive::<Int8Type, _, _>(of_two())),
        column(LargeListArray::from_iter_primitive::<Int8Type, _, _>(of_two())),
    ]
}

/// Two texts, one of them twice, and none, as every type of text.
pub(super) fn texts() -> Vec<ArrayRef> {
    let texts = || [Some("Ulm"), Some("Köln"), None, Some("Ulm")];
    vec![
        column(StringArray::from_iter(texts())),
        column(LargeStringArray::from_iter(texts())),
        column(StringViewArray::from_iter(texts())),
        column(DictionaryArray::<Int8Type>::from_iter(texts())),
        column(DictionaryArray::<Int64Type>::from_iter(texts())),
    ]
}

/// A file twice, as every type of bytes.
pub(super) fn files() -> Vec<ArrayRef> {
    let file = png(7);
    vec![
        column(BinaryArray::from_iter_values([&file, &file])),
        column(LargeBinaryArray::from_iter_values([&file, &file])),
        column(BinaryViewArray::from_iter_values([&file, &file])),
    ]
}

#[tokio::test]
async fn numbers_of_every_type_are_read() {
    let one_half = |array: ArrayRef| async move {
        let inputs = inputs_of(&[("a", Arc::clone(&array)), ("b", array)], VECTOR).await;
        inputs.all_numbers().to_vec()
    };
    for whole in [
        column(Int8Array::from(vec![1, 0])),
        column(Int64Array::from(vec![1, 0])),
        column(UInt64Array::from(vec![1, 0])),
        column(BooleanArray::from(vec![true, false])),
        column(Float16Array::from(vec![f16::ONE, f16::ZERO])),
        column(Float32Array::from(vec![1.0, 0.0])),
        column(Float64Array::from(vec![1.0, 0.0])),
    ] {
        assert_eq!(one_half(whole).await, [1.0, 1.0, 0.0, 0.0]);
    }
    assert_eq!(one_half(column(Float64Array::from(vec![0.1]))).await, [0.1, 0.1]);
    for lists in lists() {
        let inputs = inputs_of(&[("any name", lists)], VECTOR).await;
        assert_eq!(inputs.all_numbers(), [1.0, 2.0, 1.0, 2.0, 1.0, 2.0]);
    }
    let missing = one_half(column(Float64Array::from(vec![Some(3.0), None]))).await;
    assert_eq!(missing[..2], [3.0, 3.0]);
    assert!(missing[2].is_nan());
}

#[tokio::test]
async fn texts_files_and_named_columns_of_every_type_are_read() {
    let expected: [Category; 4] = ["Ulm", "Köln", "", "Ulm"].map(|text| match text {
        "" => None,
        text => Some(text.into()),
    });
    for cities in texts() {
        // In any order.
        let ages = column(Int8Array::from(vec![1, 2, 3, 4]));
        let inputs = inputs_of(&[("city", Arc::clone(&cities)), ("age", ages)], ROW).await;
        assert_eq!(inputs.all_categories(), expected);
        assert_eq!(inputs.all_numbers(), [1.0, 2.0, 3.0, 4.0]);
        let inputs = inputs_of(&[("any name", cities.slice(0, 2))], TEXT).await;
        assert_eq!(inputs.all_categories(), &expected[..2]);
    }
    for files in files() {
        let inputs = inputs_of(&[("image", files)], IMAGE).await;
        assert_eq!(inputs.all_numbers(), [7.0; 128]);
    }
    let pixels = (0..2).map(|_| Some(vec![Some(9_i32); 64]));
    let pixels = column(FixedSizeListArray::from_iter_primitive::<Int32Type, _, _>(pixels, 64));
    assert_eq!(inputs_of(&[("image", pixels)], IMAGE).await.all_numbers(), [9.0; 128]);
}

#[tokio::test]
async fn a_row_that_is_none_ends_what_is_read_and_is_told_as_in_json() {
    let numbers = |last: f64| column(Float64Array::from(vec![1.0, 2.0, 3.0, last, 5.0]));
    let is = |at: &str, detail: &str| (3, Invalid::at(at, detail));
    let good = || numbers(4.0);
    for (bad, why) in [
        (f64::NAN, "is NaN, which is not a finite number"),
        (1e39, &*format!("is {}, which does not fit a 32-bit floating point number", 1e39)),
    ] {
        let refusal = refusal_of(&[("a", good()), ("b", numbers(bad))], VECTOR).await;
        assert_eq!(refusal, is("/1", &format!("input[1] {why}")));
    }
    let list = |n: usize| Some(vec![Some(0.5_f32); n]);
    for (last, at, detail) in [
        (list(3), "", "input has 3 numbers, the model takes 2"),
        (None, "", "input is null"),
        (
            Some(vec![Some(1.0), Some(f32::INFINITY)]),
            "/1",
            "input[1] is inf, which is not a finite number",
        ),
    ] {
        let lists = [list(2), list(2), list(2), last];
        let lists = column(ListArray::from_iter_primitive::<Float32Type, _, _>(lists));
        assert_eq!(refusal_of(&[("x", lists)], VECTOR).await, is(at, detail));
    }
    let long = "x".repeat(257);
    let cities = column(StringArray::from(vec!["", "", "", &long, ""]));
    let refusal = refusal_of(&[("age", good()), ("city", cities)], ROW).await;
    assert_eq!(refusal, is("/city", "feature `city` is 257 bytes long, 256 is the most"));
    let texts = column(StringArray::from(vec![Some("a"), Some("b"), Some("c"), None]));
    assert_eq!(refusal_of(&[("x", texts)], TEXT).await, is("", "the text is null"));
    let file = png(1);
    let files = column(BinaryArray::from(vec![Some(&file[..]), Some(&file), Some(&file), None]));
    assert_eq!(refusal_of(&[("x", files)], IMAGE).await, is("", "the image is null"));
    let pixels = vec![Some(0.5_f32); 64];
    let pixels = column(ListArray::from_iter_primitive::<Float32Type, _, _>([Some(pixels)]));
    let (n, refusal) = refusal_of(&[("x", pixels)], IMAGE).await;
    assert_eq!((n, &*refusal.pointer), (0, "/0"), "{refusal}");
    assert!(refusal.detail.contains("whole numbers of 0 to 255"), "{refusal}");
}

#[tokio::test]
async fn a_schema_that_does_not_suit_is_told_by_its_column() {
    let floats = || column(Float32Array::from(vec![1.0]));
    let words = || column(StringArray::from(vec!["a"]));
    let triples = || [Some([Some(1.0_f32); 3])];
    let triples =
        || column(FixedSizeListArray::from_iter_primitive::<Float32Type, _, _>(triples(), 3));
    for (columns, input, at, detail) in [
        (vec![("a", floats())], VECTOR, "/schema", "the stream has 1 columns"),
        (
            vec![("a", floats()), ("b", words())],
            VECTOR,
            "/schema/fields/1",
            "column `b` is of Utf8",
        ),
        (
            vec![("a", column(NullArray::new(1))), ("b", floats())],
            VECTOR,
            "/schema/fields/0",
            "takes numbers",
        ),
        (
            vec![("a", floats()), ("b", column(Date32Array::from(vec![1])))],
            VECTOR,
            "/schema/fields/1",
            "Date32",
        ),
        (vec![("a", triples())], VECTOR, "/schema/fields/0", "takes lists of 2 numbers"),
        (vec![("a", triples())], ROW, "/schema/fields/0", "some of them texts"),
        (vec![("age", floats())], ROW, "/schema", "no column for feature `city`"),
        (vec![("age", floats()), ("city", floats())], ROW, "/schema/fields/1", "takes texts"),
        (vec![("age", words()), ("city", words())], ROW, "/schema/fields/0", "takes numbers"),
        (vec![("age", floats()), ("town", words())], ROW, "/schema", "column `town` is none"),
        (
            vec![("age", floats()), ("age", floats())],
            ROW,
            "/schema",
            "two columns are called `age`",
        ),
        (vec![("text", floats())], TEXT, "/schema/fields/0", "takes texts"),
        (
            vec![("text", words()), ("id", words())],
            TEXT,
            "/schema",
            "one column of texts, the stream has 2",
        ),
        (vec![("image", words())], IMAGE, "/schema/fields/0", "takes image files"),
    ] {
        let bytes = stream(&[batch(&columns)], IpcWriteOptions::default());
        let problem = problem_of(bytes, input).await;
        assert_eq!(problem.code(), ProblemCode::Invalid, "{problem}");
        assert_eq!(problem.errors()[0].pointer, at, "{problem}");
        assert!(problem.detail().contains(detail), "{problem}");
    }
}

#[tokio::test]
async fn dictionaries_grow_and_are_replaced_up_to_a_bound() {
    let dictionary = |texts: &[&str]| {
        let texts: DictionaryArray<Int32Type> = texts.iter().copied().collect();
        batch(&[("text", column(texts))])
    };
    let batches = [dictionary(&["a", "b"]), dictionary(&["a", "b", "c"]), dictionary(&["d"])];
    for handling in [DictionaryHandling::Resend, DictionaryHandling::Delta] {
        let options = IpcWriteOptions::default().with_dictionary_handling(handling);
        let bytes = stream(&batches, options);
        let (inputs, _) = read(Body::from(bytes), &settings(TEXT)).await.unwrap();
        let texts: Vec<&str> =
            inputs.all_categories().iter().flatten().map(|text| &**text).collect();
        assert_eq!(texts, ["a", "b", "a", "b", "c", "d"]);
    }
    // Each is within the bound of a message; together they are not. One text is asked for.
    let long = "x".repeat(60_000);
    let many = |n: usize| {
        let texts = StringArray::from_iter_values((0..n).map(|i| format!("{i}{long}")));
        let places = Int32Array::from(vec![0]);
        batch(&[("text", column(DictionaryArray::new(places, Arc::new(texts))))])
    };
    let options = || IpcWriteOptions::default().with_dictionary_handling(DictionaryHandling::Delta);
    let within = stream(&[many(200), dictionary(&["other"])], options());
    assert!(read(Body::from(within), &settings(TEXT)).await.is_ok());
    let beyond = stream(&[many(200), many(450)], options());
    let problem = problem_of(beyond, TEXT).await;
    assert_eq!(problem.code(), ProblemCode::PayloadTooLarge, "{problem}");
    assert!(problem.detail().contains("dictionaries"), "{problem}");
}

#[tokio::test]
async fn dictionaries_grow_by_many_deltas_unless_much_is_copied_for_little() {
    let options = || IpcWriteOptions::default().with_dictionary_handling(DictionaryHandling::Delta);
    let first_of = |texts: &[&str]| {
        let (place, texts) = (Int32Array::from(vec![0]), StringArray::from(texts.to_vec()));
        batch(&[("text", column(DictionaryArray::new(place, Arc::new(texts))))])
    };
    // Behind two texts `n` deltas of a third, each with a row.
    let grown = |second: &str, n: usize| {
        let begun = first_of(&["a", second]);
        let n_begun = stream(std::slice::from_ref(&begun), options()).len() - 8;
        let bytes = stream(&[begun, first_of(&["a", second, "c"])], options());
        [&bytes[..n_begun], &bytes[n_begun..bytes.len() - 8].repeat(n)].concat()
    };
    let (inputs, _) = read(Body::from(grown("b", 1_000)), &settings(TEXT)).await.unwrap();
    assert_eq!(inputs.len(), 1_001);
    let long = "b".repeat(12 << 20);
    let (inputs, _) = read(Body::from(grown(&long, 50)), &settings(TEXT)).await.unwrap();
    assert_eq!(inputs.len(), 51);
    let problem = problem_of(grown(&long, 500), TEXT).await;
    assert_eq!(problem.code(), ProblemCode::PayloadTooLarge, "{problem}");
    assert!(problem.detail().contains("small deltas"), "{problem}");
}

#[tokio::test]
async fn what_is_compressed_or_out_of_order_is_refused() {
    let numbers = [
        ("a", column(Float64Array::from(vec![0.5; 9]))),
        ("b", column(UInt8Array::from(vec![1; 9]))),
    ];
    let rows = batch(&numbers);
    // Nothing is compressed where there is nothing, and that it would be is told.
    let options = IpcWriteOptions::default()
        .try_with_compression(Some(arrow_ipc::CompressionType::LZ4_FRAME))
        .unwrap();
    let compressed = stream(&[rows.slice(0, 0)], options);
    let problem = problem_of(compressed, VECTOR).await;
    assert_eq!(problem.code(), ProblemCode::UnsupportedMediaType, "{problem}");
    let plain = stream(&[rows], IpcWriteOptions::default());
    let schema = stream(&[batch(&numbers).slice(0, 0)], IpcWriteOptions::default());
    // Without its end, and the end alone.
    let begun = &schema[..schema.len() - 8];
    for bytes in [
        [begun, &plain].concat(),
        [&plain[..], &plain].concat(),
        plain[..plain.len() - 9].to_vec(),
        vec![8, 0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0],
    ] {
        let problem = problem_of(bytes, VECTOR).await;
        assert_eq!(problem.code(), ProblemCode::MalformedRequest, "{problem}");
    }
    // Without a mark of its end a stream is whole.
    let (inputs, _) =
        read(Body::from(plain[..plain.len() - 8].to_vec()), &settings(VECTOR)).await.unwrap();
    assert_eq!(inputs.len(), 9);
}
