//! The network: dense layers with ReLU between them, or experts that are made of such, and a head that
//! grows with the labels.
//!
//! Weights live on the host as plain numbers ([`Dense`]), which is what is stored, compensated and
//! grown; burn holds a copy ([`Network`]) while it computes.

pub(super) mod packed;
mod weights;

use std::ops::Range;

use burn::tensor::activation::relu;
use burn::tensor::module::linear;
use burn::tensor::{Device as BurnDevice, Gradients, Tensor, TensorData};
use rand::Rng;

use super::front::{Front, Trace};
use super::rows::Rows;
use super::shape::Shape;
use super::{Device, experts};

/// The weights of one dense layer: `y = x·weight + bias`.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Dense {
    /// Inputs.
    pub(super) n_in: usize,
    /// Outputs.
    pub(super) n_out: usize,
    /// `[n_in, n_out]`, row-major.
    pub(super) weight: Vec<f32>,
    /// `[n_out]`.
    pub(super) bias: Vec<f32>,
}

impl Dense {
    /// Uniform weights and biases within ±1/√`n_active`, the number of inputs that are not 0 at
    /// once (`n_in` but for one-hot columns).
    pub(super) fn random(n_in: usize, n_out: usize, n_active: usize, draws: &mut impl Rng) -> Self {
        let bound = 1.0 / (n_active.max(1) as f32).sqrt();
        let mut uniform = |n: usize| (0..n).map(|_| draws.gen_range(-bound..=bound)).collect();
        Self { n_in, n_out, weight: uniform(n_in * n_out), bias: uniform(n_out) }
    }

    /// Zeros of the same shape.
    pub(super) fn zeros_like(&self) -> Self {
        let (weight, bias) = (vec![0.0; self.weight.len()], vec![0.0; self.bias.len()]);
        Self { weight, bias, ..*self }
    }

    /// The weights that read input `index`.
    pub(super) fn row_mut(&mut self, index: usize) -> &mut [f32] {
        &mut self.weight[index * self.n_out..(index + 1) * self.n_out]
    }

    /// Appends `n_new` outputs of zero weights and the mean bias: old outputs stay as they are,
    /// and new ones start where the average old one is for an input that says nothing.
    pub(super) fn grow_outputs(&mut self, n_new: usize) {
        let n_out = self.n_out + n_new;
        let mut weight = Vec::with_capacity(self.n_in * n_out);
        for row in self.weight.chunks_exact(self.n_out) {
            weight.extend_from_slice(row);
            weight.resize(weight.len() + n_new, 0.0);
        }
        let mean = self.bias.iter().sum::<f32>() / self.n_out as f32;
        self.weight = weight;
        self.bias.resize(n_out, mean);
        self.n_out = n_out;
    }

    /// Appends an output that says what output `index` does.
    pub(super) fn copy_output(&mut self, index: usize) {
        self.grow_outputs(1);
        let last = self.n_out - 1;
        self.weight.chunks_exact_mut(self.n_out).for_each(|row| row[last] = row[index]);
        self.bias[last] = self.bias[index];
    }
}

/// Weights and biases of each layer in turn, as gradients are laid out.
pub(super) fn parameters(layers: &[Dense]) -> impl Iterator<Item = &Vec<f32>> {
    layers.iter().flat_map(|layer| [&layer.weight, &layer.bias])
}

/// The same, to be changed.
pub(super) fn parameters_mut(layers: &mut [Dense]) -> impl Iterator<Item = &mut Vec<f32>> {
    layers.iter_mut().flat_map(|layer| [&mut layer.weight, &mut layer.bias])
}

impl Device {
    /// burn's device of this kind.
    pub(super) fn burn(self) -> BurnDevice {
        match self {
            Self::Flex => BurnDevice::flex(),
            #[expect(deprecated, reason = "kept as a second opinion until burn removes it")]
            Self::NdArray => BurnDevice::ndarray(),
        }
    }
}

/// Layers on a device, ready to compute; but those that read texts or images stay on the host.
#[derive(Debug)]
pub(super) struct Network<'a> {
    device: BurnDevice,
    shape: Shape,
    front: Option<Front<'a>>,
    /// All others.
    layers: Vec<experts::Layer>,
    /// How many of the first layers have no gradients; all where it only answers.
    n_frozen: usize,
}

/// The gradient of a layer's weights, or of its biases.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Gradient {
    /// Of all of them.
    All(Vec<f32>),
    /// Of the weights that read some of the columns, ascending; it is 0 for all others.
    Columns(Vec<u32>, Vec<f32>),
}

impl Gradient {
    /// Of none: no weight is to move.
    pub(super) fn nothing() -> Self {
        Self::Columns(Vec::new(), Vec::new())
    }

    /// Its numbers.
    pub(super) fn numbers(&self) -> &[f32] {
        match self {
            Self::All(numbers) | Self::Columns(_, numbers) => numbers,
        }
    }

    /// Which weights it is of, part by part: it is 0 for all others.
    pub(super) fn parts(&self) -> impl Iterator<Item = (Range<usize>, &[f32])> {
        let (columns, numbers) = match self {
            Self::All(numbers) => (&[0][..], numbers),
            Self::Columns(columns, numbers) => (&columns[..], numbers),
        };
        let n_out = numbers.len() / columns.len().max(1);
        columns.iter().zip(numbers.chunks_exact(n_out.max(1))).map(move |(&column, slopes)| {
            let start = column as usize * n_out;
            (start..start + n_out, slopes)
        })
    }

    /// That of all `n` weights.
    pub(super) fn spread(self, n: usize) -> Vec<f32> {
        if let Self::All(numbers) = self {
            return numbers;
        }
        let mut all = vec![0.0; n];
        self.parts().for_each(|(at, slopes)| all[at].copy_from_slice(slopes));
        all
    }
}

/// What a network computes for a minibatch of n rows.
#[derive(Debug)]
pub(super) struct Outputs {
    /// The last hidden layer, `[n, units]`.
    pub(super) hidden: Tensor<2>,
    /// Before the softmax, `[n, labels]`.
    pub(super) logits: Tensor<2>,
    /// What an uneven load of experts adds to the loss, where there are such.
    pub(super) balance: Option<Tensor<1>>,
    /// What rows left behind in a network's front, and its outputs before the ReLU, `[n, units]`.
    pub(super) read: Option<(Trace, Tensor<2>)>,
}

impl<'a> Network<'a> {
    /// `layers`, which hang together as `shape` says, on `device`, to answer.
    pub(super) fn new(shape: &Shape, layers: &'a [Dense], device: Device) -> Self {
        let device = device.burn();
        let n_frozen = layers.len();
        let (front, layers) = Front::of(shape, layers);
        let layers = layers.iter().map(|layer| tensors(layer, &device)).collect();
        Self { shape: shape.clone(), front, layers, n_frozen, device }
    }

    /// The same, to train all but the first `n_frozen` layers: [`Self::gradients`] follow a backward
    /// pass.
    pub(super) fn tracked(
        shape: &Shape,
        layers: &'a [Dense],
        n_frozen: usize,
        device: Device,
    ) -> Self {
        let device = device.burn().autodiff();
        let tracked = |(place, layer)| match tensors(layer, &device) {
            frozen if place < n_frozen => frozen,
            (weight, bias) => (weight.require_grad(), bias.require_grad()),
        };
        let (front, others) = Front::of(shape, layers);
        let layers = (shape.n_front()..).zip(others).map(tracked).collect();
        Self { shape: shape.clone(), front, layers, n_frozen, device }
    }

    /// The same with layers of its own.
    pub(super) fn into_owned(self) -> Network<'static> {
        let front = self.front.map(Front::into_owned);
        Network { front, ..self }
    }

    /// Where it computes.
    pub(super) fn device(&self) -> &BurnDevice {
        &self.device
    }

    /// Outputs for `rows`, of the kind that the first layer reads.
    pub(super) fn forward(&self, rows: Rows) -> Outputs {
        let (head, body) = self.layers.split_last().expect("a network has a head");
        let (mut balance, mut read) = (None, None);
        let hidden = match (rows, &self.front, self.shape.experts) {
            (rows, Some(front), _) => {
                let moves = self.n_frozen < self.shape.n_front();
                let (sums, trace) = front.forward(rows, moves);
                let sums = matrix(sums, front.n_outputs(), &self.device);
                let sums = if moves { sums.require_grad() } else { sums };
                read = Some((trace, sums.clone()));
                through(body, relu(sums))
            }
            (Rows::Full(rows), None, Some(experts)) => {
                let (hidden, uneven) = experts::forward(experts, body, &rows, &self.device);
                balance = Some(uneven);
                hidden
            }
            (Rows::Full(rows), None, None) => {
                let width = self.layers[0].0.dims()[0];
                through(body, matrix(rows, width, &self.device))
            }
            _ => unreachable!("rows are of the shape's kind"),
        };
        let logits = linear(hidden.clone(), head.0.clone(), Some(head.1.clone()));
        Outputs { hidden, logits, balance, read }
    }

    /// Gradients of the layers' weights and biases, in the order of the layers, from the gradient
    /// of the loss with respect to the logits of `outputs`, `[n, labels]` row-major; of frozen ones
    /// nothing.
    pub(super) fn gradients(&self, outputs: Outputs, slope: Vec<f32>) -> Vec<Gradient> {
        let Outputs { logits, balance, read, .. } = outputs;
        let [_, n_labels] = logits.dims();
        // d(Σ logits·slope) / d(logits) is the slope itself: burn carries it back from there.
        let slope = matrix(slope, n_labels, &self.device);
        let loss = (logits * slope).sum();
        let loss = balance.into_iter().fold(loss, |loss, balance| loss + balance);
        let mut gradients = loss.backward();
        let mut collected = vec![Gradient::nothing(); 2 * self.n_frozen];
        let n_front = self.shape.n_front();
        if let (Some(front), Some((trace, sums))) = (&self.front, read)
            && self.n_frozen < n_front
        {
            let of_sums = gradient(&sums, &mut gradients);
            collected.extend(front.gradients(trace, &of_sums, self.n_frozen));
        }
        for (weight, bias) in &self.layers[self.n_frozen.saturating_sub(n_front)..] {
            collected.push(Gradient::All(gradient(weight, &mut gradients)));
            collected.push(Gradient::All(gradient(bias, &mut gradients)));
        }
        collected
    }
}

/// What `layers` make of `hidden`, one after another.
pub(super) fn through(layers: &[experts::Layer], hidden: Tensor<2>) -> Tensor<2> {
    layers.iter().fold(hidden, |hidden, (weight, bias)| {
        relu(linear(hidden, weight.clone(), Some(bias.clone())))
    })
}

/// The numbers of `tensor`, row-major.
pub(super) fn numbers<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.try_into_vec_as().expect("a float tensor on the host")
}

/// `rows` as a tensor `[n, width]`.
pub(super) fn matrix(rows: Vec<f32>, width: usize, device: &BurnDevice) -> Tensor<2> {
    let n = rows.len() / width;
    Tensor::from_data(TensorData::new(rows, [n, width]), device)
}

fn tensors(layer: &Dense, device: &BurnDevice) -> (Tensor<2>, Tensor<1>) {
    let bias = TensorData::new(layer.bias.clone(), [layer.n_out]);
    (matrix(layer.weight.clone(), layer.n_out, device), Tensor::from_data(bias, device))
}

fn gradient<const D: usize>(parameter: &Tensor<D>, gradients: &mut Gradients) -> Vec<f32> {
    let gradient = parameter.grad_remove(gradients);
    gradient.map_or_else(|| vec![0.0; parameter.shape().num_elements()], numbers)
}
