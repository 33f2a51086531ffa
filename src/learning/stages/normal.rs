//! What follows a convolution: normalisation of groups of channels, a scale and a shift for each
//! channel, ReLU, and the largest of each 2 × 2 pixels; and the way back through all of it.

use super::PassedStage;
use super::map::{Map, four};
use crate::learning::network::Dense;

/// Channels that are normalised together, at most.
const GROUP: usize = 8;
/// Keeps the deviation of a group over 0.
const EPSILON: f32 = 1e-5;

/// Channels that are normalised together, of `depth`: a whole number of such groups.
fn group(depth: usize) -> usize {
    (1..=GROUP.min(depth)).rev().find(|group| depth.is_multiple_of(*group)).unwrap_or(1)
}

/// Brings each group of channels of an image to mean 0 and deviation 1; answers one over the
/// deviation of each.
pub(super) fn normalize(numbers: &mut [f32], depth: usize) -> Vec<f32> {
    let group = group(depth);
    let n = (numbers.len() / depth * group) as f32;
    let mut means = of_groups(numbers, depth, group, |number| number);
    means.iter_mut().for_each(|mean| *mean /= n);
    let means: Vec<f32> = (0..depth).map(|channel| means[channel / group]).collect();
    for pixel in numbers.chunks_exact_mut(depth) {
        pixel.iter_mut().zip(&means).for_each(|(number, mean)| *number -= mean);
    }
    let squares = of_groups(numbers, depth, group, |number| number * number);
    let scales: Vec<f32> =
        squares.iter().map(|squares| 1.0 / (squares / n + EPSILON).sqrt()).collect();
    let of_channels: Vec<f32> = (0..depth).map(|channel| scales[channel / group]).collect();
    for pixel in numbers.chunks_exact_mut(depth) {
        pixel.iter_mut().zip(&of_channels).for_each(|(number, scale)| *number *= scale);
    }
    scales
}

/// What `part` adds up to over each group.
fn of_groups(numbers: &[f32], depth: usize, group: usize, part: impl Fn(f32) -> f32) -> Vec<f32> {
    let mut sums = vec![0.0_f32; depth];
    for pixel in numbers.chunks_exact(depth) {
        sums.iter_mut().zip(pixel).for_each(|(sum, &number)| *sum += part(number));
    }
    sums.chunks_exact(group).map(|sums| sums.iter().sum()).collect()
}

/// No pixel of four: none was over 0.
const NONE: u8 = 4;

/// Scales and shifts each channel, and takes of each 2 × 2 pixels the largest, or 0: those numbers, and
/// which pixel each was.
pub(super) fn pool(normal: &[f32], map: Map, affine: &Dense) -> (Vec<f32>, Vec<u8>) {
    let (half, depth) = (map.halved(), map.depth);
    let mut output = vec![0.0_f32; half.n_numbers()];
    let mut largest = vec![NONE; half.n_numbers()];
    for y in 0..half.height {
        for x in 0..half.width {
            let at = (y * half.width + x) * depth;
            let (output, largest) = (&mut output[at..at + depth], &mut largest[at..at + depth]);
            for (place, pixel) in (0_u8..).zip(four(map, x, y)) {
                let pixel = &normal[pixel * depth..][..depth];
                let affine = affine.weight.iter().zip(&affine.bias);
                let numbers = output.iter_mut().zip(largest.iter_mut());
                for (((best, which), number), (scale, shift)) in numbers.zip(pixel).zip(affine) {
                    let number = number * scale + shift;
                    *which = if number > *best { place } else { *which };
                    *best = best.max(number);
                }
            }
        }
    }
    (output, largest)
}

/// The way back through [`pool`] and [`normalize`]: the slopes of the convolution's outputs, into
/// `slopes`; those of scales and shifts are added to `of_affine`.
pub(super) fn unpool(
    passed: &PassedStage,
    map: Map,
    affine: &Dense,
    of_outputs: &[f32],
    of_affine: &mut Dense,
    slopes: &mut Vec<f32>,
) {
    let (half, depth) = (map.halved(), map.depth);
    let group = group(depth);
    let n = (map.n_pixels() * group) as f32;
    slopes.clear();
    slopes.resize(map.n_numbers(), 0.0);
    let (mut of_scale, mut of_shift) = (vec![0.0_f32; depth], vec![0.0_f32; depth]);
    for y in 0..half.height {
        for x in 0..half.width {
            let at = (y * half.width + x) * depth;
            let four = four(map, x, y);
            for channel in 0..depth {
                let place = passed.largest[at + channel];
                if place == NONE {
                    continue;
                }
                let pixel = four[usize::from(place)] * depth + channel;
                let slope = of_outputs[at + channel];
                of_scale[channel] += slope * passed.normal[pixel];
                of_shift[channel] += slope;
                slopes[pixel] = slope * affine.weight[channel];
            }
        }
    }
    // d normal / d x of a group: the slope less its mean and less its part along the normal.
    let weighted = |sums: &[f32]| -> Vec<f32> {
        let weighted: Vec<f32> = sums.iter().zip(&affine.weight).map(|(sum, w)| sum * w).collect();
        weighted.chunks_exact(group).map(|sums| sums.iter().sum::<f32>() / n).collect()
    };
    let (means, along) = (weighted(&of_shift), weighted(&of_scale));
    let of_channel = |of_groups: &[f32]| -> Vec<f32> {
        (0..depth).map(|channel| of_groups[channel / group]).collect()
    };
    let (means, along) = (of_channel(&means), of_channel(&along));
    let scales = of_channel(&passed.scales);
    for (slopes, normal) in slopes.chunks_exact_mut(depth).zip(passed.normal.chunks_exact(depth)) {
        for channel in 0..depth {
            let straight = means[channel] + normal[channel] * along[channel];
            slopes[channel] = scales[channel] * (slopes[channel] - straight);
        }
    }
    of_affine.weight.iter_mut().zip(of_scale).for_each(|(sum, slope)| *sum += slope);
    of_affine.bias.iter_mut().zip(of_shift).for_each(|(sum, slope)| *sum += slope);
}
