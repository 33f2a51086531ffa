//! `…:predict`: what a version says about instances, as TensorFlow Serving's clients ask.
//!
//! The router knows no verb behind a parameter: these paths reach the routes of the names that they
//! begin with, to which nothing else is POSTed, and the verb is taken off here.

use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::{OpenApi, ToSchema};
use utoipa_axum::router::OpenApiRouter;

use super::HttpState;
use super::batches::Input;
use super::error::Problem;
use super::exchange::{Asked, Bulk, check_count, check_pairs, client_of, exchange, live_version};
use super::extract::{AliasPath, Body, ModelPath, Path, VersionPath, parse_object};
use super::foreign::{PREDICT, expect_json};
use super::parse::parse_input;
use crate::domain::Invalid;
use crate::domain::image::Budget;
use crate::domain::input::{InputSchema, Inputs};
use crate::domain::name::{AliasName, ModelName};
use crate::domain::settings::ModelSettings;
use crate::services::Context;
use crate::services::serving::{Answered, Chosen, Target};

/// Routes of names that a verb may stand behind, and that other methods have, too.
const MODEL: &str = "/v1/models/{model}";
const VERSION: &str = "/v1/models/{model}/versions/{n}";
/// And one that no other has.
const LABEL: &str = "/v1/models/{model}/labels/{alias}";
/// All of them: however the verb is written, nothing else is POSTed there.
pub(super) const ROUTES: [&str; 3] = [MODEL, VERSION, LABEL];

/// Instances to be answered.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"instances": [[0.0, 1.0, 0.5]]}))]
pub struct InstancesRequest<'a> {
    /// 1 to 10,000 inputs as in `inputs` of `…/predict`; an image file may also be
    /// `{"b64": "…"}`.
    #[serde(borrow)]
    #[schema(value_type = Vec<Input>, min_items = 1, max_items = 10_000)]
    instances: Vec<&'a RawValue>,
    /// There is one signature, `serving_default`.
    #[serde(default)]
    #[schema(required = false)]
    signature_name: Signature,
}

/// What may be asked of a version.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Signature {
    /// Labels and their probabilities.
    #[default]
    ServingDefault,
}

/// What one version says about the instances, in their order.
#[derive(Debug, Serialize, ToSchema)]
pub struct InstancesAnswer<'a> {
    /// One for each instance.
    predictions: Vec<InstancePrediction<'a>>,
}

/// What a version says about one instance.
#[derive(Debug, Serialize, ToSchema)]
pub struct InstancePrediction<'a> {
    /// The most probable label.
    #[schema(example = "7")]
    label: &'a str,
    /// The probability of each label that the version knows, in the order that it learnt them.
    #[schema(example = json!([0.02, 0.98]))]
    probabilities: &'a [f32],
}

/// The routes, and what the document says of them, which is by their whole paths.
pub(super) fn routes() -> OpenApiRouter<HttpState> {
    #[derive(OpenApi)]
    #[openapi(paths(live, version, label))]
    struct Documented;

    OpenApiRouter::with_openapi(Documented::openapi())
        .route(MODEL, post(live))
        .route(VERSION, post(version))
        .route(LABEL, post(label))
}

/// Predict with the live version, as TensorFlow Serving does.
#[utoipa::path(post, path = "/v1/models/{model}:predict", operation_id = "predictInstances",
    tag = "inference", params(ModelPath), request_body = InstancesRequest<'_>,
    responses((status = 200, description = "The predictions.", body = InstancesAnswer<'_>)))]
pub async fn live(
    State(context): State<Context>,
    Path(model): Path<String>,
    headers: HeaderMap,
    Body(body): Body,
) -> Response {
    let Some(model) = model.strip_suffix(PREDICT) else {
        return unknown_method("GET, HEAD, PATCH, DELETE");
    };
    let target = || Ok(live_version()?);
    predict(&context, named(model), target, &headers, body).await.into_response()
}

/// Predict with a given version, as TensorFlow Serving does.
#[utoipa::path(post, path = "/v1/models/{model}/versions/{n}:predict",
    operation_id = "predictInstancesByVersion", tag = "inference",
    params(VersionPath), request_body = InstancesRequest<'_>,
    responses((status = 200, description = "The predictions.", body = InstancesAnswer<'_>)))]
pub async fn version(
    State(context): State<Context>,
    Path((model, n)): Path<(String, String)>,
    headers: HeaderMap,
    Body(body): Body,
) -> Response {
    let Some(n) = n.strip_suffix(PREDICT) else { return unknown_method("GET, HEAD") };
    let target = || n.parse().map(Target::Version).map_err(|_| nothing_here());
    predict(&context, named(&model), target, &headers, body).await.into_response()
}

/// Predict with the version that an alias points at, as TensorFlow Serving does.
#[utoipa::path(post, path = "/v1/models/{model}/labels/{alias}:predict",
    operation_id = "predictInstancesByAlias", tag = "inference",
    params(AliasPath), request_body = InstancesRequest<'_>,
    responses((status = 200, description = "The predictions.", body = InstancesAnswer<'_>)))]
pub async fn label(
    State(context): State<Context>,
    Path((model, alias)): Path<(String, String)>,
    headers: HeaderMap,
    Body(body): Body,
) -> Response {
    let Some(alias) = alias.strip_suffix(PREDICT) else { return nothing_here().into_response() };
    let target = || AliasName::parse(alias).map(Target::Alias).map_err(|_| nothing_here());
    predict(&context, named(&model), target, &headers, body).await.into_response()
}

/// The refusal of any method but POST where a verb stands behind a name: such a method is of the name's route,
/// which would take the verb for a part of the name.
pub(super) fn refuse_method(request: &Request) -> Option<Response> {
    if request.method() == Method::POST || !request.uri().path().ends_with(PREDICT) {
        return None;
    }
    let route = request.extensions().get::<MatchedPath>()?.as_str();
    [MODEL, VERSION].contains(&route).then(|| unknown_method("POST"))
}

/// As if the method were none of the route's.
fn unknown_method(allowed: &'static str) -> Response {
    let problem = Problem::of_status(StatusCode::METHOD_NOT_ALLOWED);
    ([(header::ALLOW, allowed)], problem).into_response()
}

fn nothing_here() -> Problem {
    Problem::of_status(StatusCode::NOT_FOUND)
}

fn named(model: &str) -> Result<ModelName, Problem> {
    ModelName::parse(model).map_err(|_| nothing_here())
}

async fn predict(
    context: &Context,
    model: Result<ModelName, Problem>,
    target: impl FnOnce() -> Result<Target, Problem>,
    headers: &HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    let (model, target) = (model?, target()?);
    expect_json(headers)?;
    let (client, bulk) = (client_of(headers), Bulk::Json(body.clone()));
    let read = move |settings: &ModelSettings, chosen: &Chosen| {
        let inputs = read(&body, settings)?;
        let pairs = chosen.labels.len();
        check_pairs(inputs.len(), pairs)?;
        Ok(Asked { inputs, pairs, plan: (), remember: false })
    };
    let write = |answered: &Answered, ()| {
        let json = serde_json::to_vec(&render(answered)).map_err(Problem::internal)?;
        Ok(([(header::CONTENT_TYPE, "application/json")], json).into_response())
    };
    let told = exchange(context, &model, &target, client, bulk, read, write).await?;
    Ok(told.into_response())
}

fn read(body: &[u8], settings: &ModelSettings) -> Result<Inputs, Problem> {
    let InstancesRequest { instances, signature_name: Signature::ServingDefault } =
        parse_object(body)?;
    check_count(instances.len()).map_err(|invalid| invalid.within("/instances"))?;
    let (mut inputs, budget) = (Inputs::new(&settings.input), Budget::default());
    for (index, instance) in instances.into_iter().enumerate() {
        push(instance, settings, &budget, &mut inputs)
            .map_err(|invalid| invalid.within(&format!("/instances/{index}")))?;
    }
    Ok(inputs)
}

fn push(
    instance: &RawValue,
    settings: &ModelSettings,
    budget: &Budget,
    inputs: &mut Inputs,
) -> Result<(), Invalid> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct File<'a> {
        #[serde(borrow)]
        b64: &'a RawValue,
    }

    let instance = match settings.input {
        InputSchema::Image(_) => {
            serde_json::from_str(instance.get()).map_or(instance, |File { b64 }| b64)
        }
        _ => instance,
    };
    parse_input(instance, &settings.input, settings.learning.missing, budget, inputs)
}

fn render(answered: &Answered) -> InstancesAnswer<'_> {
    let Answered { labels, probabilities, .. } = answered;
    let rows = probabilities.chunks_exact(labels.len().max(1));
    let prediction = |((place, _), probabilities): ((usize, f32), _)| InstancePrediction {
        label: &labels[place],
        probabilities,
    };
    InstancesAnswer { predictions: answered.said().zip(rows).map(prediction).collect() }
}
