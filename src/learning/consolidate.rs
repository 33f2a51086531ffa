//! Elastic weight consolidation: what mattered to old samples is held (Kirkpatrick et al. 2017).
//!
//! The importance of a weight is the diagonal of the Fisher information, the mean square of the
//! gradient of a sample's log-likelihood. One running sum over all updates is kept, older ones
//! fading, around the newest weights (online EWC, Schwarz et al. 2018).

use super::Lesson;
use super::loss::{Targets, loss};
use super::minibatch::places;
use super::network::{Dense, Gradient, Network, Outputs, numbers, parameters, parameters_mut};
use super::state::LearnerState;
use super::subset::Subset;

/// Samples that importance is measured on.
const MAX_MEASURED: usize = 1_000;
/// Samples a gradient is taken of at a time: a square of so small a mean is, times their number,
/// close to the mean square of each.
const AT_ONCE: usize = 4;
/// λ, where importance is 1 in the mean: a well-learnt sample has small slopes, and what matters is
/// which weights hold it more than others.
const STRENGTH: f64 = 0.01;
/// What is left of earlier importance after an update.
const FADING: f32 = 0.9;

/// Weights to hold on to, and how much each matters.
#[derive(Debug)]
pub(super) struct Anchor {
    layers: Vec<Dense>,
    /// λ times the importance, as laid out in gradients.
    pull: Vec<Vec<f32>>,
}

impl Anchor {
    /// Holds on to `layers` by their `importance`.
    pub(super) fn new(layers: &[Dense], importance: &[Dense]) -> Self {
        let n: usize = parameters(importance).map(Vec::len).sum();
        let sum = |numbers: &Vec<f32>| numbers.iter().map(|&x| f64::from(x)).sum::<f64>();
        let mean = parameters(importance).map(sum).sum::<f64>() / n as f64;
        let strength = if mean > 0.0 { (STRENGTH / mean) as f32 } else { 0.0 };
        let scaled = |numbers: &Vec<f32>| numbers.iter().map(|x| x * strength).collect();
        let pull = parameters(importance).map(scaled).collect();
        Self { layers: layers.to_vec(), pull }
    }

    /// Adds the slope of `λ/2·Σ F·(θ − θ_old)²` to `gradients`.
    pub(super) fn pull(&self, layers: &[Dense], gradients: &mut [Gradient]) {
        let (now, then) = (parameters(layers), parameters(&self.layers));
        for (((now, then), pull), gradient) in now.zip(then).zip(&self.pull).zip(gradients) {
            let mut all = std::mem::replace(gradient, Gradient::All(Vec::new())).spread(now.len());
            let numbers = all.iter_mut().zip(now).zip(then).zip(pull);
            numbers.for_each(|(((slope, now), then), pull)| *slope += pull * (now - then));
            *gradient = Gradient::All(all);
        }
    }
}

/// How much each weight of `state` matters to `subset`, laid out as its layers.
pub(super) fn importance(
    lesson: &Lesson<'_>,
    state: &LearnerState,
    subset: &Subset<'_>,
) -> Vec<Dense> {
    let mut sums: Vec<Dense> = state.layers.iter().map(Dense::zeros_like).collect();
    let places = places(state);
    let featurizer = state.featurizer();
    let log_prior = vec![0.0; state.labels.len()];
    let network = Network::tracked(&state.shape, &state.layers, 0, lesson.device);
    let measured = subset.up_to(MAX_MEASURED);
    let n_parts = measured.len().div_ceil(AT_ONCE).max(1);
    let all: Vec<usize> = (0..measured.len()).collect();
    for part in all.chunks(AT_ONCE) {
        let part = measured.choose(part);
        let rows = featurizer.rows(&part.samples.inputs, part.indices.iter().copied());
        let labels: Vec<usize> = part.labels().map(|label| places[label]).collect();
        let shares = vec![1.0 / part.len() as f32; part.len()];
        // How even the load of experts is, is no part of the likelihood.
        let outputs = Outputs { balance: None, ..network.forward(rows) };
        let targets = Targets { labels, shares, ..Targets::default() };
        let slope = loss(&numbers(outputs.logits.clone()), &log_prior, &targets).slope;
        let gradients = network.gradients(outputs, slope);
        let scale = part.len() as f32 / n_parts as f32;
        for (sums, gradient) in parameters_mut(&mut sums).zip(&gradients) {
            for (at, slopes) in gradient.parts() {
                sums[at].iter_mut().zip(slopes).for_each(|(sum, x)| *sum += scale * x * x);
            }
        }
    }
    sums
}

/// Lets earlier importance fade and adds the new one.
pub(super) fn accumulate(earlier: Option<Vec<Dense>>, mut new: Vec<Dense>) -> Vec<Dense> {
    if let Some(earlier) = earlier {
        for (sums, earlier) in parameters_mut(&mut new).zip(parameters(&earlier)) {
            sums.iter_mut().zip(earlier).for_each(|(sum, earlier)| *sum += FADING * earlier);
        }
    }
    new
}
