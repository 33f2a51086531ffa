//! The network's shape, which is fixed for a model's life.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::domain::Invalid;

/// The network's shape.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum NetworkSettings {
    /// Dense layers with ReLU between them; the head grows with the labels.
    Mlp(MlpSettings),
    /// Several such, of which a gate chooses for each input, and one head.
    Moe(MoeSettings),
}

/// The most experts of a mixture.
pub const MAX_EXPERTS: usize = 64;

/// A multilayer perceptron.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct MlpSettings {
    /// Units of each hidden layer: 1 to 8 layers of 1 to 4,096.
    pub hidden: Vec<usize>,
}

impl Default for MlpSettings {
    fn default() -> Self {
        Self { hidden: vec![256, 256] }
    }
}

/// A mixture of experts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct MoeSettings {
    /// Units of each hidden layer of an expert: 1 to 8 layers of 1 to 4,096.
    pub hidden: Vec<usize>,
    /// How many experts there are at first: 2 to 64.
    pub experts: usize,
    /// How many answer each input: 1 to `experts`.
    pub top_k: usize,
    /// Whether an update that brings new labels brings an expert more, up to 64.
    pub grow: bool,
}

impl Default for MoeSettings {
    fn default() -> Self {
        Self { hidden: MlpSettings::default().hidden, experts: 4, top_k: 1, grow: false }
    }
}

impl Default for NetworkSettings {
    fn default() -> Self {
        Self::Mlp(MlpSettings::default())
    }
}

impl NetworkSettings {
    /// Units of each hidden layer, of each expert where there are several.
    pub fn hidden(&self) -> &[usize] {
        match self {
            Self::Mlp(mlp) => &mlp.hidden,
            Self::Moe(moe) => &moe.hidden,
        }
    }

    /// Whether new labels bring an expert more.
    pub fn grows(&self) -> bool {
        matches!(self, Self::Moe(moe) if moe.grow)
    }

    pub(super) fn check(&self) -> Result<(), Invalid> {
        let hidden = self.hidden();
        if !(1..=8).contains(&hidden.len()) {
            return Err(Invalid::at("/hidden", "give 1 to 8 hidden layers"));
        }
        if let Some(index) = hidden.iter().position(|units| !(1..=4096).contains(units)) {
            let pointer = format!("/hidden/{index}");
            return Err(Invalid::at(pointer, "a hidden layer has 1 to 4096 units"));
        }
        match self {
            Self::Moe(moe) if !(2..=MAX_EXPERTS).contains(&moe.experts) => {
                Err(Invalid::at("/experts", "experts is 2 to 64"))
            }
            Self::Moe(moe) if !(1..=moe.experts).contains(&moe.top_k) => {
                Err(Invalid::at("/top_k", "top_k is 1 to the number of experts"))
            }
            _ => Ok(()),
        }
    }
}
