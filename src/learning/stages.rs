//! Stages of convolutions in front of a network's dense layers, for images.
//!
//! A stage is a 3 × 3 convolution, normalisation of groups of channels within each image (Wu & He
//! 2018: no statistics of a minibatch that later ones would forget), ReLU, and the largest of each 2 × 2
//! pixels. Beyond its edge an image goes on as its nearest pixel: so a normaliser that moves changes
//! nothing there, either. An image is its pixels row by row with the channels of a pixel side by side,
//! so that a convolution is a product of matrices, patches by weights. Images are computed on the host
//! a few at a time, in groups that do not depend on the number of threads, nor do sums over them.

use rayon::prelude::*;

use super::network::packed::{Layer, Packed, Rows};
use super::network::{Dense, parameters, parameters_mut};

mod map;
mod normal;

use map::{Map, gather, scatter};
use normal::{normalize, pool, unpool};

/// Images computed one after another by one thread.
const AT_ONCE: usize = 8;

/// The stages of a network for images.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stages {
    /// Pixels in a row of an image.
    pub(super) width: usize,
    /// Rows of an image.
    pub(super) height: usize,
    /// Numbers of a pixel.
    pub(super) depth: usize,
    /// Channels of each stage.
    pub(super) channels: Vec<usize>,
}

/// What one image leaves behind in each stage, for the way back.
pub(super) type Passed = Vec<PassedStage>;

/// What one image leaves behind in a stage.
#[derive(Debug)]
pub(super) struct PassedStage {
    /// What the stage read.
    input: Vec<f32>,
    /// The convolution's outputs, normalised.
    normal: Vec<f32>,
    /// One over the deviation of each group.
    scales: Vec<f32>,
    /// Which pixel of four was the largest, for each number that the stage said; none: 4.
    largest: Vec<u8>,
}

/// Lent to computations, so that none takes memory of its own.
#[derive(Default)]
struct Scratch {
    patches: Vec<f32>,
    slopes: Vec<f32>,
    packed_slopes: Packed,
    of_patches: Vec<f32>,
}

impl Stages {
    /// Inputs and outputs of the layers: of each stage the convolution's, then its normalisation's,
    /// which scales and shifts each channel.
    pub(super) fn sizes(&self) -> Vec<(usize, usize)> {
        let stage = |map: Map, n_out| [(map.n_read(), n_out), (1, n_out)];
        self.maps().zip(&self.channels).flat_map(|(map, &n_out)| stage(map, n_out)).collect()
    }

    /// Bytes that an image leaves behind for the way back.
    pub(super) fn kept_bytes(&self) -> usize {
        let stage = |(map, &depth): (Map, &usize)| {
            let normal = map.of_depth(depth).n_numbers();
            size_of::<f32>() * (map.n_numbers() + normal) + normal / 4
        };
        self.maps().zip(&self.channels).map(stage).sum()
    }

    /// Numbers of an image that the last stage says.
    pub(super) fn n_outputs(&self) -> usize {
        self.maps().last().map_or(0, Map::n_numbers)
    }

    /// Multiply-adds of an image's convolutions.
    pub(super) fn work(&self) -> usize {
        let stage = |(map, &n_out): (Map, &usize)| map.n_pixels() * map.n_read() * n_out;
        self.maps().zip(&self.channels).map(stage).sum()
    }

    /// Channels of what stage `index` reads; of what the last one says, for one more.
    pub(super) fn depth_at(&self, index: usize) -> usize {
        index.checked_sub(1).map_or(self.depth, |before| self.channels[before])
    }

    /// What each stage reads, and then what the last one says.
    fn maps(&self) -> impl Iterator<Item = Map> {
        let image = Map { width: self.width, height: self.height, depth: self.depth };
        let next = |map: &mut Map, &depth: &usize| {
            *map = map.halved().of_depth(depth);
            Some(*map)
        };
        [image].into_iter().chain(self.channels.iter().scan(image, next))
    }

    /// The convolutions among `layers`, ready for [`Self::forward`].
    pub(super) fn packed(layers: &[Dense]) -> Vec<Layer> {
        layers.iter().step_by(2).map(Layer::of).collect()
    }

    /// What the stages of `layers`, whose `convolutions` are packed, say of images, `[n, n_outputs]`
    /// row-major; and, where it is `kept`, what each leaves behind.
    pub(super) fn forward(
        &self,
        layers: &[Dense],
        convolutions: &[Layer],
        images: &[f32],
        kept: bool,
    ) -> (Vec<f32>, Vec<Passed>) {
        let n_numbers = self.width * self.height * self.depth;
        let of_chunk = |images: &[f32]| {
            let mut scratch = Scratch::default();
            let mut said = Vec::with_capacity(images.len() / n_numbers * self.n_outputs());
            let mut passed = Vec::new();
            for image in images.chunks_exact(n_numbers) {
                let mut map_numbers = image.to_vec();
                let mut of_image = Passed::new();
                let affine = layers.iter().skip(1).step_by(2);
                for ((convolution, affine), map) in convolutions.iter().zip(affine).zip(self.maps())
                {
                    let layers = (convolution, affine);
                    let (next, stage) = forward(layers, map, map_numbers, &mut scratch);
                    map_numbers = next;
                    if kept {
                        of_image.push(stage);
                    }
                }
                said.extend_from_slice(&map_numbers);
                passed.push(of_image);
            }
            (said, passed)
        };
        if images.len() <= AT_ONCE * n_numbers {
            return of_chunk(images);
        }
        let chunks: Vec<_> = images.par_chunks(AT_ONCE * n_numbers).map(of_chunk).collect();
        let (said, passed): (Vec<_>, Vec<_>) = chunks.into_iter().unzip();
        (said.concat(), passed.into_iter().flatten().collect())
    }

    /// Gradients of the weights and biases of `layers` in turn, but for the first `n_frozen` stages, from
    /// that of what the last stage said of the images that `passed`, `[n, n_outputs]` row-major.
    pub(super) fn gradients(
        &self,
        layers: &[Dense],
        passed: &[Passed],
        of_outputs: &[f32],
        n_frozen: usize,
    ) -> Vec<Vec<f32>> {
        let maps: Vec<Map> = self.maps().collect();
        let back: Vec<Packed> = layers
            .iter()
            .step_by(2)
            .map(|convolution| Packed::transpose_of(&convolution.weight, convolution.n_out))
            .collect();
        let of_chunk = |(passed, of_outputs): (&[Passed], &[f32])| {
            let mut scratch = Scratch::default();
            let moving = &layers[2 * n_frozen..];
            let mut sums: Vec<Dense> = moving.iter().map(Dense::zeros_like).collect();
            for (passed, of_outputs) in passed.iter().zip(of_outputs.chunks_exact(self.n_outputs()))
            {
                let mut slope = of_outputs.to_vec();
                for (index, passed) in passed.iter().enumerate().skip(n_frozen).rev() {
                    let layers = &layers[2 * index..][..2];
                    let sums = &mut sums[2 * (index - n_frozen)..][..2];
                    // Nobody asks for the slope of the image itself.
                    let back = Some(&back[index]).filter(|_| index > n_frozen);
                    slope = backward(layers, maps[index], passed, &slope, sums, &mut scratch, back);
                }
            }
            sums
        };
        let chunks = passed
            .par_chunks(AT_ONCE)
            .zip(of_outputs.par_chunks(AT_ONCE * self.n_outputs()))
            .map(of_chunk)
            .collect::<Vec<_>>();
        let all = chunks.into_iter().reduce(|mut all, chunk| {
            let pairs = parameters_mut(&mut all);
            for (sums, of_chunk) in pairs.zip(parameters(&chunk)) {
                sums.iter_mut().zip(of_chunk).for_each(|(sum, slope)| *sum += slope);
            }
            all
        });
        all.into_iter().flatten().flat_map(|layer| [layer.weight, layer.bias]).collect()
    }
}

/// One stage: what it says of `input`, and what that leaves behind.
fn forward(
    (convolution, affine): (&Layer, &Dense),
    map: Map,
    input: Vec<f32>,
    scratch: &mut Scratch,
) -> (Vec<f32>, PassedStage) {
    let depth = affine.n_out;
    gather(&input, map, &mut scratch.patches);
    let mut normal = convolution.through(&scratch.patches);
    let scales = normalize(&mut normal, depth);
    let (output, largest) = pool(&normal, map.of_depth(depth), affine);
    (output, PassedStage { input, normal, scales, largest })
}

/// The way back through one stage: adds to `sums`, and answers the slope of what the stage read, where
/// `back` says what leads there: the transpose of the convolution's weight.
fn backward(
    layers: &[Dense],
    map: Map,
    passed: &PassedStage,
    of_outputs: &[f32],
    sums: &mut [Dense],
    scratch: &mut Scratch,
    back: Option<&Packed>,
) -> Vec<f32> {
    let (convolution, affine) = (&layers[0], &layers[1]);
    let depth = convolution.n_out;
    let (of_convolution, of_affine) = sums.split_at_mut(1);
    let (of_convolution, of_affine) = (&mut of_convolution[0], &mut of_affine[0]);
    let size = map.of_depth(depth);
    unpool(passed, size, affine, of_outputs, of_affine, &mut scratch.slopes);
    for row in scratch.slopes.chunks_exact(depth) {
        of_convolution.bias.iter_mut().zip(row).for_each(|(sum, slope)| *sum += slope);
    }
    gather(&passed.input, map, &mut scratch.patches);
    scratch.packed_slopes.fill(&scratch.slopes, depth);
    let patches = Rows::Transposed(&scratch.patches);
    scratch.packed_slopes.add_product(patches, &mut of_convolution.weight);
    let Some(back) = back else { return Vec::new() };
    scratch.of_patches.clear();
    scratch.of_patches.resize(map.n_pixels() * map.n_read(), 0.0);
    back.add_product(Rows::Whole(&scratch.slopes), &mut scratch.of_patches);
    scatter(&scratch.of_patches, map)
}

#[cfg(test)]
mod tests {
    use rand::Rng;

    use super::*;
    use crate::learning::seed::{Draw, stream};

    fn stages() -> (Stages, Vec<Dense>) {
        let stages = Stages { width: 7, height: 6, depth: 2, channels: vec![4, 12] };
        let draws = &mut stream(3, Draw::Layers);
        let layers =
            stages.sizes().into_iter().map(|(n_in, n_out)| Dense::random(n_in, n_out, 1, draws));
        (stages.clone(), layers.collect())
    }

    fn images(n: usize) -> Vec<f32> {
        let draws = &mut stream(4, Draw::Layers);
        (0..n * 7 * 6 * 2).map(|_| draws.gen_range(-1.0..1.0)).collect()
    }

    fn forward_all(
        stages: &Stages,
        layers: &[Dense],
        images: &[f32],
        kept: bool,
    ) -> (Vec<f32>, Vec<Passed>) {
        stages.forward(layers, &Stages::packed(layers), images, kept)
    }

    #[test]
    fn each_stage_halves_the_image() {
        let (stages, layers) = stages();
        assert_eq!(stages.sizes(), [(18, 4), (1, 4), (36, 12), (1, 12)]);
        assert_eq!(stages.n_outputs(), 12);
        let (said, passed) = forward_all(&stages, &layers, &images(19), true);
        assert_eq!((said.len(), passed.len()), (19 * 12, 19));
        // An image says the same in any company.
        let (alone, _) = forward_all(&stages, &layers, &images(19)[18 * 84..], false);
        assert_eq!(alone, said[18 * 12..]);
    }

    #[test]
    fn the_gradient_is_that_of_what_is_said() {
        let (stages, layers) = stages();
        let images = images(3);
        let draws = &mut stream(5, Draw::Layers);
        let slope: Vec<f32> = (0..36).map(|_| draws.gen_range(-1.0..1.0)).collect();
        let value = |layers: &[Dense]| -> f64 {
            let said = forward_all(&stages, layers, &images, false).0;
            said.iter().zip(&slope).map(|(said, slope)| f64::from(said * slope)).sum()
        };
        let (_, passed) = forward_all(&stages, &layers, &images, true);
        let gradients = stages.gradients(&layers, &passed, &slope, 0);
        assert_eq!(gradients.len(), 8);
        assert_eq!(stages.gradients(&layers, &passed, &slope, 1), gradients[4..]);
        let (mut dot, mut squares, mut of_numeric) = (0.0, 0.0, 0.0);
        for (place, gradient) in gradients.iter().enumerate() {
            for (index, &analytic) in gradient.iter().enumerate() {
                let at = |step: f32| {
                    let mut layers = layers.clone();
                    parameters_mut(&mut layers).nth(place).unwrap()[index] += step;
                    value(&layers)
                };
                let numeric = (at(1e-3) - at(-1e-3)) / 2e-3;
                dot += numeric * f64::from(analytic);
                squares += f64::from(analytic).powi(2);
                of_numeric += numeric.powi(2);
            }
        }
        // One after another they differ where a pixel is no longer the largest of its four.
        let cosine = dot / (squares * of_numeric).sqrt();
        assert!(cosine > 0.999 && (of_numeric / squares - 1.0).abs() < 0.01, "{cosine}");
    }
}
