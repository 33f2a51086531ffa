//! Images over HTTP: every format says the same, bad ones are told, and a bare file is predicted.

use std::io::{Cursor, Write};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use image::{DynamicImage, ImageFormat, Rgb, RgbImage};
use reqwest::Method;
use serde_json::{Value, json};
use zip::write::SimpleFileOptions;

use crate::support::{Answer, Api, TestService, reasons};

/// Stripes across or down, of a brightness and a place that `seed` draws.
pub(crate) fn stripes(label: &str, seed: u32) -> DynamicImage {
    let level = |at: u32| {
        if (at + seed).is_multiple_of(4) { 255 - (seed % 50) as u8 } else { seed as u8 / 8 }
    };
    RgbImage::from_fn(8, 8, |x, y| {
        let level = level(if label == "across" { y } else { x });
        Rgb([level, level, (seed % 251) as u8])
    })
    .into()
}

pub(crate) fn file(image: &DynamicImage, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Vec::new();
    image.write_to(&mut Cursor::new(&mut bytes), format).unwrap();
    bytes
}

pub(crate) fn png(label: &str, seed: u32) -> Vec<u8> {
    file(&stripes(label, seed), ImageFormat::Png)
}

/// A model of images of 8 × 8 pixels in colour.
async fn create(api: &Api, model: &str) -> Value {
    let input = json!({"kind": "image", "width": 8, "height": 8, "channels": 3});
    let model = json!({"name": model, "input": input,
        "network": {"kind": "mlp", "hidden": [32]}, "schedule": {"paused": true}});
    api.post("/v1/models", model).await.expect(201)
}

fn form(files: &[(&str, &str, &[u8])]) -> Vec<u8> {
    let mut body = Vec::new();
    for (label, name, file) in files {
        let head = format!(
            "--b0undary\r\n\
             Content-Disposition: form-data; name=\"{label}\"; filename=\"{name}\"\r\n\
             Content-Type: application/octet-stream\r\n\r\n"
        );
        body.extend([head.as_bytes(), file, b"\r\n"].concat());
    }
    [&body[..], b"--b0undary--\r\n"].concat()
}

const FORM: &str = "multipart/form-data; boundary=b0undary";

pub(crate) fn zip(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for (name, file) in files {
        zip.start_file(*name, SimpleFileOptions::default()).unwrap();
        zip.write_all(file).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

fn tar(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    for (name, file) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(file.len() as u64);
        tar.append_data(&mut header, name, *file).unwrap();
    }
    tar.into_inner().unwrap()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let piped = std::process::Stdio::piped;
    let command = &mut std::process::Command::new("gzip");
    let mut gzip = command.stdin(piped()).stdout(piped()).spawn().unwrap();
    gzip.stdin.take().unwrap().write_all(bytes).unwrap();
    gzip.wait_with_output().unwrap().stdout
}

fn counts(answer: Answer) -> (u64, u64, u64) {
    let batch = answer.expect(202)["batch"].clone();
    let count = |name: &str| batch[name].as_u64().unwrap();
    (count("accepted"), count("duplicates"), count("rejected"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_picture_is_the_same_in_every_format() {
    let service = TestService::start().await;
    let api = &service.api;
    let created = create(api, "m").await;
    let input =
        json!({"kind": "image", "width": 8, "height": 8, "channels": 3, "resize": "stretch"});
    assert_eq!(created["input"], input);
    let path = "/v1/models/m/batches";
    let (one, two) = (png("across", 1), png("down", 2));
    let sample = |input: Value, label: &str| json!({"input": input, "label": label});

    let samples = [
        sample(json!(STANDARD.encode(&one)), "across"),
        sample(json!(STANDARD.encode(&two)), "down"),
    ];
    assert_eq!(counts(api.post(path, json!({"samples": samples})).await), (2, 0, 0));

    let bmp = STANDARD.encode(file(&stripes("across", 1), ImageFormat::Bmp));
    let pixels = stripes("down", 2).into_rgb8().into_raw();
    let rows: Vec<Vec<&[u8]>> = pixels.chunks(24).map(|row| row.chunks(3).collect()).collect();
    let lines: String = [
        sample(json!(format!("data:image/bmp;base64,{bmp}")), "across"),
        sample(json!(pixels), "down"),
        sample(json!(rows), "down"),
        // The label counts too.
        sample(json!(rows), "other"),
    ]
    .iter()
    .map(|sample| format!("{sample}\n"))
    .collect();
    assert_eq!(counts(api.post_text(path, "application/x-ndjson", lines).await), (1, 3, 0));

    let body = form(&[("across", "1.png", &one), ("down", "2.png", &two)]);
    assert_eq!(counts(api.post_bytes(path, FORM, body).await), (0, 2, 0));
    let files: [(&str, &[u8]); 3] =
        [("across/1.png", &one), ("train/down/2.png", &two), ("across/.hidden", b"")];
    assert_eq!(counts(api.post_bytes(path, "application/zip", zip(&files)).await), (0, 2, 0));
    assert_eq!(counts(api.post_bytes(path, "application/x-tar", tar(&files)).await), (0, 2, 0));

    let packed = gzip(&tar(&files));
    let request = api.request(Method::POST, path).header("content-type", "application/x-tar");
    let request = request.header("content-encoding", "gzip").body(packed);
    assert_eq!(counts(api.send(request).await), (0, 2, 0));

    let names: Vec<String> = (0..192).map(|i| format!("pixel{i}")).collect();
    let cells: Vec<String> = pixels.iter().map(ToString::to_string).collect();
    let csv = format!("label,{}\ndown,{}\n", names.join(","), cells.join(","));
    assert_eq!(counts(api.post_text(path, "text/csv", csv).await), (0, 1, 0));
    let csv =
        format!("label,{}\ndown,{}\n", names.join(","), cells.join(",").replacen(',', ",0.5", 1));
    let batch = api.post_text(path, "text/csv", csv).await.expect(202)["batch"].clone();
    let reason = batch["rejections"][0]["reason"].as_str().unwrap();
    assert!(reason.contains("whole numbers of 0 to 255"), "{reason}");

    // Larger than what is kept in memory while it arrives.
    let noise: Vec<u8> =
        (0..2 << 20).map(|i: u32| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let files: [(&str, &[u8]); 2] = [("across/noise", &noise), ("across/1.png", &one)];
    assert_eq!(counts(api.post_bytes(path, "application/zip", zip(&files)).await), (0, 1, 1));
    assert_eq!(counts(api.post_bytes(path, "application/x-tar", tar(&files)).await), (0, 1, 1));
    let body = form(&[("across", "noise", &noise), ("across", "1.png", &one)]);
    assert_eq!(counts(api.post_bytes(path, FORM, body).await), (0, 1, 1));
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_image_is_told_and_the_others_are_kept() {
    let service = TestService::start().await;
    let api = &service.api;
    create(api, "m").await;
    let path = "/v1/models/m/batches";
    let good = STANDARD.encode(png("across", 1));
    let samples: Vec<Value> = [
        json!(good),
        json!("a sunny day"),
        json!({"pixels": [1]}),
        json!([1, 2, 3]),
        json!(vec![0.5; 192]),
        json!(null),
        json!(&good[..good.len() - 40]),
        json!(STANDARD.encode(speck(u16::MAX))),
    ]
    .iter()
    .map(|input| json!({"input": input, "label": "across"}))
    .collect();
    let body = json!({"samples": samples});
    let batch = api.post(path, body.clone()).await.expect(202)["batch"].clone();
    assert_eq!((&batch["accepted"], &batch["rejected"]), (&json!(1), &json!(7)), "{batch}");
    assert_eq!(
        reasons(&batch),
        [
            "input is text that is not base64 of an image file: it is cut off",
            "input is an object, neither base64 of an image file nor its pixels",
            "input has 3 numbers, the model takes 192",
            "input[0] is 0.5, and pixels are whole numbers of 0 to 255: multiply shares by 255",
            "input is missing",
            "the PNG is cut off or damaged",
            "the image is 65535 × 65535 pixels, a side is 1 to 16384",
        ]
    );
    let strict = api.post(&format!("{path}?strict=true"), body).await.problem(422);
    assert_eq!(strict["errors"][0]["pointer"], "/samples/1");
    let surrogate = r#"{"samples": [{"input": "\ud800", "label": "a"}]}"#;
    let batch = api.post_text(path, "application/json", surrogate).await.expect(202);
    let reason = batch["batch"]["rejections"][0]["reason"].as_str().unwrap();
    assert!(reason.starts_with("input is a string that is not valid Unicode"), "{reason}");

    let one = png("across", 1);
    let strict = format!("{path}?strict=true");
    let refused =
        api.post_bytes(&strict, "application/zip", zip(&[("1.png", &one)])).await.problem(422);
    assert_eq!(refused["detail"], "1.png: it has no folder that would name its label");
    for (content_type, body) in
        [("application/zip", &b"PK"[..]), ("application/x-tar", &[1; 600]), (FORM, b"x")]
    {
        api.post_bytes(path, content_type, body.to_vec()).await.problem(400);
    }
    api.post_bytes(path, "multipart/form-data", form(&[])).await.problem(400);
    api.post_bytes(path, FORM, form(&[])).await.problem(422);
    api.post_bytes(path, "application/x-tar", vec![]).await.problem(422);
    assert_eq!(api.get("/v1/models/m").await.expect(200)["samples"], 1);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn files_are_for_models_of_images() {
    let service = TestService::start().await;
    let api = &service.api;
    api.create_model("rows", 192).await;
    let texts = json!({"name": "texts", "input": {"kind": "text"}});
    api.post("/v1/models", texts).await.expect(201);
    let one = png("across", 1);
    for model in ["rows", "texts"] {
        let path = format!("/v1/models/{model}/batches");
        for (content_type, body) in [
            (FORM, form(&[("across", "1.png", &one)])),
            ("application/zip", zip(&[("across/1.png", &one)])),
            ("application/x-tar", tar(&[("across/1.png", &one)])),
        ] {
            let refused = api.post_bytes(&path, content_type, body).await.problem(415);
            assert!(refused["detail"].as_str().unwrap().contains("takes no images"), "{refused}");
        }
        let path = format!("/v1/models/{model}/predict");
        let refused = api.post_bytes(&path, "image/png", one.clone()).await.problem(415);
        assert!(refused["detail"].as_str().unwrap().contains("takes no images"), "{refused}");
    }
    // To a model of texts, base64 is a text.
    let sample = json!({"samples": [{"input": STANDARD.encode(&one), "label": "a"}]});
    assert_eq!(counts(api.post("/v1/models/texts/batches", sample.clone()).await), (1, 0, 0));
    assert_eq!(counts(api.post("/v1/models/rows/batches", sample).await), (0, 0, 1));
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bare_image_is_predicted_as_in_json() {
    let service = TestService::start().await;
    let api = &service.api;
    create(api, "m").await;
    let predict = "/v1/models/m/predict";
    api.post_bytes(predict, "image/png", png("across", 1)).await.problem(409);

    let images: Vec<(String, Vec<u8>)> = ["across", "down"]
        .into_iter()
        .flat_map(|label| (0..100).map(move |seed| (format!("{label}/{seed}"), png(label, seed))))
        .collect();
    let files: Vec<(&str, &[u8])> =
        images.iter().map(|(name, image)| (name.as_str(), image.as_slice())).collect();
    let path = "/v1/models/m/batches?update=now";
    let stored = api.post_bytes(path, "application/zip", zip(&files)).await.expect(202);
    assert_eq!(stored["batch"]["accepted"], 200, "{stored}");
    let update = api.wait(stored["update"]["id"].as_str().unwrap()).await;
    assert_eq!(update["outcome"], "published", "{update}");

    for label in ["across", "down"] {
        let seed = 300;
        let body = json!({"inputs": [STANDARD.encode(png(label, seed))], "top_k": 2});
        let expected = api.post(predict, body).await.expect(200);
        assert_eq!(expected["predictions"][0]["label"], label, "{expected}");
        let image = stripes(label, seed);
        for (path, content_type, format) in [
            (predict, "image/png", ImageFormat::Png),
            (predict, "Image/BMP", ImageFormat::Bmp),
            ("/v1/models/m/versions/1/predict", "image/webp", ImageFormat::WebP),
            // The bytes tell, whatever the header says.
            ("/v1/models/m/aliases/live/predict", "image/jpeg", ImageFormat::Png),
        ] {
            let path = format!("{path}?top_k=2");
            let answer =
                api.post_bytes(&path, content_type, file(&image, format)).await.expect(200);
            assert_eq!(answer, expected);
        }
        let answer = api.post_bytes(predict, "image/png", png(label, seed)).await.expect(200);
        assert_eq!(answer["predictions"][0]["top"].as_array().unwrap().len(), 1);
        let pixels = image.into_rgb8().into_raw();
        let answer = api.post(&format!("{predict}?top_k=2"), json!({"inputs": [pixels]})).await;
        assert_eq!(answer.expect(200), expected);
    }

    // A file is remembered where the query says so, as the very image.
    let remembered = format!("{predict}?remember=true");
    let answer = api.post_bytes(&remembered, "image/png", png("down", 301)).await.expect(200);
    let item = json!({"prediction_id": answer["predictions"][0]["id"], "label": "down"});
    let feedback = api.post("/v1/models/m/feedback", json!({"items": [item]})).await.expect(200);
    assert_eq!(feedback["accepted"], 1, "{feedback}");
    let body = form(&[("down", "301.png", &png("down", 301))]);
    assert_eq!(counts(api.post_bytes("/v1/models/m/batches", FORM, body).await), (0, 1, 0));

    // Large in pixels, small in bytes, many at once.
    let large = RgbImage::from_pixel(2400, 2400, Rgb([9, 99, 199])).into();
    let large = file(&large, ImageFormat::Png);
    let asked = (0..4).map(|_| api.post_bytes(predict, "image/png", large.clone()));
    let answers = futures_util::future::join_all(asked).await;
    assert!(answers.iter().all(|answer| answer.status == 200));

    let good = STANDARD.encode(png("down", 1));
    let bad = api.post(predict, json!({"inputs": [good, "not an image!"]})).await.problem(422);
    assert_eq!(bad["errors"][0]["pointer"], "/inputs/1");
    let bad =
        api.post(predict, json!({"inputs": [good, vec![vec![300; 8]; 8]]})).await.problem(422);
    assert_eq!(bad["errors"][0]["pointer"], "/inputs/1/0/0");
    let bad = api.post_bytes(predict, "image/png", b"nothing".to_vec()).await.problem(422);
    assert!(bad["detail"].as_str().unwrap().contains("no image by its first bytes"), "{bad}");
    let path = format!("{predict}?top_k=0");
    let bad = api.post_bytes(&path, "image/png", png("down", 1)).await.problem(422);
    assert_eq!(bad["errors"][0]["pointer"], "/query/top_k");
    api.post_bytes(predict, "video/mp4", png("down", 1)).await.problem(415);
    service.stop().await;
}

/// A GIF of one pixel on an empty canvas of `side` × `side`.
fn speck(side: u16) -> Vec<u8> {
    let side = side.to_le_bytes();
    let colours = [0x80, 0, 0, 255, 255, 255, 0, 0, 0];
    let frame = [0x2c, 0, 0, 0, 0, 1, 0, 1, 0, 0, 2, 2, 0x44, 1, 0, 0x3b];
    [&b"GIF89a"[..], &side, &side, &colours, &frame].concat()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_few_bytes_that_hold_a_large_image_keep_nobody_else_waiting() {
    let service = TestService::start().await;
    let api = &service.api;
    create(api, "m").await;
    let images: Vec<(String, Vec<u8>)> = ["across", "down"]
        .into_iter()
        .flat_map(|label| (0..40).map(move |seed| (format!("{label}/{seed}"), png(label, seed))))
        .collect();
    let files: Vec<(&str, &[u8])> =
        images.iter().map(|(name, image)| (name.as_str(), image.as_slice())).collect();
    let path = "/v1/models/m/batches?update=now";
    let stored = api.post_bytes(path, "application/zip", zip(&files)).await.expect(202);
    assert_eq!(api.wait(stored["update"]["id"].as_str().unwrap()).await["outcome"], "published");

    let gif = speck(3_000);
    assert!(gif.len() < 50);
    let asked: Vec<_> = (0..4)
        .map(|i| {
            let (api, gif) = (api.clone(), gif.clone());
            tokio::spawn(async move {
                let predict = "/v1/models/m/predict";
                let in_json = json!({"inputs": [STANDARD.encode(&gif)]});
                match i % 2 {
                    0 => api.post_bytes(predict, "image/gif", gif).await.expect(200),
                    _ => api.post(predict, in_json).await.expect(200),
                }
            })
        })
        .collect();
    // All of the service has one thread, so that whatever keeps it is seen.
    let mut n_answered = 0;
    while !asked.iter().all(tokio::task::JoinHandle::is_finished) {
        api.get("/healthz").await.expect(200);
        n_answered += 1;
    }
    for answer in asked {
        answer.await.unwrap();
    }
    assert!(n_answered > 20, "{n_answered} others were answered meanwhile");
    service.stop().await;
}
