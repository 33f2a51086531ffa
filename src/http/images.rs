//! An image as an input: the base64 of a file, or its pixels as numbers, in JSON or in a CSV row.

use std::borrow::Cow;

use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use base64::{DecodeError, Engine, alphabet};

use super::parse::{Cell, json_cell, piece_cell};
use super::walk::{self, count_elements, each_element, is_nested, numbers};
use crate::domain::Invalid;
use crate::domain::image::{self, Budget};
use crate::domain::input::{ImageSchema, Inputs};

/// With padding or without.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Adds the image that `json` holds to `into`, as long as `budget` lasts. `json` is one well-formed
/// value, without space around it.
///
/// # Errors
/// [`Invalid`] with a pointer relative to the input (`/17`, `/3/4/0`); `into` is as it was then.
pub(super) fn push_image(
    json: &str,
    schema: &ImageSchema,
    budget: &Budget,
    into: &mut Inputs,
) -> Result<(), Invalid> {
    let pixels = match json_cell(json) {
        Cell::Text(text) => image::decode_within(budget, &from_base64(&text)?, schema)?,
        Cell::Other(_) if json.starts_with('[') => read_array(json, schema)?,
        cell => {
            let is = words(&cell);
            let detail = format!("input is {is}, neither base64 of an image file nor its pixels");
            return Err(Invalid::new(detail));
        }
    };
    into.push(&pixels, &[]);
    Ok(())
}

/// Adds the image whose pixels `cells` are, as many as the model takes, to `into`.
///
/// # Errors
/// [`Invalid`] with the place of the first that is no pixel; `into` is as it was then.
pub(super) fn push_pixels<'a>(
    cells: impl Iterator<Item = Cell<'a>>,
    into: &mut Inputs,
) -> Result<(), Invalid> {
    let mut pixels = Vec::with_capacity(into.n_numeric());
    for (index, cell) in cells.enumerate() {
        pixels.push(pixel(&cell).map_err(|complaint| complain(&[index], &complaint))?);
    }
    into.push(&pixels, &[]);
    Ok(())
}

/// The file that `text` stands for. Line breaks are common in base64, and a `data:` URL is what a
/// browser has.
pub(super) fn from_base64(text: &str) -> Result<Vec<u8>, Invalid> {
    let base64 = match text.split_once(',') {
        Some((head, base64)) if head.starts_with("data:") => {
            if !head.ends_with(";base64") {
                return Err(Invalid::new("input is a data URL that is not in base64"));
            }
            base64
        }
        _ => text,
    };
    let base64: Cow<'_, str> = match base64.contains(|c: char| c.is_ascii_whitespace()) {
        true => base64.split_ascii_whitespace().collect::<String>().into(),
        false => base64.into(),
    };
    BASE64.decode(base64.as_bytes()).map_err(|error| {
        let why = match error {
            DecodeError::InvalidByte(at, _) => {
                let character = base64.get(at..).and_then(|rest| rest.chars().next());
                let shown = character.unwrap_or(char::REPLACEMENT_CHARACTER).escape_debug();
                format!("`{shown}` at {at} does not belong there")
            }
            _ => "it is cut off".to_owned(),
        };
        Invalid::new(format!("input is text that is not base64 of an image file: {why}"))
    })
}

/// Pixels as one array, as rows, or as rows of pixels.
fn read_array(json: &str, schema: &ImageSchema) -> Result<Vec<f32>, Invalid> {
    let ImageSchema { width, height, channels, .. } = *schema;
    let mut pixels = Vec::with_capacity(schema.n_numbers());
    if !is_nested(json) {
        read_numbers(json, schema.n_numbers(), "numbers", &[], &mut pixels)?;
        return Ok(pixels);
    }
    read_arrays(json, height, "rows", &[], |y, row| {
        if channels == 1 && !is_nested(row) {
            return read_numbers(row, width, "pixels", &[y], &mut pixels);
        }
        read_arrays(row, width, "pixels", &[y], |x, pixel| {
            read_numbers(pixel, channels, "channels", &[y, x], &mut pixels)
        })
    })?;
    Ok(pixels)
}

/// Calls `read` with each of the `takes` arrays that the array at `place` is to hold.
fn read_arrays<'a>(
    json: &'a str,
    takes: usize,
    of: &str,
    place: &[usize],
    mut read: impl FnMut(usize, &'a str) -> Result<(), Invalid>,
) -> Result<(), Invalid> {
    let mut given = 0;
    each_element(json, |element| {
        let json = element.get();
        if given < takes {
            if !json.starts_with('[') {
                let complaint = format!("is {}, not an array", words(&json_cell(json)));
                return Err(complain(&[place, &[given]].concat(), &complaint));
            }
            read(given, json)?;
        }
        given += 1;
        Ok(())
    })?;
    expect(given, takes, of, place)
}

/// Reads the `takes` pixels that the array at `place` is to hold.
fn read_numbers(
    json: &str,
    takes: usize,
    of: &str,
    place: &[usize],
    into: &mut Vec<f32>,
) -> Result<(), Invalid> {
    let mut given = 0;
    for (text, number) in numbers(json) {
        if given == takes {
            return expect(count_elements(json), takes, of, place);
        }
        let pixel = match number {
            Some(number) if image::is_pixel(number) => number,
            _ => pixel(&piece_cell(text))
                .map_err(|complaint| complain(&[place, &[given]].concat(), &complaint))?,
        };
        into.push(pixel);
        given += 1;
    }
    expect(given, takes, of, place)
}

fn expect(given: usize, takes: usize, of: &str, place: &[usize]) -> Result<(), Invalid> {
    if given == takes {
        return Ok(());
    }
    Err(complain(place, &format!("has {given} {of}, the model takes {takes}")))
}

/// The pixel that `cell` holds, or what is wrong with it.
pub(super) fn pixel(cell: &Cell<'_>) -> Result<f32, String> {
    let Cell::Number(text) = cell else {
        return Err(format!("is {}, not a number", words(cell)));
    };
    match text.parse::<f32>() {
        Ok(number) if image::is_pixel(number) => Ok(number),
        _ => Err(format!(
            "is {}, and pixels are whole numbers of 0 to 255: multiply shares by 255",
            walk::shortened(text)
        )),
    }
}

fn words(cell: &Cell<'_>) -> &'static str {
    match cell {
        Cell::Missing(what) | Cell::Boolean(what) | Cell::Other(what) => what,
        Cell::Number(_) => "a number",
        Cell::Text(_) => "text",
    }
}

/// A complaint about the number at this place of nested arrays.
pub(super) fn complain(place: &[usize], complaint: &str) -> Invalid {
    let (mut pointer, mut name) = (String::new(), "input".to_owned());
    for index in place {
        pointer.push_str(&format!("/{index}"));
        name.push_str(&format!("[{index}]"));
    }
    Invalid::at(pointer, format!("{name} {complaint}"))
}

#[cfg(test)]
mod fuzz_tests;
#[cfg(test)]
mod pixel_tests;
