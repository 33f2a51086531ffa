//! Normalisation by running statistics, and the compensation of the network when they move.
//!
//! Statistics cover every sample ever learnt from, once each, never one batch alone and never a
//! label. When they move, the first layer is changed so that the network's answers to raw inputs
//! stay as they were; only then does training begin.

use crate::domain::input::InputSchema;

use super::moments::Moments;
use super::network::Dense;

/// Normalised numbers stay within plus and minus this.
pub(super) const CLIP: f64 = 10.0;
/// Least deviation among features of one kind, of the largest among them: a pixel that hardly
/// varies must not be blown up to the size of the others.
const FLOOR_OF_ONE_KIND: f64 = 0.25;
/// Features of a plain vector are of one kind where their median deviation is at least this share
/// of the largest; where it is not, columns of different units were put side by side.
const ONE_KIND_MEDIAN: f64 = 0.1;
/// Least deviation of any feature, of its own mean: below it there is only rounding in 32 bits.
const FLOOR_OF_ROUNDING: f64 = 1e-6;

impl Moments {
    /// Mean and deviation to normalise by, the deviation never 0 nor too small to divide by.
    pub(super) fn scale(&self, schema: &InputSchema) -> Scale {
        let raw: Vec<f64> = self
            .m2
            .iter()
            .zip(&self.count)
            .map(|(m2, count)| (m2 / count.max(1.0)).sqrt())
            .collect();
        let largest = raw.iter().copied().fold(0.0, f64::max);
        // Named columns have units of their own, so none says anything about another.
        let shared_floor = match schema.features().is_empty() && are_of_one_kind(&raw, largest) {
            true => FLOOR_OF_ONE_KIND * largest,
            false => 0.0,
        };
        let floored = |(&deviation, mean): (&f64, &f64)| {
            let floored = deviation.max(shared_floor).max(FLOOR_OF_ROUNDING * mean.abs());
            if floored > 0.0 { floored } else { 1.0 }
        };
        Scale {
            deviation: raw.iter().zip(&self.mean).map(floored).collect(),
            mean: self.mean.clone(),
            varies: self.m2.iter().map(|&m2| m2 > 0.0).collect(),
        }
    }
}

fn are_of_one_kind(deviations: &[f64], largest: f64) -> bool {
    let mut varying: Vec<f64> = deviations.iter().copied().filter(|&d| d > 0.0).collect();
    varying.sort_by(f64::total_cmp);
    varying
        .get(varying.len().saturating_sub(1) / 2)
        .is_some_and(|&median| median >= ONE_KIND_MEDIAN * largest)
}

/// What one numeric feature after another is shifted and divided by.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Scale {
    /// Shift.
    pub(super) mean: Vec<f64>,
    /// Divisor, over 0.
    pub(super) deviation: Vec<f64>,
    /// Whether the feature ever took two values.
    pub(super) varies: Vec<bool>,
}

impl Scale {
    /// Appends `numbers` to `rows`, normalised.
    pub(super) fn append(&self, numbers: &[f32], rows: &mut Vec<f32>) {
        for numbers in numbers.chunks_exact(self.mean.len().max(1)) {
            let scaled = numbers.iter().zip(&self.mean).zip(&self.deviation);
            rows.extend(
                scaled.map(|((&number, mean), deviation)| apply(number, *mean, *deviation)),
            );
        }
    }
}

/// Normalises one number: clipped at ±10; a missing one becomes the mean, that is 0.
#[inline]
fn apply(number: f32, mean: f64, deviation: f64) -> f32 {
    let normalized = ((f64::from(number) - mean) / deviation) as f32;
    if normalized.is_nan() { 0.0 } else { normalized.clamp(-CLIP as f32, CLIP as f32) }
}

/// Changes `first`, the layer that reads the features, of which the first `n_rows` are numbers of the
/// scales' in turn, so that the network's function of raw
/// inputs stays the same when normalisation goes from `before` to `after`:
/// `W'_j = W_j·σ'_j/σ_j` and `b' = b + Σ_j W_j·(μ'_j − μ_j)/σ_j` (to 1e-5, clipping aside).
///
/// Beyond the clip the old function was flat, so neither factor goes beyond it: a feature whose
/// spread grows a thousandfold must not scale its weights a thousandfold.
pub(super) fn compensate(first: &mut Dense, n_rows: usize, before: &Scale, after: &Scale) {
    let mut bias: Vec<f64> = first.bias.iter().map(|&bias| f64::from(bias)).collect();
    let n_scales = before.mean.len();
    for j in 0..n_scales {
        let shift = ((after.mean[j] - before.mean[j]) / before.deviation[j]).clamp(-CLIP, CLIP);
        let stretch = (after.deviation[j] / before.deviation[j]).min(CLIP);
        for row in (j..n_rows).step_by(n_scales) {
            for (weight, bias) in first.row_mut(row).iter_mut().zip(&mut bias) {
                *bias += f64::from(*weight) * shift;
                *weight = (f64::from(*weight) * stretch) as f32;
            }
        }
    }
    first.bias = bias.into_iter().map(|bias| bias as f32).collect();
}

/// The same for the importance of the weights: a square of slopes, it goes by the square of the
/// inverse factor.
pub(super) fn compensate_importance(
    first: &mut Dense,
    n_rows: usize,
    before: &Scale,
    after: &Scale,
) {
    let n_scales = before.mean.len();
    for j in 0..n_scales {
        let stretch = (after.deviation[j] / before.deviation[j]).min(CLIP).powi(-2) as f32;
        for row in (j..n_rows).step_by(n_scales) {
            first.row_mut(row).iter_mut().for_each(|importance| *importance *= stretch);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::learning::moments::tests::{of, plain};

    #[test]
    fn scales_are_finite_and_over_zero_whatever_comes() {
        let rows: [&[f32]; 3] = [
            &[1e30, 5.0, 0.0, f32::NAN],
            &[-1e30, 5.0, 0.0, f32::NAN],
            &[3e38, 5.0, 0.0, f32::NAN],
        ];
        let scale = of(&rows).scale(&plain(4));
        assert!(scale.deviation.iter().all(|deviation| deviation.is_finite() && *deviation > 0.0));
        let normalized = |row: &[f32]| {
            let mut normalized = Vec::new();
            scale.append(row, &mut normalized);
            normalized
        };
        for row in rows {
            assert!(normalized(row).iter().all(|number| number.abs() <= 10.0), "{row:?}");
        }
        let plain = normalized(&[0.0, 5.0, 0.0, f32::NAN]);
        assert_eq!((plain[1], plain[3]), (0.0, 0.0));
        assert_eq!(scale.varies, [true, false, false, false]);
    }

    #[test]
    fn the_floor_is_shared_only_by_features_of_one_kind() {
        let pixels =
            Moments { count: vec![1.0; 3], mean: vec![0.0; 3], m2: vec![100.0, 64.0, 0.01] };
        assert_eq!(pixels.scale(&plain(3)).deviation, [10.0, 8.0, 2.5]);
        let units = Moments { count: vec![1.0; 3], mean: vec![0.0; 3], m2: vec![1e8, 1.0, 1e-4] };
        assert_eq!(units.scale(&plain(3)).deviation, [1e4, 1.0, 1e-2]);
    }

    #[test]
    fn a_moved_normaliser_leaves_the_function_of_raw_inputs() {
        let mut layer = Dense {
            n_in: 2,
            n_out: 3,
            weight: vec![0.5, -1.0, 2.0, 0.1, 0.7, -0.3],
            bias: vec![0.1, 0.0, -0.2],
        };
        let before =
            Scale { mean: vec![1.0, -20.0], deviation: vec![2.0, 5.0], varies: vec![true; 2] };
        let after =
            Scale { mean: vec![1.5, -12.0], deviation: vec![3.0, 4.0], varies: vec![true; 2] };
        let answer = |layer: &Dense, scale: &Scale, raw: [f32; 2]| -> Vec<f32> {
            let mut row = Vec::new();
            scale.append(&raw, &mut row);
            (0..3)
                .map(|o| layer.bias[o] + row[0] * layer.weight[o] + row[1] * layer.weight[3 + o])
                .collect()
        };
        let raws = [[0.0, 0.0], [3.0, -31.0], [-7.5, 11.0]];
        let old: Vec<_> = raws.iter().map(|&raw| answer(&layer, &before, raw)).collect();
        compensate(&mut layer, 2, &before, &after);
        for (raw, old) in raws.iter().zip(old) {
            let new = answer(&layer, &after, *raw);
            assert!(
                old.iter().zip(&new).all(|(old, new)| (old - new).abs() < 1e-5),
                "{old:?} {new:?}"
            );
        }
    }
}
