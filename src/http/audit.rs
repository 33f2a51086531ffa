//! `/v1/audit`: who did what, and when.

use axum::extract::State;
use serde::Serialize;
use time::OffsetDateTime;
use utoipa::ToSchema;

use super::error::Problem;
use super::extract::Query;
use super::page::{Page, PageQuery, PageRequest};
use crate::domain::audit::Action;
use crate::domain::name::ModelName;
use crate::services::{Context, audit};
use crate::storage::audit::Entry;

/// Something that was done.
#[derive(Debug, Serialize, ToSchema)]
pub struct AuditEntry {
    /// Its number: later ones are higher.
    id: i64,
    /// Whose key it was; null where none was asked for.
    #[schema(required = true)]
    actor: Option<String>,
    /// What was done.
    action: Action,
    /// To which model; there may be none of this name any more, or another one.
    #[schema(value_type = String, example = "digits")]
    model: ModelName,
    /// The rest, by action. Samples that were forgotten are counted, not named.
    #[schema(value_type = Object)]
    detail: serde_json::Value,
    /// When.
    #[serde(with = "time::serde::rfc3339")]
    created_at: OffsetDateTime,
}

impl From<Entry> for AuditEntry {
    fn from(Entry { id, actor, action, model, detail, created_at }: Entry) -> Self {
        Self { id, actor, action, model, detail, created_at }
    }
}

/// List what was done to models by request, newest first.
#[utoipa::path(get, path = "/v1/audit", operation_id = "listAudit", tag = "operations",
    params(PageQuery),
    responses((status = 200, description = "A page of entries.", body = Page<AuditEntry>)))]
pub async fn list(
    State(context): State<Context>,
    Query(query): Query<PageQuery>,
) -> Result<axum::Json<Page<AuditEntry>>, Problem> {
    let request = PageRequest::<i64>::try_from(&query)?;
    let entries = audit::list(&context, request.after, request.n_rows()).await?;
    Ok(axum::Json(request.page(entries, |entry| entry.id, AuditEntry::from)))
}
