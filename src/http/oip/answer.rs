//! An answer to a request for inference: JSON that borrows from the version, and the bytes of the
//! outputs that are to come so.

use std::borrow::Cow;

use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize, Serializer};
use utoipa::ToSchema;

use super::super::error::Problem;
use super::super::ranking::best;
use super::binary::{HEADER_LENGTH, push_element};
use super::tensor::Datatype;
use crate::domain::name::ModelName;
use crate::services::serving::Answered;

/// What a version answers with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum OutputName {
    /// The probability of each label that the version knows, in the order that it learnt them.
    Probabilities,
    /// The most probable label.
    Label,
}

impl OutputName {
    /// Its name.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Probabilities => "probabilities",
            Self::Label => "label",
        }
    }
}

/// An output that the answer is to hold.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Wanted {
    pub(super) name: OutputName,
    /// As this many texts instead of numbers.
    pub(super) classes: Option<usize>,
    /// As bytes behind the JSON.
    pub(super) is_binary: bool,
}

impl Wanted {
    /// All outputs.
    pub(super) fn all(is_binary: bool) -> Vec<Self> {
        let whole = |name| Self { name, classes: None, is_binary };
        [OutputName::Probabilities, OutputName::Label].map(whole).to_vec()
    }
}

/// How an answer is to be written.
#[derive(Debug)]
pub(super) struct Plan {
    /// The client's id of the request.
    pub(super) id: Option<String>,
    /// What the answer holds.
    pub(super) outputs: Vec<Wanted>,
}

impl Plan {
    /// How many labels with their probabilities are written of each input, of `n_labels` in all.
    pub(super) fn pairs(&self, n_labels: usize) -> usize {
        let pairs = self.outputs.iter().map(|output| match (output.name, output.classes) {
            (OutputName::Label, _) => 1,
            (OutputName::Probabilities, classes) => classes.unwrap_or(n_labels).min(n_labels),
        });
        pairs.max().unwrap_or(1)
    }
}

/// What one version says about the inputs, in their order.
#[derive(Debug, Serialize, ToSchema)]
pub struct InferAnswer<'a> {
    /// The model.
    #[schema(value_type = String, example = "digits")]
    model_name: &'a ModelName,
    /// The number of the version that answered.
    #[serde(serialize_with = "as_text")]
    #[schema(value_type = String, example = "3")]
    model_version: i32,
    /// The request's id.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    id: Option<&'a str>,
    /// The outputs that were asked for.
    outputs: Vec<OutputTensor<'a>>,
}

/// A tensor of an answer.
#[derive(Debug, Serialize, ToSchema)]
pub struct OutputTensor<'a> {
    /// Its name.
    name: OutputName,
    /// What its elements are.
    datatype: Datatype,
    /// Its dimensions; the first counts inputs.
    shape: Vec<usize>,
    /// More about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    parameters: Option<BinarySize>,
    /// Its elements, row by row, where they are not bytes behind the JSON.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    data: Option<OutputData<'a>>,
}

/// How large a tensor behind the JSON is.
#[derive(Debug, Serialize, ToSchema)]
pub struct BinarySize {
    /// Its bytes.
    binary_data_size: usize,
}

/// The elements of a tensor of an answer.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub enum OutputData<'a> {
    /// Probabilities.
    Numbers(&'a [f32]),
    /// Labels; or, by class, `value:index:label`.
    #[schema(value_type = Vec<String>)]
    Texts(Vec<Cow<'a, str>>),
}

impl OutputData<'_> {
    /// Adds the elements to `bytes`, as tensors are as bytes.
    pub(super) fn push_bytes(&self, bytes: &mut Vec<u8>) {
        match self {
            Self::Numbers(numbers) => {
                bytes.extend(numbers.iter().flat_map(|number| number.to_le_bytes()));
            }
            Self::Texts(texts) => {
                texts.iter().for_each(|text| push_element(text.as_bytes(), bytes));
            }
        }
    }
}

fn as_text<S: Serializer>(number: &i32, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(number)
}

/// The answer as `plan` has it.
pub(super) fn write(
    model: &ModelName,
    answered: &Answered,
    plan: &Plan,
) -> Result<Response, Problem> {
    let mut bytes = Vec::new();
    let outputs = plan.outputs.iter().map(|wanted| output(answered, *wanted, &mut bytes)).collect();
    let answer = InferAnswer {
        model_name: model,
        model_version: answered.version,
        id: plan.id.as_deref(),
        outputs,
    };
    let mut body = serde_json::to_vec(&answer).map_err(Problem::internal)?;
    if !plan.outputs.iter().any(|output| output.is_binary) {
        return Ok(([(header::CONTENT_TYPE, "application/json")], body).into_response());
    }
    let length = HeaderValue::from(body.len());
    body.append(&mut bytes);
    let content_type = HeaderValue::from_static("application/octet-stream");
    Ok(([(header::CONTENT_TYPE, content_type), (HEADER_LENGTH, length)], body).into_response())
}

/// One output; where it comes as bytes, they are added to `bytes`.
fn output<'a>(answered: &'a Answered, wanted: Wanted, bytes: &mut Vec<u8>) -> OutputTensor<'a> {
    let (datatype, shape, data) = elements(answered, wanted);
    let begin = bytes.len();
    let (parameters, data) = match wanted.is_binary {
        false => (None, Some(data)),
        true => {
            data.push_bytes(bytes);
            (Some(BinarySize { binary_data_size: bytes.len() - begin }), None)
        }
    };
    OutputTensor { name: wanted.name, datatype, shape, parameters, data }
}

/// What one output is made of: what its elements are, its dimensions, and the elements.
pub(super) fn elements<'a>(
    answered: &'a Answered,
    wanted: Wanted,
) -> (Datatype, Vec<usize>, OutputData<'a>) {
    let Answered { labels, probabilities, .. } = answered;
    let n_labels = labels.len().max(1);
    let rows = probabilities.chunks_exact(n_labels);
    let n = rows.len();
    match (wanted.name, wanted.classes) {
        (OutputName::Label, _) => {
            let labels = answered.said().map(|(place, _)| labels[place].as_str().into()).collect();
            (Datatype::Bytes, vec![n], OutputData::Texts(labels))
        }
        (OutputName::Probabilities, None) => {
            (Datatype::Fp32, vec![n, labels.len()], OutputData::Numbers(probabilities))
        }
        (OutputName::Probabilities, Some(k)) => {
            let class = |row: &[f32], place: usize| {
                format!("{}:{place}:{}", row[place], labels[place]).into()
            };
            let classes =
                rows.flat_map(|row| best(row, k).into_iter().map(move |at| class(row, at)));
            let shape = vec![n, k.min(labels.len())];
            (Datatype::Bytes, shape, OutputData::Texts(classes.collect()))
        }
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;
    use serde_json::{Value, json};

    use super::*;

    async fn answer(outputs: Vec<Wanted>, id: Option<&str>) -> (Option<usize>, Vec<u8>) {
        let labels = ["a", "ü"].map(str::to_owned);
        let answered = Answered::new(3, labels.to_vec().into(), vec![0.25, 0.75, 0.5, 0.5]);
        let plan = Plan { id: id.map(str::to_owned), outputs };
        let response = write(&ModelName::parse("m").unwrap(), &answered, &plan).unwrap();
        let said = response.headers().get(HEADER_LENGTH);
        let length = said.map(|length| length.to_str().unwrap().parse().unwrap());
        (length, response.into_body().collect().await.unwrap().to_bytes().to_vec())
    }

    #[tokio::test]
    async fn outputs_are_written_as_json() {
        let (length, body) = answer(Wanted::all(false), Some("42")).await;
        assert_eq!(length, None);
        let expected = json!({"model_name": "m", "model_version": "3", "id": "42", "outputs": [
            {"name": "probabilities", "datatype": "FP32", "shape": [2, 2], "data": [0.25, 0.75, 0.5, 0.5]},
            {"name": "label", "datatype": "BYTES", "shape": [2], "data": ["ü", "a"]},
        ]});
        assert_eq!(serde_json::from_slice::<Value>(&body).unwrap(), expected);
        for (k, shape, data) in [
            (1, json!([2, 1]), json!(["0.75:1:ü", "0.5:0:a"])),
            (9, json!([2, 2]), json!(["0.75:1:ü", "0.25:0:a", "0.5:0:a", "0.5:1:ü"])),
        ] {
            let name = OutputName::Probabilities;
            let wanted = Wanted { name, classes: Some(k), is_binary: false };
            let (_, body) = answer(vec![wanted], None).await;
            let expected = json!({"model_name": "m", "model_version": "3", "outputs": [
                {"name": "probabilities", "datatype": "BYTES", "shape": shape, "data": data}]});
            assert_eq!(serde_json::from_slice::<Value>(&body).unwrap(), expected);
        }
    }

    #[tokio::test]
    async fn outputs_are_written_as_bytes_behind_the_json() {
        let (length, body) = answer(Wanted::all(true), None).await;
        let (header, bytes) = body.split_at(length.unwrap());
        let expected = json!({"model_name": "m", "model_version": "3", "outputs": [
            {"name": "probabilities", "datatype": "FP32", "shape": [2, 2],
             "parameters": {"binary_data_size": 16}},
            {"name": "label", "datatype": "BYTES", "shape": [2], "parameters": {"binary_data_size": 11}},
        ]});
        assert_eq!(serde_json::from_slice::<Value>(header).unwrap(), expected);
        let numbers = [0.25_f32, 0.75, 0.5, 0.5].map(f32::to_le_bytes).concat();
        assert_eq!(bytes, [&numbers[..], b"\x02\0\0\0\xc3\xbc\x01\0\0\0a"].concat());
    }
}
