//! Whatever stands for an image in JSON: its pixels or nothing, and base64 that is read as it is written.

use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use proptest::prelude::*;
use serde_json::Value;

use super::*;
use crate::domain::cases;
use crate::domain::input::{InputSchema, Resize};

proptest! {
    #![proptest_config(cases::usually(512))]

    #[test]
    fn arrays_are_the_pixels_that_they_hold_or_none(
        json in cases::nested_json(),
        channels in prop::sample::select(vec![1_usize, 3]),
    ) {
        let schema = ImageSchema { width: 2, height: 1, channels, resize: Resize::Stretch };
        let mut inputs = Inputs::new(&InputSchema::Image(schema.clone()));
        match push_image(&json, &schema, &Budget::default(), &mut inputs) {
            Ok(()) => {
                let value: Value = serde_json::from_str(&json).unwrap();
                let given: Option<Vec<f32>> = cases::elements_of(&value)
                    .iter()
                    .map(|element| element.as_f64().map(|number| number as f32))
                    .collect();
                prop_assert_eq!(Some(inputs.numbers(0)), given.as_deref());
                prop_assert!(inputs.all_numbers().iter().all(|&number| image::is_pixel(number)));
            }
            Err(Invalid { pointer, .. }) => {
                prop_assert!(inputs.is_empty());
                let value: Value = serde_json::from_str(&json).unwrap_or_default();
                prop_assert!(value.is_null() || value.pointer(&pointer).is_some(), "{}", pointer);
            }
        }
    }

    #[test]
    fn a_file_is_what_its_base64_says(
        text in prop_oneof![
            any::<String>(),
            "[A-Za-z0-9+/]{0,24}={0,2}",
            "(data:[a-z/;,]{0,12}base64,)?[A-Za-z0-9+/=\\r\\n ]{0,24}",
        ],
    ) {
        if let Ok(file) = from_base64(&text) {
            let base64 = match text.split_once(',') {
                Some((head, base64)) if head.starts_with("data:") => base64,
                _ => &text,
            };
            let kept: String =
                base64.chars().filter(|c| !c.is_ascii_whitespace() && *c != '=').collect();
            prop_assert_eq!(STANDARD_NO_PAD.encode(file), kept);
        }
    }

    #[test]
    fn every_file_has_a_base64(
        file in prop::collection::vec(any::<u8>(), 0..60),
        length in 1_usize..20,
    ) {
        let base64 = STANDARD.encode(&file);
        let lines: String = base64
            .as_bytes()
            .chunks(length)
            .map(|line| format!("{}\r\n", line.escape_ascii()))
            .collect();
        for text in [base64.as_str(), base64.trim_end_matches('='), &lines] {
            prop_assert_eq!(&from_base64(text).unwrap(), &file);
            prop_assert_eq!(&from_base64(&format!("data:;base64,{text}")).unwrap(), &file);
        }
    }
}
