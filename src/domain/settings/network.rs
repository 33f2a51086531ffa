//! The network's shape, which is fixed for a model's life.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::domain::Invalid;
use crate::domain::input::{ImageSchema, InputSchema};

/// The network's shape.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum NetworkSettings {
    /// Dense layers with ReLU between them; the head grows with the labels.
    Mlp(MlpSettings),
    /// Several such, of which a gate chooses for each input, and one head.
    Moe(MoeSettings),
    /// For texts: what is read of one is looked up and added, then as `mlp`.
    Text(TextNetworkSettings),
    /// For images: convolutions, then as `mlp`.
    Cnn(CnnSettings),
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
    /// Whether an update that brings new labels brings an expert more, up to 64: a copy of one of them.
    /// With a `top_k` of 1 training begins with the answers of before; with more, an input whose last
    /// expert comes after the copied one is led to both copies instead, and is answered otherwise.
    pub grow: bool,
}

impl Default for MoeSettings {
    fn default() -> Self {
        Self { hidden: MlpSettings::default().hidden, experts: 4, top_k: 1, grow: false }
    }
}

/// A network that reads texts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TextNetworkSettings {
    /// Numbers that each bucket stands for, 16 to 1,024: the first hidden layer.
    pub embedding: usize,
    /// Units of each hidden layer behind it: up to 7 layers of 1 to 4,096.
    pub hidden: Vec<usize>,
}

impl Default for TextNetworkSettings {
    fn default() -> Self {
        Self { embedding: 256, hidden: Vec::new() }
    }
}

/// A convolutional network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct CnnSettings {
    /// Channels of each stage, 1 to 6 stages of 4 to 256: a convolution of 3 × 3, normalisation of
    /// groups of channels, ReLU, and of each 2 × 2 the largest, which halves both sides.
    pub channels: Vec<usize>,
    /// Units of each hidden layer behind them: 1 to 7 layers of 1 to 4,096.
    pub hidden: Vec<usize>,
}

impl Default for CnnSettings {
    fn default() -> Self {
        Self { channels: vec![16, 32], hidden: vec![128] }
    }
}

impl CnnSettings {
    /// As many stages as leave a few pixels of a side.
    fn default_for(image: &ImageSchema) -> Self {
        const STAGES: [usize; 5] = [16, 32, 64, 64, 64];
        const FEW_PIXELS: usize = 8;
        let longest = image.width.max(image.height);
        let shortest = image.width.min(image.height);
        let is_long = |n: usize| longest >> n > FEW_PIXELS && shortest >> n >= 2;
        let n = (1..STAGES.len()).find(|&n| !is_long(n)).unwrap_or(STAGES.len());
        Self { channels: STAGES[..n].to_vec(), ..Self::default() }
    }

    fn check(&self, schema: &InputSchema) -> Result<(), Invalid> {
        if !(1..=6).contains(&self.channels.len()) {
            return Err(Invalid::at("/channels", "give the channels of 1 to 6 stages"));
        }
        if let Some(index) = self.channels.iter().position(|n| !(4..=256).contains(n)) {
            let pointer = format!("/channels/{index}");
            return Err(Invalid::at(pointer, "a stage has 4 to 256 channels"));
        }
        let shortest = schema.image().map_or(0, |image| image.width.min(image.height));
        match shortest >> self.channels.len() {
            0 => Err(Invalid::at(
                "/channels",
                format!("each stage halves the image, and its shorter side has {shortest} pixels"),
            )),
            _ => Ok(()),
        }
    }
}

impl NetworkSettings {
    /// What suits inputs of `schema`.
    pub fn default_for(schema: &InputSchema) -> Self {
        match schema {
            InputSchema::Tabular(_) => Self::Mlp(MlpSettings::default()),
            InputSchema::Text(_) => Self::Text(TextNetworkSettings::default()),
            InputSchema::Image(image) => Self::Cnn(CnnSettings::default_for(image)),
        }
    }

    /// Units of each hidden layer, of each expert where there are several.
    pub fn hidden(&self) -> Vec<usize> {
        match self {
            Self::Mlp(mlp) => mlp.hidden.clone(),
            Self::Moe(moe) => moe.hidden.clone(),
            Self::Text(text) => [&[text.embedding], &text.hidden[..]].concat(),
            Self::Cnn(cnn) => cnn.hidden.clone(),
        }
    }

    /// Channels of each stage of convolutions.
    pub fn channels(&self) -> &[usize] {
        match self {
            Self::Cnn(cnn) => &cnn.channels,
            _ => &[],
        }
    }

    /// How many of its first hidden layers may be frozen.
    pub fn n_freezable(&self) -> usize {
        match self {
            Self::Moe(_) => 0,
            _ => self.channels().len() + self.hidden().len(),
        }
    }

    /// Whether new labels bring an expert more.
    pub fn grows(&self) -> bool {
        matches!(self, Self::Moe(moe) if moe.grow)
    }

    /// Checks that it suits inputs of `schema`.
    ///
    /// # Errors
    /// [`Invalid`] with the pointer of the first part that is wrong.
    pub fn check(&self, schema: &InputSchema) -> Result<(), Invalid> {
        let needs = match (schema, self) {
            (InputSchema::Text(_), Self::Text(_)) => None,
            (InputSchema::Text(_), _) => Some("text"),
            (InputSchema::Tabular(_), Self::Text(_) | Self::Cnn(_)) => Some("mlp or moe"),
            (InputSchema::Image(_), Self::Text(_)) => Some("cnn, mlp or moe"),
            _ => None,
        };
        if let Some(needs) = needs {
            let detail = format!("the network of such input is of kind {needs}");
            return Err(Invalid::at("/kind", detail));
        }
        let hidden = match self {
            Self::Mlp(MlpSettings { hidden })
            | Self::Moe(MoeSettings { hidden, .. })
            | Self::Cnn(CnnSettings { hidden, .. }) => hidden,
            Self::Text(text) => &text.hidden,
        };
        let fewest = usize::from(!schema.is_text());
        if !(fewest..=7 + fewest).contains(&hidden.len()) {
            let most = 7 + fewest;
            return Err(Invalid::at("/hidden", format!("give {fewest} to {most} hidden layers")));
        }
        if let Some(index) = hidden.iter().position(|units| !(1..=4096).contains(units)) {
            let pointer = format!("/hidden/{index}");
            return Err(Invalid::at(pointer, "a hidden layer has 1 to 4096 units"));
        }
        match self {
            Self::Text(text) if !(16..=1024).contains(&text.embedding) => {
                Err(Invalid::at("/embedding", "embedding is 16 to 1024"))
            }
            Self::Moe(moe) if !(2..=MAX_EXPERTS).contains(&moe.experts) => {
                Err(Invalid::at("/experts", "experts is 2 to 64"))
            }
            Self::Moe(moe) if !(1..=moe.experts).contains(&moe.top_k) => {
                Err(Invalid::at("/top_k", "top_k is 1 to the number of experts"))
            }
            Self::Cnn(cnn) => cnn.check(schema),
            _ => Ok(()),
        }
    }
}
