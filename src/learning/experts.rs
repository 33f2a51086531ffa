//! A mixture of experts: a gate leads each input to the `top_k` experts that it prefers, and only
//! those compute (Shazeer et al. 2017).
//!
//! What the chosen experts say is weighted by `p / Σ p` over them, p the gate's softmax. The sum is a
//! constant to the gradient: a single expert counts 1, so that how sure the gate is does not scale
//! what it says, and the gate learns all the same. That no expert idles is asked for by the loss
//! `n·Σ f·P`, f the share of inputs that an expert is given and P its mean probability (Fedus et al.
//! 2022).

use burn::tensor::activation::softmax;
use burn::tensor::module::linear;
use burn::tensor::{Device as BurnDevice, Int, Tensor, TensorData};

use super::network::{matrix, numbers, through};
use super::shape::Experts;

/// What the balance of the load counts beside the loss.
const BALANCE: f32 = 0.01;

/// Weights and biases of a layer on a device.
pub(super) type Layer = (Tensor<2>, Tensor<1>);

/// What the experts say of `rows`, `[n, width]` row-major: `[n, units]`, and the loss of an uneven
/// load. `layers` are the gate and the layers of one expert after another.
pub(super) fn forward(
    experts: Experts,
    layers: &[Layer],
    rows: &[f32],
    device: &BurnDevice,
) -> (Tensor<2>, Tensor<1>) {
    let (gate, stacks) = layers.split_first().expect("a mixture has a gate");
    let width = gate.0.dims()[0];
    let all = matrix(rows.to_vec(), width, device);
    let gated = softmax(linear(all, gate.0.clone(), Some(gate.1.clone())), 1);
    let routes = Routes::of(experts, &numbers(gated.clone()));
    let depth = stacks.len() / experts.n;
    let mut said = Vec::new();
    for (expert, stack) in stacks.chunks_exact(depth).enumerate() {
        let led = &routes.of_expert[expert];
        if led.is_empty() {
            continue;
        }
        let own: Vec<f32> =
            led.iter().flat_map(|&row| &rows[row * width..(row + 1) * width]).copied().collect();
        let hidden = through(stack, matrix(own, width, device));
        let weight = gated.clone().select(0, places(led, device)).narrow(1, expert, 1);
        let totals = led.iter().map(|&row| routes.totals[row]).collect();
        said.push(hidden * (weight / matrix(totals, 1, device)));
    }
    let said = Tensor::cat(said, 0);
    let slots = routes.slots.iter().map(|slot| said.clone().select(0, places(slot, device)));
    let hidden = slots.reduce(|sum, slot| sum + slot).expect("every input is led somewhere");
    let load = matrix(routes.load, experts.n, device);
    let balance = (gated.mean_dim(0) * load).sum() * (BALANCE * experts.n as f32);
    (hidden, balance)
}

fn places(places: &[usize], device: &BurnDevice) -> Tensor<1, Int> {
    let places: Vec<i64> = places.iter().map(|&place| place as i64).collect();
    let n = places.len();
    Tensor::from_data(TensorData::new(places, [n]), device)
}

/// Which inputs each expert is given.
struct Routes {
    /// Inputs of each expert.
    of_expert: Vec<Vec<usize>>,
    /// What the gate gives to the chosen of each input together.
    totals: Vec<f32>,
    /// The place of each input's first answer among those of one expert after another, then of its
    /// second, and so on.
    slots: Vec<Vec<usize>>,
    /// The share of all answers that each expert gives.
    load: Vec<f32>,
}

impl Routes {
    /// By `gated`, `[n, experts]` row-major. Of experts preferred equally the first is chosen.
    fn of(experts: Experts, gated: &[f32]) -> Self {
        let Experts { n, top_k } = experts;
        let mut of_expert = vec![Vec::new(); n];
        let mut totals = Vec::with_capacity(gated.len() / n);
        let mut chosen: Vec<Vec<(usize, usize)>> = Vec::with_capacity(gated.len() / n);
        for (row, probabilities) in gated.chunks_exact(n).enumerate() {
            let mut order: Vec<usize> = (0..n).collect();
            order.sort_by(|&a, &b| probabilities[b].total_cmp(&probabilities[a]));
            order.truncate(top_k);
            totals.push(order.iter().map(|&expert| probabilities[expert]).sum());
            let led = order.into_iter().map(|expert| {
                of_expert[expert].push(row);
                (expert, of_expert[expert].len() - 1)
            });
            chosen.push(led.collect());
        }
        let mut n_before = 0;
        let mut firsts = Vec::with_capacity(n);
        for led in &of_expert {
            firsts.push(n_before);
            n_before += led.len();
        }
        let slot = |nth: usize| {
            let place = |chosen: &Vec<(usize, usize)>| firsts[chosen[nth].0] + chosen[nth].1;
            chosen.iter().map(place).collect()
        };
        let n_answers = chosen.len() * top_k;
        let load = of_expert.iter().map(|led| led.len() as f32 / n_answers as f32).collect();
        let slots = (0..top_k).map(slot).collect();
        Self { of_expert, totals, slots, load }
    }
}

#[cfg(test)]
mod tests {
    use std::ops::ControlFlow::Continue;

    use super::*;
    use crate::domain::input::{InputSchema, TabularSchema};
    use crate::domain::label::Label;
    use crate::domain::sample::{ContentHash, Samples};
    use crate::domain::settings::{ModelSettings, MoeSettings, NetworkSettings};
    use crate::learning::{Device, LearnerState, Lesson, Predictor, update};

    #[test]
    fn each_input_goes_to_those_that_the_gate_prefers() {
        let gated = [0.1, 0.7, 0.2, 0.5, 0.3, 0.2, 0.2, 0.2, 0.6];
        let one = Routes::of(Experts { n: 3, top_k: 1 }, &gated);
        assert_eq!(one.of_expert, [vec![1], vec![0], vec![2]]);
        assert_eq!(one.slots, [vec![1, 0, 2]]);
        let two = Routes::of(Experts { n: 3, top_k: 2 }, &gated);
        assert_eq!(two.of_expert, [vec![1, 2], vec![0, 1], vec![0, 2]]);
        assert_eq!(two.slots, [vec![2, 0, 5], vec![4, 3, 1]]);
        assert!((two.totals[0] - 0.9).abs() < 1e-6);
        assert_eq!(two.load, [1.0 / 3.0; 3]);
    }

    #[test]
    fn a_copied_expert_takes_the_place_of_the_last_where_it_is_not_the_last_itself() {
        let copied_first = [0.5, 0.3, 0.2, 0.3, 0.5, 0.2, 0.1, 0.5, 0.4];
        let routes = |n: usize, gated: &[f32]| Routes::of(Experts { n, top_k: 2 }, gated).of_expert;
        assert_eq!(routes(3, &copied_first), [vec![0, 1], vec![0, 1, 2], vec![2]]);
        let grown: Vec<f32> =
            copied_first.chunks(3).flat_map(|row| [row, &row[..1]].concat()).collect();
        assert_eq!(routes(4, &grown), [vec![0, 1], vec![1, 2], vec![2], vec![0]]);
    }

    #[test]
    fn an_expert_more_changes_nothing_that_a_mixture_of_one_answer_says() {
        let input = InputSchema::Tabular(TabularSchema { dim: Some(2), features: None });
        let moe = MoeSettings { hidden: vec![8, 4], experts: 3, top_k: 1, grow: true };
        let network = NetworkSettings::Moe(moe);
        let settings = ModelSettings { network, ..ModelSettings::new(input) };
        let mut samples = Samples::empty(&settings.input);
        for index in 0..100 {
            let point = [(index as f32).sin(), (index as f32 * 0.7).cos()];
            let is_within = point[0] * point[0] + point[1] * point[1] < 0.7;
            samples.inputs.push(&point, &[]);
            samples.labels.push(Label::parse(if is_within { "in" } else { "out" }).unwrap());
            samples.weights.push(1.0);
            samples.hashes.push(ContentHash::of_input(&point, &[]));
            samples.arrived.push(0);
        }
        let says = |state: &LearnerState| {
            Predictor::new(state, Device::Flex).predict(&samples.inputs).unwrap()
        };
        let lesson = Lesson::first(&settings, samples.clone(), 1);
        let mut state = update(&lesson, &mut |_| Continue(())).unwrap().state.unwrap();
        let before = says(&state);
        for seed in 0..4 {
            state.grow_experts(seed);
            let after = says(&state);
            assert!(after.iter().zip(&before).all(|(a, b)| (a - b).abs() < 1e-5));
        }
        assert_eq!(state.shape.experts, Some(Experts { n: 7, top_k: 1 }));
    }
}
