//! Which tensors become which inputs, and which are refused, where and why.

use axum::http::HeaderValue;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::super::super::foreign::Refusal;
use super::*;
use crate::domain::input::Inputs;
use crate::domain::settings::Missing;

fn settings(input: Value) -> ModelSettings {
    ModelSettings::new(serde_json::from_value(input).unwrap())
}

pub(super) fn vector() -> ModelSettings {
    settings(json!({"kind": "tabular", "dim": 2}))
}

/// Grey images of 8 × 8.
fn image() -> ModelSettings {
    settings(json!({"kind": "image", "width": 8, "height": 8, "channels": 1}))
}

fn named(last: &str) -> ModelSettings {
    let features = json!([{"name": "age", "type": "numeric"}, {"name": "city", "type": last}]);
    settings(json!({"kind": "tabular", "features": features}))
}

/// What is read of JSON with `bytes` behind it, or the refusal.
pub(super) fn read_all(
    settings: &ModelSettings,
    json: &Value,
    bytes: &[u8],
) -> Result<(Inputs, Plan), String> {
    let json = json.to_string();
    let length = (HEADER_LENGTH, HeaderValue::from(json.len()));
    let headers = HeaderMap::from_iter((!bytes.is_empty()).then_some(length));
    match read(&headers, &[json.as_bytes(), bytes].concat(), settings, 3) {
        Ok(asked) => Ok((asked.inputs, asked.plan)),
        Err(problem) => {
            let refusal = serde_json::to_value(Refusal::from(&problem)).unwrap();
            Err(refusal["error"].as_str().unwrap().to_owned())
        }
    }
}

fn read_one(
    settings: &ModelSettings,
    shape: Value,
    datatype: &str,
    data: Value,
) -> Result<Inputs, String> {
    let tensor = json!({"name": "x", "shape": shape, "datatype": datatype, "data": data});
    read_all(settings, &json!({"inputs": [tensor]}), &[]).map(|(inputs, _)| inputs)
}

/// The same with the tensor as bytes.
fn read_binary(
    settings: &ModelSettings,
    shape: Value,
    datatype: &str,
    bytes: &[u8],
) -> Result<Inputs, String> {
    let tensor = json!({"name": "x", "shape": shape, "datatype": datatype,
                        "parameters": {"binary_data_size": bytes.len()}});
    read_all(settings, &json!({"inputs": [tensor]}), bytes).map(|(inputs, _)| inputs)
}

fn raw(settings: &ModelSettings, bytes: &[u8]) -> Result<Inputs, u16> {
    let headers = HeaderMap::from_iter([(HEADER_LENGTH, HeaderValue::from(0))]);
    match read(&headers, bytes, settings, 3) {
        Ok(asked) => Ok(asked.inputs),
        Err(problem) => Err(problem.code().status().as_u16()),
    }
}

fn png(shade: u8) -> Vec<u8> {
    let mut file = std::io::Cursor::new(Vec::new());
    let image = ::image::GrayImage::from_pixel(8, 8, ::image::Luma([shade]));
    image.write_to(&mut file, ::image::ImageFormat::Png).unwrap();
    file.into_inner()
}

fn elements(texts: &[&[u8]]) -> Vec<u8> {
    let element = |text: &&[u8]| [&(text.len() as u32).to_le_bytes()[..], text].concat();
    texts.iter().flat_map(element).collect()
}

#[test]
fn vectors_are_read_from_json_of_any_numeric_type() {
    let expected = [0.0, 1.0, 1.0, 0.0];
    for datatype in [
        "BOOL", "UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16", "INT32", "INT64", "FP32",
        "FP64",
    ] {
        for data in [json!([0, 1, 1, 0]), json!([[0, 1], [1, 0]])] {
            let inputs = read_one(&vector(), json!([2, 2]), datatype, data).unwrap();
            assert_eq!((inputs.len(), inputs.all_numbers()), (2, &expected[..]), "{datatype}");
        }
    }
    let inputs = read_one(&vector(), json!([1, 2]), "BOOL", json!([true, false])).unwrap();
    assert_eq!(inputs.all_numbers(), [1.0, 0.0]);
    let inputs = read_one(&vector(), json!([1, 2]), "FP64", json!([0.1, -2.5e-3])).unwrap();
    assert_eq!(inputs.all_numbers(), [0.1, -2.5e-3]);
    let one = settings(json!({"kind": "tabular", "dim": 1}));
    for shape in [json!([2]), json!([2, 1])] {
        assert_eq!(read_one(&one, shape, "FP32", json!([3, 4])).unwrap().all_numbers(), [3.0, 4.0]);
    }
}

#[test]
fn vectors_are_read_from_bytes() {
    let floats = [1.5_f32, -2.0].map(f32::to_le_bytes).concat();
    let inputs = read_binary(&vector(), json!([1, 2]), "FP32", &floats).unwrap();
    assert_eq!(inputs.all_numbers(), [1.5, -2.0]);
    let inputs = read_binary(&vector(), json!([2, 2]), "UINT8", &[1, 2, 3, 4]).unwrap();
    assert_eq!(inputs.all_numbers(), [1.0, 2.0, 3.0, 4.0]);
    assert_eq!(raw(&vector(), &floats).unwrap().all_numbers(), [1.5, -2.0]);
    let headers = HeaderMap::from_iter([(HEADER_LENGTH, HeaderValue::from(0))]);
    let plan = read(&headers, &floats, &vector(), 3).unwrap().plan;
    assert_eq!((plan.id, plan.outputs), (None, Wanted::all(true)), "as the extension says");
    assert_eq!(raw(&vector(), &floats[1..]), Err(422));
    assert_eq!(raw(&vector(), b""), Err(422));
}

#[test]
fn a_number_in_json_is_one_of_its_datatype_or_is_refused() {
    let said = |datatype: &str, data: String| {
        let json = format!(
            r#"{{"inputs": [{{"name": "x", "shape": [1, 2], "datatype": "{datatype}", "data": {data}}}]}}"#
        );
        read(&HeaderMap::new(), json.as_bytes(), &vector(), 3)
            .map(|asked| asked.inputs.all_numbers().to_vec())
            .map_err(|problem| serde_json::to_value(Refusal::from(&problem)).unwrap())
    };
    let cases: [(&str, [&str; 2], &[&str]); 9] = [
        ("BOOL", ["0", "1.0"], &["2", "-1", "0.5"]),
        ("UINT8", ["0", "255"], &["-1", "256", "300.5", "0.99999999999"]),
        ("UINT16", ["-0", "65535"], &["-1", "65536", "0.5"]),
        ("UINT32", ["0", "4294967295"], &["-1", "4294967296", "4294967295.5"]),
        ("UINT64", ["1e2", "18446744073709551615"], &["-1", "18446744073709551616", "1e20"]),
        ("INT8", ["-128", "127"], &["-129", "128"]),
        ("INT16", ["-32768", "32767"], &["-32769", "32768"]),
        (
            "INT32",
            ["-2147483648", "2147483647"],
            &["-2147483649", "2147483648", "1.5", "16777216.5"],
        ),
        (
            "INT64",
            ["-9223372036854775808", "9223372036854775807"],
            &["-9223372036854775809", "9223372036854775808", "1e30", "1e-9"],
        ),
    ];
    for (datatype, [least, most], bad) in cases {
        let expected = [least, most].map(|written| written.parse::<f32>().unwrap());
        assert_eq!(said(datatype, format!("[{least}, {most}]")).unwrap(), expected, "{datatype}");
        assert_eq!(said(datatype, format!("[[{least}, {most}]]")).unwrap(), expected, "{datatype}");
        for bad in bad {
            let why = format!("/inputs/0/data: element 1 is {bad}, which is no {datatype}");
            for data in [format!("[{least}, {bad}]"), format!("[[{least}, {bad}]]")] {
                assert_eq!(said(datatype, data).unwrap_err(), json!({"error": why}));
            }
        }
    }
    assert_eq!(said("FP32", "[1.5, -3e30]".to_owned()).unwrap(), [1.5, -3e30]);
}

#[test]
fn a_missing_number_is_null_and_never_not_a_number() {
    let mut model = vector();
    let data = json!([1, null]);
    model.learning.missing = Missing::Reject;
    let refusal = read_one(&model, json!([1, 2]), "FP32", data.clone()).unwrap_err();
    assert!(refusal.contains("element 1 is null, and the model's learning.missing"), "{refusal}");
    model.learning.missing = Missing::Impute;
    for datatype in ["FP32", "INT8", "BOOL"] {
        let inputs = read_one(&model, json!([1, 2]), datatype, data.clone()).unwrap();
        assert!(inputs.all_numbers()[1].is_nan(), "{datatype}");
    }
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let bytes = [1.0, bad].map(f32::to_le_bytes).concat();
        let refusal = read_binary(&model, json!([1, 2]), "FP32", &bytes).unwrap_err();
        assert!(refusal.starts_with("/inputs/0/data: element 1 is "), "{refusal}");
        assert!(refusal.ends_with("which is not a finite number"), "{refusal}");
    }
    let bytes = [1.0, 1e300_f64].map(f64::to_le_bytes).concat();
    assert!(read_binary(&model, json!([1, 2]), "FP64", &bytes).is_err());
}

#[test]
fn images_are_read_as_pixels_and_as_files() {
    let pixels = vec![7; 64];
    let expected = vec![7.0; 64];
    for shape in [json!([1, 8, 8, 1]), json!([1, 8, 8]), json!([1, 64])] {
        for datatype in ["UINT8", "FP32"] {
            let inputs = read_one(&image(), shape.clone(), datatype, json!(pixels)).unwrap();
            assert_eq!(inputs.all_numbers(), expected, "{shape}");
        }
        let inputs = read_binary(&image(), shape, "UINT8", &[7; 64]).unwrap();
        assert_eq!(inputs.all_numbers(), expected);
    }
    let base64 = STANDARD.encode(png(7));
    for shape in [json!([2]), json!([2, 1])] {
        let data = json!([base64, STANDARD.encode(png(9))]);
        let inputs = read_one(&image(), shape.clone(), "BYTES", data).unwrap();
        assert_eq!((inputs.numbers(0), inputs.numbers(1)[0]), (&expected[..], 9.0));
        let bytes = elements(&[&png(7), &png(9)]);
        assert_eq!(read_binary(&image(), shape, "BYTES", &bytes).unwrap(), inputs);
    }
    let bytes = elements(&[base64.as_bytes()]);
    let tensor = json!({"name": "x", "shape": [1], "datatype": "BYTES",
        "parameters": {"binary_data_size": bytes.len(), "content_type": "base64"}});
    let (inputs, _) = read_all(&image(), &json!({"inputs": [tensor]}), &bytes).unwrap();
    assert_eq!(inputs.all_numbers(), expected);
    assert_eq!(raw(&image(), &png(7)).unwrap().all_numbers(), expected);
    let floats = [7.0_f32.to_le_bytes(); 64].concat();
    assert_eq!(raw(&image(), &floats).unwrap().all_numbers(), expected);

    let refusal = |data| read_one(&image(), json!([1, 64]), "FP32", data).unwrap_err();
    let mut bad = vec![json!(0); 64];
    bad[9] = json!(0.5);
    assert!(refusal(json!(bad)).starts_with("/inputs/0/data: element 9 is 0.5, and pixels are"));
    bad[9] = json!(null);
    assert!(refusal(json!(bad)).contains("element 9 is null"));
    let bytes = [300.0_f32.to_le_bytes(); 64].concat();
    assert!(read_binary(&image(), json!([1, 64]), "FP32", &bytes).unwrap_err().contains("is 300"));
    for (datatype, data) in [("BYTES", json!(["no image!"])), ("BYTES", json!([7]))] {
        let refusal = read_one(&image(), json!([1]), datatype, data).unwrap_err();
        assert!(refusal.starts_with("/inputs/0/data: element 0 "), "{refusal}");
    }
    assert!(read_binary(&image(), json!([1]), "BYTES", &elements(&[b"\xff\xfe"])).is_err());
}

#[test]
fn texts_are_read_from_json_and_from_bytes() {
    let model = settings(json!({"kind": "text"}));
    let read = |inputs: Inputs| -> Vec<String> {
        inputs.all_categories().iter().map(|text| text.as_deref().unwrap().to_owned()).collect()
    };
    for shape in [json!([2]), json!([2, 1])] {
        let inputs = read_one(&model, shape.clone(), "BYTES", json!(["a  ü", "\"b\\,]"])).unwrap();
        assert_eq!(read(inputs), ["a ü", "\"b\\,]"]);
        let bytes = elements(&["a ü".as_bytes(), b"b"]);
        assert_eq!(read(read_binary(&model, shape, "BYTES", &bytes).unwrap()), ["a ü", "b"]);
    }
    assert_eq!(read(raw(&model, b"a goal").unwrap()), ["a goal"]);
    assert_eq!(raw(&model, b"\xff"), Err(422));
    for data in [json!([1]), json!([null]), json!([""]), json!([["a"], "b"]), json!([{"a": 1}])] {
        assert!(read_one(&model, json!([1]), "BYTES", data.clone()).is_err(), "{data}");
    }
    let bytes = elements(&[b"\xff\xfe"]);
    let refusal = read_binary(&model, json!([1]), "BYTES", &bytes).unwrap_err();
    assert_eq!(refusal, "/inputs/0/data: element 0 is not UTF-8");
}

#[test]
fn named_features_come_as_columns_in_any_order() {
    let column = |name: &str, datatype: &str, shape: Value, data: Value| json!({"name": name, "shape": shape, "datatype": datatype, "data": data});
    let age = column("age", "INT32", json!([2]), json!([30, 40]));
    let city = column("city", "BYTES", json!([2, 1]), json!([["Ulm"], [null]]));
    for inputs in [json!([age, city]), json!([city, age])] {
        let (inputs, _) = read_all(&named("categorical"), &json!({"inputs": inputs}), &[]).unwrap();
        assert_eq!(inputs.all_numbers(), [30.0, 40.0]);
        assert_eq!(inputs.all_categories(), [Some("Ulm".into()), None]);
    }
    let numeric = column("city", "FP32", json!([2]), json!([1, 2]));
    let (inputs, _) = read_all(&named("numeric"), &json!({"inputs": [age, numeric]}), &[]).unwrap();
    assert_eq!(inputs.all_numbers(), [30.0, 1.0, 40.0, 2.0]);
    let inputs = read_one(&named("numeric"), json!([1, 2]), "FP32", json!([30, 1])).unwrap();
    assert_eq!(inputs.all_numbers(), [30.0, 1.0]);
    assert_eq!(raw(&named("numeric"), &[0; 8]).unwrap().all_numbers(), [0.0, 0.0]);
    assert_eq!(raw(&named("categorical"), &[0; 8]), Err(422));

    let long = column("city", "BYTES", json!([2]), json!(["a", "x".repeat(257)]));
    for (inputs, why) in [
        (json!([age]), "/inputs: there is no tensor for feature `city`"),
        (json!([]), "/inputs: there is no tensor for feature `age`"),
        (json!([age, age]), "/inputs/1/name: the feature is given twice"),
        (
            json!([age, column("City", "BYTES", json!([2]), json!(["a", "b"]))]),
            "/inputs/1/name: the model has no feature of this name",
        ),
        (
            json!([age, column("city", "BYTES", json!([1]), json!(["a"]))]),
            "/inputs/1/shape: tensors have different numbers of inputs",
        ),
        (json!([age, numeric]), "/inputs/1/datatype: the model takes BYTES here"),
        (json!([age, long]), "/inputs/1/data: element 1 is 257 bytes long, 256 is the most"),
        (
            json!([column("age", "BYTES", json!([2]), json!(["1", "2"])), city]),
            "/inputs/0/datatype: the model takes numbers here, as FP32 or another numeric datatype",
        ),
    ] {
        let refusal = read_all(&named("categorical"), &json!({"inputs": inputs}), &[]).unwrap_err();
        assert_eq!(refusal, why);
    }
}

#[test]
fn tensors_that_cannot_be_right_are_refused() {
    let good = json!([0, 1, 1, 0]);
    for (shape, datatype, data, why) in [
        (json!([2, 2]), "FP32", json!([0, 1, 1]), "data has 3 elements where its shape has 4"),
        (json!([2, 2]), "FP32", json!([[0, 1], [1]]), "data has 1 elements"),
        (json!([2, 2]), "FP32", json!([0, 1, "1", 0]), "element 2 is text, not a number"),
        (json!([2, 2]), "FP32", json!([0, 1, true, 0]), "element 2 is true, not a number"),
        (json!([2, 2]), "FP32", json!([0, 1e39, 1, 0]), "does not fit a 32-bit"),
        (json!([2, 2]), "FP32", json!("0110"), "data is not an array"),
        (json!([2, 2]), "FP16", good.clone(), "FP16 comes as bytes"),
        (json!([2, 2]), "BYTES", good.clone(), "takes numbers here"),
        (json!([4]), "FP32", good.clone(), "the model takes a tensor of shape [n, 2]"),
        (json!([2, 2, 1]), "FP32", good.clone(), "the model takes a tensor of shape [n, 2]"),
        (json!([]), "FP32", good.clone(), "the model takes a tensor of shape [n, 2]"),
        (json!([0, 2]), "FP32", json!([]), "give 1 to 10000 inputs, not 0"),
        (json!([10_001, 2]), "FP32", good.clone(), "give 1 to 10000 inputs, not 10001"),
        (json!([10_000, 2]), "FP32", good.clone(), "data has 4 elements where its shape has 20000"),
        (json!([u64::MAX, 2]), "FP32", good.clone(), "give 1 to 10000 inputs"),
        (json!([2, u64::MAX]), "FP32", good.clone(), "the model takes a tensor of shape"),
        (json!([2, -2]), "FP32", good.clone(), "/inputs/0/shape/1: invalid value"),
        (json!([2, 2.5]), "FP32", good.clone(), "/inputs/0/shape/1: invalid type"),
        (json!("2"), "FP32", good.clone(), "/inputs/0/shape: invalid type"),
        (json!([2, 2]), "fp32", good.clone(), "/inputs/0/datatype: unknown variant `fp32`"),
        (json!([2, 2]), "BF16", good.clone(), "/inputs/0/datatype: unknown variant `BF16`"),
    ] {
        let refusal = read_one(&vector(), shape.clone(), datatype, data).unwrap_err();
        assert!(refusal.contains(why), "{shape} {datatype}: {refusal}");
    }
    let tensor = json!({"name": "x", "shape": [2, 2], "datatype": "FP32", "data": good});
    for (request, why) in [
        (json!({}), "missing field `inputs`"),
        (json!({"Inputs": [tensor]}), "missing field `inputs`"),
        (json!({"inputs": []}), "/inputs: the model takes one tensor, 0 are given"),
        (json!({"inputs": [tensor, tensor]}), "/inputs: the model takes one tensor, 2 are given"),
        (json!({"inputs": [tensor], "id": 7}), "/id: invalid type"),
        (json!({"inputs": [tensor], "outputs": [{"name": "Label"}]}), "unknown variant `Label`"),
        (
            json!({"inputs": [tensor], "outputs": [{"name": "label"}, {"name": "label"}]}),
            "named twice",
        ),
        (json!([tensor]), "the body must be an object"),
    ] {
        let refusal = read_all(&vector(), &request, &[]).unwrap_err();
        assert!(refusal.contains(why), "{request}: {refusal}");
    }
}

#[test]
fn bytes_go_to_the_tensors_that_say_so_to_the_last() {
    let tensor = |size: Value| {
        json!({"name": "x", "shape": [1, 2], "datatype": "UINT8",
               "parameters": {"binary_data_size": size}})
    };
    let refusal =
        |inputs: Value| read_all(&vector(), &json!({"inputs": inputs}), &[1, 2, 3]).unwrap_err();
    assert_eq!(refusal(json!([tensor(json!(2))])), "1 bytes behind the JSON belong to no tensor");
    assert!(refusal(json!([tensor(json!(3))])).contains("1 bytes each, 3 are given"));
    for size in [json!(4), json!(u64::MAX)] {
        assert!(refusal(json!([tensor(size)])).ends_with("3 bytes are left"));
    }
    for size in [json!(-1), json!("3"), json!(3.5)] {
        assert!(refusal(json!([tensor(size)])).contains("/inputs/0/parameters/binary_data_size"));
    }
    let mut both = tensor(json!(3));
    both["data"] = json!([1, 2]);
    assert!(refusal(json!([both])).contains("both data and binary_data_size"));
    let neither = json!({"name": "x", "shape": [1, 2], "datatype": "UINT8"});
    assert!(refusal(json!([neither])).contains("neither data nor binary_data_size"));
    let shared = json!({"name": "x", "shape": [1, 2], "datatype": "UINT8",
                        "parameters": {"shared_memory_region": "r"}});
    assert!(refusal(json!([shared])).contains("shared memory"));

    let age = json!({"name": "age", "shape": [2], "datatype": "INT16", "parameters": {"binary_data_size": 4}});
    let city = json!({"name": "city", "shape": [2], "datatype": "BYTES", "parameters": {"binary_data_size": 12}});
    let bytes = [&[7, 0, 8, 0][..], &elements(&[b"Ulm", b"x"])].concat();
    let request = json!({"inputs": [age, city]});
    let (inputs, _) = read_all(&named("categorical"), &request, &bytes).unwrap();
    assert_eq!(inputs.all_numbers(), [7.0, 8.0]);
    assert_eq!(inputs.all_categories(), [Some("Ulm".into()), Some("x".into())]);
}
