//! One tensor of a request: its shape is checked first, then its elements are read from JSON or from
//! bytes, by the same rules as the inputs of `…/predict`.

use std::borrow::Cow;
use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::super::exchange::check_count;
use super::super::images::pixel;
use super::super::parse::{Cell, json_cell, number, piece_cell};
use super::super::walk;
use super::{binary, flat};
use crate::domain::settings::Missing;
use crate::domain::{Invalid, image};

/// What a tensor's elements are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum Datatype {
    /// 0 or 1; in JSON also `false` or `true`.
    Bool,
    /// Whole numbers of 8 bits, from 0.
    Uint8,
    /// Of 16.
    Uint16,
    /// Of 32.
    Uint32,
    /// Of 64.
    Uint64,
    /// Whole numbers of 8 bits, with a sign.
    Int8,
    /// Of 16.
    Int16,
    /// Of 32.
    Int32,
    /// Of 64.
    Int64,
    /// Floating point of 16 bits; as bytes only.
    Fp16,
    /// Of 32.
    Fp32,
    /// Of 64; rounded to 32.
    Fp64,
    /// Texts, or files.
    Bytes,
}

impl Datatype {
    /// Its name.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Bool => "BOOL",
            Self::Uint8 => "UINT8",
            Self::Uint16 => "UINT16",
            Self::Uint32 => "UINT32",
            Self::Uint64 => "UINT64",
            Self::Int8 => "INT8",
            Self::Int16 => "INT16",
            Self::Int32 => "INT32",
            Self::Int64 => "INT64",
            Self::Fp16 => "FP16",
            Self::Fp32 => "FP32",
            Self::Fp64 => "FP64",
            Self::Bytes => "BYTES",
        }
    }

    /// Bytes of one element, where all are equally long.
    pub(super) fn width(self) -> Option<usize> {
        match self {
            Self::Bool | Self::Uint8 | Self::Int8 => Some(1),
            Self::Uint16 | Self::Int16 | Self::Fp16 => Some(2),
            Self::Uint32 | Self::Int32 | Self::Fp32 => Some(4),
            Self::Uint64 | Self::Int64 | Self::Fp64 => Some(8),
            Self::Bytes => None,
        }
    }

    /// Whether the number that JSON writes so is one of its values; of floating point each is, rounded.
    fn holds(self, written: &str) -> bool {
        let values: RangeInclusive<i128> = match self {
            Self::Fp16 | Self::Fp32 | Self::Fp64 | Self::Bytes => return true,
            Self::Bool => 0..=1,
            Self::Uint8 => 0..=u8::MAX.into(),
            Self::Uint16 => 0..=u16::MAX.into(),
            Self::Uint32 => 0..=u32::MAX.into(),
            Self::Uint64 => 0..=u64::MAX.into(),
            Self::Int8 => i8::MIN.into()..=i8::MAX.into(),
            Self::Int16 => i16::MIN.into()..=i16::MAX.into(),
            Self::Int32 => i32::MIN.into()..=i32::MAX.into(),
            Self::Int64 => i64::MIN.into()..=i64::MAX.into(),
        };
        // `2.0` and `1e3` are whole numbers, too.
        let whole = written.parse::<i128>().ok().or_else(|| {
            let number: f64 = written.parse().ok()?;
            (number.fract() == 0.0).then_some(number as i128)
        });
        whole.is_some_and(|whole| values.contains(&whole))
    }
}

/// A tensor of a request.
#[derive(Debug)]
pub(super) struct Tensor<'a> {
    /// What the client calls it.
    pub(super) name: Cow<'a, str>,
    /// Its dimensions; the first counts inputs.
    pub(super) shape: Vec<usize>,
    /// What its elements are.
    pub(super) datatype: Datatype,
    /// Whether texts are files in base64.
    pub(super) is_base64: bool,
    /// Its elements.
    pub(super) values: Values<'a>,
}

/// The elements of a tensor, as they came.
#[derive(Debug)]
pub(super) enum Values<'a> {
    /// One well-formed value, without space around it.
    Json(&'a str),
    /// As bytes.
    Binary(&'a [u8]),
    /// One element of BYTES, without its length.
    Whole(&'a [u8]),
}

/// One element of a tensor of BYTES.
pub(super) enum Element<'a> {
    /// In JSON.
    Cell(Cell<'a>),
    /// As bytes.
    Bytes(&'a [u8]),
}

/// What numbers stand for, which decides which are taken.
#[derive(Debug, Clone, Copy)]
pub(in super::super) enum Meaning {
    /// Features of a row.
    Feature(Missing),
    /// Pixels of an image.
    Pixel,
}

impl Meaning {
    /// Whether a number is taken.
    pub(in super::super) fn fits(self, number: f32) -> bool {
        match self {
            Self::Feature(_) => number.is_finite(),
            Self::Pixel => image::is_pixel(number),
        }
    }

    /// The number that `cell` holds, NaN where it is missing and may be; or what is wrong with it.
    pub(in super::super) fn read(self, cell: &Cell<'_>) -> Result<f32, String> {
        match self {
            Self::Feature(missing) => number(cell, missing),
            Self::Pixel => pixel(cell),
        }
    }
}

impl<'a> Tensor<'a> {
    /// How many inputs there are, where one is of a shape among `takes`.
    pub(super) fn n_inputs(&self, takes: &[&[usize]]) -> Result<usize, Invalid> {
        match self.shape.split_first() {
            Some((&n, input)) if takes.contains(&input) => {
                check_count(n).map_err(|invalid| invalid.within("/shape"))?;
                Ok(n)
            }
            _ => {
                let shown = |shape: &&[usize]| {
                    let sides = shape.iter().map(|side| format!(", {side}")).collect::<String>();
                    format!("[n{sides}]")
                };
                let takes = takes.iter().map(shown).collect::<Vec<_>>().join(" or ");
                Err(Invalid::at("/shape", format!("the model takes a tensor of shape {takes}")))
            }
        }
    }

    /// Its numbers, row by row, NaN where missing; its shape was checked.
    pub(super) fn numbers(&self, meaning: Meaning) -> Result<Vec<f32>, Invalid> {
        if self.datatype == Datatype::Bytes {
            let detail = "the model takes numbers here, as FP32 or another numeric datatype";
            return Err(Invalid::at("/datatype", detail));
        }
        match self.values {
            Values::Json(json) => self.read_numbers(json, meaning),
            Values::Binary(bytes) | Values::Whole(bytes) => {
                let numbers = binary::numbers(self.datatype, bytes, self.shape.iter().product())?;
                // All are looked at, which is faster than to look whether to go on.
                if numbers.iter().fold(true, |all, &number| all & meaning.fits(number)) {
                    return Ok(numbers);
                }
                let bad = numbers.iter().position(|&number| !meaning.fits(number)).unwrap_or(0);
                Err(complain(bad, &refuse(numbers[bad], meaning)))
            }
        }
    }

    fn read_numbers(&self, json: &str, meaning: Meaning) -> Result<Vec<f32>, Invalid> {
        if self.datatype == Datatype::Fp16 {
            let detail = "FP16 comes as bytes; send FP32 in JSON";
            return Err(Invalid::at("/datatype", detail));
        }
        // An element takes at least two bytes: a shape alone makes nothing large.
        let n: usize = self.shape.iter().product();
        let mut numbers = Vec::with_capacity(n.min(json.len() / 2 + 1));
        if !walk::is_nested(json) {
            let mut elements = walk::numbers(json);
            for (element, number) in elements.by_ref().take(n) {
                numbers.push(self.number(numbers.len(), element, number, meaning)?);
            }
            if numbers.len() == n && elements.next().is_none() {
                return Ok(numbers);
            }
            // More or fewer than the shape says, or no array: which of these is told below.
            numbers.clear();
        }
        flat::each_element(json, &self.shape, |element| {
            let number = element.parse().ok();
            numbers.push(self.number(numbers.len(), element, number, meaning)?);
            Ok(())
        })
        .map_err(|invalid| match invalid.pointer.is_empty() {
            true => Invalid { pointer: "/data".to_owned(), ..invalid },
            false => invalid,
        })?;
        Ok(numbers)
    }

    /// The number that the element of this place is, `number` where it is written as one.
    fn number(
        &self,
        index: usize,
        element: &str,
        number: Option<f32>,
        meaning: Meaning,
    ) -> Result<f32, Invalid> {
        let read = match (number, self.datatype, element) {
            (Some(number), datatype, _) if meaning.fits(number) => match datatype.holds(element) {
                true => Ok(number),
                false => {
                    let (element, datatype) = (walk::shortened(element), datatype.as_str());
                    Err(format!("is {element}, which is no {datatype}"))
                }
            },
            (_, Datatype::Bool, "true") => Ok(1.0),
            (_, Datatype::Bool, "false") => Ok(0.0),
            _ => meaning.read(&piece_cell(element)),
        };
        read.map_err(|complaint| complain(index, &complaint))
    }

    /// Calls `visit` with each of its elements, which are BYTES; its shape was checked.
    pub(super) fn each_element(
        &self,
        mut visit: impl FnMut(Element<'a>) -> Result<(), Invalid>,
    ) -> Result<(), Invalid> {
        if self.datatype != Datatype::Bytes {
            return Err(Invalid::at("/datatype", "the model takes BYTES here"));
        }
        let mut index = 0;
        let mut visit = |element| {
            visit(element).map_err(|invalid| complain(index, &invalid.detail))?;
            index += 1;
            Ok(())
        };
        let visited = match self.values {
            Values::Json(json) => flat::each_element(json, &self.shape, |element| {
                visit(Element::Cell(json_cell(element)))
            }),
            Values::Binary(bytes) => {
                let n = self.shape.iter().product();
                binary::each_element(bytes, n, |bytes| visit(Element::Bytes(bytes)))
            }
            Values::Whole(bytes) => visit(Element::Bytes(bytes)),
        };
        visited.map_err(|invalid| Invalid { pointer: "/data".to_owned(), ..invalid })
    }
}

impl<'a> Element<'a> {
    /// The element as text.
    pub(super) fn text(self) -> Result<Cell<'a>, Invalid> {
        match self {
            Self::Cell(cell) => Ok(cell),
            Self::Bytes(bytes) => match std::str::from_utf8(bytes) {
                Ok(text) => Ok(Cell::Text(text.into())),
                Err(_) => Err(Invalid::new("is not UTF-8")),
            },
        }
    }
}

/// What is wrong with a number that does not fit.
fn refuse(number: f32, meaning: Meaning) -> String {
    let shown = number.to_string();
    let refused = meaning.read(&Cell::Number(&shown));
    refused.err().unwrap_or_else(|| format!("is {shown}, which is not taken"))
}

fn complain(index: usize, complaint: &str) -> Invalid {
    Invalid::at("/data", format!("element {index} {complaint}"))
}
