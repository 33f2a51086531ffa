//! "What is this?" — predictions, and the versions that answer them.
//!
//! Invariants: a prediction never waits for training, and one answer never mixes two versions. A
//! request takes one route (which version is `live`) and one predictor and keeps both to its end;
//! a new version is loaded before the route to it is exchanged. While the database is away,
//! whatever is loaded goes on answering. A version that was removed answers nobody, in any process.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use quick_cache::sync::Cache;

use super::slots::Slots;
use super::{Context, ServiceError, registry};
use crate::domain::name::{AliasName, ModelName};
use crate::domain::update::Outcome;
use crate::domain::version::Pointing;
use crate::storage::aliases;
use crate::storage::jobs::Job;
use crate::storage::models::{Model, ModelId};
use crate::storage::versions;

mod ahead;
mod canary;
mod chosen;
mod loaded;
mod shadow;
mod statistics;
mod together;

pub use ahead::{refresh_all, warm_all};
pub use chosen::{Answered, Chosen, choose};
use loaded::{BySize, Loaded};
pub(super) use loaded::{decode, read_checkpoint};
pub use shadow::Agreement;
use shadow::Shadows;
use statistics::Statistics;
pub use statistics::{Begun, Figures, Spans, Tally};

/// Which version is to answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// The one that this alias points at.
    Alias(AliasName),
    /// This one.
    Version(i32),
}

/// The way from a model's name to its versions, as the database last told it.
#[derive(Debug)]
pub struct Route {
    /// The model.
    pub model: Model,
    aliases: HashMap<AliasName, Pointing>,
    /// The newest published version; 0 when there is none.
    newest: i32,
    /// Versions that retention has removed, in order: what is left of one in memory answers nobody.
    removed: Vec<i32>,
}

type VersionKey = (ModelId, i32);

/// A route, and which read of the database told it: a later one knows no less.
struct Known {
    route: Arc<Route>,
    read: u64,
}

/// The versions in memory, bounded in bytes (those least used go first), and the routes to them.
pub struct Serving {
    routes: RwLock<HashMap<ModelName, Known>>,
    /// Numbers reads of routes as they begin, so that none takes the place of a later one.
    reads: AtomicU64,
    /// The number at which a route was forgotten last: a read that began before may be of a model that is gone.
    forgotten: AtomicU64,
    loaded: Cache<VersionKey, Loaded, BySize>,
    /// Versions whose checkpoints were missing or damaged when they were last to be loaded.
    damaged: Cache<VersionKey, ()>,
    statistics: Statistics,
    shadows: Shadows,
    /// Bounds the heavy answers that are computed at a time; models whose answers wait take turns.
    heavy: Arc<Slots>,
    /// Whether the live versions were loaded once.
    is_warm: AtomicBool,
}

impl Serving {
    /// Nothing loaded; at most `capacity_bytes` of weights kept, `threads` heavy answers at a time.
    pub fn new(capacity_bytes: u64, threads: usize) -> Self {
        /// Only sizes the cache's tables.
        const EXPECTED_VERSIONS: usize = 256;
        /// Of more, those found longest ago are forgotten.
        const MOST_DAMAGED: usize = 1_024;
        Self {
            routes: RwLock::default(),
            reads: AtomicU64::new(0),
            forgotten: AtomicU64::new(0),
            loaded: Cache::with_weighter(EXPECTED_VERSIONS, capacity_bytes, BySize),
            damaged: Cache::new(MOST_DAMAGED),
            statistics: Statistics::new(),
            shadows: Shadows::new(),
            heavy: Arc::new(Slots::new(threads.max(1))),
            is_warm: AtomicBool::new(false),
        }
    }

    /// The route to a model.
    ///
    /// # Errors
    /// [`ServiceError::NotFound`] when there is no such model.
    pub async fn route(
        &self,
        context: &Context,
        name: &ModelName,
    ) -> Result<Arc<Route>, ServiceError> {
        match self.known_route(name) {
            Some(route) => Ok(route),
            // Apart, here and below, so that what is seldom done is no part of what each request moves about.
            None => Box::pin(self.read_route(context, name)).await,
        }
    }

    /// Reads the route anew, loads its `live` version, and only then puts the route in place.
    ///
    /// # Errors
    /// [`ServiceError::NotFound`] when the model is gone; its route is then, too.
    pub async fn refresh(&self, context: &Context, name: &ModelName) -> Result<(), ServiceError> {
        match self.read_route(context, name).await {
            Err(error @ ServiceError::NotFound(_)) => {
                self.forget(name);
                Err(error)
            }
            other => other.map(drop),
        }
    }

    /// Drops the route to a model.
    pub fn forget(&self, name: &ModelName) {
        let mut routes = self.routes.write().unwrap_or_else(PoisonError::into_inner);
        self.forgotten.store(self.next_read(), Ordering::Release);
        routes.remove(name);
    }

    /// The models that have a route here, with their keys.
    pub fn routed(&self) -> Vec<(ModelName, ModelId)> {
        let routes = self.routes.read().unwrap_or_else(PoisonError::into_inner);
        let models = routes.values().map(|known| &known.route.model);
        models.map(|model| (model.name.clone(), model.id)).collect()
    }

    /// The routes that are here, by the models' names.
    pub fn routes(&self) -> Vec<Arc<Route>> {
        let routes = self.routes.read().unwrap_or_else(PoisonError::into_inner);
        let mut routes: Vec<_> = routes.values().map(|known| Arc::clone(&known.route)).collect();
        routes.sort_unstable_by(|a, b| a.model.name.cmp(&b.model.name));
        routes
    }

    /// What the versions of a model have answered in this process, by their numbers: those that
    /// were asked, and `live`.
    pub fn figures(&self, route: &Route) -> Vec<(i32, Figures)> {
        let mut versions = self.statistics.versions(route.model.id);
        if let Some(live) = route.live()
            && let Err(place) = versions.binary_search(&live)
        {
            versions.insert(place, live);
        }
        versions.into_iter().map(|version| (version, self.figures_of(route, version))).collect()
    }

    /// What one version has answered in this process.
    pub fn figures_of(&self, route: &Route, version: i32) -> Figures {
        self.statistics.figures(&(route.model.id, version))
    }

    /// How often a version's shadow agreed with it, in this process.
    pub fn agreement(&self, model: ModelId, version: i32, shadow: i32) -> Agreement {
        self.shadows.agreement(&(model, version, shadow))
    }

    /// Whether a version was found damaged when it was last to be loaded here; it is not loaded to find out.
    pub fn is_damaged(&self, model: &ModelName, version: i32) -> bool {
        let route = self.known_route(model);
        route.is_some_and(|route| self.damaged.contains_key(&(route.model.id, version)))
    }

    /// Makes sure that whoever has seen this update publish is answered by its version, or a later
    /// one, from now on.
    pub async fn expect(&self, context: &Context, job: &Job) {
        let (Some(Outcome::Published), Some(version)) = (job.outcome, job.version) else { return };
        let is_known = self.known_route(&job.model).is_none_or(|route| route.newest >= version);
        if !is_known && let Err(error) = self.refresh(context, &job.model).await {
            tracing::warn!(%error, model = %job.model, version, "the route could not be refreshed");
        }
    }

    /// Loads a version, so that the first request to it does not wait.
    ///
    /// # Errors
    /// [`ServiceError::NotFound`] or [`ServiceError::VersionDamaged`].
    pub async fn warm(
        &self,
        context: &Context,
        model: &Model,
        version: i32,
    ) -> Result<(), ServiceError> {
        self.load(context, model, version).await.map(drop)
    }

    /// Whether the live versions were loaded. One that cannot be is an error of its own requests,
    /// and keeps nobody else from being answered.
    ///
    /// # Errors
    /// [`ServiceError::Busy`] until then.
    pub fn ready(&self) -> Result<(), ServiceError> {
        match self.is_warm.load(Ordering::Acquire) {
            true => Ok(()),
            false => Err(ServiceError::Busy("live versions are being loaded".to_owned())),
        }
    }

    fn known_route(&self, name: &ModelName) -> Option<Arc<Route>> {
        let routes = self.routes.read().unwrap_or_else(PoisonError::into_inner);
        routes.get(name).map(|known| Arc::clone(&known.route))
    }

    fn next_read(&self) -> u64 {
        self.reads.fetch_add(1, Ordering::AcqRel) + 1
    }

    /// Reads a route and keeps it, unless what is kept was read later.
    async fn read_route(
        &self,
        context: &Context,
        name: &ModelName,
    ) -> Result<Arc<Route>, ServiceError> {
        loop {
            let read = self.next_read();
            let route = self.read_once(context, name).await?;
            let mut routes = self.routes.write().unwrap_or_else(PoisonError::into_inner);
            if self.forgotten.load(Ordering::Acquire) > read {
                continue;
            }
            if routes.get(name).is_none_or(|known| known.read < read) {
                routes.insert(name.clone(), Known { route: Arc::clone(&route), read });
            }
            return Ok(route);
        }
    }

    /// Reads a route, and loads what answers by it first.
    async fn read_once(
        &self,
        context: &Context,
        name: &ModelName,
    ) -> Result<Arc<Route>, ServiceError> {
        let mut db = context.pool.acquire().await?;
        let model = registry::find_in(&mut db, name).await?;
        let aliases = aliases::list(&mut db, model.id).await?;
        let newest = versions::published(&mut db, model.id).await?.last().copied().unwrap_or(0);
        let removed = versions::removed(&mut db, model.id).await?;
        drop(db);
        let aliases: HashMap<_, _> = aliases.into_iter().map(|a| (a.alias, a.pointing)).collect();
        let route = Arc::new(Route { model, aliases, newest, removed });
        for version in &route.removed {
            self.loaded.remove(&(route.model.id, *version));
        }
        for version in route.live_pointing().iter().flat_map(Pointing::versions) {
            if let Err(error) = self.warm(context, &route.model, version).await {
                tracing::error!(%error, model = %name, version, "a live version cannot be loaded");
            }
        }
        Ok(route)
    }

    /// The version in memory, read and built once however many ask for it at the same time.
    async fn load(
        &self,
        context: &Context,
        model: &Model,
        version: i32,
    ) -> Result<Loaded, ServiceError> {
        let key = (model.id, version);
        if let Some(loaded) = self.loaded.get(&key) {
            return Ok(loaded);
        }
        let build = async {
            let built = Loaded::read(context, model, version).await;
            match &built {
                Ok(_) => {
                    self.damaged.remove(&key);
                }
                Err(ServiceError::VersionDamaged { .. }) => self.damaged.insert(key, ()),
                Err(_) => {}
            }
            built
        };
        Box::pin(self.loaded.get_or_insert_async(&key, build)).await
    }
}

impl Route {
    /// The version that predictions use.
    pub fn live(&self) -> Option<i32> {
        self.live_pointing().map(|pointing| pointing.version)
    }

    fn live_pointing(&self) -> Option<Pointing> {
        self.aliases.iter().find(|(alias, _)| alias.is_live()).map(|(_, &pointing)| pointing)
    }

    /// The version that answers this client, and the shadow that is asked the same.
    fn resolve(
        &self,
        target: &Target,
        client: Option<&[u8]>,
    ) -> Result<(i32, Option<i32>), ServiceError> {
        match target {
            Target::Version(version) if self.removed.binary_search(version).is_ok() => {
                Err(registry::no_version(&self.model, *version))
            }
            Target::Version(version) => Ok((*version, None)),
            Target::Alias(alias) => match self.aliases.get(alias) {
                Some(pointing) => Ok(match canary::of_client(pointing, self.model.id, client) {
                    // A shadow is compared with the alias's own version.
                    Some(canary) => (canary, None),
                    None => (pointing.version, pointing.shadow),
                }),
                None if alias.is_live() => Err(ServiceError::Conflict(format!(
                    "model {} has no version yet; send samples and wait for its first update",
                    self.model.name
                ))),
                None => Err(ServiceError::NotFound(format!(
                    "alias {alias} of model {}",
                    self.model.name
                ))),
            },
        }
    }
}
