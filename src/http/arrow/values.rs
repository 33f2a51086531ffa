//! The values of a column, one by one, whichever of Arrow's types they have.

use arrow_array::cast::AsArray;
use arrow_array::types::{
    Float16Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, UInt8Type,
    UInt16Type, UInt32Type, UInt64Type,
};
use arrow_array::{Array, ArrayRef};
use arrow_schema::DataType;

use super::super::oip::Meaning;
use super::super::parse::Cell;

/// Whether these are whole numbers, floating point or booleans.
pub(super) fn is_number(of: &DataType) -> bool {
    of.is_integer() || of.is_floating() || *of == DataType::Boolean
}

/// Whether these are texts, or a dictionary of them.
pub(super) fn is_text(of: &DataType) -> bool {
    match of {
        DataType::Dictionary(_, values) => values.is_string(),
        of => of.is_string(),
    }
}

/// Whether these are files, byte by byte.
pub(super) fn is_file(of: &DataType) -> bool {
    matches!(of, DataType::Binary | DataType::LargeBinary | DataType::BinaryView)
}

/// Whether these are lists.
pub(super) fn is_list(of: &DataType) -> bool {
    matches!(of, DataType::List(_) | DataType::LargeList(_) | DataType::FixedSizeList(..))
}

/// A column of numbers.
pub(super) struct Numbers {
    array: ArrayRef,
    /// To 32 bits; anything where they are null.
    rounded: Vec<f32>,
}

impl Numbers {
    /// The numbers of `array`.
    pub(super) fn of(array: &ArrayRef) -> Self {
        macro_rules! read {
            ($type:ty) => {
                array.as_primitive::<$type>().values().iter().map(|&number| number as f32).collect()
            };
        }
        let rounded = match array.data_type() {
            DataType::Boolean => {
                array.as_boolean().values().iter().map(|is| f32::from(u8::from(is))).collect()
            }
            DataType::Int8 => read!(Int8Type),
            DataType::Int16 => read!(Int16Type),
            DataType::Int32 => read!(Int32Type),
            DataType::Int64 => read!(Int64Type),
            DataType::UInt8 => read!(UInt8Type),
            DataType::UInt16 => read!(UInt16Type),
            DataType::UInt32 => read!(UInt32Type),
            DataType::UInt64 => read!(UInt64Type),
            DataType::Float16 => {
                let numbers = array.as_primitive::<Float16Type>().values();
                numbers.iter().map(|number| number.to_f32()).collect()
            }
            DataType::Float32 => array.as_primitive::<Float32Type>().values().to_vec(),
            DataType::Float64 => read!(Float64Type),
            // The schema was refused.
            _ => vec![f32::NAN; array.len()],
        };
        Self { array: ArrayRef::clone(array), rounded }
    }

    /// Whether there is a number in this row.
    pub(super) fn is_given(&self, row: usize) -> bool {
        self.array.is_valid(row)
    }

    /// The number in this row, or what is wrong with it.
    pub(super) fn get(&self, row: usize, meaning: Meaning) -> Result<f32, String> {
        if self.array.is_null(row) {
            return meaning.read(&Cell::Missing("null"));
        }
        let number = self.rounded[row];
        if meaning.fits(number) {
            return Ok(number);
        }
        // As it came: rounded it may be infinite.
        let shown = match self.array.as_primitive_opt::<Float64Type>() {
            Some(numbers) => numbers.value(row).to_string(),
            None => number.to_string(),
        };
        meaning.read(&Cell::Number(&shown))
    }
}

/// A column of texts.
pub(super) struct Texts {
    array: ArrayRef,
    /// Of a dictionary: the place of each row's text, and the texts.
    dictionary: Option<(Vec<usize>, ArrayRef)>,
}

impl Texts {
    /// The texts of `array`.
    pub(super) fn of(array: &ArrayRef) -> Self {
        let dictionary = array.as_any_dictionary_opt().map(|dictionary| {
            let values = ArrayRef::clone(dictionary.values());
            // Without a text all are null.
            let places = if values.is_empty() { Vec::new() } else { dictionary.normalized_keys() };
            (places, values)
        });
        Self { array: ArrayRef::clone(array), dictionary }
    }

    /// The text in this row; none where it is null.
    pub(super) fn get(&self, row: usize) -> Option<&str> {
        match &self.dictionary {
            None => text(&self.array, row),
            Some(_) if self.array.is_null(row) => None,
            Some((places, values)) => text(values, *places.get(row)?),
        }
    }
}

fn text(array: &ArrayRef, row: usize) -> Option<&str> {
    if array.is_null(row) {
        return None;
    }
    match array.data_type() {
        DataType::Utf8 => Some(array.as_string::<i32>().value(row)),
        DataType::LargeUtf8 => Some(array.as_string::<i64>().value(row)),
        DataType::Utf8View => Some(array.as_string_view().value(row)),
        _ => None,
    }
}

/// The file in this row; none where it is null.
pub(super) fn file(array: &ArrayRef, row: usize) -> Option<&[u8]> {
    if array.is_null(row) {
        return None;
    }
    match array.data_type() {
        DataType::Binary => Some(array.as_binary::<i32>().value(row)),
        DataType::LargeBinary => Some(array.as_binary::<i64>().value(row)),
        DataType::BinaryView => Some(array.as_binary_view().value(row)),
        _ => None,
    }
}

/// The list in this row; none where it is null.
pub(super) fn list(array: &ArrayRef, row: usize) -> Option<ArrayRef> {
    if array.is_null(row) {
        return None;
    }
    match array.data_type() {
        DataType::List(_) => Some(array.as_list::<i32>().value(row)),
        DataType::LargeList(_) => Some(array.as_list::<i64>().value(row)),
        DataType::FixedSizeList(..) => Some(array.as_fixed_size_list().value(row)),
        _ => None,
    }
}
