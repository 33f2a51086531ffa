//! A network that only answers. What it says is what [`Network`] says, to rounding.

use super::Device;
use super::front::Front;
use super::network::packed::Layer;
use super::network::{Dense, Network, numbers};
use super::rows::Rows;
use super::shape::{Experts, Shape};

/// Layers made ready to answer.
#[derive(Debug)]
pub(super) enum Answerer {
    /// One after another, behind what reads texts or images.
    Layers(Option<Front<'static>>, Vec<Layer>),
    /// A mixture of experts, whose gate leads each row another way.
    Mixture {
        /// Computes all of it.
        network: Box<Network<'static>>,
        /// Multiply-adds of a row.
        work: usize,
    },
}

impl Answerer {
    /// One of `layers`, which hang together as `shape` says; a mixture computes on `device`.
    pub(super) fn new(shape: &Shape, layers: &[Dense], device: Device) -> Self {
        if let Some(experts) = shape.experts {
            let network = Network::new(shape, layers, device).into_owned();
            return Self::Mixture { network: Box::new(network), work: of_mixture(experts, layers) };
        }
        let (front, layers) = Front::of(shape, layers);
        Self::Layers(front.map(Front::into_owned), layers.iter().map(Layer::of).collect())
    }

    /// Multiply-adds, about, that `n` rows take, which read `n_buckets` in all where they are of texts.
    pub(super) fn work(&self, n: usize, n_buckets: usize) -> usize {
        match self {
            Self::Mixture { work, .. } => n * work,
            Self::Layers(front, layers) => {
                let of_front = front.as_ref().map_or(0, |front| front.work(n, n_buckets));
                of_front + n * layers.iter().map(Layer::work).sum::<usize>()
            }
        }
    }

    /// Whether every row goes through every weight.
    pub(super) fn is_dense(&self) -> bool {
        matches!(self, Self::Layers(None, _))
    }

    /// What it says of `rows` before the softmax, `[n, labels]` row-major.
    pub(super) fn logits(&self, rows: Rows) -> Vec<f32> {
        match (self, rows) {
            (Self::Mixture { network, .. }, rows) => numbers(network.forward(rows).logits),
            (Self::Layers(Some(front), layers), rows) => {
                let (mut hidden, _) = front.forward(rows, false);
                rectify(&mut hidden);
                through(layers, hidden)
            }
            (Self::Layers(None, layers), Rows::Full(rows)) => through(layers, rows),
            _ => unreachable!("rows are of the shape's kind"),
        }
    }
}

/// Multiply-adds of a row in a mixture of `layers`: the gate's, those of the experts that it leads to, and
/// the head's.
fn of_mixture(experts: Experts, layers: &[Dense]) -> usize {
    let work = |layer: &Dense| layer.n_in * layer.n_out;
    let all: usize = layers.iter().map(work).sum();
    let ends = layers.first().map_or(0, work) + layers.last().map_or(0, work);
    ends + (all - ends) / experts.n * experts.top_k
}

/// What `layers` make of `rows`, one after another.
fn through(layers: &[Layer], mut rows: Vec<f32>) -> Vec<f32> {
    let (head, body) = layers.split_last().expect("a network has a head");
    for layer in body {
        rows = layer.through(&rows);
        rectify(&mut rows);
    }
    head.through(&rows)
}

fn rectify(numbers: &mut [f32]) {
    numbers.iter_mut().for_each(|number| *number = number.max(0.0));
}

#[cfg(test)]
mod tests {
    use rand::Rng;

    use super::*;
    use crate::learning::rows::SparseRows;
    use crate::learning::seed::{Draw, stream};
    use crate::learning::stages::Stages;

    #[test]
    fn networks_of_every_kind_say_what_they_say_in_training() {
        let plain = Shape { hidden: vec![24, 9], experts: None, sparse: false, stages: None };
        let stages = Stages { width: 8, height: 6, depth: 2, channels: vec![4, 8] };
        let shapes = [
            (plain.clone(), 13),
            (Shape { hidden: vec![], ..plain.clone() }, 13),
            (Shape { experts: Some(Experts { n: 3, top_k: 2 }), ..plain.clone() }, 13),
            (Shape { sparse: true, ..plain.clone() }, 50),
            (Shape { stages: Some(stages), ..plain }, 96),
        ];
        let draws = &mut stream(2, Draw::Layers);
        for (shape, width) in shapes {
            let mut layers: Vec<Dense> = shape
                .body(width)
                .into_iter()
                .map(|(n_in, n_out)| Dense::random(n_in, n_out, n_in, draws))
                .collect();
            let n_hidden = layers.last().map_or(width, |layer| layer.n_out);
            layers.push(Dense::random(n_hidden, 5, n_hidden, draws));
            for n in [1, 2, 7, 200] {
                let rows = match shape.sparse {
                    true => {
                        let mut rows = SparseRows::default();
                        for row in 0..n {
                            let entry = |at: u32| ((at * 7 + row) % 50, draws.gen_range(0.0..1.0));
                            rows.push((0..6).map(entry).collect::<Vec<_>>().into_iter());
                        }
                        Rows::Sparse(rows)
                    }
                    false => Rows::Full(
                        (0..n as usize * width).map(|_| draws.gen_range(-2.0..2.0)).collect(),
                    ),
                };
                let network = Network::new(&shape, &layers, Device::Flex);
                let expected = numbers(network.forward(rows.clone()).logits);
                let said = Answerer::new(&shape, &layers, Device::Flex).logits(rows);
                assert_eq!(said.len(), expected.len());
                for (said, expected) in said.iter().zip(&expected) {
                    assert!((said - expected).abs() < 1e-5, "{shape:?}: {said} {expected}");
                }
            }
        }
    }
}
