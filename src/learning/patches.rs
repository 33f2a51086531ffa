//! Features of images that never change after the first version: how much each part of an image looks
//! like each entry of a dictionary of patches (Coates, Lee & Ng 2011).
//!
//! Patches of 6 × 6 pixels, every second one, without their brightness and contrast, are whitened (ZCA)
//! and compared with 128 directions, the centres of clusters of such patches; what is over 0 is
//! averaged over 4 × 4 fields of the image. Whitening and directions are one matrix. An image larger
//! than 32 pixels a side is made smaller first: what it shows is told by then.

use linfa::DatasetBase;
use linfa::traits::Fit;
use linfa_clustering::{KMeans, KMeansInit};
use linfa_linalg::eigh::EighInto;
use linfa_nn::distance::Distance;
use ndarray::{Array1, Array2, ArrayView, Axis, Dimension};
use rand_xoshiro::Xoshiro256PlusPlus;

use crate::domain::input::ImageSchema;

use super::cluster::squared;
use super::features::Featurizer;
use super::network::Dense;
use super::network::packed::Layer;
use super::product::product;
use super::seed::{Draw, stream};
use super::subset::Subset;

/// The longest side of a patch.
const SIDE: usize = 6;
/// Pixels from one patch to the next.
const STRIDE: usize = 2;
/// Directions that patches are compared with.
const DIRECTIONS: usize = 128;
/// Fields of a side of an image.
const FIELDS: usize = 4;
/// The longest side of an image that is looked at as it is.
const LONGEST: usize = 32;
/// Added to the variance of a patch: what hardly varies is not blown up,
const LEAST_VARIANCE: f32 = 0.1;
/// and to that along each axis of them all.
const LEAST_SPREAD: f64 = 0.1;
/// The most patches that the dictionary is learnt from, about.
const LEARNT_FROM: usize = 40_000;
/// Passes over them.
const PASSES: u64 = 20;
/// Directions that move less than this in a pass have settled.
const TOLERANCE: f32 = 1e-3;

/// Where the patches of an image lie, and the fields that they belong to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Grid {
    /// Of the image as it is looked at.
    width: usize,
    height: usize,
    depth: usize,
    /// Pixels of a side of the original that become one.
    shrink: usize,
    /// Pixels in a row of the original.
    original: usize,
    /// Sides of a patch.
    patch: (usize, usize),
    /// Patches in a row, and rows of them.
    n_patches: (usize, usize),
    /// Fields in a row, and rows of them.
    n_fields: (usize, usize),
}

impl Grid {
    /// That of such images.
    pub(super) fn of(image: &ImageSchema) -> Self {
        let shrink = image.width.max(image.height).div_ceil(LONGEST);
        let (width, height) = ((image.width / shrink).max(1), (image.height / shrink).max(1));
        let patch = (width.min(SIDE), height.min(SIDE));
        let n_patches = ((width - patch.0) / STRIDE + 1, (height - patch.1) / STRIDE + 1);
        let n_fields = (n_patches.0.min(FIELDS), n_patches.1.min(FIELDS));
        Self {
            width,
            height,
            depth: image.channels,
            shrink,
            original: image.width,
            patch,
            n_patches,
            n_fields,
        }
    }

    /// Numbers of a patch.
    pub(super) fn n_read(&self) -> usize {
        self.patch.0 * self.patch.1 * self.depth
    }

    /// Directions that patches are compared with: no more than keep apart.
    pub(super) fn n_directions(&self) -> usize {
        DIRECTIONS.min(4 * self.n_read())
    }

    /// Features of an image.
    pub(super) fn n_features(&self) -> usize {
        self.n_fields.0 * self.n_fields.1 * self.n_directions()
    }

    /// Multiply-adds of an image.
    pub(super) fn work(&self) -> usize {
        self.n_patches.0 * self.n_patches.1 * self.n_read() * self.n_directions()
    }

    /// The patches of a normalised image, row by row, each without its brightness and contrast,
    /// `[patches, n_read]` row-major.
    fn patches(&self, image: &[f32]) -> Vec<f32> {
        let image = self.shrunk(image);
        let n_patches = self.n_patches.0 * self.n_patches.1;
        let mut patches = Vec::with_capacity(n_patches * self.n_read());
        for y in 0..self.n_patches.1 {
            for x in 0..self.n_patches.0 {
                let begin = patches.len();
                for row in 0..self.patch.1 {
                    let at = ((y * STRIDE + row) * self.width + x * STRIDE) * self.depth;
                    patches.extend_from_slice(&image[at..at + self.patch.0 * self.depth]);
                }
                level(&mut patches[begin..]);
            }
        }
        patches
    }

    /// The image at the size that is looked at: each pixel the mean of those that it stands for.
    fn shrunk(&self, image: &[f32]) -> Vec<f32> {
        if self.shrink == 1 {
            return image.to_vec();
        }
        let (shrink, depth) = (self.shrink, self.depth);
        let mut small = vec![0.0; self.width * self.height * depth];
        let share = 1.0 / (shrink * shrink) as f32;
        for y in 0..self.height * shrink {
            for x in 0..self.width * shrink {
                let from = &image[(y * self.original + x) * depth..][..depth];
                let to = ((y / shrink) * self.width + x / shrink) * depth;
                small[to..to + depth].iter_mut().zip(from).for_each(|(sum, x)| *sum += share * x);
            }
        }
        small
    }

    /// What each field says: the mean of what is over 0 of `responses`, `[patches, n_directions]`
    /// row-major.
    fn pooled(&self, responses: &[f32], n_directions: usize) -> Vec<f32> {
        let (columns, rows) = self.n_fields;
        let field = |x: usize, y: usize| {
            y * rows / self.n_patches.1 * columns + x * columns / self.n_patches.0
        };
        let mut sums = vec![0.0_f32; columns * rows * n_directions];
        let mut counts = vec![0.0_f32; columns * rows];
        for (place, response) in responses.chunks_exact(n_directions).enumerate() {
            let field = field(place % self.n_patches.0, place / self.n_patches.0);
            counts[field] += 1.0;
            let sums = &mut sums[field * n_directions..][..n_directions];
            sums.iter_mut().zip(response).for_each(|(sum, response)| *sum += response.max(0.0));
        }
        for (sums, count) in sums.chunks_exact_mut(n_directions).zip(counts) {
            sums.iter_mut().for_each(|sum| *sum /= count);
        }
        sums
    }
}

/// Takes brightness and contrast out of a patch.
fn level(patch: &mut [f32]) {
    let n = patch.len() as f32;
    let mean = patch.iter().sum::<f32>() / n;
    patch.iter_mut().for_each(|number| *number -= mean);
    let variance = patch.iter().map(|number| number * number).sum::<f32>() / n;
    let scale = 1.0 / (variance + LEAST_VARIANCE).sqrt();
    patch.iter_mut().for_each(|number| *number *= scale);
}

/// The dictionary that suits `samples`: what a patch is multiplied by, and what is added.
pub(super) fn learn(
    image: &ImageSchema,
    featurizer: &Featurizer,
    samples: &Subset<'_>,
    seed: u64,
) -> Dense {
    let grid = Grid::of(image);
    let (n_read, n_directions) = (grid.n_read(), grid.n_directions());
    let observed = observed(&grid, featurizer, samples);
    let mean = observed.mean_axis(Axis(0)).unwrap_or_else(|| Array1::zeros(n_read));
    let centred = observed - &mean;
    let whitening = whitening(&centred);
    let whitened = product(centred.view(), whitening.view());
    let centres = centres(whitened, n_directions, stream(seed, Draw::Features));
    // Where patches are so few or alike that there are fewer clusters, what is missing says nothing.
    let mut directions = Array2::<f32>::zeros((n_read, n_directions));
    for (mut direction, centre) in directions.columns_mut().into_iter().zip(centres.outer_iter()) {
        let length = centre.dot(&centre).sqrt();
        direction.assign(&(&centre / length.max(f32::MIN_POSITIVE)));
    }
    let weight = whitening.dot(&directions);
    let bias = -mean.dot(&weight);
    Dense {
        n_in: n_read,
        n_out: n_directions,
        weight: weight.into_iter().collect(),
        bias: bias.into_iter().collect(),
    }
}

/// Patches of `samples`, evenly spread over all that there are.
fn observed(grid: &Grid, featurizer: &Featurizer, samples: &Subset<'_>) -> Array2<f32> {
    let n_read = grid.n_read();
    let n_patches = grid.n_patches.0 * grid.n_patches.1;
    let step = (samples.len() * n_patches).div_ceil(LEARNT_FROM).max(1);
    // No common factor with the patches of an image, or it would always be the same ones.
    let step = (step..).find(|&step| greatest_common_factor(step, n_patches) == 1).unwrap_or(step);
    let (mut numbers, mut row, mut next) = (Vec::new(), Vec::new(), 0);
    for (place, &index) in samples.indices.iter().enumerate() {
        let first = place * n_patches;
        if next >= first + n_patches {
            continue;
        }
        featurizer.read(&samples.samples.inputs, index, &mut row);
        let patches = grid.patches(&row);
        while next < first + n_patches {
            numbers.extend_from_slice(&patches[(next - first) * n_read..][..n_read]);
            next += step;
        }
    }
    Array2::from_shape_vec((numbers.len() / n_read, n_read), numbers).expect("whole patches")
}

fn greatest_common_factor(a: usize, b: usize) -> usize {
    if b == 0 { a } else { greatest_common_factor(b, a % b) }
}

/// The matrix that makes `centred` rows uncorrelated and of equal spread, and changes them least.
fn whitening(centred: &Array2<f32>) -> Array2<f32> {
    let (n, n_read) = centred.dim();
    let sums = product(centred.t(), centred.view());
    let covariance = sums.mapv(|sum| f64::from(sum) / n.max(1) as f64);
    let Ok((values, vectors)) = covariance.eigh_into() else {
        // Patches beyond the finite numbers: as they are, they say as little.
        return Array2::eye(n_read);
    };
    let scales = values.mapv(|value: f64| 1.0 / (value.max(0.0) + LEAST_SPREAD).sqrt());
    (&vectors * &scales).dot(&vectors.t()).mapv(|number| number as f32)
}

/// The features of a normalised image: what its fields say of each direction of `dictionary`.
pub(super) fn features(grid: &Grid, dictionary: &Layer, image: &[f32]) -> Vec<f32> {
    let responses = dictionary.through(&grid.patches(image));
    grid.pooled(&responses, grid.n_directions())
}

/// Centres `[n_clusters, dimensions]` of `points`, which come in any order but that of where they lie, by linfa's
/// k-means; a single one where no more are found.
fn centres(points: Array2<f32>, n_clusters: usize, draws: Xoshiro256PlusPlus) -> Array2<f32> {
    let dataset = DatasetBase::from(points);
    let fit = KMeans::params_with(n_clusters, draws, Euclidean)
        .n_runs(1)
        .max_n_iterations(PASSES)
        .tolerance(TOLERANCE)
        .init_method(KMeansInit::Random)
        .fit(&dataset);
    match fit {
        Ok(model) => model.centroids().clone(),
        // Distances beyond the finite numbers: one cluster around any point says as little.
        Err(_) => dataset.records.slice_move(ndarray::s![..1, ..]),
    }
}

/// Euclidean distance. linfa's own goes through iterators one number at a time; this one
/// vectorises.
#[derive(Debug, Clone)]
struct Euclidean;

impl Distance<f32> for Euclidean {
    fn distance<D: Dimension>(&self, a: ArrayView<'_, f32, D>, b: ArrayView<'_, f32, D>) -> f32 {
        self.rdistance(a, b).sqrt()
    }

    fn rdistance<D: Dimension>(&self, a: ArrayView<'_, f32, D>, b: ArrayView<'_, f32, D>) -> f32 {
        match (a.as_slice(), b.as_slice()) {
            (Some(a), Some(b)) => squared(a, b),
            _ => a.iter().zip(&b).map(|(a, b)| (a - b) * (a - b)).sum(),
        }
    }

    fn rdist_to_dist(&self, rdist: f32) -> f32 {
        rdist.sqrt()
    }

    fn dist_to_rdist(&self, dist: f32) -> f32 {
        dist * dist
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::input::Resize;

    fn grid(width: usize, height: usize, channels: usize) -> Grid {
        Grid::of(&ImageSchema { width, height, channels, resize: Resize::Stretch })
    }

    #[test]
    fn patches_cover_an_image_of_any_size() {
        let of = |width, height, channels| {
            let grid = grid(width, height, channels);
            let image = vec![1.0; width * height * channels];
            let n = grid.n_patches.0 * grid.n_patches.1;
            assert_eq!(grid.patches(&image).len(), n * grid.n_read());
            (grid.n_patches, grid.n_features())
        };
        assert_eq!(of(28, 28, 1), ((12, 12), 2_048));
        assert_eq!(of(8, 8, 1), ((2, 2), 512));
        assert_eq!(of(128, 32, 3), ((14, 2), 1_024));
        assert_eq!(of(250, 100, 1), ((13, 4), 2_048));
    }

    #[test]
    fn brightness_and_contrast_do_not_matter() {
        let grid = grid(8, 8, 1);
        let image: Vec<f32> = (0..64).map(|i| (i * 13 % 17) as f32).collect();
        let other: Vec<f32> = image.iter().map(|number| 100.0 - 50.0 * number).collect();
        let (patches, others) = (grid.patches(&image), grid.patches(&other));
        for (a, b) in patches.iter().zip(&others) {
            assert!((a + b).abs() < 1e-2, "{a} {b}");
        }
    }

    #[test]
    fn a_smaller_image_is_of_the_means_of_pixels() {
        let grid = grid(66, 65, 1);
        assert_eq!((grid.shrink, grid.width, grid.height), (3, 22, 21));
        let image: Vec<f32> = (0..66 * 65).map(|i| (i % 66 / 3) as f32).collect();
        let small = grid.shrunk(&image);
        for (at, number) in small.iter().enumerate() {
            assert!((number - (at % 22) as f32).abs() < 1e-4);
        }
    }

    #[test]
    fn what_is_whitened_is_uncorrelated() {
        let rows = Array2::from_shape_fn((500, 2), |(i, j)| {
            let (a, b) = ((i * 37 % 101) as f32 - 50.0, (i * 53 % 89) as f32 - 44.0);
            if j == 0 { a } else { 3.0 * a + b }
        });
        let centred = &rows - &rows.mean_axis(Axis(0)).unwrap();
        let white = centred.dot(&whitening(&centred));
        let covariance = white.t().dot(&white) / 500.0;
        assert!((covariance[(0, 0)] - 1.0).abs() < 1e-2 && covariance[(0, 1)].abs() < 1e-2);
    }
}
