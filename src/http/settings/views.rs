//! How a model's input and network are shown.

use serde::Serialize;
use utoipa::ToSchema;

use crate::domain::input::{Feature, InputSchema, TabularSchema, TextSchema};
use crate::domain::settings::{MlpSettings, MoeSettings, NetworkSettings, TextNetworkSettings};

/// What one input looks like. `tabular`: either `dim` (plain vectors) or `features` (named columns).
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = InputSchema)]
pub struct InputView {
    /// A row of numbers, or of named numbers and categories; or a text.
    kind: InputKind,
    /// Length of a plain numeric vector.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 65_536)]
    dim: Option<usize>,
    /// Named columns, in the order that array inputs follow.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(min_items = 1, max_items = 65_536)]
    features: Option<Vec<Feature>>,
    /// `text` only: buckets that words, pairs of words and parts of words are hashed into.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, minimum = 1_024, maximum = 1_048_576, default = json!(32_768))]
    buckets: Option<usize>,
}

/// The kinds of input that there are.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum InputKind {
    /// A row of numbers, or of named numbers and categories.
    Tabular,
    /// A text in any language, up to 64 KiB of UTF-8.
    Text,
}

impl From<InputSchema> for InputView {
    fn from(input: InputSchema) -> Self {
        match input {
            InputSchema::Tabular(TabularSchema { dim, features }) => {
                Self { kind: InputKind::Tabular, dim, features, buckets: None }
            }
            InputSchema::Text(TextSchema { buckets }) => {
                let buckets = Some(buckets);
                Self { kind: InputKind::Text, dim: None, features: None, buckets }
            }
        }
    }
}

/// The network's shape.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = NetworkSettings)]
pub struct NetworkView {
    /// Dense layers with ReLU between them; the head grows with the labels. `moe`: several such, of
    /// which a gate chooses for each input. `text`: for texts, and for nothing else.
    #[schema(required = false)]
    kind: NetworkKind,
    /// Units of each hidden layer, 1 to 4,096; of each expert where there are several. `text`: of
    /// those behind the embedding, by default none.
    #[schema(required = false, min_items = 0, max_items = 8, default = json!([256, 256]))]
    hidden: Vec<usize>,
    /// `text` only: numbers that each bucket stands for.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, minimum = 16, maximum = 1_024, default = json!(256))]
    embedding: Option<usize>,
    /// `moe` only: how many experts there are at first.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, minimum = 2, maximum = 64, default = json!(4))]
    experts: Option<usize>,
    /// `moe` only: how many of them answer each input.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, minimum = 1, maximum = 64, default = json!(1))]
    top_k: Option<usize>,
    /// `moe` only: whether an update that brings new labels brings an expert more, up to 64.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, default = json!(false))]
    grow: Option<bool>,
}

/// The kinds of network that there are.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum NetworkKind {
    /// Dense layers with ReLU between them.
    Mlp,
    /// A mixture of experts.
    Moe,
    /// An embedding of texts, then dense layers.
    Text,
}

impl From<NetworkSettings> for NetworkView {
    fn from(network: NetworkSettings) -> Self {
        let plain = |kind, hidden| Self {
            kind,
            hidden,
            embedding: None,
            experts: None,
            top_k: None,
            grow: None,
        };
        match network {
            NetworkSettings::Mlp(MlpSettings { hidden }) => plain(NetworkKind::Mlp, hidden),
            NetworkSettings::Moe(MoeSettings { hidden, experts, top_k, grow }) => Self {
                experts: Some(experts),
                top_k: Some(top_k),
                grow: Some(grow),
                ..plain(NetworkKind::Moe, hidden)
            },
            NetworkSettings::Text(TextNetworkSettings { embedding, hidden }) => {
                Self { embedding: Some(embedding), ..plain(NetworkKind::Text, hidden) }
            }
        }
    }
}
