//! How the layers of a network hang together. They are kept in one row: that of a multilayer
//! perceptron is its hidden layers, then the head; that of a mixture of experts is the gate, the hidden
//! layers of one expert after another, then the head that all share. In front of hidden layers there
//! may be stages of convolutions ([`Stages`]).

use serde::{Deserialize, Serialize};

use crate::domain::input::InputSchema;
use crate::domain::settings::NetworkSettings;

use super::network::Dense;
use super::stages::Stages;

/// The shape of a network, but for the width of its inputs and the number of labels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Shape {
    /// Units of each hidden layer, of each expert where there are several.
    pub(super) hidden: Vec<usize>,
    /// Where it is a mixture.
    pub(super) experts: Option<Experts>,
    /// Whether its first layer reads sparse rows.
    pub(super) sparse: bool,
    /// What reads images, where there is such.
    pub(super) stages: Option<Stages>,
}

/// The experts of a mixture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Experts {
    /// How many there are.
    pub(super) n: usize,
    /// How many answer each input.
    pub(super) top_k: usize,
}

impl Shape {
    /// That of a new model.
    pub(super) fn of(settings: &NetworkSettings, schema: &InputSchema) -> Self {
        let experts = match settings {
            NetworkSettings::Mlp(_) | NetworkSettings::Text(_) | NetworkSettings::Cnn(_) => None,
            NetworkSettings::Moe(moe) => Some(Experts { n: moe.experts, top_k: moe.top_k }),
        };
        let sparse = matches!(settings, NetworkSettings::Text(_));
        let stages = stages(settings.channels(), schema);
        Self { hidden: settings.hidden(), experts, sparse, stages }
    }

    /// Whether it is that of a model with `settings`, whose experts may have become more.
    pub(super) fn fits(&self, settings: &NetworkSettings, schema: &InputSchema) -> bool {
        let begun = Self::of(settings, schema);
        let experts = match (self.experts, begun.experts) {
            (Some(now), Some(begun)) => now.n >= begun.n && now.top_k == begun.top_k,
            (now, begun) => now == begun,
        };
        let is_alike = self.hidden == begun.hidden && self.sparse == begun.sparse;
        is_alike && experts && self.stages == begun.stages
    }

    /// Units of the last hidden layer.
    pub(super) fn n_hidden(&self) -> usize {
        self.hidden.last().copied().unwrap_or_default()
    }

    /// Inputs and outputs of each layer but the head, for features of `width` columns.
    pub(super) fn body(&self, width: usize) -> Vec<(usize, usize)> {
        let mut n_in = self.stages.as_ref().map_or(width, Stages::n_outputs);
        let stack: Vec<(usize, usize)> =
            self.hidden.iter().map(|&units| (std::mem::replace(&mut n_in, units), units)).collect();
        match self.experts {
            None => {
                let front = self.stages.as_ref().map(Stages::sizes);
                front.into_iter().flatten().chain(stack).collect()
            }
            Some(experts) => {
                [(width, experts.n)].into_iter().chain(stack.repeat(experts.n)).collect()
            }
        }
    }

    /// How many layers are in front of those that burn computes.
    pub(super) fn n_front(&self) -> usize {
        match &self.stages {
            Some(stages) => 2 * stages.channels.len(),
            None => usize::from(self.sparse),
        }
    }

    /// How many layers the first `n_hidden` hidden ones are: a stage of convolutions is two.
    pub(super) fn n_layers_of(&self, n_hidden: usize) -> usize {
        let n_stages = self.stages.as_ref().map_or(0, |stages| stages.channels.len());
        n_hidden + n_hidden.min(n_stages)
    }

    /// Whether the layer at `place` scales and shifts each channel.
    pub(super) fn is_affine(&self, place: usize) -> bool {
        self.stages.is_some() && place < self.n_front() && !place.is_multiple_of(2)
    }

    /// Places of the layers that read the features.
    pub(super) fn reading(&self) -> Vec<usize> {
        let n = self.experts.map_or(0, |experts| experts.n);
        [0].into_iter().chain((0..n).map(|expert| 1 + expert * self.hidden.len())).collect()
    }
}

/// Stages of so many channels each, for inputs of `schema`.
pub(super) fn stages(channels: &[usize], schema: &InputSchema) -> Option<Stages> {
    let image = schema.image().filter(|_| !channels.is_empty())?;
    let (width, height, depth) = (image.width, image.height, image.channels);
    Some(Stages { width, height, depth, channels: channels.to_vec() })
}

/// Puts a copy of expert `copied` behind the others, which have so many layers each, and the same way to it
/// into the gate.
pub(super) fn copy_expert(layers: &mut Vec<Dense>, copied: usize, depth: usize) {
    layers[0].copy_output(copied);
    let copy = layers[1 + copied * depth..][..depth].to_vec();
    let head = layers.len() - 1;
    layers.splice(head..head, copy);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::learning::seed::{Draw, stream};

    #[test]
    fn every_expert_reads_the_features_and_so_does_the_gate() {
        let experts = Some(Experts { n: 2, top_k: 1 });
        let shape = Shape { hidden: vec![8, 4], experts, sparse: false, stages: None };
        assert_eq!(shape.body(3), [(3, 2), (3, 8), (8, 4), (3, 8), (8, 4)]);
        assert_eq!(shape.reading(), [0, 1, 3]);
        let draws = &mut stream(1, Draw::Layers);
        let sizes = shape.body(3).into_iter().chain([(4, 5)]);
        let mut layers: Vec<Dense> =
            sizes.map(|(n_in, n_out)| Dense::random(n_in, n_out, n_in, draws)).collect();
        let head = layers.last().cloned();
        copy_expert(&mut layers, 1, 2);
        assert_eq!(layers[5..7], layers[3..5]);
        assert_eq!(layers[0].bias[2], layers[0].bias[1]);
        assert!(layers[0].weight.chunks_exact(3).all(|row| row[2] == row[1]));
        let grown = Shape { experts: Some(Experts { n: 3, top_k: 1 }), ..shape };
        let sizes: Vec<_> = layers.iter().map(|layer| (layer.n_in, layer.n_out)).collect();
        assert_eq!(sizes[..7], grown.body(3));
        assert_eq!(layers.last().cloned(), head);
        let plain = Shape { hidden: vec![8, 4], experts: None, sparse: false, stages: None };
        assert_eq!((plain.body(3), plain.reading()), (vec![(3, 8), (8, 4)], vec![0]));
    }
}
