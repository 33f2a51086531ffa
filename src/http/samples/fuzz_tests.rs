//! Batches for models of texts and of images, in JSON and CSV: whatever comes is samples or is told.

use std::io::Cursor;

use ::image::{GrayImage, ImageFormat, Luma};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::format_tests::{Batch, gather};
use super::{Expected, Unreadable};
use crate::domain::settings::Missing;
use crate::domain::{cases, image, text};
use crate::http::{csv, json as json_readers};

fn texts() -> Expected {
    expected(json!({"kind": "text"}))
}

fn images() -> Expected {
    expected(json!({"kind": "image", "width": 8, "height": 8, "channels": 1}))
}

fn expected(schema: Value) -> Expected {
    Expected::new(serde_json::from_value(schema).unwrap(), Missing::Reject)
}

fn document(body: &[u8], expected: &Expected) -> Result<Batch, Unreadable> {
    gather(expected, |gatherer| json_readers::read_document(body, gatherer))
}

fn lines(body: &[u8], expected: &Expected) -> Result<Batch, Unreadable> {
    gather(expected, |gatherer| json_readers::read_lines(body, gatherer))
}

fn rows(body: &[u8], expected: &Expected) -> Result<Batch, Unreadable> {
    gather(expected, |gatherer| csv::read_rows(body, "label", gatherer))
}

fn as_document(samples: &[Value]) -> Vec<u8> {
    json!({"samples": samples}).to_string().into_bytes()
}

fn as_lines(samples: &[Value]) -> Vec<u8> {
    samples.iter().map(|sample| format!("{sample}\n")).collect::<String>().into_bytes()
}

/// Texts with their label, as JSON and as CSV have them.
fn text_samples() -> impl Strategy<Value = (Vec<Value>, Vec<u8>)> {
    let given = ("[^\0\r\n]{1,20}", "[a-c]");
    prop::collection::vec(given, 1..6).prop_map(|given| {
        let sample = |(text, label): &(String, String)| json!({"input": text, "label": label});
        let mut writer = ::csv::Writer::from_writer(Vec::new());
        writer.write_record(["label", "text"]).unwrap();
        given.iter().for_each(|(text, label)| writer.write_record([label, text]).unwrap());
        (given.iter().map(sample).collect(), writer.into_inner().unwrap())
    })
}

/// Images as files of several kinds and as pixels.
fn image_samples() -> impl Strategy<Value = Vec<Value>> {
    let formats = [ImageFormat::Png, ImageFormat::Gif, ImageFormat::Bmp, ImageFormat::Jpeg];
    let input = (any::<u8>(), prop::option::of(prop::sample::select(formats.to_vec())));
    let input = input.prop_map(|(level, format)| match format {
        Some(format) => {
            let image = ::image::DynamicImage::from(GrayImage::from_pixel(9, 5, Luma([level])));
            let image = ::image::DynamicImage::from(image.into_rgb8());
            let mut file = Cursor::new(Vec::new());
            image.write_to(&mut file, format).unwrap();
            json!(STANDARD.encode(file.into_inner()))
        }
        None => json!(vec![level; 64]),
    });
    prop::collection::vec(input.prop_map(|input| json!({"input": input, "label": "a"})), 1..4)
}

/// What a model may learn: texts that are clean, and pixels.
fn is_sound(batch: &Batch) -> bool {
    let inputs = &batch.samples.inputs;
    let texts = inputs.all_categories();
    let is_clean = |text: &str| text::clean(text).is_ok_and(|clean| &*clean == text);
    texts.iter().all(|text| text.as_deref().is_some_and(is_clean))
        && inputs.all_numbers().iter().all(|&number| image::is_pixel(number))
}

proptest! {
    #![proptest_config(cases::usually(128))]

    #[test]
    fn texts_are_the_same_in_every_format((samples, csv) in text_samples()) {
        let from_document = document(&as_document(&samples), &texts()).unwrap();
        prop_assert!(is_sound(&from_document));
        let from_lines = lines(&as_lines(&samples), &texts()).unwrap();
        prop_assert_eq!(&from_lines.samples, &from_document.samples);
        prop_assert_eq!(&from_lines.rejections, &from_document.rejections);
        let from_rows = rows(&csv, &texts()).unwrap();
        prop_assert_eq!(&from_rows.samples, &from_document.samples);
        prop_assert_eq!(&from_rows.rejections, &from_document.rejections);
    }

    #[test]
    fn images_are_the_same_in_every_format(samples in image_samples()) {
        let from_document = document(&as_document(&samples), &images()).unwrap();
        prop_assert_eq!(from_document.samples.len(), samples.len());
        prop_assert!(is_sound(&from_document));
        let from_lines = lines(&as_lines(&samples), &images()).unwrap();
        prop_assert_eq!(&from_lines.samples, &from_document.samples);
    }

    #[test]
    fn any_bytes_are_samples_or_are_told(
        bytes in prop_oneof![
            prop::collection::vec(any::<u8>(), 0..300),
            "[\\[\\]{}\",:\\\\ \nsampleinutb0-9]{0,120}".prop_map(String::into_bytes),
            cases::nested_json().prop_map(String::into_bytes),
            cases::nested_json().prop_map(|json| {
                format!("{{\"samples\": [{{\"input\": {json}, \"label\": \"a\"}}]}}").into_bytes()
            }),
        ],
    ) {
        for expected in [texts(), images()] {
            let read = [document(&bytes, &expected), lines(&bytes, &expected), rows(&bytes, &expected)];
            for batch in read.into_iter().flatten() {
                prop_assert!(is_sound(&batch));
            }
        }
    }

    #[test]
    fn damaged_samples_are_told_and_the_others_are_sound(
        (texts_given, csv) in text_samples(),
        images_given in image_samples(),
        damage in cases::damage(),
    ) {
        let damaged = |body: Vec<u8>| cases::damaged(body, &damage);
        for (samples, expected) in [(&texts_given, texts()), (&images_given, images())] {
            if let Ok(batch) = document(&damaged(as_document(samples)), &expected) {
                prop_assert!(is_sound(&batch));
            }
            let batch = lines(&damaged(as_lines(samples)), &expected).unwrap();
            prop_assert!(is_sound(&batch));
            prop_assert!(batch.samples.len() + batch.rejections.len() + 2 >= samples.len());
        }
        if let Ok(batch) = rows(&damaged(csv), &texts()) {
            prop_assert!(is_sound(&batch));
        }
    }
}
