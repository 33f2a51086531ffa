//! A model's versions, their checkpoints, and the aliases that point at them.

use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use utoipa::ToSchema;
use uuid::Uuid;

use super::batches::RawFile;
use super::error::Problem;
use super::etag;
use super::extract::{AliasPath, Body, Json, ModelPath, Path, Query, VersionPath, expect_type};
use super::page::{Page, PageQuery, PageRequest};
use crate::domain::evaluation::{Evaluation, GateDecision};
use crate::domain::live::{LiveFigures, RolledBack};
use crate::domain::name::{AliasName, ModelName};
use crate::domain::version::{Canary, Origin, Pointing, VersionStatus};
use crate::services::aliases::{self, AliasView};
use crate::services::registry::{self, VersionView};
use crate::services::{self, Context};

/// A version of a model: the immutable result of an update.
#[derive(Debug, Serialize, ToSchema)]
pub struct Version {
    /// Its number: counted from 1, never given twice.
    #[schema(example = 3)]
    version: i32,
    /// The version that it was trained from.
    #[schema(required = true)]
    parent: Option<i32>,
    /// Whether the gate let it through.
    status: VersionStatus,
    /// When it was made.
    #[serde(with = "time::serde::rfc3339")]
    created_at: OffsetDateTime,
    /// Where it comes from.
    origin: Origin,
    /// The update that made it; null where none did.
    #[schema(required = true)]
    update: Option<Uuid>,
    /// Its file.
    checkpoint: Checkpoint,
    /// The labels that it knows.
    labels: Vec<String>,
    /// Its figures on held-out samples.
    evaluation: Evaluation,
    /// The gate's decision, with the reasons.
    gate: GateDecision,
    /// The aliases that point at it.
    #[schema(value_type = Vec<String>)]
    aliases: Vec<AliasName>,
    /// Its figures on remembered predictions whose labels came; null in lists, and while there is none.
    #[schema(required = true)]
    live: Option<LiveFigures>,
}

/// A version's file.
#[derive(Debug, Serialize, ToSchema)]
pub struct Checkpoint {
    /// Where to download it, relative to this service.
    #[schema(example = "/v1/models/digits/versions/3/checkpoint")]
    uri: String,
    /// Its length.
    bytes: i64,
    /// SHA-256 of its bytes, in hex.
    sha256: String,
}

fn render(model: &ModelName, view: VersionView) -> Version {
    let VersionView { version, aliases, live } = view;
    let uri = format!("/v1/models/{model}/versions/{}/checkpoint", version.version);
    let checkpoint =
        Checkpoint { uri, bytes: version.checkpoint.bytes, sha256: version.checkpoint.sha256 };
    Version {
        version: version.version,
        parent: version.parent,
        status: version.status,
        created_at: version.created_at,
        origin: version.origin,
        update: version.update_id,
        checkpoint,
        labels: version.labels,
        evaluation: version.evaluation,
        gate: version.gate,
        aliases,
        live,
    }
}

/// A movable name of a version.
#[derive(Debug, Serialize, ToSchema)]
pub struct Alias {
    /// The name; `live` is the one that predictions use.
    #[schema(value_type = String, example = "live")]
    alias: AliasName,
    /// The version that it points at.
    #[schema(example = 3)]
    version: i32,
    /// The version that answers some clients instead.
    #[schema(required = true)]
    canary: Option<Canary>,
    /// The version that is asked the same, and answers nobody.
    #[schema(required = true)]
    shadow: Option<Shadow>,
    /// The version that it pointed at before; null where there is none to return to.
    #[schema(required = true, example = 2)]
    previous: Option<i32>,
    /// Why it returned by itself (`gate.rollback`), where that was the last that happened to it.
    #[schema(required = true)]
    rolled_back: Option<RolledBack>,
    /// When it was last moved.
    #[serde(with = "time::serde::rfc3339")]
    updated_at: OffsetDateTime,
}

/// A version that is asked what an alias is asked.
#[derive(Debug, Serialize, ToSchema)]
pub struct Shadow {
    /// Its number.
    #[schema(example = 9)]
    version: i32,
    /// Inputs that it was asked, by this process since it began.
    compared: u64,
    /// The share of these of which it said the same label as was answered; null while there is none.
    #[schema(required = true, minimum = 0, maximum = 1)]
    agreement: Option<f64>,
}

impl From<AliasView> for Alias {
    fn from(AliasView { alias, agreement }: AliasView) -> Self {
        let Pointing { version, canary, shadow } = alias.pointing;
        let shadow = shadow.zip(agreement).map(|(version, agreement)| Shadow {
            version,
            compared: agreement.compared,
            agreement: (agreement.compared > 0)
                .then(|| agreement.agreed as f64 / agreement.compared as f64),
        });
        Self {
            alias: alias.alias,
            version,
            canary,
            shadow,
            previous: alias.previous,
            rolled_back: alias.rolled_back,
            updated_at: alias.updated_at,
        }
    }
}

/// Where an alias is to point.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AliasTarget {
    /// The version's number.
    #[schema(minimum = 1, example = 3)]
    version: i32,
    /// A version that answers a share of the clients instead; left out: none does. A client is told by its
    /// `X-Client-Id`, else by its `Authorization`, and always answered by the same of the two; without
    /// either, requests are drawn by chance. A new version that becomes `live` ends its canary.
    canary: Option<Canary>,
    /// A version that is asked the same afterwards, and answers nobody; left out: none is. What it is too far
    /// behind with is passed over.
    #[schema(minimum = 1, example = 9)]
    shadow: Option<i32>,
}

/// A model's aliases, by name.
#[derive(Debug, Serialize, ToSchema)]
pub struct Aliases {
    /// All of them.
    items: Vec<Alias>,
    /// Always null: a model's aliases are one page.
    #[schema(value_type = Option<String>, required = true)]
    next_cursor: (),
}

/// List a model's versions, newest first.
#[utoipa::path(get, path = "/v1/models/{model}/versions", operation_id = "listVersions",
    tag = "versions", params(ModelPath, PageQuery),
    responses((status = 200, description = "A page of versions.", body = Page<Version>)))]
pub async fn list(
    State(context): State<Context>,
    Path(path): Path<ModelPath>,
    Query(query): Query<PageQuery>,
) -> Result<axum::Json<Page<Version>>, Problem> {
    let request = PageRequest::<i32>::try_from(&query)?;
    let (after, n_rows) = (request.after, request.n_rows());
    let views = registry::list_versions(&context, &path.model, after, n_rows).await?;
    let page = request.page(views, |view| view.version.version, |view| render(&path.model, view));
    Ok(axum::Json(page))
}

/// Read a version.
#[utoipa::path(get, path = "/v1/models/{model}/versions/{n}", operation_id = "getVersion",
    tag = "versions",
    params(VersionPath,
        ("If-None-Match" = Option<String>, Header, description = "The ETag of a copy that is there already.")),
    responses(
        (status = 200, description = "The version.", body = Version,
         headers(("ETag" = String, description = "Another one whenever anything of the version is another."))),
        (status = 304, description = "The copy is still right."),
    ))]
pub async fn get(
    State(context): State<Context>,
    Path(path): Path<VersionPath>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let view = registry::get_version(&context, &path.model, path.n).await?;
    etag::tagged(&headers, &render(&path.model, view))
}

/// Begin a model with weights that were trained elsewhere.
///
/// The body is a safetensors file as PyTorch's names and layouts have it: of `nn.Linear`, `nn.Conv2d` of
/// 3 × 3 (`padding=1, padding_mode="replicate"`) and `nn.GroupNorm` (groups of at most 8 channels), in the
/// order of the model's network, `NAME.weight` and `NAME.bias` in 32 bits. Its metadata holds `manifest`,
/// JSON with `labels` in the order of the head's outputs, `mean` and `deviation` of each number (of each
/// channel of an image) that inputs are normalised by, and where names are not ascending numbers `layers`,
/// their names in order; `samples` may say how many samples the statistics are of (10,000). It becomes
/// version 1, of origin `imported`.
#[utoipa::path(put, path = "/v1/models/{model}/versions/import", operation_id = "importVersion",
    tag = "versions", params(ModelPath),
    request_body(description = "The file.", content((RawFile = "application/octet-stream"))),
    responses(
        (status = 201, description = "The version.", body = Version,
         headers(("Location" = String, description = "Where the version is."))),
        (status = 409, description = "The model has versions already."),
    ))]
pub async fn import(
    State(context): State<Context>,
    Path(path): Path<ModelPath>,
    headers: HeaderMap,
    Body(file): Body,
) -> Result<(StatusCode, [(HeaderName, String); 1], axum::Json<Version>), Problem> {
    expect_type(&headers, "application/octet-stream")?;
    let view = services::import::import(&context, &path.model, file).await?;
    let location = format!("/v1/models/{}/versions/{}", path.model, view.version.version);
    let version = render(&path.model, view);
    Ok((StatusCode::CREATED, [(header::LOCATION, location)], axum::Json(version)))
}

/// Download a version's checkpoint, a safetensors file.
///
/// 500 with code `version_damaged` when the file is missing or not the one that was written.
#[utoipa::path(get, path = "/v1/models/{model}/versions/{n}/checkpoint",
    operation_id = "downloadCheckpoint", tag = "versions",
    params(VersionPath,
        ("If-None-Match" = Option<String>, Header, description = "The ETag of a copy that is there already.")),
    responses(
        (status = 200, description = "The file.", body = RawFile,
         content_type = "application/octet-stream",
         headers(("ETag" = String, description = "SHA-256 of the file, in hex and quotes."),
                 ("Content-Disposition" = String, description = "Names the file."))),
        (status = 304, description = "The copy is still right."),
    ))]
pub async fn checkpoint(
    State(context): State<Context>,
    Path(VersionPath { model, n }): Path<VersionPath>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    // Another model may take this name one day, with versions of the same numbers.
    let ask_again = [(header::CACHE_CONTROL, "no-cache")];
    // A client that has a copy costs no read of the file.
    if headers.contains_key(header::IF_NONE_MATCH) {
        let version = registry::get_version(&context, &model, n).await?.version;
        if let Some(same) = etag::unless_known(&headers, &version.checkpoint.sha256) {
            return Ok((ask_again, same).into_response());
        }
    }
    let (checkpoint, file) = registry::checkpoint(&context, &model, n).await?;
    let headers = [
        (header::CONTENT_TYPE, "application/octet-stream".to_owned()),
        (header::ETAG, etag::tag(&checkpoint.sha256)),
        (header::CONTENT_DISPOSITION, format!("attachment; filename=\"{model}-v{n}.safetensors\"")),
    ];
    Ok((ask_again, headers, file).into_response())
}

/// List a model's aliases, by name.
#[utoipa::path(get, path = "/v1/models/{model}/aliases", operation_id = "listAliases",
    tag = "versions", params(ModelPath),
    responses((status = 200, description = "The aliases.", body = Aliases)))]
pub async fn list_aliases(
    State(context): State<Context>,
    Path(path): Path<ModelPath>,
) -> Result<axum::Json<Aliases>, Problem> {
    let listed = aliases::list(&context, &path.model).await?;
    let items = listed.into_iter().map(Alias::from).collect();
    Ok(axum::Json(Aliases { items, next_cursor: () }))
}

/// Point an alias at a version: promote it, or roll back; and say who else is asked.
///
/// Versions are loaded first, so that an alias never points at what cannot answer.
#[utoipa::path(put, path = "/v1/models/{model}/aliases/{alias}", operation_id = "putAlias",
    tag = "versions", params(AliasPath), request_body = AliasTarget,
    responses((status = 200, description = "The alias as it is now.", body = Alias)))]
pub async fn put_alias(
    State(context): State<Context>,
    Path(path): Path<AliasPath>,
    Json(target): Json<AliasTarget>,
) -> Result<axum::Json<Alias>, Problem> {
    let AliasTarget { version, canary, shadow } = target;
    let to = Pointing { version, canary, shadow };
    let alias = aliases::put(&context, &path.model, &path.alias, &to).await?;
    Ok(axum::Json(alias.into()))
}

/// Delete an alias other than `live`.
#[utoipa::path(delete, path = "/v1/models/{model}/aliases/{alias}", operation_id = "deleteAlias",
    tag = "versions", params(AliasPath),
    responses(
        (status = 204, description = "It is gone."),
        (status = 409, description = "`live` cannot be deleted."),
    ))]
pub async fn delete_alias(
    State(context): State<Context>,
    Path(path): Path<AliasPath>,
) -> Result<StatusCode, Problem> {
    aliases::delete(&context, &path.model, &path.alias).await?;
    Ok(StatusCode::NO_CONTENT)
}
