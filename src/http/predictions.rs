//! `…/predict`: what a model's live version, or a given one, says about some inputs.
//!
//! This path is hot: the body's inputs go from their text into packed numbers, and the answer
//! borrows its labels from the version.

use axum::extract::{FromRequest, Request, State};
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::{IntoParams, ToSchema};

use super::HttpState;
use super::batches::{Input, RawFile};
use super::error::{Problem, ProblemCode};
use super::exchange::{
    Asked, Bulk, MAX_INPUTS, MAX_PAIRS, check_count, client_of, exchange, live_version,
};
use super::extract::{
    AliasPath, Body, ModelPath, Path, Query, VersionPath, essence_of, expect_json, parse_object,
};
use super::parse::parse_input;
use super::ranking::{Prediction, rank};
use super::stream;
use super::vectors::{self, Wishes};
use crate::domain::image::Budget;
use crate::domain::input::{ImageSchema, Inputs};
use crate::domain::name::ModelName;
use crate::domain::settings::ModelSettings;
use crate::domain::{Invalid, image};
use crate::services::Context;
use crate::services::serving::{Answered, Chosen, Target};

/// Inputs to be answered.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"inputs": [[0.0, 1.0, 0.5]], "top_k": 3}))]
pub struct PredictRequest<'a> {
    /// 1 to 10,000 inputs: each an array of numbers, an object by feature name, a text, or an
    /// image.
    #[serde(borrow)]
    #[schema(value_type = Vec<Input>, min_items = 1, max_items = 10_000)]
    inputs: Vec<&'a RawValue>,
    /// How many labels to name for each input, by default as many as the query says. At most as
    /// many as the version knows are named; `top_k` times the number of inputs is at most
    /// 1,000,000.
    #[schema(minimum = 1, maximum = 1_000_000)]
    top_k: Option<usize>,
    /// Whether to remember the predictions, by default as the query says: each then has an `id`, for
    /// which its true label may come (`…/feedback`).
    remember: Option<bool>,
}

/// How to predict.
#[derive(Debug, Clone, Copy, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct PredictQuery {
    /// How many labels to name for each input, where the body does not say.
    #[serde(default = "one")]
    #[param(minimum = 1, maximum = 1_000_000, default = 1)]
    pub top_k: usize,
    /// Whether to remember the predictions, where the body does not say.
    #[serde(default)]
    pub remember: bool,
}

fn one() -> usize {
    1
}

/// What one version says about the inputs, in their order.
#[derive(Debug, Serialize, ToSchema)]
pub struct Predictions<'a> {
    /// The model.
    #[schema(value_type = String, example = "digits")]
    model: &'a ModelName,
    /// The version that answered all of them.
    #[schema(example = 3)]
    version: i32,
    /// One for each input.
    predictions: Vec<Prediction<'a>>,
}

/// Predict with the live version.
///
/// A new version takes over between two requests; one answer never mixes two. A model of images
/// also takes one image file as the whole body.
///
/// As `application/x-ndjson` the body is a stream of any length, an input a line, bare or as `{"input": …}`,
/// and so is the answer, a prediction a line, in order. All are one version's. A line is answered before
/// the next must come, and none is read before the answers ahead of it are taken, so read while you send.
/// What is wrong with the first line refuses the request; what is wrong later ends the answer with a line
/// `{"error": …, "index": …}`, a problem and the number of lines answered.
///
/// As `application/vnd.apache.arrow.stream` rows of Arrow's record batches come and go the same way. A model of
/// features takes a column for each, by name: numbers of any type, booleans, or texts, also as a dictionary.
/// One of `dim` takes as many columns of numbers, in their order, or one column of lists; one of texts a
/// column of texts; one of images a column of files, or of lists of pixels. Null is a missing value. A message has up to
/// 16 MiB, dictionaries have as much all together, and nothing is compressed. The answer has the columns `label`,
/// `probability`, `top`, where they are remembered `id`, and `error`, which is null but in a last row that says why
/// there are no more: a problem, as JSON.
#[utoipa::path(post, path = "/v1/models/{model}/predict", operation_id = "predict",
    tag = "predictions", params(ModelPath, PredictQuery),
    request_body(content((PredictRequest<'_> = "application/json"), (String = "application/x-ndjson"),
        (RawFile = "application/vnd.apache.arrow.stream"), (RawFile = "image/*"))),
    responses(
        (status = 200, description = "The predictions.",
         content((Predictions<'_> = "application/json"), (Prediction<'_> = "application/x-ndjson"),
             (RawFile = "application/vnd.apache.arrow.stream"))),
        (status = 409, description = "The model has no version yet."),
    ))]
pub async fn live(
    State(state): State<HttpState>,
    Path(path): Path<ModelPath>,
    Query(query): Query<PredictQuery>,
    request: Request,
) -> Result<Response, Problem> {
    predict(&state, &path.model, &live_version()?, query, request).await
}

/// Predict with a given version.
#[utoipa::path(post, path = "/v1/models/{model}/versions/{n}/predict",
    operation_id = "predictByVersion", tag = "predictions",
    params(VersionPath, PredictQuery),
    request_body(content((PredictRequest<'_> = "application/json"), (String = "application/x-ndjson"),
        (RawFile = "application/vnd.apache.arrow.stream"), (RawFile = "image/*"))),
    responses((status = 200, description = "The predictions.",
         content((Predictions<'_> = "application/json"), (Prediction<'_> = "application/x-ndjson"),
             (RawFile = "application/vnd.apache.arrow.stream")))))]
pub async fn version(
    State(state): State<HttpState>,
    Path(path): Path<VersionPath>,
    Query(query): Query<PredictQuery>,
    request: Request,
) -> Result<Response, Problem> {
    predict(&state, &path.model, &Target::Version(path.n), query, request).await
}

/// Predict with the version that an alias points at.
#[utoipa::path(post, path = "/v1/models/{model}/aliases/{alias}/predict",
    operation_id = "predictByAlias", tag = "predictions",
    params(AliasPath, PredictQuery),
    request_body(content((PredictRequest<'_> = "application/json"), (String = "application/x-ndjson"),
        (RawFile = "application/vnd.apache.arrow.stream"), (RawFile = "image/*"))),
    responses(
        (status = 200, description = "The predictions.",
         content((Predictions<'_> = "application/json"), (Prediction<'_> = "application/x-ndjson"),
             (RawFile = "application/vnd.apache.arrow.stream"))),
        (status = 409, description = "The alias is `live`, and the model has no version yet."),
    ))]
pub async fn alias(
    State(state): State<HttpState>,
    Path(path): Path<AliasPath>,
    Query(query): Query<PredictQuery>,
    request: Request,
) -> Result<Response, Problem> {
    predict(&state, &path.model, &Target::Alias(path.alias), query, request).await
}

async fn predict(
    state: &HttpState,
    model: &ModelName,
    target: &Target,
    query: PredictQuery,
    request: Request,
) -> Result<Response, Problem> {
    // Also where the body says another.
    check_top_k(query.top_k, 1, TOP_K_OF_QUERY)?;
    let (context, headers) = (&state.context, request.headers());
    if let Some(form) = stream::form_of(headers) {
        return stream::answer(form, state, model, target, query, request).await;
    }
    let is_file = is_image(headers);
    match is_file {
        true => expect_images(context, model).await?,
        false => expect_json(headers)?,
    }
    let client = client_of(headers);
    let Body(body) = Body::from_request(request, state).await?;
    let name = model.clone();
    let bulk = if is_file { Bulk::Files(body.len()) } else { Bulk::Json(body.clone()) };
    let read = move |settings: &ModelSettings, _: &Chosen| match settings
        .input
        .image()
        .filter(|_| is_file)
    {
        Some(schema) => read_file(&body, schema, settings, query),
        None => read(&body, settings, query),
    };
    let write = move |answered: &Answered, top_k: usize| {
        let json = write(&name, answered, top_k)?;
        Ok(([(header::CONTENT_TYPE, "application/json")], json).into_response())
    };
    let told = exchange(context, model, target, client, bulk, read, write).await?;
    Ok(told.into_response())
}

/// Whether the body is an image file; of which kind, its first bytes tell.
fn is_image(headers: &HeaderMap) -> bool {
    essence_of(headers).to_ascii_lowercase().starts_with("image/")
}

/// Refuses a file where the model takes something else, also before it has a version.
async fn expect_images(context: &Context, model: &ModelName) -> Result<(), Problem> {
    let route = context.serving.route(context, model).await?;
    match route.model.settings.input.image() {
        Some(_) => Ok(()),
        None => {
            let detail = "the model takes no images: send its inputs as application/json";
            Err(Problem::new(ProblemCode::UnsupportedMediaType, detail))
        }
    }
}

/// What a body asks; `query` says what it leaves open.
fn read(
    body: &[u8],
    settings: &ModelSettings,
    query: PredictQuery,
) -> Result<Asked<usize>, Problem> {
    let mut inputs = Inputs::new(&settings.input);
    let is_vector = settings.input.is_vector();
    let plain = is_vector.then(|| vectors::read(body, MAX_INPUTS, &mut inputs)).flatten();
    let wishes = match plain {
        Some(wishes) => wishes,
        None => {
            inputs.clear();
            read_any(body, settings, &mut inputs)?
        }
    };
    let (top_k, said_at) = match wishes.top_k {
        Some(top_k) => (top_k, "/top_k"),
        None => (query.top_k, TOP_K_OF_QUERY),
    };
    check_top_k(top_k, inputs.len(), said_at)?;
    let remember = wishes.remember.unwrap_or(query.remember);
    Ok(Asked { inputs, pairs: top_k, plan: top_k, remember })
}

/// Reads the inputs of whatever body into `inputs`.
fn read_any(body: &[u8], settings: &ModelSettings, inputs: &mut Inputs) -> Result<Wishes, Problem> {
    let PredictRequest { inputs: given, top_k, remember } = parse_object(body)?;
    check_count(given.len()).map_err(|error| error.within("/inputs"))?;
    let budget = Budget::default();
    for (index, input) in given.into_iter().enumerate() {
        parse_input(input, &settings.input, settings.learning.missing, &budget, inputs)
            .map_err(|error| error.within(&format!("/inputs/{index}")))?;
    }
    Ok(Wishes { top_k, remember })
}

/// Where the query's `top_k` is, for refusals.
const TOP_K_OF_QUERY: &str = "/query/top_k";

fn check_top_k(top_k: usize, n_inputs: usize, said_at: &str) -> Result<(), Invalid> {
    if top_k < 1 || n_inputs.saturating_mul(top_k) > MAX_PAIRS {
        let detail = format!("top_k is at least 1, and top_k times inputs at most {MAX_PAIRS}");
        return Err(Invalid::at(said_at, detail));
    }
    Ok(())
}

/// The input that a body of one image file is.
fn read_file(
    file: &[u8],
    schema: &ImageSchema,
    settings: &ModelSettings,
    PredictQuery { top_k, remember }: PredictQuery,
) -> Result<Asked<usize>, Problem> {
    let mut inputs = Inputs::new(&settings.input);
    inputs.push(&image::decode(file, schema)?, &[]);
    Ok(Asked { inputs, pairs: top_k, plan: top_k, remember })
}

/// The answer as JSON.
fn write(model: &ModelName, answered: &Answered, top_k: usize) -> Result<Vec<u8>, Problem> {
    let predictions = rank(answered, top_k)?;
    let answer = Predictions { model, version: answered.version, predictions };
    serde_json::to_vec(&answer).map_err(Problem::internal)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::domain::input::{InputSchema, TabularSchema};

    fn read(body: &str) -> Result<Asked<usize>, (u16, String)> {
        let vector = TabularSchema { dim: Some(2), features: None };
        let settings = ModelSettings::new(InputSchema::Tabular(vector));
        let query = PredictQuery { top_k: 1, remember: false };
        super::read(body.as_bytes(), &settings, query).map_err(|problem| {
            let pointer = problem.errors().first().map(|error| error.pointer.clone());
            (problem.code().status().as_u16(), pointer.unwrap_or_default())
        })
    }

    #[test]
    fn inputs_are_read_in_order() {
        let asked = read(r#"{"inputs": [[0, 1.5], [2, 3]]}"#).unwrap();
        assert_eq!((asked.inputs.all_numbers(), asked.plan), (&[0.0, 1.5, 2.0, 3.0][..], 1));
        assert!(!asked.remember);
        assert!(read(r#"{"inputs": [[0, 1]], "remember": true}"#).unwrap().remember);
    }

    #[test]
    fn one_bad_input_refuses_the_request_with_its_pointer() {
        for (body, status, at) in [
            (r#"{"inputs": [[0, 1], [2, 3], [4, 5], [6]]}"#, 422, "/inputs/3"),
            (r#"{"inputs": [[0, 1], [2, "x"]]}"#, 422, "/inputs/1/1"),
            (r#"{"inputs": []}"#, 422, "/inputs"),
            (r#"{"inputs": 7}"#, 422, "/inputs"),
            (r#"{"inputs": [[0, 1]], "top_k": 0}"#, 422, "/top_k"),
            (r#"{"inputs": [[0, 1]], "top_k": -1}"#, 422, "/top_k"),
            (r#"{"inputs": [[0, 1]], "top_k": 1000001}"#, 422, "/top_k"),
            (r#"{"inputs": [[0, 1]], "remember": 1}"#, 422, "/remember"),
            (r#"{"top_k": 1}"#, 422, ""),
            (r#"{"inputs": [[0, 1]"#, 400, ""),
            (r#"{"inputs": [[0, NaN]]}"#, 400, ""),
        ] {
            assert_eq!(read(body).err(), Some((status, at.to_owned())), "{body}");
        }
        let many = format!(r#"{{"inputs": [{}[0, 1]]}}"#, "[0, 1],".repeat(MAX_INPUTS));
        assert_eq!(read(&many).err().unwrap().1, "/inputs");
    }

    #[test]
    fn an_answer_names_the_best_labels_best_first() {
        let labels = ["a", "b", "c"].map(str::to_owned);
        let answered =
            Answered::new(3, labels.to_vec().into(), vec![0.25, 0.5, 0.25, 0.75, 0.0, 0.25]);
        let model = ModelName::parse("m").unwrap();
        let json = |top_k| -> serde_json::Value {
            serde_json::from_slice(&write(&model, &answered, top_k).unwrap()).unwrap()
        };
        let expected = json!({"model": "m", "version": 3, "predictions": [
            {"label": "b", "probability": 0.5, "top": [
                {"label": "b", "probability": 0.5}, {"label": "a", "probability": 0.25}]},
            {"label": "a", "probability": 0.75, "top": [
                {"label": "a", "probability": 0.75}, {"label": "c", "probability": 0.25}]},
        ]});
        assert_eq!(json(2), expected);
        assert_eq!(json(1)["predictions"][0]["top"].as_array().unwrap().len(), 1);
        assert_eq!(json(99)["predictions"][0]["top"].as_array().unwrap().len(), 3);
    }
}
