//! Arrow's record batches: predictions are what lines of JSON are answered, in columns, and samples are rows.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Float32Type, Int16Type};
use arrow_array::{
    Array, ArrayRef, BinaryArray, DictionaryArray, FixedSizeListArray, Float32Array, Float64Array,
    Int64Array, LargeStringArray, RecordBatch, StringArray,
};
use arrow_ipc::reader::StreamReader;
use arrow_ipc::writer::StreamWriter;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures_util::stream;
use reqwest::{Body, Method, Response};
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::oip::{pixels, png, teach_all};
use super::support::{Api, TestService, blobs};

const ARROW: &str = "application/vnd.apache.arrow.stream";

pub(crate) fn batch(columns: &[(&str, ArrayRef)]) -> RecordBatch {
    let columns = columns.iter().map(|(name, array)| (*name, Arc::clone(array), true));
    RecordBatch::try_from_iter_with_nullable(columns).unwrap()
}

/// The messages of a stream of these batches: the schema, each batch with its dictionaries, the end.
fn messages(batches: &[RecordBatch]) -> Vec<Vec<u8>> {
    let mut writer = StreamWriter::try_new(Vec::new(), &batches[0].schema()).unwrap();
    let mut messages = vec![std::mem::take(writer.get_mut())];
    for batch in batches {
        writer.write(batch).unwrap();
        messages.push(std::mem::take(writer.get_mut()));
    }
    messages.push(writer.into_inner().unwrap());
    messages
}

pub(crate) fn stream_of(batches: &[RecordBatch]) -> Vec<u8> {
    messages(batches).concat()
}

async fn post(api: &Api, path: &str, body: impl Into<Body>) -> Response {
    let request = api.request(Method::POST, path).header("content-type", ARROW);
    request.body(body).send().await.unwrap()
}

/// The rows of an answer, as a line of JSON would have them.
fn rows(bytes: &[u8]) -> Vec<Value> {
    let mut rows = Vec::new();
    for batch in StreamReader::try_new(bytes, None).unwrap() {
        let batch = batch.unwrap();
        let texts = |name: &str| batch.column_by_name(name).map(|column| column.as_string::<i32>());
        let text = |name: &str, row: usize| {
            let column = texts(name).filter(|column| column.is_valid(row));
            column.map(|column| column.value(row).to_owned())
        };
        let probabilities = batch.column_by_name("probability").unwrap();
        let probabilities = probabilities.as_primitive::<Float32Type>();
        let top = batch.column_by_name("top").unwrap().as_list::<i32>();
        for row in 0..batch.num_rows() {
            if let Some(error) = text("error", row) {
                assert!(
                    text("label", row).is_none() && probabilities.is_null(row) && top.is_null(row)
                );
                let error: Value = serde_json::from_str(&error).unwrap();
                rows.push(json!({ "error": error }));
                continue;
            }
            let scored = top.value(row);
            let labels = scored.as_struct().column(0).as_string::<i32>().clone();
            let shares = scored.as_struct().column(1).as_primitive::<Float32Type>().clone();
            let top: Vec<Value> = (0..scored.len())
                .map(|i| json!({"label": labels.value(i), "probability": shares.value(i)}))
                .collect();
            rows.push(json!({
                "id": text("id", row), "label": text("label", row),
                "probability": probabilities.value(row), "top": top,
            }));
        }
    }
    rows
}

async fn answered(answer: Response) -> Vec<Value> {
    let status = answer.status();
    let content_type = answer.headers()["content-type"].clone();
    let bytes = answer.bytes().await.unwrap();
    assert_eq!((status.as_u16(), content_type), (200, ARROW.parse().unwrap()), "{bytes:?}");
    rows(&bytes)
}

/// Checks that `batches` are answered as `lines` are.
async fn compare(api: &Api, model: &str, batches: &[RecordBatch], lines: Vec<Value>) {
    let path = format!("/v1/models/{model}/predict?top_k=2");
    let answer = post(api, &path, stream_of(batches)).await;
    assert_eq!(answer.headers()["x-perennial-version"], "1");
    let answers = answered(answer).await;
    let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
    let request = api.request(Method::POST, &path).header("content-type", "application/x-ndjson");
    let text = request.body(text).send().await.unwrap().text().await.unwrap();
    let expected: Vec<Value> =
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((answers.len(), lines.len()), (expected.len(), expected.len()), "{text}");
    // A minibatch of another size may round the last digit of a probability otherwise.
    for (one, other) in answers.iter().zip(&expected) {
        let said = |answer: &Value| {
            let top = answer["top"].as_array().unwrap();
            (answer["label"].clone(), top[0]["label"].clone(), top.len())
        };
        assert_eq!(said(one), said(other), "{model}");
        for at in ["/probability", "/top/0/probability", "/top/1/probability"] {
            let [one, other] =
                [one, other].map(|answer| answer.pointer(at).unwrap().as_f64().unwrap());
            assert!((one - other).abs() < 1e-5, "{model}: {one} {other}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_input_is_answered_as_in_json() {
    let service = TestService::start_with(&["--max-body-bytes", "200000"]).await;
    let api = &service.api;
    teach_all(api).await;

    // Rows of several batches, longer than the longest body, as lists and as columns.
    let vectors: Vec<Vec<f32>> =
        blobs(&["c", "a", "b"], 1_200, 8, 9).into_iter().map(|(input, _)| input).collect();
    let lines = || vectors.iter().map(|input| json!(input)).collect();
    let lists = |vectors: &[Vec<f32>]| {
        let lists = vectors.iter().map(|input| Some(input.iter().copied().map(Some)));
        let lists = FixedSizeListArray::from_iter_primitive::<Float32Type, _, _>(lists, 8);
        batch(&[("input", Arc::new(lists))])
    };
    let columns = |vectors: &[Vec<f32>]| {
        let column = |i: usize| vectors.iter().map(|input| f64::from(input[i])).collect::<Vec<_>>();
        let columns: Vec<(String, ArrayRef)> = (0..8)
            .map(|i| (format!("x{i}"), Arc::new(Float64Array::from(column(i))) as _))
            .collect();
        let columns: Vec<_> =
            columns.iter().map(|(name, array)| (&**name, Arc::clone(array))).collect();
        batch(&columns)
    };
    let batches: Vec<RecordBatch> = vectors.chunks(700).map(columns).collect();
    assert!(stream_of(&batches).len() > 200_000);
    compare(api, "vectors", &batches, lines()).await;
    let batches: Vec<RecordBatch> = vectors.chunks(7).map(lists).collect();
    compare(api, "vectors", &batches, lines()).await;

    let missing = json!({"learning": {"missing": "impute"}});
    api.patch("/v1/models/rows", missing).await.expect(200);
    let cities = [Some("Ulm"), None, Some("Bonn"), Some("elsewhere")];
    let ages = [Some(7), Some(150), None, Some(299)];
    let lines = ages.iter().zip(cities).map(|(x, city)| json!({"x": x, "city": city})).collect();
    let texts: DictionaryArray<Int16Type> = cities.into_iter().collect();
    let columns: [(&str, ArrayRef); 2] =
        [("city", Arc::new(texts)), ("x", Arc::new(Int64Array::from(ages.to_vec())))];
    let rows = batch(&columns);
    compare(api, "rows", &[rows.slice(0, 3), rows.slice(3, 0), rows.slice(3, 1)], lines).await;

    let texts = ["the striker scored", "the bank sold", "a goal"];
    let lines = texts.iter().map(|text| json!(text)).collect();
    let column: ArrayRef = Arc::new(LargeStringArray::from(texts.to_vec()));
    compare(api, "texts", &[batch(&[("text", column)])], lines).await;

    let files: Vec<Vec<u8>> = (0..150).map(|i| png(&pixels(i).0)).collect();
    let lines = files.iter().map(|file| json!(STANDARD.encode(file))).collect();
    let column: ArrayRef = Arc::new(BinaryArray::from_iter_values(&files));
    compare(api, "images", &[batch(&[("image", column)])], lines).await;
    service.stop().await;
}

/// A model of two numbers.
async fn create(api: &Api) {
    api.create_model("m", 2).await;
    api.send_samples("m", &blobs(&["a", "b"], 100, 2, 1)).await;
    assert_eq!(api.update("m").await["outcome"], "published");
}

/// So many rows of two numbers, of which those in `bad` are none.
fn pairs(n: usize, bad: &[usize]) -> RecordBatch {
    let zeros: ArrayRef = Arc::new(Float64Array::from(vec![0.0; n]));
    let others = (0..n).map(|row| if bad.contains(&row) { f64::NAN } else { 0.5 });
    batch(&[("a", zeros), ("b", Arc::new(Float64Array::from_iter_values(others)))])
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_first_is_a_refusal_and_what_is_wrong_later_the_last_row() {
    let service = TestService::start().await;
    let api = &service.api;
    let path = "/v1/models/m/predict";
    api.post_bytes(path, ARROW, stream_of(&[pairs(1, &[])])).await.problem(404);
    api.create_model("m", 2).await;
    api.post_bytes(path, ARROW, stream_of(&[pairs(1, &[])])).await.problem(409);
    api.send_samples("m", &blobs(&["a", "b"], 100, 2, 1)).await;
    api.update("m").await;

    let words: ArrayRef = Arc::new(StringArray::from(vec!["x"]));
    let good = stream_of(&[pairs(9, &[])]);
    for (body, status, pointer) in [
        (stream_of(&[pairs(9, &[0])]), 422, Some("/0/1")),
        (
            stream_of(&[batch(&[("a", Arc::clone(&words)), ("b", words)])]),
            422,
            Some("/schema/fields/0"),
        ),
        (Vec::new(), 422, Some("")),
        (good[..good.len() / 2].to_vec(), 400, None),
        (b"[0,0]\n".repeat(9), 400, None),
        (b"ARROW1\0\0".repeat(9), 400, None),
        // Four gigabytes of metadata, and of a body.
        (vec![0xff; 64], 400, None),
    ] {
        let problem = api.post_bytes(path, ARROW, body).await.problem(status);
        assert_eq!(problem["errors"][0]["pointer"].as_str(), pointer, "{problem}");
    }
    api.post_bytes(&format!("{path}?top_k=0"), ARROW, good).await.problem(422);
    // No rows are answered with none.
    assert_eq!(
        answered(post(api, path, stream_of(&[pairs(0, &[])])).await).await,
        [] as [Value; 0]
    );

    // In the same batch, at its edge, in another.
    for n_good in [1, 511, 512, 513, 1_100] {
        let all = pairs(1_300, &[n_good, n_good + 1]);
        let body = stream_of(&[all.slice(0, 1_000), all.slice(1_000, 300)]);
        let rows = answered(post(api, path, body).await).await;
        assert_eq!(rows.len(), n_good + 1);
        assert!(rows[..n_good].iter().all(|row| row["label"].is_string()));
        let error = &rows[n_good]["error"];
        assert_eq!((&error["status"], &error["instance"]), (&json!(422), &json!(path)));
        assert_eq!(error["errors"][0]["pointer"], format!("/{n_good}/1"));
    }
    // And what is cut off, or followed by what does not belong there.
    let whole = messages(&[pairs(600, &[]), pairs(600, &[])]);
    let cut = whole[..3].concat();
    let cut = cut[..cut.len() - 100].to_vec();
    for (body, n) in [(cut, 600), ([whole.concat(), vec![1]].concat(), 1_200)] {
        let rows = answered(post(api, path, body).await).await;
        assert_eq!(rows.len(), n + 1);
        assert_eq!(rows[n]["error"]["status"], 400);
    }
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_is_answered_before_the_next_comes_and_can_be_remembered() {
    let service = TestService::start().await;
    let api = &service.api;
    create(api).await;
    let (sender, receiver) = mpsc::channel::<Vec<u8>>(1);
    let body = Body::wrap_stream(stream::unfold(receiver, |mut pieces| async {
        Some((Ok::<_, std::io::Error>(pieces.recv().await?), pieces))
    }));
    let [schema, first, second, end] = &messages(&[pairs(2, &[]), pairs(3, &[])])[..] else {
        panic!()
    };
    sender.send([&schema[..], first].concat()).await.unwrap();
    let mut answer = post(api, "/v1/models/m/predict?remember=true", body).await;
    let mut bytes = answer.chunk().await.unwrap().unwrap().to_vec();
    assert_eq!(rows(&bytes).len(), 2);
    sender.send(second.clone()).await.unwrap();
    bytes.extend(answer.chunk().await.unwrap().unwrap());
    assert_eq!(rows(&bytes).len(), 5);
    sender.send(end.clone()).await.unwrap();
    drop(sender);
    while let Some(piece) = answer.chunk().await.unwrap() {
        bytes.extend(piece);
    }
    assert!(bytes.ends_with(&[0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0]));
    let items: Vec<Value> =
        rows(&bytes).iter().map(|row| json!({"prediction_id": row["id"], "label": "a"})).collect();
    let feedback = api.post("/v1/models/m/feedback", json!({"items": items})).await.expect(200);
    assert_eq!(feedback["accepted"], 5);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_learns_from_rows_with_a_column_for_the_label() {
    let service = TestService::start().await;
    let api = &service.api;
    api.create_model("m", 2).await;
    let path = "/v1/models/m/batches";
    let samples = blobs(&["a", "b"], 2_000, 2, 1);
    let number = |i: usize| samples.iter().map(|(input, _)| input[i]).collect::<Float32Array>();
    let labels = samples.iter().enumerate().map(|(i, (_, label))| (i != 7).then_some(*label));
    let columns: [(&str, ArrayRef); 3] = [
        ("x0", Arc::new(number(0))),
        ("kind", Arc::new(labels.collect::<DictionaryArray<Int16Type>>())),
        ("x1", Arc::new(number(1))),
    ];
    let rows = batch(&columns);
    let body = stream_of(&[rows.slice(0, 2_500), rows.slice(2_500, 1_500)]);
    let by_kind = format!("{path}?label=kind");
    let problem =
        api.post_bytes(&format!("{by_kind}&strict=true"), ARROW, body.clone()).await.problem(422);
    assert_eq!(problem["errors"][0]["detail"], "label is missing", "{problem}");
    let cut = body[..body.len() - 99].to_vec();
    api.post_bytes(&by_kind, ARROW, cut).await.problem(400);
    let problem = api.post_bytes(path, ARROW, body.clone()).await.problem(422);
    assert_eq!(problem["errors"][0]["pointer"], "/schema", "{problem}");
    assert_eq!(api.get("/v1/models/m").await.expect(200)["samples"], 0);

    let stored = api.post_bytes(&by_kind, ARROW, body).await.expect(202);
    let batch = &stored["batch"];
    let counts = ["received", "accepted", "rejected"].map(|count| batch[count].as_u64().unwrap());
    assert_eq!(counts, [4_000, 3_999, 1], "{batch}");
    assert_eq!(batch["rejections"][0], json!({"index": 7, "reason": "label is missing"}));
    assert_eq!(api.update("m").await["outcome"], "published");
    let inputs: Vec<&Vec<f32>> = samples[..50].iter().map(|(input, _)| input).collect();
    let answers = api.labels("m", &inputs).await;
    assert!(answers.iter().filter(|label| *label == "a").count() > 45, "{answers:?}");
    service.stop().await;
}
