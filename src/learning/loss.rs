//! The loss of a minibatch, and its slope with respect to the logits.
//!
//! `L = w·CE(z_N + log π, y) + (1 − w)·CE(z_B + log π, y) + λ·T²·KL(p_old(x_B) ‖ p(x_B))` for new
//! samples N and replayed ones B. The prior π makes up for labels being unequally frequent in what
//! is trained on (balanced softmax, Ren et al. 2020) and is left out when answering; the last term
//! keeps the old labels' proportions on replayed samples (learning without forgetting, Li & Hoiem
//! 2016), never on new ones. Both slopes are closed forms, so no graph is built for them.

use super::predict::{largest, softmax};

/// Temperature at which the old and the new network are compared.
const TEMPERATURE: f32 = 2.0;

/// What one minibatch is trained towards, row by row.
#[derive(Debug, Default)]
pub(super) struct Targets {
    /// The label's place in the head.
    pub(super) labels: Vec<usize>,
    /// What the row's cross-entropy counts; all add up to 1.
    pub(super) shares: Vec<f32>,
    /// The old network's logits for the last rows, `[rows, n_old]` row-major; empty without one.
    pub(super) old_logits: Vec<f32>,
    /// Labels that the old network knows.
    pub(super) n_old: usize,
    /// λ: what the comparison with it counts.
    pub(super) distillation: f32,
}

/// What came of one minibatch.
#[derive(Debug)]
pub(super) struct Loss {
    /// The loss.
    pub(super) value: f64,
    /// Its gradient with respect to the logits, `[rows, n_labels]` row-major.
    pub(super) slope: Vec<f32>,
    /// Rows answered rightly by the logits alone.
    pub(super) n_right: usize,
}

/// The loss of `logits`, `[rows, n_labels]` row-major, given `log_prior`, `[n_labels]`.
pub(super) fn loss(logits: &[f32], log_prior: &[f32], targets: &Targets) -> Loss {
    let n_labels = log_prior.len();
    let mut loss = Loss { value: 0.0, slope: logits.to_vec(), n_right: 0 };
    for (row, slope) in loss.slope.chunks_exact_mut(n_labels).enumerate() {
        let (label, share) = (targets.labels[row], targets.shares[row]);
        loss.n_right += usize::from(largest(slope) == label);
        slope.iter_mut().zip(log_prior).for_each(|(logit, prior)| *logit += prior);
        softmax(slope);
        loss.value -= f64::from(share * slope[label].max(f32::MIN_POSITIVE).ln());
        // d CE / d logits = probabilities less the one-hot label.
        slope[label] -= 1.0;
        slope.iter_mut().for_each(|probability| *probability *= share);
    }
    if !targets.old_logits.is_empty() {
        loss.value += distil(logits, n_labels, targets, &mut loss.slope);
    }
    loss
}

/// Adds the slope of the comparison with the old network to `slope`; answers its value.
fn distil(logits: &[f32], n_labels: usize, targets: &Targets, slope: &mut [f32]) -> f64 {
    let n_old = targets.n_old;
    let n_replayed = targets.old_logits.len() / n_old;
    let first = (targets.labels.len() - n_replayed) * n_labels;
    let scale = targets.distillation / n_replayed as f32;
    let at_temperature = |logits: &[f32], probabilities: &mut Vec<f32>| {
        probabilities.clear();
        probabilities.extend(logits.iter().map(|logit| logit / TEMPERATURE));
        softmax(probabilities);
    };
    let (mut old, mut new) = (Vec::with_capacity(n_old), Vec::with_capacity(n_old));
    let mut value = 0.0;
    let rows =
        logits[first..].chunks_exact(n_labels).zip(slope[first..].chunks_exact_mut(n_labels));
    for ((logits, slope), old_logits) in rows.zip(targets.old_logits.chunks_exact(n_old)) {
        at_temperature(old_logits, &mut old);
        at_temperature(&logits[..n_old], &mut new);
        for ((slope, old), new) in slope.iter_mut().zip(&old).zip(&new) {
            let (p, q) = (old.max(f32::MIN_POSITIVE), new.max(f32::MIN_POSITIVE));
            value += f64::from(scale * TEMPERATURE * TEMPERATURE * old * (p / q).ln());
            // T²·d KL / d logits = T·(new − old).
            *slope += scale * TEMPERATURE * (new - old);
        }
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    fn targets() -> Targets {
        Targets {
            labels: vec![2, 0, 1],
            shares: vec![0.5, 0.2, 0.3],
            old_logits: vec![1.0, -0.5, 0.3, 0.2],
            n_old: 2,
            distillation: 1.5,
        }
    }

    const LOGITS: [f32; 9] = [0.2, -1.0, 0.7, 1.5, 0.1, -0.3, 0.0, 0.4, 2.0];
    const LOG_PRIOR: [f32; 3] = [-0.5, -1.5, -2.0];

    #[test]
    fn the_slope_is_that_of_the_value() {
        let slope = loss(&LOGITS, &LOG_PRIOR, &targets()).slope;
        for index in 0..LOGITS.len() {
            let at = |step: f32| {
                let mut logits = LOGITS;
                logits[index] += step;
                loss(&logits, &LOG_PRIOR, &targets()).value
            };
            let numeric = (at(1e-2) - at(-1e-2)) / 2e-2;
            assert!((numeric - f64::from(slope[index])).abs() < 1e-3, "{index}: {numeric}");
        }
    }

    #[test]
    fn agreement_with_the_old_network_costs_nothing() {
        let mut targets = targets();
        targets.old_logits = vec![LOGITS[3], LOGITS[4], LOGITS[6], LOGITS[7]];
        let with = loss(&LOGITS, &LOG_PRIOR, &targets).value;
        targets.old_logits.clear();
        assert!((with - loss(&LOGITS, &LOG_PRIOR, &targets).value).abs() < 1e-6);
    }

    #[test]
    fn one_label_has_no_loss() {
        let targets = Targets { labels: vec![0], shares: vec![1.0], ..Targets::default() };
        let loss = loss(&[3.0], &[0.0], &targets);
        assert_eq!((loss.value, loss.slope, loss.n_right), (0.0, vec![0.0], 1));
    }
}
