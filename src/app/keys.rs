//! `perennial key`: for whoever runs the service, beside it.

use std::io::Write;

use sqlx::PgPool;
use time::{Duration, OffsetDateTime};

use super::{AppError, log, stop_postgres};
use crate::config::{KeyAction, KeyArgs, NewKeyArgs};
use crate::domain::key::{Key, NewKey};
use crate::domain::name::ModelName;
use crate::services::{ServiceError, access};
use crate::storage::database;

/// `perennial key create | list | revoke`.
///
/// # Errors
/// [`AppError`] when the database cannot be reached, or what is asked for cannot be done.
pub async fn keys(args: &KeyArgs) -> Result<(), AppError> {
    log(&args.settings)?;
    let (options, private_postgres) = super::database(&args.settings).await?;
    let done = async {
        let pool = database::pool(options, 2);
        if !args.settings.no_migrate {
            database::migrate(&pool).await?;
        }
        act(&pool, &args.action).await
    };
    let done = done.await;
    stop_postgres(private_postgres).await;
    done
}

async fn act(pool: &PgPool, action: &KeyAction) -> Result<(), AppError> {
    match action {
        KeyAction::Create(new) => {
            let key = access::create(pool, &terms(new)?).await.map_err(refused)?;
            print(&format!("{key}\n"))?;
            eprintln!(
                "This key is shown this once. Requests send it as `Authorization: Bearer KEY`."
            );
        }
        KeyAction::List => {
            let keys = access::list(pool).await.map_err(refused)?;
            print(&table(&keys, OffsetDateTime::now_utc()))?;
        }
        KeyAction::Revoke { prefix } => {
            access::revoke(pool, prefix).await.map_err(refused)?;
            eprintln!("The key {prefix} opens nothing any more.");
        }
    }
    Ok(())
}

fn terms(new: &NewKeyArgs) -> Result<NewKey, AppError> {
    let models = new.model.iter().map(ModelName::parse).collect::<Result<Vec<_>, _>>();
    let models = models.map_err(|error| AppError::Settings(format!("--model: {error}")))?;
    let days = new.expires_in_days.map(|days| Duration::days(i64::from(days)));
    Ok(NewKey {
        name: new.name.clone(),
        scopes: new.scope.clone(),
        models: Some(models).filter(|models| !models.is_empty()),
        requests_per_minute: new.rate,
        expires_at: days.map(|days| OffsetDateTime::now_utc() + days),
    })
}

pub(super) fn refused(error: ServiceError) -> AppError {
    match error {
        ServiceError::Storage(error) => error.into(),
        ServiceError::Invalid(errors) => {
            let details: Vec<String> = errors.into_iter().map(|error| error.detail).collect();
            AppError::Settings(details.join("; "))
        }
        other => AppError::Settings(other.to_string()),
    }
}

fn print(text: &str) -> Result<(), AppError> {
    std::io::stdout().write_all(text.as_bytes()).map_err(AppError::io("standard output"))
}

/// A line a key, columns aligned.
fn table(keys: &[Key], now: OffsetDateTime) -> String {
    let day = |at: Option<OffsetDateTime>, never: &str| {
        at.map_or(never.to_owned(), |at| at.date().to_string())
    };
    let line = |key: &Key| {
        let state = match (key.revoked_at, key.is_valid(now)) {
            (Some(at), _) => format!("revoked {}", at.date()),
            (None, false) => "expired".to_owned(),
            (None, true) => "good".to_owned(),
        };
        let models = key.terms.models.as_deref().map(|models| words(models.iter()));
        let rate = key.terms.requests_per_minute.map(|rate| rate.to_string());
        [
            key.prefix.clone(),
            key.terms.name.clone(),
            words(key.terms.scopes.iter()),
            models.unwrap_or_else(|| "all".to_owned()),
            rate.unwrap_or_else(|| "-".to_owned()),
            day(Some(key.created_at), ""),
            day(key.terms.expires_at, "never"),
            day(key.last_used_at, "never"),
            state,
        ]
    };
    let head = ["KEY", "NAME", "SCOPES", "MODELS", "RATE", "MADE", "ENDS", "USED", "STATE"];
    let lines: Vec<_> =
        std::iter::once(head.map(str::to_owned)).chain(keys.iter().map(line)).collect();
    let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max();
    let widths: Vec<usize> = (0..head.len()).map(|column| width(column).unwrap_or(0)).collect();
    let pad = |line: &[String; 9]| {
        let cells = line.iter().zip(&widths).map(|(cell, &width)| format!("{cell:width$}"));
        format!("{}\n", cells.collect::<Vec<_>>().join("  ").trim_end())
    };
    lines.iter().map(pad).collect()
}

fn words<'a, T: ToString + 'a>(items: impl Iterator<Item = &'a T>) -> String {
    items.map(ToString::to_string).collect::<Vec<_>>().join(",")
}
