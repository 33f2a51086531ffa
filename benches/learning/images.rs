//! Fashion-MNIST as scenarios: labels that arrive in pairs, all labels mixed, style after style.

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_xoshiro::Xoshiro256PlusPlus;
use serde_json::{Value, json};

use crate::fashion::{self, Fashion, Images, PIXELS, SIDE};
use crate::scenario::{Examined, Sample, Scenario, TestSet, bodies};
use crate::styles::{STYLES, restyle};

/// Batches of the scenario whose labels are all there from the start.
const MIXED_BATCHES: usize = 10;
/// Images to learn from in each style, and to be examined on.
const OF_A_STYLE: (usize, usize) = (6_000, 2_000);

/// The order in which labels arrive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LabelOrder {
    /// 0 to 9.
    Own,
    /// Drawn by the seed.
    Drawn,
}

/// What a model is told of the images.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seen {
    /// Vectors of numbers.
    AsVectors,
    /// Images.
    AsImages,
}

impl Seen {
    fn schema(self) -> Value {
        match self {
            Self::AsVectors => json!({"kind": "tabular", "dim": PIXELS}),
            Self::AsImages => {
                json!({"kind": "image", "width": SIDE, "height": SIDE, "channels": 1})
            }
        }
    }
}

/// Five experiences of two labels each.
pub fn two_labels_at_a_time(data: &Fashion, seed: u64, order: LabelOrder, seen: Seen) -> Scenario {
    let mut labels: Vec<u8> = (0..10).collect();
    if order == LabelOrder::Drawn {
        labels.shuffle(&mut Xoshiro256PlusPlus::seed_from_u64(seed));
    }
    let of_pair = |images: &Images, pair: &[u8]| {
        let mut indices = shuffled(images, seed);
        indices.retain(|&index| pair.contains(&images.labels[index]));
        samples(images, &indices)
    };
    Scenario {
        input: seen.schema(),
        experiences: labels.chunks(2).map(|pair| bodies(&of_pair(&data.train, pair))).collect(),
        tests: labels.chunks(2).map(|pair| TestSet::new(&of_pair(&data.test, pair))).collect(),
        examined: Examined::AfterEach,
    }
}

/// Equal batches of all labels.
pub fn mixed(data: &Fashion, seed: u64) -> Scenario {
    let indices = shuffled(&data.train, seed);
    let batches = indices.chunks(indices.len() / MIXED_BATCHES);
    Scenario {
        input: Seen::AsVectors.schema(),
        experiences: batches.map(|batch| bodies(&samples(&data.train, batch))).collect(),
        tests: vec![TestSet::new(&samples(&data.test, &shuffled(&data.test, seed)))],
        examined: Examined::AfterLast,
    }
}

/// All labels in one style after another, no image in two of them.
pub fn styles(data: &Fashion, seed: u64, seen: Seen) -> Scenario {
    let mut noise = Xoshiro256PlusPlus::seed_from_u64(seed);
    let mut restyled = |images: &Images, of_a_style: usize, style: usize| -> Vec<Sample> {
        let sample = |&index: &usize| {
            let pixels = restyle(style, images.pixels(index), &mut noise);
            fashion::sample(&pixels, images.labels[index])
        };
        shuffled(images, seed)[style * of_a_style..][..of_a_style].iter().map(sample).collect()
    };
    let (to_learn, to_examine) = OF_A_STYLE;
    let experience = |style| bodies(&restyled(&data.train, to_learn, style));
    let experiences = (0..STYLES).map(experience).collect();
    let test = |style| TestSet::new(&restyled(&data.test, to_examine, style));
    let tests = (0..STYLES).map(test).collect();
    Scenario { input: seen.schema(), experiences, tests, examined: Examined::AfterEach }
}

/// All indices of `images`, shuffled.
fn shuffled(images: &Images, seed: u64) -> Vec<usize> {
    let mut indices: Vec<usize> = (0..images.labels.len()).collect();
    indices.shuffle(&mut Xoshiro256PlusPlus::seed_from_u64(seed));
    indices
}

fn samples(images: &Images, indices: &[usize]) -> Vec<Sample> {
    indices.iter().map(|&index| images.sample(index)).collect()
}
