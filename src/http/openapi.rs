//! The OpenAPI document.
//!
//! Invariant: what is true of every route is said here once. A handler documents what it answers
//! when all goes well, and the refusals that are its own; [`finish`] adds the rest, and gives every
//! refusal its body.

use std::sync::LazyLock;

use axum::http::{HeaderName, Method, header};
use utoipa::openapi::path::{Operation, Parameter, ParameterIn};
use utoipa::openapi::schema::ArrayItems;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{
    Components, Content, Header, Info, License, OpenApi, PathItem, Ref, RefOr, Required, Response,
    ResponseBuilder, Schema, SecurityRequirement, Server, tag::TagBuilder,
};
use utoipa::{PartialSchema, ToSchema};

use super::access::scopes;
use super::error::{Problem, ProblemBody};
use super::foreign::{Refusal, is_foreign};
use super::observe::PROBLEM_JSON;
use crate::domain::key::Scope;

const DESCRIPTION: &str = "\
Models that keep learning from labelled batches, and do not forget.

Create a model, post batches of labelled samples, and ask for predictions: each update trains a new \
version from the last one, checks it on samples that were never trained on, and publishes it if \
it is good enough.

Services that speak the Open Inference Protocol (`/v2`) or TensorFlow Serving's (`…:predict`) may ask for \
predictions by it.

Every refusal is a problem (RFC 9457, `application/problem+json`) with a `code` for programs, the \
`request_id` that stands in the service's log, and, where a value is wrong, pointers to it; in other \
services' protocols it is `{\"error\": \"…\"}`. \
`X-Request-Id` is taken from the request or made, and echoed. Request bodies may be sent with \
`Content-Encoding: gzip` or `deflate`; the size limit holds for what they unpack to. Times are RFC 3339 in UTC.";

/// What the document calls the key that a request brings.
const KEY: &str = "key";
const ABOUT_KEYS: &str = "\
A key that `perennial key create` made, with the scope that each operation names; `admin` stands for \
all. A service that never had a key asks for none. What stays open, such as a stream of events, ends with the \
key that opened it.";

const TAGS: [(&str, &str); 7] = [
    ("models", "What learns: its input, its settings, what it holds."),
    ("batches", "Labelled samples, as they come in."),
    ("updates", "Jobs that train a model on what came in."),
    ("versions", "Immutable results of updates, and the movable names that point at them."),
    ("predictions", "What a version says about inputs."),
    (
        "inference",
        "Predictions by the Open Inference Protocol and as TensorFlow Serving's clients ask.",
    ),
    ("operations", "For those who run the service."),
];

/// A refusal that many routes share.
struct Shared {
    status: &'static str,
    name: &'static str,
    description: &'static str,
    foreign: Foreign,
    applies: fn(&str, &Operation) -> bool,
}

/// How a refusal is described where another protocol is spoken, which has fewer statuses.
#[derive(Clone, Copy)]
enum Foreign {
    Same,
    As(&'static str),
    Never,
}

impl Shared {
    /// What it is called, and how it is described; none where it is never said.
    fn said(&self, is_foreign: bool) -> Option<(String, &'static str)> {
        let description = match (is_foreign, self.foreign) {
            (false, _) | (true, Foreign::Same) => self.description,
            (true, Foreign::As(description)) => description,
            (true, Foreign::Never) => return None,
        };
        let whose = if is_foreign { "Inference" } else { "" };
        Some((format!("{whose}{}", self.name), description))
    }
}

const SHARED: [Shared; 11] = [
    Shared {
        status: "400",
        name: "BadRequest",
        description: "The request cannot be read, or its body is not of the format that it says: \
                      the detail tells line and column.",
        foreign: Foreign::As("The request cannot be read, or cannot be right."),
        applies: |_, operation| has_body(operation),
    },
    Shared {
        status: "401",
        name: "Unauthenticated",
        description: "The service is closed: the request has no key, or none that is good.",
        foreign: Foreign::Same,
        applies: needs_key,
    },
    Shared {
        status: "403",
        name: "Forbidden",
        description: "The key lacks the scope that this needs, or is for other models; or there are no \
                      keys, and a web page of elsewhere may be asking.",
        foreign: Foreign::Same,
        applies: needs_key,
    },
    Shared {
        status: "404",
        name: "NotFound",
        description: "There is no such thing.",
        foreign: Foreign::Same,
        applies: |path, _| path.contains('{'),
    },
    Shared {
        status: "408",
        name: "RequestTimeout",
        description: "The body took too long to arrive.",
        foreign: Foreign::Same,
        applies: |_, operation| has_body(operation),
    },
    Shared {
        status: "413",
        name: "PayloadTooLarge",
        description: "The body is over the size limit, counted after decompression.",
        foreign: Foreign::Same,
        applies: |_, operation| has_body(operation),
    },
    Shared {
        status: "415",
        name: "UnsupportedMediaType",
        description: "The body is of a type, or a content encoding, that is not taken here.",
        foreign: Foreign::Same,
        applies: |_, operation| has_body(operation),
    },
    Shared {
        status: "422",
        name: "Invalid",
        description: "The request is readable and cannot be right: `errors` points at what is wrong.",
        foreign: Foreign::Never,
        applies: |_, operation| has_body(operation) || has_query(operation),
    },
    Shared {
        status: "429",
        name: "TooManyRequests",
        description: "The key, or the address, asks too often: try again after `Retry-After` seconds. \
                      Where there is a limit, every answer tells it in `RateLimit-Policy` and \
                      `RateLimit`.",
        foreign: Foreign::Same,
        applies: needs_key,
    },
    Shared {
        status: "500",
        name: "Internal",
        description: "The service failed (its log has more under the request id), or the version's \
                      checkpoint is damaged (code `version_damaged`).",
        foreign: Foreign::Same,
        applies: |path, _| has_data(path),
    },
    Shared {
        status: "503",
        name: "Unavailable",
        description: "There is too much to do, or the database is away: try again after \
                      `Retry-After` seconds.",
        foreign: Foreign::As(
            "There is too much to do, the database is away, or the model has no version yet.",
        ),
        applies: |path, _| has_data(path),
    },
];

/// Every operation that needs a key says of which scopes one is enough.
fn needs_key(_: &str, operation: &Operation) -> bool {
    operation.security.is_some()
}

fn has_data(path: &str) -> bool {
    path.starts_with("/v1/") || path.starts_with("/v2/models") || path.starts_with("/v2/repository")
}

fn has_body(operation: &Operation) -> bool {
    operation.request_body.is_some()
}

fn has_query(operation: &Operation) -> bool {
    operation.parameters.iter().flatten().any(|parameter| match parameter {
        RefOr::T(parameter) => parameter.parameter_in == ParameterIn::Query,
        RefOr::Ref(_) => false,
    })
}

/// Completes the document that the routes make.
pub fn finish(mut document: OpenApi) -> OpenApi {
    let mut license = License::new("Apache-2.0");
    license.identifier = Some("Apache-2.0".to_owned());
    let mut info = Info::new("Perennial", env!("CARGO_PKG_VERSION"));
    info.description = Some(DESCRIPTION.to_owned());
    info.license = Some(license);
    document.info = info;
    let mut server = Server::new("/");
    server.description = Some("The service that this document came from.".to_owned());
    document.servers = Some(vec![server]);
    // Each operation says what it needs; the others are open.
    document.security = Some(vec![SecurityRequirement::default()]);
    let tag = |&(name, about): &(&str, &str)| {
        TagBuilder::new().name(name).description(Some(about)).build()
    };
    document.tags = Some(TAGS.iter().map(tag).collect());

    for (path, item) in &mut document.paths.paths {
        for (method, operation) in operations(item) {
            if let Some(scopes) = scopes::needed(&method, path) {
                let words = scopes.iter().map(|scope| [scope.as_str()]);
                operation.security =
                    Some(words.map(|word| SecurityRequirement::new(KEY, word)).collect());
                if scopes == [Scope::Predict] {
                    name_version(operation);
                    if !path.contains("/versions/") {
                        name_client(operation);
                    }
                }
            }
            complete(path, operation);
        }
    }
    let components = document.components.get_or_insert_with(Components::new);
    components.schemas.insert(ProblemBody::name().into_owned(), ProblemBody::schema());
    let key =
        HttpBuilder::new().scheme(HttpAuthScheme::Bearer).description(Some(ABOUT_KEYS)).build();
    components.security_schemes.insert(KEY.to_owned(), RefOr::T(SecurityScheme::Http(key)));
    components.schemas.insert(Refusal::name().into_owned(), Refusal::schema());
    let mut schemas = Vec::new();
    ProblemBody::schemas(&mut schemas);
    components.schemas.extend(schemas);
    link_pages(components);
    for shared in &SHARED {
        for is_foreign in [false, true] {
            if let Some((name, description)) = shared.said(is_foreign) {
                let response = refusal(is_foreign, shared.status, description);
                components.responses.insert(name, RefOr::T(response));
            }
        }
    }
    document
}

/// A page's items are written out by the derive; a reference says the same once.
fn link_pages(components: &mut Components) {
    for (name, page) in &mut components.schemas {
        if let Some(item) = name.strip_prefix("Page_")
            && let RefOr::T(Schema::Object(page)) = page
            && let Some(RefOr::T(Schema::Array(items))) = page.properties.get_mut("items")
        {
            items.items = ArrayItems::RefOrSchema(Box::new(Ref::from_schema_name(item).into()));
        }
    }
}

fn operations(item: &mut PathItem) -> impl Iterator<Item = (Method, &mut Operation)> {
    let PathItem { get, put, post, delete, patch, .. } = item;
    let all = [
        (Method::GET, get),
        (Method::PUT, put),
        (Method::POST, post),
        (Method::DELETE, delete),
        (Method::PATCH, patch),
    ];
    all.into_iter().filter_map(|(method, operation)| Some((method, operation.as_mut()?)))
}

/// Adds the refusals that the operation shares with others, and a body to those that are its own.
fn complete(path: &str, operation: &mut Operation) {
    let is_foreign = is_foreign(path);
    let shared: Vec<_> = SHARED.iter().filter(|shared| (shared.applies)(path, operation)).collect();
    let responses = &mut operation.responses.responses;
    for (status, response) in responses.iter_mut() {
        if let RefOr::T(response) = response
            && status.as_str() >= "400"
            && response.content.is_empty()
        {
            *response = refusal(is_foreign, status, &response.description);
        }
    }
    for shared in shared {
        if let Some((name, _)) = shared.said(is_foreign) {
            let reference = || RefOr::Ref(Ref::from_response_name(name));
            responses.entry(shared.status.to_owned()).or_insert_with(reference);
        }
    }
}

/// Every answer of a version says of which.
fn name_version(operation: &mut Operation) {
    if let Some(RefOr::T(answer)) = operation.responses.responses.get_mut("200") {
        let mut version = Header::new(i32::schema());
        version.description = Some("The version that answered.".to_owned());
        answer.headers.insert("X-Perennial-Version".to_owned(), RefOr::T(version));
    }
}

/// What answers by an alias, which may have a canary, takes heed of who asks.
fn name_client(operation: &mut Operation) {
    let mut client = Parameter::new("X-Client-Id");
    client.parameter_in = ParameterIn::Header;
    client.required = Required::False;
    let description = "Who asks: where the alias has a canary, a client is always answered by the same of the \
                       two versions. `Authorization` stands in for it; without either, requests are drawn by chance.";
    client.description = Some(description.to_owned());
    client.schema = Some(String::schema());
    operation.parameters.get_or_insert_default().push(RefOr::T(client));
}

fn refusal(is_foreign: bool, status: &str, description: &str) -> Response {
    let (content_type, schema) = match is_foreign {
        true => ("application/json", Refusal::name()),
        false => (PROBLEM_JSON, ProblemBody::name()),
    };
    let content = Content::new(Some(Ref::from_schema_name(schema)));
    let response = ResponseBuilder::new().description(description).content(content_type, content);
    match status {
        "429" | "503" => {
            let mut seconds = Header::new(i32::schema());
            seconds.description = Some("Seconds after which to try again.".to_owned());
            response.header("Retry-After", seconds).build()
        }
        _ => response.build(),
    }
}

/// The document as YAML, which is also the file `openapi.yaml`.
///
/// # Errors
/// When it cannot be written as YAML; it always can.
pub fn to_yaml() -> Result<String, String> {
    super::openapi().to_yaml().map_err(|error| error.to_string())
}

type Text = ([(HeaderName, &'static str); 1], &'static str);

/// Tell what this service understands, as OpenAPI in YAML.
#[utoipa::path(get, path = "/openapi.yaml", operation_id = "openapiYaml", tag = "operations",
    responses((status = 200, description = "This document.", body = Object,
               content_type = "application/yaml")))]
pub async fn yaml() -> Result<Text, Problem> {
    static YAML: LazyLock<Result<String, String>> = LazyLock::new(to_yaml);
    let text = YAML.as_ref().map_err(Problem::internal)?;
    Ok(([(header::CONTENT_TYPE, "application/yaml")], text))
}

/// Tell what this service understands, as OpenAPI in JSON.
#[utoipa::path(get, path = "/openapi.json", operation_id = "openapiJson", tag = "operations",
    responses((status = 200, description = "This document.", body = Object)))]
pub async fn json() -> Result<Text, Problem> {
    static JSON: LazyLock<Result<String, String>> =
        LazyLock::new(|| super::openapi().to_json().map_err(|error| error.to_string()));
    let text = JSON.as_ref().map_err(Problem::internal)?;
    Ok(([(header::CONTENT_TYPE, "application/json")], text))
}

#[cfg(test)]
mod document_tests;
