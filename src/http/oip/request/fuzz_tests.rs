//! Whatever comes as tensors, in JSON or as bytes behind it: as many inputs as the shape says, or a refusal.

use axum::http::HeaderValue;
use proptest::prelude::*;

use super::*;
use crate::domain::cases;
use crate::domain::settings::Missing;

fn settings() -> Vec<ModelSettings> {
    [
        r#"{"kind": "tabular", "dim": 2}"#,
        r#"{"kind": "tabular", "features": [
            {"name": "age", "type": "numeric"}, {"name": "city", "type": "categorical"}]}"#,
        r#"{"kind": "text"}"#,
        r#"{"kind": "image", "width": 8, "height": 8, "channels": 1}"#,
    ]
    .map(|input| ModelSettings::new(serde_json::from_str(input).unwrap()))
    .into()
}

prop_compose! {
    /// A tensor, and how many bytes it says to have behind the JSON.
    fn tensor()(
        name in prop::sample::select(vec!["x", "age", "city", "\\u0061ge"]),
        shape in prop_oneof![
            prop::sample::select(vec![vec![1_usize], vec![2], vec![1, 1], vec![1, 2], vec![2, 2], vec![1, 64]]),
            prop::collection::vec(prop_oneof![0_usize..4, Just(usize::MAX), Just(10_001)], 0..4),
        ],
        datatype in prop::sample::select(vec!["BOOL", "UINT8", "INT16", "FP16", "FP32", "FP64", "BYTES", "TEXT"]),
        data in prop::option::weighted(0.6, cases::nested_json()),
        n_bytes in prop::option::weighted(0.6, prop_oneof![0_usize..20, Just(64), Just(256), Just(usize::MAX)]),
        is_base64 in any::<bool>(),
    ) -> (String, usize) {
        let data = data.map(|json| format!(", \"data\": {json}")).unwrap_or_default();
        let size = n_bytes.map(|n| format!("\"binary_data_size\": {n}"));
        let base64 = is_base64.then(|| "\"content_type\": \"base64\"".to_owned());
        let parameters: Vec<String> = size.into_iter().chain(base64).collect();
        let parameters = parameters.join(", ");
        let json = format!(
            "{{\"name\": \"{name}\", \"shape\": {shape:?}, \"datatype\": \"{datatype}\", \
              \"parameters\": {{{parameters}}}{data}}}"
        );
        (json, n_bytes.unwrap_or_default().min(300))
    }
}

proptest! {
    #![proptest_config(cases::usually(512))]

    #[test]
    fn tensors_are_inputs_of_their_shape_or_are_refused(
        tensors in prop::collection::vec(tensor(), 0..3),
        filler in prop::collection::vec(prop_oneof![3 => Just(0_u8), 1 => any::<u8>()], 1..40),
        said in prop::option::weighted(0.2, 0_usize..400),
        damage in prop::option::weighted(0.2, cases::damage()),
    ) {
        let json: Vec<&str> = tensors.iter().map(|(json, _)| json.as_str()).collect();
        let json = format!("{{\"inputs\": [{}]}}", json.join(", "));
        let n_bytes = tensors.iter().map(|(_, n_bytes)| n_bytes).sum();
        let bytes: Vec<u8> = filler.iter().copied().cycle().take(n_bytes).collect();
        let length = HeaderValue::from(said.unwrap_or(json.len()));
        let body = [json.as_bytes(), &bytes].concat();
        let body = match &damage {
            Some(damage) => cases::damaged(body, damage),
            None => body,
        };
        let without = HeaderMap::new();
        let with = HeaderMap::from_iter([(HEADER_LENGTH, length)]);
        for settings in settings() {
            for headers in [&without, &with] {
                match read(headers, &body, &settings, 3) {
                    Ok(asked) => {
                        let n = asked.inputs.len();
                        prop_assert!((1..=10_000).contains(&n), "{} inputs", n);
                        let n_numbers = n * settings.input.n_numeric();
                        prop_assert_eq!(asked.inputs.all_numbers().len(), n_numbers);
                        let n_categories = n * settings.input.n_categorical();
                        prop_assert_eq!(asked.inputs.all_categories().len(), n_categories);
                    }
                    Err(problem) => prop_assert!(!problem.code().status().is_server_error()),
                }
            }
        }
    }

    #[test]
    fn flat_data_is_read_as_nested_data_is(
        written in prop::collection::vec(
            "-?(0|[1-9][0-9]{0,20})(\\.[0-9]{1,9})?(e-?[0-9]{1,2})?|null|true|\"[,a]\"|\\[1,2\\]", 3..6,
        ),
        datatype in prop::sample::select(vec!["BOOL", "UINT8", "INT16", "INT64", "FP32", "FP64"]),
        imputes in any::<bool>(),
    ) {
        let mut settings = settings().swap_remove(0);
        settings.learning.missing = if imputes { Missing::Impute } else { Missing::Reject };
        let said = |data: String| {
            let json = format!(
                "{{\"inputs\": [{{\"name\": \"x\", \"shape\": [2, 2], \
                  \"datatype\": \"{datatype}\", \"data\": {data}}}]}}"
            );
            read(&HeaderMap::new(), json.as_bytes(), &settings, 3).map(|asked| {
                asked.inputs.all_numbers().iter().map(|number| number.to_bits()).collect::<Vec<_>>()
            })
        };
        let (first, second) = written.split_at(2);
        let flat = said(format!("[{}]", written.join(" , ")));
        let nested = said(format!("[[{}],\n[{}]]", first.join(","), second.join(",")));
        // Of several things that are wrong, each tells the first that it comes upon.
        prop_assert_eq!(flat.ok(), nested.ok());
    }

    #[test]
    fn a_body_without_json_is_one_input_or_is_refused(
        body in prop_oneof![
            prop::collection::vec(any::<u8>(), 0..40),
            prop::collection::vec(any::<u8>(), 64).prop_map(|pixels| {
                pixels.iter().flat_map(|&pixel| f32::from(pixel).to_le_bytes()).collect()
            }),
        ],
    ) {
        let headers = HeaderMap::from_iter([(HEADER_LENGTH, HeaderValue::from(0_usize))]);
        for settings in settings() {
            match read(&headers, &body, &settings, 3) {
                Ok(asked) => prop_assert_eq!(asked.inputs.len(), 1),
                Err(problem) => prop_assert!(!problem.code().status().is_server_error()),
            }
        }
    }
}
