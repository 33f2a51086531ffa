//! A request for inference: its JSON, and the tensors behind it.

use std::borrow::Cow;

use axum::http::HeaderMap;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::super::error::{Problem, ProblemCode};
use super::super::exchange::{Asked, check_pairs};
use super::super::extract::{is_type, parse_object};
use super::super::foreign::expect_json;
use super::answer::{OutputName, Plan, Wanted};
use super::binary::{HEADER_LENGTH, Parts, take_apart};
use super::inputs;
use super::tensor::{Datatype, Tensor, Values};
use crate::domain::Invalid;
use crate::domain::input::Inputs;
use crate::domain::settings::ModelSettings;

/// Tensors to be answered. Members and parameters that are not named here are ignored, and null is as good
/// as nothing.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(example = json!({"inputs": [
    {"name": "input", "shape": [2, 3], "datatype": "FP32", "data": [0.0, 1.0, 0.5, 1.0, 0.0, 0.5]}]}))]
pub struct InferRequest<'a> {
    /// The client's own id; the answer has it, too.
    #[serde(borrow)]
    id: Option<Cow<'a, str>>,
    /// How to answer.
    parameters: Option<RequestParameters>,
    /// The tensors that the model's metadata names: one, whatever its name; or one a named feature.
    /// Numeric datatypes are converted, once each number is one of its datatype's. Named features that
    /// are all numbers may also come as one tensor of rows, in their order.
    #[serde(borrow)]
    inputs: Vec<InputTensor<'a>>,
    /// What the answer is to hold; all, where none is named.
    outputs: Option<Vec<RequestedOutput>>,
}

/// How to answer a request.
#[derive(Debug, Default, Deserialize, ToSchema)]
pub struct RequestParameters {
    /// Whether outputs come as bytes behind the JSON, unless one says otherwise.
    #[schema(default = false)]
    binary_data_output: Option<bool>,
}

/// A tensor of a request.
#[derive(Debug, Deserialize, ToSchema)]
pub struct InputTensor<'a> {
    /// Its name.
    #[serde(borrow)]
    #[schema(example = "input")]
    name: Cow<'a, str>,
    /// Its dimensions; the first counts inputs, 1 to 10,000.
    shape: Vec<usize>,
    /// What its elements are.
    datatype: Datatype,
    /// More about it.
    #[serde(borrow)]
    parameters: Option<TensorParameters<'a>>,
    /// Its elements, flat or nested, row by row; a missing value is null. An image file is in
    /// base64.
    #[serde(borrow)]
    #[schema(value_type = Option<Vec<serde_json::Value>>)]
    data: Option<&'a RawValue>,
}

/// More about a tensor of a request.
#[derive(Debug, Default, Deserialize, ToSchema)]
pub struct TensorParameters<'a> {
    /// Its bytes behind the JSON, where it has no `data`.
    binary_data_size: Option<usize>,
    /// `base64` says that elements of BYTES are image files in base64, also where they come as
    /// bytes.
    #[serde(borrow)]
    content_type: Option<Cow<'a, str>>,
    #[schema(ignore)]
    shared_memory_region: Option<IgnoredAny>,
}

/// An output that the answer is to hold.
#[derive(Debug, Deserialize, ToSchema)]
pub struct RequestedOutput {
    /// Its name.
    pub(super) name: OutputName,
    /// More about it.
    pub(super) parameters: Option<OutputParameters>,
}

/// More about an output that the answer is to hold.
#[derive(Debug, Default, Deserialize, ToSchema)]
pub struct OutputParameters {
    /// Of `probabilities`: as this many texts `value:index:label`, most probable first.
    #[schema(minimum = 1)]
    pub(super) classification: Option<usize>,
    /// Whether it comes as bytes behind the JSON.
    pub(super) binary_data: Option<bool>,
    #[schema(ignore)]
    pub(super) shared_memory_region: Option<IgnoredAny>,
}

/// Refuses a body of another type.
pub(super) fn expect_content_type(headers: &HeaderMap) -> Result<(), Problem> {
    let is_bytes = is_type(headers, "application/octet-stream");
    match (is_bytes, headers.contains_key(HEADER_LENGTH)) {
        (true, true) => Ok(()),
        (true, false) => Err(Problem::new(
            ProblemCode::UnsupportedMediaType,
            "bytes come with Inference-Header-Content-Length, which says how many of them are JSON",
        )),
        _ => expect_json(headers),
    }
}

/// What a body asks a version that knows `n_labels`.
pub(super) fn read(
    headers: &HeaderMap,
    body: &[u8],
    settings: &ModelSettings,
    n_labels: usize,
) -> Result<Asked<Plan>, Problem> {
    let (inputs, plan) = match take_apart(headers, body)? {
        Parts::Raw(bytes) => {
            let outputs = Wanted::all(true);
            (inputs::gather_raw(bytes, settings)?, Plan { id: None, outputs })
        }
        Parts::Json(json, bytes) => {
            let InferRequest { id, parameters, inputs, outputs } = parse_object(json)?;
            let is_binary = parameters.unwrap_or_default().binary_data_output.unwrap_or_default();
            let outputs = wanted(outputs.unwrap_or_default(), is_binary)?;
            let tensors = tensors(inputs, bytes)?;
            let id = id.map(Cow::into_owned);
            (inputs::gather(&tensors, settings)?, Plan { id, outputs })
        }
    };
    asked(inputs, plan, n_labels)
}

/// What inputs and a plan ask a version that knows `n_labels`.
pub(super) fn asked(inputs: Inputs, plan: Plan, n_labels: usize) -> Result<Asked<Plan>, Problem> {
    let pairs = plan.pairs(n_labels);
    check_pairs(inputs.len(), pairs)?;
    Ok(Asked { inputs, pairs, plan, remember: false })
}

/// The tensors of a request, each with its elements: `bytes` are those of the ones that say so, in
/// their order.
fn tensors<'a>(
    inputs: Vec<InputTensor<'a>>,
    mut bytes: &'a [u8],
) -> Result<Vec<Tensor<'a>>, Invalid> {
    let mut tensors = Vec::with_capacity(inputs.len());
    for (index, input) in inputs.into_iter().enumerate() {
        let at = |detail: String| Invalid::at(format!("/inputs/{index}"), detail);
        let InputTensor { name, shape, datatype, parameters, data } = input;
        let parameters = parameters.unwrap_or_default();
        if parameters.shared_memory_region.is_some() {
            return Err(at("shared memory is not taken here".to_owned()));
        }
        let values = match (data, parameters.binary_data_size) {
            (Some(data), None) => Values::Json(data.get()),
            (None, Some(size)) => {
                let Some((tensor, behind)) = bytes.split_at_checked(size) else {
                    let left = bytes.len();
                    return Err(at(format!("binary_data_size is {size}, {left} bytes are left")));
                };
                bytes = behind;
                Values::Binary(tensor)
            }
            (None, None) => {
                return Err(at("there is neither data nor binary_data_size".to_owned()));
            }
            (Some(_), Some(_)) => {
                return Err(at("there are both data and binary_data_size".to_owned()));
            }
        };
        let is_base64 = parameters.content_type.is_some_and(|content| content == "base64");
        tensors.push(Tensor { name, shape, datatype, is_base64, values });
    }
    match bytes.len() {
        0 => Ok(tensors),
        left => Err(Invalid::new(format!("{left} bytes behind the JSON belong to no tensor"))),
    }
}

/// The outputs that are asked for; all, where none is named.
pub(super) fn wanted(
    requested: Vec<RequestedOutput>,
    is_binary: bool,
) -> Result<Vec<Wanted>, Invalid> {
    if requested.is_empty() {
        return Ok(Wanted::all(is_binary));
    }
    let mut outputs: Vec<Wanted> = Vec::new();
    for (index, RequestedOutput { name, parameters }) in requested.into_iter().enumerate() {
        let at =
            |below: &str, detail: &str| Invalid::at(format!("/outputs/{index}{below}"), detail);
        let OutputParameters { classification, binary_data, shared_memory_region } =
            parameters.unwrap_or_default();
        if shared_memory_region.is_some() {
            return Err(at("", "shared memory is not taken here"));
        }
        if outputs.iter().any(|output| output.name == name) {
            return Err(at("/name", "the output is named twice"));
        }
        match (name, classification) {
            (_, Some(0)) => {
                return Err(at("/parameters/classification", "classification is at least 1"));
            }
            (OutputName::Label, Some(_)) => {
                return Err(at("/parameters/classification", "classification is of probabilities"));
            }
            _ => {}
        }
        let is_binary = binary_data.unwrap_or(is_binary);
        outputs.push(Wanted { name, classes: classification, is_binary });
    }
    Ok(outputs)
}

#[cfg(test)]
mod fuzz_tests;
#[cfg(test)]
mod output_tests;
#[cfg(test)]
mod tensor_tests;
