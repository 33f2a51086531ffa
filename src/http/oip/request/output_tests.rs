//! Which outputs a request asks for, and how much they may come to.

use axum::http::HeaderValue;
use serde_json::{Value, json};

use super::tensor_tests::{read_all, vector};
use super::*;

#[test]
fn outputs_are_chosen_by_name() {
    let tensor = json!({"name": "x", "shape": [1, 2], "datatype": "FP32", "data": [1, 2]});
    let plan = |parameters: Value, outputs: Value| {
        let request =
            json!({"id": "ü", "parameters": parameters, "inputs": [tensor], "outputs": outputs});
        read_all(&vector(), &request, &[]).map(|(_, plan)| (plan.id, plan.outputs))
    };
    let wanted = |name, classes, is_binary| Wanted { name, classes, is_binary };
    let (probabilities, label) = (OutputName::Probabilities, OutputName::Label);
    for (parameters, outputs, expected) in [
        (json!({}), json!([]), Wanted::all(false)),
        (json!({"binary_data_output": true, "other": 1}), json!([]), Wanted::all(true)),
        (json!({}), json!([{"name": "label"}]), vec![wanted(label, None, false)]),
        (
            json!({"binary_data_output": true}),
            json!([{"name": "label", "parameters": {"binary_data": false}},
                   {"name": "probabilities", "parameters": {"classification": 2}}]),
            vec![wanted(label, None, false), wanted(probabilities, Some(2), true)],
        ),
    ] {
        assert_eq!(plan(parameters, outputs), Ok((Some("ü".to_owned()), expected)));
    }
    for (output, why) in [
        (json!({"name": "probabilities", "parameters": {"classification": 0}}), "at least 1"),
        (json!({"name": "probabilities", "parameters": {"classification": -1}}), "invalid value"),
        (json!({"name": "label", "parameters": {"classification": 1}}), "is of probabilities"),
        (json!({"name": "label", "parameters": {"shared_memory_region": "r"}}), "shared memory"),
    ] {
        let refusal = plan(json!({}), json!([output])).unwrap_err();
        assert!(refusal.starts_with("/outputs/0") && refusal.contains(why), "{refusal}");
    }
}

#[test]
fn null_is_as_good_as_nothing() {
    let bare = json!({"name": "x", "shape": [1, 2], "datatype": "UINT8", "data": [1, 2]});
    let with = |mut tensor: Value, name: &str, value: Value| {
        tensor[name] = value;
        tensor
    };
    let nothing_said =
        json!({"binary_data_size": null, "content_type": null, "shared_memory_region": null});
    let everything = [
        json!({"inputs": [bare], "id": null, "parameters": null, "outputs": null}),
        json!({"inputs": [bare], "parameters": {"binary_data_output": null}}),
        json!({"inputs": [with(bare.clone(), "parameters", json!(null))]}),
        json!({"inputs": [with(bare.clone(), "parameters", nothing_said)]}),
    ];
    let (expected, plan) = read_all(&vector(), &json!({"inputs": [bare]}), &[]).unwrap();
    for request in &everything {
        let read = read_all(&vector(), request, &[]).unwrap();
        assert_eq!((&read.0, &read.1.outputs), (&expected, &plan.outputs), "{request}");
    }
    let sized = with(bare.clone(), "parameters", json!({"binary_data_size": 2}));
    let sized = json!({"inputs": [with(sized, "data", json!(null))]});
    assert_eq!(read_all(&vector(), &sized, &[1, 2]).unwrap().0, expected);

    let nothing_said =
        json!({"classification": null, "binary_data": null, "shared_memory_region": null});
    for parameters in [json!(null), nothing_said] {
        let outputs = json!([{"name": "label", "parameters": parameters}]);
        let request = json!({"inputs": [bare], "outputs": outputs});
        let (_, plan) = read_all(&vector(), &request, &[]).unwrap();
        let label = Wanted { name: OutputName::Label, classes: None, is_binary: false };
        assert_eq!(plan.outputs, [label], "{request}");
    }
    let refusal = read_all(&vector(), &json!({"inputs": null}), &[]).unwrap_err();
    assert!(refusal.starts_with("/inputs: invalid type: null"), "{refusal}");
}

#[test]
fn an_answer_that_would_be_huge_is_refused_before_it_is_computed() {
    let tensor = json!({"name": "x", "shape": [10_000, 2], "datatype": "UINT8",
                        "parameters": {"binary_data_size": 20_000}});
    let asked = |outputs: Value, n_labels: usize| {
        let json = json!({"inputs": [tensor], "outputs": outputs}).to_string();
        let headers = HeaderMap::from_iter([(HEADER_LENGTH, HeaderValue::from(json.len()))]);
        let body = [json.as_bytes(), &[1; 20_000]].concat();
        read(&headers, &body, &vector(), n_labels).map(|asked| asked.pairs)
    };
    assert_eq!(asked(json!([]), 100).unwrap(), 100);
    let refusal = asked(json!([]), 101).unwrap_err();
    assert!(refusal.detail().contains("10000 inputs times 101 labels"), "{}", refusal.detail());
    assert_eq!(asked(json!([{"name": "label"}]), 101).unwrap(), 1);
    let classes = json!([{"name": "probabilities", "parameters": {"classification": 7}}]);
    assert_eq!(asked(classes, 101).unwrap(), 7);
}
