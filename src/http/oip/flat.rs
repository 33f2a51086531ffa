//! The elements of a tensor in JSON, flat or nested, row by row.
//!
//! Walks through text that is known to be well formed and builds nothing: numbers go from their
//! text into place in one pass. Each array holds either the arrays that the shape says or, flat, all
//! elements below it.

use super::super::walk::{count_elements, string_length};
use crate::domain::Invalid;

/// Calls `visit` with the text of each element of the tensor of `shape` that `json` is.
///
/// # Errors
/// The first complaint of `visit`, or that the arrays are not as the shape says.
pub(super) fn each_element<'a>(
    json: &'a str,
    shape: &[usize],
    visit: impl FnMut(&'a str) -> Result<(), Invalid>,
) -> Result<(), Invalid> {
    match json.starts_with('[') {
        true => Walk { rest: json, visit }.array(shape),
        false => Err(Invalid::new("data is not an array")),
    }
}

struct Walk<'a, F> {
    rest: &'a str,
    visit: F,
}

impl<'a, F: FnMut(&'a str) -> Result<(), Invalid>> Walk<'a, F> {
    /// Walks through the array that comes next.
    fn array(&mut self, shape: &[usize]) -> Result<(), Invalid> {
        let array = self.rest;
        self.skip(1);
        let (takes, inner) = match shape {
            [n, inner @ ..] if !inner.is_empty() && self.rest.starts_with('[') => (*n, inner),
            _ => (shape.iter().product(), &[][..]),
        };
        let mut given = 0;
        let mut goes_on = !self.rest.starts_with(']');
        if !goes_on {
            self.skip(1);
        }
        while goes_on && given < takes {
            match inner {
                [] => self.element()?,
                _ if self.rest.starts_with('[') => self.array(inner)?,
                _ => return Err(Invalid::new("data has an element where others are arrays")),
            }
            given += 1;
            goes_on = self.goes_on();
        }
        if given == takes && !goes_on {
            return Ok(());
        }
        let of = if inner.is_empty() { "elements" } else { "arrays" };
        let given = if goes_on { count_elements(array) } else { given };
        Err(Invalid::new(format!("data has {given} {of} where its shape has {takes}")))
    }

    fn element(&mut self) -> Result<(), Invalid> {
        let length = match self.rest.as_bytes().first() {
            Some(b'"') => string_length(self.rest.as_bytes()),
            Some(b'[') => return Err(Invalid::new("data is nested deeper than its shape")),
            Some(b'{') => return Err(Invalid::new("data holds an object")),
            _ => self.rest.bytes().position(ends_number).unwrap_or(self.rest.len()),
        };
        let (element, rest) = self.rest.split_at(length);
        self.rest = rest;
        (self.visit)(element)
    }

    /// Goes past what follows an element; whether another one comes.
    fn goes_on(&mut self) -> bool {
        self.skip(0);
        let goes_on = self.rest.starts_with(',');
        self.skip(1);
        goes_on
    }

    /// Goes past `n` bytes of ASCII and the white space behind them.
    fn skip(&mut self, n: usize) {
        self.rest = self.rest.get(n..).unwrap_or_default().trim_ascii_start();
    }
}

fn ends_number(byte: u8) -> bool {
    matches!(byte, b',' | b']') || byte.is_ascii_whitespace()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn elements<'a>(json: &'a str, shape: &[usize]) -> Result<Vec<&'a str>, String> {
        let mut elements = Vec::new();
        each_element(json, shape, |element| {
            elements.push(element);
            Ok(())
        })
        .map_err(|invalid| invalid.detail)?;
        Ok(elements)
    }

    #[test]
    fn flat_and_nested_are_the_same() {
        for json in [
            "[1,2,3,4]",
            "[ 1 , 2\n,3,4 ]",
            "[[1,2],[3,4]]",
            "[ [ 1,2 ] , [3, 4] ]",
            "[[[1],[2]],[[3],[4]]]",
            "[[[1],[2]],[3,4]]",
        ] {
            assert_eq!(elements(json, &[2, 2, 1]).unwrap(), ["1", "2", "3", "4"], "{json}");
        }
        let strings = r#"["a,]", "\"\\", "", null, true]"#;
        assert_eq!(
            elements(strings, &[5]).unwrap(),
            [r#""a,]""#, r#""\"\\""#, "\"\"", "null", "true"]
        );
    }

    #[test]
    fn what_is_not_as_the_shape_says_is_told() {
        for (json, why) in [
            ("[1,2,3]", "data has 3 elements where its shape has 4"),
            ("[]", "data has 0 elements where its shape has 4"),
            ("[1,2,3,4,5,6]", "data has 6 elements where its shape has 4"),
            ("[[1,2],[3]]", "data has 1 elements where its shape has 2"),
            ("[[1,2],[]]", "data has 0 elements where its shape has 2"),
            ("[[1,2,3,4]]", "data has 4 elements where its shape has 2"),
            ("[[1,2]]", "data has 1 arrays where its shape has 2"),
            ("[[1,2],[3,4],[5,6]]", "data has 3 arrays where its shape has 2"),
            ("[[1,2],3]", "data has an element where others are arrays"),
            ("[1,2,3,[4]]", "data is nested deeper than its shape"),
            ("[[[1],[2]],[3,4]]", "data is nested deeper than its shape"),
            ("[1,2,3,{\"a\":4}]", "data holds an object"),
            ("7", "data is not an array"),
            ("\"[1,2]\"", "data is not an array"),
        ] {
            assert_eq!(elements(json, &[2, 2]).unwrap_err(), why, "{json}");
        }
    }
}

#[cfg(test)]
mod fuzz_tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;
    use crate::domain::cases;

    proptest! {
        #![proptest_config(cases::usually(512))]

        #[test]
        fn a_tensor_is_the_elements_of_its_arrays_in_order_or_none(
            json in cases::nested_json(),
            shape in prop::collection::vec(0_usize..5, 0..4),
            counts in any::<bool>(),
        ) {
            // What serde_json cannot hold, as a number too large, has nothing to be compared with.
            let Ok(value) = serde_json::from_str::<Value>(&json) else { return Ok(()) };
            let expected = cases::elements_of(&value);
            // As many as there are, so that some are read.
            let shape = if counts { vec![expected.len()] } else { shape };
            let mut elements = Vec::new();
            let visited = each_element(&json, &shape, |element| {
                elements.push(serde_json::from_str::<Value>(element).unwrap());
                Ok(())
            });
            if visited.is_ok() {
                prop_assert_eq!(elements.len(), shape.iter().product::<usize>());
                prop_assert_eq!(elements, expected);
            }
        }
    }
}
