//! Whatever has become of a checkpoint, or is said in its manifest: an error, or a state that answers.

use std::collections::HashMap;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::domain::cases;
use crate::domain::input::Inputs;
use crate::learning::{Device, Predictor};

/// What version 0.1 wrote: a number, a category, four units, two labels.
const FILE: &[u8] = include_bytes!(concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/tests/upgrade/checkpoints/models/1/44e9f992f2291c8ca64a1520ea541ffbc6a0484c7083ba32e11ad4f275a0eef5.safetensors"
));

/// Reads it, and asks what was read.
fn read(file: &[u8]) -> Result<(), CheckpointError> {
    let predictor = Predictor::new(&decode(file)?, Device::Flex);
    let mut inputs = Inputs::with_shape(1, 1);
    inputs.push(&[1.0], &[Some("oslo".into())]);
    // It may have become one of other inputs.
    let _ = predictor.predict(&inputs);
    Ok(())
}

/// The tensors of the file, with another manifest.
fn file_of(manifest: &Value) -> Vec<u8> {
    let tensors = SafeTensors::deserialize(FILE).unwrap();
    let metadata = HashMap::from([("manifest".to_owned(), manifest.to_string())]);
    safetensors::serialize(tensors.tensors(), Some(metadata)).unwrap()
}

/// Pointers to a value and to all that is in it.
fn places(value: &Value) -> Vec<String> {
    let inner: Vec<(String, &Value)> = match value {
        Value::Object(fields) => fields.iter().map(|(name, value)| (name.clone(), value)).collect(),
        Value::Array(values) => {
            values.iter().enumerate().map(|(index, value)| (index.to_string(), value)).collect()
        }
        _ => Vec::new(),
    };
    let below = |(name, value): (String, &Value)| {
        places(value).into_iter().map(move |place| format!("/{name}{place}"))
    };
    [String::new()].into_iter().chain(inner.into_iter().flat_map(below)).collect()
}

/// What may stand in a manifest instead of what does.
fn instead() -> impl Strategy<Value = Value> {
    let plain = prop_oneof![
        prop::sample::select(vec![0, 1, 2, 3, 4, 64, 1 << 20, 1 << 32, u64::MAX])
            .prop_map(Value::from),
        prop::sample::select(vec![-1.0, 0.5, 1e-320, 1e38, 1e308]).prop_map(Value::from),
        prop::sample::select(vec!["", "a", "b", "network", "analytic", "numeric", "categorical"])
            .prop_map(Value::from),
        prop::sample::select(vec![
            Value::Null,
            json!(true),
            json!(false),
            json!({}),
            json!({"kind": "text"}),
            json!({"kind": "tabular", "dim": 6}),
            json!({"kind": "image", "width": 2, "height": 1, "channels": 3}),
            json!({"n": 2, "top_k": 1}),
            json!({"seed": 0, "width": 1 << 14, "ridge": 1.0, "categories": []}),
        ]),
    ];
    plain.prop_recursive(2, 8, 4, |inner| prop::collection::vec(inner, 0..4).prop_map(Value::Array))
}

#[test]
fn a_file_with_its_own_manifest_is_the_same() {
    let state = decode(FILE).unwrap();
    assert_eq!(decode(&file_of(&manifest_of(FILE).unwrap())).unwrap(), state);
    assert!(read(FILE).is_ok());
}

proptest! {
    #![proptest_config(cases::usually(512))]

    #[test]
    fn no_manifest_makes_a_reader_panic(
        changes in prop::collection::vec((any::<prop::sample::Index>(), instead()), 1..4),
    ) {
        let mut manifest: Value = manifest_of(FILE).unwrap();
        for (place, instead) in changes {
            let places = places(&manifest);
            *manifest.pointer_mut(&places[place.index(places.len())]).unwrap() = instead;
        }
        let _ = read(&file_of(&manifest));
    }

    #[test]
    fn no_damage_makes_a_reader_panic(damage in cases::damage()) {
        let _ = read(&cases::damaged(FILE.to_vec(), &damage));
    }

    #[test]
    fn no_bytes_are_taken_for_a_file(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(read(&bytes).is_err());
    }
}
