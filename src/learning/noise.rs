//! What chance alone may do to a share: the margins that a figure must exceed to say anything.
//!
//! All tests are one-sided, at 95 %. A drop from one network to another is a difference of two
//! shares of the same samples, so its test is paired: with b samples that only the first answers
//! rightly, c only the second, of n, half a sample is added to each cell of the table (Agresti &
//! Min 2005): b' = b + ½, c' = c + ½, n' = n + 2, and `(b' − c')/n'` has the standard error
//! `√(b' + c' − (b' − c')²/n')/n'`. A single share has Wilson's interval (1927). Two shares of different
//! samples are compared with one right and one wrong answer added to each (Agresti & Caffo 2000): their
//! difference has the standard error `√(p₁(1 − p₁)/n₁ + p₂(1 − p₂)/n₂)`.

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

    /// Whether this share is below one of other samples, at a one-sided `confidence` of ½ to below 1.
    pub fn is_below(self, other: Self, confidence: f64) -> bool {
        let [(one, one_error), (two, two_error)] = [self, other].map(|share| {
            let n = share.n as f64 + 2.0;
            let value = (share.right as f64 + 1.0) / n;
            (value, value * (1.0 - value) / n)
        });
        two - one > quantile(1.0 - confidence) * (one_error + two_error).sqrt()
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
    fn two_shares_differ_where_chance_does_not_explain_it() {
        let share = |right, n| Share { right, n };
        // By hand: 151/202 and 182/202, a difference of 0.15347 and a standard error of 0.03709: 4.14 of
        // them, which 99.99 % are exceeded by at 3.72 and 99.999 % at 4.26.
        assert!(share(150, 200).is_below(share(181, 200), 0.9999));
        assert!(!share(150, 200).is_below(share(181, 200), 0.99999));
        assert!(!share(181, 200).is_below(share(150, 200), 0.5));
        assert!(!share(0, 0).is_below(share(1, 1), 0.95) && share(9, 10).value() == 0.9);
    }

    #[test]
    fn chance_alone_speaks_against_a_share_about_as_often_as_it_may() {
        use rand::{Rng, SeedableRng};
        let mut random = rand_xoshiro::Xoshiro256PlusPlus::seed_from_u64(1);
        for (p, n) in [(0.9, 200), (0.6, 200), (0.97, 1_000)] {
            let mut draw = || Share { right: (0..n).filter(|_| random.gen_bool(p)).count(), n };
            let below = (0..4_000).filter(|_| draw().is_below(draw(), 0.95)).count();
            // 200 are to be expected, with a standard deviation of 14.
            assert!((120..260).contains(&below), "{p} {n}: {below}");
        }
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
