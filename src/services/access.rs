//! "Who are you, and may you?" — keys, and what this process knows of them.
//!
//! Invariants: no request waits for the database to be let in, so that predictions go on while it is
//! away; until the keys have been read once nobody is let in. A service that has had a key stays
//! closed, even when all are revoked: only one that never had any is open. Who was let in can hear of it when
//! that is over, so that what stays open ends with its key. Keys expire by the database's
//! clock, so that processes agree, and by none that is set meanwhile.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rand::RngCore;
use rand::rngs::OsRng;
use sha2::{Digest, Sha256};
use sqlx::PgPool;
use time::OffsetDateTime;
use tokio::sync::watch;
use uuid::Uuid;

use super::{Context, ServiceError};
use crate::domain::Invalid;
use crate::domain::key::{Key, NewKey};
use crate::storage::keys::{self, StoredKey};
use crate::storage::notices::{self, Notice};

/// What every key begins with, so that scanners for leaked secrets know one.
const MARK: &str = "pnl_";
/// The characters of a key that are shown.
const PREFIX: usize = MARK.len() + 8;
const KEY_BYTES: usize = 32;

/// What this process knows of the keys.
#[derive(Debug)]
pub struct Access {
    /// Anyone is let in while there are no keys.
    may_be_open: bool,
    known: watch::Sender<Option<Arc<Known>>>,
}

/// All keys, by digest.
type Known = HashMap<Vec<u8>, Arc<KnownKey>>;

/// A key, and when it was last used here.
#[derive(Debug)]
pub struct KnownKey {
    /// The key.
    pub key: Key,
    digest: Vec<u8>,
    /// When it expires; `None`: never, or not before it is read anew.
    expires_at: Option<Instant>,
    /// Seconds since 1970; 0 when not since it was last written down.
    used_at: AtomicI64,
}

impl KnownKey {
    /// The key as it was read at `read_at`.
    fn new(digest: Vec<u8>, key: Key, expires_in_s: Option<f64>, read_at: Instant) -> Self {
        let left = |seconds: f64| Duration::try_from_secs_f64(seconds.max(0.0)).ok();
        let expires_at = expires_in_s.and_then(left).and_then(|left| read_at.checked_add(left));
        Self { key, digest, expires_at, used_at: AtomicI64::new(0) }
    }

    fn is_good(&self) -> bool {
        self.key.revoked_at.is_none() && self.expires_at.is_none_or(|end| Instant::now() < end)
    }
}

/// Who asks.
#[derive(Debug, Clone)]
pub enum Caller {
    /// Anyone: the service has no keys.
    Anyone,
    /// The holder of this key.
    Holder(Arc<KnownKey>),
}

impl Caller {
    /// Runs what the caller asks for, so that the audit knows whose key it was.
    pub async fn asks<T>(&self, done: impl Future<Output = T>) -> T {
        let actor = match self {
            Self::Anyone => None,
            Self::Holder(known) => Some(format!("{} ({})", known.key.terms.name, known.key.prefix)),
        };
        ACTOR.scope(actor, done).await
    }
}

tokio::task_local! {
    static ACTOR: Option<String>;
}

/// Whose key it is that asks for what this task does; `None` where there are no keys, and in a worker.
pub(super) fn actor() -> Option<String> {
    ACTOR.try_with(Clone::clone).ok().flatten()
}

/// Why nobody is let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stranger {
    /// There are keys, and the request has none.
    NoKey,
    /// The key is none of ours, or no longer good.
    WrongKey,
    /// The keys have not been read yet.
    NotYet,
}

impl Access {
    /// Of a service that answers anyone while there are no keys, or nobody.
    pub fn new(may_be_open: bool) -> Self {
        Self { may_be_open, known: watch::Sender::default() }
    }

    /// Who comes with this key, or with none.
    ///
    /// # Errors
    /// [`Stranger`] when nobody is let in so.
    pub fn identify(&self, key: Option<&str>) -> Result<Caller, Stranger> {
        let known = self.known().ok_or(Stranger::NotYet)?;
        if known.is_empty() && self.may_be_open {
            return Ok(Caller::Anyone);
        }
        let key = key.ok_or(Stranger::NoKey)?;
        // Found by digest, so that the time it takes tells nothing of keys that are near.
        let found = known.get(digest(key).as_slice()).ok_or(Stranger::WrongKey)?;
        if !found.is_good() {
            return Err(Stranger::WrongKey);
        }
        found.used_at.store(OffsetDateTime::now_utc().unix_timestamp(), Ordering::Relaxed);
        Ok(Caller::Holder(Arc::clone(found)))
    }

    /// Comes when this caller is let in no longer: when its key was revoked or has expired, or where anyone was
    /// let in, when there are keys.
    pub async fn ends(&self, caller: &Caller) {
        let mut changes = self.known.subscribe();
        loop {
            let known = changes.borrow_and_update().clone().unwrap_or_default();
            let expires_at = match caller {
                Caller::Anyone if known.is_empty() => None,
                Caller::Anyone => return,
                Caller::Holder(held) => match known.get(&held.digest) {
                    Some(found) if found.is_good() => found.expires_at,
                    _ => return,
                },
            };
            // Nobody ends the sending of changes while this is borrowed.
            let changed = changes.changed();
            let _ = match expires_at {
                Some(at) => tokio::time::timeout_at(at.into(), changed).await.unwrap_or(Ok(())),
                None => changed.await,
            };
        }
    }

    /// Whether there are keys, as far as this process knows.
    pub fn has_keys(&self) -> bool {
        self.known().is_some_and(|known| !known.is_empty())
    }

    fn known(&self) -> Option<Arc<Known>> {
        self.known.borrow().clone()
    }
}

/// Writes down when keys were used, and reads all anew.
///
/// # Errors
/// When the database is away: what is known stays.
pub async fn refresh(context: &Context) -> Result<(), ServiceError> {
    let mut db = context.pool.acquire().await?;
    let (mut ids, mut used_at) = (Vec::new(), Vec::new());
    for known in context.access.known().iter().flat_map(|known| known.values()) {
        let seconds = known.used_at.swap(0, Ordering::Relaxed);
        if seconds > 0
            && let Ok(at) = OffsetDateTime::from_unix_timestamp(seconds)
        {
            ids.push(known.key.id);
            used_at.push(at);
        }
    }
    if !ids.is_empty() {
        keys::touch(&mut db, &ids, &used_at).await?;
    }
    let read_at = Instant::now();
    let known = keys::list(&mut db).await?.into_iter().map(|stored| {
        let StoredKey { digest, key, expires_in_s } = stored;
        (digest.clone(), Arc::new(KnownKey::new(digest, key, expires_in_s, read_at)))
    });
    let known = Some(Arc::new(known.collect()));
    context.access.known.send_replace(known);
    Ok(())
}

/// Makes a key, and tells it this once.
///
/// # Errors
/// [`ServiceError::Invalid`] when what is asked of it cannot be; else when the database is away.
pub async fn create(pool: &PgPool, terms: &NewKey) -> Result<String, ServiceError> {
    if !(1..=256).contains(&terms.name.chars().count()) {
        return Err(Invalid::new("a key's name has 1 to 256 characters").into());
    }
    if terms.scopes.is_empty() || terms.models.as_ref().is_some_and(Vec::is_empty) {
        return Err(Invalid::new("a key has at least one scope, and one model where any").into());
    }
    let mut bytes = [0; KEY_BYTES];
    OsRng.fill_bytes(&mut bytes);
    let key = format!("{MARK}{}", URL_SAFE_NO_PAD.encode(bytes));
    let mut tx = pool.begin().await?;
    keys::insert(&mut tx, Uuid::now_v7(), &key[..PREFIX], &digest(&key), terms).await?;
    notices::send(&mut tx, &Notice::Keys).await?;
    tx.commit().await?;
    Ok(key)
}

/// All keys, newest first.
///
/// # Errors
/// When the database is away.
pub async fn list(pool: &PgPool) -> Result<Vec<Key>, ServiceError> {
    let keys = keys::list(&mut *pool.acquire().await?).await?;
    Ok(keys.into_iter().map(|stored| stored.key).collect())
}

/// Ends the key of this prefix, everywhere and at once.
///
/// # Errors
/// [`ServiceError::NotFound`] when there is none; else when the database is away.
pub async fn revoke(pool: &PgPool, prefix: &str) -> Result<(), ServiceError> {
    let mut tx = pool.begin().await?;
    if !keys::revoke(&mut tx, prefix).await? {
        return Err(ServiceError::NotFound(format!("key {prefix}")));
    }
    notices::send(&mut tx, &Notice::Keys).await?;
    Ok(tx.commit().await?)
}

fn digest(key: &str) -> Vec<u8> {
    Sha256::digest(key.as_bytes()).to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_let_in_before_the_keys_are_known() {
        let access = Access::new(true);
        assert_eq!(access.identify(None).unwrap_err(), Stranger::NotYet);
        access.known.send_replace(Some(Arc::default()));
        assert!(matches!(access.identify(None), Ok(Caller::Anyone)));
        assert!(matches!(access.identify(Some("any")), Ok(Caller::Anyone)));
        let access = Access::new(false);
        access.known.send_replace(Some(Arc::default()));
        assert_eq!(access.identify(None).unwrap_err(), Stranger::NoKey);
    }

    /// The key "secret" as it was just read.
    fn read(expires_in_s: Option<f64>, revoked_at: Option<OffsetDateTime>) -> KnownKey {
        let terms = NewKey {
            name: "ci".to_owned(),
            scopes: Vec::new(),
            models: None,
            requests_per_minute: None,
            expires_at: None,
        };
        let created_at = OffsetDateTime::UNIX_EPOCH;
        let (id, prefix, last_used_at) = (Uuid::nil(), String::new(), None);
        let key = Key { id, prefix, terms, created_at, revoked_at, last_used_at };
        KnownKey::new(digest("secret"), key, expires_in_s, Instant::now())
    }

    fn tell(access: &Access, key: KnownKey) {
        let known = Known::from_iter([(key.digest.clone(), Arc::new(key))]);
        access.known.send_replace(Some(Arc::new(known)));
    }

    #[tokio::test]
    async fn who_was_let_in_hears_when_that_is_over() {
        let over = async |access: &Access, caller: &Caller, change: &dyn Fn()| {
            let ended = tokio::time::timeout(Duration::from_millis(20), access.ends(caller)).await;
            assert!(ended.is_err(), "{caller:?}");
            let change = async { change() };
            tokio::time::timeout(Duration::from_secs(20), async {
                tokio::join!(access.ends(caller), change);
            })
            .await
            .unwrap();
        };
        let access = Access::new(true);
        access.known.send_replace(Some(Arc::default()));
        let anyone = access.identify(None).unwrap();
        over(&access, &anyone, &|| tell(&access, read(None, None))).await;
        let holder = access.identify(Some("secret")).unwrap();
        // Read anew, as it is now and then.
        tell(&access, read(None, None));
        let revoked_at = Some(OffsetDateTime::UNIX_EPOCH);
        over(&access, &holder, &|| tell(&access, read(None, revoked_at))).await;
        tell(&access, read(Some(1.0), None));
        over(&access, &access.identify(Some("secret")).unwrap(), &|| {}).await;
    }

    #[test]
    fn a_key_is_good_until_its_time_is_over_or_it_is_revoked() {
        let is_good = |expires_in_s, revoked_at| read(expires_in_s, revoked_at).is_good();
        for (expires_in_s, expected) in [
            (None, true),
            (Some(3600.0), true),
            (Some(1e300), true),
            (Some(0.0), false),
            (Some(-1.0), false),
        ] {
            assert_eq!(is_good(expires_in_s, None), expected, "{expires_in_s:?}");
        }
        assert!(!is_good(None, Some(OffsetDateTime::UNIX_EPOCH)));
    }
}
