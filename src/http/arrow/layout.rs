//! Which column of a stream holds what of an input, and the inputs of some rows.
//!
//! The rules are those of JSON and CSV (`parse.rs`), and so are the words of a refusal: null is a missing
//! value, numbers are finite and rounded to 32 bits. What types tell is refused before any row is read.

use arrow_array::{Array, RecordBatch};
use arrow_schema::{DataType, Schema};

use super::super::columns::place_by_name;
use super::super::images;
use super::super::oip::Meaning;
use super::super::parse::{Cell, category, complain, push_text};
use super::super::walk::shortened;
use super::values::{Numbers, Texts, file, is_file, is_list, is_number, is_text, list};
use crate::domain::Invalid;
use crate::domain::image::{Budget, decode_within};
use crate::domain::input::{Feature, FeatureKind, ImageSchema, InputSchema, Inputs};
use crate::domain::settings::Missing;

/// Which columns hold an input.
#[derive(Debug, PartialEq)]
pub(in crate::http) enum Layout {
    /// The column of each feature, or of each number of a plain vector, in the model's order.
    Columns(Vec<usize>),
    /// One column of lists, each all the numbers of an input, or all its pixels.
    Lists,
    /// One column of texts.
    Texts,
    /// One column of image files.
    Files,
}

impl Layout {
    /// How a stream of `schema` holds inputs of this kind.
    ///
    /// # Errors
    /// [`Invalid`] about the first column that does not suit, or about one that is not there.
    pub(in crate::http) fn of(schema: &Schema, input: &InputSchema) -> Result<Self, Invalid> {
        let is_lists = matches!(&schema.fields()[..], [field] if is_list(field.data_type()));
        match input {
            InputSchema::Text(_) => only(schema, "texts", is_text).map(|()| Self::Texts),
            InputSchema::Image(_) if is_lists => check_lists(schema, input).map(|()| Self::Lists),
            InputSchema::Image(_) => only(schema, "image files", is_file).map(|()| Self::Files),
            InputSchema::Tabular(_) if is_lists => check_lists(schema, input).map(|()| Self::Lists),
            InputSchema::Tabular(_) => place(schema, input).map(Self::Columns),
        }
    }

    /// The inputs of `rows`, which are of the schema that this was made for, up to the first that is none, and
    /// why that is none. Image files are decoded as long as `budget` lasts.
    pub(in crate::http) fn read(
        &self,
        rows: &RecordBatch,
        input: &InputSchema,
        missing: Missing,
        budget: &Budget,
    ) -> (Inputs, Option<Invalid>) {
        let mut inputs = Inputs::new(input);
        let meaning = match input.image() {
            Some(_) => Meaning::Pixel,
            None => Meaning::Feature(missing),
        };
        let read = match (self, input.image()) {
            (Self::Columns(columns), _) => {
                push_columns(rows, columns, input.features(), meaning, &mut inputs)
            }
            (Self::Lists, _) => push_lists(rows, meaning, &mut inputs),
            (Self::Files, Some(image)) => push_files(rows, image, budget, &mut inputs),
            (Self::Texts | Self::Files, _) => push_texts(rows, &mut inputs),
        };
        (inputs, read.err())
    }
}

/// The columns of the model's features by name, or of a plain vector's numbers in their order.
fn place(schema: &Schema, input: &InputSchema) -> Result<Vec<usize>, Invalid> {
    let names: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
    let features = input.features();
    let (given, takes) = (names.len(), input.n_numeric());
    let columns = match features {
        [] if given == takes => (0..given).collect(),
        [] => {
            let detail = format!(
                "the stream has {given} columns; the model takes {takes} numbers, in as many columns or as one \
                 of lists"
            );
            return Err(Invalid::at("/schema", detail));
        }
        features => place_by_name((0..given).collect(), &names, features)
            .map_err(|invalid| invalid.within("/schema"))?,
    };
    for (place, &column) in columns.iter().enumerate() {
        match features.get(place).map(|feature| feature.kind) {
            Some(FeatureKind::Categorical) => expect(schema, column, "texts", is_text)?,
            Some(FeatureKind::Numeric) | None => expect(schema, column, "numbers", is_number)?,
        }
    }
    Ok(columns)
}

/// Refuses another schema than one column of `what`, whatever its name.
fn only(schema: &Schema, what: &str, suits: fn(&DataType) -> bool) -> Result<(), Invalid> {
    match schema.fields().len() {
        1 => expect(schema, 0, what, suits),
        given => {
            let detail = format!("the model takes one column of {what}, the stream has {given}");
            Err(Invalid::at("/schema", detail))
        }
    }
}

/// Refuses a column of another type than `suits`.
pub(super) fn expect(
    schema: &Schema,
    column: usize,
    what: &str,
    suits: fn(&DataType) -> bool,
) -> Result<(), Invalid> {
    match suits(schema.field(column).data_type()) {
        true => Ok(()),
        false => Err(refuse(schema, column, what)),
    }
}

fn refuse(schema: &Schema, column: usize, takes: &str) -> Invalid {
    let field = schema.field(column);
    let (name, of) = (shortened(field.name()), field.data_type().to_string());
    let detail = format!("column `{name}` is of {}, the model takes {takes} there", shortened(&of));
    Invalid::at(format!("/schema/fields/{column}"), detail)
}

/// Refuses lists, which are the only column, of what is not the model's.
fn check_lists(schema: &Schema, input: &InputSchema) -> Result<(), Invalid> {
    if input.n_categories() > 0 {
        return Err(refuse(schema, 0, "a column for each feature, some of them texts,"));
    }
    let takes = input.n_numeric();
    let (of, n) = match schema.field(0).data_type() {
        DataType::FixedSizeList(of, n) => (of, usize::try_from(*n).ok()),
        DataType::List(of) | DataType::LargeList(of) => (of, Some(takes)),
        _ => return Err(refuse(schema, 0, "lists")),
    };
    match is_number(of.data_type()) && n == Some(takes) {
        true => Ok(()),
        false => Err(refuse(schema, 0, &format!("lists of {takes} numbers"))),
    }
}

/// One feature of some rows.
enum Column {
    Numbers(Numbers),
    Texts(Texts),
}

fn push_columns(
    rows: &RecordBatch,
    columns: &[usize],
    features: &[Feature],
    meaning: Meaning,
    inputs: &mut Inputs,
) -> Result<(), Invalid> {
    let column = |(place, &column): (usize, &usize)| {
        let array = rows.column(column);
        match features.get(place).map(|feature| feature.kind) {
            Some(FeatureKind::Categorical) => Column::Texts(Texts::of(array)),
            Some(FeatureKind::Numeric) | None => Column::Numbers(Numbers::of(array)),
        }
    };
    let columns: Vec<Column> = columns.iter().enumerate().map(column).collect();
    let (mut numbers, mut categories) = (Vec::new(), Vec::new());
    for row in 0..rows.num_rows() {
        numbers.clear();
        categories.clear();
        for (place, column) in columns.iter().enumerate() {
            let read = match column {
                Column::Numbers(column) => column.get(row, meaning).map(|n| numbers.push(n)),
                Column::Texts(column) => {
                    category(cell(column.get(row))).map(|category| categories.push(category))
                }
            };
            read.map_err(|complaint| match features.get(place) {
                Some(feature) => complain(&feature.name, &complaint),
                None => images::complain(&[place], &complaint),
            })?;
        }
        inputs.push(&numbers, &categories);
    }
    Ok(())
}

fn push_lists(rows: &RecordBatch, meaning: Meaning, inputs: &mut Inputs) -> Result<(), Invalid> {
    let (lists, takes) = (rows.column(0), inputs.n_numeric());
    let mut numbers = Vec::with_capacity(takes);
    for row in 0..rows.num_rows() {
        let list = list(lists, row).ok_or_else(|| Invalid::new("input is null"))?;
        let given = list.len();
        if given != takes {
            let detail = format!("input has {given} numbers, the model takes {takes}");
            return Err(Invalid::new(detail));
        }
        numbers.clear();
        let list = Numbers::of(&list);
        for place in 0..given {
            let number = list.get(place, meaning);
            numbers.push(number.map_err(|complaint| images::complain(&[place], &complaint))?);
        }
        inputs.push(&numbers, &[]);
    }
    Ok(())
}

fn push_texts(rows: &RecordBatch, inputs: &mut Inputs) -> Result<(), Invalid> {
    let texts = Texts::of(rows.column(0));
    (0..rows.num_rows()).try_for_each(|row| push_text(cell(texts.get(row)), inputs))
}

fn push_files(
    rows: &RecordBatch,
    image: &ImageSchema,
    budget: &Budget,
    inputs: &mut Inputs,
) -> Result<(), Invalid> {
    (0..rows.num_rows()).try_for_each(|row| {
        let file = file(rows.column(0), row).ok_or_else(|| Invalid::new("the image is null"))?;
        inputs.push(&decode_within(budget, file, image)?, &[]);
        Ok(())
    })
}

fn cell(text: Option<&str>) -> Cell<'_> {
    text.map_or(Cell::Missing("null"), |text| Cell::Text(text.into()))
}
