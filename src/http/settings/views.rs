//! How a model's input and network are shown.

use serde::Serialize;
use utoipa::ToSchema;

use crate::domain::input::{Feature, ImageSchema, InputSchema, Resize, TabularSchema, TextSchema};
use crate::domain::settings::{
    CnnSettings, MlpSettings, MoeSettings, NetworkSettings, TextNetworkSettings,
};

/// What one input looks like. `tabular`: either `dim` (plain vectors) or `features` (named columns).
#[derive(Debug, Default, Serialize, ToSchema)]
#[schema(as = InputSchema)]
pub struct InputView {
    /// A row of numbers, or of named numbers and categories; a text; or an image.
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
    /// `text` only: languages whose most frequent words are not read, as `en` (ISO 639-1).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false, max_items = 64)]
    stop_words: Vec<String>,
    /// `text` only: whether the network counts a bucket the more the fewer texts have it, by all texts
    /// so far. Weights make up for counts that move.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, default = json!(false))]
    idf: Option<bool>,
    /// `image`, required there: pixels in a row; what comes in another size is resized.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, minimum = 8, maximum = 256)]
    width: Option<usize>,
    /// `image`, required there: rows.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, minimum = 8, maximum = 256)]
    height: Option<usize>,
    /// `image`, required there: 1 for grey, 3 for red, green and blue. Width × height × channels is
    /// at most 65,536.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, minimum = 1, maximum = 3)]
    channels: Option<usize>,
    /// `image` only: how an image of another size is brought to this one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, default = json!("stretch"))]
    resize: Option<Resize>,
}

/// The kinds of input that there are.
#[derive(Debug, Default, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum InputKind {
    /// A row of numbers, or of named numbers and categories.
    #[default]
    Tabular,
    /// A text in any language, up to 64 KiB of UTF-8.
    Text,
    /// A picture.
    Image,
}

impl From<InputSchema> for InputView {
    fn from(input: InputSchema) -> Self {
        match input {
            InputSchema::Tabular(TabularSchema { dim, features }) => {
                Self { dim, features, ..Self::default() }
            }
            InputSchema::Text(TextSchema { buckets, stop_words, idf }) => Self {
                kind: InputKind::Text,
                buckets: Some(buckets),
                stop_words,
                idf: idf.then_some(true),
                ..Self::default()
            },
            InputSchema::Image(ImageSchema { width, height, channels, resize }) => Self {
                kind: InputKind::Image,
                width: Some(width),
                height: Some(height),
                channels: Some(channels),
                resize: Some(resize),
                ..Self::default()
            },
        }
    }
}

/// The network's shape.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = NetworkSettings)]
pub struct NetworkView {
    /// Dense layers with ReLU between them; the head grows with the labels. `moe`: several such, of
    /// which a gate chooses for each input. `text`: for texts, and for nothing else. `cnn`: for
    /// images, and their default.
    #[schema(required = false)]
    kind: NetworkKind,
    /// Units of each hidden layer, 1 to 4,096; of each expert where there are several. `text`: of
    /// those behind the embedding, by default none. `cnn`: of those behind the convolutions, by
    /// default one of 128.
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
    /// `moe` only: whether an update that brings new labels brings an expert more, up to 64: a copy of
    /// one of them. With a `top_k` of 1 training begins with the answers of before; with more, an input
    /// whose last expert comes after the copied one is led to both copies instead, and is answered
    /// otherwise.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, default = json!(false))]
    grow: Option<bool>,
    /// `cnn` only: channels of each stage; each halves the image. By default as many stages as
    /// leave at most 8 pixels of a side.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, min_items = 1, max_items = 6, default = json!([16, 32]))]
    channels: Option<Vec<usize>>,
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
    /// Convolutions, then dense layers.
    Cnn,
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
            channels: None,
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
            NetworkSettings::Cnn(CnnSettings { channels, hidden }) => {
                Self { channels: Some(channels), ..plain(NetworkKind::Cnn, hidden) }
            }
        }
    }
}
