//! Keys: who may do what.

use std::fmt;
use std::str::FromStr;

use time::OffsetDateTime;
use uuid::Uuid;

use super::Invalid;
use super::name::ModelName;

/// What a key may do. Each stands for itself, but [`Scope::Admin`] stands for all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scope {
    /// Look at models, batches, updates and versions, and download checkpoints.
    Read,
    /// Ask for predictions.
    Predict,
    /// Send batches and feedback, ask for updates, move aliases, create and change models.
    Write,
    /// Everything: also delete models, and read who did what.
    Admin,
}

impl Scope {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Read, Self::Predict, Self::Write, Self::Admin];

    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Predict => "predict",
            Self::Write => "write",
            Self::Admin => "admin",
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Scope {
    type Err = Invalid;

    fn from_str(word: &str) -> Result<Self, Invalid> {
        let found = Self::ALL.into_iter().find(|scope| scope.as_str() == word);
        found.ok_or_else(|| Invalid::new("a scope is read, predict, write or admin"))
    }
}

/// What is asked of a new key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewKey {
    /// What people call it.
    pub name: String,
    /// What it may do; not empty.
    pub scopes: Vec<Scope>,
    /// The only models that it is good for; `None`: all.
    pub models: Option<Vec<ModelName>>,
    /// How often it may ask, where not as often as others.
    pub requests_per_minute: Option<u32>,
    /// When it ends.
    pub expires_at: Option<OffsetDateTime>,
}

/// A key as it is kept: all but the key itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// Its id.
    pub id: Uuid,
    /// Its first characters.
    pub prefix: String,
    /// What was asked of it.
    pub terms: NewKey,
    /// When it was made.
    pub created_at: OffsetDateTime,
    /// When it was revoked.
    pub revoked_at: Option<OffsetDateTime>,
    /// When it was last used, to about half a minute.
    pub last_used_at: Option<OffsetDateTime>,
}

impl Key {
    /// Whether it may do what any of `scopes` allows.
    pub fn may(&self, scopes: &[Scope]) -> bool {
        let held = &self.terms.scopes;
        held.contains(&Scope::Admin) || scopes.iter().any(|scope| held.contains(scope))
    }

    /// Whether it is good for this model.
    pub fn opens(&self, model: &str) -> bool {
        let models = self.terms.models.as_deref();
        models.is_none_or(|models| models.iter().any(|name| name.as_str() == model))
    }

    /// Whether it is good at `now`.
    pub fn is_valid(&self, now: OffsetDateTime) -> bool {
        self.revoked_at.is_none() && self.terms.expires_at.is_none_or(|end| now < end)
    }
}

#[cfg(test)]
mod tests {
    use time::Duration;

    use super::*;

    fn key(scopes: &[Scope]) -> Key {
        let terms = NewKey {
            name: "ci".to_owned(),
            scopes: scopes.to_vec(),
            models: None,
            requests_per_minute: None,
            expires_at: None,
        };
        let created_at = OffsetDateTime::UNIX_EPOCH;
        let id = Uuid::nil();
        let (revoked_at, last_used_at) = (None, None);
        Key { id, prefix: String::new(), terms, created_at, revoked_at, last_used_at }
    }

    #[test]
    fn a_scope_stands_for_itself_and_admin_for_all() {
        for held in Scope::ALL {
            for asked in Scope::ALL {
                let expected = held == asked || held == Scope::Admin;
                assert_eq!(key(&[held]).may(&[asked]), expected, "{held} {asked}");
            }
            assert_eq!(held.as_str().parse::<Scope>().unwrap(), held);
        }
        assert!(key(&[Scope::Read]).may(&[Scope::Predict, Scope::Read]));
        assert!("root".parse::<Scope>().is_err());
    }

    #[test]
    fn a_key_ends_when_it_expires_or_is_revoked() {
        let mut key = key(&[Scope::Read]);
        let end = key.created_at + Duration::hours(1);
        assert!(key.is_valid(end));
        key.terms.expires_at = Some(end);
        assert!(key.is_valid(end - Duration::SECOND) && !key.is_valid(end));
        key.revoked_at = Some(key.created_at);
        assert!(!key.is_valid(key.created_at));
    }

    #[test]
    fn a_key_may_be_limited_to_models() {
        let mut key = key(&[Scope::Read]);
        assert!(key.opens("a"));
        key.terms.models = Some(vec![ModelName::parse("a").unwrap()]);
        assert!(key.opens("a") && !key.opens("b"));
    }
}
