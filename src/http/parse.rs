//! One input: from JSON, or from the cells of a CSV row, to numbers and categories.
//!
//! Batches and predictions read inputs here and nowhere else, so that both refuse the same ones
//! for the same reasons. Numbers are rounded correctly to 32 bits, whatever the format.

use std::borrow::Cow;
use std::collections::HashMap;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::images::push_image;
use super::walk::{self, count_elements, each_element, each_member, numbers};
use crate::domain::Invalid;
use crate::domain::image::Budget;
use crate::domain::input::{
    Category, Feature, FeatureKind, InputSchema, Inputs, MAX_CATEGORY_BYTES,
};
use crate::domain::settings::Missing;
use crate::domain::text;

/// Adds the input that `value` holds to `into`, an image as long as `budget` lasts.
///
/// # Errors
/// [`Invalid`] with a pointer relative to the input (`/17`, `/city`); `into` is as it was then.
pub fn parse_input(
    value: &RawValue,
    schema: &InputSchema,
    missing: Missing,
    budget: &Budget,
    into: &mut Inputs,
) -> Result<(), Invalid> {
    let json = value.get();
    match schema {
        InputSchema::Text(_) => return push_text(json_cell(json), into),
        InputSchema::Image(image) => return push_image(json, image, budget, into),
        InputSchema::Tabular(_) => {}
    }
    let mut row = Row::new(schema, missing);
    match (schema.features(), json.as_bytes().first()) {
        ([], Some(b'[')) => row.read_vector(json)?,
        ([], _) => {
            let detail = format!("input is not an array of {} numbers", schema.n_numeric());
            return Err(Invalid::new(detail));
        }
        (features, Some(b'{')) => row.read_object(features, json)?,
        (features, Some(b'[')) => row.read_array(features, json)?,
        _ => {
            let detail = "input is not an object by feature name, nor an array in their order";
            return Err(Invalid::new(detail));
        }
    }
    row.finish(into);
    Ok(())
}

/// Adds the text that `cell` holds to `into`.
///
/// # Errors
/// [`Invalid`]; `into` is as it was then.
pub(super) fn push_text(cell: Cell<'_>, into: &mut Inputs) -> Result<(), Invalid> {
    let is = |what: &str| Err(Invalid::new(format!("input is {what}, not a text")));
    match cell {
        Cell::Text(text) => text::clean(&text).map(|text| into.push_text(text)),
        Cell::Missing(how) => Err(Invalid::new(format!("the text is {how}"))),
        Cell::Number(_) => is("a number"),
        Cell::Boolean(what) | Cell::Other(what) => is(what),
    }
}

/// One value of an input, as a format gives it.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Cell<'a> {
    /// None, and how that is said.
    Missing(&'static str),
    /// A number, or what may be one, in decimal.
    Number(&'a str),
    /// Text.
    Text(Cow<'a, str>),
    /// `true` or `false`.
    Boolean(&'static str),
    /// What is neither, in words.
    Other(&'static str),
}

/// One input in the making: its values come in the order of the model's features.
pub(super) struct Row {
    n_numeric: usize,
    missing: Missing,
    numbers: Vec<f32>,
    categories: Vec<Category>,
}

impl Row {
    /// An input without values yet.
    pub(super) fn new(schema: &InputSchema, missing: Missing) -> Self {
        let n_numeric = schema.n_numeric();
        let numbers = Vec::with_capacity(n_numeric);
        Self { n_numeric, missing, numbers, categories: Vec::new() }
    }

    /// Adds the next number of a plain vector.
    pub(super) fn push_number(&mut self, cell: &Cell<'_>) -> Result<(), Invalid> {
        let index = self.numbers.len();
        let number = number(cell, self.missing).map_err(|complaint| {
            Invalid::at(format!("/{index}"), format!("input[{index}] {complaint}"))
        })?;
        self.numbers.push(number);
        Ok(())
    }

    /// Adds the value of `feature`, which is the next one.
    pub(super) fn push(&mut self, feature: &Feature, cell: Cell<'_>) -> Result<(), Invalid> {
        match feature.kind {
            FeatureKind::Numeric => number(&cell, self.missing).map(|n| self.numbers.push(n)),
            FeatureKind::Categorical => category(cell).map(|c| self.categories.push(c)),
        }
        .map_err(|complaint| complain(&feature.name, &complaint))
    }

    /// Adds the input, which is complete, to `into`.
    pub(super) fn finish(self, into: &mut Inputs) {
        into.push(&self.numbers, &self.categories);
    }

    /// Reads a plain vector.
    fn read_vector(&mut self, json: &str) -> Result<(), Invalid> {
        for (text, number) in numbers(json) {
            if self.numbers.len() == self.n_numeric {
                return self.expect_numbers(count_elements(json));
            }
            match number {
                Some(number) => self.numbers.push(number),
                None => self.push_number(&piece_cell(text))?,
            }
        }
        self.expect_numbers(self.numbers.len())
    }

    fn expect_numbers(&self, given: usize) -> Result<(), Invalid> {
        if given == self.n_numeric {
            return Ok(());
        }
        let takes = self.n_numeric;
        Err(Invalid::new(format!("input has {given} numbers, the model takes {takes}")))
    }

    fn read_array(&mut self, features: &[Feature], json: &str) -> Result<(), Invalid> {
        let mut n_values = 0;
        each_element(json, |value| {
            if let Some(feature) = features.get(n_values) {
                self.push(feature, json_cell(value.get()))
                    .map_err(|invalid| Invalid { pointer: format!("/{n_values}"), ..invalid })?;
            }
            n_values += 1;
            Ok(())
        })?;
        if n_values == features.len() {
            return Ok(());
        }
        let takes = features.len();
        Err(Invalid::new(format!("input has {n_values} values, the model takes {takes}")))
    }

    fn read_object(&mut self, features: &[Feature], json: &str) -> Result<(), Invalid> {
        let mut columns = Columns::new(features);
        let mut cells = vec![Cell::Missing("missing"); features.len()];
        let mut given = vec![false; features.len()];
        each_member(json, |name, value| {
            let Some(index) = columns.find(&name) else {
                return Err(complain(&name, "is not one of the model's"));
            };
            if std::mem::replace(&mut given[index], true) {
                return Err(complain(&name, "is given twice"));
            }
            cells[index] = json_cell(value.get());
            Ok(())
        })?;
        features.iter().zip(cells).try_for_each(|(feature, cell)| self.push(feature, cell))
    }
}

/// Where features stand, found by name: at once when asked for in order.
pub(super) struct Columns<'a> {
    features: &'a [Feature],
    next: usize,
    by_name: Option<HashMap<&'a str, usize>>,
}

impl<'a> Columns<'a> {
    /// The places of `features`.
    pub(super) fn new(features: &'a [Feature]) -> Self {
        Self { features, next: 0, by_name: None }
    }

    /// The place of the feature of this name.
    pub(super) fn find(&mut self, name: &str) -> Option<usize> {
        let index = match self.features.get(self.next) {
            Some(feature) if feature.name == name => self.next,
            _ => {
                let names = || self.features.iter().map(|feature| feature.name.as_str()).zip(0..);
                *self.by_name.get_or_insert_with(|| names().collect()).get(name)?
            }
        };
        self.next = index + 1;
        Some(index)
    }
}

pub(super) fn complain(feature: &str, complaint: &str) -> Invalid {
    let pointer = format!("/{}", feature.replace('~', "~0").replace('/', "~1"));
    let (feature, pointer) = (walk::shortened(feature), walk::shortened(&pointer));
    Invalid::at(pointer, format!("feature `{feature}` {complaint}"))
}

/// A JSON value as a cell. `json` is one well-formed value, without space around it.
pub(super) fn json_cell(json: &str) -> Cell<'_> {
    #[derive(Deserialize)]
    struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

    match json.as_bytes().first() {
        Some(b'"') => match serde_json::from_str::<Text<'_>>(json) {
            Ok(Text(text)) => Cell::Text(text),
            Err(_) => Cell::Other("a string that is not valid Unicode"),
        },
        Some(b'n') => Cell::Missing("null"),
        Some(b't') => Cell::Boolean("true"),
        Some(b'f') => Cell::Boolean("false"),
        Some(b'[') => Cell::Other("an array"),
        Some(b'{') => Cell::Other("an object"),
        _ => Cell::Number(json),
    }
}

/// A piece of an array between commas as a cell. A comma inside a string, an array or an object does no harm:
/// whatever begins like one is no number, whatever follows.
pub(super) fn piece_cell(piece: &str) -> Cell<'_> {
    match piece.starts_with('"') {
        true => Cell::Text(piece.into()),
        false => json_cell(piece),
    }
}

/// The number that `cell` holds, NaN where it is missing and may be; or what is wrong with it.
pub(super) fn number(cell: &Cell<'_>, missing: Missing) -> Result<f32, String> {
    match cell {
        Cell::Missing(how) => match missing {
            Missing::Impute => Ok(f32::NAN),
            Missing::Reject => {
                Err(format!("is {how}, and the model's learning.missing is `reject`"))
            }
        },
        Cell::Number(text) => match text.parse::<f32>() {
            Ok(number) if number.is_finite() => Ok(number),
            Ok(_) if text.contains(|c: char| c.is_ascii_digit()) => {
                let text = walk::shortened(text);
                Err(format!("is {text}, which does not fit a 32-bit floating point number"))
            }
            Ok(_) => Err(format!("is {text}, which is not a finite number")),
            Err(_) => Err(format!("is `{}`, which is not a number", walk::shortened(text))),
        },
        Cell::Text(_) => Err("is text, not a number".to_owned()),
        Cell::Boolean(what) | Cell::Other(what) => Err(format!("is {what}, not a number")),
    }
}

/// The category that `cell` holds, or what is wrong with it.
pub(super) fn category(cell: Cell<'_>) -> Result<Category, String> {
    let text = match cell {
        Cell::Missing(_) => return Ok(None),
        Cell::Number(text) | Cell::Boolean(text) => Cow::Borrowed(text),
        Cell::Text(text) => text,
        Cell::Other(what) => return Err(format!("is {what}, not a category")),
    };
    match text.len() {
        0..=MAX_CATEGORY_BYTES => Ok(Some(Box::from(text))),
        long => Err(format!("is {long} bytes long, {MAX_CATEGORY_BYTES} is the most")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vector(dim: usize) -> InputSchema {
        serde_json::from_value(serde_json::json!({"kind": "tabular", "dim": dim})).unwrap()
    }

    /// Two numbers and a category between them.
    fn named() -> InputSchema {
        serde_json::from_value(serde_json::json!({"kind": "tabular", "features": [
            {"name": "age", "type": "numeric"},
            {"name": "city", "type": "categorical"},
            {"name": "a/b", "type": "numeric"},
        ]}))
        .unwrap()
    }

    fn parse(json: &str, schema: &InputSchema, missing: Missing) -> Result<Inputs, Invalid> {
        let mut inputs = Inputs::new(schema);
        let value: &RawValue = serde_json::from_str(json).unwrap();
        let parsed = parse_input(value, schema, missing, &Budget::default(), &mut inputs);
        assert_eq!(inputs.len(), usize::from(parsed.is_ok()), "{json}");
        parsed.map(|()| inputs)
    }

    #[test]
    fn a_vector_is_read_number_by_number() {
        let inputs = parse(" [ 1, -2.5e1 ,\n0.1 ] ", &vector(3), Missing::Reject).unwrap();
        assert_eq!(inputs.all_numbers(), [1.0, -25.0, 0.1]);
        let inputs = parse("[null, 1e-60, -0.0]", &vector(3), Missing::Impute).unwrap();
        assert!(inputs.all_numbers()[0].is_nan());
        assert_eq!(inputs.all_numbers()[1..], [0.0, 0.0]);
    }

    #[test]
    fn named_values_come_in_any_order_or_as_an_array() {
        let schema = named();
        let is = |inputs: &Inputs, age: f32, city: Option<&str>, last: f32| {
            assert_eq!(inputs.all_numbers(), [age, last]);
            assert_eq!(inputs.all_categories(), [city.map(Box::from)]);
        };
        for json in [
            r#"{"age": 1, "city": "Zürich", "a/b": 2}"#,
            r#"{"a/b": 2, "city": "Z\u00fcrich", "\u0061ge": 1}"#,
            r#"[1, "Zürich", 2]"#,
        ] {
            is(&parse(json, &schema, Missing::Reject).unwrap(), 1.0, Some("Zürich"), 2.0);
        }
        for (json, city) in [
            (r#"{"age": 1, "a/b": 2}"#, None),
            (r#"{"age": 1, "city": null, "a/b": 2}"#, None),
            (r#"[1, "", 2]"#, Some("")),
            ("[1, 1.50, 2]", Some("1.50")),
            ("[1, true, 2]", Some("true")),
        ] {
            is(&parse(json, &schema, Missing::Reject).unwrap(), 1.0, city, 2.0);
        }
    }

    #[test]
    fn what_is_wrong_with_a_vector_is_told_with_its_place() {
        let rejects = "and the model's learning.missing is `reject`";
        for (json, pointer, detail) in [
            ("[1]", "", "input has 1 numbers, the model takes 2"),
            ("[ ]", "", "input has 0 numbers, the model takes 2"),
            ("[1, 2, [3, 4], \"5,6\"]", "", "input has 4 numbers, the model takes 2"),
            ("[1, null]", "/1", &format!("input[1] is null, {rejects}")),
            ("[1, \"a,b\"]", "/1", "input[1] is text, not a number"),
            ("[[1, 2], 3]", "/0", "input[0] is an array, not a number"),
            ("[{\"a\": 1}, 3]", "/0", "input[0] is an object, not a number"),
            ("[1, false]", "/1", "input[1] is false, not a number"),
            (
                "[1, 1e39]",
                "/1",
                "input[1] is 1e39, which does not fit a 32-bit floating point number",
            ),
            ("{\"0\": 1}", "", "input is not an array of 2 numbers"),
            ("\"text\"", "", "input is not an array of 2 numbers"),
        ] {
            let refusal = parse(json, &vector(2), Missing::Reject).unwrap_err();
            assert_eq!(refusal, Invalid::at(pointer, detail), "{json}");
        }
        assert!(parse("[1, 1e400]", &vector(2), Missing::Impute).is_err());
    }

    #[test]
    fn what_is_wrong_with_named_values_is_told_with_their_feature() {
        let long = "x".repeat(257);
        let rejects = "and the model's learning.missing is `reject`";
        for (json, pointer, detail) in [
            (r#"{"age": 1}"#, "/a~1b", format!("feature `a/b` is missing, {rejects}")),
            (r#"{"age": null, "a/b": 1}"#, "/age", format!("feature `age` is null, {rejects}")),
            (r#"{"age": "1", "a/b": 1}"#, "/age", "feature `age` is text, not a number".into()),
            (r#"{"x": 1}"#, "/x", "feature `x` is not one of the model's".into()),
            (r#"{"age": 1, "age": 1}"#, "/age", "feature `age` is given twice".into()),
            (r#"[1, ["a"], 2]"#, "/1", "feature `city` is an array, not a category".into()),
            (
                r#"{"city": "\ud800", "age": 1, "a/b": 1}"#,
                "/city",
                "feature `city` is a string that is not valid Unicode, not a category".into(),
            ),
            (
                &format!(r#"[1, "{long}", 2]"#),
                "/1",
                "feature `city` is 257 bytes long, 256 is the most".into(),
            ),
            ("[1, 2]", "", "input has 2 values, the model takes 3".into()),
            ("[1, 2, 3, 4]", "", "input has 4 values, the model takes 3".into()),
            ("7", "", "input is not an object by feature name, nor an array in their order".into()),
        ] {
            let refusal = parse(json, &named(), Missing::Reject).unwrap_err();
            assert_eq!(refusal, Invalid::at(pointer, detail), "{json}");
        }
    }
}
