//! What chance alone may do to a share: the margins that a figure must exceed to say anything.
//!
//! All tests are one-sided, at 95 % where nothing else is said. A drop from one network to another is a difference of two
//! shares of the same samples, so its test is paired: with b samples that only the first answers
//! rightly, c only the second, of n, half a sample is added to each cell of the table (Agresti &
//! Min 2005): b' = b + ½, c' = c + ½, n' = n + 2, and `(b' − c')/n'` has the standard error
//! `√(b' + c' − (b' − c')²/n')/n'`. A single share has Wilson's interval (1927). Two shares of different
//! samples are compared with one right and one wrong answer added to each (Agresti & Caffo 2000): their
//! difference has the standard error `√(p₁(1 − p₁)/n₁ + p₂(1 − p₂)/n₂)`. Where they are compared again and
//! again while samples come, chance has a try each time, and what counts is how often it wins any of
//! them ([`Share::is_below`]).

use std::f64::consts::PI;

/// How often chance alone may speak against what is right.
pub(super) const LEVEL: f64 = 0.05;

/// The standard normal quantile that is exceeded with probability `tail`, over 0 and at most ½;
/// right to 5e-4 (Hastings 1955).
pub(super) fn quantile(tail: f64) -> f64 {
    let t = (-2.0 * tail.ln()).sqrt();
    let above = 2.515_517 + t * (0.802_853 + t * 0.010_328);
    let below = 1.0 + t * (1.432_788 + t * (0.189_269 + t * 0.001_308));
    t - above / below
}

/// How far below the truth a share of `n` samples may lie by chance.
pub(super) fn margin_of_share(share: f64, n: usize) -> f64 {
    let (z, n) = (quantile(LEVEL), n as f64);
    let centre = share + z * z / (2.0 * n);
    let spread = z * (share * (1.0 - share) / n + z * z / (4.0 * n * n)).sqrt();
    (centre + spread) / (1.0 + z * z / n) - share
}

/// A share of right answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Share {
    /// Right answers.
    pub right: usize,
    /// All answers.
    pub n: usize,
}

impl Share {
    /// The share; not a number where there is no answer.
    pub fn value(self) -> f64 {
        self.right as f64 / self.n as f64
    }

    /// Whether this share is below one of other samples, at a one-sided `confidence` of ½ to below 1 that holds for all
    /// looks together while the samples grow in number `growth`-fold, 1 to 50, however often it is looked.
    ///
    /// A standardised mean z of samples that come one by one is, in the logarithm of their number, a stationary
    /// process, whose greatest value is over z with probability `φ(z)(2/z + (z − 1/z)·ln(growth)/2)` (Miller &
    /// Siegmund 1982, one side of it). Where only one of two shares grows, their difference grows by less. For
    /// z of 1 or less nothing is said.
    pub fn is_below(self, other: Self, confidence: f64, growth: f64) -> bool {
        let z = self.errors_below(other);
        let density = (-z * z / 2.0).exp() / (2.0 * PI).sqrt();
        z > 1.0 && density * (2.0 / z + (z - 1.0 / z) * growth.ln() / 2.0) < 1.0 - confidence
    }

    /// How many standard errors this share lies below one of other samples.
    fn errors_below(self, other: Self) -> f64 {
        let [(one, one_error), (two, two_error)] = [self, other].map(|share| {
            let n = share.n as f64 + 2.0;
            let value = (share.right as f64 + 1.0) / n;
            (value, value * (1.0 - value) / n)
        });
        (two - one) / (one_error + two_error).sqrt()
    }
}

/// A drop in right answers from a first network to a second on the same samples.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Drop {
    /// Samples that only the first answers rightly.
    pub(super) lost: usize,
    /// Samples that only the second answers rightly.
    pub(super) won: usize,
    /// Samples that both do.
    pub(super) kept: usize,
    /// All samples.
    pub(super) n: usize,
}

impl Drop {
    /// Takes in a sample.
    pub(super) fn add(&mut self, first_is_right: bool, second_is_right: bool) {
        self.n += 1;
        match (first_is_right, second_is_right) {
            (true, false) => self.lost += 1,
            (false, true) => self.won += 1,
            (true, true) => self.kept += 1,
            (false, false) => {}
        }
    }

    /// By how much the share of right answers fell.
    pub(super) fn value(&self) -> f64 {
        (self.lost as f64 - self.won as f64) / self.n as f64
    }

    /// How many standard errors the drop lies above `limit`.
    pub(super) fn excess(&self, limit: f64) -> f64 {
        let (drop, error) = self.estimate();
        (drop - limit) / error
    }

    /// How far above the truth [`Self::value`] may lie by chance, at this quantile.
    pub(super) fn margin(&self, quantile: f64) -> f64 {
        let (drop, error) = self.estimate();
        self.value() - (drop - quantile * error)
    }

    /// The drop with half a sample more in each cell, and its standard error.
    fn estimate(&self) -> (f64, f64) {
        let (lost, won) = (self.lost as f64 + 0.5, self.won as f64 + 0.5);
        let n = self.n as f64 + 2.0;
        let difference = lost - won;
        (difference / n, (lost + won - difference * difference / n).sqrt() / n)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_those_of_the_normal_distribution() {
        let known = [
            (0.5, 0.0),
            (0.05, 1.644_854),
            (0.025, 1.959_964),
            (0.001, 3.090_232),
            (5e-6, 4.417_173),
        ];
        for (tail, wanted) in known {
            assert!((quantile(tail) - wanted).abs() < 5e-4, "{tail}: {}", quantile(tail));
        }
    }

    #[test]
    fn a_drop_is_estimated_with_half_a_sample_in_each_cell() {
        let drop = Drop { lost: 30, won: 1, kept: 269, n: 300 };
        assert!((drop.value() - 29.0 / 300.0).abs() < 1e-12);
        let error = (32.0_f64 - 29.0 * 29.0 / 302.0).sqrt() / 302.0;
        assert!((drop.excess(0.02) - (29.0 / 302.0 - 0.02) / error).abs() < 1e-9);
        let least = drop.value() - drop.margin(1.645);
        assert!((least - (29.0 / 302.0 - 1.645 * error)).abs() < 1e-12);
        assert!(Drop::default().excess(0.0).is_finite());
    }

    #[test]
    fn two_shares_differ_where_chance_does_not_explain_it_in_any_of_many_looks() {
        let share = |right, n| Share { right, n };
        // By hand: 151/202 and 182/202, a difference of 0.15347 and a standard error of 0.03709: 4.1374 of them, at which
        // the density is 7.66e-5. One look: 7.66e-5·0.4834 = 3.7e-5. Growing fivefold: 7.66e-5·3.6174 = 2.8e-4.
        let (new, old) = (share(150, 200), share(181, 200));
        assert!(new.is_below(old, 0.9999, 1.0) && !new.is_below(old, 0.99999, 1.0));
        assert!(new.is_below(old, 0.999, 5.0) && !new.is_below(old, 0.9999, 5.0));
        assert!(!old.is_below(new, 0.5, 1.0) && !new.is_below(new, 0.5, 50.0));
        assert!(!share(0, 0).is_below(share(1, 1), 0.95, 1.0) && share(9, 10).value() == 0.9);
    }

    /// In how many of `n_lives` a version that is right with probability `new` is found to be worse than
    /// one of `old`, and after how many labels in the mean: it is looked after every tenth, of which the first
    /// 1,000 count, beside 1,000 of the old one.
    fn found(new: f64, old: f64, growth: f64, n_lives: usize) -> (usize, f64) {
        use rand::{Rng, SeedableRng};
        let mut random = rand_xoshiro::Xoshiro256PlusPlus::seed_from_u64(1);
        let mut after = Vec::new();
        for _ in 0..n_lives {
            let n_right = (0..1_000).filter(|_| random.gen_bool(old)).count();
            let before = Share { right: n_right, n: 1_000 };
            let mut since = Share { right: 0, n: 0 };
            let looks = (10..=10_000).step_by(10).find(|n_labels| {
                if *n_labels <= 1_000 {
                    since.right += (0..10).filter(|_| random.gen_bool(new)).count();
                    since.n = *n_labels;
                }
                since.n >= 200 && since.is_below(before, 0.99, growth)
            });
            after.extend(looks);
        }
        (after.len(), after.iter().sum::<usize>() as f64 / after.len().max(1) as f64)
    }

    #[test]
    fn what_is_looked_at_again_and_again_is_wronged_by_chance_no_more_often_than_is_said() {
        for right in [0.6, 0.9, 0.97] {
            // 40 of 4,000 at 99 %.
            let (n_wronged, _) = found(right, right, 5.0, 4_000);
            assert!((1..=40).contains(&n_wronged), "{right}: {n_wronged}");
        }
        // The bound of a single look is passed by more of them.
        let (n_wronged, _) = found(0.6, 0.6, 1.0, 4_000);
        assert!(n_wronged > 40, "{n_wronged}");
        // And what is worse in earnest is found soon: 200 labels are the least.
        let (n_found, after) = found(0.8, 0.9, 5.0, 200);
        assert!(n_found == 200 && after < 300.0, "{n_found} {after}");
        let (n_found, after) = found(0.85, 0.9, 5.0, 200);
        assert!(n_found > 100 && after < 600.0, "{n_found} {after}");
    }

    #[test]
    fn the_margin_of_a_share_is_wilsons_and_shrinks_with_the_samples() {
        // By hand, z² = 2.7055: (0.85 + 0.06764 + 1.64485·√(0.006375 + 0.001691))/1.13528 − 0.85.
        assert!(
            (margin_of_share(0.85, 20) - 0.088_4).abs() < 2e-4,
            "{}",
            margin_of_share(0.85, 20)
        );
        assert!(margin_of_share(0.85, 1_000) < 0.02);
        assert!(margin_of_share(1.0, 1) < 1e-9 && margin_of_share(0.0, 1) > 0.5);
    }
}
