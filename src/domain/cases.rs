//! What tests of properties try: how many cases, and what several of them are made of.

use proptest::prelude::*;

/// As many cases as `PROPTEST_CASES` says, else so many. proptest's own `with_cases` does not ask the
/// environment.
pub(crate) fn usually(cases: u32) -> ProptestConfig {
    let asked = std::env::var("PROPTEST_CASES").ok().and_then(|text| text.parse().ok());
    ProptestConfig { cases: asked.unwrap_or(cases), ..ProptestConfig::default() }
}

/// JSON of arrays in arrays, of numbers and of what else there is, with space between.
pub(crate) fn nested_json() -> impl Strategy<Value = String> {
    let other = prop::sample::select(vec![
        "null",
        "true",
        "-0",
        "1e2",
        "0.5",
        "-1",
        "1e400",
        "\"\"",
        "\"a,b]\"",
        "\"\\\"[\"",
        "\"\\ud800\"",
        "\"AA==\"",
        "{}",
        "{\"a\": [1, 2]}",
    ]);
    let element = prop_oneof![
        6 => (0_u16..258).prop_map(|number| number.to_string()),
        1 => other.prop_map(str::to_owned),
    ];
    let between = prop::sample::select(vec![",", ", ", " ,", "\n,\t"]);
    element.prop_recursive(4, 64, 6, move |inner| {
        (prop::collection::vec(inner, 0..6), between.clone())
            .prop_map(|(elements, between)| format!("[{}]", elements.join(between)))
    })
}

/// What `nested_json` has made, without its arrays: each element, in order.
pub(crate) fn elements_of(json: &serde_json::Value) -> Vec<serde_json::Value> {
    match json {
        serde_json::Value::Array(elements) => elements.iter().flat_map(elements_of).collect(),
        element => vec![element.clone()],
    }
}

/// `bytes` with a few of them taken out and others put in.
pub(crate) fn damaged(mut bytes: Vec<u8>, damage: &Damage) -> Vec<u8> {
    let from = damage.at.index(bytes.len() + 1);
    let to = (from + damage.length).min(bytes.len());
    bytes.splice(from..to, damage.instead.iter().copied());
    bytes
}

/// What is done to bytes.
#[derive(Debug, Clone)]
pub(crate) struct Damage {
    at: prop::sample::Index,
    length: usize,
    instead: Vec<u8>,
}

/// Any damage: by bytes, or by what JSON and CSV are made of.
pub(crate) fn damage() -> impl Strategy<Value = Damage> {
    let instead = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..8),
        "[\\[\\]{}\",:\\\\\\nNe0-9.=/]{0,8}".prop_map(String::into_bytes),
    ];
    (any::<prop::sample::Index>(), 0_usize..8, instead).prop_map(|(at, length, instead)| Damage {
        at,
        length,
        instead,
    })
}
