//! Images in JSON: base64 in its spellings, arrays in their shapes, and what is neither.

use std::io::Cursor;

use ::image::{ImageFormat, Luma, Rgb};
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use serde_json::value::RawValue;

use super::*;
use crate::domain::input::{InputSchema, Resize};
use crate::domain::settings::Missing;
use crate::http::parse::parse_input;

fn schema(channels: usize) -> InputSchema {
    InputSchema::Image(ImageSchema { width: 9, height: 8, channels, resize: Resize::Stretch })
}

fn parse(json: &str, schema: &InputSchema) -> Result<Vec<f32>, Invalid> {
    let mut inputs = Inputs::new(schema);
    let value: &RawValue = serde_json::from_str(json).unwrap();
    // Whether missing numbers are filled in elsewhere says nothing about pixels.
    let parsed = parse_input(value, schema, Missing::Impute, &Budget::default(), &mut inputs);
    assert_eq!(inputs.len(), usize::from(parsed.is_ok()), "{json}");
    parsed.map(|()| inputs.all_numbers().to_vec())
}

fn refusal(json: &serde_json::Value, channels: usize) -> (String, String) {
    let Invalid { pointer, detail } = parse(&json.to_string(), &schema(channels)).unwrap_err();
    (pointer, detail)
}

fn told(pointer: &str, detail: &str) -> (String, String) {
    (pointer.to_owned(), detail.to_owned())
}

/// 8 rows of 9 pixels: the numbers from 0.
fn png() -> Vec<u8> {
    let mut png = Vec::new();
    let image = ::image::GrayImage::from_fn(9, 8, |x, y| Luma([(y * 9 + x) as u8]));
    image.write_to(&mut Cursor::new(&mut png), ImageFormat::Png).unwrap();
    png
}

fn numbers(n: usize) -> Vec<f32> {
    (0..n).map(|number| number as f32).collect()
}

#[test]
fn a_file_comes_in_base64_however_it_is_spelt() {
    let base64 = STANDARD.encode(png());
    let broken_by_lines: String =
        base64.as_bytes().chunks(20).map(|line| format!("{}\r\n", line.escape_ascii())).collect();
    for text in [
        base64.clone(),
        base64.trim_end_matches('=').to_owned(),
        format!(" {broken_by_lines}"),
        format!("data:image/png;base64,{base64}"),
        format!("data:;base64,{base64}"),
    ] {
        assert_eq!(parse(&json!(text).to_string(), &schema(1)).unwrap(), numbers(72), "{text}");
    }
    // As PHP writes it.
    let escaped = format!("\"{}\"", base64.replace('/', "\\/"));
    assert_eq!(parse(&escaped, &schema(1)).unwrap(), numbers(72));
}

#[test]
fn pixels_come_in_one_array_or_in_rows() {
    let flat: Vec<usize> = (0..72).collect();
    let rows: Vec<_> = flat.chunks(9).collect();
    let pixels: Vec<Vec<[usize; 1]>> =
        rows.iter().map(|row| row.iter().map(|&number| [number]).collect()).collect();
    for json in [json!(flat), json!(rows), json!(pixels)] {
        assert_eq!(parse(&json.to_string(), &schema(1)).unwrap(), numbers(72));
        let spread = serde_json::to_string_pretty(&json).unwrap();
        assert_eq!(parse(&spread, &schema(1)).unwrap(), numbers(72));
    }
    let flat: Vec<usize> = (0..216).collect();
    let rows: Vec<Vec<&[usize]>> = flat.chunks(27).map(|row| row.chunks(3).collect()).collect();
    for json in [json!(flat), json!(rows)] {
        assert_eq!(parse(&json.to_string(), &schema(3)).unwrap(), numbers(216));
    }
    let written = format!("[{}255.0, 1e1, -0, 7]", "3,".repeat(68));
    assert_eq!(parse(&written, &schema(1)).unwrap()[68..], [255.0, 10.0, 0.0, 7.0]);
}

#[test]
fn a_file_and_its_pixels_are_the_same_input() {
    let mut rgb = Vec::new();
    let image =
        ::image::RgbImage::from_fn(
            9,
            8,
            |x, y| Rgb([0, 1, 2].map(|c| ((y * 9 + x) * 3 + c) as u8)),
        );
    image.write_to(&mut Cursor::new(&mut rgb), ImageFormat::Png).unwrap();
    let base64 = json!(STANDARD.encode(rgb)).to_string();
    assert_eq!(parse(&base64, &schema(3)).unwrap(), numbers(216));
}

#[test]
fn wrong_counts_are_told_with_their_place() {
    let is = |json: serde_json::Value, channels, pointer: &str, detail: &str| {
        assert_eq!(refusal(&json, channels), told(pointer, detail), "{json}");
    };
    is(json!([1, 2, 3]), 1, "", "input has 3 numbers, the model takes 72");
    is(json!([]), 1, "", "input has 0 numbers, the model takes 72");
    is(json!(vec![0; 73]), 1, "", "input has 73 numbers, the model takes 72");
    is(json!(vec![0; 72]), 3, "", "input has 72 numbers, the model takes 216");
    is(json!(vec![[0; 9]; 9]), 1, "", "input has 9 rows, the model takes 8");
    is(json!(vec![[0; 8]; 8]), 1, "/0", "input[0] has 8 pixels, the model takes 9");
    is(json!(vec![vec![[0; 3]; 9]; 8]), 1, "/0/0", "input[0][0] has 3 channels, the model takes 1");
    is(json!(vec![vec![[0; 3]; 10]; 8]), 3, "/0", "input[0] has 10 pixels, the model takes 9");
    is(json!(vec![[0; 9]; 8]), 3, "/0/0", "input[0][0] is a number, not an array");
    is(json!([[], []]), 1, "/0", "input[0] has 0 pixels, the model takes 9");
    is(json!([[1], 2]), 1, "/0", "input[0] has 1 pixels, the model takes 9");
    let mut rows = json!(vec![[0; 9]; 8]);
    rows[3] = json!({"a": [1, 2]});
    is(rows, 1, "/3", "input[3] is an object, not an array");
}

#[test]
fn what_is_no_pixel_is_told_with_its_place() {
    let shares = "and pixels are whole numbers of 0 to 255: multiply shares by 255";
    for (pixel, complaint) in [
        (json!(0.5), format!("is 0.5, {shares}")),
        (json!(256), format!("is 256, {shares}")),
        (json!(-1), format!("is -1, {shares}")),
        (json!(null), "is null, not a number".to_owned()),
        (json!("7"), "is text, not a number".to_owned()),
        (json!("7,8"), "is text, not a number".to_owned()),
        (json!(true), "is true, not a number".to_owned()),
        (json!([7]), "is an array, not a number".to_owned()),
    ] {
        let mut flat = json!(vec![0; 72]);
        flat[4] = pixel.clone();
        assert_eq!(refusal(&flat, 1), told("/4", &format!("input[4] {complaint}")));
        let mut rows = json!(vec![[0; 9]; 8]);
        rows[2][4] = pixel.clone();
        assert_eq!(refusal(&rows, 1), told("/2/4", &format!("input[2][4] {complaint}")));
        let mut pixels = json!(vec![vec![[0; 3]; 9]; 8]);
        pixels[2][4][1] = pixel;
        assert_eq!(refusal(&pixels, 3), told("/2/4/1", &format!("input[2][4][1] {complaint}")));
    }
}

#[test]
fn what_is_no_image_is_told() {
    let text = "input is text that is not base64 of an image file:";
    for (input, detail) in [
        (json!("a rainy day"), format!("{text} it is cut off")),
        (json!("a, b"), format!("{text} `,` at 1 does not belong there")),
        (json!("ab_-"), format!("{text} `_` at 2 does not belong there")),
        (json!("über"), format!("{text} `ü` at 0 does not belong there")),
        (json!("aGVsbG"), format!("{text} it is cut off")),
        (json!("aGVs=bG8"), format!("{text} `=` at 4 does not belong there")),
        (json!("data:image/png,%89PNG"), "input is a data URL that is not in base64".to_owned()),
        (json!("data:image/png;base64,"), "the image file is empty".to_owned()),
        (json!(""), "the image file is empty".to_owned()),
        (
            json!("aGVsbG8="),
            "the file is no image by its first bytes: send PNG, JPEG, WebP, GIF or BMP".to_owned(),
        ),
    ] {
        assert_eq!(refusal(&input, 1), told("", &detail), "{input}");
    }
    for (input, is) in
        [(json!(7), "a number"), (json!(true), "true"), (json!({"pixels": []}), "an object")]
    {
        let detail = format!("input is {is}, neither base64 of an image file nor its pixels");
        assert_eq!(refusal(&input, 1), told("", &detail));
    }
    let surrogate = parse(r#""\ud800""#, &schema(1)).unwrap_err().detail;
    assert!(surrogate.starts_with("input is a string that is not valid Unicode"), "{surrogate}");
    // To a model of texts it is a text, and pixels are none.
    let texts: InputSchema = serde_json::from_value(json!({"kind": "text"})).unwrap();
    assert!(parse(&json!(STANDARD.encode(png())).to_string(), &texts).is_ok());
    assert!(parse("[1, 2]", &texts).is_err() && parse("{}", &texts).is_err());
}

#[test]
fn files_beyond_what_all_may_decode_to_are_refused_and_pixels_are_not() {
    let (schema, budget) = (schema(1), Budget::of(2 * 72));
    let mut inputs = Inputs::new(&schema);
    let mut push = |json: serde_json::Value| {
        let json = json.to_string();
        let value: &RawValue = serde_json::from_str(&json).unwrap();
        parse_input(value, &schema, Missing::Reject, &budget, &mut inputs)
    };
    let file = json!(STANDARD.encode(png()));
    push(file.clone()).unwrap();
    push(file.clone()).unwrap();
    let refused = push(file).unwrap_err();
    let why = "the images decode to more than 144 bytes, all together; send them in parts";
    assert_eq!(refused, Invalid::new(why));
    push(json!(vec![7; 72])).unwrap();
    assert_eq!(inputs.len(), 3);
}
