//! Versions: immutable results of updates; and where an alias points among them.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Invalid;

words! {
    /// Whether the gate let a version through.
    pub enum VersionStatus {
        /// It passed; `live` moved to it.
        Published = "published",
        /// It did not, and is kept for study.
        Rejected = "rejected",
    }
}

words! {
    /// Where a version comes from.
    pub enum Origin {
        /// An update made it.
        Update = "update",
        /// A client brought its weights.
        Imported = "imported",
        /// It is another model's version.
        Copied = "copied",
    }
}

/// Where an alias points.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pointing {
    /// The version that answers.
    pub version: i32,
    /// The version that answers some clients instead.
    pub canary: Option<Canary>,
    /// The version that is asked the same beside it, and answers nobody.
    pub shadow: Option<i32>,
}

/// A version that answers a share of an alias's clients.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Canary {
    /// The version.
    #[schema(minimum = 1, example = 8)]
    pub version: i32,
    /// The share of clients, over 0 and at most 1.
    #[schema(exclusive_minimum = 0, maximum = 1, example = 0.1)]
    pub share: f64,
}

impl Pointing {
    /// At this version, and nothing else.
    pub fn at(version: i32) -> Self {
        Self { version, canary: None, shadow: None }
    }

    /// The versions that it names, that which answers first.
    pub fn versions(&self) -> impl Iterator<Item = i32> {
        let canary = self.canary.map(|canary| canary.version);
        std::iter::once(self.version).chain(canary).chain(self.shadow)
    }

    /// Checks what types alone do not say.
    ///
    /// # Errors
    /// [`Invalid`] with the pointer of the part that is wrong.
    pub fn check(&self) -> Result<(), Invalid> {
        if let Some(Canary { version, share }) = self.canary {
            if version == self.version {
                let detail = "the canary is another version than the alias's own";
                return Err(Invalid::at("/canary/version", detail));
            }
            if !(share > 0.0 && share <= 1.0) {
                return Err(Invalid::at("/canary/share", "a share is over 0 and at most 1"));
            }
        }
        match self.shadow == Some(self.version) {
            true => {
                Err(Invalid::at("/shadow", "the shadow is another version than the alias's own"))
            }
            false => Ok(()),
        }
    }
}
