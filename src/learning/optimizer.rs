//! Adam (Kingma & Ba 2015) with the gradient clipped by its norm over all layers.
//!
//! Written out on the host: one pass over each parameter where burn's takes a dozen tensors, a
//! clip that looks at the whole gradient, sums whose order no thread pool decides, and a state of
//! plain numbers that can be stored. Of a layer that reads sparse rows only what was read is touched:
//! the moments of the rest wait (lazy Adam, as in TensorFlow).

use pulp::{Arch, Simd, WithSimd};

use super::network::{Dense, Gradient, parameters_mut};

const BETA_1: f32 = 0.9;
const BETA_2: f32 = 0.999;
const EPSILON: f32 = 1e-8;
/// The gradient is scaled down to this norm where it is larger.
const MAX_NORM: f64 = 1.0;

/// The optimiser's memory: a first and a second moment of each parameter's gradient.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Adam {
    /// Steps made.
    pub(super) steps: i32,
    /// First moments, laid out as the layers.
    pub(super) first: Vec<Dense>,
    /// Second moments, laid out as the layers.
    pub(super) second: Vec<Dense>,
}

impl Adam {
    /// A fresh one for `layers`.
    pub(super) fn new(layers: &[Dense]) -> Self {
        let zeros: Vec<Dense> = layers.iter().map(Dense::zeros_like).collect();
        Self { steps: 0, first: zeros.clone(), second: zeros }
    }

    /// One step of `layers` against `gradients` (weight and bias of each layer in turn) at `rate`.
    /// Answers whether the gradient was finite; if not, nothing changes.
    #[must_use]
    pub(super) fn step(&mut self, layers: &mut [Dense], gradients: &[Gradient], rate: f32) -> bool {
        let squares = gradients.iter().map(|gradient| squared_norm(gradient.numbers()));
        let norm = squares.sum::<f64>().sqrt();
        if !norm.is_finite() {
            return false;
        }
        self.steps += 1;
        let move_by = Move {
            clip: (MAX_NORM / norm.max(MAX_NORM)) as f32,
            rate: rate / (1.0 - BETA_1.powi(self.steps)),
            correction: (1.0 - BETA_2.powi(self.steps)).sqrt(),
        };
        let moments = parameters_mut(&mut self.first).zip(parameters_mut(&mut self.second));
        for ((parameters, gradient), (first, second)) in
            parameters_mut(layers).zip(gradients).zip(moments)
        {
            for (at, slopes) in gradient.parts() {
                let moments = (&mut first[at.clone()], &mut second[at.clone()]);
                let parameters = &mut parameters[at];
                Arch::new().dispatch(Moved { by: move_by, parameters, slopes, moments });
            }
        }
        true
    }
}

/// How one step moves all parameters.
#[derive(Debug, Clone, Copy)]
struct Move {
    clip: f32,
    /// The rate, with what the first moments lack of their sum.
    rate: f32,
    /// The root of what the second moments lack of theirs.
    correction: f32,
}

/// Some parameters, to be moved: compiled for what the processor has, for a root and a quotient a number are
/// a sixth of the time of training.
struct Moved<'a> {
    by: Move,
    parameters: &'a mut [f32],
    slopes: &'a [f32],
    moments: (&'a mut [f32], &'a mut [f32]),
}

impl WithSimd for Moved<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let Self { by: Move { clip, rate, correction }, parameters, slopes, moments } = self;
        let moments = moments.0.iter_mut().zip(moments.1);
        for ((parameter, slope), (first, second)) in parameters.iter_mut().zip(slopes).zip(moments)
        {
            let slope = slope * clip;
            *first = BETA_1 * *first + (1.0 - BETA_1) * slope;
            *second = BETA_2 * *second + (1.0 - BETA_2) * slope * slope;
            *parameter -= rate * *first / (second.sqrt() / correction + EPSILON);
        }
    }
}

/// Sum of squares, in eight sums so that it vectorises.
fn squared_norm(numbers: &[f32]) -> f64 {
    let chunks = numbers.chunks_exact(8);
    let rest: f64 = chunks.remainder().iter().map(|&x| f64::from(x) * f64::from(x)).sum();
    let mut sums = [0.0_f64; 8];
    for chunk in chunks {
        for (sum, &x) in sums.iter_mut().zip(chunk) {
            *sum += f64::from(x) * f64::from(x);
        }
    }
    sums.iter().sum::<f64>() + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layer(weight: f32) -> Vec<Dense> {
        vec![Dense { n_in: 1, n_out: 1, weight: vec![weight], bias: vec![0.0] }]
    }

    fn gradient(of_weight: f32) -> [Gradient; 2] {
        [Gradient::All(vec![of_weight]), Gradient::All(vec![0.0])]
    }

    #[test]
    fn what_was_not_read_stays() {
        let weight = vec![1.0; 6];
        let mut layers = vec![Dense { n_in: 3, n_out: 2, weight, bias: vec![0.0; 2] }];
        let slopes = [Gradient::Columns(vec![1], vec![1.0, -1.0]), Gradient::All(vec![0.0; 2])];
        let spread = slopes[0].clone().spread(6);
        assert_eq!(spread, [0.0, 0.0, 1.0, -1.0, 0.0, 0.0]);
        let mut others = layers.clone();
        assert!(Adam::new(&layers).step(&mut layers, &slopes, 0.1));
        let all = [Gradient::All(spread), Gradient::All(vec![0.0; 2])];
        assert!(Adam::new(&others).step(&mut others, &all, 0.1));
        assert_eq!(layers, others);
        assert_eq!(layers[0].weight[..2], [1.0; 2]);
    }

    #[test]
    fn it_finds_the_bottom_of_a_bowl() {
        let mut layers = layer(5.0);
        let mut adam = Adam::new(&layers);
        for _ in 0..2_000 {
            let slope = gradient(2.0 * (layers[0].weight[0] - 3.0));
            assert!(adam.step(&mut layers, &slope, 0.01));
        }
        assert!((layers[0].weight[0] - 3.0).abs() < 1e-2, "{}", layers[0].weight[0]);
    }

    #[test]
    fn the_first_step_has_the_size_of_the_rate_however_large_the_gradient() {
        for slope in [1e-3, 1.0, 1e6] {
            let mut layers = layer(0.0);
            assert!(Adam::new(&layers).step(&mut layers, &gradient(slope), 0.1));
            assert!((layers[0].weight[0] + 0.1).abs() < 1e-3);
        }
    }

    #[test]
    fn a_gradient_that_is_not_finite_changes_nothing() {
        let mut layers = layer(1.0);
        assert!(!Adam::new(&layers).step(&mut layers, &gradient(f32::NAN), 0.1));
        assert_eq!(layers, layer(1.0));
    }
}
