//! Random draws: one independent, seeded stream for each purpose.

use rand::SeedableRng;
use rand_xoshiro::Xoshiro256PlusPlus;

/// What a stream of draws is for, so that a change to one leaves the others as they were.
#[derive(Debug, Clone, Copy)]
pub(super) enum Draw {
    /// Initial weights of the hidden layers.
    Layers = 1,
    /// Initial weights of the head.
    Head = 2,
    /// The projection that clusters are found in.
    Projection = 3,
    /// Clusters' first centres and the samples they are fitted on.
    Clusters = 4,
    /// Which samples are selected.
    Selection = 5,
    /// The order of the new samples.
    NewOrder = 6,
    /// The order of the replayed ones.
    ReplayOrder = 7,
    /// Random features of the closed-form learner.
    Features = 8,
    /// Initial weights of an expert that comes later.
    Expert = 9,
    /// How images are changed in training.
    Augmentation = 10,
}

/// The stream of `seed` for `purpose`.
pub(super) fn stream(seed: u64, purpose: Draw) -> Xoshiro256PlusPlus {
    // An odd constant (2^64 over the golden ratio) keeps neighbouring purposes far apart; the
    // generator's own seeding (SplitMix64) does the mixing.
    let offset = (purpose as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    Xoshiro256PlusPlus::seed_from_u64(seed.wrapping_add(offset))
}
