//! From tensors to inputs: what each kind of model takes, and what it says that it takes.

use std::borrow::Cow;

use super::super::images::from_base64;
use super::super::parse::{Cell, Columns, category, push_text};
use super::tensor::{Datatype, Element, Meaning, Tensor, Values};
use crate::domain::Invalid;
use crate::domain::image::{self, Budget};
use crate::domain::input::{Category, Feature, FeatureKind, ImageSchema, InputSchema, Inputs};
use crate::domain::settings::ModelSettings;

/// A tensor that the model takes, as its metadata has it: name, datatype, and what comes behind the
/// number of inputs in its shape.
pub(super) type Taken<'a> = (&'a str, Datatype, Vec<usize>);

/// The tensors that a model takes.
pub(super) fn taken(schema: &InputSchema) -> Vec<Taken<'_>> {
    match schema {
        InputSchema::Text(_) => vec![("text", Datatype::Bytes, Vec::new())],
        InputSchema::Image(ImageSchema { width, height, channels, .. }) => {
            vec![("image", Datatype::Fp32, vec![*height, *width, *channels])]
        }
        InputSchema::Tabular(_) if schema.features().is_empty() => {
            vec![("input", Datatype::Fp32, vec![schema.n_numeric()])]
        }
        InputSchema::Tabular(_) => schema
            .features()
            .iter()
            .map(|feature| match feature.kind {
                FeatureKind::Numeric => (feature.name.as_str(), Datatype::Fp32, Vec::new()),
                FeatureKind::Categorical => (feature.name.as_str(), Datatype::Bytes, Vec::new()),
            })
            .collect(),
    }
}

/// The inputs that `tensors` hold.
///
/// # Errors
/// [`Invalid`] with a pointer into the request.
pub(super) fn gather(tensors: &[Tensor<'_>], settings: &ModelSettings) -> Result<Inputs, Invalid> {
    let schema = &settings.input;
    let meaning = Meaning::Feature(settings.learning.missing);
    let mut inputs = Inputs::new(schema);
    match (schema, schema.features()) {
        (InputSchema::Text(_), _) => only(tensors, |tensor| push_texts(tensor, &mut inputs)),
        (InputSchema::Image(image), _) => {
            only(tensors, |tensor| push_images(tensor, image, &mut inputs))
        }
        (InputSchema::Tabular(_), features) if !is_rows(tensors, features) => {
            push_columns(tensors, features, meaning, &mut inputs)
        }
        _ => only(tensors, |tensor| push_rows(tensor, meaning, &mut inputs)),
    }?;
    Ok(inputs)
}

/// The inputs of a request that is one tensor and no more: one input, as the bytes that the model's
/// metadata says; or, of images, a file.
pub(super) fn gather_raw(bytes: &[u8], settings: &ModelSettings) -> Result<Inputs, Invalid> {
    let schema = &settings.input;
    if schema.n_categories() > 0 {
        let detail = "a body without a header is one tensor, and the model takes one a feature";
        return Err(Invalid::new(detail));
    }
    let n = schema.n_numeric();
    // Pixels are whole numbers, whose first byte is 0; no image file begins with it.
    let is_file = schema.image().is_some() && bytes.first().is_some_and(|&first| first != 0);
    let (datatype, shape, values) = match schema.is_text() || is_file {
        true => (Datatype::Bytes, vec![1], Values::Whole(bytes)),
        false => (Datatype::Fp32, vec![1, n], Values::Binary(bytes)),
    };
    gather(&[Tensor { name: "".into(), shape, datatype, is_base64: false, values }], settings)
        .map_err(|invalid| Invalid::new(invalid.detail))
}

/// Whether plain rows are meant: one tensor that is no feature, where all features are numbers.
fn is_rows(tensors: &[Tensor<'_>], features: &[Feature]) -> bool {
    let is_numeric = |feature: &Feature| feature.kind == FeatureKind::Numeric;
    match tensors {
        [tensor] if features.iter().all(is_numeric) => {
            features.iter().all(|feature| feature.name != tensor.name)
        }
        _ => features.is_empty(),
    }
}

/// Reads the one tensor that the model takes, whatever its name.
fn only(
    tensors: &[Tensor<'_>],
    read: impl FnOnce(&Tensor<'_>) -> Result<(), Invalid>,
) -> Result<(), Invalid> {
    match tensors {
        [tensor] => read(tensor).map_err(|invalid| invalid.within("/inputs/0")),
        _ => {
            let detail = format!("the model takes one tensor, {} are given", tensors.len());
            Err(Invalid::at("/inputs", detail))
        }
    }
}

fn push_texts(tensor: &Tensor<'_>, inputs: &mut Inputs) -> Result<(), Invalid> {
    tensor.n_inputs(&[&[], &[1]])?;
    tensor.each_element(|element| push_text(element.text()?, inputs))
}

fn push_images(
    tensor: &Tensor<'_>,
    schema: &ImageSchema,
    inputs: &mut Inputs,
) -> Result<(), Invalid> {
    if tensor.datatype == Datatype::Bytes {
        tensor.n_inputs(&[&[], &[1]])?;
        let budget = Budget::default();
        return tensor.each_element(|element| {
            let file = file(element, tensor.is_base64)?;
            inputs.push(&image::decode_within(&budget, &file, schema)?, &[]);
            Ok(())
        });
    }
    let ImageSchema { width, height, channels, .. } = *schema;
    let n = schema.n_numbers();
    match channels {
        1 => tensor.n_inputs(&[&[height, width, 1], &[height, width], &[n]]),
        _ => tensor.n_inputs(&[&[height, width, channels], &[n]]),
    }?;
    push_chunks(&tensor.numbers(Meaning::Pixel)?, n, inputs);
    Ok(())
}

/// The image file of an element: as it is, or in base64, as which JSON has it always.
fn file<'a>(element: Element<'a>, is_base64: bool) -> Result<Cow<'a, [u8]>, Invalid> {
    match element {
        Element::Bytes(file) if !is_base64 => Ok(file.into()),
        element => match element.text()? {
            Cell::Text(text) => Ok(from_base64(&text)?.into()),
            _ => Err(Invalid::new("is not base64 of an image file")),
        },
    }
}

fn push_rows(tensor: &Tensor<'_>, meaning: Meaning, inputs: &mut Inputs) -> Result<(), Invalid> {
    let n = inputs.n_numeric();
    match n {
        1 => tensor.n_inputs(&[&[1], &[]]),
        _ => tensor.n_inputs(&[&[n]]),
    }?;
    push_chunks(&tensor.numbers(meaning)?, n, inputs);
    Ok(())
}

fn push_chunks(numbers: &[f32], n: usize, inputs: &mut Inputs) {
    numbers.chunks_exact(n).for_each(|input| inputs.push(input, &[]));
}

/// One feature of every input.
enum Column {
    Numbers(Vec<f32>),
    Categories(Vec<Category>),
}

fn push_columns(
    tensors: &[Tensor<'_>],
    features: &[Feature],
    meaning: Meaning,
    inputs: &mut Inputs,
) -> Result<(), Invalid> {
    let mut places = Columns::new(features);
    let mut columns: Vec<Option<Column>> = features.iter().map(|_| None).collect();
    let mut n_inputs = None;
    for (index, tensor) in tensors.iter().enumerate() {
        let at = |invalid: Invalid| invalid.within(&format!("/inputs/{index}"));
        let unknown = || Invalid::at("/name", "the model has no feature of this name");
        let place = places.find(&tensor.name).ok_or_else(unknown).map_err(at)?;
        let n = tensor.n_inputs(&[&[], &[1]]).map_err(at)?;
        if *n_inputs.get_or_insert(n) != n {
            return Err(at(Invalid::at("/shape", "tensors have different numbers of inputs")));
        }
        let column = column(tensor, &features[place], meaning).map_err(at)?;
        if columns[place].replace(column).is_some() {
            return Err(at(Invalid::at("/name", "the feature is given twice")));
        }
    }
    let absent = features.iter().zip(&columns).find(|(_, column)| column.is_none());
    if let Some((feature, _)) = absent {
        let detail = format!("there is no tensor for feature `{}`", feature.name);
        return Err(Invalid::at("/inputs", detail));
    }
    let mut columns: Vec<Column> = columns.into_iter().flatten().collect();
    let (mut numbers, mut categories) = (Vec::new(), Vec::new());
    for index in 0..n_inputs.unwrap_or_default() {
        numbers.clear();
        categories.clear();
        for column in &mut columns {
            match column {
                Column::Numbers(column) => numbers.push(column[index]),
                Column::Categories(column) => categories.push(column[index].take()),
            }
        }
        inputs.push(&numbers, &categories);
    }
    Ok(())
}

fn column(tensor: &Tensor<'_>, feature: &Feature, meaning: Meaning) -> Result<Column, Invalid> {
    match feature.kind {
        FeatureKind::Numeric => tensor.numbers(meaning).map(Column::Numbers),
        FeatureKind::Categorical => {
            let mut categories = Vec::new();
            tensor.each_element(|element| {
                categories.push(category(element.text()?).map_err(Invalid::new)?);
                Ok(())
            })?;
            Ok(Column::Categories(categories))
        }
    }
}
