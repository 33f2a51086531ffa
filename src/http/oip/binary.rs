//! Tensors as bytes, little-endian and row by row: what follows the JSON of a request or an answer.
//!
//! Invariant: a length that a client names is compared with the bytes that are there before anything
//! is done with it; nothing is allocated by it.

use axum::http::{HeaderMap, HeaderName};
use half::f16;

use super::tensor::Datatype;
use crate::domain::Invalid;

/// Tells how many bytes of a body are JSON; tensors follow.
pub(super) const HEADER_LENGTH: HeaderName =
    HeaderName::from_static("inference-header-content-length");

/// A body, taken apart.
#[derive(Debug, PartialEq)]
pub(super) enum Parts<'a> {
    /// JSON, and the tensors behind it.
    Json(&'a [u8], &'a [u8]),
    /// The only tensor, with nothing around it.
    Raw(&'a [u8]),
}

/// Takes a body apart where the header says.
pub(super) fn take_apart<'a>(headers: &HeaderMap, body: &'a [u8]) -> Result<Parts<'a>, Invalid> {
    let Some(said) = headers.get(HEADER_LENGTH) else { return Ok(Parts::Json(body, &[])) };
    let length = said.to_str().ok().and_then(|text| text.parse::<usize>().ok());
    match length.map(|length| (length, body.split_at_checked(length))) {
        Some((0, _)) => Ok(Parts::Raw(body)),
        Some((_, Some((json, tensors)))) => Ok(Parts::Json(json, tensors)),
        Some((length, None)) => Err(Invalid::new(format!(
            "Inference-Header-Content-Length is {length}, and the body has {} bytes",
            body.len()
        ))),
        None => Err(Invalid::new("Inference-Header-Content-Length is not a number of bytes")),
    }
}

/// The `n` numbers of a tensor, rounded to 32 bits.
pub(super) fn numbers(datatype: Datatype, bytes: &[u8], n: usize) -> Result<Vec<f32>, Invalid> {
    macro_rules! read {
        ($type:ty) => {{
            let (numbers, _) = bytes.as_chunks::<{ size_of::<$type>() }>();
            numbers.iter().map(|number| <$type>::from_le_bytes(*number) as f32).collect()
        }};
    }
    let width = datatype.width().ok_or_else(|| Invalid::new("BYTES are no numbers"))?;
    if n.checked_mul(width) != Some(bytes.len()) {
        let (given, datatype) = (bytes.len(), datatype.as_str());
        let detail =
            format!("{n} elements of {datatype} take {width} bytes each, {given} are given");
        return Err(Invalid::new(detail));
    }
    Ok(match datatype {
        Datatype::Bool => match bytes.iter().position(|&byte| byte > 1) {
            Some(index) => {
                return Err(Invalid::new(format!(
                    "element {index} is neither 0 nor 1, as BOOL is"
                )));
            }
            None => read!(u8),
        },
        Datatype::Uint8 => read!(u8),
        Datatype::Uint16 => read!(u16),
        Datatype::Uint32 => read!(u32),
        Datatype::Uint64 => read!(u64),
        Datatype::Int8 => read!(i8),
        Datatype::Int16 => read!(i16),
        Datatype::Int32 => read!(i32),
        Datatype::Int64 => read!(i64),
        Datatype::Fp32 => read!(f32),
        Datatype::Fp64 => read!(f64),
        Datatype::Fp16 => {
            let (numbers, _) = bytes.as_chunks::<2>();
            numbers.iter().map(|number| f16::from_le_bytes(*number).to_f32()).collect()
        }
        Datatype::Bytes => Vec::new(),
    })
}

/// Calls `visit` with each of the `n` elements of a tensor of BYTES: a length in 32 bits, then as
/// many bytes.
pub(super) fn each_element<'a>(
    bytes: &'a [u8],
    n: usize,
    mut visit: impl FnMut(&'a [u8]) -> Result<(), Invalid>,
) -> Result<(), Invalid> {
    let mut rest = bytes;
    for index in 0..n {
        let element = rest.split_first_chunk().and_then(|(length, behind)| {
            let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
            behind.split_at_checked(length)
        });
        let Some((element, behind)) = element else {
            let detail = format!("element {index} of {n} goes beyond the tensor's bytes");
            return Err(Invalid::new(detail));
        };
        visit(element)?;
        rest = behind;
    }
    match rest.len() {
        0 => Ok(()),
        left => Err(Invalid::new(format!("{left} bytes are left behind the {n} elements"))),
    }
}

/// Adds an element of a tensor of BYTES to `into`.
pub(super) fn push_element(element: &[u8], into: &mut Vec<u8>) {
    // A label is at most 256 bytes long, and a body far below what 32 bits count.
    let length = u32::try_from(element.len()).unwrap_or(u32::MAX);
    into.extend_from_slice(&length.to_le_bytes());
    into.extend_from_slice(element);
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    fn elements(bytes: &[u8], n: usize) -> Result<Vec<&[u8]>, String> {
        let mut elements = Vec::new();
        each_element(bytes, n, |element| {
            elements.push(element);
            Ok(())
        })
        .map_err(|invalid| invalid.detail)?;
        Ok(elements)
    }

    #[test]
    fn a_body_is_taken_apart_where_the_header_says() {
        let parts = |said: Option<&'static str>| {
            let said = said.map(|said| (HEADER_LENGTH, HeaderValue::from_static(said)));
            take_apart(&said.into_iter().collect(), b"{}abc").ok()
        };
        assert_eq!(parts(None), Some(Parts::Json(b"{}abc", b"")));
        assert_eq!(parts(Some("2")), Some(Parts::Json(b"{}", b"abc")));
        assert_eq!(parts(Some("5")), Some(Parts::Json(b"{}abc", b"")));
        assert_eq!(parts(Some("0")), Some(Parts::Raw(b"{}abc")));
        for bad in ["6", "-1", "", "2.0", "0x2", "99999999999999999999999", "18446744073709551615"]
        {
            assert_eq!(parts(Some(bad)), None, "{bad}");
        }
    }

    #[test]
    fn numbers_of_every_type_are_read() {
        let is = |datatype, bytes: &[u8], expected: &[f32]| {
            assert_eq!(numbers(datatype, bytes, expected.len()).unwrap(), expected, "{datatype:?}");
        };
        is(Datatype::Bool, &[0, 1], &[0.0, 1.0]);
        is(Datatype::Uint8, &[0, 255], &[0.0, 255.0]);
        is(Datatype::Int8, &[255], &[-1.0]);
        is(Datatype::Uint16, &[1, 2], &[513.0]);
        is(Datatype::Int16, &[254, 255], &[-2.0]);
        is(Datatype::Uint32, &3_000_000_000_u32.to_le_bytes(), &[3e9]);
        is(Datatype::Int32, &(-7_i32).to_le_bytes(), &[-7.0]);
        is(Datatype::Uint64, &u64::MAX.to_le_bytes(), &[18_446_744_073_709_551_615.0]);
        is(Datatype::Int64, &i64::MIN.to_le_bytes(), &[-9_223_372_036_854_775_808.0]);
        is(Datatype::Fp16, &[0x00, 0x3c, 0x00, 0xc1], &[1.0, -2.5]);
        is(Datatype::Fp32, &[0.1_f32.to_le_bytes(), 1e30_f32.to_le_bytes()].concat(), &[0.1, 1e30]);
        is(Datatype::Fp64, &0.1_f64.to_le_bytes(), &[0.1]);
        assert!(numbers(Datatype::Bool, &[2], 1).is_err());
        assert!(numbers(Datatype::Bytes, &[], 0).is_err());
        for (bytes, n) in [(&[0; 7][..], 2), (&[0; 9], 2), (&[], 1), (&[0; 4], usize::MAX)] {
            assert!(numbers(Datatype::Fp32, bytes, n).is_err(), "{n}");
        }
    }

    #[test]
    fn lengths_that_lie_are_refused() {
        assert_eq!(elements(b"\x01\0\0\0a\0\0\0\0", 2).unwrap(), [&b"a"[..], b""]);
        for (bytes, n) in [
            (&b"\x02\0\0\0a"[..], 1),
            (b"\xff\xff\xff\xffa", 1),
            (b"\x01\0\0", 1),
            (b"", 1),
            (b"\x01\0\0\0a", 2),
            (b"\x01\0\0\0ab", 1),
        ] {
            assert!(elements(bytes, n).is_err(), "{bytes:?}");
        }
    }

    proptest! {
        #[test]
        fn what_was_written_is_read(texts in proptest::collection::vec(".{0,20}", 0..20)) {
            let mut bytes = Vec::new();
            texts.iter().for_each(|text| push_element(text.as_bytes(), &mut bytes));
            let read = elements(&bytes, texts.len()).unwrap();
            prop_assert_eq!(read, texts.iter().map(String::as_bytes).collect::<Vec<_>>());
        }

        /// Whatever the bytes: read to the last, or refused.
        #[test]
        fn no_bytes_do_harm(
            bytes in proptest::collection::vec(prop_oneof![3 => Just(0_u8), 1 => any::<u8>()], 0..64),
            n in prop_oneof![0_usize..8, Just(usize::MAX)],
        ) {
            if let Ok(elements) = elements(&bytes, n) {
                let read: usize = elements.iter().map(|element| 4 + element.len()).sum();
                prop_assert_eq!((elements.len(), read), (n, bytes.len()));
            }
            for datatype in [Datatype::Uint8, Datatype::Fp16, Datatype::Fp64] {
                if let Ok(numbers) = numbers(datatype, &bytes, n) {
                    prop_assert_eq!(numbers.len(), n);
                }
            }
        }
    }
}
