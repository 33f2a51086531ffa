//! What a version says about the tensors of a message: as bytes where they came so, else in fields by type.

use std::borrow::Cow;

use axum::http::HeaderValue;
use bytes::Bytes;
use prost::Message;
use serde::Deserialize;
use serde::de::value::Error;
use serde::de::{IgnoredAny, IntoDeserializer};

use super::super::super::error::Problem;
use super::super::super::exchange::{Asked, Bulk, Told, exchange};
use super::super::super::extract::shortened;
use super::super::answer::{Plan, elements};
use super::super::inputs;
use super::super::request::{OutputParameters, RequestedOutput, asked, wanted};
use super::super::tensor::{Datatype, Tensor, Values};
use super::proto::infer_parameter::ParameterChoice;
use super::proto::model_infer_request::{InferInputTensor, InferRequestedOutputTensor};
use super::proto::model_infer_response::InferOutputTensor;
use super::proto::{InferTensorContents, ModelInferRequest, ModelInferResponse};
use super::{contents, target};
use crate::domain::Invalid;
use crate::domain::name::ModelName;
use crate::domain::settings::ModelSettings;
use crate::services::Context;
use crate::services::serving::{Answered, Chosen};

/// Has the version that a message names, or the live one, answer it.
pub(super) async fn answer(
    context: &Context,
    model: ModelName,
    client: Option<HeaderValue>,
    message: ModelInferRequest,
) -> Result<Told<ModelInferResponse>, Problem> {
    let target = target(&message.model_version)?;
    let (name, n_bytes) = (model.clone(), message.encoded_len());
    let is_bytes = |input: &InferInputTensor| input.datatype == Datatype::Bytes.as_str();
    let bulk = match message.inputs.iter().any(is_bytes) {
        true => Bulk::Files(n_bytes),
        false => Bulk::Numbers(n_bytes),
    };
    let read = move |settings: &ModelSettings, chosen: &Chosen| {
        read(message, settings, chosen.labels.len())
    };
    let write = move |answered: &Answered, plan: Plan| Ok(write(&name, answered, plan));
    exchange(context, &model, &target, client, bulk, read, write).await
}

/// What a message asks a version that knows `n_labels`.
fn read(
    message: ModelInferRequest,
    settings: &ModelSettings,
    n_labels: usize,
) -> Result<Asked<Plan>, Problem> {
    let ModelInferRequest { id, inputs, outputs, raw_input_contents: raw, .. } = message;
    let outputs = outputs.into_iter().enumerate().map(|(index, output)| {
        requested(output).map_err(|invalid| invalid.within(&format!("/outputs/{index}")))
    });
    let outputs = wanted(outputs.collect::<Result<_, _>>()?, !raw.is_empty())?;
    if !raw.is_empty() && raw.len() != inputs.len() {
        let detail = format!("{} are given for {} tensors", raw.len(), inputs.len());
        return Err(Invalid::at("/raw_input_contents", detail).into());
    }
    let given = inputs.iter().enumerate().map(|(index, input)| {
        let given = Given::read(input, raw.get(index));
        given.map_err(|invalid| invalid.within(&format!("/inputs/{index}")))
    });
    let given = given.collect::<Result<Vec<_>, _>>()?;
    let tensors: Vec<Tensor<'_>> = given.iter().map(Given::tensor).collect();
    let id = Some(id).filter(|id| !id.is_empty());
    asked(inputs::gather(&tensors, settings)?, Plan { id, outputs }, n_labels)
}

/// A tensor, with its elements as bytes.
struct Given<'a> {
    name: &'a str,
    shape: Vec<usize>,
    datatype: Datatype,
    is_base64: bool,
    bytes: Cow<'a, [u8]>,
}

impl<'a> Given<'a> {
    fn read(input: &'a InferInputTensor, raw: Option<&'a Bytes>) -> Result<Self, Invalid> {
        let InferInputTensor { name, datatype, shape, parameters, contents } = input;
        if parameters.contains_key(SHARED_MEMORY) {
            return Err(Invalid::new("shared memory is not taken here"));
        }
        let datatype = word(datatype).map_err(|invalid| invalid.within("/datatype"))?;
        let shape = shape.iter().map(|&side| usize::try_from(side)).collect::<Result<Vec<_>, _>>();
        let shape = shape.map_err(|_| Invalid::at("/shape", "a dimension is not below 0"))?;
        // There are clients that leave it there, with nothing in it.
        let is_left = |contents: &&InferTensorContents| {
            raw.is_some() && **contents == InferTensorContents::default()
        };
        let bytes = match (raw, contents.as_ref().filter(|contents| !is_left(contents))) {
            (Some(raw), None) => Cow::Borrowed(&raw[..]),
            (None, Some(contents)) => contents::pack(contents, datatype, &shape)?.into(),
            (Some(_), Some(_)) => {
                let detail = "there are both contents and raw_input_contents";
                return Err(Invalid::at("/contents", detail));
            }
            (None, None) => {
                let detail = "there are neither contents nor raw_input_contents";
                return Err(Invalid::at("/contents", detail));
            }
        };
        let content_type = parameters.get("content_type");
        let is_base64 = content_type.is_some_and(|said| {
            matches!(&said.parameter_choice, Some(ParameterChoice::StringParam(text)) if text == "base64")
        });
        Ok(Self { name, shape, datatype, is_base64, bytes })
    }

    fn tensor(&self) -> Tensor<'_> {
        Tensor {
            name: self.name.into(),
            shape: self.shape.clone(),
            datatype: self.datatype,
            is_base64: self.is_base64,
            values: Values::Binary(&self.bytes),
        }
    }
}

/// The parameter by which a client says that elements are elsewhere.
const SHARED_MEMORY: &str = "shared_memory_region";

fn requested(output: InferRequestedOutputTensor) -> Result<RequestedOutput, Invalid> {
    let InferRequestedOutputTensor { name, parameters } = output;
    let name = word(&name).map_err(|invalid| invalid.within("/name"))?;
    let classification = parameters.get("classification").map(|parameter| {
        let number = match parameter.parameter_choice {
            Some(ParameterChoice::Int64Param(number)) => usize::try_from(number).ok(),
            Some(ParameterChoice::Uint64Param(number)) => usize::try_from(number).ok(),
            _ => None,
        };
        let detail = "classification is a number, at least 1";
        number.ok_or_else(|| Invalid::at("/parameters/classification", detail))
    });
    let parameters = OutputParameters {
        classification: classification.transpose()?,
        binary_data: None,
        shared_memory_region: parameters.contains_key(SHARED_MEMORY).then_some(IgnoredAny),
    };
    Ok(RequestedOutput { name, parameters: Some(parameters) })
}

/// One of a few words, refused as JSON's would be.
fn word<'a, T: Deserialize<'a>>(word: &'a str) -> Result<T, Invalid> {
    let read: Result<T, Error> = T::deserialize(word.into_deserializer());
    read.map_err(|error| Invalid::new(shortened(error.to_string())))
}

/// The answer as `plan` has it.
fn write(model: &ModelName, answered: &Answered, plan: Plan) -> ModelInferResponse {
    let mut raw_output_contents = Vec::new();
    let outputs = plan.outputs.iter().map(|wanted| {
        let (datatype, shape, data) = elements(answered, *wanted);
        let contents = match wanted.is_binary {
            false => Some(contents::unpacked(data)),
            true => {
                let mut bytes = Vec::new();
                data.push_bytes(&mut bytes);
                raw_output_contents.push(bytes.into());
                None
            }
        };
        InferOutputTensor {
            name: wanted.name.as_str().to_owned(),
            datatype: datatype.as_str().to_owned(),
            shape: shape.into_iter().map(|side| side as i64).collect(),
            contents,
        }
    });
    ModelInferResponse {
        model_name: model.to_string(),
        model_version: answered.version.to_string(),
        id: plan.id.clone().unwrap_or_default(),
        outputs: outputs.collect(),
        raw_output_contents,
    }
}
