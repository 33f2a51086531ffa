//! The elements of tensors, where they come in fields by their type instead of as bytes.
//!
//! They become the bytes that a client might have sent as well, so that both are read by the same rules.

use super::super::answer::OutputData;
use super::super::binary::push_element;
use super::super::tensor::Datatype;
use super::proto::InferTensorContents;
use crate::domain::Invalid;

/// The bytes of a tensor of this type and shape.
///
/// # Errors
/// When there are more or fewer elements in the type's field than the shape has, one does not fit the type, or
/// the type has no field.
pub(super) fn pack(
    contents: &InferTensorContents,
    datatype: Datatype,
    shape: &[usize],
) -> Result<Vec<u8>, Invalid> {
    macro_rules! each {
        ($field:ident as $type:ty) => {
            each(&contents.$field, shape, |&element, bytes| {
                let element = <$type>::try_from(element).ok()?;
                bytes.extend_from_slice(&element.to_le_bytes());
                Some(())
            })
        };
    }
    match datatype {
        Datatype::Bool => each(&contents.bool_contents, shape, |&element, bytes| {
            bytes.push(u8::from(element));
            Some(())
        }),
        Datatype::Int8 => each!(int_contents as i8),
        Datatype::Int16 => each!(int_contents as i16),
        Datatype::Int32 => each!(int_contents as i32),
        Datatype::Int64 => each!(int64_contents as i64),
        Datatype::Uint8 => each!(uint_contents as u8),
        Datatype::Uint16 => each!(uint_contents as u16),
        Datatype::Uint32 => each!(uint_contents as u32),
        Datatype::Uint64 => each!(uint64_contents as u64),
        Datatype::Fp32 => each!(fp32_contents as f32),
        Datatype::Fp64 => each!(fp64_contents as f64),
        Datatype::Bytes => each(&contents.bytes_contents, shape, |element, bytes| {
            push_element(element, bytes);
            Some(())
        }),
        Datatype::Fp16 => {
            let detail = "FP16 comes as bytes, in raw_input_contents; send FP32 here";
            return Err(Invalid::at("/datatype", detail));
        }
    }
    .map_err(|invalid| invalid.within("/contents"))
}

/// Packs elements one by one; `push` has none where one does not fit.
fn each<T>(
    elements: &[T],
    shape: &[usize],
    push: impl Fn(&T, &mut Vec<u8>) -> Option<()>,
) -> Result<Vec<u8>, Invalid> {
    let takes = shape.iter().try_fold(1_usize, |takes, side| takes.checked_mul(*side));
    if takes != Some(elements.len()) {
        let given = elements.len();
        let detail = format!("the datatype's field has {given} elements, the shape {shape:?}");
        return Err(Invalid::new(detail));
    }
    let mut bytes = Vec::with_capacity(size_of_val(elements));
    for (index, element) in elements.iter().enumerate() {
        push(element, &mut bytes)
            .ok_or_else(|| Invalid::new(format!("element {index} does not fit the datatype")))?;
    }
    Ok(bytes)
}

/// An output's elements in the field of their type.
pub(super) fn unpacked(data: OutputData<'_>) -> InferTensorContents {
    match data {
        OutputData::Numbers(numbers) => {
            InferTensorContents { fp32_contents: numbers.to_vec(), ..Default::default() }
        }
        OutputData::Texts(texts) => InferTensorContents {
            bytes_contents: texts.into_iter().map(|text| text.into_owned().into()).collect(),
            ..Default::default()
        },
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::binary::numbers;
    use super::*;

    fn contents() -> InferTensorContents {
        InferTensorContents {
            bool_contents: vec![true, false],
            int_contents: vec![-1, 100],
            int64_contents: vec![i64::MIN, 2],
            uint_contents: vec![0, 200],
            uint64_contents: vec![u64::MAX, 2],
            fp32_contents: vec![0.1, f32::MAX],
            fp64_contents: vec![0.5, -2.0],
            bytes_contents: vec!["ü".into(), "".into()],
        }
    }

    #[test]
    fn each_type_is_read_from_its_field_as_if_it_came_as_bytes() {
        for (datatype, expected) in [
            (Datatype::Bool, [1.0, 0.0]),
            (Datatype::Int8, [-1.0, 100.0]),
            (Datatype::Int16, [-1.0, 100.0]),
            (Datatype::Int32, [-1.0, 100.0]),
            (Datatype::Int64, [i64::MIN as f32, 2.0]),
            (Datatype::Uint8, [0.0, 200.0]),
            (Datatype::Uint16, [0.0, 200.0]),
            (Datatype::Uint32, [0.0, 200.0]),
            (Datatype::Uint64, [u64::MAX as f32, 2.0]),
            (Datatype::Fp32, [0.1, f32::MAX]),
            (Datatype::Fp64, [0.5, -2.0]),
        ] {
            let bytes = pack(&contents(), datatype, &[2, 1]).unwrap();
            assert_eq!(numbers(datatype, &bytes, 2).unwrap(), expected, "{datatype:?}");
        }
        let bytes = pack(&contents(), Datatype::Bytes, &[2]).unwrap();
        assert_eq!(bytes, b"\x02\0\0\0\xc3\xbc\0\0\0\0");
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let mut contents = contents();
        contents.int_contents = vec![-129, 0];
        contents.uint_contents = vec![256, 65_536];
        for (datatype, shape) in [
            (Datatype::Int8, &[2][..]),
            (Datatype::Uint8, &[2]),
            (Datatype::Uint16, &[2]),
            (Datatype::Fp16, &[2]),
            (Datatype::Fp32, &[3]),
            (Datatype::Fp32, &[]),
            (Datatype::Fp32, &[usize::MAX, 2]),
        ] {
            assert!(pack(&contents, datatype, shape).is_err(), "{datatype:?} {shape:?}");
        }
    }
}

#[cfg(test)]
mod fuzz_tests {
    use proptest::prelude::*;

    use super::super::super::binary::{each_element, numbers};
    use super::*;
    use crate::domain::cases;

    const TYPES: [Datatype; 13] = [
        Datatype::Bool,
        Datatype::Int8,
        Datatype::Int16,
        Datatype::Int32,
        Datatype::Int64,
        Datatype::Uint8,
        Datatype::Uint16,
        Datatype::Uint32,
        Datatype::Uint64,
        Datatype::Fp16,
        Datatype::Fp32,
        Datatype::Fp64,
        Datatype::Bytes,
    ];

    prop_compose! {
        /// The same number of elements in every field.
        fn contents()(n in 0_usize..6)(
            bools in prop::collection::vec(any::<bool>(), n),
            ints in prop::collection::vec(any::<i32>().prop_map(|i| i >> (i & 31)), n),
            longs in prop::collection::vec(any::<i64>(), n),
            uints in prop::collection::vec(any::<u32>().prop_map(|i| i >> (i & 31)), n),
            ulongs in prop::collection::vec(any::<u64>(), n),
            floats in prop::collection::vec(any::<f32>(), n),
            doubles in prop::collection::vec(any::<f64>(), n),
            texts in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..9), n),
        ) -> InferTensorContents {
            InferTensorContents {
                bool_contents: bools,
                int_contents: ints,
                int64_contents: longs,
                uint_contents: uints,
                uint64_contents: ulongs,
                fp32_contents: floats,
                fp64_contents: doubles,
                bytes_contents: texts.into_iter().map(Into::into).collect(),
            }
        }
    }

    proptest! {
        #![proptest_config(cases::usually(256))]

        #[test]
        fn what_is_packed_is_read_to_the_last_byte(
            contents in contents(),
            shape in prop::option::of(prop::collection::vec(
                prop_oneof![0_usize..6, Just(usize::MAX)], 0..3,
            )),
        ) {
            let n = contents.fp32_contents.len();
            let shape = shape.unwrap_or_else(|| vec![n]);
            for datatype in TYPES {
                let Ok(bytes) = pack(&contents, datatype, &shape) else { continue };
                prop_assert_eq!(shape.iter().product::<usize>(), n);
                if datatype != Datatype::Bytes {
                    prop_assert_eq!(numbers(datatype, &bytes, n).unwrap().len(), n);
                    continue;
                }
                let mut elements = Vec::new();
                let read = each_element(&bytes, n, |element| {
                    elements.push(element.to_vec());
                    Ok(())
                });
                prop_assert!(read.is_ok());
                prop_assert_eq!(elements, contents.bytes_contents.clone());
            }
        }
    }
}
