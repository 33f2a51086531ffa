//! Calibration: one temperature for the whole network (Guo et al. 2017), fitted on one half of the
//! held-out samples and judged on the other.
//!
//! The temperature T minimises `Σ −log softmax(z/T)_y + (ln T)²/(2·0.5²)`: the second term, a normal
//! prior on its logarithm, keeps it near 1 while there are few samples. It is kept only where the
//! other half bears it out: the mean gain in log-likelihood over T = 1 must exceed 1.645 standard
//! errors of it. Which half a sample is in, its content hash alone says.

use crate::domain::evaluation::Calibration;
use crate::domain::sample::ContentHash;

use super::super::noise::{LEVEL, quantile};
use super::super::predict::{TEMPERATURES, largest};

/// Bins of confidence, of equal width.
pub const CALIBRATION_BINS: usize = 15;
/// The fewest samples of a half from which a temperature other than 1 is believed.
const FEWEST: usize = 30;
/// The prior's standard deviation of the temperature's logarithm.
const PRIOR: f64 = 0.5;
/// Steps of the search, each of which narrows it to 0.618 of what it was: to a thousandth in all.
const NARROWINGS: usize = 18;

/// The logits of held-out samples of known labels.
#[derive(Debug, Default)]
pub(super) struct Scores {
    fitted: Half,
    measured: Half,
}

/// One half of them.
#[derive(Debug, Default)]
struct Half {
    /// `[n, labels]` row-major.
    logits: Vec<f32>,
    /// The right label's column.
    columns: Vec<usize>,
}

impl Scores {
    /// Takes in a sample whose label is that of `column`; one whose label is not known has none.
    pub(super) fn add(&mut self, hash: ContentHash, logits: &[f32], column: Option<usize>) {
        let Some(column) = column else { return };
        let half = if hash.chooses() { &mut self.fitted } else { &mut self.measured };
        half.logits.extend_from_slice(logits);
        half.columns.push(column);
    }
}

/// The loss of each row of `logits`, `[columns, labels]` row-major, at the temperature that they
/// speak for.
pub(in crate::learning) fn fitted_losses(logits: Vec<f32>, columns: &[usize]) -> Vec<f64> {
    let rows = Half { logits, columns: columns.to_vec() };
    rows.losses(fit(&rows).into()).collect()
}

/// The temperature and what it does; none without samples.
pub(super) fn calibrate(scores: &Scores) -> Option<Calibration> {
    let Scores { fitted, measured } = scores;
    let (fitted_on, measured_on) = (fitted.columns.len(), measured.columns.len());
    if fitted_on + measured_on == 0 {
        return None;
    }
    let fits = fitted_on.min(measured_on) >= FEWEST;
    let temperature = fits.then(|| fit(fitted)).filter(|&t| is_better(measured, t)).unwrap_or(1.0);
    Some(Calibration {
        temperature,
        error: measured.calibration_error(temperature),
        uncalibrated_error: measured.calibration_error(1.0),
        fitted_on,
        measured_on,
    })
}

/// The temperature that `half` speaks for, by golden-section search over its logarithm.
fn fit(half: &Half) -> f32 {
    let cost = |log: f64| half.losses(log.exp()).sum::<f64>() + log * log / (2.0 * PRIOR * PRIOR);
    let golden = (5.0_f64.sqrt() - 1.0) / 2.0;
    let mut low = f64::from(*TEMPERATURES.start()).ln();
    let mut high = f64::from(*TEMPERATURES.end()).ln();
    let mut inner = [high - golden * (high - low), low + golden * (high - low)];
    let mut costs = inner.map(cost);
    for _ in 0..NARROWINGS {
        if costs[0] <= costs[1] {
            high = inner[1];
            inner = [high - golden * (high - low), inner[0]];
            costs = [cost(inner[0]), costs[0]];
        } else {
            low = inner[0];
            inner = [inner[1], low + golden * (high - low)];
            costs = [costs[1], cost(inner[1])];
        }
    }
    let temperature = f64::midpoint(low, high).exp() as f32;
    temperature.clamp(*TEMPERATURES.start(), *TEMPERATURES.end())
}

/// Whether `half` is likelier at this temperature than at 1, beyond noise.
fn is_better(half: &Half, temperature: f32) -> bool {
    let losses = half.losses(1.0).zip(half.losses(temperature.into()));
    let gains: Vec<f64> = losses.map(|(before, after)| before - after).collect();
    let n = gains.len() as f64;
    let mean = gains.iter().sum::<f64>() / n;
    let variance = gains.iter().map(|gain| (gain - mean).powi(2)).sum::<f64>() / (n - 1.0);
    mean > quantile(LEVEL) * (variance / n).sqrt()
}

impl Half {
    /// The rows, each with its label's column.
    fn rows(&self) -> impl Iterator<Item = (&[f32], usize)> {
        let n_labels = self.logits.len() / self.columns.len().max(1);
        self.logits.chunks_exact(n_labels.max(1)).zip(self.columns.iter().copied())
    }

    /// Minus the logarithm of the right label's probability, for each row.
    fn losses(&self, temperature: f64) -> impl Iterator<Item = f64> {
        self.rows().map(move |(row, column)| {
            let most = row[largest(row)];
            let scaled = |logit: f32| f64::from(logit - most) / temperature;
            row.iter().map(|&logit| scaled(logit).exp()).sum::<f64>().ln() - scaled(row[column])
        })
    }

    fn calibration_error(&self, temperature: f32) -> Option<f64> {
        calibration_error(self.rows().map(|(row, column)| {
            let best = largest(row);
            let scaled = |logit: f32| f64::from(logit - row[best]) / f64::from(temperature);
            let confidence = row.iter().map(|&logit| scaled(logit).exp()).sum::<f64>().recip();
            (confidence, best == column)
        }))
    }
}

/// Expected calibration error (Guo et al. 2017) of answers, each its confidence and whether it was
/// right: `Σ over bins |right answers − sum of confidences|/n`; none of nothing.
pub fn calibration_error(answers: impl Iterator<Item = (f64, bool)>) -> Option<f64> {
    let mut surplus = [0.0_f64; CALIBRATION_BINS];
    let mut n = 0;
    for (confidence, is_right) in answers {
        let bin = (confidence * CALIBRATION_BINS as f64).ceil() as usize;
        surplus[bin.clamp(1, CALIBRATION_BINS) - 1] += confidence - f64::from(u8::from(is_right));
        n += 1;
    }
    (n > 0).then(|| surplus.iter().map(|bin| bin.abs()).sum::<f64>() / f64::from(n))
}

#[cfg(test)]
mod tests {
    use rand::{Rng, SeedableRng};
    use rand_xoshiro::Xoshiro256PlusPlus;

    use super::*;

    /// Answers of a network whose logits are `factor` times those of the truth, drawn from it.
    fn answers(n: usize, n_labels: usize, factor: f32, seed: u64) -> Scores {
        let mut draws = Xoshiro256PlusPlus::seed_from_u64(seed);
        let mut scores = Scores::default();
        for _ in 0..n {
            let truth: Vec<f32> = (0..n_labels).map(|_| draws.gen_range(-3.0..3.0)).collect();
            let total: f32 = truth.iter().map(|logit| logit.exp()).sum();
            let mut left = draws.gen_range(0.0..total);
            let drawn = truth.iter().position(|logit| {
                left -= logit.exp();
                left < 0.0
            });
            let logits: Vec<f32> = truth.iter().map(|logit| logit * factor).collect();
            let hash = ContentHash(draws.r#gen());
            scores.add(hash, &logits, Some(drawn.unwrap_or(n_labels - 1)));
        }
        scores
    }

    #[test]
    fn a_temperature_undoes_what_was_multiplied() {
        for factor in [0.5, 2.0, 4.0] {
            let calibration = calibrate(&answers(4_000, 10, factor, 1)).unwrap();
            let ratio = calibration.temperature / factor;
            assert!((0.93..1.07).contains(&ratio), "{factor}: {calibration:?}");
            let (before, after) =
                (calibration.uncalibrated_error.unwrap(), calibration.error.unwrap());
            assert!(before > 0.08 && after < 0.04, "{factor}: {calibration:?}");
            assert_eq!(calibration.fitted_on + calibration.measured_on, 4_000);
        }
    }

    #[test]
    fn a_network_that_is_calibrated_stays_as_it_is() {
        let changed = (0..200).filter(|&seed| {
            let calibration = calibrate(&answers(400, 5, 1.0, seed)).unwrap();
            calibration.temperature != 1.0
        });
        let changed = changed.count();
        assert!(changed <= 20, "{changed} of 200 by chance, 10 are to be expected");
    }

    #[test]
    fn few_samples_change_little_and_fewer_nothing() {
        assert_eq!(calibrate(&answers(40, 10, 8.0, 1)).unwrap().temperature, 1.0);
        let sure_and_right = |n| {
            let mut half = Half::default();
            for _ in 0..n {
                half.logits.extend([3.0, 0.0]);
                half.columns.push(0);
            }
            half
        };
        let (few, many) = (fit(&sure_and_right(30)), fit(&sure_and_right(3_000)));
        assert!(few > 0.5 && many < 0.4, "{few} {many}");
    }

    #[test]
    fn the_error_is_that_of_its_definition() {
        // Confidences 0.8, 0.8, 0.6 and 0.6, of which the first, third and fourth are right.
        let logit = |confidence: f32| (confidence / (1.0 - confidence)).ln();
        let half = Half {
            logits: vec![logit(0.8), 0.0, logit(0.8), 0.0, 0.0, logit(0.6), 0.0, logit(0.6)],
            columns: vec![0, 1, 1, 1],
        };
        let wanted = (f64::abs(1.0 - 1.6) + f64::abs(2.0 - 1.2)) / 4.0;
        assert!((half.calibration_error(1.0).unwrap() - wanted).abs() < 1e-6);
        // Nearly even everywhere: 0.5 is said, three in four are right.
        assert!((half.calibration_error(1e6).unwrap() - 0.25).abs() < 1e-3);
        let loss = half.losses(1.0).sum::<f64>();
        let by_hand = -(0.8_f64.ln() + 0.2_f64.ln() + 2.0 * 0.6_f64.ln());
        assert!((loss - by_hand).abs() < 1e-6);
    }

    #[test]
    fn one_label_one_sample_or_none_is_no_harm() {
        assert_eq!(calibrate(&Scores::default()), None);
        let mut scores = Scores::default();
        scores.add(ContentHash([0; 16]), &[1.0, 2.0], None);
        assert_eq!(calibrate(&scores), None, "a label that is not known says nothing");
        scores.add(ContentHash([0; 16]), &[1.0, 2.0], Some(0));
        let one = calibrate(&scores).unwrap();
        assert_eq!((one.temperature, one.fitted_on, one.error), (1.0, 1, None));
        let single = calibrate(&answers(200, 1, 1.0, 1)).unwrap();
        assert_eq!((single.temperature, single.error), (1.0, Some(0.0)));
    }
}
